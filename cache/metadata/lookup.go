package metadata

import (
	"context"
	"errors"
	"io/fs"
	"time"
	"unicode/utf8"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Found is the answer to a look-up.
type Found struct {
	Entry   listing.Entry
	Path    string    // the entry's raw path
	Expires time.Time // until when the answer holds, that of an absent name too
	Stale   bool      // from a listing that could not be renewed
}

const (
	// brief is how long an answer about one name alone is given out for. The
	// store knows it for longer, so asking again costs nothing; but the listing
	// behind it may know better, a symlink for instance from what it points to.
	brief = 10 * time.Second
	// headStart is what a look-up gets before the listing behind it may take a
	// session, so that it has the one that is connected.
	headStart = 20 * time.Millisecond
	// maxAnswers bounds the answers about single names that are remembered.
	maxAnswers = 4096
)

// looks are the names of one directory that were asked about alone, because it
// was not listed yet.
type looks map[string]*stat

// Lookup returns the entry shown as name in a directory. For a name that is
// absent the error Is fs.ErrNotExist and Found.Expires says how long that holds;
// any other error means that it is not known.
func (s *Store) Lookup(ctx context.Context, c Caller, dir, name string) (Found, error) {
	if listing.CheckName(name) != nil || !utf8.ValidString(name) {
		return Found{Expires: s.now().Add(s.options.Fresh)}, absent(dir, name)
	}
	held := s.held(dir)
	if held != nil && s.fresh(held) {
		if f, err := answer(held, name); err == nil || held.Unparsed() == 0 {
			s.counters.hits.Add(1)
			return f, err
		}
	}
	limit := s.limit()
	defer limit.Stop()
	if held == nil {
		if c.NoFetch {
			return s.remembered(dir, name)
		}
		if f, ok, err := s.look(ctx, c, dir, name, limit.C); ok || err != nil {
			return f, err
		}
	}
	d, err := s.directory(ctx, c, dir, limit.C, passBy)
	if err != nil {
		return Found{}, err
	}
	f, err := answer(d, name)
	if err != nil && d.Unparsed() > 0 && !d.Stale() && !c.NoFetch {
		return s.lookUnlisted(ctx, c, dir, name, limit.C)
	}
	return f, err
}

// answer is what a listing says of a name.
func answer(d *Directory, name string) (Found, error) {
	f := Found{Expires: d.Expires(), Stale: d.Stale()}
	e, ok := d.Find(name)
	if !ok {
		return f, absent(d.path, name)
	}
	f.Entry, f.Path = e, listing.Join(d.path, e.Raw)
	return f, nil
}

// passBy is the visit of who looks up one name: it is no walk.
func passBy(string) {}

func absent(dir, name string) error {
	return &fs.PathError{Op: "lookup", Path: listing.Join(dir, name), Err: fs.ErrNotExist}
}

// look asks about one name of a directory that is not held. ok is false when
// only the listing can tell.
func (s *Store) look(ctx context.Context, c Caller, dir, name string, limit <-chan time.Time) (f Found, ok bool, err error) {
	st := s.beginLook(dir, name, c.UID)
	if st == nil {
		return Found{}, false, nil
	}
	behind := time.NewTimer(headStart)
	defer behind.Stop()
	select {
	case <-st.done:
	case <-behind.C:
		s.follow(dir)
	case <-ctx.Done():
	}
	if err := s.waitStat(ctx, st, listing.Join(dir, name), limit); err != nil {
		return Found{}, false, err
	}
	if st.err != nil {
		return Found{}, false, nil
	}
	s.follow(dir)
	return s.found(dir, name, st), true, nil
}

// lookUnlisted asks about one name that is not in a listing of which lines could
// not be read: it may be in one of those.
func (s *Store) lookUnlisted(ctx context.Context, c Caller, dir, name string, limit <-chan time.Time) (Found, error) {
	st := s.beginLookUnlisted(dir, name, c.UID)
	if st == nil {
		return Found{}, ErrClosed
	}
	if err := s.waitStat(ctx, st, listing.Join(dir, name), limit); err != nil {
		return Found{}, err
	}
	f := s.found(dir, name, st)
	switch {
	case st.err == nil:
		return f, nil
	case errors.Is(st.err, fs.ErrNotExist):
		return Found{Expires: f.Expires}, absent(dir, name)
	}
	return Found{}, st.err
}

// follow has a directory listed behind a look-up, when sessions are to spare.
func (s *Store) follow(dir string) {
	if s.options.Connections > 1 {
		s.ahead.follow(dir)
	}
}

// beginLook returns the question about one name, put now, under way, or
// answered before; nil when the listing is what to wait for: it is under way,
// or wanted because this is not the first name of the directory to be asked
// for. Where listing failed, each name is asked about.
func (s *Store) beginLook(dir, name string, uid uint32) *stat {
	failing := s.failures.last(dir) != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.looks[dir]
	st := names[name]
	known := st != nil && st.ended()
	switch {
	case st != nil && (!known || st.err == nil && s.current(st)):
		return st
	case s.flights[dir] != nil:
		return nil
	case known && st.err != nil && !failing:
		return nil
	case !known && len(names) > 0 && !failing:
		return nil
	}
	return s.askAlone(dir, name, uid)
}

// beginLookUnlisted returns the question about one name of a directory whose
// listing can't tell, put now, under way, or answered before; nil when the
// store is closed.
func (s *Store) beginLookUnlisted(dir, name string, uid uint32) *stat {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.looks[dir][name]
	if st != nil && (!st.ended() || s.current(st) && (st.err == nil || errors.Is(st.err, fs.ErrNotExist))) {
		return st
	}
	return s.askAlone(dir, name, uid)
}

// current reports whether an answer is no older than a listing may be.
func (s *Store) current(st *stat) bool { return s.now().Sub(st.at) < s.options.Fresh }

// askAlone puts the question about one name, and remembers it; nil when the
// store is closed. The caller holds mu.
func (s *Store) askAlone(dir, name string, uid uint32) *stat {
	if s.closed {
		return nil
	}
	if s.looks[dir][name] == nil {
		if s.answers >= maxAnswers {
			s.looks, s.answers = make(map[string]looks), 0
		}
		s.answers++
	}
	if s.looks[dir] == nil {
		s.looks[dir] = make(looks)
	}
	st := s.beginStat(listing.Join(dir, name), uid)
	s.looks[dir][name] = st
	return st
}

// remembered answers from what was asked about alone, without asking.
func (s *Store) remembered(dir, name string) (Found, error) {
	s.mu.Lock()
	st := s.looks[dir][name]
	s.mu.Unlock()
	if st == nil || !st.ended() || st.err != nil {
		return Found{}, notFetched(listing.Join(dir, name))
	}
	return s.found(dir, name, st), nil
}

func (s *Store) found(dir, name string, st *stat) Found {
	e := st.entry
	e.Name, e.Raw = name, name
	return Found{
		Entry: e, Path: listing.Join(dir, name),
		Expires: s.now().Add(min(brief, s.options.Fresh)),
	}
}

// looked returns the entries of a directory that were asked about alone.
func (s *Store) looked(dir string) []listing.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var known []listing.Entry
	for name, st := range s.looks[dir] {
		if st.ended() && st.err == nil {
			e := st.entry
			e.Name, e.Raw = name, name
			known = append(known, e)
		}
	}
	return known
}

// forgetLooks drops what the listing of dir, or its absence, supersedes. The
// caller holds mu.
func (s *Store) forgetLooks(dir string) {
	s.answers -= len(s.looks[dir])
	delete(s.looks, dir)
}
