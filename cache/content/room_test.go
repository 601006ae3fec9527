package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// diskUse is what the files of a directory really take.
func diskUse(t testing.TB, dir string) (n int64) {
	t.Helper()
	for _, name := range names(t, dir) {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err == nil {
			n += st.Blocks * 512
		}
	}
	return n
}

// The files used longest ago go first; those that are open or pinned stay.
func TestEviction(t *testing.T) {
	r := newRemote(2)
	o := options(t)
	o.MaxSize = 10*mib + 200<<10
	s := openStore(t, o, r)
	fetch := func(path string) *Handle {
		f := r.files[path]
		if f == nil {
			f = r.add(path, 2*mib)
		}
		h := openFile(t, s, path, f.version())
		checkAll(t, h, f)
		waitWhole(t, h)
		eventually(t, "it is sealed", func() bool { return sealed(h.file) }) // what is being sealed is in use
		return h
	}
	kept := func(path string) bool { return s.State(path, r.files[path].version()).Whole }
	opened := fetch("open")
	for i := range 4 {
		fetch(fmt.Sprint(i)).Close()
	}
	if err := s.Pin("0", true); err != nil {
		t.Fatal(err)
	}
	fetch("1").Close() // now "2" is the oldest that may go
	fetch("new").Close()
	for path, want := range map[string]bool{"open": true, "0": true, "1": true, "2": false, "3": true, "new": true} {
		if kept(path) != want {
			t.Errorf("%s is kept: %v, want %v", path, kept(path), want)
		}
	}
	for i := range 20 {
		fetch(fmt.Sprint("more", i)).Close()
		if got := diskUse(t, o.Dir); got > o.MaxSize {
			t.Fatalf("%d bytes on disk, the bound is %d", got, o.MaxSize)
		}
	}
	if !kept("open") || !kept("0") {
		t.Error("an open or a pinned file was evicted")
	}
	if err := s.Evict("open"); !errors.Is(err, ErrInUse) {
		t.Errorf("evicting an open file: %v", err)
	}
	opened.Close()
	if err := s.Evict("open"); err != nil {
		t.Error(err)
	}
	if err := s.Evict("open"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("evicting what is not held: %v", err)
	}
	if freed, inUse := s.Clear(); inUse != 0 || freed < 4*mib || len(names(t, o.Dir)) != 0 {
		t.Errorf("after Clear: %d in use, %d bytes freed, files %v", inUse, freed, names(t, o.Dir))
	}
	eventually(t, "nothing is counted as used", func() bool { return s.Stats().Used == 0 })
}

// The order of use and the pins survive a remount.
func TestEvictionAfterReopen(t *testing.T) {
	r := newRemote(2)
	o := options(t)
	a, b := held(t, r, o, "a"), held(t, r, o, "b")
	s := openStore(t, o, r)
	if err := s.Pin("a", true); err != nil {
		t.Fatal(err)
	}
	s.Close()
	o.MaxSize = 3 * mib
	s = openStore(t, o, r)
	s.MakeRoom()
	if !s.State("a", a.version()).Whole || s.State("b", b.version()).Whole {
		t.Error("the pinned file went, or the other stayed")
	}
	if got := diskUse(t, o.Dir); got > o.MaxSize {
		t.Errorf("%d bytes on disk", got)
	}
}

// A file larger than the whole cache is read within its bound, by giving up
// what was read already.
func TestFileLargerThanTheCache(t *testing.T) {
	for _, sessions := range []int{1, 4} {
		t.Run(fmt.Sprint(sessions), func(t *testing.T) {
			r := newRemote(sessions)
			o := options(t)
			o.MaxSize = 40 * mib
			f := r.add("f", 160*mib)
			s := openStore(t, o, r)
			h := openFile(t, s, "f", f.version())
			p := make([]byte, mib)
			for off := int64(0); off < f.size; off += mib {
				if _, err := h.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, f.bytes(off, mib)) {
					t.Fatalf("read at %d: %v", off, err)
				}
				if got := diskUse(t, o.Dir); got > o.MaxSize+2*chunkSize*int64(sessions) {
					t.Fatalf("%d bytes on disk at %d, the bound is %d", got, off, o.MaxSize)
				}
			}
			check(t, h, f, 0, mib) // given up and fetched again
			if got := s.Stats().Fetched; float64(got) > 1.05*float64(f.size) {
				t.Errorf("%d bytes fetched of %d", got, f.size)
			}
			if got := s.Stats().Through; got > 0 {
				t.Errorf("%d bytes went past the disk", got)
			}
		})
	}
}

// A read of bytes that are given up at the same moment is done again: it may
// have found zeros in their place.
func TestGivenUpDuringRead(t *testing.T) {
	r := newRemote(2)
	o := options(t)
	o.MaxSize = 40 * mib
	f := r.add("f", 100*mib)
	s := openStore(t, o, r)
	h := openFile(t, s, "f", f.version())
	check(t, h, f, 0, 8*mib)
	check(t, h, f, 80*mib, 4096)
	for i := range 2 * maxCursors { // so that nobody is near the front any more
		check(t, h, f, 30*mib+int64(i)*3*slack, 4096)
	}
	g := h.file
	g.mu.Lock()
	data, epoch := g.data, g.epoch
	g.mu.Unlock()
	g.punch(mib)
	if g.holdsNow(span{0, mib}) {
		t.Fatal("nothing was given up")
	}
	p := make([]byte, 4096)
	if g.read(p, 0, data, epoch) {
		t.Errorf("a read from before counts: %x", p[:8])
	}
	check(t, h, f, 0, mib)
}

// Where nothing may be kept, reading goes on all the same.
func TestReadingPastTheDisk(t *testing.T) {
	for name, setup := range map[string]func(t *testing.T, o *Options){
		"no free space left over": func(_ *testing.T, o *Options) { o.MinFree = 1 << 60 },
		"folder removed":          func(t *testing.T, o *Options) { o.Dir = filepath.Join(o.Dir, "gone") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(2)
			o := options(t)
			setup(t, &o)
			if err := os.MkdirAll(o.Dir, 0o700); err != nil {
				t.Fatal(err)
			}
			s := openStore(t, o, r)
			if name == "folder removed" {
				if err := os.Remove(o.Dir); err != nil {
					t.Fatal(err)
				}
			}
			readPast(t, s, r)
			if got := s.Stats().Through; got == 0 {
				t.Error("nothing went past the disk")
			}
		})
	}
}

// readPast has several readers read files in order, at once and all over.
func readPast(t *testing.T, s *Store, r *remote) {
	f, g := r.add("f", 9*mib+5), r.add("g", 70*mib)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			h, err := s.Open(t.Context(), 0, "f", f.version())
			if err != nil {
				t.Error(err)
				return
			}
			defer h.Close()
			got, err := readAll(t.Context(), h, 100_000+i)
			if err != nil || !bytes.Equal(got, f.bytes(0, f.size)) {
				t.Errorf("reader %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	wg.Go(func() {
		h, err := s.Open(t.Context(), 0, "g", g.version())
		if err != nil {
			t.Error(err)
			return
		}
		defer h.Close()
		for _, off := range []int64{0, 60 * mib, 5 * mib, 69*mib + 1000, 0, 4096} {
			p := make([]byte, 200_000)
			if _, err := h.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, g.bytes(off, 200_000)) {
				t.Errorf("read at %d: %v", off, err)
			}
		}
	})
	wg.Wait()
}

// On a disk that is really full, likewise. The disk is a small tmpfs, mounted
// in a namespace of its own by running this test again inside one.
func TestFullDisk(t *testing.T) {
	dir := os.Getenv("CONTENT_TEST_TMPFS")
	if dir == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
		// The race detector would keep the child and its namespace for a second more.
		cmd.Env = append(os.Environ(), "CONTENT_TEST_TMPFS="+t.TempDir(), "GORACE=atexit_sleep_ms=0")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
			Pdeathsig:   syscall.SIGKILL,
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	r := newRemote(3)
	o := options(t)
	o.Dir = dir
	s := openStore(t, o, r)
	readPast(t, s, r)
	if got := s.Stats().Through; got == 0 {
		t.Error("nothing went past the disk, so it was not full")
	}
	if r.piped.Load() == 0 {
		t.Error("nothing was spliced to the disk before it was full")
	}
	f := r.add("warmed", 30*mib)
	if err := s.Warm(t.Context(), 0, "warmed", f.version(), nil); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("warming more than fits: %v, want ENOSPC", err)
	}
	// What lies on the full disk is still right.
	s.Close()
	s = openStore(t, o, r)
	readPast(t, s, r)
}

func TestWarm(t *testing.T) {
	r := newRemote(4)
	small, large := r.add("small", 3*mib), r.add("large", 150*mib)
	s := openStore(t, options(t), r)
	for path, f := range map[string]*remoteFile{"small": small, "large": large} {
		h := openFile(t, s, path, f.version())
		check(t, h, f, f.size/2, 5000) // a hole to fill around
		h.Close()
		var latest int64
		if err := s.Warm(t.Context(), 0, path, f.version(), func(n int64) { latest = n }); err != nil {
			t.Fatal(err)
		}
		if st := s.State(path, f.version()); !st.Whole || latest != f.size {
			t.Errorf("%s: %+v, %d bytes reported", path, st, latest)
		}
		checkAll(t, openFile(t, s, path, f.version()), f)
	}
	if got, want := s.Stats().Fetched, small.size+large.size; float64(got) > 1.05*float64(want) {
		t.Errorf("%d bytes fetched of %d", got, want)
	}
}

// Warming stands back for readers, stops when told, and goes on later.
func TestWarmIsStopped(t *testing.T) {
	r := newRemote(1)
	f, g := r.add("f", 30*mib), r.add("g", 3*mib)
	gate := make(chan struct{})
	r.hook = func(st *remoteStream) (int, error) {
		if st.path == "f" {
			return stall(10*mib, gate)(st)
		}
		return 0, nil
	}
	s := openStore(t, options(t), r)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- s.Warm(ctx, 0, "f", f.version(), nil) }()
	eventually(t, "some has come", func() bool { return s.State("f", f.version()).Held == 10*mib })
	if tr := s.Stats().Transfers; len(tr) != 1 || tr[0].Class != 3 {
		t.Errorf("transfers %+v, want one of the lowest class", tr)
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	checkAll(t, openFile(t, s, "g", g.version()), g)
	close(gate)
	if err := s.Warm(t.Context(), 0, "f", f.version(), nil); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats().Fetched; got > f.size+g.size+2*overlap+chunkSize {
		t.Errorf("%d bytes fetched", got)
	}
}

// A program that mapped a whole file into its memory goes on reading the .dat
// itself after its handle was closed. Nothing of it is given up then, whoever
// has the file open inside and however short room is.
func TestMappedFileIsNotPunched(t *testing.T) {
	r := newRemote(2)
	f, g := r.add("f", 70*mib), r.add("g", 60*mib) // g has nothing to punch
	o := options(t)
	o.MaxSize = 100 * mib
	s := openStore(t, o, r)
	h := openFile(t, s, "f", f.version())
	checkAll(t, h, f)
	waitWhole(t, h)
	whole, ok := h.Whole()
	if !ok {
		t.Fatal("not whole")
	}
	mapped, err := unix.Mmap(int(whole.Fd()), 0, int(f.size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mapped)
	h.file.retain() // as sealing and verifying do
	defer h.file.release()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.file.openData(); err != nil {
		t.Fatal(err)
	}
	checkAll(t, openFile(t, s, "g", g.version()), g)
	if !bytes.Equal(mapped, f.bytes(0, f.size)) {
		t.Fatal("the mapped bytes are not the file's any more")
	}
}
