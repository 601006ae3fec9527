package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// remote is a server and its sessions in memory. Sessions are given to the most
// urgent class first, and a waiter of a more urgent class than a running stream
// cuts it at once.
type remote struct {
	mu      sync.Mutex
	files   map[string]*remoteFile
	free    int
	waiting []*claim
	streams map[*remoteStream]struct{}
	opened  []opening // RETRs, in order
	stats   int
	down    error // everything fails with it

	restart  atomic.Bool // REST works
	sealed   atomic.Bool // bytes can't go through a pipe
	piped    atomic.Int64
	proofs   atomic.Int64 // calls of CanRestart
	expected atomic.Int64 // the last Expect
	preempts atomic.Bool  // urgent waiters cut others
	busy     atomic.Int64
	most     atomic.Int64 // sessions busy at once

	// hook, when set, decides what happens to a stream before each Read: how many
	// bytes it may return at most, and with what error it ends instead.
	hook func(s *remoteStream) (limit int, err error)
	// opens, when set, may refuse an Open.
	opens func(path string, offset int64) error
}

type opening struct {
	path   string
	offset int64
	want   ftppool.Want
}

type claim struct {
	class ftppool.Class
	got   chan struct{}
}

// remoteFile is a file of generated content: noise that repeats after a prime
// number of bytes, so that no two pieces a reader could confuse are alike.
type remoteFile struct {
	seed  uint64
	size  int64
	mtime int64
	flips map[int64]byte // bytes that differ from the generated
}

const noisePeriod = 4<<20 + 15 // 4194319, a prime

var noise = sync.OnceValue(func() []byte {
	b := make([]byte, noisePeriod)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
})

func (f *remoteFile) fill(p []byte, off int64) {
	from := (uint64(off) + f.seed*1_000_003) % noisePeriod
	for n := 0; n < len(p); from = 0 {
		n += copy(p[n:], noise()[from:])
	}
	for at, b := range f.flips {
		if i := at - off; i >= 0 && i < int64(len(p)) {
			p[i] = b
		}
	}
}

func (f *remoteFile) bytes(off, n int64) []byte {
	p := make([]byte, n)
	f.fill(p, off)
	return p
}

func (f *remoteFile) version() listing.Version {
	return listing.Version{Size: f.size, MTime: listing.Interval{Min: f.mtime, Max: f.mtime}}
}

func newRemote(sessions int) *remote {
	r := &remote{files: make(map[string]*remoteFile), free: sessions, streams: make(map[*remoteStream]struct{})}
	r.restart.Store(true)
	r.preempts.Store(true)
	return r
}

func (r *remote) add(path string, size int64) *remoteFile {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &remoteFile{seed: uint64(len(r.files)) + 7, size: size, mtime: 1_700_000_000}
	r.files[path] = f
	return f
}

// replace puts another content in the place of a file.
func (r *remote) replace(path string, f *remoteFile) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f == nil {
		delete(r.files, path)
	} else {
		r.files[path] = f
	}
}

func (r *remote) setDown(err error) {
	r.mu.Lock()
	r.down = err
	r.mu.Unlock()
}

func (r *remote) file(path string) (*remoteFile, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != nil {
		return nil, r.down
	}
	f := r.files[path]
	if f == nil {
		return nil, fs.ErrNotExist
	}
	return f, nil
}

// acquire waits for a session.
func (r *remote) acquire(ctx context.Context, class ftppool.Class) error {
	r.mu.Lock()
	if r.free > 0 {
		r.free--
		r.took()
		r.mu.Unlock()
		return nil
	}
	c := &claim{class, make(chan struct{})}
	r.waiting = append(r.waiting, c)
	if r.preempts.Load() {
		var victim *remoteStream
		for s := range r.streams {
			if s.class > class && s.err == nil && (victim == nil || s.class > victim.class) {
				victim = s
			}
		}
		if victim != nil {
			victim.end(ftppool.ErrPreempted)
		}
	}
	r.mu.Unlock()
	select {
	case <-c.got:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, w := range r.waiting {
		if w == c {
			r.waiting = append(r.waiting[:i], r.waiting[i+1:]...)
			return ctx.Err()
		}
	}
	r.release() // it came at the same moment
	return ctx.Err()
}

func (r *remote) took() {
	if n := r.busy.Add(1); n > r.most.Load() {
		r.most.Store(n)
	}
}

// release gives a session to the most urgent waiter. r.mu is held.
func (r *remote) release() {
	r.busy.Add(-1)
	best := -1
	for i, w := range r.waiting {
		if best < 0 || w.class < r.waiting[best].class {
			best = i
		}
	}
	if best < 0 {
		r.free++
		return
	}
	w := r.waiting[best]
	r.waiting = append(r.waiting[:best], r.waiting[best+1:]...)
	r.took()
	close(w.got)
}

func (r *remote) Idle() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.free - len(r.waiting)
}

func (r *remote) Expect(n int) { r.expected.Store(int64(n)) }

func (r *remote) CanRestart(string) bool {
	r.proofs.Add(1)
	return r.restart.Load()
}

func (r *remote) Stat(ctx context.Context, want ftppool.Want, path string) (listing.Entry, error) {
	if err := r.acquire(ctx, want.Class); err != nil {
		return listing.Entry{}, err
	}
	f, err := r.file(path)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats++
	r.release()
	if err != nil {
		return listing.Entry{}, err
	}
	v := f.version()
	return listing.Entry{Size: v.Size, MTime: v.MTime, Type: listing.File}, nil
}

func (r *remote) Open(ctx context.Context, want ftppool.Want, path string, offset int64) (ftppool.Stream, error) {
	if err := r.acquire(ctx, want.Class); err != nil {
		return nil, err
	}
	if want.Begun != nil {
		want.Begun()
	}
	f, err := r.file(path)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && r.opens != nil {
		err = r.opens(path, offset)
	}
	if err == nil && offset > 0 && !r.restart.Load() {
		err = ftppool.ErrNoRestart
	}
	if err != nil {
		r.release()
		return nil, err
	}
	s := &remoteStream{remote: r, ended: make(chan struct{}), file: f, checked: want.Check, path: path, start: offset, at: offset, class: want.Class}
	r.streams[s] = struct{}{}
	r.opened = append(r.opened, opening{path, offset, want})
	return s, nil
}

// retrs returns the offsets of the transfers of path so far.
func (r *remote) retrs(path string) (offsets []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.opened {
		if o.path == path {
			offsets = append(offsets, o.offset)
		}
	}
	return offsets
}

type remoteStream struct {
	remote    *remote
	file      *remoteFile
	path      string
	checked   bool
	start, at int64
	class     ftppool.Class // guarded by remote.mu, as is err
	err       error         // why it was cut
	ended     chan struct{} // closed then
	closed    bool
}

// end cuts the stream. remote.mu is held.
func (s *remoteStream) end(err error) {
	if s.err == nil {
		s.err = err
		close(s.ended)
	}
}

var errReset = errors.New("connection reset by peer")

func (s *remoteStream) Read(p []byte) (int, error) {
	r := s.remote
	r.mu.Lock()
	err, hook, down := s.err, r.hook, r.down
	r.mu.Unlock()
	switch {
	case err != nil:
		return 0, err
	case down != nil:
		return 0, down
	}
	n := int64(len(p))
	if hook != nil {
		limit, err := hook(s)
		if err != nil {
			return 0, err
		}
		if limit > 0 {
			n = min(n, int64(limit))
		}
	}
	if s.at >= s.file.size {
		return 0, io.EOF
	}
	n = min(n, s.file.size-s.at, 64<<10)
	s.file.fill(p[:n], s.at)
	s.at += n
	return int(n), nil
}

func (s *remoteStream) ReadPipe(pipe, n int) (int, error) {
	if s.remote.sealed.Load() {
		return 0, errors.ErrUnsupported
	}
	p := make([]byte, min(n, 64<<10))
	n, err := s.Read(p)
	if n > 0 {
		if m, werr := unix.Write(pipe, p[:n]); werr != nil || m < n {
			panic(fmt.Sprintf("the pipe took %d bytes of %d: %v", m, n, werr))
		}
		s.remote.piped.Add(int64(n))
	}
	return n, err
}

func (s *remoteStream) Entry() (listing.Entry, bool) {
	return listing.Entry{Size: s.file.size, MTime: s.file.version().MTime, Type: listing.File}, s.checked
}

func (s *remoteStream) SetClass(c ftppool.Class) {
	s.remote.mu.Lock()
	s.class = c
	s.remote.mu.Unlock()
}

func (s *remoteStream) Close() error {
	s.remote.mu.Lock()
	defer s.remote.mu.Unlock()
	s.end(ftppool.ErrClosed)
	if !s.closed {
		s.closed = true
		delete(s.remote.streams, s)
		s.remote.release()
	}
	return nil
}

// stall makes a hook that lets bytes through up to a place and then waits.
func stall(at int64, until <-chan struct{}) func(s *remoteStream) (int, error) {
	return func(s *remoteStream) (int, error) {
		if left := at - s.at; left > 0 {
			return int(left), nil
		}
		select {
		case <-until:
			return 0, nil
		case <-s.ended:
			s.remote.mu.Lock()
			defer s.remote.mu.Unlock()
			return 0, s.err
		case <-time.After(time.Minute):
			return 0, errors.New("stalled for good")
		}
	}
}
