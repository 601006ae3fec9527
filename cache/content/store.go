// Package content holds the bytes of files: what was fetched, on disk, and the
// fetches that bring more.
//
// The bytes of one version of a file are a generation: a sparse .dat that has
// them at their own offsets, and a .meta that says which of them are there. A
// Handle is pinned to one generation, so it never sees two versions mixed.
//
// Readers wait for ranges, not for transfers. FTP can start a transfer in the
// middle but not say where it should end, so the unit of fetching is a stream:
// one RETR from an offset onward, run by a goroutine of the store, never by a
// reader. A stream moves its frontier; whoever waits for bytes behind it is
// woken. A read just ahead of a frontier waits for it, one further out gets a
// stream of its own, and what else is worth fetching follows from how the file
// is being read (cursor.go, schedule.go).
//
// Bytes are in the .dat before any record or any reader is told of them, and a
// range is given up in the record before it is given up in the .dat, so a crash
// at any moment costs work, never truth.
//
// Lock order: Store.mu → file.disk → file.record → file.mu → the leaves
// (group, lobby, room's counters, the pool). Nothing is read, written or sent
// under Store.mu or file.mu.
package content

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Remote is the server as content needs it; *ftppool.Pool is one.
type Remote interface {
	// Open begins a transfer at an offset. The error Is ftppool.ErrNoRestart when
	// the server can't begin one there; it is never begun elsewhere.
	Open(ctx context.Context, want ftppool.Want, path string, offset int64) (ftppool.Stream, error)
	Stat(ctx context.Context, want ftppool.Want, path string) (listing.Entry, error)
	Idle() int // sessions a new stream could take with nobody waiting for one
	// CanRestart reports whether transfers are known to begin where they are told
	// to, or Open waits until they are; where neither is so, it has it found out
	// with the file at path.
	CanRestart(path string) bool
	// Expect says that n requests will soon come at once.
	Expect(n int)
}

// Options are what a store is told once.
type Options struct {
	Dir string // exists, private to the user

	// MaxSize bounds the bytes allocated in Dir, 0 not at all. What open files
	// below WholeFileBelow need may exceed it while they are open.
	MaxSize int64
	MinFree int64 // bytes that stay free on Dir's file system, 0 none

	WholeFileBelow int64 // a file below is fetched whole once it is read past its head

	Timeout  time.Duration // of a look-up; a failed range is not tried again for so long
	RetryFor time.Duration // how long a read keeps trying without progress

	// Changed is told what the server says of a file now, when that is other, or
	// more exact, than the version it was opened with. An entry of no Type says
	// that the server does not have the file, or could not say. It is called
	// without locks and from many goroutines. May be nil.
	Changed func(path string, e listing.Entry)

	Log *slog.Logger // nil discards

	bootID string // of this boot; "" asks the kernel
}

// Store serves the content of one mirror. All methods may be called from
// anywhere at any time; after Close they fail with ftppool.ErrClosed.
type Store struct {
	opts   Options
	remote Remote
	log    *slog.Logger
	boot   string

	ctx    context.Context // ends with the store
	cancel context.CancelFunc
	work   group

	mu    sync.Mutex         // guards what follows
	files map[string][]*file // generations by path; those of one path agree with no version twice
	gen   uint64             // the latest generation given away

	noRestart atomic.Bool // a transfer could not begin in the middle of a file

	settling flights // questions to the server about versions that disagree
	lobby    lobby
	room     room
	sealer   sealer
	dirty    dirtySet
	failures failureLog
	counters counters
}

type counters struct {
	hits, misses     atomic.Int64 // reads
	fetched, streams atomic.Int64 // bytes taken from streams; streams opened
	served           atomic.Int64 // bytes given to readers
	evicted          atomic.Int64 // bytes
	changed          atomic.Int64 // files found changed
	through          atomic.Int64 // bytes that could not be kept
}

// Open opens the store in o.Dir. It asks the server for nothing. What is found
// there and can't be trusted is removed.
func Open(o Options, r Remote) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Changed == nil {
		o.Changed = func(string, listing.Entry) {}
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	boot := o.bootID
	if boot == "" {
		var err error
		if boot, err = readBootID(); err != nil {
			return nil, err
		}
	}
	s := &Store{opts: o, remote: r, log: o.Log, boot: boot, files: make(map[string][]*file)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.scan(); err != nil {
		s.cancel()
		return nil, fmt.Errorf("read the cache in %s: %w", o.Dir, err)
	}
	s.sealer.init()
	s.keepRoom()
	s.sealFound()
	s.work.start(s.keep)
	s.work.start(s.seal)
	return s, nil
}

// Close stops all fetches, wakes all readers with ftppool.ErrClosed, and writes
// down what is held. Handles may be closed after it, but not read.
func (s *Store) Close() error {
	s.confirmLast()
	s.cancel()
	for _, f := range s.all() {
		f.mu.Lock()
		f.endFetch(closedError(f.path))
		f.mu.Unlock()
	}
	s.work.wait()
	s.drain()
	err := s.flush()
	for _, f := range s.all() {
		f.closeData()
	}
	return err
}

// all returns every file in the index.
func (s *Store) all() []*file {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*file, 0, len(s.files))
	for _, gens := range s.files {
		list = append(list, gens...)
	}
	return list
}

// keep is the goroutine that writes records down, a second after they changed
// at most, and keeps the bounds of the disk when others fill it.
func (s *Store) keep() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	failing := false
	for n := 0; ; n++ {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		err := s.flush()
		switch {
		case err != nil && !failing:
			s.log.Warn("what is held could not be written down; it is tried every second", "error", err)
		case err == nil && failing:
			s.log.Info("what is held is written down again")
		}
		failing = err != nil
		if n%5 == 0 {
			s.keepRoom()
		}
	}
}

// flush writes down every file whose record is behind.
func (s *Store) flush() error {
	var errs []error
	for _, f := range s.dirty.take() {
		if err := f.save(false); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 3 {
		errs = append(errs[:3], fmt.Errorf("and %d more", len(errs)-3))
	}
	return errors.Join(errs...)
}

func (s *Store) file(base, ext string) string { return filepath.Join(s.opts.Dir, base+ext) }

func readBootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("tell this boot from others: %w", err)
	}
	return string(b), nil
}

// group is the goroutines of a store. Unlike a bare WaitGroup it refuses new
// ones once they are being waited for.
type group struct {
	mu     sync.Mutex // guards closed; a leaf
	closed bool
	wg     sync.WaitGroup
}

// start runs f in a goroutine, unless the group is being waited for.
func (g *group) start(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.wg.Go(f)
	return true
}

func (g *group) wait() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.wg.Wait()
}

// dirtySet is the files whose record is behind what they hold.
type dirtySet struct {
	mu    sync.Mutex // a leaf
	files map[*file]struct{}
}

func (d *dirtySet) add(f *file) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files == nil {
		d.files = make(map[*file]struct{})
	}
	d.files[f] = struct{}{}
}

func (d *dirtySet) take() []*file {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*file, 0, len(d.files))
	for f := range d.files {
		list = append(list, f)
	}
	clear(d.files)
	return list
}
