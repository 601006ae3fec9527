package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"pgregory.net/rapid"
)

// model is a store under test beside what it must look like from outside.
type model struct {
	*rapid.T
	o       Options
	r       *remote
	s       *Store
	handles []modelHandle
	seed    uint64
	fault   error // of the next transfers, once each
	faults  int

	// history is what each path has been on the server. A file that is replaced
	// after it was opened and before its first byte came may be read as the new
	// one, but as one: could is which ones a generation can be, going by the
	// bytes that were read of it.
	history map[string][]*remoteFile
	could   map[uint64][]*remoteFile
}

type modelHandle struct {
	*Handle
	path string
	f    *remoteFile // what the server had when it was opened
}

var modelPaths = []string{"a", "b", "c", "d"}

// TestModel does random things and checks that every byte read is of the one
// content that its handle is pinned to.
func TestModel(t *testing.T) { synctest.Test(t, testModel) }

func testModel(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
		n++
		m := &model{
			T: rt, r: newRemote(rapid.IntRange(1, 4).Draw(rt, "sessions")),
			history: make(map[string][]*remoteFile), could: make(map[uint64][]*remoteFile),
		}
		m.o = Options{
			Dir:            fmt.Sprint(dir, "/", n),
			WholeFileBelow: 3 * mib,
			MaxSize:        rapid.SampledFrom([]int64{0, 4 * mib}).Draw(rt, "max"),
			Timeout:        20 * time.Millisecond,
			RetryFor:       5 * time.Second,
			Log:            slog.New(slog.DiscardHandler),
			bootID:         "boot 0",
		}
		m.r.restart.Store(rapid.Bool().Draw(rt, "restart"))
		m.r.hook = m.hook
		if err := os.Mkdir(m.o.Dir, 0o700); err != nil {
			rt.Fatal(err)
		}
		for _, path := range modelPaths {
			m.replace(path)
		}
		m.open()
		defer func() { // when it failed
			for _, h := range m.handles {
				h.Close()
			}
			m.s.Close()
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"open":    m.openFile,
			"read":    m.read,
			"read on": m.readOn,
			"close":   m.closeFile,
			"replace": func(*rapid.T) { m.replace(rapid.SampledFrom(modelPaths).Draw(rt, "path")) },
			"fault":   m.breakTransfers,
			"evict":   m.evict,
			"reopen":  m.reopen,
			"verify":  m.verify,
		})
		m.close()
	})
}

func (m *model) hook(st *remoteStream) (int, error) {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	if m.faults > 0 && st.at > st.start+1000 {
		m.faults--
		return 0, m.fault
	}
	return 0, nil
}

func (m *model) open() {
	var err error
	if m.s, err = Open(m.o, m.r); err != nil {
		m.Fatal(err)
	}
}

func (m *model) close() {
	for _, h := range m.handles {
		h.Close()
	}
	m.handles = nil
	if err := m.s.Close(); err != nil {
		m.Fatal(err)
	}
	if m.r.busy.Load() != 0 {
		m.Fatal("a session is still in use after Close")
	}
}

func (m *model) replace(path string) {
	m.seed++
	f := &remoteFile{
		seed:  m.seed,
		size:  rapid.SampledFrom([]int64{1, 5000, 300_000, 2 * mib, 5 * mib}).Draw(m.T, "size"),
		mtime: int64(m.seed),
	}
	m.r.replace(path, f)
	m.history[path] = append(m.history[path], f)
}

func (m *model) openFile(*rapid.T) {
	path := rapid.SampledFrom(modelPaths).Draw(m.T, "path")
	f, _ := m.r.file(path)
	h, err := m.s.Open(context.Background(), 0, path, f.version())
	if err != nil {
		m.Fatalf("open %s: %v", path, err)
	}
	m.handles = append(m.handles, modelHandle{h, path, f})
	if m.could[h.Generation()] == nil {
		m.could[h.Generation()] = []*remoteFile{f}
	}
}

// fits keeps the contents that a generation can be after p was read at off.
func (m *model) fits(h modelHandle, p []byte, off int64) bool {
	all := m.could[h.Generation()]
	if now, _ := m.r.file(h.path); len(all) == 1 && all[0] == h.f && now != h.f {
		all = append(all, m.history[h.path]...)
	}
	all = slices.DeleteFunc(slices.Clone(all), func(f *remoteFile) bool {
		return off+int64(len(p)) > f.size || !bytes.Equal(p, f.bytes(off, int64(len(p))))
	})
	m.could[h.Generation()] = all
	return len(all) > 0
}

func (m *model) handle() (h modelHandle, i int) {
	if len(m.handles) == 0 {
		m.Skip("nothing is open")
	}
	i = rapid.IntRange(0, len(m.handles)-1).Draw(m.T, "handle")
	return m.handles[i], i
}

func (m *model) read(*rapid.T) {
	h, _ := m.handle()
	off := rapid.Int64Range(0, h.f.size-1).Draw(m.T, "off")
	m.readAt(h, off, rapid.IntRange(1, 400_000).Draw(m.T, "n"))
}

func (m *model) readOn(*rapid.T) {
	h, _ := m.handle()
	for off := int64(0); off < h.f.size; off += 128 << 10 {
		if !m.readAt(h, off, 128<<10) {
			return
		}
	}
}

func (m *model) readAt(h modelHandle, off int64, n int) bool {
	p := make([]byte, n)
	got, err := h.ReadAt(context.Background(), p, off)
	now, _ := m.r.file(h.path)
	switch {
	case errors.Is(err, ErrChanged):
		if now == h.f {
			m.Fatalf("%s is said to be replaced, and was not", h.path)
		}
		return false
	case err != nil && err != io.EOF:
		m.Fatalf("read %d at %d of %s: %v", n, off, h.path, err)
	case !m.fits(h, p[:got], off):
		m.Fatalf("read %d at %d of %s: wrong bytes", n, off, h.path)
	case int64(got) != min(int64(n), h.f.size-off):
		m.Fatalf("read %d at %d of %s: %d bytes", n, off, h.path, got)
	}
	if whole, ok := h.Whole(); ok {
		q := make([]byte, got)
		if _, err := whole.ReadAt(q, off); err != nil || !bytes.Equal(p[:got], q) {
			m.Fatalf("the whole file of %s has other bytes at %d: %v", h.path, off, err)
		}
	}
	return true
}

func (m *model) closeFile(*rapid.T) {
	h, i := m.handle()
	h.Close()
	m.handles = append(m.handles[:i], m.handles[i+1:]...)
}

func (m *model) breakTransfers(*rapid.T) {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	m.fault = rapid.SampledFrom([]error{errReset, io.EOF, ftppool.ErrPreempted}).Draw(m.T, "fault")
	m.faults = rapid.IntRange(1, 3).Draw(m.T, "faults")
}

func (m *model) evict(*rapid.T) {
	path := rapid.SampledFrom(modelPaths).Draw(m.T, "path")
	if err := m.s.Evict(path); err != nil && !errors.Is(err, ErrInUse) && !errors.Is(err, fs.ErrNotExist) {
		m.Fatal(err)
	}
}

func (m *model) reopen(*rapid.T) {
	m.close()
	time.Sleep(time.Second)
	if rapid.Bool().Draw(m.T, "new boot") {
		m.o.bootID += "+"
	}
	m.open()
}

func (m *model) verify(*rapid.T) {
	err := m.s.Verify(context.Background(), func(v Verified) {
		if v.Err != nil {
			m.Fatalf("%s: %v", v.Path, v.Err)
		}
	})
	if err != nil {
		m.Fatal(err)
	}
}
