package fs

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// readsAsked reports whether f's reads come to the Mirror.
func readsAsked(m *standIn, f func()) bool {
	before := m.counted("read")
	f()
	return m.counted("read") > before
}

func passthroughMount(t *testing.T, m *standIn) string {
	t.Helper()
	dir, s := mountIn(t, m)
	if on, why := s.Passthrough(); !on {
		t.Fatalf("no passthrough here: %s", why)
	}
	return dir
}

func TestWholeFileIsReadByTheKernel(t *testing.T) {
	m := newStandIn(t)
	v := m.file("whole", []byte("all of it"), someTime)
	m.complete("whole", v)
	dir := passthroughMount(t, m)
	a := startAgent(t, "reader")
	for range 2 {
		asked := readsAsked(m, func() {
			if got, errno := a.read(filepath.Join(dir, "whole")); got != "all of it" || errno != 0 {
				t.Errorf("read %q, %v", got, errno)
			}
		})
		if asked {
			t.Error("the kernel asked for bytes of a whole file")
		}
	}
}

// A file becomes whole while a cached handle is open: the handle stays as it
// is, the next open by name is passthrough.
func TestFetchCompletesUnderAnOpenHandle(t *testing.T) {
	m := newStandIn(t)
	data := bytes.Repeat([]byte("mirror"), 1<<16)
	v := m.file("f", data, someTime)
	dir := passthroughMount(t, m)
	a, b := startAgent(t, "first"), startAgent(t, "second")
	path := filepath.Join(dir, "f")

	cachedFD := a.open(path)
	if got, errno := a.pread(cachedFD, 0, 10); errno != 0 || !bytes.Equal(got, data[:10]) {
		t.Fatalf("cached read: %q %v", got, errno)
	}
	ino := a.fstat(cachedFD).Ino
	m.complete("f", v)

	throughFD := b.open(path)
	if readsAsked(m, func() {
		if got, errno := b.pread(throughFD, 200_000, 10); errno != 0 || !bytes.Equal(got, data[200_000:200_010]) {
			t.Errorf("passthrough read: %q %v", got, errno)
		}
	}) {
		t.Error("the second handle is not passthrough")
	}
	if got, errno := a.pread(cachedFD, 300_000, 10); errno != 0 || !bytes.Equal(got, data[300_000:300_010]) {
		t.Errorf("the first handle: %q %v", got, errno)
	}
	if now := b.fstat(throughFD); now.Ino != ino || now.Size != int64(len(data)) {
		t.Errorf("the file looks like another one: %d, %d bytes", now.Ino, now.Size)
	}
	// Any number of either, in any order of closing.
	third := a.open(path)
	a.close(cachedFD)
	b.close(throughFD)
	if got, errno := a.pread(third, 5, 3); errno != 0 || !bytes.Equal(got, data[5:8]) {
		t.Errorf("the third handle: %q %v", got, errno)
	}
	a.close(third)
	if readsAsked(m, func() { a.read(path) }) {
		t.Error("not passthrough after all were closed")
	}
}

// A mapping of a cached handle outlives the handle and keeps the inode cached.
func TestFetchCompletesUnderAMapping(t *testing.T) {
	m := newStandIn(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	v := m.file("f", data, someTime)
	dir := passthroughMount(t, m)
	a, b := startAgent(t, "mapper"), startAgent(t, "other")
	path := filepath.Join(dir, "f")

	fd := a.open(path)
	if r := a.do(order{Do: "mmap", FD: fd, Len: len(data)}); r.Errno != 0 {
		t.Fatal(r.Errno)
	}
	if r := a.do(order{Do: "mapped", FD: fd, Len: 16}); !bytes.Equal(r.Data, data[:16]) {
		t.Fatalf("mapped %q", r.Data)
	}
	a.close(fd)
	m.complete("f", v)
	if readsAsked(m, func() {
		if got, errno := b.read(path); errno != 0 || got != string(data) {
			t.Errorf("beside the mapping: %d bytes, %v", len(got), errno)
		}
	}) {
		t.Error("not passthrough beside the mapping")
	}
	if r := a.do(order{Do: "mapped", FD: fd, Off: 200_000, Len: 16}); !bytes.Equal(r.Data, data[200_000:200_016]) {
		t.Errorf("a page not mapped before: %q", r.Data)
	}
	// The mapper itself opens again, and maps the passthrough handle as well.
	fd2 := a.open(path)
	if fd2 != fd {
		t.Fatalf("descriptor %d, want %d", fd2, fd)
	}
	if r := a.do(order{Do: "munmap", FD: fd}); r.Errno != 0 {
		t.Fatal(r.Errno)
	}
	if r := a.do(order{Do: "mmap", FD: fd2, Len: len(data)}); r.Errno != 0 {
		t.Fatal(r.Errno)
	}
	if readsAsked(m, func() {
		if r := a.do(order{Do: "mapped", FD: fd2, Off: 100_000, Len: 16}); !bytes.Equal(r.Data, data[100_000:100_016]) {
			t.Errorf("passthrough mapping: %q", r.Data)
		}
	}) {
		t.Error("the mapping is not passthrough")
	}
}

// The server's file is replaced while handles and a mapping of the old one
// live, cached and passthrough.
func TestFileIsReplacedUnderOpenHandles(t *testing.T) {
	for _, whole := range []bool{false, true} {
		m := newStandIn(t)
		old, changed := bytes.Repeat([]byte("old!"), 1<<15), bytes.Repeat([]byte("new content!"), 1<<15)
		v := m.file("f", old, someTime)
		if whole {
			m.complete("f", v)
		}
		dir := passthroughMount(t, m)
		a, b := startAgent(t, "old"), startAgent(t, "new")
		path := filepath.Join(dir, "f")
		fd := a.open(path)
		if r := a.do(order{Do: "mmap", FD: fd, Len: len(old)}); r.Errno != 0 {
			t.Fatal(r.Errno)
		}
		a.pread(fd, 0, 10)
		oldStat := a.fstat(fd)

		v2 := m.file("f", changed, someTime+60)
		if whole {
			m.complete("f", v2)
		}
		if got, errno := b.read(path); errno != 0 || got != string(changed) {
			t.Errorf("whole %v: a new open got %d bytes, %v", whole, len(got), errno)
		}
		if got, errno := a.read(path); errno != 0 || got != string(changed) {
			t.Errorf("whole %v: a new open by the old reader got %d bytes, %v", whole, len(got), errno)
		}
		if got, errno := a.pread(fd, 100_000, 8); errno != 0 || string(got) != "old!old!" {
			t.Errorf("whole %v: the old handle got %q, %v", whole, got, errno)
		}
		if r := a.do(order{Do: "mapped", FD: fd, Off: 64_000, Len: 4}); string(r.Data) != "old!" {
			t.Errorf("whole %v: the old mapping has %q", whole, r.Data)
		}
		if st := a.fstat(fd); st.Size != oldStat.Size || st.Mtim != oldStat.Mtim {
			t.Errorf("whole %v: the old handle's size or time changed: %v", whole, st)
		}
		// A name-less open of the old one is refused, not given the new one.
		if r := a.do(order{Do: "reopen", FD: fd}); r.Errno != syscall.ESTALE {
			t.Errorf("whole %v: reopen of the old one: %v", whole, r.Errno)
		}
		// And back: the old version returns, as when a mirror was half synced.
		m.put("", listing.Entry{Name: "f", Type: listing.File, Size: v.Size, MTime: v.MTime})
		if got, errno := b.read(path); errno != 0 || got != string(old) {
			t.Errorf("whole %v: the old one is back and reads %d bytes, %v", whole, len(got), errno)
		}
	}
}

// Reopening through /proc/self/fd names no file that could be looked up again.
func TestReopenThroughProc(t *testing.T) {
	m := newStandIn(t)
	data := strings.Repeat("reopen", 50_000)
	v := m.file("f", []byte(data), someTime)
	dir := passthroughMount(t, m)
	a := startAgent(t, "reopener")
	fd := a.open(filepath.Join(dir, "f"))
	m.complete("f", v)
	for range 3 {
		r := a.do(order{Do: "reopen", FD: fd})
		if r.Errno != 0 {
			t.Fatalf("reopen: %v", r.Errno)
		}
		if got, errno := a.pread(r.FD, 12, 6); string(got) != "reopen" || errno != 0 {
			t.Errorf("reopened handle: %q %v", got, errno)
		}
		a.close(r.FD)
	}
	// Of a passthrough handle.
	through := a.open(filepath.Join(dir, "f"))
	r := a.do(order{Do: "reopen", FD: through})
	if r.Errno != 0 {
		t.Fatalf("reopen of a passthrough handle: %v", r.Errno)
	}
	if readsAsked(m, func() { a.pread(r.FD, 0, 6) }) {
		t.Error("the reopened handle is not passthrough")
	}
	// Of a path that was never opened.
	w := m.file("g", []byte(data), someTime)
	m.complete("g", w)
	p := a.do(order{Do: "openpath", Path: filepath.Join(dir, "g")})
	if r := a.do(order{Do: "reopen", FD: p.FD}); r.Errno != 0 {
		t.Errorf("reopen of an O_PATH descriptor: %v", r.Errno)
	}
}

// Many open at the very moment the file becomes whole.
func TestOpenersRaceWithCompletion(t *testing.T) {
	m := newStandIn(t)
	dir := passthroughMount(t, m)
	agents := make([]*agent, 8)
	for i := range agents {
		agents[i] = startAgent(t, "racer")
	}
	for round := range 20 {
		name := "f" + string(rune('a'+round))
		data := strings.Repeat(name, 4_000)
		v := m.file(name, []byte(data), someTime)
		done := make(chan struct{})
		for _, a := range agents {
			go func() {
				defer func() { done <- struct{}{} }()
				for range 10 {
					if got, errno := a.read(filepath.Join(dir, name)); errno != 0 || got != data {
						t.Errorf("round %d: %d bytes, %v", round, len(got), errno)
					}
				}
			}()
		}
		m.complete(name, v)
		for range agents {
			<-done
		}
	}
}

// A whole file is evicted between opens, and comes again.
func TestEvictedFileIsReadThroughUsAgain(t *testing.T) {
	m := newStandIn(t)
	v := m.file("f", []byte("evicted"), someTime)
	m.complete("f", v)
	dir := passthroughMount(t, m)
	a := startAgent(t, "reader")
	path := filepath.Join(dir, "f")
	a.read(path)
	m.content("f", v, func(c *standInFile) { c.whole = nil })
	if !readsAsked(m, func() {
		if got, errno := a.read(path); got != "evicted" || errno != 0 {
			t.Errorf("after the eviction: %q %v", got, errno)
		}
	}) {
		t.Error("nothing was asked for")
	}
	m.complete("f", v)
	if readsAsked(m, func() {
		if got, errno := a.read(path); got != "evicted" || errno != 0 {
			t.Errorf("whole again: %q %v", got, errno)
		}
	}) {
		t.Error("not passthrough when whole again")
	}
}

// Without a cache folder that the kernel takes files from, whole files are
// read through us, and kept by the kernel.
func TestWithoutPassthrough(t *testing.T) {
	m := newStandIn(t)
	v := m.file("f", []byte("through us"), someTime)
	dir, s := mountIn(t, m, func(o *Options) { o.CacheDir = "" })
	if on, why := s.Passthrough(); on || why == "" {
		t.Fatalf("passthrough %v, %q", on, why)
	}
	a := startAgent(t, "reader")
	path := filepath.Join(dir, "f")
	a.read(path)
	m.complete("f", v)
	if readsAsked(m, func() {
		if got, errno := a.read(path); got != "through us" || errno != 0 {
			t.Errorf("%q %v", got, errno)
		}
	}) {
		t.Error("the kernel's pages were dropped though the version stands")
	}
}

// The kernel refuses one file (here: a pipe). The mount goes on without passthrough.
func TestRefusedBackingFileTurnsPassthroughOff(t *testing.T) {
	m := newStandIn(t)
	v := m.file("good", []byte("good"), someTime)
	m.complete("good", v)
	dir, s := mountIn(t, m)
	a := startAgent(t, "reader")
	held := a.open(filepath.Join(dir, "good"))

	w := m.file("bad", []byte("bad but exact"), someTime)
	m.content("bad", w, func(c *standInFile) { c.whole = notAFile(t) })
	if got, errno := a.read(filepath.Join(dir, "bad")); got != "bad but exact" || errno != 0 {
		t.Errorf("read %q, %v", got, errno)
	}
	if on, why := s.Passthrough(); on || why == "" {
		t.Errorf("passthrough is still on")
	}
	for range 2 {
		if got, errno := a.read(filepath.Join(dir, "good")); got != "good" || errno != 0 {
			t.Errorf("beside an old passthrough handle: %q, %v", got, errno)
		}
	}
	if got, errno := a.pread(held, 0, 4); string(got) != "good" || errno != 0 {
		t.Errorf("the old passthrough handle: %q, %v", got, errno)
	}
}

// notAFile is something that can't be a backing file.
func notAFile(t *testing.T) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
