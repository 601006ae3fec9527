package content

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/mirrorfs/mirrorfs/ftppool"
)

// A read that comes while the store closes its files finds none, and does not
// take that for damage.
func TestReadDuringClose(t *testing.T) {
	r := newRemote(1)
	f := r.add("f", 100*mib)
	s := openStore(t, options(t), r)
	h := openFile(t, s, "f", f.version())
	check(t, h, f, 10*mib, 4096)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	g := h.file
	if g.data != nil {
		t.Fatal("it is still open")
	}
	if g.read(make([]byte, 4096), 10*mib, nil, g.epoch) {
		t.Error("it was read without a file")
	}
	if m := recorded(t, g); len(m.Held) == 0 {
		t.Error("what was held is given up in the record")
	}
	if _, err := h.ReadAt(t.Context(), make([]byte, 4096), 10*mib); !errors.Is(err, ftppool.ErrClosed) {
		t.Errorf("a read after Close: %v", err)
	}
}

// A .dat that is cut while a transfer goes on writing to it grows again, with
// zeros. They are not taken for content.
func TestCutDuringTransfer(t *testing.T) {
	for name, piped := range map[string]bool{"read": false, "piped": true} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(2)
			r.sealed.Store(!piped)
			f := r.add("f", 20*mib)
			gate := make(chan struct{})
			r.hook = stall(8*mib, gate)
			o := options(t)
			s := openStore(t, o, r)
			h := openFile(t, s, "f", f.version())
			check(t, h, f, 0, mib)
			eventually(t, "some has come", func() bool { return s.State("f", f.version()).Held == 8*mib })
			dat := onDisk(t, o.Dir, datExt)
			if err := os.Truncate(dat, 4096); err != nil {
				t.Fatal(err)
			}
			close(gate)
			check(t, h, f, 19*mib, mib)
			checkAll(t, h, f)
			if got := r.piped.Load() > 0; got != piped {
				t.Errorf("bytes went through a pipe: %v", got)
			}
			// What is held now is right too, without a look at the server.
			h.file.mu.Lock()
			held := h.file.held.clone()
			h.file.mu.Unlock()
			b, err := os.ReadFile(dat)
			if err != nil || int64(len(b)) != f.size {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
			for _, s := range held.spans {
				if !bytes.Equal(b[s.lo:s.hi], f.bytes(s.lo, s.len())) {
					t.Errorf("wrong bytes within %v", s)
				}
			}
		})
	}
}

// A file that is dropped just before its first bytes are written leaves nothing
// behind.
func TestDroppedBeforeItsFirstBytes(t *testing.T) {
	r := newRemote(1)
	f := r.add("f", mib)
	o := options(t)
	s := openStore(t, o, r)
	h := openFile(t, s, "f", f.version())
	s.drop(h.file, errEvicted)
	if _, err := h.file.createData(); !errors.Is(err, errEvicted) {
		t.Errorf("got %v", err)
	}
	if left := names(t, o.Dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
