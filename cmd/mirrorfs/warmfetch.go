package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mirrorfs/mirrorfs/cache/content"
	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/control"
)

// fetchAll fetches the files that were found, several at once.
func (w *warmer) fetchAll(ctx context.Context) {
	begun := time.Now()
	var fetched atomic.Int64
	// The bytes of Jobs files come at once, and as many others may wait for the
	// server's word that they are still what they were.
	w.parallel(ctx, len(w.files), 2*w.request.Jobs, func(i int) {
		f := w.files[i]
		outcome, err := control.Cached, error(nil)
		if f.state.Whole {
			err = w.touch(ctx, f)
		} else {
			outcome, err = control.OK, w.fetch(ctx, f)
			if err == nil {
				fetched.Add(f.entry.Size - f.state.Held)
			}
		}
		if err == nil && w.request.Pin && f.entry.Size > 0 {
			err = w.cache.Content().Pin(f.path, true)
		}
		switch {
		case ctx.Err() != nil:
		case err != nil:
			w.fail(f.shown, err)
		default:
			w.tell(control.WarmEvent{What: control.Ended, Path: f.shown, Outcome: outcome, Size: f.entry.Size})
		}
	})
	const least = 256 << 10 // bytes that tell a rate
	if took := time.Since(begun).Seconds(); fetched.Load() >= least && took > 0 {
		w.warmRate.Store(int64(float64(fetched.Load()) / took))
	}
}

// touch has a file that is held count as used now, so that what is yet to come
// does not push it out.
func (w *warmer) touch(ctx context.Context, f *warmFile) error {
	h, err := w.cache.OpenFile(ctx, w.caller.UID, f.path, f.entry.Version())
	if err != nil {
		return err
	}
	return h.Close()
}

// fetch fetches one file. A file that is replaced meanwhile is fetched as it is
// then.
func (w *warmer) fetch(ctx context.Context, f *warmFile) error {
	free := w.slot(ctx)
	defer free()
	w.tell(control.WarmEvent{What: control.Started, Path: f.shown, Size: f.entry.Size, Held: f.state.Held})
	return w.again(ctx, f.shown, func(retry bool) error {
		if retry {
			if err := w.lookAgain(ctx, f); err != nil {
				return err
			}
		}
		return w.fetchOnce(ctx, f, free)
	})
}

// lookAgain asks which version of a file there is now.
func (w *warmer) lookAgain(ctx context.Context, f *warmFile) error {
	dir, name := parentOf(f.path)
	d, err := w.cache.Directory(ctx, w.caller, dir)
	if err != nil {
		return err
	}
	e, ok := rawEntry(d, name)
	if !ok || e.Type != listing.File {
		return fs.ErrNotExist
	}
	f.entry, err = w.settled(ctx, f.path, e)
	return err
}

// errNoProgress ends a fetch whose transfers failed too often in a row.
var errNoProgress = errors.New("no progress")

// fetchOnce fetches one version of a file. The store tries transfers again by
// itself, with back-off and for as long as a reader would wait; here it is
// stopped after as many failures without progress as were asked for. It calls free
// when all bytes are there.
func (w *warmer) fetchOnce(ctx context.Context, f *warmFile, free func()) error {
	store := w.cache.Content()
	old := failureOf(store, f.path) // of long ago
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	told, held := 0, f.state.Held
	progress := func(now int64) {
		if now >= f.entry.Size {
			free()
		}
		if now != held {
			held = now
			w.tell(control.WarmEvent{What: control.Progress, Path: f.shown, Size: f.entry.Size, Held: now})
		}
		failed := failureOf(store, f.path)
		if failed == nil || failed == old {
			return
		}
		if failed.Attempts > w.request.Retries {
			stop(errNoProgress)
		} else if failed.Attempts != told {
			told = failed.Attempts
			w.tell(control.WarmEvent{What: control.Retrying, Path: f.shown, Attempt: told, Text: oneLine(failed.Err)})
		}
	}
	err := store.Warm(ctx, w.caller.UID, f.path, f.entry.Version(), progress)
	if errors.Is(context.Cause(ctx), errNoProgress) {
		if failed := failureOf(store, f.path); failed != nil {
			return stopped{failed}
		}
	}
	return err
}

// stopped is a failure after as many attempts as were wanted.
type stopped struct{ *content.Failure }

func failureOf(s *content.Store, path string) *content.Failure {
	var f *content.Failure
	errors.As(s.LastError(path), &f)
	return f
}

// The pauses before an attempt is made again.
const (
	firstPause = 250 * time.Millisecond
	lastPause  = 10 * time.Second
)

// again calls try until it succeeds, fails for good, or failed too often, with
// growing pauses between.
func (w *warmer) again(ctx context.Context, shown string, try func(retry bool) error) error {
	for n := 1; ; n++ {
		err := try(n > 1)
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case n <= w.request.Retries && passing(err):
		case n > 1:
			return fmt.Errorf("gave up after %d attempts: %w", n, err)
		default:
			return err
		}
		w.tell(control.WarmEvent{What: control.Retrying, Path: shown, Attempt: n, Text: oneLine(err)})
		pause := min(firstPause<<min(n-1, 10), lastPause)
		timer := time.NewTimer(pause*3/4 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// passing reports whether trying again may help.
func passing(err error) bool {
	var s stopped
	var e *ftppool.Error
	switch {
	case errors.As(err, &s):
		return false
	case errors.Is(err, ftppool.ErrRefused) && errors.As(err, &e) && strings.HasPrefix(e.Reply, "4"):
		return true // RFC 959 section 4.2.1: what was asked for may be asked for again
	}
	for _, e := range []error{
		fs.ErrNotExist, fs.ErrPermission, ftppool.ErrOffline, ftppool.ErrClosed, ftppool.ErrLogin,
		ftppool.ErrIsDir, ftppool.ErrNotDir, ftppool.ErrUnsupported, ftppool.ErrRefused,
	} {
		if errors.Is(err, e) {
			return false
		}
	}
	return true
}

// fail reports a path that did not come.
func (w *warmer) fail(shown string, err error) {
	outcome := control.Error
	if errors.Is(err, fs.ErrNotExist) {
		outcome = control.NotFound
	}
	w.tell(control.WarmEvent{What: control.Ended, Path: shown, Outcome: outcome, Text: oneLine(err)})
}

// evict gives up what is held of files and of what is below directories.
func (w *warmer) evict(ctx context.Context) {
	names := w.cache.Names()
	w.tell(control.WarmEvent{What: control.Planned, Plan: &control.Plan{}})
	for _, shown := range w.request.Paths {
		path, _, err := w.find(ctx, w.caller, shown)
		if err != nil {
			w.fail(shown, err)
			continue
		}
		for _, held := range w.cache.Content().Files() {
			if held.Path != path && path != "" && !strings.HasPrefix(held.Path, path+"/") {
				continue
			}
			name := names.Shown(held.Path)
			if err := w.cache.Content().Evict(held.Path); errors.Is(err, fs.ErrNotExist) {
				continue // another generation of it went with the one before
			} else if err != nil {
				w.fail(name, err)
				continue
			}
			w.tell(control.WarmEvent{What: control.Ended, Path: name, Outcome: control.Evicted, Size: held.Disk})
		}
	}
}
