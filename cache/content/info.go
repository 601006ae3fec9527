package content

import (
	"slices"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// State is what is held of a file.
type State struct {
	Version listing.Version
	Held    int64     // bytes
	Whole   bool      // all of it, confirmed by the server
	Pinned  bool      // never evicted
	Fetched time.Time // when the latest bytes came; zero if none did
	Used    time.Time
}

// State tells what is held of version v of the file at path.
func (s *Store) State(path string, v listing.Version) State {
	if v.Size == 0 {
		return State{Version: v, Whole: true}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files[path] {
		if f.matches(v) {
			return f.state()
		}
	}
	return State{Version: v}
}

func (f *file) state() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return State{
		Version: f.version,
		Held:    f.held.total(),
		Whole:   f.whole,
		Pinned:  f.pinned,
		Fetched: f.fetched,
		Used:    f.used,
	}
}

// LastError returns the last failure to read path, nil when none happened or
// it was overcome.
func (s *Store) LastError(path string) error { return s.failures.get(path) }

// TryAgain has transfers that failed tried again now, and reads that failed when
// they are next wanted.
func (s *Store) TryAgain() {
	for _, f := range s.all() {
		f.mu.Lock()
		f.fetch.failed = nil
		for _, st := range f.fetch.streams {
			st.hurry()
		}
		f.mu.Unlock()
	}
}

// Info describes one content that is held.
type Info struct {
	Path string // raw
	State
	Disk    int64 // bytes it takes
	Handles int   // open now
}

// Files lists what is held, by path.
func (s *Store) Files() []Info {
	var list []Info
	for _, f := range s.all() {
		st := f.state()
		f.mu.Lock()
		i := Info{Path: f.path, State: st, Disk: f.blocks, Handles: f.handles}
		f.mu.Unlock()
		if i.Held > 0 || i.Handles > 0 {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b Info) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// Stats is a store at work, for people and metrics.
type Stats struct {
	Files     int   // held or open
	Used      int64 // bytes on disk
	MaxSize   int64 // 0: no bound
	Hits      int64 // reads answered from what was held
	Misses    int64 // reads that waited for the server
	Served    int64 // bytes given to readers, other than by the kernel from whole files
	Fetched   int64 // bytes taken from the server
	Streams   int64 // transfers begun
	Evicted   int64 // bytes
	Changed   int64 // files found replaced on the server
	Through   int64 // bytes that could not be kept on disk
	Refusal   error // why the disk keeps nothing for now; nil when it does
	Transfers []Transfer
}

// Transfer is a transfer under way, or waiting to be.
type Transfer struct {
	Path   string
	Size   int64 // of the file
	Held   int64 // of it
	Offset int64 // where the transfer is
	Rate   float64
	Class  ftppool.Class
	Since  time.Time // when it got its session; zero while it waits for one
	Paused bool      // it waits for its reader to go on
}

// Stats returns what the store does and did since it was opened.
func (s *Store) Stats() Stats {
	c := &s.counters
	st := Stats{
		Used:    s.room.used.Load(),
		MaxSize: s.opts.MaxSize,
		Hits:    c.hits.Load(),
		Misses:  c.misses.Load(),
		Served:  c.served.Load(),
		Fetched: c.fetched.Load(),
		Streams: c.streams.Load(),
		Evicted: c.evicted.Load(),
		Changed: c.changed.Load(),
		Through: c.through.Load(),
		Refusal: s.room.refuses(),
	}
	for _, f := range s.all() {
		st.Files++
		f.mu.Lock()
		for _, t := range f.fetch.streams {
			transfer := Transfer{
				Path: f.path, Size: f.size, Held: f.held.total(), Offset: t.pos,
				Rate: t.rate, Class: t.class, Paused: !t.paused.IsZero(),
			}
			if t.remote != nil {
				transfer.Since = t.since
			}
			st.Transfers = append(st.Transfers, transfer)
		}
		f.mu.Unlock()
	}
	slices.SortFunc(st.Transfers, func(a, b Transfer) int {
		if c := strings.Compare(a.Path, b.Path); c != 0 {
			return c
		}
		return int(a.Offset - b.Offset)
	})
	return st
}
