package metadata

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

func TestManyCallersOneList(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		release := make(chan struct{})
		r.before = func(context.Context, string, string, ftppool.Want) error { <-release; return nil }
		s := open(t, r, folder)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				d, err := s.Directory(t.Context(), Caller{}, "a")
				if err != nil || names(d) != "one sub" {
					t.Errorf("got %v, %v", d, err)
				}
			})
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		mustList(t, s, "a")
		expect(t, "lists", r.lists["a"], 1)
	})
}

// A caller that gives up neither ends the listing for others nor its own next
// try's: it is there by then.
func TestCallerLeaves(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		release := make(chan struct{})
		r.before = func(ctx context.Context, _, _ string, _ ftppool.Want) error {
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s := open(t, r, folder)
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { _, err := s.Directory(ctx, Caller{}, "a"); left <- err }()
		synctest.Wait()
		stays := make(chan error)
		go func() { _, err := s.Directory(t.Context(), Caller{}, "a"); stays <- err }()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller that left got %v", err)
		}
		close(release)
		if err := <-stays; err != nil {
			t.Errorf("the caller that stayed got %v", err)
		}
		expect(t, "lists", r.lists["a"], 1)
		expect(t, "last error", s.LastError("a"), nil)
	})
}

func TestFreshness(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		s := open(t, r, folder)
		first := mustList(t, s, "")
		expect(t, "expires", first.Expires(), time.Now().Add(time.Hour).Round(0))
		time.Sleep(time.Hour - 1)
		if d := mustList(t, s, ""); d != first {
			t.Error("a fresh listing was replaced")
		}
		expect(t, "lists", r.lists[""], 1)

		time.Sleep(time.Nanosecond)
		second := mustList(t, s, "")
		expect(t, "lists after an hour", r.lists[""], 2)
		expect(t, "ID of the same content", second.ID(), first.ID())
		expect(t, "fetched", second.Fetched(), time.Now().Round(0))

		r.dirs[""] = []listing.Entry{dir("a"), file("x", 1, noon)}
		time.Sleep(time.Hour)
		third := mustList(t, s, "")
		expect(t, "names", names(third), "a x")
		if third.ID() == second.ID() {
			t.Error("another content has the same ID")
		}
		expect(t, "names of the old listing", names(second), "a b x y")
	})
}

func TestStaleIfError(t *testing.T) {
	for _, failure := range []error{
		syscall.ECONNREFUSED, ftppool.ErrOffline, ftppool.ErrLogin, ftppool.ErrProtocol,
		fs.ErrPermission, context.DeadlineExceeded,
	} {
		t.Run(failure.Error(), func(t *testing.T) {
			folder := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				r := newServer(tree())
				s := open(t, r, folder)
				fresh := mustList(t, s, "a")
				time.Sleep(2 * time.Hour)
				r.fail["*"] = failure
				d := mustList(t, s, "a")
				if !d.Stale() || fresh.Stale() {
					t.Error("a listing that could not be renewed is not marked stale")
				}
				expect(t, "names", names(d), names(fresh))
				expect(t, "fetched", d.Fetched(), fresh.Fetched())
				expect(t, "next try", d.Expires(), time.Now().Round(0).Add(shortest))
				var why *Failure
				if err := s.LastError("a"); !errors.Is(err, failure) || !errors.As(err, &why) || !why.At.Equal(time.Now()) {
					t.Errorf("LastError: %v", err)
				}
				mustList(t, s, "a")
				expect(t, "lists while the failure stands", r.lists["a"], 2)
				time.Sleep(shortest)
				mustList(t, s, "a")
				expect(t, "lists after it", r.lists["a"], 3)

				delete(r.fail, "*")
				time.Sleep(shortest)
				if d := mustList(t, s, "a"); d.Stale() {
					t.Error("still stale")
				}
				expect(t, "last error", s.LastError("a"), nil)
			})
		})
	}
}

func TestNothingHeldIsTheError(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		r.fail["*"] = syscall.ECONNREFUSED
		s := open(t, r, folder)
		for range 3 {
			d, err := s.Directory(t.Context(), Caller{}, "a")
			if d != nil || !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("got %v, %v", d, err)
			}
			_, err = s.Lookup(t.Context(), Caller{}, "a", "one")
			if !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("got %v", err)
			}
		}
		expect(t, "lists", r.lists["a"], 1)
	})
}

// silent is a server that accepts everything and answers nothing.
func silent(ctx context.Context, _, _ string, _ ftppool.Want) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestSilentServer(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		s := open(t, r, folder)
		mustList(t, s, "a")
		mustList(t, s, "b")
		time.Sleep(2 * time.Hour)
		r.before = silent

		begun := time.Now()
		took := func(what string, least, most time.Duration) {
			t.Helper()
			if d := time.Since(begun); d < least || d > most {
				t.Errorf("%s took %v, want %v to %v", what, d, least, most)
			}
			begun = time.Now()
		}
		if d := mustList(t, s, "a"); !d.Stale() {
			t.Error("not stale")
		}
		took("the first answer", timeout, timeout+time.Second)
		mustList(t, s, "a")
		took("the same again", 0, 0)
		mustList(t, s, "b")
		took("another that is held", 0, 0)
		if _, err := s.Directory(t.Context(), Caller{}, "a/sub"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a directory that is not held: %v", err)
		}
		took("a directory that is not held", timeout, timeout+time.Second)
		if _, err := s.Lookup(t.Context(), Caller{}, "c", "n"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a look-up: %v", err)
		}
		took("a look-up", timeout, timeout+time.Second)
	})
}

// One answer ends an outage, for every directory.
func TestOutageEnds(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		s := open(t, r, folder)
		mustList(t, s, "a")
		time.Sleep(2 * time.Hour)
		r.set(func() { r.before = silent })
		if _, err := s.Directory(t.Context(), Caller{}, "b"); err == nil {
			t.Fatal("no error")
		}
		r.set(func() { r.before = nil })
		if d := mustList(t, s, "a"); !d.Stale() {
			t.Error("not stale in an outage")
		}
		mustList(t, s, "") // not held, so it is asked for
		if d := mustList(t, s, "a"); d.Stale() {
			t.Error("stale although the server answers")
		}
	})
}

// A listing that takes longer than a call may is there for the next one.
func TestSlowListing(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		r.before = func(context.Context, string, string, ftppool.Want) error { time.Sleep(3 * timeout); return nil }
		s := open(t, r, folder)
		if _, err := s.Directory(t.Context(), Caller{}, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		time.Sleep(3 * timeout)
		expect(t, "names", names(mustList(t, s, "a")), "one sub")
		expect(t, "lists", r.lists["a"], 1)
		expect(t, "last error", s.LastError("a"), nil)
	})
}

func TestGone(t *testing.T) {
	for _, failure := range []error{fs.ErrNotExist, ftppool.ErrNotDir} {
		t.Run(failure.Error(), func(t *testing.T) {
			folder := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				r := newServer(tree())
				s := open(t, r, folder)
				mustList(t, s, "")
				time.Sleep(30 * time.Minute)
				mustList(t, s, "a")
				time.Sleep(40 * time.Minute)
				mustList(t, s, "")
				time.Sleep(40 * time.Minute) // a is old, its parent is not
				r.set(func() {
					r.fail["a"] = failure
					r.dirs[""] = []listing.Entry{file("a", 7, noon), dir("b")}
				})
				if _, err := s.Directory(t.Context(), Caller{}, "a"); !errors.Is(err, failure) {
					t.Fatalf("got %v, want %v", err, failure)
				}
				if s.Held("a") != nil {
					t.Error("the listing of what is gone is still held")
				}
				f, err := s.Lookup(t.Context(), Caller{}, "", "a")
				if err != nil || f.Entry.Type != listing.File {
					t.Errorf("its parent was not asked again: %v, %v", f, err)
				}
				expect(t, "lists of the parent", r.lists[""], 3)
				s.Close()
				s = open(t, r, folder)
				if s.Held("a") != nil {
					t.Error("the listing of what is gone is still on disk")
				}
			})
		})
	}
}

func TestRootIsNeverGone(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		s := open(t, r, folder)
		mustList(t, s, "")
		time.Sleep(2 * time.Hour)
		r.fail[""] = fs.ErrNotExist
		if d := mustList(t, s, ""); !d.Stale() || d.Len() != 4 {
			t.Errorf("got %v", d)
		}
	})
}

func TestNoFetch(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		s := open(t, r, folder)
		mustList(t, s, "")
		time.Sleep(2 * time.Hour)
		crawler := Caller{NoFetch: true}
		d, err := s.Directory(t.Context(), crawler, "")
		if err != nil || !d.Stale() {
			t.Errorf("what is held: %v, %v", d, err)
		}
		if f, err := s.Lookup(t.Context(), crawler, "", "x"); err != nil || f.Path != "x" || !f.Stale {
			t.Errorf("a name that is held: %v, %v", f, err)
		}
		if _, err := s.Lookup(t.Context(), crawler, "", "none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a name that is absent: %v", err)
		}
		for _, dir := range []string{"a", "b", "a/sub"} {
			if _, err := s.Directory(t.Context(), crawler, dir); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("what is not held: %v", err)
			}
			if _, err := s.Lookup(t.Context(), crawler, dir, "x"); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("a name that is not held: %v", err)
			}
		}
		if _, _, err := s.Refresh(t.Context(), crawler, ""); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("refresh: %v", err)
		}
		synctest.Wait()
		expect(t, "lists", r.total(r.lists), 1)
		expect(t, "stats", r.total(r.stats), 0)
	})
}

func TestMarkStale(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		s := open(t, r, folder)
		mustList(t, s, "a")
		s.MarkStale()
		if d := s.Held("a"); d == nil || !d.Stale() {
			t.Error("what is held is not stale")
		}
		time.Sleep(time.Millisecond)
		mustList(t, s, "a")
		mustList(t, s, "a")
		expect(t, "lists", r.lists["a"], 2)

		// A listing under way may have seen what was before.
		r.before = func(context.Context, string, string, ftppool.Want) error { time.Sleep(time.Second); return nil }
		done := make(chan struct{})
		go func() { s.Directory(t.Context(), Caller{}, "b"); close(done) }()
		synctest.Wait()
		s.MarkStale()
		<-done
		mustList(t, s, "b")
		expect(t, "lists of b", r.lists["b"], 2)
	})
}

func TestRefresh(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		s := open(t, r, folder)
		before, after, err := s.Refresh(t.Context(), Caller{}, "a")
		if before != nil || err != nil || names(after) != "one sub" {
			t.Fatalf("got %v, %v, %v", before, after, err)
		}
		// One that is under way, here in the background, is not good enough.
		r.before = func(context.Context, string, string, ftppool.Want) error { time.Sleep(time.Second); return nil }
		s.background("a", nil)
		synctest.Wait()
		r.set(func() { r.dirs["a"] = []listing.Entry{file("new", 1, noon)} })
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				before, after, err := s.Refresh(t.Context(), Caller{}, "a")
				if err != nil || names(before) != "one sub" || names(after) != "new" {
					t.Errorf("got %v, %v, %v", before, after, err)
				}
			})
		}
		wg.Wait()
		expect(t, "lists", r.lists["a"], 3)

		r.fail["a"] = syscall.ECONNRESET
		before, after, err = s.Refresh(t.Context(), Caller{}, "a")
		if before == nil || after != nil || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v, %v, %v", before, after, err)
		}
	})
}

func TestClose(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		r.before = silent
		s := open(t, r, folder)
		errs := make(chan error)
		go func() { _, err := s.Directory(t.Context(), Caller{}, "a"); errs <- err }()
		go func() { _, err := s.Lookup(t.Context(), Caller{}, "b", "two"); errs <- err }()
		go func() { _, err := s.Settle(t.Context(), Caller{}, "c/d"); errs <- err }()
		synctest.Wait()
		s.Close()
		for range 3 {
			if err := <-errs; !errors.Is(err, ErrClosed) {
				t.Errorf("got %v", err)
			}
		}
		for range 2 { // also afterwards, and twice
			if _, err := s.Directory(t.Context(), Caller{}, "a"); !errors.Is(err, ErrClosed) {
				t.Errorf("got %v", err)
			}
			if _, err := s.Lookup(t.Context(), Caller{}, "a", "n"); !errors.Is(err, ErrClosed) {
				t.Errorf("got %v", err)
			}
			if _, err := s.Settle(t.Context(), Caller{}, "a/n"); !errors.Is(err, ErrClosed) {
				t.Errorf("got %v", err)
			}
			s.Learn("a/n", listing.Entry{})
			s.Held("a")
			s.Stats()
			s.Close()
		}
	})
}

// A listing in the background that a caller came to wait for does not wait for
// its session behind everybody else.
func TestBackgroundIsPromoted(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		r.before = func(ctx context.Context, op, path string, w ftppool.Want) error {
			if w.Class == ftppool.ClassIdle {
				return silent(ctx, op, path, w)
			}
			return nil
		}
		s := open(t, r, folder)
		s.background("a", nil)
		synctest.Wait()
		begun := time.Now()
		expect(t, "names", names(mustList(t, s, "a")), "one sub")
		expect(t, "took", time.Since(begun), timeout/3)
		expect(t, "lists", r.lists["a"], 2)
	})
}

func TestPreemptedBackground(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		cut := make(chan struct{})
		r.before = func(ctx context.Context, op, path string, w ftppool.Want) error {
			if w.Class == ftppool.ClassIdle {
				<-cut
				return ftppool.ErrPreempted
			}
			return nil
		}
		s := open(t, r, folder)
		s.background("a", nil)
		s.background("b", nil)
		got := make(chan error)
		go func() { _, err := s.Directory(t.Context(), Caller{}, "a"); got <- err }()
		synctest.Wait()
		close(cut)
		if err := <-got; err != nil {
			t.Errorf("the caller got %v", err)
		}
		synctest.Wait()
		expect(t, "error of the one nobody waited for", s.LastError("b"), nil)
		mustList(t, s, "b")
	})
}
