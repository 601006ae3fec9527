package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// TestKill kills the program with SIGKILL at random moments under load, and
// mounts again, over a cache that is sometimes damaged meanwhile. Every byte
// that any of the mounts ever gave is exact, the cache is within its bound, and
// at the end all of it is read.
func TestKill(t *testing.T) {
	const bound = 12 * mib
	rng := seeded(t)
	kills := number(t, "MIRRORFS_FAULTS_KILLS", 20)
	s := ftptest.New(t, ftptest.Options{LogLimit: 10_000})
	var names []string
	for i := range 30 {
		name := fmt.Sprintf("d%d/f%02d", i%3, i)
		names = append(names, name)
		s.Tree().Generate(name, []int64{1, 5000, 200_000, mib, 4 * mib}[i%5], uint64(i), epoch)
	}
	s.Every(7, "RETR", "*", ftptest.CutAt(150_000, ftptest.With426))
	m := newMounted(t, s, "--cache-size", "12M", "--cache-min-free", "0", "--timeout", "10s", "--dir-cache-time", "1h", "-v")

	var bytes atomic.Int64
	damages := make(map[string]int)
	for round := range kills {
		m.start()
		// What open files took beyond the bound is given back by the next mount.
		eventually(t, "the cache is within its bound", func() bool { return allocated(t, m.cache) <= bound+mib })
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 8 {
			rng := rand.New(rand.NewPCG(rng.Uint64(), uint64(i)))
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					p := names[rng.IntN(len(names))]
					truth := s.Tree().Content(p)
					off := rng.Int64N(truth.Size())
					if rng.IntN(2) == 0 {
						off = 0
					}
					most := 1 + rng.Int64N(2*mib)
					err := m.check(p, truth, off, most)
					switch {
					case err == nil:
						bytes.Add(min(most, truth.Size()-off))
					case errors.Is(err, errWrong):
						t.Errorf("round %d: %s: %v", round, p, err)
						return
					case errors.Is(err, fs.ErrNotExist) && m.answers():
						entries, listErr := os.ReadDir(filepath.Join(m.dir, filepath.Dir(p)))
						why := make([]byte, 4096)
						n, _ := syscall.Getxattr(m.dir, "user.mirrorfs.error", why)
						t.Errorf("round %d: %s is absent: %v; its folder has %d entries, %v; the mount says %q",
							round, p, err, len(entries), listErr, why[:max(0, n)])
						return
					}
				}
			})
		}
		time.Sleep(time.Duration(rng.Int64N(int64(500 * time.Millisecond)))) // a moment of chance
		m.kill()
		close(stop)
		wg.Wait()
		if t.Failed() {
			t.Fatalf("the mount of round %d said: %s", round, m.log)
		}
		if rng.IntN(2) == 0 {
			damages[damage(t, rng, m.cache)]++
		}
	}
	m.start()
	for _, p := range names {
		if err := m.check(p, s.Tree().Content(p), 0, 1<<40); err != nil {
			t.Errorf("after all: %s: %v", p, err)
		}
	}
	eventually(t, "the cache is within its bound", func() bool { return allocated(t, m.cache) <= bound+mib })
	m.unmount()
	t.Logf("%d kills, damage done %v, %d bytes compared", kills, damages, bytes.Load())
}

// damage does something to one file of the cache, and says what.
func damage(t *testing.T, rng *rand.Rand, dir string) string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && e.Name() != "lock" && e.Name() != "CACHEDIR.TAG" {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		return "nothing"
	}
	p := files[rng.IntN(len(files))]
	st, err := os.Stat(p)
	if err != nil {
		t.Fatal(err)
	}
	kind := filepath.Ext(p)
	if kind == "" {
		kind = filepath.Base(filepath.Dir(p))
	}
	how := rng.IntN(4)
	if kind == ".dat" && how == 3 {
		how = 0 // bytes changed in place, without a change of size, are beyond what is promised
	}
	switch how {
	case 0:
		err = os.Truncate(p, rng.Int64N(st.Size()+1))
		kind += " truncated"
	case 1:
		err = os.Remove(p)
		kind += " deleted"
	case 2:
		err = os.Truncate(p, st.Size()+1+rng.Int64N(10_000))
		kind += " longer"
	case 3:
		noise := make([]byte, max(1, st.Size()))
		for i := range noise {
			noise[i] = byte(rng.Uint32())
		}
		err = os.WriteFile(p, noise, 0o600)
		kind += " noise"
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(kind, ".")
}

// allocated is what a folder takes on disk.
func allocated(t *testing.T, dir string) int64 {
	t.Helper()
	var n int64
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		st, err := os.Lstat(p)
		if err == nil {
			n += st.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDamage damages each kind of file of a cache in each way, between two
// mounts: all is exact, and nothing that is there is missing.
func TestDamage(t *testing.T) {
	rng := seeded(t)
	s := ftptest.New(t, ftptest.Options{})
	var names []string
	for i := range 8 {
		name := fmt.Sprintf("d%d/f%d", i%2, i)
		names = append(names, name)
		s.Tree().Generate(name, []int64{10, 5000, 200_000, mib}[i%4], uint64(i), epoch)
	}
	m := mount(t, s)
	done := make(map[string]int)
	for range 60 {
		for _, p := range names {
			m.exact(p, s.Tree().Content(p))
		}
		for _, dir := range []string{"", "d0", "d1"} {
			want := map[string]int{"": 2, "d0": 4, "d1": 4}[dir]
			if d, err := m.list(dir); err != nil || d.Len() != want {
				t.Errorf("list %q: %+v, %v", dir, d, err)
			}
		}
		m.close()
		for range 1 + rng.IntN(3) {
			done[damage(t, rng, m.set.Dir)]++
		}
		m.open()
		if t.Failed() {
			break
		}
	}
	t.Logf("damage done: %v", done)
}

// The network's ways do not hold up df and ls -d of the root, nor does a
// silent server keep a signal from ending a read.
func TestRootAnswersWithoutNetwork(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{})
	s.Tree().Generate("d/f", mib, 1, epoch)
	m := newMounted(t, s, "--timeout", "60s")
	m.start()
	s.Freeze()
	defer s.Thaw()
	stuck := make(chan error, 1)
	go func() { stuck <- m.check("d/f", s.Tree().Content("d/f"), 0, mib) }()
	if err := s.Await(t.Context(), func() bool { return s.Total() > 0 }); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		var st syscall.Statfs_t
		if err := syscall.Statfs(m.dir, &st); err != nil {
			t.Errorf("statfs: %v", err)
		}
		if _, err := os.Lstat(m.dir); err != nil {
			t.Errorf("lstat: %v", err)
		}
	}
	select {
	case err := <-stuck:
		t.Errorf("the read ended while the server is silent: %v", err)
	default: // so none of the above waited for it
	}
	s.Thaw()
	if err := <-stuck; err != nil {
		t.Error(err)
	}
	m.unmount()
}
