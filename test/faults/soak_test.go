package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// TestSoak has sixty-four readers read everything, at random and through, while
// every fourth transfer and every second something else breaks, and the cache
// holds a tenth of the data. Every byte is compared with the truth; a reader
// may be refused, and is then to be told why.
func TestSoak(t *testing.T) {
	const readers, files = 64, 60
	rng := seeded(t)
	lasts := duration(t, "MIRRORFS_FAULTS_SOAK", 20*time.Second)
	s := ftptest.New(t, ftptest.Options{LogLimit: 10_000})
	var total int64
	names := make([]string, files)
	for i := range names {
		size := []int64{1, 4097, 100_000, mib, 3 * mib, 9 * mib}[i%6]
		names[i] = fmt.Sprintf("d%d/f%02d", i%3, i)
		s.Tree().Generate(names[i], size, uint64(i), epoch)
		total += size
	}
	m := mount(t, s, func(s *settings) {
		s.Timeout, s.RetryFor = 6*time.Second, 30*time.Second
		s.MaxSize, s.WholeFileBelow, s.Connections = total/10, 4*mib, 6
	})

	var faults, bytes, reads, refusals, over atomic.Int64
	var mu sync.Mutex // guards dice
	dice := rand.New(rand.NewPCG(rng.Uint64(), 1))
	chance := func(n int64) int64 {
		mu.Lock()
		defer mu.Unlock()
		return dice.Int64N(n)
	}
	s.Script(func(c *ftptest.Cmd) ftptest.Action {
		if c.Verb != "RETR" || chance(4) > 0 {
			return ftptest.Action{}
		}
		faults.Add(1)
		k := chance(2 * mib)
		switch n := chance(50); {
		case n == 0:
			return ftptest.CutAt(k, ftptest.Stall)
		case n < 5:
			return ftptest.DropAt(ftptest.Drop(1 + chance(4)))
		case n < 9:
			return ftptest.Reply(451, "Not now.")
		}
		hows := []ftptest.How{ftptest.With426, ftptest.With226, ftptest.With451, ftptest.Reset, ftptest.Disconnect}
		return ftptest.CutAt(k, hows[chance(int64(len(hows)))])
	})

	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range readers {
		rng := rand.New(rand.NewPCG(rng.Uint64(), uint64(i)))
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				path := names[rng.IntN(files)]
				if err := readSome(m, s, path, rng, &bytes); err != nil {
					if errors.Is(err, errWrong) || errors.Is(err, fs.ErrNotExist) {
						t.Errorf("%s: %v", path, err)
						return
					}
					refusals.Add(1)
				} else {
					reads.Add(1)
				}
			}
		})
	}
	wg.Go(func() { // something else, every second
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			faults.Add(1)
			switch n % 5 {
			case 0, 2:
				s.DropAll()
			case 1:
				s.Stop()
				if err := s.Start(); err != nil {
					t.Error(err)
				}
			case 3:
				s.Update(func(o *ftptest.Options) { o.MaxPerAddr = 2 + int(chance(5)) })
			case 4:
				s.Update(func(o *ftptest.Options) { o.MaxPerAddr = 0 })
			}
			if used, limit, _ := m.cache.Usage(); used > limit {
				over.Store(max(over.Load(), used-limit))
			}
		}
	})
	time.Sleep(lasts)
	close(done)
	wg.Wait()

	s.ClearRules()
	s.Update(func(o *ftptest.Options) { o.MaxPerAddr = 0 })
	for _, path := range names {
		eventually(t, path+" is exact when all is well again", func() bool {
			b, err := m.file(path)
			if err != nil {
				return false
			}
			if wrong := compare(b, s.Tree().Content(path), 0, true); wrong != nil {
				t.Fatalf("%s: %v", path, wrong)
			}
			return true
		})
	}
	if reads.Load() == 0 || faults.Load() == 0 {
		t.Error("nothing happened")
	}
	st := m.cache.Content().Stats()
	t.Logf("%v, %d readers: %d faults, %d reads, %d bytes compared, %d reads failed and said so, %d wrong bytes; evicted %d bytes, at most %d bytes over the bound while open",
		lasts, readers, faults.Load(), reads.Load(), bytes.Load(), refusals.Load(), 0, st.Evicted, over.Load())
	if st.Evicted == 0 {
		t.Error("nothing was evicted")
	}
	eventually(t, "the cache is within its bound", func() bool {
		used, limit, _ := m.cache.Usage()
		return used <= limit
	})
	if o := s.Overlaps(); len(o) > 0 {
		t.Errorf("two transfers on one session: %v", o[0])
	}
}

var errWrong = errors.New("wrong")

// readSome reads a file, or some places of it.
func readSome(m *mirror, s *ftptest.Server, path string, rng *rand.Rand, count *atomic.Int64) error {
	h, err := m.handle(path)
	if err != nil {
		return err
	}
	defer h.Close()
	truth := s.Tree().Content(path)
	check := func(off int64, n int) error {
		p, err := read(h, off, n)
		if err != nil {
			return err
		}
		count.Add(int64(len(p)))
		if int64(len(p)) != min(int64(n), truth.Size()-off) {
			return fmt.Errorf("%w: %d bytes of %d at %d", errWrong, len(p), n, off)
		}
		if err := compare(p, truth, off, false); err != nil {
			return fmt.Errorf("%w: %w", errWrong, err)
		}
		return nil
	}
	if rng.IntN(3) == 0 {
		for range 10 {
			if err := check(rng.Int64N(truth.Size()), 1+rng.IntN(200_000)); err != nil {
				return err
			}
		}
		return nil
	}
	for off := int64(0); off < truth.Size(); off += 128 * kib {
		if err := check(off, 128*kib); err != nil {
			return err
		}
	}
	return nil
}
