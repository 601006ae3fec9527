package content

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/mirrorfs/mirrorfs/cache/internal/record"
	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// file is one generation: the bytes of one version of one path, held in part or
// as a whole, with the fetches and the readers it has now.
type file struct {
	store *Store
	path  string
	gen   uint64
	size  int64 // > 0

	// disk is held shared while bytes are written and entered in held, and alone
	// while bytes are given up, so that none are entered that are being punched.
	disk sync.RWMutex
	// record is held while the .meta is written or removed. After disk, before mu.
	record sync.Mutex

	mu      sync.Mutex // guards all below
	version listing.Version
	held    ranges // in the .dat and not given up
	durable ranges // those of them that were synced
	whole   bool   // all held, and the server agreed afterwards that this is the version
	lent    bool   // a reader outside has, or had, the .dat: nothing of it may be punched
	sums    []byte // once whole and synced: see meta.Sums
	// gone means that this is out of the index: replaced on the server, damaged,
	// or given up. What is held can still be read, nothing more is fetched.
	gone    error
	pinned  bool
	onDisk  bool // a .dat was made
	fetched time.Time
	used    time.Time
	// savedUsed is the time of use that the record has: being somewhat behind
	// saves a write for every file that is opened.
	savedUsed time.Time
	blocks    int64 // bytes counted in room.used
	epoch     int64 // grows whenever held bytes are given up

	refs       int // handles, streams and jobs; above 0 the .dat stays open and is not evicted
	handles    int
	lastClosed time.Time
	data       *os.File // nil while closed, or never made
	sealing    bool

	asking  chan struct{} // not nil while the server is asked to confirm a complete file
	doubt   error         // why the latest such question did not make it whole
	doubted time.Time

	fetch fetch
}

// usedPrecision is how far behind a record's time of use may be.
const usedPrecision = 10 * time.Minute

// metaCost is what a record is counted as in the bounds of the cache.
const metaCost = 4096

func (s *Store) newFile(path string, gen uint64, v listing.Version) *file {
	return &file{store: s, path: path, gen: gen, size: v.Size, version: v}
}

func (f *file) base() string { return baseName(f.path, f.gen) }

// retain keeps the file open and unevicted until release.
func (f *file) retain() {
	f.mu.Lock()
	f.refs++
	f.mu.Unlock()
}

// release undoes retain. The last one closes the .dat and, if nothing came of
// the file, takes it out of the index.
func (f *file) release() {
	f.mu.Lock()
	f.refs--
	last := f.refs == 0
	var data *os.File
	if last {
		data, f.data = f.data, nil
		f.fetch = fetch{}
	}
	empty := last && len(f.held.spans) == 0 && f.gone == nil
	var freed int64
	if last && f.gone != nil {
		freed, f.blocks = f.blocks, 0
	}
	f.mu.Unlock()
	if data != nil {
		f.measure(data)
		data.Close()
	}
	f.store.room.used.Add(-freed)
	if empty {
		f.store.forgetEmpty(f)
	}
}

// closeData closes the .dat for good, when the store closes.
func (f *file) closeData() {
	f.mu.Lock()
	data := f.data
	f.data = nil
	f.mu.Unlock()
	if data != nil {
		data.Close()
	}
}

// save writes the record, unless the file is gone. With sync it is on the disk
// when save returns.
func (f *file) save(sync bool) error {
	f.record.Lock()
	defer f.record.Unlock()
	f.mu.Lock()
	if f.gone != nil || !f.onDisk {
		f.mu.Unlock()
		return nil
	}
	m := meta{
		Path:    []byte(f.path),
		Version: f.version,
		Boot:    f.store.boot,
		Held:    fromRanges(&f.held),
		Durable: fromRanges(&f.durable),
		Whole:   f.whole,
		Sums:    f.sums,
		Fetched: f.fetched,
		Used:    f.used,
		Pinned:  f.pinned,
	}
	f.savedUsed = f.used
	f.mu.Unlock()
	payload, err := m.encode()
	if err != nil {
		return err
	}
	if err := record.Write(f.store.file(f.base(), metaExt), metaKind, payload, sync); err != nil {
		f.store.dirty.add(f) // tried again
		return err
	}
	return nil
}

// narrow notes a more exact version of the same content.
func (f *file) narrow(v listing.Version) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.version.Same(v) {
		return
	}
	mtime := f.version.MTime.Intersect(v.MTime)
	if mtime != f.version.MTime {
		f.version.MTime = mtime
		f.store.dirty.add(f)
	}
}

// abandon takes a file out of use for a reason that readers of missing bytes
// are given. Streams end, what is held stays readable.
func (f *file) abandon(reason error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone == nil {
		f.gone = reason
	}
	f.endFetch(reason)
}

// drop abandons a file, takes it out of the index and removes it from the disk.
// Handles that are open on it go on reading what is held.
func (s *Store) drop(f *file, reason error) {
	s.mu.Lock()
	s.unindex(f)
	s.mu.Unlock()
	f.abandon(reason)
	f.erase()
}

// erase removes the file from the disk. The record goes first: a .dat without
// one is nothing, a record without its .dat would be a lie if a .dat came back.
func (f *file) erase() {
	f.record.Lock()
	defer f.record.Unlock()
	f.mu.Lock()
	onDisk := f.onDisk
	var freed int64
	if f.refs == 0 { // else release counts it off, when the last descriptor closes
		freed, f.blocks = f.blocks, 0
	}
	f.mu.Unlock()
	f.store.room.used.Add(-freed)
	if onDisk {
		f.store.discard(f.base()+metaExt, nil)
		f.store.discard(f.base()+datExt, nil)
	}
}

// unindex takes f out of the index. Store.mu is held.
func (s *Store) unindex(f *file) bool {
	gens := s.files[f.path]
	for i, g := range gens {
		if g != f {
			continue
		}
		if len(gens) == 1 {
			delete(s.files, f.path)
		} else {
			s.files[f.path] = append(gens[:i:i], gens[i+1:]...)
		}
		return true
	}
	return false
}

// errEmpty is why a file of which nothing is held leaves the index.
var errEmpty = errors.New("nothing of it is held")

// forgetEmpty takes a file out of the index that nobody uses and of which
// nothing is held.
func (s *Store) forgetEmpty(f *file) {
	s.mu.Lock()
	f.mu.Lock()
	empty := f.refs == 0 && len(f.held.spans) == 0 && f.gone == nil
	if empty {
		s.unindex(f)
		f.gone = errEmpty
	}
	f.mu.Unlock()
	s.mu.Unlock()
	if empty {
		f.erase()
	}
}

// read fills p with held bytes from off. It reports false when they were given
// up meanwhile. The file is retained by the caller.
func (f *file) read(p []byte, off int64, data *os.File, epoch int64) bool {
	if data == nil { // the store is closing
		return false
	}
	n, err := data.ReadAt(p, off)
	f.mu.Lock()
	kept := f.epoch == epoch
	f.mu.Unlock()
	if n == len(p) || errors.Is(err, os.ErrClosed) { // closing, likewise
		return kept && n == len(p)
	}
	if kept {
		f.damaged(err)
	}
	return false
}

// damaged says that the .dat does not have what is held, and gives that up.
func (f *file) damaged(cause error) {
	f.store.log.Error("a file of the cache was damaged from outside; its content is fetched again",
		"path", f.path, "file", f.base()+datExt, "error", cause)
	f.lose()
}

// lose gives up all that is held, because the disk does not have it, or can't be
// trusted to. The file stays what it was: its readers get the bytes from the
// server again. If it has none, release takes it out of the index.
func (f *file) lose() {
	f.disk.Lock()
	defer f.disk.Unlock()
	f.mu.Lock()
	f.held, f.durable = ranges{}, ranges{}
	f.whole, f.sums = false, nil
	f.epoch++
	now := time.Now()
	f.fetch.keepUntil = now.Add(diskRetry) // a bad disk would lose them again
	f.schedule(now)                        // who waits may miss more than before
	data := f.data
	f.mu.Unlock()
	if err := f.save(true); err != nil {
		f.store.log.Warn("what is held could not be written down", "path", f.path, "error", err)
	}
	if data != nil {
		if err := data.Truncate(f.size); err != nil {
			f.store.log.Warn("can't restore a file of the cache", "path", f.path, "error", err)
		}
	}
}

// closedError is what is returned when the store is closed.
func closedError(path string) error { return &Failure{Path: path, Err: ftppool.ErrClosed} }
