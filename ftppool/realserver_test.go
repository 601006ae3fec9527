package ftppool

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
	"github.com/mirrorfs/mirrorfs/internal/realftp"
)

// realPool returns a pool for a real server.
func realPool(tb testing.TB, s *realftp.Server, change ...func(*Config)) *Pool {
	tb.Helper()
	cfg := Config{Host: s.Host(), Port: s.Port(), User: s.User(), Password: s.Password(), Connections: 4, Timeout: 15 * time.Second}
	if os.Getenv("FTPPOOL_DEBUG") != "" {
		cfg.Log = debugLog(os.Stderr)
	}
	for _, f := range change {
		f(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

// onEach runs f with each real server.
func onEach(t *testing.T, o realftp.Options, f func(t *testing.T, s *realftp.Server)) {
	for _, kind := range realftp.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			o := o
			o.Root = "" // a new one
			f(t, realftp.Start(t, kind, o))
		})
	}
}

func write(tb testing.TB, s *realftp.Server, name string, data []byte) {
	tb.Helper()
	full := filepath.Join(s.Root(), name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(full, data, 0o644); err != nil {
		tb.Fatal(err)
	}
	when := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	if err := os.Chtimes(full, when, when); err != nil {
		tb.Fatal(err)
	}
}

func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

func TestRealServers(t *testing.T) {
	onEach(t, realftp.Options{}, func(t *testing.T, s *realftp.Server) {
		big := random(8<<20, 1)
		write(t, s, "d/big", big)
		write(t, s, "d/none", nil)
		oddNames := slices.Clone(oddNames)
		if strings.HasPrefix(t.Name(), "TestRealServers/pure") {
			// It shows no name with a tab, and opens none with a backslash.
			oddNames = slices.DeleteFunc(oddNames, func(n string) bool { return strings.ContainsAny(n, "\t\\") })
		}
		for i, n := range oddNames {
			write(t, s, "f/"+n, []byte(n))
			write(t, s, "g/"+n+"/in "+fmt.Sprint(i), nil)
		}
		write(t, s, "g/axb/wrong", nil)
		if err := os.Mkdir(filepath.Join(s.Root(), "empty"), 0o755); err != nil {
			t.Fatal(err)
		}
		p := realPool(t, s)
		if err := p.Connect(patience(t)); err != nil {
			t.Fatal(err)
		}
		when := listing.Exactly(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
		for _, e := range mustList(t, p, "d").Entries {
			if e.Type != listing.File || !e.MTime.Meets(when) || e.Raw == "big" && e.Size != int64(len(big)) || e.Raw == "none" && e.Size != 0 {
				t.Errorf("listed %+v", e)
			}
		}
		if e, err := p.Stat(patience(t), lookup, "d/big"); err != nil || e.Size != int64(len(big)) || e.MTime != when {
			t.Errorf("stat %+v, %v", e, err)
		}
		if e, err := p.Stat(patience(t), lookup, "d"); err != nil || e.Type != listing.Dir {
			t.Errorf("stat %+v, %v", e, err)
		}
		_, err := p.Stat(patience(t), lookup, "d/nope")
		isError(t, err, fs.ErrNotExist)
		_, err = p.Open(patience(t), read, "d/nope", 0)
		isError(t, err, fs.ErrNotExist)
		_, err = p.Open(patience(t), read, "d", 0)
		isError(t, err, ErrIsDir)
		want := slices.Clone(oddNames)
		slices.Sort(want)
		if got := names(mustList(t, p, "f")); !slices.Equal(got, want) {
			t.Errorf("listed %q\nwant   %q", got, want)
		}
		for i, n := range oddNames {
			if b := readAll(t, p, "f/"+n, 0); string(b) != n {
				t.Errorf("%q reads %q", n, b)
			}
			if got := names(mustList(t, p, "g/"+n)); !slices.Equal(got, []string{fmt.Sprint("in ", i)}) {
				t.Errorf("%q has %q", n, got)
			}
			if e, err := p.Stat(patience(t), lookup, "f/"+n); err != nil || e.Size != int64(len(n)) {
				t.Errorf("%q is %+v, %v", n, e, err)
			}
		}
		if b := readAll(t, p, "d/none", 0); len(b) != 0 {
			t.Errorf("an empty file reads %q", b)
		}
		if b := readAll(t, p, "d/big", 5_345_678); !bytes.Equal(b, big[5_345_678:]) {
			t.Error("wrong bytes from an offset")
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if b := readAll(t, p, "d/big", 0); !bytes.Equal(b, big) {
					t.Error("wrong bytes")
				}
			})
		}
		wg.Wait()
		if o := s.Overlaps(); len(o) > 0 {
			t.Errorf("overlaps: %v", o)
		}
		// Cut early, again and again: the session stays.
		logins := p.Status().Logins
		for range 5 {
			r := mustOpen(t, p, read, "d/big", 1000)
			b := make([]byte, 100_000)
			if _, err := io.ReadFull(r, b); err != nil || !bytes.Equal(b, big[1000:101_000]) {
				t.Errorf("wrong bytes before a cut, %v", err)
			}
			_ = r.Close()
		}
		mustList(t, p, "")
		if now := p.Status().Logins; now != logins {
			t.Errorf("%d more logins for 5 cuts", now-logins)
		}
		if n := s.MaxSessions(); n > 4 {
			t.Errorf("%d sessions", n)
		}
		if c := s.Changed(); len(c) > 0 {
			t.Errorf("changing commands: %v", c)
		}
		for _, n := range telnetNames {
			write(t, s, "t/"+n+"/"+n, []byte(n))
			if got := names(mustList(t, p, "t/"+n)); !slices.Equal(got, []string{n}) {
				t.Errorf("%q has %q", n, got)
			}
			if b := readAll(t, p, "t/"+n+"/"+n, 0); string(b) != n {
				t.Errorf("%q reads %q", n, b)
			}
			if e, err := p.Stat(patience(t), lookup, "t/"+n+"/"+n); err != nil || e.Size != int64(len(n)) {
				t.Errorf("%q is %+v, %v", n, e, err)
			}
		}
		if !p.CanRestart("d/big") || !p.Profile().Pipelining || !p.Profile().EPSV {
			t.Errorf("profile %+v", p.Profile())
		}
	})
}

// Missing, forbidden and empty directories on the real servers.
func TestRealTraps(t *testing.T) {
	onEach(t, realftp.Options{}, func(t *testing.T, s *realftp.Server) {
		write(t, s, "file", []byte("x"))
		write(t, s, "self/self", []byte("x"))
		write(t, s, "locked/f", []byte("x"))
		write(t, s, "search/f", []byte("x")) // may be entered, not read
		write(t, s, "secret", []byte("xyz"))
		for name, mode := range map[string]fs.FileMode{"locked": 0, "search": 0o711, "secret": 0} {
			if err := os.Chmod(filepath.Join(s.Root(), name), mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Mkdir(filepath.Join(s.Root(), "empty"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, sequential := range []bool{false, true} {
			p := realPool(t, s, func(c *Config) { c.Profile = &Profile{Learned: true, EPSV: true, Pipelining: !sequential} })
			if l := mustList(t, p, "empty"); len(l.Entries) != 0 {
				t.Errorf("empty has %q", names(l))
			}
			if got := names(mustList(t, p, "self")); !slices.Equal(got, []string{"self"}) {
				t.Errorf("self has %q", got)
			}
			for dir, kind := range map[string]error{"nope": fs.ErrNotExist, "file": ErrNotDir, "locked": fs.ErrPermission, "search": fs.ErrPermission} {
				l, err := p.List(patience(t), lookup, dir)
				if err == nil {
					t.Errorf("%s has %q", dir, names(l))
					continue
				}
				if e := isError(t, err, kind); e.Reply == "" {
					t.Errorf("no reply in %v", err)
				}
			}
			_, err := p.Open(patience(t), read, "secret", 0)
			isError(t, err, fs.ErrPermission)
			if b := readAll(t, p, "search/f", 0); string(b) != "x" {
				t.Errorf("read %q", b)
			}
			if n := p.Status().Logins; n != 1 {
				t.Errorf("%d logins", n)
			}
		}
	})
}

func TestRealSymlinks(t *testing.T) {
	for _, slink := range []bool{false, true} {
		onEach(t, realftp.Options{Slink: slink}, func(t *testing.T, s *realftp.Server) {
			write(t, s, "d/file", []byte("0123456789"))
			write(t, s, "d/sub/f", nil)
			links := map[string]string{"to file": "file", "current": "sub", "dangling": "nowhere", "loop": "loop", "up": "..", "abs": "/d/file"}
			for name, target := range links {
				if err := os.Symlink(target, filepath.Join(s.Root(), "d", name)); err != nil {
					t.Fatal(err)
				}
			}
			p := realPool(t, s)
			for _, e := range mustList(t, p, "d").Entries {
				if target, ok := links[e.Raw]; ok && (e.Type != listing.Symlink || e.Target != target && !(e.Raw == "up" && e.Target == "/")) {
					t.Errorf("%q is %+v, want a link to %q", e.Raw, e, target)
				}
				delete(links, e.Raw)
				if e.Raw == "sub" && e.Type != listing.Dir || e.Raw == "file" && (e.Type != listing.File || e.Size != 10) {
					t.Errorf("%+v", e)
				}
			}
			if len(links) > 0 {
				t.Errorf("not listed: %q", links)
			}
			if e, err := p.Stat(patience(t), lookup, "d/to file"); err != nil || e.Size != 10 {
				t.Errorf("%+v, %v", e, err)
			}
			if e, err := p.Stat(patience(t), lookup, "d/current"); err != nil || e.Type != listing.Dir {
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
}

func TestRealTLS(t *testing.T) {
	ca := ftptest.NewCA()
	cert, key, err := ca.Issue("127.0.0.1").Files(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range realftp.Kinds() {
		for _, mode := range []struct {
			server realftp.TLSMode
			client TLSMode
		}{{realftp.ExplicitTLS, ExplicitTLS}, {realftp.ImplicitTLS, ImplicitTLS}} {
			if kind == realftp.PureFTPd && mode.client == ImplicitTLS {
				continue // it has none
			}
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				t.Run(fmt.Sprintf("%s %d %s", kind, mode.client, tls.VersionName(version)), func(t *testing.T) {
					t.Parallel()
					s := realftp.Start(t, kind, realftp.Options{TLS: mode.server, CertFile: cert, KeyFile: key, RequireReuse: kind != realftp.PureFTPd})
					data := random(3<<20, 3)
					write(t, s, "f", data)
					write(t, s, "none", nil)
					if err := os.Mkdir(filepath.Join(s.Root(), "empty"), 0o755); err != nil {
						t.Fatal(err)
					}
					p := realPool(t, s, connections(2), func(c *Config) {
						c.TLS = mode.client
						c.TLSConfig = &tls.Config{RootCAs: ca.Pool(), MinVersion: version, MaxVersion: version}
					})
					for range 2 {
						if l := mustList(t, p, ""); len(l.Entries) != 3 {
							t.Errorf("listed %q", names(l))
						}
						if l := mustList(t, p, "empty"); len(l.Entries) != 0 {
							t.Errorf("listed %q", names(l))
						}
						readMany(t, p, 6, "f", data)
						readMany(t, p, 1, "none", nil)
						if b := readAll(t, p, "f", 2<<20); !bytes.Equal(b, data[2<<20:]) {
							t.Error("wrong bytes from an offset")
						}
						r := mustOpen(t, p, read, "f", 0)
						if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
							t.Error(err)
						}
						_ = r.Close()
					}
					if e, err := p.Stat(patience(t), lookup, "f"); err != nil || e.Size != int64(len(data)) {
						t.Errorf("%+v, %v", e, err)
					}
					if st := p.Status(); len(st.Failures) > 0 {
						t.Errorf("failures: %v", st.Failures)
					}
					for _, c := range s.Commands() {
						if !strings.HasPrefix(fmt.Sprint(c), "AUTH") && strings.Contains(fmt.Sprint(c), "PASS") {
							t.Errorf("in the clear: %v", c)
						}
					}
				})
			}
		}
	}
}

// A server's cap per address is learned, and many readers get every byte.
func TestRealCaps(t *testing.T) {
	for _, limit := range []int{1, 2} {
		onEach(t, realftp.Options{MaxPerIP: limit, NoRelay: true}, func(t *testing.T, s *realftp.Server) {
			data := random(300_000, 5)
			write(t, s, "f", data)
			p := realPool(t, s, connections(5))
			readUntilLearned(t, p, "f", data)
			if st := p.Status(); st.Cap != limit {
				t.Errorf("learned %d: %+v", st.Cap, st)
			}
			// Sessions that die at work do not lead to refusals.
			for range 3 {
				ctx, cancel := context.WithCancel(context.Background())
				r, err := p.Open(ctx, read, "f", 0)
				if err != nil {
					t.Fatal(err)
				}
				r.(*stream).session.stop(io.ErrUnexpectedEOF)
				_ = r.Close()
				cancel()
				readMany(t, p, 3, "f", data)
			}
			if st := p.Status(); st.Cap != limit {
				t.Errorf("unlearned: %+v", st)
			}
		})
	}
}

// A server killed and started again in the middle of everything.
func TestRealRestart(t *testing.T) {
	onEach(t, realftp.Options{Rate: 8 << 20}, func(t *testing.T, s *realftp.Server) {
		data := random(8<<20, 6)
		write(t, s, "f", data)
		p := realPool(t, s, connections(2))
		r := mustOpen(t, p, read, "f", 0)
		got := make([]byte, 1<<20)
		if _, err := io.ReadFull(r, got); err != nil {
			t.Fatal(err)
		}
		s.Stop()
		rest, _ := io.ReadAll(r)
		_ = r.Close()
		got = append(got, rest...)
		if _, err := p.List(patience(t), lookup, ""); err == nil {
			t.Error("a dead server was listed")
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		await(t, p, func(Status) bool { return p.Connect(patience(t)) == nil })
		got = append(got, readAll(t, p, "f", int64(len(got)))...)
		if !bytes.Equal(got, data) {
			t.Error("wrong bytes")
		}
	})
}

// Real servers take commands before they have said that a transfer is over: no
// session is lost by that, with encryption neither.
func TestRealReplyOwed(t *testing.T) {
	ca := ftptest.NewCA()
	cert, key, err := ca.Issue("127.0.0.1").Files(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	plain := realftp.Options{}
	encrypted := realftp.Options{TLS: realftp.ExplicitTLS, CertFile: cert, KeyFile: key}
	for name, o := range map[string]realftp.Options{"plain": plain, "encrypted": encrypted} {
		t.Run(name, func(t *testing.T) {
			onEach(t, o, func(t *testing.T, s *realftp.Server) {
				const n = 40
				for i := range n {
					write(t, s, fmt.Sprintf("f%d", i), random(1000*i, uint64(i)))
				}
				p := realPool(t, s, connections(2), func(c *Config) {
					if o.TLS != realftp.NoTLS {
						c.TLS, c.TLSConfig = ExplicitTLS, &tls.Config{RootCAs: ca.Pool()}
					}
				})
				mustList(t, p, "")
				var readers sync.WaitGroup
				for i := range n {
					readers.Go(func() {
						r, err := p.Open(patience(t), Want{Class: ClassRead, Check: true}, fmt.Sprintf("f%d", i), 0)
						if err != nil {
							t.Error(err)
							return
						}
						defer r.Close()
						if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, random(1000*i, uint64(i))) {
							t.Errorf("f%d: %d bytes, %v", i, len(b), err)
						}
					})
				}
				readers.Wait()
				if st := p.Status(); st.Logins > 2 || p.known().noOwing {
					t.Errorf("%d logins; replies are waited for: %v", st.Logins, p.known().noOwing)
				}
			})
		})
	}
}

// pure-ftpd answers each of several refused CWDs in a row 100 ms later than the
// one before, which look-ups of files are: none may follow another.
func TestRefusalsInARow(t *testing.T) {
	for name, c := range map[string]struct {
		together bool
		least    int // CWDs that are refused: a file is told from a folder by SIZE where it is asked first
	}{"together": {true, 60}, "one by one": {false, 40}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := realftp.Start(t, realftp.PureFTPd, realftp.Options{})
			write(t, s, "d/file", []byte("x"))
			p := realPool(t, s, func(cfg *Config) {
				cfg.Profile = &Profile{Learned: true, EPSV: true, Pipelining: c.together}
			})
			if err := p.Connect(patience(t)); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					if e, err := p.Stat(patience(t), lookup, "d/file"); err != nil || e.Type != listing.File || e.Size != 1 {
						t.Errorf("stat of a file: %+v, %v", e, err)
					}
				})
				all.Go(func() {
					if e, err := p.Stat(patience(t), lookup, "d"); err != nil || e.Type != listing.Dir {
						t.Errorf("stat of a directory: %+v, %v", e, err)
					}
				})
				all.Go(func() {
					_, err := p.Stat(patience(t), lookup, "d/nope")
					isError(t, err, fs.ErrNotExist)
				})
				all.Go(func() {
					_, err := p.List(patience(t), lookup, "d/nope")
					isError(t, err, fs.ErrNotExist)
				})
			}
			all.Wait()
			refused := make(map[int]bool) // by session, the last one
			n := 0
			for _, cmd := range s.Commands() {
				if cmd.Verb != "CWD" {
					continue
				}
				no := cmd.Reply >= 500
				if no && refused[cmd.Session] {
					t.Errorf("CWD %s is refused right after another", cmd.Arg)
				}
				if refused[cmd.Session] = no; no {
					n++
				}
			}
			if n < c.least {
				t.Errorf("%d refused, too few to tell", n)
			}
		})
	}
}
