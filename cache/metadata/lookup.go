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
	// maxAnswers bounds the answers about single names that are remembered.
	maxAnswers = 4096
	// maxTogether is how many names of one directory are asked about alone at a
	// time, where such questions are sent together: they are answered within a
	// round trip or two, and a listing takes three.
	maxTogether = 32
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
	d, err := s.directory(ctx, c, dir, limit.C, s.passBy)
	if err != nil {
		return Found{}, err
	}
	f, err := answer(d, name)
	if err != nil && d.Unparsed() > 0 {
		return s.lookUnlisted(ctx, c, d, name, limit.C)
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

// passBy is the visit of who looks up one name: it is no walk. But those who
// wait here for one listing will each go on from it, so that their sessions had
// better be there by then.
func (s *Store) passBy(dir string) {
	s.mu.Lock()
	f := s.flights[dir]
	if f == nil {
		s.mu.Unlock()
		return
	}
	f.lookers++
	n := f.lookers
	s.mu.Unlock()
	s.remote.Expect(n)
}

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
// not be read: it may be in one of those. When the server can't be asked, the
// last answer stands, however old, as the listing does.
func (s *Store) lookUnlisted(ctx context.Context, c Caller, d *Directory, name string, limit <-chan time.Time) (Found, error) {
	dir := d.path
	var refusal error
	if c.NoFetch {
		refusal = notFetched(listing.Join(dir, name))
	} else if d.Stale() {
		_, refusal = s.failures.down()
	}
	var st *stat
	if refusal != nil {
		if st = s.lastLook(dir, name); st == nil {
			return Found{}, refusal
		}
	} else if st = s.beginLookUnlisted(dir, name, c.UID); st == nil {
		return Found{}, ErrClosed
	}
	if err := s.waitStat(ctx, st, listing.Join(dir, name), limit); err != nil {
		return Found{}, err
	}
	f := s.found(dir, name, st)
	f.Stale = d.Stale()
	switch {
	case st.err == nil:
		return f, nil
	case errors.Is(st.err, fs.ErrNotExist):
		return Found{Expires: f.Expires, Stale: f.Stale}, absent(dir, name)
	}
	return Found{}, st.err
}

// follow has a directory listed behind a look-up, when sessions are to spare
// and whoever looked up has gone on.
func (s *Store) follow(dir string) {
	if s.options.Connections > 1 {
		s.ahead.follow(dir)
	}
}

// beginLook returns the question about one name, put now, under way, or
// answered before; nil when the listing is what to wait for: it is under way,
// or wanted because others of the directory were asked for before. Those who
// come at once each ask, where that costs no more. Where listing failed, each
// name is asked about.
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
	case !known && len(names) > 0 && !failing && !s.atOnce(names):
		return nil
	}
	return s.askAlone(dir, name, uid)
}

// atOnce reports whether another name may be asked about beside these.
func (s *Store) atOnce(names looks) bool {
	if len(names) >= maxTogether || !s.remote.Together() {
		return false
	}
	for _, st := range names {
		if st.ended() {
			return false
		}
	}
	return true
}

// beginLookUnlisted returns the question about one name of a directory whose
// listing can't tell, put now, under way, or answered before; nil when the
// store is closed.
func (s *Store) beginLookUnlisted(dir, name string, uid uint32) *stat {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.looks[dir][name]
	if st != nil && (!st.ended() || s.current(st) && st.told()) {
		return st
	}
	return s.askAlone(dir, name, uid)
}

// lastLook returns the last answer about one name, nil when there is none.
func (s *Store) lastLook(dir, name string) *stat {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.looks[dir][name]; st != nil && st.ended() && st.told() {
		return st
	}
	return nil
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
