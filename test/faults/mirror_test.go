package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/cache"
	"github.com/mirrorfs/mirrorfs/cache/content"
	"github.com/mirrorfs/mirrorfs/cache/metadata"
	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// epoch is when files were written whose time does not matter.
var epoch = time.Date(2024, 3, 9, 14, 25, 36, 0, time.UTC)

// patience is how long anything may take that has no promise of its own. It is
// only ever waited out by a test that fails.
const patience = 2 * time.Minute

// settings are what a test changes of a mirror before it is opened.
type settings struct {
	cache.Options
	pool ftppool.Config
}

// mirror is pool and cache, joined as the command joins them.
type mirror struct {
	t   testing.TB
	set settings

	pool  *ftppool.Pool
	cache *cache.Cache
	dials *dials
}

// mount opens a mirror of a server in a folder of its own. It is closed when
// the test ends.
func mount(t testing.TB, s *ftptest.Server, change ...func(*settings)) *mirror {
	t.Helper()
	m := &mirror{t: t, dials: new(dials)}
	m.set = settings{
		Options: cache.Options{
			Dir:            t.TempDir(),
			Mirror:         cache.Mirror{Host: s.Host(), Port: s.Port()},
			Holder:         "a test",
			Fresh:          time.Hour,
			MetadataMemory: 8 * mib,
			ListAhead:      2,
			Connections:    4,
			WholeFileBelow: 64 * mib,
			Timeout:        30 * time.Second,
			RetryFor:       time.Minute,
			Log:            slog.New(slog.DiscardHandler),
		},
		pool: ftppool.Config{Host: s.Host(), Port: s.Port(), Dial: m.dials.dial},
	}
	for _, c := range change {
		c(&m.set)
	}
	m.open()
	t.Cleanup(m.close)
	return m
}

func (m *mirror) open() {
	m.t.Helper()
	claim, err := cache.Take(m.set.Options)
	if err != nil {
		m.t.Fatal(err)
	}
	c := m.set.pool
	c.Connections, c.Timeout, c.Log = m.set.Connections, m.set.Timeout, m.set.Log
	if m.pool, err = ftppool.New(c); err != nil {
		m.t.Fatal(err)
	}
	if m.cache, err = claim.Open(m.pool); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mirror) close() {
	m.t.Helper()
	if m.cache == nil {
		return
	}
	if err := m.cache.Close(); err != nil {
		m.t.Errorf("close the cache: %v", err)
	}
	if err := m.pool.Close(); err != nil {
		m.t.Errorf("close the pool: %v", err)
	}
	m.cache, m.pool = nil, nil
}

func (m *mirror) remount() {
	m.t.Helper()
	m.close()
	m.open()
}

// list returns a directory's listing.
func (m *mirror) list(dir string) (*metadata.Directory, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return m.cache.Directory(ctx, metadata.Caller{}, dir)
}

// lookup asks about one path.
func (m *mirror) lookup(p string) (metadata.Found, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dir, name := parent(p)
	return m.cache.Lookup(ctx, metadata.Caller{}, dir, name)
}

// handle opens a file as the file system does: look up, settle the size, open,
// and once more when the file was replaced meanwhile.
func (m *mirror) handle(p string) (*content.Handle, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for again := false; ; again = true {
		f, err := m.lookup(p)
		if err != nil {
			return nil, err
		}
		e := f.Entry
		if e.Type != listing.File {
			return nil, ftppool.ErrIsDir
		}
		if e.Size == listing.SizeUnknown {
			if e, err = m.cache.Settle(ctx, metadata.Caller{}, f.Path); err != nil {
				return nil, err
			}
		}
		h, err := m.cache.OpenFile(ctx, 0, f.Path, e.Version())
		if errors.Is(err, content.ErrChanged) && !again {
			continue
		}
		return h, err
	}
}

// read reads a piece of an open file.
func read(h *content.Handle, off int64, n int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p := make([]byte, n)
	k, err := h.ReadAt(ctx, p, off)
	if err == io.EOF {
		err = nil
	}
	return p[:k], err
}

// all reads an open file in pieces, as the kernel does.
func all(h *content.Handle) ([]byte, error) {
	size := h.Version().Size
	b := make([]byte, 0, min(size, 16*mib)) // sizes may be lies
	for off := int64(0); off < size; {
		p, err := read(h, off, 128*kib)
		if err != nil {
			return b, err
		}
		if len(p) == 0 {
			return b, io.ErrUnexpectedEOF
		}
		b = append(b, p...)
		off += int64(len(p))
	}
	return b, nil
}

// file opens, reads and closes a file.
func (m *mirror) file(p string) ([]byte, error) {
	h, err := m.handle(p)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return all(h)
}

// exact fails unless a file reads as the server has it.
func (m *mirror) exact(p string, want ftptest.Content) {
	m.t.Helper()
	b, err := m.file(p)
	if err != nil {
		m.t.Errorf("read %s: %v (after %d bytes)", p, err, len(b))
		return
	}
	if err := compare(b, want, 0, true); err != nil {
		m.t.Errorf("read %s: %v", p, err)
	}
}

// compare holds bytes read at off against the truth; whole says that nothing
// may follow.
func compare(got []byte, want ftptest.Content, off int64, whole bool) error {
	truth := make([]byte, len(got))
	n, err := want.ReadAt(truth, off)
	if err != nil && err != io.EOF {
		return err
	}
	switch {
	case n < len(got):
		return fmt.Errorf("%d bytes at %d of a file of %d", len(got), off, want.Size())
	case whole && off+int64(len(got)) != want.Size():
		return fmt.Errorf("ended after %d of %d bytes", off+int64(len(got)), want.Size())
	case !bytes.Equal(got, truth):
		for i := range got {
			if got[i] != truth[i] {
				return fmt.Errorf("WRONG BYTE at %d of %d", off+int64(i), want.Size())
			}
		}
	}
	return nil
}

// eventually waits until cond holds, for what has no event to wait for.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for pause := time.Millisecond; !cond(); pause = min(2*pause, 100*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never happened that %s", what)
		}
		time.Sleep(pause)
	}
}

func parent(p string) (dir, name string) {
	dir, name = path.Split(p)
	return path.Clean(dir)[:max(0, len(dir)-1)], name
}

// dials counts the connections a pool makes.
type dials struct {
	mu    sync.Mutex
	times []time.Time // of the attempts on the server's own port
	hosts map[string]int
}

func (d *dials) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	d.mu.Lock()
	if d.hosts == nil {
		d.hosts = make(map[string]int)
	}
	d.hosts[host]++
	d.times = append(d.times, time.Now())
	d.mu.Unlock()
	var nd net.Dialer
	return nd.DialContext(ctx, network, addr)
}

func (d *dials) take() []time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.times
	d.times = nil
	return t
}

func (d *dials) peek() []time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]time.Time(nil), d.times...)
}

func (d *dials) to() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.hosts)
}
