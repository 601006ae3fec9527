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

// unsized is a server whose listing does not tell sizes, but SIZE does.
func unsized() *server {
	r := newServer(tree())
	r.before = func(_ context.Context, op, _ string, _ ftppool.Want) error {
		time.Sleep(time.Millisecond)
		r.set(func() {
			r.dirs["a"][0].Size = map[string]int64{"list": listing.SizeUnknown, "stat": 10}[op]
		})
		return nil
	}
	return r
}

func TestSettle(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := unsized()
		s := open(t, r, folder)
		d := mustList(t, s, "a")
		e, _ := d.Find("one")
		expect(t, "listed size", e.Size, listing.SizeUnknown)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				e, err := s.Settle(t.Context(), Caller{}, "a/one")
				if err != nil || e != file("one", 10, noon) {
					t.Errorf("got %+v, %v", e, err)
				}
			})
		}
		wg.Wait()
		if _, err := s.Settle(t.Context(), Caller{}, "a/one"); err != nil {
			t.Error(err)
		}
		expect(t, "stats", r.stats["a/one"], 1)
		f, err := s.Lookup(t.Context(), Caller{}, "a", "one")
		if err != nil || f.Entry.Size != 10 {
			t.Errorf("the listing does not know: %+v, %v", f, err)
		}
		if after := mustList(t, s, "a"); after.ID() == d.ID() {
			t.Error("the ID is that of the listing without the size")
		}
		if e, err := s.Settle(t.Context(), Caller{}, "a/sub"); err != nil || e.Type != listing.Dir {
			t.Errorf("a directory: %+v, %v", e, err)
		}
		// The next listing, again without sizes, does not lose it.
		time.Sleep(time.Hour)
		e, _ = mustList(t, s, "a").Find("one")
		expect(t, "size after another listing", e.Size, 10)
		expect(t, "stats", r.total(r.stats), 1)
	})
}

func TestSettleFails(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := unsized()
		s := open(t, r, folder)
		mustList(t, s, "a")
		if _, err := s.Settle(t.Context(), Caller{NoFetch: true}, "a/one"); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("a crawler: %v", err)
		}
		r.fail["*"] = syscall.ECONNREFUSED
		for range 3 {
			if _, err := s.Settle(t.Context(), Caller{}, "a/one"); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("got %v", err)
			}
		}
		expect(t, "stats", r.total(r.stats), 1)
		if err := s.LastError("a/one"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("LastError: %v", err)
		}
		delete(r.fail, "*")
		time.Sleep(shortest)

		// A file that is gone has its directory asked for again.
		r.fail["a/one"] = fs.ErrNotExist
		r.set(func() { r.dirs["a"] = []listing.Entry{dir("sub"), dir("sub2")} })
		r.before = nil
		if _, err := s.Settle(t.Context(), Caller{}, "a/one"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
		expect(t, "names", names(mustList(t, s, "a")), "sub sub2")

		r.before = silent
		begun := time.Now()
		if _, err := s.Settle(t.Context(), Caller{}, "a/three"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(begun); d > timeout+time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// A server that does not tell a size does not make it zero.
func TestSettleUnsupported(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		r.dirs["a"][0].Size = listing.SizeUnknown
		s := open(t, r, folder)
		mustList(t, s, "a")
		e, err := s.Settle(t.Context(), Caller{}, "a/one")
		if !errors.Is(err, ftppool.ErrUnsupported) || e.Size != listing.SizeUnknown {
			t.Errorf("got %+v, %v", e, err)
		}
	})
}

func TestLearn(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		r.dirs["a"][0].MTime = minute(noon)
		s := open(t, r, folder)
		before := mustList(t, s, "a")

		s.Learn("a/one", file("", 10, noon))
		refined := mustList(t, s, "a")
		expect(t, "ID after the exact time", refined.ID(), before.ID())
		e, _ := refined.Find("one")
		expect(t, "what is shown of an unchanged file", e.MTime, minute(noon))

		s.Learn("a/one", file("", 11, noon.Add(time.Hour)))
		changed := mustList(t, s, "a")
		if changed.ID() == before.ID() {
			t.Error("another file, and the same ID")
		}
		e, _ = changed.Find("one")
		expect(t, "entry", e, file("one", 11, noon.Add(time.Hour)))
		expect(t, "fetched", changed.Fetched(), before.Fetched())

		for _, path := range []string{"a/none", "c/x", "none"} { // nothing to correct
			s.Learn(path, file("", 1, noon))
		}
		expect(t, "unchanged", mustList(t, s, "a"), changed)
		expect(t, "lists", r.total(r.lists), 1)
	})
}

// A file that is gone has its directory asked for again.
func TestLearnGone(t *testing.T) {
	gone := listing.Entry{Size: listing.SizeUnknown, MTime: listing.Anytime()}
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		s := open(t, r, folder)
		mustList(t, s, "a")
		r.set(func() { r.dirs["a"] = []listing.Entry{dir("sub")} })
		s.Learn("a/one", gone)
		if _, err := s.Lookup(t.Context(), Caller{}, "a", "one"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
		expect(t, "lists", r.lists["a"], 2)

		// Also where only the one name is known.
		if _, err := s.Lookup(t.Context(), Caller{}, "b", "two"); err != nil {
			t.Fatal(err)
		}
		r.set(func() { r.dirs["b"] = nil })
		s.Learn("b/two", gone)
		if _, err := s.Lookup(t.Context(), Caller{}, "b", "two"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}

// Of what many learn at once, nothing is lost.
func TestLearnConcurrently(t *testing.T) {
	const n = 1000
	r := newServer(wide(1, n))
	s := open(t, r, t.TempDir(), func(o *Options) { o.MaxMemory = 1 })
	mustList(t, s, "d000")
	var wg sync.WaitGroup
	for i, e := range r.dirs["d000"] {
		wg.Go(func() {
			s.Learn("d000/"+e.Raw, file("", int64(n+i), noon))
			if i%100 == 0 {
				s.Held("")
				s.doubt("d000")
			}
		})
	}
	wg.Wait()
	for i, e := range s.Held("d000").Entries() {
		expect(t, e.Name, e.Size, int64(n+i))
	}
}
