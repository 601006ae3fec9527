package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/mirrorfs/mirrorfs/fs"
	"golang.org/x/sys/unix"
)

// hide keeps what the process holds, passwords and content, from others: private
// files, and no core file. A program that collects cores is not bound by the limit,
// but see mainCode.
func hide() error {
	unix.Umask(0o077)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	return nil
}

// serve mounts the mirror and answers until it is unmounted or a signal asks to
// end.
func (p *plan) serve(start *starter) error {
	err := p.run(start)
	if err != nil {
		start.tell(word{Error: oneLine(err), Code: codeOf(err)})
		notifyFailed(err)
	}
	return err
}

func (p *plan) run(start *starter) error {
	if err := hide(); err != nil {
		return failf(exitFailure, "%w", err)
	}
	heap := newHeap()
	terminal := start.pipe == nil && hasTerminal() // in the background it is the parent's
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	signal.Ignore(unix.SIGPIPE)
	defer signal.Stop(signals)
	if start.pipe == nil {
		for _, w := range p.warnings {
			start.warn(w)
		}
	}
	logs, err := p.openLogs(start.stderr)
	if err != nil {
		return err
	}
	defer logs.end()
	notifyStarting(p)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	opened := make(chan error, 1)
	var m *mirror
	go func() {
		var err error
		m, err = p.open(ctx, logs.Logger, start.warn)
		opened <- err
	}()
	asked := false // to end, by a signal
	for waiting := true; waiting; {
		select {
		case err = <-opened:
			waiting = false
		case s := <-signals:
			if s != unix.SIGHUP || hungUp(terminal) {
				asked = true
				cancel()
			}
		}
	}
	switch {
	case err != nil && asked:
		return failf(exitInterrupted, "interrupted")
	case err != nil:
		return err
	}
	through, why := m.server.Passthrough()
	logs.Info("mounted", "url", p.url.String(), "dir", p.dir, "pid", os.Getpid(), "passthrough", through, "why", why)
	if asked {
		m.end(signals)
		if start.pipe != nil { // somebody waits for a mount that is gone again
			return failf(exitInterrupted, "interrupted")
		}
		return nil
	}
	if err := start.ready(); err != nil {
		logs.Error("the process that waits for this mount can't be told", "error", err)
	}
	notifyReady(p)
	return m.live(p, signals, terminal, logs, heap)
}

// live waits for the end of the mount.
func (m *mirror) live(p *plan, signals <-chan os.Signal, terminal bool, logs *logs, heap *heap) error {
	look := time.NewTicker(heapLook)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			heap.tune(m.server.Nodes())
		case <-m.server.Done():
			logs.Info("unmounted")
			notifyStopping()
			m.close()
			return nil
		case s := <-signals:
			if s == unix.SIGHUP && !hungUp(terminal) {
				notifyReloading()
				logs.reopen()
				m.cache.MarkStale()
				logs.Info("all listings will be asked for again")
				notifyReady(p)
				continue
			}
			logs.Info("ending", "signal", s.String())
			notifyStopping()
			m.end(signals)
			return nil
		}
	}
}

// A mount that is in use is asked again for a while before it is taken away.
const (
	busyFor   = 5 * time.Second
	busyAgain = 100 * time.Millisecond
)

// end unmounts: at once when nobody uses the mirror, else after a while or at
// another signal, whoever uses it.
func (m *mirror) end(signals <-chan os.Signal) {
	patience := time.NewTimer(busyFor)
	defer patience.Stop()
	again := time.NewTicker(busyAgain)
	defer again.Stop()
	for busy := true; busy; {
		err := m.server.Unmount()
		if err == nil {
			break
		}
		var e *fs.MountError
		busy = errors.As(err, &e) && e.Reason == fs.Busy
		if !busy {
			m.log.Error("can't unmount in order", "error", err)
			break
		}
		select {
		case <-m.server.Done():
			busy = false
		case <-again.C:
		case <-patience.C:
			busy = false
		case <-signals:
			busy = false
		}
	}
	select {
	case <-m.server.Done():
	default:
		m.log.Warn("the mount is in use and is taken away; programs that use it get errors")
		if err := m.server.Abandon(); err != nil {
			m.log.Error("the mount may be left behind", "error", err)
		}
		m.awaitDone(signals)
	}
	m.log.Info("unmounted")
	m.close()
}

// awaitDone waits until nothing is served any more. Where the connection could
// not be broken off, the end of the process will.
func (m *mirror) awaitDone(signals <-chan os.Signal) {
	select {
	case <-m.server.Done():
	case <-time.After(busyFor):
	case <-signals:
	}
}

// hasTerminal reports whether the process has a controlling terminal.
func hasTerminal() bool {
	f, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// hungUp reports whether a hangup means that the terminal, if there was one, is
// gone, and not that somebody asks for fresh listings.
func hungUp(terminal bool) bool { return terminal && !hasTerminal() }
