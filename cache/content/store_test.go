package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mib = 1 << 20

// options are those of most tests: whole files below 64 MiB.
func options(t testing.TB) Options {
	return Options{
		Dir:            t.TempDir(),
		WholeFileBelow: 64 * mib,
		Timeout:        5 * time.Second,
		RetryFor:       10 * time.Second,
		bootID:         "this boot",
		Log:            slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func openStore(t testing.TB, o Options, r Remote) *Store {
	t.Helper()
	s, err := Open(o, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openFile(t testing.TB, s *Store, path string, v listing.Version) *Handle {
	t.Helper()
	h, err := s.Open(t.Context(), 0, path, v)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// check reads n bytes at off and compares them with the truth.
func check(t testing.TB, h *Handle, f *remoteFile, off, n int64) {
	t.Helper()
	p := make([]byte, n)
	got, err := h.ReadAt(t.Context(), p, off)
	want := min(n, f.size-off)
	if int64(got) != want || err != nil && (err != io.EOF || want == n) {
		t.Fatalf("read %d at %d: %d bytes, %v, want %d", n, off, got, err, want)
	}
	if !bytes.Equal(p[:got], f.bytes(off, want)) {
		t.Fatalf("read %d at %d: wrong bytes", n, off)
	}
}

// readAll reads a file in order, in pieces of n bytes.
func readAll(ctx context.Context, h *Handle, n int) ([]byte, error) {
	return io.ReadAll(&struct{ io.Reader }{&handleReader{ctx, h, 0, n}})
}

type handleReader struct {
	ctx context.Context
	h   *Handle
	off int64
	max int
}

func (r *handleReader) Read(p []byte) (int, error) {
	n, err := r.h.ReadAt(r.ctx, p[:min(len(p), r.max)], r.off)
	r.off += int64(n)
	return n, err
}

func checkAll(t testing.TB, h *Handle, f *remoteFile) {
	t.Helper()
	got, err := readAll(t.Context(), h, 128<<10)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, f.bytes(0, f.size)) {
		t.Fatal("wrong bytes")
	}
}

// eventually waits for a condition that nothing announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func waitWhole(t testing.TB, h *Handle) *os.File {
	t.Helper()
	var whole *os.File
	eventually(t, "the file is whole", func() (ok bool) {
		whole, ok = h.Whole()
		return ok
	})
	return whole
}

func TestReadThrough(t *testing.T) {
	for _, size := range []int64{1, 4095, 4096, 256 << 10, mib, mib + 1, 20*mib + 17} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := newRemote(4)
			f := r.add("dir/file", size)
			s := openStore(t, options(t), r)
			h := openFile(t, s, "dir/file", f.version())
			checkAll(t, h, f)
			if got := r.retrs("dir/file"); !slices.Equal(got, []int64{0}) {
				t.Errorf("transfers from %v, want one from 0", got)
			}
			whole, err := io.ReadAll(waitWhole(t, h))
			if err != nil || !bytes.Equal(whole, f.bytes(0, size)) {
				t.Errorf("the whole file: %d bytes, %v", len(whole), err)
			}
			if got := s.Stats().Fetched; got != size {
				t.Errorf("fetched %d bytes of %d", got, size)
			}
		})
	}
}

func TestEmptyFileNeedsNoServer(t *testing.T) {
	r := newRemote(0)
	s := openStore(t, options(t), r)
	h := openFile(t, s, "empty", listing.Version{MTime: listing.Anytime()})
	if n, err := h.ReadAt(t.Context(), make([]byte, 10), 0); n != 0 || err != io.EOF {
		t.Fatalf("%d, %v", n, err)
	}
	if st := s.State("empty", listing.Version{MTime: listing.Anytime()}); !st.Whole {
		t.Error("an empty file is not whole")
	}
}

func TestBadVersionsAreRefused(t *testing.T) {
	s := openStore(t, options(t), newRemote(1))
	for _, v := range []listing.Version{{Size: listing.SizeUnknown, MTime: listing.Anytime()}, {Size: 1, MTime: listing.Interval{Min: 2, Max: 1}}} {
		if _, err := s.Open(t.Context(), 0, "f", v); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("open %v: %v", v, err)
		}
	}
}

// Whoever reads a file, however many at once, one transfer serves them all.
func TestReadersShareOneTransfer(t *testing.T) {
	r := newRemote(3)
	f := r.add("f", 8*mib)
	s := openStore(t, options(t), r)
	want := f.bytes(0, f.size)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			h, err := s.Open(t.Context(), uint32(i), "f", f.version())
			if err != nil {
				t.Error(err)
				return
			}
			defer h.Close()
			got, err := readAll(t.Context(), h, 4096+i*5000)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("reader %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	wg.Wait()
	if got := r.retrs("f"); !slices.Equal(got, []int64{0}) {
		t.Errorf("transfers from %v, want one from 0", got)
	}
}

func TestHeldContentNeedsNoServerAfterReopen(t *testing.T) {
	r := newRemote(2)
	f, g := r.add("f", 3*mib), r.add("g", 100*mib)
	o := options(t)
	s := openStore(t, o, r)
	h := openFile(t, s, "f", f.version())
	checkAll(t, h, f)
	waitWhole(t, h)
	gen := h.Generation()
	k := openFile(t, s, "g", g.version())
	check(t, k, g, 50*mib, 4096)
	h.Close()
	k.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	r.setDown(errors.New("server is down"))
	s = openStore(t, o, r)
	h = openFile(t, s, "f", f.version())
	if h.Generation() != gen {
		t.Error("the generation changed")
	}
	if _, ok := h.Whole(); !ok {
		t.Error("not whole after the store was opened again")
	}
	checkAll(t, h, f)
	k = openFile(t, s, "g", g.version())
	check(t, k, g, 50*mib, 4096)
}

// A look at the head of many files fetches no more of them.
func TestHeadLook(t *testing.T) {
	r := newRemote(4)
	s := openStore(t, options(t), r)
	const files = 200
	for i := range files {
		path := fmt.Sprint("f", i)
		f := r.add(path, 20*mib)
		h := openFile(t, s, path, f.version())
		check(t, h, f, 0, 16<<10)
		h.Close()
	}
	eventually(t, "no transfers are left", func() bool { return len(s.Stats().Transfers) == 0 })
	if got := s.Stats().Fetched; got > files*headWindow {
		t.Errorf("%d bytes a file were fetched, want at most %d", got/files, headWindow)
	}
	for _, o := range r.opened {
		if o.want.Limit == 0 || o.want.Limit > 256<<10 {
			t.Fatalf("a transfer was announced as %d bytes long", o.want.Limit)
		}
	}
}

// Reading on after a look at the head goes on with the same transfer.
func TestReadingOnKeepsTheTransfer(t *testing.T) {
	r := newRemote(1)
	f := r.add("f", 20*mib)
	s := openStore(t, options(t), r)
	h := openFile(t, s, "f", f.version())
	check(t, h, f, 0, 4096)
	eventually(t, "the transfer pauses", func() bool {
		tr := s.Stats().Transfers
		return len(tr) == 1 && tr[0].Paused
	})
	checkAll(t, h, f)
	if got := r.retrs("f"); !slices.Equal(got, []int64{0}) {
		t.Errorf("transfers from %v, want one from 0", got)
	}
}

// The last bytes of a large file arrive without the rest, and so do those far
// ahead of a transfer that is under way.
func TestSeekFarAhead(t *testing.T) {
	r := newRemote(4)
	f := r.add("f", 1<<30)
	s := openStore(t, options(t), r)
	h := openFile(t, s, "f", f.version())
	check(t, h, f, f.size-64<<10, 64<<10)
	if got := s.Stats().Fetched; got > mib {
		t.Errorf("%d bytes fetched for the last 64 KiB", got)
	}
	gate := make(chan struct{})
	defer close(gate)
	r.mu.Lock()
	r.hook = func(st *remoteStream) (int, error) {
		if st.start == 0 {
			return stall(4096, gate)(st)
		}
		return 0, nil
	}
	r.mu.Unlock()
	head := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := h.ReadAt(ctx, make([]byte, 8192), 0)
		head <- err
	}()
	eventually(t, "the head is being read", func() bool { return slices.Contains(r.retrs("f"), 0) })
	check(t, h, f, 500*mib, 128<<10)
	cancel()
	if err := <-head; !errors.Is(err, context.Canceled) {
		t.Errorf("the stalled reader got %v", err)
	}
}

// A reader who gives up does not take the transfer away from the others.
func TestGivingUpLeavesTheTransfer(t *testing.T) {
	r := newRemote(1)
	f := r.add("f", mib)
	gate := make(chan struct{})
	r.hook = stall(100_000, gate)
	s := openStore(t, options(t), r)
	h := openFile(t, s, "f", f.version())
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 2)
	for _, c := range []context.Context{ctx, t.Context()} {
		go func() {
			p := make([]byte, mib)
			_, err := h.ReadAt(c, p, 0)
			if err == nil && !bytes.Equal(p, f.bytes(0, mib)) {
				err = errors.New("wrong bytes")
			}
			results <- err
		}()
	}
	eventually(t, "both wait", func() bool { return waiting(s, "f") == 2 })
	cancel()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v first", err)
	}
	close(gate)
	if err := <-results; err != nil {
		t.Fatal(err)
	}
	if got := r.retrs("f"); len(got) != 1 {
		t.Errorf("transfers from %v, want one", got)
	}
}

func waiting(s *Store, path string) (n int) {
	for _, f := range s.generations(path) {
		f.mu.Lock()
		n += len(f.fetch.waiters)
		f.mu.Unlock()
	}
	return n
}

// A stream that flows already is given more than one that has yet to come to
// its speed.
func TestHeadStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(1)
		f := r.add("f", 256*mib)
		r.hook = slow(8 * mib)
		s := openStore(t, options(t), r)
		h := openFile(t, s, "f", f.version())
		check(t, h, f, 0, 16*mib)
		r.mu.Lock()
		r.free++
		r.mu.Unlock()
		file := s.generations("f")[0]
		file.mu.Lock()
		defer file.mu.Unlock()
		first := file.fetch.streams[0]
		middle := (first.pos + f.size) / 2
		file.splitArea(span{0, f.size}, ftppool.ClassRead, time.Now())
		if n := len(file.fetch.streams); n != 2 {
			t.Fatalf("%d streams", n)
		}
		// Half of what comes at 8 MiB/s in half a second.
		if ahead := file.fetch.streams[1].begin - middle; ahead < 3*mib/2 || ahead > 5*mib/2 {
			t.Errorf("the second begins %d bytes behind the middle", ahead)
		}
	})
}

// A large sequential read is spread over the idle sessions, which nearly
// divides its time by their number, with little read twice.
func TestSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(4)
		f := r.add("f", 256*mib)
		r.hook = slow(8 * mib)
		s := openStore(t, options(t), r)
		h := openFile(t, s, "f", f.version())
		start := time.Now()
		checkAll(t, h, f)
		if took, alone := time.Since(start), 32*time.Second; took > alone*28/100 {
			t.Errorf("it took %v, and one session alone %v", took, alone)
		}
		if got := r.retrs("f"); len(got) > 10 {
			t.Errorf("%d transfers: %v", len(got), got)
		}
		if got := s.Stats().Fetched; float64(got) > 1.01*float64(f.size) {
			t.Errorf("%d bytes fetched of %d", got, f.size)
		}
		waitWhole(t, h)
	})
}

// slow makes a hook that gives every transfer so many bytes a second.
func slow(rate int64) func(*remoteStream) (int, error) {
	return func(*remoteStream) (int, error) {
		time.Sleep(time.Duration(64<<10) * time.Second / time.Duration(rate))
		return 64 << 10, nil
	}
}

// What one session brings within a moment is left to it.
func TestNoSegmentsOfWhatIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(4)
		f := r.add("f", 256*mib)
		r.hook = slow(512 * mib)
		s := openStore(t, options(t), r)
		h := openFile(t, s, "f", f.version())
		checkAll(t, h, f)
		if got := r.retrs("f"); !slices.Equal(got, []int64{0}) {
			t.Errorf("transfers from %v, want one from 0", got)
		}
	})
}

// Whether transfers can begin in the middle is found out while a large file's
// first one begins, but not for a look at its head.
func TestRestartIsProvenAhead(t *testing.T) {
	r := newRemote(4)
	f, g := r.add("f", 100*mib), r.add("g", 100*mib)
	s := openStore(t, options(t), r)
	check(t, openFile(t, s, "f", f.version()), f, 0, 4096)
	if n := r.proofs.Load(); n != 0 {
		t.Errorf("asked %d times for a look at a head", n)
	}
	check(t, openFile(t, s, "g", g.version()), g, 0, mib)
	if r.proofs.Load() == 0 {
		t.Error("not asked when a large file is read")
	}
}

// Sessions are asked for when a large file is read on, not for a look at it.
func TestSessionsAreExpected(t *testing.T) {
	r := newRemote(4)
	f, small := r.add("f", 256*mib), r.add("small", 10*mib)
	s := openStore(t, options(t), r)
	h := openFile(t, s, "f", f.version())
	check(t, h, f, 0, 128<<10)
	check(t, openFile(t, s, "small", small.version()), small, 0, mib)
	if n := r.expected.Load(); n != 0 {
		t.Errorf("%d sessions expected for a look at a head and a small file", n)
	}
	check(t, h, f, 128<<10, 256<<10)
	if n := r.expected.Load(); n != 5 {
		t.Errorf("%d sessions expected for 256 MiB in pieces of 64, want 5", n)
	}
}

func TestNoSegmentsWithoutRestart(t *testing.T) {
	r := newRemote(4)
	r.restart.Store(false)
	f := r.add("f", 100*mib)
	s := openStore(t, options(t), r)
	h := openFile(t, s, "f", f.version())
	checkAll(t, h, f)
	if got := r.retrs("f"); !slices.Equal(got, []int64{0}) {
		t.Errorf("transfers from %v", got)
	}
}

// Readers all over a file, at once, get the right bytes.
func TestRandomReaders(t *testing.T) {
	for _, sessions := range []int{1, 2, 4, 16} {
		t.Run(fmt.Sprint(sessions), func(t *testing.T) {
			r := newRemote(sessions)
			small, large := r.add("small", 10*mib), r.add("large", 90*mib)
			s := openStore(t, options(t), r)
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(i), 1))
					path, f := "small", small
					if i%2 == 0 {
						path, f = "large", large
					}
					h, err := s.Open(t.Context(), 0, path, f.version())
					if err != nil {
						t.Error(err)
						return
					}
					defer h.Close()
					for range 20 {
						off := rnd.Int64N(f.size)
						p := make([]byte, 1+rnd.IntN(128<<10))
						n, err := h.ReadAt(t.Context(), p, off)
						if err != nil && err != io.EOF || !bytes.Equal(p[:n], f.bytes(off, int64(n))) {
							t.Errorf("read %d at %d of %s: %d, %v", len(p), off, path, n, err)
							return
						}
					}
				})
			}
			wg.Wait()
			if got := r.most.Load(); got > int64(sessions) {
				t.Errorf("%d sessions at once", got)
			}
		})
	}
}

// A reader in the middle of a file that has not had its turn for a while keeps
// the transfer, even when others wait for its session; one that only looked at
// the head does not.
func TestPauseWhileOthersWait(t *testing.T) {
	for name, c := range map[string]struct {
		read int64
		want []int64 // transfers of the file in the end
	}{
		"reading on": {200 << 10, []int64{0}},
		"a look":     {16 << 10, []int64{0, headWindow - overlap}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRemote(1)
				f, g := r.add("f", 10*mib), r.add("g", 5000)
				s := openStore(t, options(t), r)
				h := openFile(t, s, "f", f.version())
				check(t, h, f, 0, c.read)
				var wg sync.WaitGroup
				k := openFile(t, s, "g", g.version())
				wg.Go(func() {
					if _, err := k.ReadAt(t.Context(), make([]byte, 100), 0); err != nil {
						t.Error(err)
					}
				})
				time.Sleep(time.Second)
				checkAll(t, h, f)
				wg.Wait()
				if got := r.retrs("f"); !slices.Equal(got, c.want) {
					t.Errorf("transfers from %v, want %v", got, c.want)
				}
			})
		})
	}
}
