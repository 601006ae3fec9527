package metadata

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// A remount serves what was known without a word to the server.
func TestReopen(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		r.dirs["a"] = []listing.Entry{
			{Name: "latest", Raw: "latest", Target: "../b", MTime: listing.Interval{Min: 5, Max: 64}, Type: listing.Symlink},
			{Name: "é", Raw: "\xe9", Size: listing.SizeUnknown, MTime: listing.Anytime(), Type: listing.File},
		}
		s := open(t, r, folder)
		root, a := mustList(t, s, ""), mustList(t, s, "a")
		s.Learn("a/\xe9", file("", 77, noon))
		s.Close()

		down := newServer(nil)
		down.fail["*"] = ftppool.ErrOffline
		s = open(t, down, folder)
		time.Sleep(time.Hour - 1)
		d := mustList(t, s, "")
		expect(t, "root", fmt.Sprint(d.Entries()), fmt.Sprint(root.Entries()))
		expect(t, "expires", d.Expires(), root.Expires())
		f, err := s.Lookup(t.Context(), Caller{}, "a", "é")
		if err != nil || f.Path != "a/\xe9" || f.Entry.Size != 77 || f.Stale {
			t.Errorf("what was learned: %+v, %v", f, err)
		}
		expect(t, "a", fmt.Sprint(mustList(t, s, "a").Entries()[0]), fmt.Sprint(a.Entries()[0]))
		if _, err := s.Lookup(t.Context(), Caller{}, "a", "none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an absent name: %v", err)
		}
		expect(t, "lists", down.total(down.lists), 0)
		expect(t, "stats", down.total(down.stats), 0)

		time.Sleep(time.Nanosecond)
		if d := mustList(t, s, "a"); !d.Stale() || d.Len() != 2 {
			t.Errorf("after an hour, offline: %v", d)
		}
		if _, err := s.Directory(t.Context(), Caller{}, "b"); !errors.Is(err, ftppool.ErrOffline) {
			t.Errorf("what was never listed: %v", err)
		}
	})
}

// Ristretto may drop all it is given.
func TestMemoryIsAHint(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(wide(50, 20))
		s := open(t, r, folder, func(o *Options) { o.MaxMemory = 1 })
		for range 3 {
			for i := range 50 {
				dir := fmt.Sprintf("d%03d", i)
				expect(t, "entries", mustList(t, s, dir).Len(), 20)
				for j := range 20 {
					if _, err := s.Lookup(t.Context(), Caller{}, dir, fmt.Sprintf("f%03d", j)); err != nil {
						t.Fatal(err)
					}
				}
			}
			synctest.Wait() // until all is written: the next round reads it
		}
		expect(t, "lists", r.total(r.lists), 50)
		if st := s.Stats(); st.InMemory > 2 || st.OnDisk != 50 {
			t.Errorf("stats: %+v", st)
		}
	})
}

// wide is a root with n directories d000... of k files f000... each.
func wide(n, k int) map[string][]listing.Entry {
	dirs := make(map[string][]listing.Entry)
	for i := range n {
		name := fmt.Sprintf("d%03d", i)
		dirs[""] = append(dirs[""], dir(name))
		for j := range k {
			dirs[name] = append(dirs[name], file(fmt.Sprintf("f%03d", j), int64(j), noon))
		}
	}
	return dirs
}

// A damaged listing file costs itself, and is replaced.
func TestDamage(t *testing.T) {
	damage := map[string]func([]byte) []byte{
		"truncated":  func(b []byte) []byte { return b[:len(b)/2] },
		"empty":      func(b []byte) []byte { return nil },
		"noise":      func(b []byte) []byte { return bytes.Repeat([]byte{0xa5, 0x5a, 3}, len(b)) },
		"one bit":    func(b []byte) []byte { b[len(b)-3] ^= 1; return b },
		"a byte too": func(b []byte) []byte { return append(b, 0) },
	}
	for name, harm := range damage {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				r := newServer(tree())
				s := open(t, r, folder)
				mustList(t, s, "a")
				mustList(t, s, "b")
				s.Close()
				path := s.disk.file("a")
				whole, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, harm(whole), 0o600); err != nil {
					t.Fatal(err)
				}
				var logged bytes.Buffer
				s = open(t, r, folder, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&logged, nil)) })
				expect(t, "a", names(mustList(t, s, "a")), "one sub")
				expect(t, "b", names(mustList(t, s, "b")), "two")
				s.Close()
				expect(t, "lists of a", r.lists["a"], 2)
				expect(t, "lists of b", r.lists["b"], 1)
				expect(t, "lines logged", strings.Count(logged.String(), "\n"), 1)

				s = open(t, r, folder)
				mustList(t, s, "a")
				expect(t, "lists after the file was replaced", r.lists["a"], 2)
			})
		})
	}
}

// Two paths with one file name would be told apart by the path inside.
func TestFileOfAnotherPath(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		s := open(t, r, folder)
		mustList(t, s, "a")
		s.Close()
		if err := os.Rename(s.disk.file("a"), s.disk.file("b")); err != nil {
			t.Fatal(err)
		}
		s = open(t, r, folder)
		expect(t, "b", names(mustList(t, s, "b")), "two")
	})
}

func TestFilesArePrivate(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, newServer(tree()), folder)
		mustList(t, s, "a")
		s.Close()
		info, err := os.Stat(s.disk.file("a"))
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	})
}

// Without a folder that can be written, the store goes on in memory and says so
// once; when it can be written again, it is.
func TestDiskFails(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "listings")
	synctest.Test(t, func(t *testing.T) {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		r := newServer(tree())
		var logged buffer
		s := open(t, r, folder, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&logged, nil)) })
		synctest.Wait()
		if err := os.Rename(folder, folder+".away"); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			mustList(t, s, "")
			mustList(t, s, "a")
			synctest.Wait()
		}
		expect(t, "lists", r.total(r.lists), 2)
		expect(t, "lines logged", strings.Count(logged.String(), "level=ERROR"), 1)
		if err := os.Rename(folder+".away", folder); err != nil {
			t.Fatal(err)
		}
		mustList(t, s, "b")
		synctest.Wait()
		expect(t, "files", s.Stats().OnDisk, 1)
		expect(t, "said that it works again", strings.Count(logged.String(), "level=INFO"), 1)
	})
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A listing that could not be written must not leave an older one behind that
// looks fresh.
func TestOutdatedFileIsNotServed(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		s := open(t, r, folder, func(o *Options) { o.MaxMemory = 1 })
		mustList(t, s, "a")
		synctest.Wait()
		// A folder that is not empty in the file's place can be neither replaced
		// nor removed, by root either.
		path := s.disk.file("a")
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(path)
		if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		r.dirs["a"] = []listing.Entry{file("new", 1, noon)}
		if _, _, err := s.Refresh(t.Context(), Caller{}, "a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		os.RemoveAll(path)
		if err := os.WriteFile(path, old, 0o600); err != nil {
			t.Fatal(err)
		}
		s.memory.remove("a") // as if ristretto had dropped it
		expect(t, "a", names(mustList(t, s, "a")), "new")
	})
}

// What is learned of one file after the other is written once, some seconds on.
func TestLearnedIsWrittenLazily(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(wide(1, 1000))
		s := open(t, r, folder)
		mustList(t, s, "d000")
		synctest.Wait()
		before, err := os.Stat(s.disk.file("d000"))
		if err != nil {
			t.Fatal(err)
		}
		for j := range 1000 {
			s.Learn(fmt.Sprintf("d000/f%03d", j), file("", 1<<20, noon))
		}
		synctest.Wait()
		after, _ := os.Stat(s.disk.file("d000"))
		expect(t, "same file at once", os.SameFile(before, after), true)
		time.Sleep(lazily)
		synctest.Wait()
		after, _ = os.Stat(s.disk.file("d000"))
		expect(t, "same file later", os.SameFile(before, after), false)
		onDisk := s.disk.load("d000")
		for _, e := range onDisk.Entries() {
			expect(t, "size of "+e.Name, e.Size, 1<<20)
		}
	})
}

func TestPrune(t *testing.T) {
	folder := t.TempDir()
	s := open(t, newServer(wide(10, 10)), folder)
	for i := range 10 {
		mustList(t, s, fmt.Sprintf("d%03d", i))
	}
	s.Close()
	total := sizeOf(t, folder)
	age := func(name string, d time.Duration) {
		t.Helper()
		at := time.Now().Add(-d)
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		age(s.disk.file(fmt.Sprintf("d%03d", i)), time.Duration(i)*time.Hour)
	}
	for _, name := range []string{".tmp-old", ".tmp-new", "README"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	age(filepath.Join(folder, ".tmp-old"), time.Hour)
	age(filepath.Join(folder, "README"), time.Hour)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	log := slog.New(slog.DiscardHandler)
	prune(ended, folder, 0, log)
	prune(t.Context(), folder, total, log)
	count := s.disk.count()
	expect(t, "files within the limit", count, 10)
	prune(t.Context(), folder, total/2, log)
	count, left := s.disk.count(), sizeOf(t, folder)
	if count != 5 || left > total/2 {
		t.Errorf("%d files of %d bytes are left, limit %d", count, left, total/2)
	}
	for i := range 10 {
		_, err := os.Stat(s.disk.file(fmt.Sprintf("d%03d", i)))
		expect(t, fmt.Sprintf("d%03d is there", i), err == nil, i < 5)
	}
	for name, want := range map[string]bool{".tmp-old": false, ".tmp-new": true, "README": true} {
		_, err := os.Stat(filepath.Join(folder, name))
		expect(t, name+" is there", err == nil, want)
	}
}

// The writer's backlog is bounded, whatever the disk does, and empties.
func TestThrottle(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		k := newDisk(folder, slog.New(slog.DiscardHandler))
		const n = 40
		put := func(i int) {
			k.throttle()
			k.put(&Directory{path: fmt.Sprint(i), cost: maxPending / 4}, false)
		}
		for i := range 5 {
			put(i)
		}
		begun := time.Now()
		put(5) // on a disk that hangs
		expect(t, "held back", time.Since(begun), maxThrottle)
		expect(t, "backlog", k.bytes, maxPending/4*5)
		_, known := k.unwritten("5")
		expect(t, "an older file is not trusted", known, true)
		go k.write()
		for i := 6; i < n; i++ {
			put(i)
		}
		expect(t, "held back once it goes on", time.Since(begun), maxThrottle)
		k.close()
		expect(t, "backlog", k.bytes, 0)
		expect(t, "pending", len(k.pending), 0)
		count := k.count()
		expect(t, "files", count, n-1)
	})
}

// sizeOf is the size of all listing files.
func sizeOf(t *testing.T, folder string) int64 {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		sum += info.Size()
	}
	return sum
}
