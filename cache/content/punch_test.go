package content

import (
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// punchable opens a large file whose first megabytes are held and may be given
// up: nobody is near them.
func punchable(t *testing.T, r *remote) (*Store, *Handle, *remoteFile) {
	t.Helper()
	f := r.add("f", 100*mib)
	s := openStore(t, options(t), r)
	h := openFile(t, s, "f", f.version())
	check(t, h, f, 0, 8*mib)
	for i := range 2 * maxCursors {
		check(t, h, f, 30*mib+int64(i)*3*slack, 4096)
	}
	eventually(t, "the transfers are over", func() bool { return len(s.Stats().Transfers) == 0 })
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	return s, h, f
}

func (f *file) holdsNow(s span) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held.contains(s)
}

// punchMeanwhile has f give up its first MiB, and something done between its
// being forgotten and the record.
func punchMeanwhile(t *testing.T, f *file, do func()) {
	t.Helper()
	done := make(chan struct{})
	f.record.Lock()
	go func() {
		defer close(done)
		f.punch(mib)
	}()
	eventually(t, "it is forgotten", func() bool { return !f.holdsNow(span{0, mib}) })
	do()
	f.record.Unlock()
	<-done
}

// Where a file system can't punch, what was to be given up is there again, also
// for who began to wait for it meanwhile.
func TestPunchUnsupported(t *testing.T) {
	r := newRemote(2)
	s, h, f := punchable(t, r)
	proc, err := os.OpenFile("/proc/self/oom_score_adj", os.O_RDWR, 0) // knows no holes
	if err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	defer close(gate)
	r.hook = stall(0, gate)
	defer proc.Close()
	back := swapData(h.file, proc)
	read := make(chan struct{})
	punchMeanwhile(t, h.file, func() {
		back()
		go func() {
			defer close(read)
			h.ReadAt(t.Context(), make([]byte, 4096), 0)
		}()
		eventually(t, "somebody waits", func() bool { return waiting(s, "f") == 1 })
	})
	if !s.room.cantPunch.Load() {
		t.Error("it was not noticed")
	}
	if n := waiting(s, "f"); n != 0 || !h.file.holdsNow(span{0, mib}) {
		t.Fatalf("%d still wait", n)
	}
	<-read
	check(t, h, f, 0, mib)
}

// What can't be forgotten in the record for good is not given up.
func TestPunchUnrecorded(t *testing.T) {
	r := newRemote(2)
	_, h, f := punchable(t, r)
	g := h.file
	meta := g.store.file(g.base(), metaExt)
	if err := os.Remove(meta); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(meta, 0o700); err != nil { // can't be replaced by a file
		t.Fatal(err)
	}
	g.punch(mib)
	if !g.holdsNow(span{0, mib}) {
		t.Fatal("it was given up")
	}
	if err := os.Remove(meta); err != nil {
		t.Fatal(err)
	}
	r.setDown(errReset)
	check(t, h, f, 0, mib)
	if err := g.store.flush(); err != nil {
		t.Fatal(err)
	}
	if m := recorded(t, g); len(m.Held) == 0 || m.Held[0][0] != 0 {
		t.Errorf("the record says %v", m.Held)
	}
}

// A file that is dropped while it gives up a part gives up nothing: its old
// record may come back after a power failure.
func TestPunchOfADroppedFile(t *testing.T) {
	r := newRemote(2)
	s, h, f := punchable(t, r)
	g := h.file
	dropped := make(chan struct{})
	punchMeanwhile(t, g, func() {
		go func() {
			defer close(dropped)
			s.drop(g, &Failure{Path: "f", Err: ErrChanged})
		}()
		eventually(t, "it is gone", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.gone != nil })
	})
	<-dropped
	check(t, h, f, 0, mib)
	p := make([]byte, mib)
	if _, err := unix.Pread(int(g.data.Fd()), p, 0); err != nil || !bytes.Equal(p, f.bytes(0, mib)) {
		t.Errorf("the .dat was punched, %v", err)
	}
}
