// Package metadata knows what the directories of a mirror hold.
//
// A directory costs one LIST or MLSD, whatever is done with its entries: the
// whole listing is kept, as a Directory, and every later look-up, one of a
// missing name included, is answered from it. It is kept in three places: in
// ristretto, which may drop it at any time; among the few that are in use right
// now; and in one checksummed file per directory, so that a remount starts with
// what was known, and an outage leaves a mirror that can be walked.
//
// Freshness. A listing is served unasked for Options.Fresh. After that it is
// asked for again, and its successor refines it: times and sizes known more
// exactly than a LIST tells them stay. If that fails, the old listing is served,
// marked stale, and the failure is remembered for a while, so that one silent
// server does not hold up one request after the other. Only when the server
// says that a directory is gone is its listing dropped.
//
// Flights. Any number of callers that want a listing share one flight, which
// runs on the store's own context: a caller that gives up ends its own wait and
// nothing else. Flights in the background, of the lowest class, have two
// reasons:
//
//   - A look-up ahead of the listing: the first name looked up in a directory
//     that is not held is asked for alone (one round trip instead of megabytes),
//     while the listing is fetched behind it. A second name waits for the listing;
//     sessions for all who wait so are dialled meanwhile.
//     That a name is absent only a listing can tell.
//   - Listing ahead: when the second child of one directory is listed, somebody
//     is walking, and the other children are listed on idle sessions.
//
// Paths are raw, names are as shown; see package listing.
//
// Lock order: Store.update, then Store.mu, then the locks of memory, disk,
// failures and ahead, none of which is taken under another of these. No I/O is
// done under any.
package metadata

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Remote is the server; *ftppool.Pool is one.
type Remote interface {
	// List returns all entries of a directory. Its error Is fs.ErrNotExist or
	// ftppool.ErrNotDir only when the server was understood to say so.
	List(ctx context.Context, w ftppool.Want, dir string) (*listing.Listing, error)
	// Stat asks about one name. That it Is fs.ErrNotExist is a hint.
	Stat(ctx context.Context, w ftppool.Want, path string) (listing.Entry, error)
	// Spare is the number of sessions that could be used with nobody waiting, now
	// or as Expect said.
	Spare() int
	// Together reports whether Stats that wait for a session are sent together.
	Together() bool
	// Expect says that n requests will soon come at once.
	Expect(n int)
	// IgnoreCase reports whether the server takes names in any case.
	IgnoreCase() bool
}

// Caller is on whose behalf something is asked.
type Caller struct {
	UID uint32
	// NoFetch is a crawler's: it gets what is held, however old, else
	// fs.ErrPermission, and the server is not asked.
	NoFetch bool
}

// Options are what a mount decides about its listings.
type Options struct {
	Dir         string        // folder of the listing files; exists, and is used by one store
	Fresh       time.Duration // how long a listing is served unasked
	MaxMemory   int64         // bytes of listings in memory
	Timeout     time.Duration // bound of any call
	ListAhead   int           // listings ahead at once; 0 is off
	Connections int           // bound of sessions; with 1 no listing is begun behind a look-up
	Log         *slog.Logger
	Now         func() time.Time // nil: time.Now
}

// ErrClosed is the error of a call that Close ended.
var ErrClosed = ftppool.ErrClosed

// Store holds the listings of one mirror. All methods may be called from
// anywhere at any time.
type Store struct {
	options  Options
	remote   Remote
	memory   *memory
	disk     *disk
	failures *failures
	ahead    *ahead
	counters counters

	// update serialises changes of what is held, so that none is lost. It is
	// held while a listing is merged into another, which takes milliseconds.
	update  sync.Mutex
	changes atomic.Uint64 // counts them

	mu       sync.Mutex // guards the fields below
	flights  map[string]*flight
	sequence uint64           // of the last flight begun
	looks    map[string]looks // by directory
	answers  int              // in looks
	stats    map[string]*stat // by path, under way
	closed   bool

	staleAt atomic.Int64  // Unix nanoseconds: what was asked before must be asked again
	ids     atomic.Uint64 // the last Directory.ID given out

	ctx   context.Context // of everything shared; ended by Close
	stop  context.CancelFunc
	tasks sync.WaitGroup // all goroutines but the disk's; added to under mu
}

// Open returns a store over the listing files in o.Dir. It asks the server for
// nothing.
func Open(o Options, r Remote) (*Store, error) {
	switch {
	case o.Dir == "":
		return nil, errors.New("metadata: no folder for the listings")
	case o.Timeout <= 0:
		return nil, errors.New("metadata: the timeout must be positive")
	case o.Fresh < 0 || o.ListAhead < 0:
		return nil, errors.New("metadata: negative option")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	memory, err := newMemory(o.MaxMemory)
	if err != nil {
		return nil, err
	}
	s := &Store{
		options: o,
		remote:  r,
		memory:  memory,
		disk:    newDisk(o.Dir, o.Log),
		flights: make(map[string]*flight),
		looks:   make(map[string]looks),
		stats:   make(map[string]*stat),
	}
	s.failures = newFailures(o.Timeout, s.now)
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.ahead = newAhead(s)
	go s.disk.write()
	s.tasks.Go(s.ahead.run)
	s.tasks.Go(func() { prune(s.ctx, o.Dir, maxDisk, o.Log) })
	return s, nil
}

// Close ends all work that is under way, writes what is not written yet, and
// waits for every goroutine of the store. Calls still waiting get ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.tasks.Wait()
	s.disk.close()
	s.memory.close()
	return nil
}

// now is the wall clock: it goes on while the machine sleeps, as the mirror does.
func (s *Store) now() time.Time { return s.options.Now().Round(0) }

// fresh reports whether d may be served unasked.
func (s *Store) fresh(d *Directory) bool {
	age := s.now().Sub(d.fetched)
	return age >= 0 && age < s.options.Fresh && !d.asked.IsZero() && d.asked.UnixNano() > s.staleAt.Load()
}

// Held returns what is held of a directory, however old, nil if nothing. It
// never asks the server.
func (s *Store) Held(dir string) *Directory {
	d := s.held(dir)
	if d != nil && !s.fresh(d) {
		return d.asStale(s.retry(dir))
	}
	return d
}

// held returns what is held in memory, waits to be written, or is on disk.
func (s *Store) held(dir string) *Directory {
	if d := s.memory.get(dir); d != nil {
		return d
	}
	l, mine := s.memory.begin(dir)
	if !mine {
		<-l.done
		return l.d
	}
	d, known := s.disk.unwritten(dir)
	if !known {
		if d = s.disk.load(dir); d != nil {
			s.adopt(d)
		}
	}
	return s.memory.end(dir, l, d)
}

// adopt gives a directory that was decoded what is not on disk.
func (s *Store) adopt(d *Directory) {
	d.expires = d.fetched.Add(s.options.Fresh)
	d.id = s.ids.Add(1)
	d.folded, d.anyCase = new(folded), s.remote.IgnoreCase
	d.cost = d.measure()
}

// modify replaces what is held of a directory by what change makes of it, nil
// for nothing. change may be called more than once, and gets nil when nothing
// is held. What is learned bit by bit is written lazily.
func (s *Store) modify(dir string, lazily bool, change func(old *Directory) *Directory) *Directory {
	s.disk.throttle()
	for {
		before := s.changes.Load()
		old := s.held(dir)
		s.update.Lock()
		if s.changes.Load() != before {
			s.update.Unlock()
			continue
		}
		d := change(old)
		switch {
		case d == old:
		case d == nil:
			s.disk.remove(dir)
			s.memory.remove(dir)
			s.changes.Add(1)
		default:
			s.disk.put(d, lazily)
			s.memory.put(d)
			s.changes.Add(1)
		}
		s.update.Unlock()
		s.disk.tell()
		return d
	}
}

// MarkStale has every listing asked for again before it is served.
func (s *Store) MarkStale() {
	s.staleAt.Store(s.now().UnixNano())
	s.ahead.reset()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks, s.answers = make(map[string]looks), 0
}

// TryAgain has what failed asked for again when it is next wanted: the server
// may be in reach by now.
func (s *Store) TryAgain() { s.failures.lapse() }

// LastError is the last failure that concerned path: to list it, or to ask
// about it alone. It is a *Failure, or nil when it succeeded since.
func (s *Store) LastError(path string) error {
	if f := s.failures.last(path); f != nil {
		return f
	}
	return nil
}
