package faults

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/cache/metadata"
	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// outages are the ways in which a server is not there, and the error that tells
// each from a missing file.
var outages = map[string]struct {
	begin func(*ftptest.Server)
	kind  error
}{
	"refused": {func(s *ftptest.Server) { s.Stop() }, syscall.ECONNREFUSED},
	"silent":  {func(s *ftptest.Server) { s.DropAll(); s.Freeze() }, context.DeadlineExceeded},
	"login refused": {func(s *ftptest.Server) {
		s.DropAll()
		s.On("PASS", "*", ftptest.Reply(530, "Login incorrect."))
	}, ftppool.ErrLogin},
	"full": {func(s *ftptest.Server) {
		s.DropAll()
		s.Script(func(c *ftptest.Cmd) ftptest.Action {
			if c.Verb == "CONNECT" {
				return ftptest.Action{Reply: "421 Too many connections.", Drop: ftptest.DropAfter}
			}
			return ftptest.Action{}
		})
	}, ftppool.ErrTooMany},
}

// end has a server answer again.
func end(t *testing.T, s *ftptest.Server) {
	s.ClearRules()
	s.Thaw()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
}

// While a server is not there, what is known is served: fresh listings as if
// nothing were, old ones marked as stale, files that are whole, after a remount
// too. What is not known fails with the kind that says why; nothing looks
// empty or absent. When it is back, everything is.
func TestOutage(t *testing.T) {
	for name, o := range outages {
		for _, remounted := range []bool{false, true} {
			t.Run(map[bool]string{false: name, true: name + ", remounted"}[remounted], func(t *testing.T) {
				t.Parallel()
				s := ftptest.New(t, ftptest.Options{})
				s.Tree().Generate("d/whole", 500_000, 1, epoch)
				s.Tree().Generate("d/unread", 500_000, 2, epoch)
				s.Tree().Generate("e/f", 5000, 3, epoch)
				m := mount(t, s, quick, func(s *settings) { s.RetryFor, s.ListAhead = time.Second, 0 })
				for _, dir := range []string{"", "d"} {
					if _, err := m.list(dir); err != nil {
						t.Fatal(err)
					}
				}
				whole := s.Tree().Content("d/whole")
				m.exact("d/whole", whole)
				eventually(t, "the file is whole", func() bool {
					f := m.cache.Content().Files()
					return len(f) == 1 && f[0].Whole
				})
				o.begin(s)
				if remounted {
					m.remount()
				}
				m.exact("d/whole", whole)
				if d, err := m.list("d"); err != nil || d.Len() != 2 || d.Stale() {
					t.Errorf("a fresh listing: %+v, %v", d, err)
				}
				if _, err := m.lookup("d/none"); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("a name that a fresh listing lacks: %v", err)
				}
				m.cache.MarkStale()
				if d, err := m.list("d"); err != nil || d.Len() != 2 || !d.Stale() {
					t.Errorf("a listing that is to be renewed: %+v, %v", d, err)
				}
				m.exact("d/whole", whole)
				if d, err := m.list("e"); err == nil {
					t.Errorf("an unknown folder has %d entries", d.Len())
				} else if !errors.Is(err, o.kind) || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("list an unknown folder: %v", err)
				}
				if _, err := m.lookup("e/f"); !errors.Is(err, o.kind) || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("look up in an unknown folder: %v", err)
				}
				if err := m.cache.LastError("e"); err == nil || !errors.Is(err, o.kind) {
					t.Errorf("the last error of the folder: %v", err)
				}
				if b, err := m.file("d/unread"); len(b) > 0 || !errors.Is(err, o.kind) || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("read what is not held: %d bytes, %v", len(b), err)
				}
				if err := m.cache.LastError("d/unread"); !errors.Is(err, o.kind) {
					t.Errorf("the last error of the file: %v", err)
				}

				end(t, s)
				for _, p := range []string{"d/unread", "e/f", "d/whole"} {
					eventually(t, p+" is read again", func() bool {
						b, err := m.file(p)
						if errors.Is(err, fs.ErrNotExist) {
							t.Fatalf("%s is said to be absent: %v", p, err)
						}
						return err == nil && compare(b, s.Tree().Content(p), 0, true) == nil
					})
				}
				eventually(t, "the listing is renewed", func() bool {
					d, err := m.list("d")
					return err == nil && !d.Stale()
				})
			})
		}
	}
}

// A look-up and a listing end within Timeout, and at once while the server is
// known to be away.
func TestTimeIsBounded(t *testing.T) {
	for name, verb := range map[string]string{"silent from the start": "CONNECT", "silent to LIST": "LIST", "silent to everything": "*"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{Files: map[string]string{"d/f": "x"}})
			s.On(verb, "*", ftptest.Action{Silent: true})
			m := mount(t, s, quick)
			for i := range 4 {
				// Only a lower bound of an upper one: the context of the call, which
				// is never reached when the promise holds.
				ctx, cancel := context.WithTimeout(context.Background(), m.set.Timeout+30*time.Second)
				_, err := m.cache.Directory(ctx, metadata.Caller{}, "d")
				if err == nil || ctx.Err() != nil {
					t.Errorf("listing %d: %v (waited in vain: %v)", i, err, ctx.Err())
				}
				if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("listing %d: %v", i, err)
				}
				cancel()
			}
			if n := len(s.Attempts()); n > 12 {
				t.Errorf("%d attempts for four listings", n)
			}
		})
	}
}

// What the command's --offline promises: no connection, what is held is served,
// the rest says why not.
func TestOffline(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{})
	s.Tree().Generate("d/whole", 500_000, 1, epoch)
	s.Tree().Generate("d/half", 500_000, 2, epoch)
	m := mount(t, s, func(s *settings) { s.ListAhead = 0 })
	m.exact("d/whole", s.Tree().Content("d/whole"))
	if _, err := m.list("d"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file is whole", func() bool {
		f := m.cache.Content().Files()
		return len(f) == 1 && f[0].Whole
	})
	m.close()
	m.set.pool.Offline, m.set.Fresh = true, 0
	m.dials.take()
	m.open()
	m.exact("d/whole", s.Tree().Content("d/whole"))
	if d, err := m.list("d"); err != nil || d.Len() != 2 || !d.Stale() {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := m.file("d/half"); !errors.Is(err, ftppool.ErrOffline) {
		t.Errorf("read of what is not held: %v", err)
	}
	if _, err := m.list("e"); !errors.Is(err, ftppool.ErrOffline) {
		t.Errorf("list what is not held: %v", err)
	}
	if n := len(m.dials.take()); n > 0 {
		t.Errorf("%d connections", n)
	}
}
