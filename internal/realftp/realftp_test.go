package realftp

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jlaffaye/ftp"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const size = 3 << 20

var mtime = time.Date(2024, 3, 7, 15, 4, 5, 0, time.UTC)

// sample makes a small mirror and returns its folder and the large file's bytes.
func sample(t *testing.T) (string, []byte) {
	t.Helper()
	root := t.TempDir()
	big := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(big)
	for name, data := range map[string][]byte{"pub/big.bin": big, "README": []byte("read me\n"), "pub/a b": []byte("x"), "empty": nil} {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, mtime, mtime); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("pub", filepath.Join(root, "current")); err != nil {
		t.Fatal(err)
	}
	return root, big
}

func each(t *testing.T, f func(t *testing.T, kind Kind)) {
	for _, kind := range Kinds() {
		t.Run(string(kind), func(t *testing.T) { f(t, kind) })
	}
}

func login(s *Server, options ...ftp.DialOption) (*ftp.ServerConn, error) {
	c, err := ftp.Dial(s.Addr(), append(options, ftp.DialWithTimeout(20*time.Second))...)
	if err != nil {
		return nil, err
	}
	if err := c.Login(s.User(), s.Password()); err != nil {
		c.Quit()
		return nil, err
	}
	return c, nil
}

func dial(t *testing.T, s *Server, options ...ftp.DialOption) *ftp.ServerConn {
	t.Helper()
	c, err := login(s, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Quit() })
	return c
}

func read(t *testing.T, c *ftp.ServerConn, path string, from uint64) []byte {
	t.Helper()
	r, err := c.RetrFrom(path, from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sent(t *testing.T, s *Server) []Transfer {
	t.Helper()
	all, err := s.Transfers()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestListReadAndLogs(t *testing.T) {
	root, big := sample(t)
	each(t, func(t *testing.T, kind Kind) {
		s := Start(t, kind, Options{Root: root})
		c := dial(t, s)
		got := map[string]uint64{}
		entries, err := c.List("pub")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			got[e.Name] = e.Size
		}
		if got["big.bin"] != size || got["a b"] != 1 {
			t.Errorf("listed: %v", got)
		}
		if b := read(t, c, "pub/big.bin", 0); !bytes.Equal(b, big) {
			t.Errorf("%d other bytes", len(b))
		}
		if b := read(t, c, "current/big.bin", 1<<20); !bytes.Equal(b, big[1<<20:]) {
			t.Errorf("from the middle: %d other bytes", len(b))
		}
		if b := read(t, c, "pub/a b", 0); string(b) != "x" {
			t.Errorf("a b: %q", b)
		}
		if b := read(t, c, "empty", 0); len(b) != 0 {
			t.Errorf("empty: %q", b)
		}
		if n, err := c.FileSize("README"); err != nil || n != 8 {
			t.Errorf("SIZE: %d, %v", n, err)
		}
		if m, err := c.GetTime("README"); err != nil || !m.Equal(mtime) {
			t.Errorf("MDTM: %v, %v", m, err)
		}
		if _, err := c.Retr("missing"); err == nil {
			t.Error("a missing file was opened")
		}
		all := sent(t, s)
		if len(all) != 4 {
			t.Fatalf("transfers: %+v", all)
		}
		for i, want := range []Transfer{
			{Path: "pub/big.bin", Bytes: size}, {Path: "big.bin", Bytes: size - 1<<20}, {Path: "pub/a b", Bytes: 1}, {Path: "empty"},
		} {
			if g := all[i]; !strings.HasSuffix(g.Path, want.Path) || g.Bytes != want.Bytes || !g.Complete || g.Session == "" {
				t.Errorf("transfer %d: %+v, want %+v", i, g, want)
			}
		}
		if s.MaxSessions() != 1 || s.Count("RETR") != 5 || len(s.Overlaps()) != 0 || len(s.Changed()) != 0 {
			t.Errorf("sessions %d, RETR %d, overlaps %v, changes %v", s.MaxSessions(), s.Count("RETR"), s.Overlaps(), s.Changed())
		}
		for _, cmd := range s.Commands() {
			if cmd.Verb == "RETR" && (cmd.Reply/100 == 2) != (cmd.Arg != "missing") {
				t.Errorf("%+v", cmd)
			}
		}
		if err := c.Delete("README"); err == nil {
			t.Error("DELE was obeyed")
		}
		if len(s.Changed()) != 1 {
			t.Errorf("changes: %v", s.Changed())
		}
		if err := s.Reset(); err != nil {
			t.Fatal(err)
		}
		read(t, c, "README", 0)
		if all := sent(t, s); len(all) != 1 || all[0].Bytes != 8 || s.Count("RETR") != 1 || s.MaxSessions() != 1 {
			t.Errorf("after Reset: %+v", all)
		}
	})
}

func TestCutTransfersAreLogged(t *testing.T) {
	root, _ := sample(t)
	each(t, func(t *testing.T, kind Kind) {
		s := Start(t, kind, Options{Root: root, Rate: 1 << 20})
		c := dial(t, s)
		r, err := c.Retr("pub/big.bin")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		r.Close()
		all := sent(t, s)
		if len(all) != 1 || all[0].Bytes >= size || kind != PureFTPd && all[0].Complete {
			t.Errorf("a transfer that was cut: %+v", all)
		}
	})
}

// A client that vanishes in the middle, both connections at once.
func TestAbandonedTransfersAreLogged(t *testing.T) {
	root, _ := sample(t)
	each(t, func(t *testing.T, kind Kind) {
		s := Start(t, kind, Options{Root: root, Rate: 1 << 20})
		var conns []net.Conn
		c, err := login(s, ftp.DialWithDialFunc(func(network, addr string) (net.Conn, error) {
			c, err := net.Dial(network, addr)
			conns = append(conns, c)
			return c, err
		}))
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Retr("pub/big.bin")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		for _, c := range conns {
			c.Close()
		}
		r.Close()
		if all := sent(t, s); len(all) != 1 || all[0].Bytes == 0 || all[0].Bytes >= size {
			t.Errorf("%+v", all)
		}
		// The transfer is logged a moment before the session ends.
		for deadline := time.Now().Add(10 * time.Second); s.Sessions() != 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d sessions", s.Sessions())
			}
		}
	})
}

func TestMaxPerIPAndCounts(t *testing.T) {
	root, _ := sample(t)
	each(t, func(t *testing.T, kind Kind) {
		s := Start(t, kind, Options{Root: root, MaxPerIP: 2})
		a := dial(t, s)
		dial(t, s)
		if c, err := login(s); err == nil {
			c.Quit()
			t.Error("a third session was let in")
		}
		if s.MaxSessions() != 3 || s.TotalSessions() != 3 {
			t.Errorf("%d sessions at once of %d", s.MaxSessions(), s.TotalSessions())
		}
		if err := a.Quit(); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(10 * time.Second)
		for {
			c, err := login(s) // the server needs a moment to notice
			if err == nil {
				c.Quit()
				return
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

func TestRateHoldsForEachConnection(t *testing.T) {
	root, _ := sample(t)
	each(t, func(t *testing.T, kind Kind) {
		s := Start(t, kind, Options{Root: root, Rate: 2 << 20})
		c := dial(t, s)
		begin := time.Now()
		read(t, c, "pub/big.bin", 0)
		if d := time.Since(begin); d < 500*time.Millisecond { // 1.5 s at the rate
			t.Errorf("3 MiB at 2 MiB/s took %v", d)
		}
	})
}

func TestStopAndStartOnTheSamePort(t *testing.T) {
	root, big := sample(t)
	each(t, func(t *testing.T, kind Kind) {
		s := Start(t, kind, Options{Root: root, Rate: 1 << 20})
		addr := s.Addr()
		c := dial(t, s)
		r, err := c.Retr("pub/big.bin")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		pid := s.PID()
		all := append(descendants(pid), pid)
		s.Stop()
		if b, err := io.ReadAll(r); len(b) >= size-1000 {
			t.Errorf("a killed server sent %d bytes, %v", len(b), err)
		}
		r.Close()
		for _, pid := range all {
			if alive(pid) {
				t.Errorf("process %d outlived Stop", pid)
			}
		}
		if c, err := login(s); err == nil {
			c.Quit()
			t.Error("a stopped server answers")
		}
		if s.Sessions() != 0 {
			t.Errorf("%d sessions", s.Sessions())
		}
		sent(t, s) // does not wait for what a killed server can't log
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if s.Addr() != addr {
			t.Errorf("restarted at %s, not %s", s.Addr(), addr)
		}
		if b := read(t, dial(t, s), "pub/big.bin", 2<<20); !bytes.Equal(b, big[2<<20:]) {
			t.Error("other bytes after the restart")
		}
	})
}

func TestTLS(t *testing.T) {
	root, big := sample(t)
	ca := ftptest.NewCA()
	cert, key, err := ca.Issue("127.0.0.1").Files(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, kind Kind) {
		for _, mode := range []TLSMode{ExplicitTLS, ImplicitTLS} {
			if kind == PureFTPd && mode == ImplicitTLS {
				if s, err := New(kind, Options{TLS: mode, CertFile: cert, KeyFile: key}); err == nil {
					s.Close()
					t.Error("pure-ftpd claims implicit TLS")
				}
				continue
			}
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				name := map[TLSMode]string{ExplicitTLS: "explicit ", ImplicitTLS: "implicit "}[mode] + tls.VersionName(version)
				t.Run(name, func(t *testing.T) {
					reuse := kind != PureFTPd
					s := Start(t, kind, Options{Root: root, TLS: mode, CertFile: cert, KeyFile: key, RequireReuse: reuse})
					if mode == ExplicitTLS { // with implicit TLS both would wait for the other to speak
						if c, err := login(s); err == nil {
							c.Quit()
							t.Error("a login in the clear was taken")
						}
					}
					config := &tls.Config{
						RootCAs: ca.Pool(), ServerName: "127.0.0.1", ClientSessionCache: tls.NewLRUClientSessionCache(4),
						MinVersion: version, MaxVersion: version,
					}
					option := ftp.DialWithExplicitTLS(config)
					if mode == ImplicitTLS {
						option = ftp.DialWithTLS(config)
					}
					c := dial(t, s, option)
					if b := read(t, c, "pub/big.bin", 0); !bytes.Equal(b, big) {
						t.Error("other bytes")
					}
					for _, cmd := range s.Commands() {
						if cmd.Verb == "PASS" && cmd.Reply == 230 || cmd.Verb == "RETR" {
							t.Errorf("in the clear: %+v", cmd)
						}
					}
				})
			}
		}
	})
}

func TestCurlReadsThroughTheRelayAndPastIt(t *testing.T) {
	root, big := sample(t)
	each(t, func(t *testing.T, kind Kind) {
		for _, noRelay := range []bool{false, true} {
			s := Start(t, kind, Options{Root: root, NoRelay: noRelay})
			out, err := exec.Command("curl", "-sS", "--max-time", "60", s.URL("pub/big.bin")).Output()
			if err != nil || !bytes.Equal(out, big) {
				t.Errorf("%d bytes, %v", len(out), err)
			}
		}
	})
}

func TestCloseLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, kind Kind) {
		s, err := New(kind, Options{})
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, s)
		pids := append(descendants(s.PID()), group(s.PID())...) // the watcher is in the group alone
		if len(pids) < 3 {
			t.Errorf("no process serves the session: %v", pids)
		}
		dir := s.dir
		s.Close()
		if err := c.NoOp(); err == nil {
			t.Error("the session lives")
		}
		for _, pid := range pids {
			if syscall.Kill(pid, 0) == nil && alive(pid) {
				t.Errorf("process %d lives", pid)
			}
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
	})
}

func TestMissingServerSaysWhatToDo(t *testing.T) {
	t.Setenv("MIRRORFS_FTPD_DIR", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	if _, err := os.Stat("/usr/sbin/vsftpd"); err == nil {
		return // it is installed, so it is not missing
	}
	if _, err := New(Vsftpd, Options{}); err == nil || !strings.Contains(err.Error(), "scripts/test-deps.sh") {
		t.Errorf("%v", err)
	}
}
