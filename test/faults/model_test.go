package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/cache/content"
	"github.com/mirrorfs/mirrorfs/cache/metadata"
	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// TestModel does at random what readers, servers and disks do, thousands of
// times, beside a plain model that knows what every path has ever been:
//
//   - all that was ever read of one generation of a file is of one content, and
//     of the size it was opened with;
//   - a name that is always there is never absent, whatever fails, and no
//     listing lacks it;
//   - a name is only absent, and a listing only other, as the server once was;
//   - after a fault-free refresh everything is exactly as on the server.
func TestModel(t *testing.T) {
	rng := seeded(t)
	steps := number(t, "MIRRORFS_FAULTS_STEPS", 2000)
	profiles := []ftptest.Profile{ftptest.DATASUS(), ftptest.Vsftpd(), ftptest.ProFTPD(), ftptest.PureFTPd()}
	for i, p := range profiles {
		rng := rand.New(rand.NewPCG(rng.Uint64(), uint64(i)))
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			m := newModel(t, rng, p)
			m.run(steps / len(profiles))
			t.Logf("done: %v", m.did)
		})
	}
}

type model struct {
	*mirror
	t       *testing.T
	rng     *rand.Rand
	srv     *ftptest.Server
	version int // of the last file made: its seed and its day

	files   map[string]*history
	handles []*opened
	could   map[uint64][]ftptest.Content // what a generation can be, by all that was read of it
	did     map[string]int
	reads   []string // what was done

	mu    sync.Mutex // guards what follows, which the server's sessions use
	chaos int        // one of so many commands fails; 0: none
	dice  *rand.Rand
	hits  int
}

// history is all that a path was; nil is absent.
type history struct {
	past   []ftptest.Content
	times  []moment // of the replacements
	always bool
}

// moment is when something happened that takes a while to note.
type moment struct{ before, after time.Time }

type opened struct {
	*content.Handle
	path string
	now  ftptest.Content // when it was opened
}

func newModel(t *testing.T, rng *rand.Rand, p ftptest.Profile) *model {
	m := &model{
		t: t, rng: rng, srv: ftptest.New(t, ftptest.Options{Profile: p}),
		files: make(map[string]*history), could: make(map[uint64][]ftptest.Content),
		did: make(map[string]int), dice: rand.New(rand.NewPCG(rng.Uint64(), 1)),
	}
	for _, dir := range []string{"", "a/", "a/b/"} {
		for i := range 4 {
			m.files[fmt.Sprintf("%sf%d", dir, i)] = &history{always: i < 2}
		}
	}
	for _, path := range m.paths() {
		m.replace(path)
	}
	m.srv.Script(m.fault)
	m.mirror = mount(t, m.srv, func(s *settings) {
		s.Timeout = 6 * time.Second
		s.RetryFor = 3 * time.Second
		s.Connections = 1 + rng.IntN(4)
		s.MaxSize = []int64{0, 3 * mib}[rng.IntN(2)]
		s.WholeFileBelow = 2 * mib
	})
	return m
}

// paths returns all paths, in the same order each time.
func (m *model) paths() []string {
	var all []string
	for _, dir := range []string{"", "a/", "a/b/"} {
		for i := range 4 {
			all = append(all, fmt.Sprintf("%sf%d", dir, i))
		}
	}
	return all
}

func (m *model) path() string { return m.paths()[m.rng.IntN(len(m.files))] }

// replace puts another content at a path, by a rename: of the same size or
// another, always of another time, days apart, as listings may show days alone.
func (m *model) replace(path string) {
	m.version++
	sizes := []int64{1, 5000, 128 * kib, 300_000, mib + 17, 3 * mib}
	size := sizes[m.rng.IntN(len(sizes))]
	h := m.files[path]
	if now := m.srv.Tree().Content(path); now != nil && m.rng.IntN(2) == 0 {
		size = now.Size()
	}
	day := time.Date(1990, 1, 1, 12, 0, 0, 0, time.UTC).AddDate(0, 0, 10*m.version%12_000)
	before := time.Now()
	m.srv.Tree().Generate(path, size, uint64(m.version), day)
	h.times = append(h.times, moment{before, time.Now()})
	h.past = append(h.past, m.srv.Tree().Content(path))
	m.note("replaced %s: %d bytes, %d", path, size, day.Unix())
}

// fault is the server's script: with chaos, some commands go wrong.
func (m *model) fault(c *ftptest.Cmd) ftptest.Action {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chaos == 0 || m.dice.IntN(m.chaos) > 0 {
		return ftptest.Action{}
	}
	m.hits++
	switch c.Verb {
	case "RETR", "LIST", "MLSD":
		k := m.dice.Int64N(400_000)
		if c.Verb != "RETR" {
			k = m.dice.Int64N(300)
		}
		switch n := m.dice.IntN(40); {
		case n == 0:
			return ftptest.CutAt(k, ftptest.Stall)
		case n == 1:
			return ftptest.CutAt(k, ftptest.NoReply)
		case n < 8:
			return ftptest.Reply(425+m.dice.IntN(2), "Not now.")
		case n < 14:
			return ftptest.DropAt(ftptest.Drop(1 + m.dice.IntN(4)))
		case n < 18:
			return ftptest.Action{Reply: "421 Timeout.", Drop: ftptest.DropAfter}
		}
		how := []ftptest.How{ftptest.With426, ftptest.With451, ftptest.Reset, ftptest.Disconnect}
		if c.Verb == "RETR" { // of a listing nobody could know
			how = append(how, ftptest.With226)
		}
		return ftptest.CutAt(k, how[m.dice.IntN(len(how))])
	case "CONNECT":
		return ftptest.DropAt(ftptest.DropBefore)
	}
	switch m.dice.IntN(3) {
	case 0:
		return ftptest.Action{Reply: "421 Service not available.", Drop: ftptest.DropAfter}
	case 1:
		return ftptest.Action{Drop: ftptest.DropBefore, Abort: true}
	}
	return ftptest.DropAt(ftptest.DropBefore)
}

func (m *model) setChaos(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.chaos = n
}

func (m *model) run(steps int) {
	type op struct {
		name  string
		turns int
		do    func()
	}
	ops := []op{
		{"list", 12, m.listDir}, {"look up", 15, m.look}, {"open", 25, m.openFile}, {"read", 45, m.readSome},
		{"read on", 12, m.readOn}, {"close", 14, m.closeOne}, {"replace", 10, m.change}, {"remove", 3, m.remove},
		{"faults", 14, func() { m.setChaos([]int{0, 5, 10, 20}[m.rng.IntN(4)]) }},
		{"preempt", 5, m.preempt}, {"restart", 2, m.restart}, {"outage", 1, m.outage},
		{"drop sessions", 3, m.srv.DropAll}, {"evict", 5, m.evict}, {"remount", 3, m.again}, {"check all", 2, m.checkAll},
	}
	turns := 0
	for _, o := range ops {
		turns += o.turns
	}
	for i := 0; i < steps && !m.t.Failed(); i++ {
		n := m.rng.IntN(turns)
		for _, o := range ops {
			if n -= o.turns; n < 0 {
				m.did[o.name]++
				o.do()
				break
			}
		}
	}
	m.checkAll()
	m.closeAll()
	m.did["faults hit"] = m.hits
}

// honest fails the test on an error that claims what never was.
func (m *model) honest(what, path string, err error) {
	m.t.Helper()
	m.did["errors"]++
	switch {
	case !errors.Is(err, fs.ErrNotExist):
	case m.files[path] == nil, m.files[path].always:
		m.t.Errorf("%s %s, which is there: %v", what, path, err)
	default:
		for _, c := range m.files[path].past {
			if c == nil {
				return
			}
		}
		m.t.Errorf("%s %s, which was always there: %v", what, path, err)
	}
}

var modelDirs = []string{"", "a", "a/b"}

func (m *model) listDir() {
	dir := modelDirs[m.rng.IntN(3)]
	d, err := m.list(dir)
	if err != nil {
		m.honest("list", dir, err)
		return
	}
	m.sound(dir, d)
}

// sound holds a listing to the history: nothing that was never there, and all
// that always was.
func (m *model) sound(dir string, d *metadata.Directory) {
	m.t.Helper()
	for _, path := range m.paths() {
		if p, name := parent(path); p == dir {
			e, ok := d.Find(name)
			h := m.files[path]
			if !ok && h.always {
				m.t.Errorf("the listing of %q lacks %s", dir, name)
			}
			if ok && !h.had(e) {
				m.t.Errorf("%s never was %+v", path, e)
			}
		}
	}
	if sub := map[string]string{"": "a", "a": "b"}[dir]; sub != "" {
		if e, ok := d.Find(sub); !ok || e.Type != listing.Dir {
			m.t.Errorf("the listing of %q lacks the folder %s", dir, sub)
		}
	}
}

func (h *history) had(e listing.Entry) bool {
	for _, c := range h.past {
		if c != nil && (e.Size == c.Size() || e.Size == listing.SizeUnknown) && e.Type == listing.File {
			return true
		}
	}
	return false
}

func (m *model) look() {
	path := m.path()
	f, err := m.lookup(path)
	if err != nil {
		m.honest("look up", path, err)
	} else if !m.files[path].had(f.Entry) {
		m.t.Errorf("%s never was %+v", path, f.Entry)
	}
}

func (m *model) openFile() {
	path := m.path()
	h, err := m.handle(path)
	if err != nil {
		m.honest("open", path, err)
		return
	}
	m.handles = append(m.handles, &opened{h, path, m.srv.Tree().Content(path)})
	if len(m.handles) > 20 {
		m.closeOne()
	}
}

func (m *model) pick() *opened {
	if len(m.handles) == 0 {
		m.openFile()
	}
	if len(m.handles) == 0 {
		return nil
	}
	return m.handles[m.rng.IntN(len(m.handles))]
}

func (m *model) readSome() {
	if h := m.pick(); h != nil {
		m.readAt(h, m.rng.Int64N(h.Version().Size), 1+m.rng.IntN(300_000))
	}
}

func (m *model) readOn() {
	h := m.pick()
	for off := int64(0); h != nil && off < h.Version().Size; off += 128 * kib {
		if !m.readAt(h, off, 128*kib) {
			return
		}
	}
}

// readAt reads, and narrows what the handle's generation can be.
func (m *model) readAt(h *opened, off int64, n int) bool {
	m.t.Helper()
	size := h.Version().Size
	p, err := read(h.Handle, off, n)
	m.note("read %d at %d of %s, generation %d, version %v: %v", n, off, h.path, h.Generation(), h.Version(), err)
	if err != nil {
		if errors.Is(err, content.ErrChanged) && h.now == m.srv.Tree().Content(h.path) && h.now.Size() == size && m.current(h) {
			m.t.Errorf("%s is said to be replaced, and was not", h.path)
		}
		m.honest("read", h.path, err)
		return false
	}
	m.did["bytes"] += len(p)
	if int64(len(p)) != min(int64(n), size-off) {
		m.t.Errorf("%d bytes of %d at %d of %s, which has %d", len(p), n, off, h.path, size)
		return false
	}
	gen := h.Generation()
	all, known := m.could[gen]
	if !known {
		all = m.files[h.path].past
	}
	var fit []ftptest.Content
	for _, c := range all {
		if c != nil && c.Size() == size && compare(p, c, off, off+int64(len(p)) == size) == nil {
			fit = append(fit, c)
		}
	}
	m.could[gen] = fit
	if len(fit) == 0 && m.raced(h.path) {
		m.did["replaced between check and transfer"]++
		m.could[gen] = slices.Clone(m.files[h.path].past)
		return false
	}
	if len(fit) == 0 {
		m.t.Errorf("WRONG BYTES: %d at %d of %s (generation %d, size %d) are of no version that can be it", n, off, h.path, gen, size)
		m.explain(h.path, all, p, off)
		return false
	}
	return true
}

// raced reports whether a path was replaced in the moment between a question
// for its time and the transfer that follows on the same session. That a
// transfer which touches nothing held is then of the new file no client can
// see; it is the one exception that is promised (docs/RELIABILITY.md).
func (m *model) raced(path string) bool {
	asked := make(map[int]time.Time) // by session
	began := m.srv.Transfers()
	for _, c := range m.srv.Commands() {
		if c.Path != path {
			continue
		}
		switch c.Verb {
		case "SIZE":
			asked[c.Session] = c.Time
		case "RETR":
			from, ok := asked[c.Session]
			delete(asked, c.Session)
			i := slices.IndexFunc(began, func(t ftptest.Transfer) bool {
				return t.Session == c.Session && t.Path == path && !t.Begin.Before(c.Time)
			})
			if ok && i >= 0 && slices.ContainsFunc(m.files[path].times, func(at moment) bool {
				return !at.after.Before(from) && !at.before.After(began[i].Begin)
			}) {
				return true
			}
		}
	}
	return false
}

// explain logs what wrong bytes are, and how they came.
func (m *model) explain(path string, could []ftptest.Content, p []byte, off int64) {
	for i, c := range m.files[path].past {
		if c == nil {
			m.t.Logf("was %d: absent", i)
			continue
		}
		m.t.Logf("was %d: %d bytes, could be it before: %v, is what was read now: %v",
			i, c.Size(), slices.Contains(could, c), compare(p, c, off, false) == nil)
	}
	for _, l := range m.reads {
		m.t.Log(l)
	}
	for _, c := range m.srv.Commands() {
		if c.Path == path || strings.HasSuffix(c.Arg, path) || c.Verb == "REST" {
			m.t.Logf("%s session %d: %s %s", c.Time.Format("05.000000"), c.Session, c.Verb, c.Arg)
		}
	}
	for _, tr := range m.srv.Transfers() {
		if tr.Path == path {
			m.t.Logf("%s session %d: %d bytes from %d, %s", tr.Begin.Format("05.000000"), tr.Session, tr.Sent, tr.Offset, tr.Reply)
		}
	}
}

// note keeps what was done, for explain.
func (m *model) note(format string, args ...any) {
	m.reads = append(m.reads, time.Now().Format("05.000000 ")+fmt.Sprintf(format, args...))
}

// current tells whether a handle's version is certainly that of the server's
// file now: the times of all versions lie days apart.
func (m *model) current(h *opened) bool {
	e, _ := m.srv.Tree().Stat(h.path)
	at := e.ModTime.Unix()
	v := h.Version().MTime
	const day = 24 * 3600
	return v.Min-3*day <= at && at <= v.Max+3*day
}

func (m *model) closeOne() {
	if len(m.handles) > 0 {
		i := m.rng.IntN(len(m.handles))
		m.handles[i].Close()
		m.handles = append(m.handles[:i], m.handles[i+1:]...)
	}
}

func (m *model) closeAll() {
	for len(m.handles) > 0 {
		m.closeOne()
	}
}

// change replaces a file, and sometimes has the folder listed again.
func (m *model) change() {
	path := m.path()
	m.replace(path)
	if m.rng.IntN(2) == 0 {
		m.refresh(path)
	}
}

func (m *model) refresh(path string) {
	dir, _ := parent(path)
	ctx := m.t.Context()
	if _, _, err := m.cache.Refresh(ctx, metadata.Caller{}, dir); err != nil {
		m.honest("list again", dir, err)
	}
}

func (m *model) remove() {
	path := m.path()
	h := m.files[path]
	if h.always || m.srv.Tree().Content(path) == nil {
		return
	}
	m.srv.Tree().Remove(path)
	h.past = append(h.past, nil)
	if m.rng.IntN(2) == 0 {
		m.refresh(path)
	}
}

// preempt has a transfer make way for a listing.
func (m *model) preempt() {
	h := m.pick()
	if h == nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, dir := range modelDirs {
			_, _, _ = m.cache.Refresh(m.t.Context(), metadata.Caller{}, dir)
		}
	})
	m.readAt(h, 0, int(min(h.Version().Size, 2*mib)))
	wg.Wait()
}

func (m *model) restart() {
	m.srv.Stop()
	if err := m.srv.Start(); err != nil {
		m.t.Fatal(err)
	}
}

// outage does two things while nothing answers: what is held is served.
func (m *model) outage() {
	m.srv.Stop()
	m.listDir()
	m.look()
	if err := m.srv.Start(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) evict() {
	path := m.path()
	err := m.cache.Content().Evict(path)
	m.note("evict %s: %v", path, err)
	if err != nil && !errors.Is(err, content.ErrInUse) && !errors.Is(err, fs.ErrNotExist) {
		m.t.Error(err)
	}
}

func (m *model) again() {
	m.closeAll()
	m.remount()
	m.note("remounted")
}

// checkAll ends all faults, has everything listed again, and reads all of it:
// everything is as on the server.
func (m *model) checkAll() {
	m.setChaos(0)
	for _, dir := range modelDirs {
		eventually(m.t, "a listing is renewed", func() bool {
			_, d, err := m.cache.Refresh(m.t.Context(), metadata.Caller{}, dir)
			if err != nil {
				m.honest("list again", dir, err)
				return false
			}
			m.sound(dir, d)
			return true
		})
	}
	for _, path := range m.paths() {
		want := m.srv.Tree().Content(path)
		eventually(m.t, path+" reads as on the server", func() bool {
			h, err := m.handle(path)
			if want == nil {
				if err == nil {
					h.Close()
					m.t.Fatalf("%s is there, and was removed", path)
				}
				return errors.Is(err, fs.ErrNotExist)
			}
			if err != nil {
				m.honest("open", path, err)
				if errors.Is(err, ftppool.ErrOffline) {
					m.t.Fatal(err)
				}
				return false
			}
			defer h.Close()
			b, err := all(h)
			if err != nil {
				m.honest("read", path, err)
				return false
			}
			if wrong := compare(b, want, 0, true); wrong != nil {
				m.t.Fatalf("%s after a refresh: %v", path, wrong)
			}
			return true
		})
	}
}
