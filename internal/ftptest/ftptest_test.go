package ftptest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jlaffaye/ftp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var mtime = time.Date(2024, 3, 7, 15, 4, 0, 0, time.UTC)

// sample is a small mirror.
func sample() *Tree {
	t := NewTree()
	t.WriteFile("README", []byte("read me\n"), mtime)
	t.WriteFile("empty", nil, mtime)
	t.WriteFile("a b/ c d ", []byte("spaces"), mtime)
	t.WriteFile("pub/a\xe7\xe3o.txt", []byte("latin-1"), mtime)
	t.Generate("pub/big.bin", 3<<20+5, 1, mtime)
	t.Mkdir("pub/none", mtime)
	t.Symlink("current", "pub", mtime)
	return t
}

func dial(t *testing.T, s *Server) *ftp.ServerConn {
	t.Helper()
	c, err := ftp.Dial(s.Addr(), ftp.DialWithTimeout(10*time.Second), ftp.DialWithDisabledUTF8(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Quit() })
	if err := c.Login("anonymous", "me@example.org"); err != nil {
		t.Fatal(err)
	}
	return c
}

// read fetches a file from an offset.
func read(t *testing.T, c *ftp.ServerConn, path string, from uint64) []byte {
	t.Helper()
	b, err := tryRead(c, path, from)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func tryRead(c *ftp.ServerConn, path string, from uint64) ([]byte, error) {
	r, err := c.RetrFrom(path, from)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return b, err
}

func profiles() []Profile { return []Profile{Vsftpd(), ProFTPD(), PureFTPd(), DATASUS()} }

func TestProfilesListAndReadExactly(t *testing.T) {
	for _, p := range profiles() {
		t.Run(p.Name, func(t *testing.T) {
			s := New(t, Options{Profile: p, Tree: sample()})
			c := dial(t, s)
			got := map[string]*ftp.Entry{}
			for _, dir := range []string{"", "pub", "a b"} {
				entries, err := c.List(dir)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					if e.Name != "." && e.Name != ".." {
						got[clean(dir+"/"+e.Name)] = e
					}
				}
			}
			for _, path := range []string{"README", "empty", "a b/ c d ", "pub/a\xe7\xe3o.txt", "pub/big.bin"} {
				e := got[path]
				if e == nil && path == "a b/ c d " { // the library trims names
					e = got["a b/c d"]
					if e == nil {
						e = got["a b/c d "]
					}
				}
				want := s.Tree().ReadFile(path)
				if e == nil && path != "a b/ c d " {
					t.Fatalf("%q is not listed; listed are %v", path, got)
				}
				if e != nil && (e.Type != ftp.EntryTypeFile || e.Size != uint64(len(want))) {
					t.Errorf("%q is listed as %+v", path, e)
				}
				listed := mtime
				switch {
				case p.Style == DOS2:
					listed = listed.Add(-3 * time.Hour) // São Paulo's clock, taken for UTC
				case !p.MLSD:
					listed = listed.Truncate(24 * time.Hour) // an old file's line has a year and no hour
				}
				if e != nil && !e.Time.Equal(listed) {
					t.Errorf("%q has time %v", path, e.Time)
				}
				if b := read(t, c, path, 0); !bytes.Equal(b, want) {
					t.Errorf("%q: %d bytes read, not the %d expected", path, len(b), len(want))
				}
				if n, err := c.FileSize(path); err != nil || n != int64(len(want)) {
					t.Errorf("SIZE %q: %d, %v", path, n, err)
				}
				if m, err := c.GetTime(path); err != nil || !m.Equal(mtime) {
					t.Errorf("MDTM %q: %v, %v", path, m, err)
				}
			}
			if b := read(t, c, "pub/big.bin", 1<<20+3); !bytes.Equal(b, s.Tree().ReadFile("pub/big.bin")[1<<20+3:]) {
				t.Error("REST: other bytes")
			}
			if b := read(t, c, "current/big.bin", 3<<20); len(b) != 5 {
				t.Errorf("through a link: %d bytes", len(b))
			}
			if e := got["pub"]; e == nil || e.Type != ftp.EntryTypeFolder {
				t.Errorf("pub is listed as %+v", e)
			}
			if err := c.ChangeDir("pub/none"); err != nil {
				t.Error(err)
			}
			if d, err := c.CurrentDir(); err != nil || d != "/pub/none" {
				t.Errorf("PWD: %q, %v", d, err)
			}
			if entries, err := c.List(""); err != nil || len(entries) > 2 {
				t.Errorf("empty directory: %v, %v", entries, err)
			}
			if err := c.ChangeDir("/nowhere"); err == nil {
				t.Error("CWD to a missing directory succeeded")
			}
			if len(s.Overlaps()) != 0 || len(s.Changed()) != 0 || s.MaxSessions() != 1 {
				t.Errorf("overlaps %v, changes %v, sessions %d", s.Overlaps(), s.Changed(), s.MaxSessions())
			}
			for _, tr := range s.Transfers() {
				if tr.Running || !tr.Whole {
					t.Errorf("transfer not whole: %+v", tr)
				}
			}
		})
	}
}

func TestCurl(t *testing.T) {
	for _, p := range profiles() {
		t.Run(p.Name, func(t *testing.T) {
			s := New(t, Options{Profile: p, Tree: sample(), Now: func() time.Time { return mtime.AddDate(0, 1, 0) }})
			if got := curl(t, "-r", "1048576-", s.URL("pub/big.bin")); !bytes.Equal(got, s.Tree().ReadFile("pub/big.bin")[1<<20:]) {
				t.Error("curl read other bytes")
			}
			line := "-rw-r--r--    1 ftp      ftp                 8 Mar 07 15:04 README\r\n"
			if p.SpaceDay {
				line = strings.Replace(line, "Mar 07", "Mar  7", 1)
			}
			if p.Style == DOS2 {
				line = "03-07-24  12:04PM                    8 README\r\n"
			}
			if got := string(curl(t, s.URL(""))); !strings.Contains(strings.ReplaceAll(got, "\r", ""), strings.ReplaceAll(line, "\r", "")) {
				t.Errorf("LIST:\n%s", got)
			}
		})
	}
}

func curl(t *testing.T, args ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("curl", append([]string{"-sS", "--max-time", "60"}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("curl %v: %v: %s", args, err, stderr.String())
	}
	return out
}

// curlOut returns both outputs of curl, whether it succeeds or not.
func curlOut(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("curl", append([]string{"-sS", "--max-time", "60"}, args...)...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out)
}

func TestGeneratedIsOneContentAtEveryOffset(t *testing.T) {
	c := Generated(1<<16+3, 9)
	whole := make([]byte, c.Size())
	if n, err := c.ReadAt(whole, 0); n != len(whole) || err != nil && err != io.EOF {
		t.Fatal(n, err)
	}
	for _, off := range []int64{0, 1, 7, 8, 9, 4095, 65530} {
		for _, n := range []int{1, 3, 8, 9, 100} {
			b := make([]byte, n)
			m, _ := c.ReadAt(b, off)
			if !bytes.Equal(b[:m], whole[off:off+int64(m)]) {
				t.Fatalf("ReadAt(%d bytes, %d) differs", n, off)
			}
		}
	}
	seen := map[string]int{}
	for i := 0; i+8 <= len(whole); i += 8 {
		seen[string(whole[i:i+8])]++
	}
	if len(seen) != len(whole)/8 {
		t.Errorf("only %d different words of %d", len(seen), len(whole)/8)
	}
	huge := Generated(5<<40, 9)
	b := make([]byte, 16)
	if n, err := huge.ReadAt(b, 5<<40-8); n != 8 || err != io.EOF {
		t.Errorf("at the end of 5 TiB: %d, %v", n, err)
	}
}

func TestLazyDirectoriesAreMadeUpAsAsked(t *testing.T) {
	tree := NewTree()
	tree.Lazy("big", mtime, func(dir string) []Entry {
		out := make([]Entry, 0, 200)
		for i := range 100 {
			if !strings.Contains(dir, "/") {
				out = append(out, Entry{Name: fmt.Sprintf("d%02d", i), Kind: Dir, ModTime: mtime})
			}
			out = append(out, Entry{Name: fmt.Sprintf("f%02d", i), Content: Generated(int64(i), uint64(len(dir))), ModTime: mtime})
		}
		return out
	})
	s := New(t, Options{Profile: ProFTPD(), Tree: tree})
	c := dial(t, s)
	entries, err := c.List("big/d17")
	if err != nil || len(entries) != 202 { // with . and ..
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	if b := read(t, c, "big/d17/d05/f42", 0); !bytes.Equal(b, tree.ReadFile("big/d17/d05/f42")) || len(b) != 42 {
		t.Errorf("%d bytes", len(b))
	}
}
