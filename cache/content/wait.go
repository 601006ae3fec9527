package content

import (
	"context"
	"slices"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
)

// fetch is what a file's readers want and what brings it. Guarded by file.mu.
type fetch struct {
	waiters []*waiter // in the order they came
	streams []*stream // those that are opening, flowing, paused or about to be retried
	cursors cursors
	asked   int64  // bytes that readers missed
	uid     uint32 // of the latest reader
	entire  bool   // readers want all of it

	expected bool // the server's sessions were told of what is to come
	failed   []failedRange

	noRestart bool // the server can't start this file in the middle

	trouble error // why the latest transfer failed, nil after progress of any
	cleared bool  // Store.failures has no failure; it may have one of an earlier fetch

	keepUntil time.Time // the disk refused: until then bytes go past it
	tail      tail      // bytes that went past the disk a moment ago
}

// waiter is somebody who waits for bytes.
type waiter struct {
	span
	class ftppool.Class
	uid   uint32
	done  chan error // told once
	// A read away from all streams may be one of many that the kernel sends at
	// once, and the one before it be here in a moment. So it is deferred until
	// settled is set.
	settled, deferred bool
	// Where bytes go that can't be kept on disk, and which went there.
	p   []byte
	got ranges
}

// failedRange is answered with err, without trying again, until a time.
type failedRange struct {
	span
	err   error
	until time.Time
}

// missing returns what w still waits for.
func (f *file) missing(w *waiter) []span {
	gaps := f.held.missing(w.span)
	if len(w.got.spans) == 0 {
		return gaps
	}
	var left []span
	for _, g := range gaps {
		left = append(left, w.got.missing(g)...)
	}
	return left
}

// noteRead learns from a read how the file is being read.
func (f *file) noteRead(want span, uid uint32, now time.Time) {
	f.used, f.fetch.uid = now, uid
	c := f.fetch.cursors.touch(want, now)
	for _, g := range f.held.missing(want) {
		f.fetch.asked += g.len()
	}
	look := c.run() <= lookLimit && f.fetch.asked <= lookLimit
	if f.fits() && (f.size <= smallFile || f.size < f.store.opts.WholeFileBelow && !look) {
		f.fetch.entire = true
	}
}

// fits reports whether the cache could hold the file as a whole.
func (f *file) fits() bool {
	m := f.store.opts.MaxSize
	return m == 0 || f.size+metaCost <= m
}

// wait enters a waiter and sees to it that somebody brings its bytes. The error
// is what is already known to be the outcome. file.mu is held.
func (f *file) wait(want span, p []byte, uid uint32, class ftppool.Class, now time.Time) (*waiter, error) {
	if f.gone != nil {
		return nil, f.gone
	}
	if f.store.ctx.Err() != nil {
		return nil, closedError(f.path)
	}
	w := &waiter{span: want, class: class, uid: uid, p: p, done: make(chan error, 1)}
	f.fetch.tail.give(w)
	if len(f.missing(w)) == 0 {
		w.done <- nil
		return w, nil
	}
	f.fetch.failed = slices.DeleteFunc(f.fetch.failed, func(r failedRange) bool { return !now.Before(r.until) })
	for _, r := range f.fetch.failed {
		for _, g := range f.missing(w) {
			if r.meets(g) {
				return nil, r.err
			}
		}
	}
	f.fetch.waiters = append(f.fetch.waiters, w)
	w.settled = class > ftppool.ClassRead
	f.schedule(now)
	w.settled = !w.deferred
	return w, nil
}

// settleAfter is how long a read away from all streams is deferred.
const settleAfter = 5 * time.Millisecond

// await waits for w's outcome.
func (f *file) await(ctx context.Context, w *waiter, deferred bool) error {
	var settle <-chan time.Time
	if deferred {
		t := time.NewTimer(settleAfter)
		defer t.Stop()
		settle = t.C
	}
	for {
		select {
		case err := <-w.done:
			return err
		case <-ctx.Done():
			f.leave(w)
			return ctx.Err()
		case now := <-settle:
			f.mu.Lock()
			w.settled = true
			f.schedule(now)
			f.mu.Unlock()
		}
	}
}

// leave ends a wait that its reader gave up. Nothing is written to its buffer
// after leave returned.
func (f *file) leave(w *waiter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.Index(f.fetch.waiters, w); i >= 0 {
		f.fetch.waiters = slices.Delete(f.fetch.waiters, i, i+1)
		f.schedule(time.Now())
	}
}

// complete fills what did not already go into p from the disk. It reports false
// when some of it was given up meanwhile.
func (f *file) complete(w *waiter, p []byte) bool {
	f.mu.Lock()
	pieces := w.got.missing(w.span)
	data, epoch := f.data, f.epoch
	here := true
	for _, s := range pieces {
		here = here && f.held.contains(s)
	}
	f.mu.Unlock()
	if !here {
		return false
	}
	for _, s := range pieces {
		if !f.read(p[s.lo-w.lo:s.hi-w.lo], s.lo, data, epoch) {
			return false
		}
	}
	return true
}

// wake ends the waits that have all they waited for. file.mu is held.
func (f *file) wake() {
	f.fetch.waiters = slices.DeleteFunc(f.fetch.waiters, func(w *waiter) bool {
		if len(f.missing(w)) > 0 {
			return false
		}
		w.done <- nil
		return true
	})
}

// fail ends the waits for bytes in s, and has them answered the same for a
// while. file.mu is held.
func (f *file) fail(s span, err error, now time.Time) {
	f.fetch.waiters = slices.DeleteFunc(f.fetch.waiters, func(w *waiter) bool {
		gaps := f.missing(w)
		if !slices.ContainsFunc(gaps, s.meets) {
			return false
		}
		for _, g := range gaps {
			if g.meets(s) { // the others may come from another stream
				f.fetch.failed = append(f.fetch.failed, failedRange{g.cut(s), err, now.Add(f.store.opts.Timeout)})
			}
		}
		w.done <- err
		return true
	})
	if n := len(f.fetch.failed); n > 256 {
		f.fetch.failed = slices.Delete(f.fetch.failed, 0, n-256)
	}
}

// endFetch ends all streams and all waits. file.mu is held.
func (f *file) endFetch(err error) {
	for _, st := range f.fetch.streams {
		st.cancel()
	}
	for _, w := range f.fetch.waiters {
		w.done <- err
	}
	f.fetch.waiters = nil
}

// progress notes that st brings bytes. What another stream, or a read, failed
// with lately stays known. file.mu is held.
func (st *stream) progress(now time.Time) {
	f := st.file
	st.attempts = 0
	f.fetch.trouble = nil
	if !f.fetch.cleared && !f.failing(now) {
		f.fetch.cleared = true
		f.store.failures.clear(f.path)
	}
}

// failing reports whether any bytes are known not to come. file.mu is held.
func (f *file) failing(now time.Time) bool {
	return slices.ContainsFunc(f.fetch.streams, func(st *stream) bool { return st.attempts > 0 }) ||
		slices.ContainsFunc(f.fetch.failed, func(r failedRange) bool { return now.Before(r.until) })
}
