package metadata

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"pgregory.net/rapid"
)

// TestModel does at random what users, servers and disks do, and holds each
// answer to what was promised:
//   - a listing is the server's at the time it says it was fetched;
//   - one that is not marked stale is no older than Fresh and newer than the
//     last MarkStale, and as long as it is, the server is not asked;
//   - whatever was listed is served when the server fails;
//   - an absent name is absent in a listing, never because something failed.
func TestModel(t *testing.T) {
	folder := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		var failure any // rapid fails by a panic, which has to leave the bubble
		synctest.Test(t, func(*testing.T) {
			defer func() { failure = recover() }()
			newModel(rt, folder).run()
		})
		if failure != nil {
			panic(failure)
		}
	})
}

type model struct {
	t      *rapid.T
	r      *server
	s      *Store
	folder string
	memory int64

	history map[string][]moment // by directory
	held    map[string]bool     // listed, and not gone or damaged since
	marked  time.Time           // the last MarkStale
	failing bool
}

// moment is what a directory held from some time on.
type moment struct {
	from    time.Time
	entries []listing.Entry
}

var modelDirs = []string{"", "a", "b", "a/sub"}

func newModel(t *rapid.T, folder string) *model {
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	m := &model{
		t: t, r: newServer(tree()), folder: folder,
		memory:  rapid.SampledFrom([]int64{1, 1 << 20}).Draw(t, "memory"),
		history: make(map[string][]moment), held: make(map[string]bool),
	}
	m.r.idle = 2
	for _, dir := range modelDirs {
		m.record(dir)
	}
	return m
}

func (m *model) record(dir string) {
	m.history[dir] = append(m.history[dir], moment{time.Now(), slices.Clone(m.r.dirs[dir])})
}

func (m *model) run() {
	m.open()
	defer func() { m.s.Close() }()
	m.t.Repeat(map[string]func(*rapid.T){
		"list":     m.list,
		"look up":  m.lookup,
		"change":   m.change,
		"sleep":    m.sleep,
		"learn":    m.learn,
		"refresh":  m.refresh,
		"mark":     func(*rapid.T) { m.settle(); m.s.MarkStale(); m.marked = time.Now(); time.Sleep(time.Nanosecond) },
		"fail":     func(*rapid.T) { m.settle(); m.failing = true; m.r.set(func() { m.r.fail["*"] = syscall.ECONNREFUSED }) },
		"recover":  func(*rapid.T) { m.failing = false; m.r.set(func() { delete(m.r.fail, "*") }); time.Sleep(shortest) },
		"remount":  func(*rapid.T) { m.settle(); m.s.Close(); m.open() },
		"damage":   m.damage,
		"be quiet": func(*rapid.T) { m.settle() },
	})
}

func (m *model) open() {
	s, err := Open(Options{
		Dir: m.folder, Fresh: time.Hour, MaxMemory: m.memory, Timeout: timeout, Connections: 3, ListAhead: 2,
	}, m.r)
	if err != nil {
		m.t.Fatal(err)
	}
	m.s = s
	m.marked = time.Time{}
}

// settle waits until nothing is under way in the background.
func (m *model) settle() { time.Sleep(time.Second); synctest.Wait() }

func (m *model) dir(t *rapid.T) string { return rapid.SampledFrom(modelDirs).Draw(t, "dir") }

func (m *model) sleep(t *rapid.T) {
	time.Sleep(time.Duration(rapid.IntRange(1, 90).Draw(t, "minutes")) * time.Minute)
}

// change replaces, adds or removes files on the server.
func (m *model) change(t *rapid.T) {
	m.settle()
	path := m.dir(t)
	m.r.set(func() {
		kept := m.r.dirs[path][:0:0]
		for _, e := range m.r.dirs[path] {
			if e.Type == listing.Dir {
				kept = append(kept, e)
			}
		}
		for i := range rapid.IntRange(0, 5).Draw(t, "files") {
			kept = append(kept, file(fmt.Sprintf("f%d", i), int64(rapid.IntRange(0, 2).Draw(t, "size")), time.Now()))
		}
		slices.SortFunc(kept, func(a, b listing.Entry) int { return strings.Compare(a.Name, b.Name) })
		m.r.dirs[path] = kept
		m.record(path)
	})
	time.Sleep(time.Second)
}

// check holds a listing to the history.
func (m *model) check(path string, d *Directory) {
	var then []listing.Entry
	for _, h := range m.history[path] {
		if !h.from.After(d.Fetched()) {
			then = h.entries
		}
	}
	if names(d) != names(&Directory{entries: then}) {
		m.t.Fatalf("%q: got %s, but at %v the server had %s", path, names(d), d.Fetched(), names(&Directory{entries: then}))
	}
	if !d.Stale() {
		age := time.Since(d.Fetched())
		if age >= time.Hour || !m.marked.IsZero() && !d.Fetched().After(m.marked) {
			m.t.Fatalf("%q: a listing of %v ago, marked %v, is said to be fresh", path, age, m.marked)
		}
	}
}

func (m *model) list(t *rapid.T) {
	path := m.dir(t)
	m.settle()
	before := m.s.Held(path)
	lists := m.r.listed()
	d, err := m.s.Directory(context.Background(), Caller{}, path)
	asked := m.r.listed()[path] - lists[path]
	switch {
	case err == nil:
		m.check(path, d)
		m.held[path] = true
		if before != nil && !before.Stale() && asked > 0 {
			t.Fatalf("%q was fresh, and listed %d times", path, asked)
		}
		if asked > 1 {
			t.Fatalf("%q was listed %d times", path, asked)
		}
	case !m.failing:
		t.Fatalf("%q: %v", path, err)
	case m.held[path]:
		t.Fatalf("%q was listed before: %v", path, err)
	case errors.Is(err, fs.ErrNotExist):
		t.Fatalf("%q: a failure looks like absence: %v", path, err)
	}
}

func (m *model) lookup(t *rapid.T) {
	path := m.dir(t)
	name := rapid.SampledFrom([]string{"f0", "f1", "f4", "x", "one", "sub", "none"}).Draw(t, "name")
	stats := m.r.total(m.r.stats)
	f, err := m.s.Lookup(context.Background(), Caller{}, path, name)
	d := m.s.Held(path)
	single := m.r.total(m.r.stats) > stats || d == nil
	switch {
	case err == nil && !single:
		if e, ok := d.Find(name); !ok || e != f.Entry {
			t.Fatalf("%q in %q: %+v, listed %+v", name, path, f, e)
		}
		m.check(path, d)
	case err == nil:
		if f.Entry.Name != name || f.Path != listing.Join(path, name) {
			t.Fatalf("%q in %q: %+v", name, path, f)
		}
	case errors.Is(err, fs.ErrNotExist):
		if d == nil {
			t.Fatalf("%q in %q: absent without a listing", name, path)
		}
		if _, ok := d.Find(name); ok {
			t.Fatalf("%q in %q: absent, but listed", name, path)
		}
		m.check(path, d)
	case !m.failing || m.held[path]:
		t.Fatalf("%q in %q: %v", name, path, err)
	}
}

// learn tells the store what the server has now.
func (m *model) learn(t *rapid.T) {
	path := m.dir(t)
	for _, e := range m.r.dirs[path] {
		if e.Type == listing.File {
			m.s.Learn(listing.Join(path, e.Raw), e)
			if d := m.s.Held(path); d != nil {
				if got, ok := d.Find(e.Name); ok && got != e {
					t.Fatalf("learned %+v, holds %+v", e, got)
				}
			}
		}
	}
}

func (m *model) refresh(t *rapid.T) {
	path := m.dir(t)
	begun := time.Now()
	_, d, err := m.s.Refresh(context.Background(), Caller{}, path)
	if (err == nil) == m.failing {
		t.Fatalf("refresh of %q: %v", path, err)
	}
	if err == nil {
		if d.Fetched().Before(begun.Round(0)) {
			t.Fatalf("%q: refreshed at %v, asked at %v", path, d.Fetched(), begun)
		}
		m.check(path, d)
		m.held[path] = true
	}
}

// damage overwrites one listing file while nothing is mounted.
func (m *model) damage(t *rapid.T) {
	path := m.dir(t)
	m.settle()
	m.s.Close()
	name := m.s.disk.file(path)
	if b, err := os.ReadFile(name); err == nil {
		cut := rapid.IntRange(0, max(0, len(b)-1)).Draw(t, "cut")
		if err := os.WriteFile(name, b[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	maps.DeleteFunc(m.held, func(dir string, _ bool) bool { return dir == path })
	m.open()
}
