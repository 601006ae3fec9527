package metadata

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// stat is a question about one name, shared by all who want it.
type stat struct {
	done  chan struct{} // closed when the fields below are set
	entry listing.Entry // as the server told it; its names are not to be used
	err   error
	at    time.Time
}

func (st *stat) ended() bool {
	select {
	case <-st.done:
		return true
	default:
		return false
	}
}

// told reports whether the server said of the name what, or that it is not. The
// question has ended.
func (st *stat) told() bool { return st.err == nil || errors.Is(st.err, fs.ErrNotExist) }

// beginStat returns the question about path that is under way, or puts it. The
// caller holds mu, and has seen that the store is not closed.
func (s *Store) beginStat(path string, uid uint32) *stat {
	if st := s.stats[path]; st != nil {
		return st
	}
	st := &stat{done: make(chan struct{})}
	s.stats[path] = st
	s.tasks.Go(func() {
		st.entry, st.err = s.askOne(path, uid)
		st.at = s.now()
		s.ahead.hush()
		s.mu.Lock()
		delete(s.stats, path)
		s.mu.Unlock()
		close(st.done)
	})
	return st
}

// asking reports whether a question about one name is under way.
func (s *Store) asking() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.stats) > 0
}

func (s *Store) askOne(path string, uid uint32) (listing.Entry, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.options.Timeout)
	defer cancel()
	begun := s.now()
	s.counters.stats.Add(1)
	e, err := s.remote.Stat(ctx, ftppool.Want{Class: ftppool.ClassLookup, UID: uid}, path)
	if err == nil && (e.Type < listing.File || e.Type > listing.Symlink || e.Size < listing.SizeUnknown) {
		err = fmt.Errorf("asking about %q: %w", path, ftppool.ErrProtocol)
	}
	switch {
	case err == nil:
		s.failures.clear(path)
	case s.ctx.Err() != nil:
		err = ErrClosed
	case !errors.Is(err, fs.ErrNotExist): // which is but a hint
		s.failures.note(path, err, s.now().Sub(begun))
	}
	return e, err
}

// waitStat waits for an answer until the caller's context or its limit ends.
func (s *Store) waitStat(ctx context.Context, st *stat, path string, limit <-chan time.Time) error {
	select {
	case <-st.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return ErrClosed
	case <-limit:
		return fmt.Errorf("asking about %q: no answer within %v: %w", path, s.options.Timeout, context.DeadlineExceeded)
	}
}

// Settle returns a file's entry with its size, for which it asks the server
// when the listing did not tell it. What it learns is kept.
func (s *Store) Settle(ctx context.Context, c Caller, path string) (listing.Entry, error) {
	dir, _ := split(path)
	known, ok := s.known(path)
	if ok && (known.Type != listing.File || known.Size != listing.SizeUnknown) {
		return known, nil
	}
	if c.NoFetch {
		return known, notFetched(path)
	}
	if _, err := s.failures.standing(path); err != nil {
		return known, err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return known, ErrClosed
	}
	st := s.beginStat(path, c.UID)
	s.mu.Unlock()
	limit := s.limit()
	defer limit.Stop()
	if err := s.waitStat(ctx, st, path, limit.C); err != nil {
		return known, err
	}
	switch {
	case errors.Is(st.err, fs.ErrNotExist):
		s.doubt(dir)
		return known, st.err
	case st.err != nil:
		return known, st.err
	case st.entry.Type == listing.File && st.entry.Size == listing.SizeUnknown:
		return known, fmt.Errorf("the server does not tell the size of %q: %w", path, ftppool.ErrUnsupported)
	}
	s.Learn(path, st.entry)
	if !ok {
		_, raw := split(path)
		known.Name, known.Raw = raw, raw
		known.Type, known.Target = st.entry.Type, st.entry.Target
		known.Size, known.MTime = st.entry.Size, st.entry.MTime
		return known, nil
	}
	return learned(known, st.entry), nil
}

// known returns what is held of one path, from its directory's listing or from
// an answer about it alone.
func (s *Store) known(path string) (listing.Entry, bool) {
	dir, raw := split(path)
	if d := s.held(dir); d != nil {
		if i, ok := d.indexRaw(raw); ok {
			return d.at(i), true
		}
		return listing.Entry{}, false
	}
	if f, err := s.remembered(dir, raw); err == nil {
		return f.Entry, true
	}
	return listing.Entry{}, false
}

// Learn corrects what is held of one path by what was learned of it alone: its
// exact size or time, or that it is another file now. The names in e are not
// used. An e of no type, size and time says that the file is gone, or may be:
// its directory is asked for again before it is served. A path that is in no
// held listing is none of ours.
func (s *Store) Learn(path string, e listing.Entry) {
	dir, raw := split(path)
	if e.Type == 0 && e.Size == listing.SizeUnknown && !e.MTime.Known() {
		s.doubt(dir)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.forgetLooks(dir)
		return
	}
	d := s.modify(dir, true, func(old *Directory) *Directory {
		if old == nil {
			return nil
		}
		i, ok := old.indexRaw(raw)
		if !ok {
			return old
		}
		was := old.at(i)
		is := learned(was, e)
		if is == was {
			return old
		}
		d := old.replaced(i, is)
		if !sameContent(was, is) {
			d.id = s.ids.Add(1)
		}
		return d
	})
	if d != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.looks[dir][raw]; st != nil && st.ended() && st.err == nil {
		corrected := &stat{done: st.done, entry: learned(st.entry, e), at: st.at}
		s.looks[dir][raw] = corrected
	}
}

// split returns a raw path's directory and last element.
func split(path string) (dir, raw string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}
