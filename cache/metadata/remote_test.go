package metadata

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a Remote in memory that counts what it is asked.
type server struct {
	mu         sync.Mutex
	dirs       map[string][]listing.Entry
	lists      map[string]int
	stats      map[string]int
	classes    map[string]ftppool.Class // of the last List of a path
	fail       map[string]error         // by path; "*" is all
	idle       int
	together   bool
	ignoreCase bool
	unread     map[string][]listing.Entry // by directory: there, but List can't read their lines
	running    int                        // Lists
	most       int                        // the highest running ever was
	expected   int                        // the highest that Expect was told

	// before, if set, is called by each List and Stat before it answers; it may
	// wait, and may return the error to answer with.
	before func(ctx context.Context, op, path string, w ftppool.Want) error
}

func newServer(dirs map[string][]listing.Entry) *server {
	for _, entries := range dirs {
		slices.SortFunc(entries, func(a, b listing.Entry) int { return strings.Compare(a.Name, b.Name) })
	}
	return &server{
		dirs: dirs, lists: make(map[string]int), stats: make(map[string]int),
		classes: make(map[string]ftppool.Class), fail: make(map[string]error),
	}
}

func (s *server) List(ctx context.Context, w ftppool.Want, dir string) (*listing.Listing, error) {
	s.mu.Lock()
	s.lists[dir]++
	s.classes[dir] = w.Class
	s.running++
	s.most = max(s.most, s.running)
	before := s.before
	s.mu.Unlock()
	var err error
	if before != nil {
		err = before(ctx, "list", dir, w)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if err = s.failure(ctx, dir, err); err != nil {
		return nil, err
	}
	entries, ok := s.dirs[dir]
	if !ok {
		return nil, fmt.Errorf("550 %s: %w", dir, fs.ErrNotExist)
	}
	return &listing.Listing{Entries: slices.Clone(entries), Unparsed: len(s.unread[dir])}, nil
}

func (s *server) Stat(ctx context.Context, w ftppool.Want, path string) (listing.Entry, error) {
	s.mu.Lock()
	s.stats[path]++
	before := s.before
	s.mu.Unlock()
	var err error
	if before != nil {
		err = before(ctx, "stat", path, w)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err = s.failure(ctx, path, err); err != nil {
		return listing.Entry{}, err
	}
	dir, raw := split(path)
	for _, e := range append(slices.Clone(s.dirs[dir]), s.unread[dir]...) {
		if e.Raw == raw {
			return e, nil
		}
	}
	return listing.Entry{}, fmt.Errorf("550 %s: %w", path, fs.ErrNotExist)
}

func (s *server) failure(ctx context.Context, path string, err error) error {
	for _, e := range []error{err, ctx.Err(), s.fail[path], s.fail["*"]} {
		if e != nil {
			return e
		}
	}
	return nil
}

func (s *server) Spare() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, s.idle-s.running)
}

func (s *server) Expect(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected = max(s.expected, n)
}

func (s *server) Together() bool   { return s.together }
func (s *server) IgnoreCase() bool { return s.ignoreCase }

func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// listed returns how often each directory was listed.
func (s *server) listed() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.lists)
}

func (s *server) total(of map[string]int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, k := range of {
		n += k
	}
	return n
}

// class is that of a directory's last list.
func (s *server) class(dir string) ftppool.Class {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.classes[dir]
}

// peak is the highest number of lists at once.
func (s *server) peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

func file(name string, size int64, mtime time.Time) listing.Entry {
	return listing.Entry{Name: name, Raw: name, Size: size, MTime: listing.Exactly(mtime), Type: listing.File}
}

func dir(name string) listing.Entry {
	return listing.Entry{Name: name, Raw: name, MTime: listing.Anytime(), Type: listing.Dir}
}

var noon = time.Date(2001, 2, 3, 12, 0, 0, 0, time.UTC)

// tree is a root with two files, and directories a and b with a file each.
func tree() map[string][]listing.Entry {
	return map[string][]listing.Entry{
		"":      {dir("a"), dir("b"), file("x", 1, noon), file("y", 2, noon)},
		"a":     {file("one", 10, noon), dir("sub")},
		"b":     {file("two", 20, noon)},
		"a/sub": {file("deep", 30, noon)},
	}
}

const timeout = 30 * time.Second

// open returns a store on the folder, closed by the test's end.
func open(t testing.TB, r Remote, folder string, change ...func(*Options)) *Store {
	t.Helper()
	o := Options{
		Dir: folder, Fresh: time.Hour, MaxMemory: 1 << 20, Timeout: timeout, Connections: 4,
		Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&o)
	}
	s, err := Open(o, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustList(t testing.TB, s *Store, dir string) *Directory {
	t.Helper()
	d, err := s.Directory(t.Context(), Caller{}, dir)
	if err != nil {
		t.Fatalf("Directory(%q): %v", dir, err)
	}
	return d
}

func names(d *Directory) string {
	var all []string
	for _, e := range d.Entries() {
		all = append(all, e.Name)
	}
	return strings.Join(all, " ")
}

func expect[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
