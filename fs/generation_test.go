package fs

import (
	"bytes"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// minute is a file of which the server tells the minute only, so that its
// content can be replaced by another of the same version.
type minute struct {
	*standIn
	v listing.Version
}

const minuteSize = 512 << 10

func newMinute(t *testing.T) *minute {
	t.Helper()
	m := &minute{newStandIn(t), listing.Version{Size: minuteSize, MTime: listing.Interval{Min: someTime, Max: someTime + 59}}}
	m.put("", listing.Entry{Name: "f", Type: listing.File, Size: m.v.Size, MTime: m.v.MTime})
	return m
}

// replace gives the file another content; who has the one before gets no more
// of it than the kernel has.
func (m *minute) replace(b byte, whole bool) {
	m.mu.Lock()
	if old := m.files[key("f", m.v)]; old != nil {
		old.err = syscall.ESTALE
	}
	m.ids++
	m.files[key("f", m.v)] = &standInFile{data: filled(b, minuteSize), gen: m.ids}
	m.mu.Unlock()
	if whole {
		m.complete("f", m.v)
	}
}

func filled(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

// A content is replaced by another of the same version: whoever opens the file
// then has nothing of the old one, neither from the kernel's pages nor from the
// file that the kernel reads, and whoever has the old one open nothing of the
// new one.
func TestContentsOfOneVersionDoNotMix(t *testing.T) {
	for name, whole := range map[string]bool{"cached": false, "through": true} {
		t.Run(name, func(t *testing.T) {
			m := newMinute(t)
			m.replace('1', whole)
			path := filepath.Join(passthroughMount(t, m.standIn), "f")
			a, b := startAgent(t, "old"), startAgent(t, "new")
			fd := a.open(path)
			if r := a.do(order{Do: "mmap", FD: fd, Len: 4096}); r.Errno != 0 {
				t.Fatal(r.Errno)
			}
			if r := a.do(order{Do: "mapped", FD: fd, Len: 4096}); !bytes.Equal(r.Data, filled('1', 4096)) {
				t.Fatal("the head is wrong")
			}
			was := a.fstat(fd)

			m.replace('2', whole)
			for _, who := range []*agent{b, a, b} {
				if got, errno := who.read(path); errno != 0 || got != string(filled('2', minuteSize)) {
					t.Errorf("an open after it was replaced: %d bytes, %v, of the old one %d", len(got), errno, bytes.Count([]byte(got), []byte{'1'}))
				}
			}
			if now := b.do(order{Do: "stat", Path: path}).Stat; now.Ino != was.Ino || now.Size != was.Size || now.Mtim != was.Mtim {
				t.Errorf("it looks like another file: %v, %v", was, now)
			}
			for off := int64(0); off < minuteSize; off += minuteSize / 8 {
				got, errno := a.pread(fd, off, 4096)
				if errno != syscall.ESTALE && !bytes.Equal(got, filled('1', 4096)) || errno != 0 && (off == 0 || whole) {
					t.Errorf("the old handle at %d: %d bytes, %v, of the new one %d", off, len(got), errno, bytes.Count(got, []byte{'2'}))
				}
			}
			if r := a.do(order{Do: "mapped", FD: fd, Len: 4096}); !bytes.Equal(r.Data, filled('1', 4096)) {
				t.Error("the old mapping changed")
			}
			// Without a name to look up there is no new one to give, however often.
			for range 3 {
				if r := a.do(order{Do: "reopen", FD: fd}); r.Errno != syscall.ESTALE {
					t.Errorf("reopen of the old one: %v", r.Errno)
				}
			}
			a.close(fd)
			if readsAsked(m.standIn, func() { b.read(path) }) {
				t.Error("what the kernel has of the new one is not used")
			}
		})
	}
}

// The kernel keeps pages without a handle too, and they are of one content.
func TestPagesWithoutAHandleAreForgotten(t *testing.T) {
	m := newMinute(t)
	path := filepath.Join(passthroughMount(t, m.standIn), "f")
	a := startAgent(t, "reader")
	for _, b := range []byte("123") {
		m.replace(b, false)
		for range 2 {
			if got, errno := a.read(path); errno != 0 || got != string(filled(b, minuteSize)) {
				t.Errorf("content %c: %d bytes, %v, %d right", b, len(got), errno, bytes.Count([]byte(got), []byte{b}))
			}
		}
	}
}

// Many open while the content is replaced: nobody gets a mixture, and nobody an
// error but who had the old one.
func TestOpenersRaceWithReplacement(t *testing.T) {
	m := newMinute(t)
	m.replace('0', false)
	path := filepath.Join(passthroughMount(t, m.standIn), "f")
	agents := make([]*agent, 4)
	for i := range agents {
		agents[i] = startAgent(t, "racer")
	}
	for round := range 10 {
		next := byte('1' + round)
		var all sync.WaitGroup
		for _, a := range agents {
			all.Go(func() {
				for range 3 {
					got, errno := a.read(path)
					if errno != 0 && errno != syscall.ESTALE {
						t.Errorf("round %d: %v", round, errno)
					}
					if got != "" && !bytes.Equal([]byte(got), filled(got[0], len(got))) {
						t.Errorf("round %d: a mixture that begins with %c", round, got[0])
					}
				}
			})
		}
		m.replace(next, round%2 == 0)
		all.Wait()
		if got, errno := agents[0].read(path); errno != 0 || got != string(filled(next, minuteSize)) {
			t.Errorf("after round %d: %d bytes, %v", round, len(got), errno)
		}
	}
}

// Two who were given one content each by the Mirror come to the node in either
// order; both contents are not given to it, and the name leads to another.
func TestDecideKeepsContentsApart(t *testing.T) {
	for _, best := range []mode{cached, through} {
		tab := newTable()
		n := &fileNode{path: "f"}
		if got := tab.decide(n, best, 2, 100); got != best {
			t.Fatalf("the first: %v", got)
		}
		for range 2 {
			if got := tab.decide(n, best, 1, 101); got != undecided || !n.retired {
				t.Errorf("the other content: %v, retired %v", got, n.retired)
			}
		}
		if got := tab.decide(n, best, 2, 102); got != best {
			t.Errorf("the same content again: %v", got)
		}
	}
}
