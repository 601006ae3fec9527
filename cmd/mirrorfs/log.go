package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/journal"
)

// logs is where a mount's log goes.
type logs struct {
	*slog.Logger
	file *logFile // nil when it goes elsewhere
	end  func() error
}

// openLogs decides where the log goes: to --log-file; else, in the foreground,
// to stderr; else to the journal, or where there is none, to syslog.
func (p *plan) openLogs(stderr io.Writer) (*logs, error) {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if p.verbose > 0 {
		options.Level = slog.LevelDebug
	}
	handler := func(w io.Writer, o *slog.HandlerOptions) slog.Handler {
		if p.logFormat == "json" {
			return slog.NewJSONHandler(w, o)
		}
		return slog.NewTextHandler(w, o)
	}
	if p.logFile != "" {
		f, err := openLogFile(p.logFile)
		if err != nil {
			return nil, failf(exitUsage, "--log-file: %w; name a file that this user may write", err)
		}
		return &logs{slog.New(handler(f, options)), f, f.Close}, nil
	}
	if p.foreground {
		return &logs{slog.New(handler(stderr, options)), nil, nothing}, nil
	}
	if journal.Enabled() {
		vars := map[string]string{"SYSLOG_IDENTIFIER": "mirrorfs", "MIRRORFS_MOUNTPOINT": p.dir}
		send := func(level slog.Level, line string) error { return journal.Send(line, priority(level), vars) }
		return &logs{slog.New(newSink(handler, options, send)), nil, nothing}, nil
	}
	w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "mirrorfs")
	if err != nil {
		// Neither is there: a container. --log-file helps who wants a log.
		return &logs{slog.New(slog.DiscardHandler), nil, nothing}, nil
	}
	send := func(level slog.Level, line string) error {
		switch {
		case level >= slog.LevelError:
			return w.Err(line)
		case level >= slog.LevelWarn:
			return w.Warning(line)
		case level >= slog.LevelInfo:
			return w.Info(line)
		}
		return w.Debug(line)
	}
	return &logs{slog.New(newSink(handler, options, send)), nil, w.Close}, nil
}

func nothing() error { return nil }

func priority(level slog.Level) journal.Priority {
	switch {
	case level >= slog.LevelError:
		return journal.PriErr
	case level >= slog.LevelWarn:
		return journal.PriWarning
	case level >= slog.LevelInfo:
		return journal.PriInfo
	}
	return journal.PriDebug
}

// reopen begins the log file anew after it was rotated.
func (l *logs) reopen() {
	if l.file != nil {
		if err := l.file.reopen(); err != nil {
			l.Error("the log file can't be opened again", "error", err)
		}
	}
}

// logFile is a file that is appended to, and where a crash is told too.
type logFile struct {
	path string
	mu   sync.Mutex // guards f
	f    *os.File
}

func openLogFile(path string) (*logFile, error) {
	l := &logFile{path: path}
	return l, l.reopen()
}

func (l *logFile) reopen() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	l.mu.Lock()
	old := l.f
	l.f = f
	l.mu.Unlock()
	err = debug.SetCrashOutput(f, debug.CrashOptions{})
	if old != nil {
		err = errors.Join(err, old.Close())
	}
	return err
}

func (l *logFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Write(b)
}

func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(debug.SetCrashOutput(nil, debug.CrashOptions{}), l.f.Close())
}

// sink is a handler for logs that know time and level themselves: it renders a
// record with another handler and sends the line.
type sink struct {
	slog.Handler // writes to line, without time and level
	send         func(slog.Level, string) error
	mu           *sync.Mutex // guards line, which all of a logger's sinks share
	line         *bytes.Buffer
}

func newSink(handler func(io.Writer, *slog.HandlerOptions) slog.Handler, o *slog.HandlerOptions, send func(slog.Level, string) error) *sink {
	line := new(bytes.Buffer)
	h := handler(line, &slog.HandlerOptions{
		Level: o.Level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	})
	return &sink{h, send, new(sync.Mutex), line}
}

func (s *sink) Handle(ctx context.Context, r slog.Record) error {
	s.mu.Lock()
	s.line.Reset()
	err := s.Handler.Handle(ctx, r)
	line := strings.TrimSuffix(s.line.String(), "\n")
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("render a log record: %w", err)
	}
	return s.send(r.Level, line)
}

func (s *sink) WithAttrs(a []slog.Attr) slog.Handler {
	return &sink{s.Handler.WithAttrs(a), s.send, s.mu, s.line}
}

func (s *sink) WithGroup(name string) slog.Handler {
	return &sink{s.Handler.WithGroup(name), s.send, s.mu, s.line}
}
