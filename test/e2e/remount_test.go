package e2e

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

func remountFixture() *fixture {
	f := &fixture{dirs: []string{"unread"}}
	f.add("read/whole.bin", ftptest.Generated(3_000_000, 1))
	f.add("read/small.txt", ftptest.Bytes([]byte("a small file\n")))
	f.add("read/empty.txt", ftptest.Bytes(nil))
	f.add("read/not-read.bin", ftptest.Generated(2_000_000, 2))
	f.add("read/large.bin", ftptest.Generated(100_000_000, 3))
	f.add("unread/there.txt", ftptest.Bytes([]byte("never asked for\n")))
	return f
}

// names lists a folder.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// readSome reads what the tests of remounts expect to find again.
func readSome(t testing.TB, m *mounted, f *fixture) {
	t.Helper()
	if got, want := names(t, m.path("read")), []string{"empty.txt", "large.bin", "not-read.bin", "small.txt", "whole.bin"}; !slices.Equal(got, want) {
		t.Fatalf("ls shows %q, want %q", got, want)
	}
	for _, file := range f.files[:3] {
		same(t, m.path(file.path), file.content)
	}
	large, err := os.Open(m.path("read/large.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()
	sameRange(t, large, f.files[4].content, 90_000_000, 65536)
}

// TestRemountWithoutServer: what was read is there after a remount while the
// server is down; what was not fails, and in time.
func TestRemountWithoutServer(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			f := remountFixture()
			s := serve(t, kind, f, options{})
			p := newPlace(t, raced)
			m := p.mount(s.url(""))
			if got := names(t, m.dir); !slices.Equal(got, []string{"read", "unread"}) {
				t.Fatalf("ls shows %q", got)
			}
			readSome(t, m, f)
			m.unmount()
			s.stop()
			m = p.mount(s.url(""), "--timeout", "3s", "--retry-for", "3s")
			readSome(t, m, f)
			for _, c := range []struct {
				what string
				f    func(context.Context) error
			}{
				{"a file never read", func(ctx context.Context) error { return cat(ctx, m.path("read/not-read.bin")) }},
				{"the rest of a file read in part", func(ctx context.Context) error { return cat(ctx, m.path("read/large.bin")) }},
				{"a file in a folder never listed", func(ctx context.Context) error { return cat(ctx, m.path("unread/there.txt")) }},
				{"a name in a folder never listed", func(ctx context.Context) error {
					return words(ctx, "stat", m.path("unread/nobody-knows.txt"))
				}},
				{"a folder never listed", func(ctx context.Context) error { return words(ctx, "ls", m.path("unread")) }},
			} {
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				begin := time.Now()
				err := c.f(ctx)
				took := time.Since(begin)
				cancel()
				switch {
				case err == nil:
					t.Errorf("%s: no error without a server", c.what)
				case errors.Is(err, context.DeadlineExceeded):
					t.Errorf("%s: no answer in %v, the timeout is 3 s", c.what, took)
				case strings.Contains(err.Error(), "No such file"):
					t.Errorf("%s: said to be missing, but the server was not asked: %v", c.what, err)
				}
				t.Logf("%s: %v after %v", c.what, err, took.Round(time.Millisecond))
			}
			if _, err := os.Lstat(m.path("read/missing")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a name missing from a folder that was listed: %v", err)
			}
			m.settled()
		})
	}
}

func cat(ctx context.Context, path string) error { return words(ctx, "cat", path) }

// words runs a program to its end, or to the context's.
func words(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var errs strings.Builder
	cmd.Stdout, cmd.Stderr = io.Discard, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return errors.New(strings.TrimSpace(errs.String()))
	}
	return nil
}

// TestRemountAsksNothing: within --dir-cache-time a remount answers what was
// read without a command to the server.
func TestRemountAsksNothing(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			f := remountFixture()
			s := serve(t, kind, f, options{})
			p := newPlace(t, raced)
			m := p.mount(s.url(""))
			names(t, m.dir)
			readSome(t, m, f)
			m.unmount()
			allClosed(t, s)
			s.reset()
			m = p.mount(s.url(""))
			names(t, m.dir)
			readSome(t, m, f)
			if _, err := os.Lstat(m.path("read/missing")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a missing name: %v", err)
			}
			m.unmount()
			if q := s.commands(); len(q) > 0 || s.sessions() > 0 {
				t.Errorf("a remount that read nothing new made %d sessions and sent %v", s.sessions(), q)
			}
		})
	}
}

// TestStaleListingIsAskedAgain: after --dir-cache-time a new file is seen.
func TestStaleListingIsAskedAgain(t *testing.T) {
	tree := remountFixture().tree()
	s := serveTree(t, ftptest.DATASUS(), tree, options{})
	m := newPlace(t, raced).mount(s.url("read"), "--dir-cache-time", "1s")
	names(t, m.dir)
	tree.WriteFile("read/new.txt", []byte("new\n"), time.Now())
	until(t, patience, "the new file is shown", func() bool { return slices.Contains(names(t, m.dir), "new.txt") })
	same(t, m.path("new.txt"), ftptest.Bytes([]byte("new\n")))
	tree.Put("read/new.txt", ftptest.Entry{Content: ftptest.Bytes([]byte("newer, and longer\n")), ModTime: time.Now()})
	until(t, patience, "the new content is shown", func() bool {
		b, err := os.ReadFile(m.path("new.txt"))
		return err == nil && string(b) == "newer, and longer\n"
	})
}
