package metadata

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
)

// Directory returns the whole listing of a directory: the held one while it is
// fresh, else a new one, else, when the server can't be asked, the held one
// marked stale. An error means that nothing is held or that the directory is
// gone (fs.ErrNotExist, ftppool.ErrNotDir); then it is the server's.
func (s *Store) Directory(ctx context.Context, c Caller, dir string) (*Directory, error) {
	limit := s.limit()
	defer limit.Stop()
	return s.directory(ctx, c, dir, limit.C, s.ahead.visit)
}

// limit is the timer that bounds one call.
func (s *Store) limit() *time.Timer { return time.NewTimer(s.options.Timeout + slack) }

// directory is Directory within a limit. It calls visit once the answer is held
// or under way: what follows from the visit must not overtake it.
func (s *Store) directory(ctx context.Context, c Caller, dir string, limit <-chan time.Time, visit func(dir string)) (*Directory, error) {
	held := s.held(dir)
	switch {
	case held != nil && s.fresh(held):
		s.counters.hits.Add(1)
		if !c.NoFetch {
			visit(dir)
		}
		return held, nil
	case c.NoFetch:
		return s.unfetched(held, dir)
	}
	s.counters.misses.Add(1)
	if _, err := s.failures.standing(dir); err != nil {
		return s.despite(err, held, dir)
	}
	if _, err := s.failures.down(); err != nil && held != nil {
		return s.despite(err, held, dir)
	}
	for {
		f, d := s.join(dir, c.UID)
		visit(dir)
		if d != nil {
			return d, nil
		}
		if f == nil {
			return nil, ErrClosed
		}
		d, err := s.wait(ctx, f, limit)
		switch {
		case err == nil:
			return d, nil
		case ctx.Err() != nil || errors.Is(err, ErrClosed):
			return nil, err
		case errors.Is(err, ftppool.ErrPreempted) && f.want.Class == ftppool.ClassIdle:
			continue // it ended before it knew that somebody waits
		}
		return s.despite(err, held, dir)
	}
}

// despite answers with what is held although err kept it from being renewed.
func (s *Store) despite(err error, held *Directory, dir string) (*Directory, error) {
	if held == nil || gone(dir, err) {
		return nil, err
	}
	return held.asStale(s.retry(dir)), nil
}

// retry is when it is worth asking for a directory again.
func (s *Store) retry(dir string) time.Time {
	next := s.now().Add(shortest)
	failed, _ := s.failures.standing(dir)
	down, _ := s.failures.down()
	for _, until := range []time.Time{failed, down} {
		if until.After(next) {
			next = until
		}
	}
	return next
}

// unfetched is the answer to callers for whom the server is not asked.
func (s *Store) unfetched(held *Directory, path string) (*Directory, error) {
	if held == nil {
		return nil, notFetched(path)
	}
	return held.asStale(s.now().Add(shortest)), nil
}

func notFetched(path string) error {
	return fmt.Errorf("%q is not held, and nothing is fetched for this program: %w", path, fs.ErrPermission)
}

// Refresh lists a directory again, now, however fresh and whatever failed
// before, and returns what was held before (nil for nothing) and after.
func (s *Store) Refresh(ctx context.Context, c Caller, dir string) (before, after *Directory, err error) {
	before = s.held(dir)
	if c.NoFetch {
		return before, nil, notFetched(dir)
	}
	limit := s.limit()
	defer limit.Stop()
	s.mu.Lock()
	since := s.sequence
	s.mu.Unlock()
	for {
		f := s.joinAny(dir, c.UID)
		if f == nil {
			return before, nil, ErrClosed
		}
		after, err = s.wait(ctx, f, limit.C)
		if f.sequence > since {
			return before, after, err
		}
		// That flight began before this call: what it saw may be what was before.
		select {
		case <-f.done:
		default:
			return before, nil, err
		}
	}
}

// joinAny returns the flight for dir, which it begins if there is none.
func (s *Store) joinAny(dir string, uid uint32) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[dir]; f != nil {
		f.claim(uid)
		return f
	}
	return s.begin(dir, ftppool.Want{Class: ftppool.ClassLookup, UID: uid}, nil)
}
