package metadata

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// flight is one listing under way, shared by all who want it.
type flight struct {
	dir      string
	want     ftppool.Want
	sequence uint64    // flights with a higher one began later
	asked    time.Time // when it began

	wanted   chan struct{} // closed when a caller waits for a flight of ClassIdle
	wantedBy uint32        // that caller's uid; guarded by Store.mu until wanted is closed
	isWanted bool          // guarded by Store.mu
	lookers  int           // who wait for it to look up a name; guarded by Store.mu

	landed func(error) // called once, before the goroutine ends; may be nil

	done chan struct{} // closed when d and err are set
	d    *Directory
	err  error
}

const (
	// patience is how many times Options.Timeout a flight may take while no
	// caller waits longer than one: a huge directory on a slow line is listed in
	// the end, and the next to ask has it. Silence ends it much earlier, in the pool.
	patience = 10
	// slack lets a flight that ends at the bound itself say why.
	slack = 250 * time.Millisecond
)

// join returns the flight for dir, which it begins if there is none, or the
// directory if it was listed since the caller looked. Both are nil when the
// store is closed.
func (s *Store) join(dir string, uid uint32) (*flight, *Directory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[dir]; f != nil {
		f.claim(uid)
		return f, nil
	}
	if d := s.inMemory(dir); d != nil && s.fresh(d) {
		return nil, d
	}
	return s.begin(dir, ftppool.Want{Class: ftppool.ClassLookup, UID: uid}, nil), nil
}

// claim says that a caller waits for the flight. The caller holds mu.
func (f *flight) claim(uid uint32) {
	if !f.isWanted {
		f.isWanted, f.wantedBy = true, uid
		close(f.wanted)
	}
}

// background begins a flight of the lowest class unless there is one for dir.
func (s *Store) background(dir string, landed func(error)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flights[dir] != nil {
		return false
	}
	return s.begin(dir, ftppool.Want{Class: ftppool.ClassIdle}, landed) != nil
}

// begin begins a flight. The caller holds mu.
func (s *Store) begin(dir string, want ftppool.Want, landed func(error)) *flight {
	if s.closed {
		return nil
	}
	s.sequence++
	f := &flight{
		dir: dir, want: want, sequence: s.sequence, asked: s.now(), landed: landed,
		wanted: make(chan struct{}), done: make(chan struct{}),
	}
	if want.Class != ftppool.ClassIdle {
		f.claim(want.UID)
	}
	s.flights[dir] = f
	s.tasks.Go(func() { s.fly(f) })
	return f
}

// inMemory is held without I/O: it may miss what is only on disk.
func (s *Store) inMemory(dir string) *Directory {
	if d := s.memory.get(dir); d != nil {
		return d
	}
	d, _ := s.disk.unwritten(dir)
	return d
}

func (s *Store) inFlight(dir string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flights[dir] != nil
}

// fly is the goroutine of a flight.
func (s *Store) fly(f *flight) {
	l, err := s.ask(f)
	switch {
	case err == nil:
		f.d = s.keep(f, l)
		s.failures.clear(f.dir)
	case s.ctx.Err() != nil:
		f.err = ErrClosed
	case errors.Is(err, ftppool.ErrPreempted):
		f.err = err // nobody waits for it, and nothing is wrong
	default:
		f.err = err
		s.failures.note(f.dir, err, s.now().Sub(f.asked))
		if gone(f.dir, err) {
			s.drop(f.dir)
		}
	}
	s.mu.Lock()
	delete(s.flights, f.dir)
	if f.err == nil || gone(f.dir, f.err) {
		s.forgetLooks(f.dir)
	}
	s.mu.Unlock()
	close(f.done)
	if f.landed != nil {
		f.landed(f.err)
	}
	s.ahead.signal()
}

type reply struct {
	l   *listing.Listing
	err error
}

// ask has the server list the directory. A flight of the lowest class may wait
// for a session behind all others; once a caller waits for it, it may not, so
// after a while the question is put again, in the caller's name.
func (s *Store) ask(f *flight) (*listing.Listing, error) {
	ctx, cancel := context.WithTimeout(s.ctx, patience*s.options.Timeout)
	defer cancel()
	list := func(w ftppool.Want) reply {
		s.counters.lists.Add(1)
		l, err := s.remote.List(ctx, w, f.dir)
		return reply{l, err}
	}
	if f.want.Class != ftppool.ClassIdle {
		a := list(f.want)
		return a.l, a.err
	}
	replies := make(chan reply, 2)
	pending := 0
	start := func(w ftppool.Want) {
		pending++
		s.tasks.Go(func() { replies <- list(w) })
	}
	start(f.want)
	hurry := time.NewTimer(s.options.Timeout / 3)
	hurry.Stop()
	defer hurry.Stop()
	wanted, urgent := f.wanted, false
	for {
		promote := false
		select {
		case a := <-replies:
			pending--
			preempted := errors.Is(a.err, ftppool.ErrPreempted)
			if promote = preempted && !urgent && s.isWanted(f); promote {
				break
			}
			if a.err == nil || pending == 0 {
				return a.l, a.err
			}
		case <-wanted:
			wanted = nil
			hurry.Reset(s.options.Timeout / 3)
		case <-hurry.C:
			promote = !urgent
		}
		if promote {
			urgent = true
			start(ftppool.Want{Class: ftppool.ClassLookup, UID: f.wantedBy})
		}
	}
}

func (s *Store) isWanted(f *flight) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f.isWanted
}

// keep makes a listing the one that is held.
func (s *Store) keep(f *flight, l *listing.Listing) *Directory {
	fetched := s.now()
	s.counters.unparsed.Add(uint64(l.Unparsed))
	known := s.looked(f.dir)
	return s.modify(f.dir, false, func(old *Directory) *Directory {
		d := &Directory{
			path: f.dir, entries: l.Entries, unparsed: l.Unparsed,
			asked: f.asked, fetched: fetched, expires: fetched.Add(s.options.Fresh),
			folded: new(folded), anyCase: s.remote.IgnoreCase,
		}
		changed := true
		if old != nil {
			d.entries, changed = merge(old.Entries(), l.Entries)
		}
		if changed {
			d.id = s.ids.Add(1)
		} else {
			d.id = old.id
		}
		for _, e := range known {
			if i, ok := d.index(e.Name); ok {
				d = d.replaced(i, refine(e, d.at(i)))
			}
		}
		d.cost = d.measure()
		return d
	})
}

// drop forgets a directory that is gone. Its parent's listing showed it, so
// that is asked for again too.
func (s *Store) drop(dir string) {
	s.modify(dir, false, func(*Directory) *Directory { return nil })
	parent, _ := split(dir)
	s.doubt(parent)
}

// doubt has a directory asked for again before it is served.
func (s *Store) doubt(dir string) {
	s.modify(dir, true, func(old *Directory) *Directory {
		if old == nil || old.asked.IsZero() {
			return old
		}
		d := *old
		d.asked, d.expires = time.Time{}, s.now()
		return &d
	})
}

// wait waits for a flight until the caller's context or its limit ends.
func (s *Store) wait(ctx context.Context, f *flight, limit <-chan time.Time) (*Directory, error) {
	select {
	case <-f.done:
		return f.d, f.err
	default:
	}
	select {
	case <-f.done:
		return f.d, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.ctx.Done():
		return nil, ErrClosed
	case <-limit:
		err := fmt.Errorf("listing %q: no complete answer within %v: %w", f.dir, s.options.Timeout, context.DeadlineExceeded)
		s.failures.note(f.dir, err, s.options.Timeout)
		return nil, err
	}
}
