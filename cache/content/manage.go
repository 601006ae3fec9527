package content

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Evict gives up what is held of the file at path, pinned or not. The error Is
// fs.ErrNotExist when nothing is, and ErrInUse while a handle is open on it.
func (s *Store) Evict(path string) error {
	gens := s.generations(path)
	if len(gens) == 0 {
		return fmt.Errorf("evict %s: nothing of it is held: %w", path, fs.ErrNotExist)
	}
	for _, f := range gens {
		if _, ok := s.giveUp(f, f.unread); !ok {
			return fmt.Errorf("evict %s: %w", path, ErrInUse)
		}
	}
	return nil
}

// Clear gives up everything that is not open, pinned or not, and returns the
// bytes this freed and how many files stay because they are open.
func (s *Store) Clear() (freed int64, inUse int) {
	for _, f := range s.all() {
		n, ok := s.giveUp(f, f.unread)
		freed += n
		if !ok {
			inUse++
		}
	}
	return freed, inUse
}

// unread reports whether no handle is open on f. file.mu is held.
func (f *file) unread() bool { return f.handles == 0 }

// Pin keeps what is held of path from being evicted to make room, or no longer.
// The error Is fs.ErrNotExist when nothing is held.
func (s *Store) Pin(path string, on bool) error {
	gens := s.generations(path)
	if len(gens) == 0 {
		return fmt.Errorf("pin %s: nothing of it is held: %w", path, fs.ErrNotExist)
	}
	for _, f := range gens {
		f.mu.Lock()
		f.pinned = on
		f.mu.Unlock()
		if err := f.save(false); err != nil {
			return err
		}
	}
	return nil
}

// MakeRoom evicts what was used longest ago until the bounds are kept, and
// returns the bytes this freed.
func (s *Store) MakeRoom() int64 {
	before := s.counters.evicted.Load()
	s.keepRoom()
	return s.counters.evicted.Load() - before
}

func (s *Store) generations(path string) []*file {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*file(nil), s.files[path]...)
}

// Warm fetches all of version v of the file at path, behind everybody who
// reads, and returns when it is whole. It calls progress now and then with how
// many bytes are held, from the caller's goroutine. What was fetched stays when
// ctx ends before.
func (s *Store) Warm(ctx context.Context, uid uint32, path string, v listing.Version, progress func(held int64)) error {
	h, err := s.Open(ctx, uid, path, v)
	if err != nil || h.file == nil {
		return err
	}
	defer h.Close()
	f := h.file
	if progress == nil {
		progress = func(int64) {}
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		f.mu.Lock()
		if f.held.contains(span{0, f.size}) {
			f.mu.Unlock()
			break
		}
		w, err := f.wait(span{0, f.size}, nil, uid, ftppool.ClassIdle, time.Now())
		f.mu.Unlock()
		if err != nil {
			return err
		}
		for waiting := true; waiting; {
			select {
			case err := <-w.done:
				if err != nil {
					return err
				}
				waiting = false
			case <-tick.C:
				progress(f.state().Held)
			case <-ctx.Done():
				f.leave(w)
				return ctx.Err()
			}
		}
	}
	progress(f.size)
	if done := f.confirm(); done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.whole:
		return nil
	case f.gone != nil:
		return f.gone
	default:
		return &Failure{Path: path, Err: f.doubt}
	}
}
