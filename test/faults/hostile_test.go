package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/cache/metadata"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

const line = "-rw-r--r--    1 0        0        %s Mar 09 2024 %s\r\n"

// Listings that want out of the mount, or to break what reads them. Each is
// sent beside an honest entry, which must survive. shown are the names besides
// it that may be seen.
var hostile = map[string]struct {
	text  string
	shown []string
}{
	"slash":             {fmt.Sprintf(line, "5", "../../etc/passwd"), nil},
	"absolute":          {fmt.Sprintf(line, "5", "/etc/passwd"), nil},
	"dots":              {fmt.Sprintf(line, "5", ".") + fmt.Sprintf(line, "5", ".."), nil},
	"NUL":               {fmt.Sprintf(line, "5", "a\x00b"), nil},
	"CR inside":         {fmt.Sprintf(line, "5", "a\rDELE good"), nil},
	"LF inside":         {fmt.Sprintf(line, "5", "a\nDELE good"), nil},
	"long name":         {fmt.Sprintf(line, "5", strings.Repeat("n", 100*kib)), nil},
	"huge size":         {fmt.Sprintf(line, "99999999999999999999999999", "huge"), []string{"huge"}},
	"largest size":      {fmt.Sprintf(line, "9223372036854775807", "large"), []string{"large"}},
	"negative size":     {fmt.Sprintf(line, "-5", "negative"), []string{"negative"}},
	"duplicates":        {strings.Repeat(fmt.Sprintf(line, "5", "twice"), 3), []string{"twice"}},
	"impossible date":   {"-rw-r--r-- 1 0 0 5 Feb 31 2024 feb\r\n-rw-r--r-- 1 0 0 5 Jan 99 99:99 jan\r\n", nil},
	"no name":           {"-rw-r--r-- 1 0 0 5 Mar 09 2024 \r\n-rw-r--r-- 1 0 0 5 Mar 09 2024\r\n", nil},
	"device":            {"brw-rw---- 1 0 6 8, 0 Mar 09 2024 sda\r\nsrwxrwxrwx 1 0 0 0 Mar 09 2024 sock\r\nprw-r--r-- 1 0 0 0 Mar 09 2024 pipe\r\n", nil},
	"setuid":            {"-rwsr-xr-x 1 0 0 5 Mar 09 2024 setuid\r\n", []string{"setuid"}},
	"noise":             {"\xff\xfe\x00\x01\x02 \x7f\x1b[31m\r\n%s%n%d\r\n", nil},
	"link outside":      {"lrwxrwxrwx 1 0 0 9 Mar 09 2024 out -> /../../etc/passwd\r\n", []string{"out"}},
	"link to itself":    {"lrwxrwxrwx 1 0 0 9 Mar 09 2024 loop -> loop\r\n", []string{"loop"}},
	"link to nothing":   {"lrwxrwxrwx 1 0 0 9 Mar 09 2024 none -> \r\n", []string{"none"}},
	"a line of 2 MB":    {strings.Repeat("x", 2*mib) + "\r\n", nil},
	"a million of junk": {strings.Repeat("?\r\n", 1_000_000), nil},
}

func TestHostileListings(t *testing.T) {
	for name, h := range hostile {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{})
			s.Tree().Generate("d/good", 5000, 1, epoch)
			text := fmt.Sprintf(line, "5000", "good") + h.text
			s.On("LIST", "d", ftptest.Action{Listing: []byte(text)})
			m := mount(t, s)
			d, err := m.list("d")
			if err != nil {
				t.Fatal(err) // the honest entry is there
			}
			for _, e := range d.Entries() {
				ok := e.Name == "good"
				for _, n := range h.shown {
					ok = ok || e.Name == n
				}
				if !ok || listing.CheckName(e.Name) != nil || listing.CheckName(e.Raw) != nil {
					t.Errorf("shown: %.200q", e.Name)
				}
			}
			for _, n := range append([]string{"good"}, h.shown...) {
				if e, ok := d.Find(n); !ok {
					t.Errorf("%s is lost", n)
				} else if e.Size < listing.SizeUnknown {
					t.Errorf("%s has %d bytes", n, e.Size)
				}
			}
			m.exact("d/good", s.Tree().Content("d/good"))
			if name == "largest size" {
				// What is said to be that long may be opened; reading it fails.
				if h, err := m.handle("d/large"); err == nil {
					if b, err := read(h, 1<<62, 10); err == nil {
						t.Errorf("%d bytes of what is not there", len(b))
					}
					h.Close()
				}
			}
			if c := s.Changed(); len(c) > 0 {
				t.Errorf("a command that changes the server: %v", c)
			}
			within(t, m)
		})
	}
}

// The same by MLSD.
func TestHostileFacts(t *testing.T) {
	const facts = "type=file;size=%s;modify=20240309142536; %s\r\n"
	for name, h := range map[string]struct {
		text  string
		shown []string
	}{
		"slash":         {fmt.Sprintf(facts, "5", "../../etc/passwd") + fmt.Sprintf(facts, "5", "/etc/passwd"), nil},
		"dots":          {fmt.Sprintf(facts, "5", ".") + fmt.Sprintf(facts, "5", ".."), nil},
		"NUL, CR, LF":   {fmt.Sprintf(facts, "5", "a\x00b") + fmt.Sprintf(facts, "5", "a\rDELE good") + fmt.Sprintf(facts, "5", "a\nDELE good"), nil},
		"long name":     {fmt.Sprintf(facts, "5", strings.Repeat("n", 100*kib)), nil},
		"sizes":         {fmt.Sprintf(facts, "99999999999999999999", "huge") + fmt.Sprintf(facts, "-5", "negative") + fmt.Sprintf(facts, "0x10", "hex"), []string{"huge", "negative", "hex"}},
		"no name":       {fmt.Sprintf(facts, "5", ""), nil},
		"devices":       {"type=OS.unix=chr-1/3; null\r\ntype=OS.unix=blk-8/0; sda\r\ntype=OS.unix=socket; s\r\n", nil},
		"types":         {"type=; a\r\ntype=;;;; b\r\ntype=dir\x00; c\r\n", nil},
		"endless facts": {strings.Repeat("x=y;", 200_000) + " f\r\n", nil},
		"link target":   {"type=OS.unix=slink:" + strings.Repeat("../", 5000) + "x;size=5; far\r\n", nil},
		"duplicates":    {strings.Repeat(fmt.Sprintf(facts, "5", "twice"), 3), []string{"twice"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{Profile: ftptest.ProFTPD()})
			s.Tree().Generate("d/good", 5000, 1, epoch)
			s.On("MLSD", "d", ftptest.Action{Listing: []byte(fmt.Sprintf(facts, "5000", "good") + h.text)})
			m := mount(t, s)
			d, err := m.list("d")
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range d.Entries() {
				if e.Name != "good" && !slices.Contains(h.shown, e.Name) || e.Size < listing.SizeUnknown {
					t.Errorf("shown: %.200q of %d bytes", e.Name, e.Size)
				}
			}
			for _, n := range append([]string{"good"}, h.shown...) {
				if _, ok := d.Find(n); !ok {
					t.Errorf("%s is lost", n)
				}
			}
			m.exact("d/good", s.Tree().Content("d/good"))
			if c := s.Changed(); len(c) > 0 {
				t.Errorf("a command that changes the server: %v", c)
			}
			within(t, m)
		})
	}
}

// within fails when a file was made outside the folders of the cache, or with
// a name from the server.
func within(t *testing.T, m *mirror) {
	t.Helper()
	err := filepath.WalkDir(m.set.Dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && (strings.Contains(p, "passwd") || e.Type()&^fs.ModeDir != 0 || strings.Contains(p, "DELE")) {
			t.Errorf("in the cache: %s", p)
		}
		return nil // what goes away meanwhile is no matter
	})
	if err != nil {
		t.Error(err)
	}
}

// Names with line ends, asked for by programs, never reach the wire.
func TestInjectedNames(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"d/f": "x"}})
	m := mount(t, s)
	if _, err := m.list("d"); err != nil {
		t.Fatal(err)
	}
	s.Reset()
	for _, p := range []string{"d/a\r\nDELE f", "d/a\nDELE f", "d/a\rDELE f", "d/a\x00", "d\r\nDELE d/f\r\n/x", "\r\nDELE d/f"} {
		if _, err := m.lookup(p); err == nil {
			t.Errorf("%q is there", p)
		}
		if d, err := m.list(p); err == nil {
			t.Errorf("%q has %d entries", p, d.Len())
		}
	}
	for _, c := range s.Commands() {
		if strings.ContainsAny(c.Arg, "\r\n\x00") || c.Verb == "DELE" {
			t.Errorf("sent: %+v", c)
		}
	}
}

// A million files in one directory cost memory in proportion, and are all there.
func TestMillionLines(t *testing.T) {
	const n = 1_000_000
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "-rw-r--r--    1 0        0        %d Mar 09 2024 file-%07d.dbc\r\n", i, i)
	}
	s := ftptest.New(t, ftptest.Options{})
	s.Tree().Mkdir("d", epoch)
	s.On("LIST", "d", ftptest.Action{Listing: b.Bytes()})
	m := mount(t, s, func(s *settings) { s.Timeout = patience })
	before := heap()
	d, err := m.list("d")
	if err != nil || d.Len() != n {
		t.Fatalf("%v, %v", d, err)
	}
	used := int64(heap()) - int64(before)
	t.Logf("%d bytes of listing, %d MB of memory", b.Len(), used>>20)
	if used > 800<<20 {
		t.Errorf("%d MB of memory", used>>20)
	}
	runtime.KeepAlive(d)
}

func heap() uint64 {
	runtime.GC()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return ms.HeapAlloc
}

// watchHeap returns a function that tells by how much the heap grew at most.
func watchHeap(t *testing.T) func() int64 {
	before := int64(heap())
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	stop, peak := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		most := int64(0)
		for {
			metrics.Read(sample)
			most = max(most, int64(sample[0].Value.Uint64()))
			select {
			case <-tick.C:
			case <-stop:
				peak <- most
				return
			}
		}
	}()
	return func() int64 { close(stop); return <-peak - before }
}

// endless is a file without an end.
type endless struct{ sent *atomic.Int64 }

func (e endless) Size() int64 { return 1 << 50 }
func (e endless) ReadAt(p []byte, _ int64) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	e.sent.Add(int64(len(p)))
	return len(p), nil
}

// Replies and listings without end, and a banner that never comes, take bounded
// memory and bounded time, and are an error.
func TestEndless(t *testing.T) {
	peak := watchHeap(t)
	t.Cleanup(func() { // when all of the subtests have ended
		if used := peak(); used > 128<<20 {
			t.Errorf("%d MB of memory", used>>20)
		} else {
			t.Logf("at most %d MB of memory, the servers' own included", used>>20)
		}
	})
	for name, arm := range map[string]func(*ftptest.Server){
		"banner":          func(s *ftptest.Server) { s.On("CONNECT", "*", ftptest.Action{Endless: true}) },
		"no banner":       func(s *ftptest.Server) { s.On("CONNECT", "*", ftptest.Action{Silent: true}) },
		"reply to USER":   func(s *ftptest.Server) { s.On("USER", "*", ftptest.Action{Endless: true}) },
		"reply to FEAT":   func(s *ftptest.Server) { s.On("FEAT", "*", ftptest.Action{Endless: true}) },
		"reply to EPSV":   func(s *ftptest.Server) { s.On("EPSV", "*", ftptest.Action{Endless: true}) },
		"reply to LIST":   func(s *ftptest.Server) { s.On("LIST", "*", ftptest.Action{Endless: true}) },
		"a line too long": func(s *ftptest.Server) { s.On("LIST", "*", ftptest.Action{Raw: bytes.Repeat([]byte("150"), 2*mib)}) },
		"noise": func(s *ftptest.Server) {
			s.On("CONNECT", "*", ftptest.Action{Raw: bytes.Repeat([]byte("\xff\x00\r\n"), mib)})
		},
		"an HTTP server": func(s *ftptest.Server) {
			s.On("CONNECT", "*", ftptest.Action{Raw: []byte("HTTP/1.1 400 Bad Request\r\n\r\n")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{Files: map[string]string{"d/f": "x"}})
			arm(s)
			m := mount(t, s, quick, func(s *settings) { s.ListAhead = 0 })
			ctx, cancel := context.WithTimeout(t.Context(), m.set.Timeout+30*time.Second)
			defer cancel()
			d, err := m.cache.Directory(ctx, metadata.Caller{}, "d")
			if err == nil {
				t.Errorf("listed: %d entries", d.Len())
			}
			if errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
				t.Errorf("%v (waited in vain: %v)", err, ctx.Err())
			}
			if err != nil && len(err.Error()) > 4*kib {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

// A server that sends more than the file has is not listened to any further.
func TestEndlessFile(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{})
	s.Tree().Generate("f", 100_000, 1, epoch)
	var sent atomic.Int64
	s.On("RETR", "f", ftptest.Action{Content: endless{&sent}})
	m := mount(t, s)
	b, err := m.file("f")
	t.Logf("%d bytes read, %v; %d sent", len(b), err, sent.Load())
	if len(b) > 100_000 {
		t.Errorf("%d bytes of a file of 100000", len(b))
	}
	m.close()
	if n := sent.Load(); n > 64*mib {
		t.Errorf("%d bytes taken", n)
	}
}

// PASV that names another host is not followed: data only ever comes from the
// server itself.
func TestPASVElsewhere(t *testing.T) {
	p := ftptest.Vsftpd()
	p.Replies = map[string]string{"EPSV": "500 Unknown command."}
	p.PASVHost = "10.255.255.1"
	s := ftptest.New(t, ftptest.Options{Profile: p})
	s.Tree().Generate("d/f", mib, 1, epoch)
	m := mount(t, s)
	m.exact("d/f", s.Tree().Content("d/f"))
	if hosts := m.dials.to(); len(hosts) != 1 || hosts[s.Host()] == 0 {
		t.Errorf("connections to %v", hosts)
	}
}

// Links that lead in circles, or out, end every walk.
func TestLinkLoops(t *testing.T) {
	for _, p := range servers() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{Profile: p})
			s.Tree().Generate("d/f", 100, 1, epoch)
			s.Tree().Symlink("d/self", "self", epoch)
			s.Tree().Symlink("d/up", "..", epoch)
			s.Tree().Symlink("d/a", "b", epoch)
			s.Tree().Symlink("d/b", "a", epoch)
			s.Tree().Symlink("d/out", "../../../../etc/passwd", epoch)
			m := mount(t, s)
			d, err := m.list("d")
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range d.Entries() {
				if e.Name != "f" && e.Type == listing.File && e.Size != listing.SizeUnknown && e.Size > 0 {
					t.Logf("%s is shown as a file of %d", e.Name, e.Size)
				}
			}
			m.exact("d/f", s.Tree().Content("d/f"))
		})
	}
}

// The same through the kernel: find -L of such a tree ends, and nothing of the
// machine's own files is reached through a link.
func TestLinksStayInside(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{})
	s.Tree().Generate("d/f", 100, 1, epoch)
	for name, target := range map[string]string{
		"self": "self", "up": "..", "a": "b", "b": "a",
		"passwd": "../../../../../../../../etc/passwd", "root": "/etc/passwd", "dots": "/../../../etc/passwd",
	} {
		s.Tree().Symlink("d/"+name, target, epoch)
	}
	m := newMounted(t, s)
	m.start()
	n := 0
	err := filepath.WalkDir(m.dir, func(p string, e fs.DirEntry, err error) error { n++; return err })
	if err != nil || n != 10 {
		t.Errorf("%d entries, %v", n, err)
	}
	for _, name := range []string{"self", "a", "b", "passwd", "root", "dots"} {
		if b, err := os.ReadFile(filepath.Join(m.dir, "d", name)); err == nil {
			t.Errorf("%s leads to %d bytes", name, len(b))
		}
	}
	m.unmount()
}
