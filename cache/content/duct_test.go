package content

import (
	"errors"
	"testing"
)

// Most of a large transfer goes to the disk without being read; where that
// can't be, it is read.
func TestDuct(t *testing.T) {
	for name, sealed := range map[string]bool{"plain": false, "encrypted": true} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(2)
			r.sealed.Store(sealed)
			f := r.add("f", 20*mib+77)
			s := openStore(t, options(t), r)
			h := openFile(t, s, "f", f.version())
			checkAll(t, h, f)
			waitWhole(t, h)
			checkAll(t, h, f)
			if got := r.piped.Load(); sealed && got > 0 || !sealed && got < f.size*9/10 {
				t.Errorf("%d bytes of %d were spliced", got, f.size)
			}
			if got := s.Stats().Fetched; got != f.size {
				t.Errorf("%d bytes are counted as fetched, of %d", got, f.size)
			}
		})
	}
}

// What is held already is never spliced over, but compared.
func TestDuctComparesWhatIsHeld(t *testing.T) {
	r := newRemote(1)
	f := r.add("f", 20*mib)
	s := openStore(t, options(t), r)
	h := openFile(t, s, "f", f.version())
	// So little that a transfer goes on over it.
	const from, to = 10 * mib, 10*mib + skipHeld/2
	r.hook = func(s *remoteStream) (int, error) {
		if s.at >= to {
			return 0, errReset
		}
		return int(to - s.at), nil
	}
	check(t, h, f, from, 4096)
	eventually(t, "the transfer has ended", func() bool {
		h.file.mu.Lock()
		defer h.file.mu.Unlock()
		return len(h.file.fetch.streams) == 0 && h.file.held.contains(span{from, to})
	})
	r.mu.Lock()
	r.hook = nil
	r.mu.Unlock()
	other := *f
	other.flips = map[int64]byte{to - 1000: ^f.bytes(to-1000, 1)[0]}
	r.replace("f", &other)
	if _, err := readAll(t.Context(), h, mib); !errors.Is(err, ErrChanged) {
		t.Errorf("reading on over other bytes: %v", err)
	}
	if r.piped.Load() == 0 {
		t.Error("nothing was spliced")
	}
}
