package content

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// changes collects what a store reports of files.
type changes struct {
	mu   sync.Mutex
	list []listing.Entry
}

func (c *changes) note(_ string, e listing.Entry) {
	c.mu.Lock()
	c.list = append(c.list, e)
	c.mu.Unlock()
}

func (c *changes) last() (listing.Entry, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.list) == 0 {
		return listing.Entry{}, 0
	}
	return c.list[len(c.list)-1], len(c.list)
}

// Transfers that are cut in any way are continued where they stopped, a little
// before it to compare, and the bytes are exact.
func TestCutTransfersAreContinued(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
	}{
		{"reset", errReset}, {"early end", io.EOF}, {"preempted", ftppool.ErrPreempted},
		{"silence", context.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRemote(2)
				f := r.add("f", 10*mib)
				r.hook = func(st *remoteStream) (int, error) {
					if st.at-st.start >= mib {
						return 0, c.err
					}
					return int(mib - (st.at - st.start)), nil
				}
				s := openStore(t, options(t), r)
				h := openFile(t, s, "f", f.version())
				checkAll(t, h, f)
				waitWhole(t, h)
				offsets := r.retrs("f")
				for i, off := range offsets {
					if want := int64(i) * (mib - overlap); off != want {
						t.Fatalf("transfers from %v, want every %d", offsets, mib-overlap)
					}
				}
				if got := s.Stats().Fetched; float64(got) > 1.1*float64(f.size) {
					t.Errorf("%d bytes fetched of %d", got, f.size)
				}
				if err := s.LastError("f"); err != nil {
					t.Errorf("an overcome failure is still reported: %v", err)
				}
			})
		})
	}
}

// A server without REST sends the file from the front again; what is held of it
// is compared, not doubted.
func TestRestartRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(3)
		r.restart.Store(false)
		f := r.add("f", 5*mib)
		first := true
		r.hook = func(st *remoteStream) (int, error) {
			if first && st.at >= 2*mib {
				first = false
				return 0, errReset
			}
			return 0, nil
		}
		s := openStore(t, options(t), r)
		h := openFile(t, s, "f", f.version())
		check(t, h, f, 3*mib, 4096) // far ahead: only reached from the front
		checkAll(t, h, f)
		waitWhole(t, h)
		if got := r.retrs("f"); !slices.Equal(got, []int64{0, 0}) {
			t.Errorf("transfers from %v, want two from 0", got)
		}
	})
}

// A server that can't restart and ends every transfer at the same byte makes no
// progress: the read fails when its time is over, after a few transfers.
func TestRestartRefusedAndAlwaysCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(1)
		r.restart.Store(false)
		f := r.add("f", 5*mib)
		r.hook = func(st *remoteStream) (int, error) {
			if left := mib - st.at; left > 0 {
				return int(left), nil
			}
			return 0, io.EOF
		}
		o := options(t)
		s := openStore(t, o, r)
		h := openFile(t, s, "f", f.version())
		begun := time.Now()
		if n, err := h.ReadAt(t.Context(), make([]byte, 4096), 3*mib); err == nil {
			t.Fatalf("read %d bytes that never came", n)
		}
		if took := time.Since(begun); took > o.RetryFor+o.Timeout {
			t.Errorf("the read failed after %v", took)
		}
		if got := len(r.retrs("f")); got > 100 {
			t.Errorf("%d transfers", got)
		}
	})
}

// A file that was replaced while part of it is held is noticed by its bytes or
// its time, whatever else stayed the same. The handle keeps the old bytes, the
// missing ones fail, and a new handle reads the new file.
func TestReplacedDuringRead(t *testing.T) {
	old := &remoteFile{seed: 1, size: 100 * mib, mtime: 1000}
	for name, now := range map[string]*remoteFile{
		"other bytes, time and size": {seed: 2, size: 90 * mib, mtime: 2000},
		"other bytes and time":       {seed: 2, size: 100 * mib, mtime: 2000},
		"other bytes, same time":     {seed: 2, size: 100 * mib, mtime: 1000},
		"other time, same bytes":     {seed: 1, size: 100 * mib, mtime: 2000},
		"longer":                     {seed: 1, size: 101 * mib, mtime: 2000},
		"shorter":                    {seed: 1, size: 99 * mib, mtime: 1000},
		"one byte far on":            {seed: 1, size: 100 * mib, mtime: 2000, flips: map[int64]byte{60 * mib: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRemote(2)
				r.replace("f", old)
				var told changes
				o := options(t)
				o.Changed = told.note
				s := openStore(t, o, r)
				h := openFile(t, s, "f", old.version())
				check(t, h, old, 0, 200_000)
				eventually(t, "the transfer is over", func() bool { return len(s.Stats().Transfers) == 0 })
				r.replace("f", now)

				// The piece that follows what is held, so that it overlaps.
				hole, _ := h.file.held.firstMissing(span{0, old.size})
				if _, err := h.ReadAt(t.Context(), make([]byte, 4096), hole); !errors.Is(err, ErrChanged) {
					t.Fatalf("read of a missing piece: %v, want ErrChanged", err)
				}
				check(t, h, old, 0, 200_000)
				eventually(t, "the change is reported", func() bool {
					e, _ := told.last()
					return e.Size == now.size && e.MTime.Min == now.mtime
				})
				h2 := openFile(t, s, "f", now.version())
				if h2.Generation() == h.Generation() {
					t.Error("two contents have one generation")
				}
				check(t, h2, now, 0, 300_000)
				check(t, h2, now, 60*mib-10, 300_000)
				check(t, h, old, 0, 200_000)
			})
		})
	}
}

// A listing that is out of date about the size is found out before the last
// bytes are given to a reader, so that none takes a piece for the whole.
func TestWrongSizeInListing(t *testing.T) {
	for name, delta := range map[string]int64{"longer": 1000, "shorter": -1000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRemote(2)
				f := r.add("f", 2*mib)
				v := f.version()
				v.Size -= delta
				var told changes
				o := options(t)
				o.Changed = told.note
				s := openStore(t, o, r)
				h := openFile(t, s, "f", v)
				got, err := readAll(t.Context(), h, 64<<10)
				if !errors.Is(err, ErrChanged) {
					t.Fatalf("%d bytes, %v, want ErrChanged", len(got), err)
				}
				if _, ok := h.Whole(); ok {
					t.Error("a piece is called whole")
				}
				eventually(t, "the size is reported", func() bool { e, _ := told.last(); return e.Size == f.size })
			})
		})
	}
}

// All bytes came in one transfer, but the server's time is another by then.
func TestReplacedBeforeConfirmation(t *testing.T) {
	r := newRemote(2)
	f := r.add("f", 2*mib)
	v := f.version()
	var told changes
	o := options(t)
	o.Changed = told.note
	s := openStore(t, o, r)
	h := openFile(t, s, "f", v)
	check(t, h, f, 0, 1000) // the transfer goes on with the old file
	now := &remoteFile{seed: f.seed, size: f.size, mtime: f.mtime + 100}
	r.replace("f", now)
	checkAll(t, h, f)
	eventually(t, "the time is reported", func() bool { e, _ := told.last(); return e.MTime.Min == now.mtime })
	if _, ok := h.Whole(); ok {
		t.Error("an unconfirmed file is whole")
	}
	if st := s.State("f", v); st.Held != 0 {
		t.Errorf("%d bytes of it are still held", st.Held)
	}
	checkAll(t, h, f) // one version all along, so it may go on reading it
}

// The file was replaced since it was listed, before any of it was fetched: the
// first transfer brings none of its bytes.
func TestReplacedBeforeFirstByte(t *testing.T) {
	r := newRemote(2)
	f := r.add("f", 2*mib)
	v := f.version()
	now := &remoteFile{seed: f.seed + 1, size: f.size, mtime: f.mtime + 100}
	r.replace("f", now)
	s := openStore(t, options(t), r)
	h := openFile(t, s, "f", v)
	if _, err := h.ReadAt(t.Context(), make([]byte, 1000), mib); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v, want ErrChanged", err)
	}
	checkAll(t, openFile(t, s, "f", now.version()), now)
}

// A more exact time is passed on, and is no change.
func TestExactTimeIsLearned(t *testing.T) {
	r := newRemote(2)
	f := r.add("f", mib)
	var told changes
	o := options(t)
	o.Changed = told.note
	s := openStore(t, o, r)
	rough := listing.Version{Size: f.size, MTime: listing.Interval{Min: f.mtime - 59, Max: f.mtime + 59}}
	h := openFile(t, s, "f", rough)
	checkAll(t, h, f)
	waitWhole(t, h)
	if got := h.Version(); got != f.version() {
		t.Errorf("version %v, want %v", got, f.version())
	}
	if e, n := told.last(); n != 1 || e.Version() != f.version() {
		t.Errorf("told %d times, last %v", n, e)
	}
	h2 := openFile(t, s, "f", rough)
	if h2.Generation() != h.Generation() {
		t.Error("the exact time made another content")
	}
}

func TestVanishedFile(t *testing.T) {
	r := newRemote(2)
	f := r.add("f", 2*mib)
	r.replace("f", nil)
	var told changes
	o := options(t)
	o.Changed = told.note
	s := openStore(t, o, r)
	h := openFile(t, s, "f", f.version())
	if _, err := h.ReadAt(t.Context(), make([]byte, 10), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v, want ErrNotExist", err)
	}
	eventually(t, "it is reported", func() bool { e, n := told.last(); return n > 0 && e.Type == 0 })
	if err := s.LastError("f"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the last error is %v", err)
	}
}

// A read keeps trying for RetryFor and then fails; asked again it fails at
// once for Timeout, and then tries again.
func TestOutageLongerThanRetryFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(2)
		f := r.add("f", 2*mib)
		r.setDown(errReset)
		o := options(t)
		s := openStore(t, o, r)
		h := openFile(t, s, "f", f.version())
		read := func() (time.Duration, error) {
			start := time.Now()
			_, err := h.ReadAt(t.Context(), make([]byte, 128<<10), 0)
			return time.Since(start), err
		}
		took, err := read()
		var failure *Failure
		if !errors.Is(err, errReset) || !errors.As(err, &failure) || failure.Attempts < 3 {
			t.Fatalf("got %v", err)
		}
		if took < o.RetryFor || took > o.RetryFor+time.Second {
			t.Errorf("the read failed after %v, want %v", took, o.RetryFor)
		}
		if took, err := read(); took != 0 || !errors.Is(err, errReset) {
			t.Errorf("the second read failed after %v with %v, want at once", took, err)
		}
		time.Sleep(o.Timeout)
		r.setDown(nil)
		checkAll(t, h, f)
		if err := s.LastError("f"); err != nil {
			t.Errorf("an overcome failure is still reported: %v", err)
		}
	})
}

// An outage shorter than RetryFor in the middle of a file is only a wait.
func TestOutageInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(2)
		f := r.add("f", 30*mib)
		var once sync.Once
		r.hook = func(st *remoteStream) (int, error) {
			var err error
			if st.at > 10*mib {
				once.Do(func() {
					err = errReset
					go func() { // the lock is held
						r.setDown(errRefused)
						time.Sleep(8 * time.Second)
						r.setDown(nil)
					}()
				})
			}
			return 0, err
		}
		s := openStore(t, options(t), r)
		h := openFile(t, s, "f", f.version())
		checkAll(t, h, f)
	})
}

var errRefused = errors.New("connection refused")

func TestFinalErrorsFailAtOnce(t *testing.T) {
	for _, want := range []error{fs.ErrPermission, ftppool.ErrOffline, ftppool.ErrLogin} {
		synctest.Test(t, func(t *testing.T) {
			r := newRemote(2)
			f := r.add("f", 2*mib)
			r.opens = func(string, int64) error { return want }
			s := openStore(t, options(t), r)
			h := openFile(t, s, "f", f.version())
			start := time.Now()
			_, err := h.ReadAt(t.Context(), make([]byte, 10), 0)
			if !errors.Is(err, want) || time.Since(start) != 0 {
				t.Errorf("got %v after %v, want %v at once", err, time.Since(start), want)
			}
		})
	}
}

// With readers, cuts and pre-emption all over, everything is exact.
func TestManyReadersManyFaults(t *testing.T) {
	r := newRemote(3)
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(1, 2))
	r.hook = func(st *remoteStream) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		switch rnd.IntN(60) {
		case 0:
			return 0, errReset
		case 1:
			return 0, io.EOF
		case 2:
			return 0, ftppool.ErrPreempted
		case 3:
			return 1 + rnd.IntN(100), nil
		}
		return 0, nil
	}
	files := map[string]*remoteFile{"a": r.add("a", 3*mib), "b": r.add("b", 9*mib), "c": r.add("c", 80*mib)}
	o := options(t)
	o.MaxSize = 20 * mib
	s := openStore(t, o, r)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 3))
			for range 6 {
				path := string(rune('a' + rnd.IntN(3)))
				f := files[path]
				h, err := s.Open(t.Context(), uint32(i), path, f.version())
				if err != nil {
					t.Error(err)
					return
				}
				off := rnd.Int64N(f.size)
				for range 30 {
					p := make([]byte, 1+rnd.IntN(100<<10))
					n, err := h.ReadAt(t.Context(), p, off)
					if err != nil && err != io.EOF || !bytes.Equal(p[:n], f.bytes(off, int64(n))) {
						t.Errorf("read %d at %d of %s: %d, %v", len(p), off, path, n, err)
						return
					}
					if off += int64(n); off >= f.size {
						break
					}
				}
				h.Close()
			}
		})
	}
	wg.Wait()
}

func TestReadersAreWokenByClose(t *testing.T) {
	r := newRemote(1)
	f := r.add("f", mib)
	gate := make(chan struct{})
	defer close(gate)
	r.hook = stall(10, gate)
	s := openStore(t, options(t), r)
	h := openFile(t, s, "f", f.version())
	result := make(chan error, 1)
	go func() {
		_, err := h.ReadAt(t.Context(), make([]byte, 100), 0)
		result <- err
	}()
	eventually(t, "it waits", func() bool { return waiting(s, "f") == 1 })
	s.Close()
	if err := <-result; !errors.Is(err, ftppool.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := h.ReadAt(t.Context(), make([]byte, 100), 500); !errors.Is(err, ftppool.ErrClosed) {
		t.Errorf("a read after Close: %v", err)
	}
	if _, err := s.Open(t.Context(), 0, "f", f.version()); !errors.Is(err, ftppool.ErrClosed) {
		t.Errorf("an open after Close: %v", err)
	}
}

// The kernel asks for many pieces ahead at once, and they arrive in any order.
// A file that is fetched whole still costs one transfer.
func TestKernelReadAhead(t *testing.T) { synctest.Test(t, testKernelReadAhead) }

func testKernelReadAhead(t *testing.T) {
	r := newRemote(4)
	f := r.add("f", 40*mib)
	s := openStore(t, options(t), r)
	h := openFile(t, s, "f", f.version())
	for lo := int64(0); lo < f.size; lo += 10 * mib {
		var wg sync.WaitGroup
		for _, i := range rand.Perm(10) {
			wg.Go(func() {
				p, off := make([]byte, mib), lo+int64(i)*mib
				if _, err := h.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, f.bytes(off, mib)) {
					t.Errorf("read at %d: %v", off, err)
				}
			})
		}
		wg.Wait()
	}
	if got := r.retrs("f"); !slices.Equal(got, []int64{0}) {
		t.Errorf("transfers from %v, want one from 0", got)
	}
}
