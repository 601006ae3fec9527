package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/control"
	"github.com/mirrorfs/mirrorfs/internal/mountinfo"
	"golang.org/x/sys/unix"
)

// statusWatch tells the status again and again: on a terminal as a live screen,
// else as one report after the other. Mounts may end and come back meanwhile.
type statusWatch struct {
	point string // of the one mount that is meant; "": all
	every time.Duration
	json  bool
	out   io.Writer

	mounts map[string]*watchedMount // by mountpoint
	gone   time.Time                // when the one mount was found gone; zero while it is there
}

// run returns when a signal asks it to, or a key.
func (w *statusWatch) run(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	defer stop()
	w.mounts = make(map[string]*watchedMount)
	defer func() {
		for _, m := range w.mounts {
			m.close()
		}
	}()
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	if rows, _ := sizeOf(w.out); rows > 0 && !w.json && able() {
		return w.live(ctx, tick.C)
	}
	for first := true; ; first = false {
		if err := w.report(w.ask(ctx), first); err != nil {
			return failf(exitFailure, "%w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// report prints one of successive reports.
func (w *statusWatch) report(answers []answer, first bool) error {
	now := time.Now()
	if w.json {
		for _, a := range answers {
			err := json.NewEncoder(w.out).Encode(struct {
				Time time.Time `json:"time"`
				answer
			}{now, a})
			if err != nil {
				return err
			}
		}
		return nil
	}
	var b strings.Builder
	if !first {
		b.WriteByte('\n')
	}
	fmt.Fprintln(&b, now.Format(time.DateTime))
	_ = printStatus(&b, answers, now, columnsOf(w.out)) // of a Builder it can't fail
	_, err := io.WriteString(w.out, b.String())
	return err
}

// live fills the terminal.
func (w *statusWatch) live(ctx context.Context, tick <-chan time.Time) error {
	s, err := openScreen(w.out.(*os.File))
	if err != nil {
		return failf(exitFailure, "the terminal can't be used: %w", err)
	}
	defer s.close()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGWINCH, unix.SIGTSTP)
	defer signal.Stop(signals)
	answers, at := w.ask(ctx), time.Now()
	for ctx.Err() == nil {
		if err := s.draw(w.frame(answers, at, s)); err != nil {
			return failf(exitFailure, "%w", err)
		}
		select {
		case <-tick:
			answers, at = w.ask(ctx), time.Now()
		case sig := <-signals:
			if sig == unix.SIGTSTP {
				if err := s.suspend(); err != nil {
					return failf(exitFailure, "the terminal can't be used: %w", err)
				}
			}
		case key := <-s.keys:
			if key == 'q' || key == 'Q' {
				return nil
			}
		case <-ctx.Done():
		}
	}
	return nil
}

// frame is what fills a screen.
func (w *statusWatch) frame(answers []answer, at time.Time, s *screen) []string {
	rows, columns := s.size()
	columns-- // erasing behind a line that fills the last column would erase that one
	title := "mirrorfs status, every " + w.every.String() + "; q or Ctrl-C ends"
	clock := at.Format(time.TimeOnly)
	lines := []string{cut(pad(title, columns-len(clock))+clock, columns)}
	if len(answers) == 0 {
		lines = append(lines, "", "no mirror is mounted")
	}
	for _, a := range answers {
		lines = append(lines, "")
		more := statusLines(a, at, columns)
		more[0] = s.bold(more[0])
		lines = append(lines, more...)
	}
	if over := len(lines) - rows; over > 0 && rows > 1 {
		lines = append(lines[:rows-1], cut(fmt.Sprintf("... %d lines more; enlarge the window", over+1), columns))
	}
	return lines
}

// ask asks all mounts that are meant, at once.
func (w *statusWatch) ask(ctx context.Context) []answer {
	mounts, err := mirrors(nil)
	if err != nil {
		return []answer{{control.Status{MountPoint: w.point}, oneLine(err)}}
	}
	if w.point != "" {
		m, ok := mountedAt(w.point, mounts)
		if !ok {
			if w.gone.IsZero() {
				w.gone = time.Now()
			}
			return []answer{{control.Status{URL: "nothing", MountPoint: w.point},
				fmt.Sprintf("it is no longer mounted, since %s; waiting for it to be mounted again", w.gone.Format(time.TimeOnly))}}
		}
		w.gone, mounts = time.Time{}, []mountinfo.Mount{m}
	}
	answers := make([]answer, len(mounts))
	var asking sync.WaitGroup
	there := make(map[string]*watchedMount)
	for i, m := range mounts {
		known := w.mounts[m.Point]
		if known == nil || known.device != m.Device || there[m.Point] != nil {
			known = &watchedMount{device: m.Device}
		}
		if there[m.Point] != nil { // one mounted over another: the last one is seen
			there[m.Point].close()
		}
		there[m.Point] = known
		asking.Go(func() { answers[i] = known.ask(ctx, m) })
	}
	asking.Wait()
	for point, m := range w.mounts {
		if there[point] != m {
			m.close()
		}
	}
	w.mounts = there
	return answers
}

// watchedMount is a mount that is asked again and again.
type watchedMount struct {
	device  string
	client  *control.Client     // nil: not found yet
	finding chan foundClient    // a look for it that is under way, nil: none
	last    map[streamKey]int64 // bytes of the transfers when it was asked last
	at      time.Time           // ... which was then
}

type foundClient struct {
	client *control.Client
	err    error
}

// streamKey tells transfers apart.
type streamKey struct {
	path   string
	offset int64
}

func (m *watchedMount) ask(ctx context.Context, at mountinfo.Mount) answer {
	if m.client == nil {
		if err := m.find(ctx, at.Point); err != nil {
			return unknown(at, err)
		}
	}
	a := askClient(ctx, m.client, at)
	if a.Error != "" {
		m.close() // it may answer elsewhere when it is back
		return a
	}
	m.rates(&a.Status, time.Now())
	return a
}

// find asks the mount for its socket, which hangs if the mount does: then one
// question stays open, and is waited for again.
func (m *watchedMount) find(ctx context.Context, point string) error {
	if m.finding == nil {
		finding := make(chan foundClient, 1)
		m.finding = finding
		go func() {
			c, err := clientOf(point)
			finding <- foundClient{c, err}
		}()
	}
	patient := time.NewTimer(patience)
	defer patient.Stop()
	select {
	case f := <-m.finding:
		m.finding, m.client = nil, f.client
		return f.err
	case <-patient.C:
		return errHangs
	case <-ctx.Done():
		return ctx.Err()
	}
}

// rates puts the rates since the last time in place of those since the beginning.
func (m *watchedMount) rates(s *control.Status, now time.Time) {
	last := m.last
	m.last = make(map[streamKey]int64, len(s.Transfers))
	for i := range s.Transfers {
		t := &s.Transfers[i]
		key := streamKey{t.Path, t.Offset}
		m.last[key] = t.Bytes
		if before, ok := last[key]; ok && t.Bytes >= before {
			t.Rate = float64(t.Bytes-before) / max(now.Sub(m.at).Seconds(), 1e-3)
		}
	}
	m.at = now
}

func (m *watchedMount) close() {
	if m.client != nil {
		m.client.Close()
		m.client = nil
	}
}
