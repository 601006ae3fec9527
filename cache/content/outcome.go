package content

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// outcome decides what follows a transfer that ended with err: whether another
// is made for the same stream, and how long before. If none is, the stream is
// no longer one of the file's, and what is still wanted has another.
func (st *stream) outcome(err error) (delay time.Duration, again bool) {
	f, s := st.file, st.file.store
	switch {
	case st.ctx.Err() != nil || err == nil:
	case errors.Is(err, ErrChanged):
		f.replaced(err)
	case errors.Is(err, fs.ErrNotExist):
		defer s.opts.Changed(f.path, listing.Entry{Size: listing.SizeUnknown, MTime: listing.Anytime()})
	}
	now := time.Now()
	f.mu.Lock()
	st.remote = nil
	st.paused = time.Time{}
	if st.ctx.Err() == nil && err != nil && f.gone == nil {
		delay, again = f.retry(st, err, now)
	}
	if !again {
		if i := slices.Index(f.fetch.streams, st); i >= 0 {
			f.fetch.streams = slices.Delete(f.fetch.streams, i, i+1)
		}
		f.schedule(now)
	}
	at, attempt := st.pos, st.attempts
	f.mu.Unlock()
	if delay > 0 { // after a failure, and only then
		s.log.Info("a transfer failed and will be continued", "path", f.path, "at", at, "attempt", attempt, "error", err)
	}
	return delay, again
}

// retry decides whether st goes on after err. If not, those who wait for its
// bytes are told why. file.mu is held.
func (f *file) retry(st *stream, err error, now time.Time) (delay time.Duration, again bool) {
	goal, _ := f.goal(st, f.targets(now))
	wanted := goal > st.pos
	switch {
	case errors.Is(err, ftppool.ErrPreempted):
		return 0, wanted
	case errors.Is(err, errShort) && st.pos > st.opened+overlap:
		return 0, wanted
	case errors.Is(err, ftppool.ErrNoRestart) && !f.fetch.noRestart:
		f.fetch.noRestart = true
		f.store.noRestart.Store(true)
		if len(f.fetch.streams) > 1 {
			return 0, false // another is on its way through the file
		}
		st.pos, _ = f.held.firstMissing(span{0, f.size})
		st.begin = st.pos
		return 0, true
	}
	if st.attempts == 0 {
		st.failing = now
	}
	st.attempts++
	f.fetch.trouble = err
	failure := &Failure{Path: f.path, Attempts: st.attempts, Since: st.failing, Err: err}
	f.store.failures.note(failure, now)
	f.fetch.cleared = false
	left := st.failing.Add(f.store.opts.RetryFor).Sub(now)
	if final(err) || left <= 0 {
		f.fail(span{st.pos, max(f.stop(st), st.pos+1)}, failure, now)
		return 0, false
	}
	if !f.awaited(st) {
		return 0, false
	}
	return min(pauseBefore(st.attempts, err, now), left), true
}

// pauseBefore returns how long to wait before another attempt: longer each
// time, unless the pool knows when it will ask the server again.
func pauseBefore(attempt int, err error, now time.Time) time.Duration {
	var e *ftppool.Error
	if errors.As(err, &e) && e.RetryAt.After(now) {
		return e.RetryAt.Sub(now) + rand.N(firstRetry)
	}
	d := min(firstRetry<<min(attempt-1, 10), lastRetry)
	return d*3/4 + rand.N(d/2)
}

// awaited reports whether anybody waits for bytes that st would bring.
func (f *file) awaited(st *stream) bool {
	reach := span{st.pos, f.stop(st)}
	return slices.ContainsFunc(f.fetch.waiters, func(w *waiter) bool {
		return slices.ContainsFunc(f.missing(w), reach.meets)
	})
}
