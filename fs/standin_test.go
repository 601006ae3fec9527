package fs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// standIn is a Mirror in memory, with files whose arrival the test decides.
type standIn struct {
	tb         testing.TB
	backing    string // folder of whole files
	ignoreCase bool

	mu      sync.Mutex
	dirs    map[string]*standInDir
	files   map[string]*standInFile // by path and version, see key
	fail    map[string]error        // by path: what Lookup, Directory, Settle and OpenFile answer
	forgive map[string]bool         // by path: Settle fails once
	last    map[string]error
	targets map[string]string // of symlinks whose listing hides them
	sizes   map[string]int64  // of files whose listing hides them
	fresh   time.Duration
	ids     uint64
	counts  map[string]int
	block   chan struct{} // Directory and Lookup wait for it, if not nil
}

type standInDir struct {
	id      uint64
	entries []listing.Entry
	fetched time.Time
	expires time.Time
	stale   bool
	fold    bool
}

func (d *standInDir) Entries() []listing.Entry { return d.entries }
func (d *standInDir) ID() uint64               { return d.id }
func (d *standInDir) Fetched() time.Time       { return d.fetched }
func (d *standInDir) Expires() time.Time       { return d.expires }
func (d *standInDir) Stale() bool              { return d.stale }

func (d *standInDir) Find(name string) (listing.Entry, bool) {
	i, ok := slices.BinarySearchFunc(d.entries, name, func(e listing.Entry, n string) int { return cmp.Compare(e.Name, n) })
	if ok {
		return d.entries[i], true
	}
	if d.fold {
		for _, e := range d.entries {
			if strings.EqualFold(e.Name, name) {
				return e, true
			}
		}
	}
	return listing.Entry{}, false
}

// standInFile is one version of a file.
type standInFile struct {
	data  []byte
	whole *os.File
	gate  chan struct{} // reads wait for it; nil when all is here
	err   error         // what reads fail with, once the gate is open
	opens int
	gen   uint64
}

func newStandIn(tb testing.TB) *standIn {
	m := &standIn{
		tb: tb, backing: tb.TempDir(), fresh: time.Hour,
		dirs: map[string]*standInDir{}, files: map[string]*standInFile{}, fail: map[string]error{},
		last: map[string]error{}, forgive: map[string]bool{}, targets: map[string]string{}, sizes: map[string]int64{}, counts: map[string]int{},
	}
	m.relist("", nil)
	return m
}

func exactly(unix int64) listing.Interval { return listing.Interval{Min: unix, Max: unix} }

const someTime = 1_700_000_000

func key(path string, v listing.Version) string {
	return fmt.Sprintf("%s\x00%d\x00%d", path, v.Size, v.MTime.Min)
}

// relist gives dir a new listing.
func (m *standIn) relist(dir string, change func([]listing.Entry) []listing.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var entries []listing.Entry
	if old := m.dirs[dir]; old != nil {
		entries = slices.Clone(old.entries)
	}
	if change != nil {
		entries = change(entries)
	}
	slices.SortFunc(entries, func(a, b listing.Entry) int { return cmp.Compare(a.Name, b.Name) })
	m.ids++
	now := time.Now()
	m.dirs[dir] = &standInDir{id: m.ids, entries: entries, fetched: now, expires: now.Add(m.fresh), fold: m.ignoreCase}
}

// put adds an entry, or replaces the one of its name.
func (m *standIn) put(dir string, e listing.Entry) {
	if e.Raw == "" {
		e.Raw = e.Name
	}
	m.relist(dir, func(es []listing.Entry) []listing.Entry {
		es = slices.DeleteFunc(es, func(o listing.Entry) bool { return o.Name == e.Name })
		return append(es, e)
	})
	if e.Type == listing.Dir {
		m.mu.Lock()
		known := m.dirs[listing.Join(dir, e.Raw)] != nil
		m.mu.Unlock()
		if !known {
			m.relist(listing.Join(dir, e.Raw), nil)
		}
	}
}

func (m *standIn) mkdir(dir, name string) {
	m.put(dir, listing.Entry{Name: name, Type: listing.Dir, Size: -1, MTime: exactly(someTime)})
}

// file adds a file that is here, though not whole: reads are answered at once.
func (m *standIn) file(path string, data []byte, mtime int64) listing.Version {
	e := listing.Entry{Name: base(path), Raw: base(path), Type: listing.File, Size: int64(len(data)), MTime: exactly(mtime)}
	m.put(parentOf(path), e)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ids++
	m.files[key(path, e.Version())] = &standInFile{data: data, gen: m.ids}
	return e.Version()
}

// content is the file's version; the test changes it under mu.
func (m *standIn) content(path string, v listing.Version, change func(*standInFile)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m.files[key(path, v)])
}

// complete makes the file whole.
func (m *standIn) complete(path string, v listing.Version) {
	f, err := os.CreateTemp(m.backing, "")
	if err != nil {
		m.tb.Fatal(err)
	}
	m.tb.Cleanup(func() { f.Close() })
	m.content(path, v, func(c *standInFile) {
		if _, err := f.Write(c.data); err != nil {
			m.tb.Fatal(err)
		}
		c.whole = f
		if c.gate != nil {
			close(c.gate)
			c.gate = nil
		}
	})
}

// setFail makes everything about path fail, or with nil succeed.
func (m *standIn) setFail(path string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail[path] = err
}

// setFresh is for how long listings made from now on are fresh.
func (m *standIn) setFresh(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fresh = d
}

func (m *standIn) count(what string) {
	m.counts[what]++
}

func (m *standIn) counted(what string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[what]
}

func (m *standIn) wait(ctx context.Context) error {
	m.mu.Lock()
	block := m.block
	m.mu.Unlock()
	if block == nil {
		return nil
	}
	select {
	case <-block:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *standIn) Lookup(ctx context.Context, c Caller, dir, name string) (Found, error) {
	if err := m.wait(ctx); err != nil {
		return Found{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count("lookup " + listing.Join(dir, name))
	m.count("lookup")
	if err := m.fail[dir]; err != nil {
		return Found{}, err
	}
	d := m.dirs[dir]
	if d == nil || c.NoFetch && m.counts["listed "+dir] == 0 {
		return Found{}, fs.ErrPermission
	}
	e, ok := d.Find(name)
	if !ok {
		return Found{Expires: d.expires, Stale: d.stale}, fs.ErrNotExist
	}
	return Found{Entry: e, Path: listing.Join(dir, e.Raw), Expires: d.expires, Stale: d.stale}, nil
}

func (m *standIn) Directory(ctx context.Context, c Caller, dir string) (Directory, error) {
	if err := m.wait(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fail[dir]; err != nil {
		return nil, err
	}
	if c.NoFetch && m.counts["listed "+dir] == 0 {
		return nil, fs.ErrPermission
	}
	m.count("listed " + dir)
	if d := m.dirs[dir]; d != nil {
		return d, nil
	}
	return nil, fs.ErrNotExist
}

func (m *standIn) Held(dir string) Directory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.dirs[dir]; d != nil {
		return d
	}
	return nil
}

func (m *standIn) Settle(_ context.Context, c Caller, path string) (listing.Entry, error) {
	m.mu.Lock()
	m.count("settle")
	err := m.fail[path]
	if m.forgive[path] {
		delete(m.fail, path)
	}
	d := m.dirs[parentOf(path)]
	size, sized := m.sizes[path]
	target := m.targets[path]
	m.mu.Unlock()
	if c.NoFetch {
		return listing.Entry{}, fs.ErrPermission
	}
	if err != nil {
		return listing.Entry{}, err
	}
	for _, e := range d.entries {
		if e.Raw == base(path) {
			if sized {
				e.Size = size
			}
			if target != "" {
				e.Target = target
			}
			m.put(parentOf(path), e)
			return e, nil
		}
	}
	return listing.Entry{}, fs.ErrNotExist
}

func (m *standIn) OpenFile(_ context.Context, _ uint32, path string, v listing.Version) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count("open " + path)
	if err := m.fail[path]; err != nil {
		return nil, err
	}
	c := m.files[key(path, v)]
	if c == nil {
		return nil, fmt.Errorf("no version %v of %s: %w", v, path, syscall.ESTALE)
	}
	c.opens++
	h := &standInHandle{m: m, content: c}
	if c.whole != nil {
		f, err := os.Open(c.whole.Name())
		if err != nil {
			return nil, err
		}
		h.whole = f
	}
	return h, nil
}

func (m *standIn) State(path string, v listing.Version) State {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.files[key(path, v)]
	switch {
	case c == nil:
		return State{}
	case c.whole != nil:
		return State{Held: v.Size, Whole: true, Fetched: time.Unix(someTime, 0)}
	}
	return State{Held: v.Size / 2}
}

func (m *standIn) LastError(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last[path]
}

func (m *standIn) Usage() (used, limit, files int64) { return 3 << 20, 10 << 20, 7 }

type standInHandle struct {
	m       *standIn
	content *standInFile
	whole   *os.File
}

func (h *standInHandle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	h.m.mu.Lock()
	h.m.count("read")
	gate := h.content.gate
	h.m.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	h.m.mu.Lock()
	data, err := h.content.data, h.content.err
	h.m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if off >= int64(len(data)) {
		return 0, io.EOF
	}
	return bytes.NewReader(data).ReadAt(p, off)
}

func (h *standInHandle) Generation() uint64 { return h.content.gen }

func (h *standInHandle) Whole() (*os.File, bool) { return h.whole, h.whole != nil }

func (h *standInHandle) Close() error {
	h.m.mu.Lock()
	h.content.opens--
	h.m.mu.Unlock()
	if h.whole != nil {
		return h.whole.Close()
	}
	return nil
}

// unmountInTime unmounts as who ends the program does: asked again while busy.
// A process that is gone may have left a mapping of a file to whoever looked at
// it meanwhile (/proc/PID), for a moment.
func unmountInTime(s *Server) error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := s.Unmount()
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
	}
}

// mountIn mounts m on a folder of its own for the length of the test.
func mountIn(tb testing.TB, m Mirror, change ...func(*Options)) (string, *Server) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Fatal("these tests mount; run them as root")
	}
	o := Options{URL: "ftp://ftp.example.org/pub", UID: 1234, GID: 2345, Umask: 0o022, Log: logTo(tb), CacheDir: tb.TempDir()}
	for _, c := range change {
		c(&o)
	}
	dir := filepath.Join(tb.TempDir(), "mnt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	s, err := Mount(dir, m, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := unmountInTime(s); err != nil {
			tb.Errorf("unmount: %v", err)
			if err := s.Abandon(); err != nil {
				tb.Error(err)
			}
		}
		s.Wait()
		table, err := mountTable()
		if err != nil {
			tb.Error(err)
		}
		if at, ok := mountedAt(table, dir); ok {
			tb.Errorf("left behind: %v", at)
		}
	})
	return dir, s
}
