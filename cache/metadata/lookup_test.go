package metadata

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

func TestLookupInAHeldListing(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		s := open(t, r, folder)
		d := mustList(t, s, "")
		for range 1000 {
			f, err := s.Lookup(t.Context(), Caller{}, "", "x")
			want, _ := d.Find("x")
			if err != nil || f != (Found{Entry: want, Path: "x", Expires: d.Expires()}) {
				t.Fatalf("got %+v, %v", f, err)
			}
			f, err = s.Lookup(t.Context(), Caller{}, "", "missing")
			if !errors.Is(err, fs.ErrNotExist) || f != (Found{Expires: d.Expires()}) {
				t.Fatalf("got %+v, %v", f, err)
			}
		}
		expect(t, "lists", r.total(r.lists), 1)
		expect(t, "stats", r.total(r.stats), 0)

		// An old one is renewed, as by Directory.
		time.Sleep(time.Hour)
		r.dirs[""] = []listing.Entry{file("missing", 1, noon)}
		if f, err := s.Lookup(t.Context(), Caller{}, "", "missing"); err != nil || f.Stale {
			t.Errorf("got %+v, %v", f, err)
		}
		time.Sleep(time.Hour)
		r.fail["*"] = ftppool.ErrOffline
		if f, err := s.Lookup(t.Context(), Caller{}, "", "missing"); err != nil || !f.Stale {
			t.Errorf("got %+v, %v", f, err)
		}
		if f, err := s.Lookup(t.Context(), Caller{}, "", "x"); !errors.Is(err, fs.ErrNotExist) || !f.Stale {
			t.Errorf("got %+v, %v", f, err)
		}
	})
}

// What can't be a name is absent, and no command is sent for it.
func TestLookupOfWhatIsNoName(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		s := open(t, r, folder)
		for _, name := range []string{"", ".", "..", "a/b", "a\r\nDELE x", "a\n", "\x00", "\xff\xfe"} {
			f, err := s.Lookup(t.Context(), Caller{}, "a", name)
			if !errors.Is(err, fs.ErrNotExist) || !f.Expires.Equal(time.Now().Add(time.Hour)) {
				t.Errorf("%q: %+v, %v", name, f, err)
			}
		}
		synctest.Wait()
		expect(t, "lists", r.total(r.lists), 0)
		expect(t, "stats", r.total(r.stats), 0)
	})
}

func TestLookupIgnoringCase(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		r.ignoreCase = true
		s := open(t, r, folder)
		mustList(t, s, "a")
		f, err := s.Lookup(t.Context(), Caller{}, "a", "ONE")
		if err != nil || f.Path != "a/one" || f.Entry.Name != "one" {
			t.Errorf("got %+v, %v", f, err)
		}
		s.Close()
		s = open(t, r, folder)
		if f, err := s.Lookup(t.Context(), Caller{}, "a", "One"); err != nil || f.Path != "a/one" {
			t.Errorf("after a remount: %+v, %v", f, err)
		}
		expect(t, "lists", r.lists["a"], 1)
	})
}

// A known path is reached with one question a level, and the listings come
// behind, where they keep nobody waiting.
func TestLookupAhead(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const rtt = 100 * time.Millisecond
		r := newServer(tree())
		r.idle = 3
		r.before = func(_ context.Context, op, _ string, _ ftppool.Want) error {
			if op == "stat" {
				time.Sleep(rtt)
			} else {
				time.Sleep(50 * rtt)
			}
			return nil
		}
		s := open(t, r, folder)
		begun := time.Now()
		for _, l := range []struct{ dir, name string }{{"", "a"}, {"a", "sub"}, {"a/sub", "deep"}} {
			f, err := s.Lookup(t.Context(), Caller{}, l.dir, l.name)
			if err != nil || f.Path != listing.Join(l.dir, l.name) || f.Entry.Name != l.name {
				t.Fatalf("%s/%s: %+v, %v", l.dir, l.name, f, err)
			}
			expect(t, "expires", f.Expires, time.Now().Round(0).Add(brief))
		}
		expect(t, "took", time.Since(begun), 3*rtt)
		for range 10 {
			if _, err := s.Lookup(t.Context(), Caller{}, "a/sub", "deep"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Lookup(t.Context(), Caller{NoFetch: true}, "a/sub", "deep"); err != nil {
			t.Errorf("a crawler asking for what is known: %v", err)
		}
		expect(t, "took with the same again", time.Since(begun), 3*rtt)
		expect(t, "stats", r.total(r.stats), 3)

		time.Sleep(200 * rtt)
		expect(t, "lists behind", fmt.Sprint(r.listed()), "map[:1 a:1 a/sub:1]")
		expect(t, "their class", r.class("a"), ftppool.ClassIdle)
		if _, err := s.Lookup(t.Context(), Caller{}, "a/sub", "none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
		expect(t, "lists", r.total(r.lists), 3)
		expect(t, "stats", r.total(r.stats), 3)
		synctest.Wait()
		expect(t, "answers kept", s.answers, 0)
	})
}

// The listing behind a look-up leaves the session to whoever looked up, for the
// next level or the read, but is not put off for ever.
func TestListingBehindLeavesTheSession(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(wide(40, 1))
		r.idle = 3
		s := open(t, r, folder)
		look := func(dir, name string) {
			t.Helper()
			if _, err := s.Lookup(t.Context(), Caller{}, dir, name); err != nil {
				t.Fatal(err)
			}
		}
		look("", "d000")
		for range 3 {
			time.Sleep(grace * 3 / 4)
			look("d000", "f000")
		}
		time.Sleep(grace * 3 / 4)
		expect(t, "lists", r.total(r.lists), 0)
		time.Sleep(grace/4 + poll + takeoff)
		expect(t, "lists", r.total(r.lists), 2)

		for i := range 39 {
			look(fmt.Sprintf("d%03d", i+1), "f000")
			time.Sleep(maxGrace / 25)
		}
		if n := r.total(r.lists); n <= 2 {
			t.Errorf("%d lists while somebody looked up all the time", n)
		}
	})
}

// Nor does it take a session while others wait for the answer about a name.
func TestListingBehindWaitsForLookups(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(wide(2, 1))
		r.idle = 3
		r.before = func(_ context.Context, op, path string, _ ftppool.Want) error {
			if op == "stat" && path == "d001/f000" {
				time.Sleep(3 * grace)
			}
			return nil
		}
		s := open(t, r, folder)
		var wg sync.WaitGroup
		for _, dir := range []string{"d000", "d001"} {
			wg.Go(func() {
				if _, err := s.Lookup(t.Context(), Caller{}, dir, "f000"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		expect(t, "lists", r.total(r.lists), 0)
		time.Sleep(grace + poll + takeoff)
		expect(t, "lists", r.total(r.lists), 2)
	})
}

// Several names of one directory are worth its listing.
func TestSecondLookupWaitsForTheListing(t *testing.T) {
	for _, connections := range []int{1, 4} {
		t.Run(fmt.Sprint(connections), func(t *testing.T) {
			folder := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				r := newServer(wide(1, 20)) // no idle session: nothing starts behind
				r.before = func(context.Context, string, string, ftppool.Want) error { time.Sleep(time.Second); return nil }
				s := open(t, r, folder, func(o *Options) { o.Connections = connections })
				var wg sync.WaitGroup
				for i := range 20 {
					wg.Go(func() {
						time.Sleep(time.Duration(i/4) * time.Millisecond)
						name := fmt.Sprintf("f%03d", i/2)
						f, err := s.Lookup(t.Context(), Caller{}, "d000", name)
						if err != nil || f.Entry.Size != int64(i/2) {
							t.Errorf("%s: %+v, %v", name, f, err)
						}
					})
				}
				wg.Wait()
				expect(t, "lists", r.total(r.lists), 1)
				expect(t, "stats", r.total(r.stats), 1)
				expect(t, "class", r.class("d000"), ftppool.ClassLookup)
				expect(t, "requests to be ready for", r.expected, 18) // two asked about f000 alone
			})
		})
	}
}

// Names that are asked for at once are each asked about, where such questions
// travel together; those who come later, or are too many, wait for the listing.
func TestLookupsAtOnce(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(wide(1, 40))
		r.together = true
		r.before = func(context.Context, string, string, ftppool.Want) error { time.Sleep(time.Second); return nil }
		s := open(t, r, folder)
		var wg sync.WaitGroup
		look := func(from, to int) {
			for i := from; i < to; i++ {
				wg.Go(func() {
					f, err := s.Lookup(t.Context(), Caller{}, "d000", fmt.Sprintf("f%03d", i))
					if err != nil || f.Entry.Size != int64(i) {
						t.Errorf("f%03d: %+v, %v", i, f, err)
					}
				})
			}
			synctest.Wait()
		}
		begun := time.Now()
		look(0, maxTogether)
		expect(t, "lists", r.total(r.lists), 0)
		expect(t, "stats", r.total(r.stats), maxTogether)
		wg.Wait()
		expect(t, "took", time.Since(begun), time.Second)
		look(maxTogether, maxTogether+4)
		wg.Wait()
		expect(t, "lists after the answers", r.total(r.lists), 1)
		expect(t, "stats after the answers", r.total(r.stats), maxTogether)
		s.Close()

		s = open(t, newServer(wide(1, 40)), t.TempDir())
		r = s.remote.(*server)
		r.together = true
		r.before = func(context.Context, string, string, ftppool.Want) error { time.Sleep(time.Second); return nil }
		look(0, maxTogether+8)
		wg.Wait()
		expect(t, "lists with too many", r.total(r.lists), 1)
		expect(t, "stats with too many", r.total(r.stats), maxTogether)
	})
}

// With one session no listing starts behind a look-up; a later look-up starts it.
func TestOneSession(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		r.idle = 1
		s := open(t, r, folder, func(o *Options) { o.Connections = 1 })
		for range 3 {
			if _, err := s.Lookup(t.Context(), Caller{}, "", "x"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		expect(t, "lists", r.total(r.lists), 0)
		expect(t, "stats", r.total(r.stats), 1)
		if _, err := s.Lookup(t.Context(), Caller{}, "", "y"); err != nil {
			t.Fatal(err)
		}
		expect(t, "lists", r.total(r.lists), 1)
		expect(t, "stats", r.total(r.stats), 1)
	})
}

// Only a listing says that a name is absent.
func TestAbsentComesFromTheListing(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		s := open(t, r, folder)
		f, err := s.Lookup(t.Context(), Caller{}, "a", "none")
		if !errors.Is(err, fs.ErrNotExist) || !f.Expires.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("got %+v, %v", f, err)
		}
		expect(t, "lists", r.lists["a"], 1)

		// The question found nothing, but the listing has it: a name that the
		// server spells otherwise.
		r.dirs["b"] = []listing.Entry{{Name: "é", Raw: "\xe9", Size: 1, MTime: listing.Anytime(), Type: listing.File}}
		if f, err := s.Lookup(t.Context(), Caller{}, "b", "é"); err != nil || f.Path != "b/\xe9" {
			t.Errorf("got %+v, %v", f, err)
		}

		// The question found nothing, and the listing fails.
		r.fail["a/sub"] = fs.ErrPermission
		if _, err := s.Lookup(t.Context(), Caller{}, "a/sub", "none"); !errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}

// A name that is not in a listing may be in a line of it that can't be read.
func TestLookupInAListingWithUnreadLines(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		r.unread = map[string][]listing.Entry{"": {file("odd", 9, noon)}}
		s := open(t, r, folder)
		expect(t, "unparsed", mustList(t, s, "").Unparsed(), 1)
		for range 3 {
			if f, err := s.Lookup(t.Context(), Caller{}, "", "x"); err != nil || f.Path != "x" {
				t.Errorf("a listed name: %+v, %v", f, err)
			}
			if f, err := s.Lookup(t.Context(), Caller{}, "", "odd"); err != nil || f.Path != "odd" || f.Entry.Size != 9 {
				t.Errorf("an unread one: %+v, %v", f, err)
			}
			if f, err := s.Lookup(t.Context(), Caller{}, "", "none"); !errors.Is(err, fs.ErrNotExist) || f.Expires.IsZero() {
				t.Errorf("an absent one: %+v, %v", f, err)
			}
		}
		expect(t, "stats", fmt.Sprint(r.stats), "map[none:1 odd:1]")
		expect(t, "lists", r.total(r.lists), 1)
		r.fail["*"] = ftppool.ErrTooMany
		if _, err := s.Lookup(t.Context(), Caller{}, "", "other"); !errors.Is(err, ftppool.ErrTooMany) {
			t.Errorf("one that can't be asked about: %v", err)
		}
	})
}

// The listing has unread lines and is old, and the server is down: what was
// found in one of them is still found, and what was not asked about is a failure,
// not absent.
func TestLookupInAStaleListingWithUnreadLines(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		r.unread = map[string][]listing.Entry{"": {file("odd", 9, noon), file("even", 8, noon)}}
		s := open(t, r, folder)
		mustList(t, s, "")
		look := func(c Caller, name string) (Found, error) { return s.Lookup(t.Context(), c, "", name) }
		if _, err := look(Caller{}, "odd"); err != nil {
			t.Fatal(err)
		}
		if _, err := look(Caller{}, "none"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if f, err := look(Caller{NoFetch: true}, "even"); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("an unread one, for a crawler: %+v, %v", f, err)
		}
		time.Sleep(2 * time.Hour)
		r.set(func() { r.fail["*"] = ftppool.ErrTooMany })
		stats := r.total(r.stats)
		for _, c := range []Caller{{}, {NoFetch: true}} {
			for range 2 {
				if f, err := look(c, "x"); err != nil || !f.Stale {
					t.Errorf("%v: a listed name: %+v, %v", c, f, err)
				}
				if f, err := look(c, "odd"); err != nil || f.Path != "odd" || f.Entry.Size != 9 || !f.Stale {
					t.Errorf("%v: an unread one that was found: %+v, %v", c, f, err)
				}
				if f, err := look(c, "none"); !errors.Is(err, fs.ErrNotExist) || !f.Stale {
					t.Errorf("%v: an absent one: %+v, %v", c, f, err)
				}
				want := ftppool.ErrTooMany
				if c.NoFetch {
					want = fs.ErrPermission
				}
				if f, err := look(c, "even"); !errors.Is(err, want) || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%v: an unread one that was not: %+v, %v", c, f, err)
				}
			}
		}
		expect(t, "stats in the outage", r.total(r.stats)-stats, 0)
		// It is only the directory that can't be listed: the name can be asked about.
		time.Sleep(time.Hour)
		r.set(func() {
			delete(r.fail, "*")
			r.fail[""] = fs.ErrPermission
		})
		if f, err := look(Caller{}, "even"); err != nil || f.Entry.Size != 8 || !f.Stale {
			t.Errorf("where the listing alone fails: %+v, %v", f, err)
		}
	})
}

// In a directory that can't be listed, each name is asked about.
func TestLookupWhereListingFails(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		r.fail[""] = fs.ErrPermission
		s := open(t, r, folder)
		if _, err := s.Directory(t.Context(), Caller{}, ""); !errors.Is(err, fs.ErrPermission) {
			t.Fatalf("got %v", err)
		}
		for _, name := range []string{"x", "y", "a", "x"} {
			if f, err := s.Lookup(t.Context(), Caller{}, "", name); err != nil || f.Path != name {
				t.Errorf("%s: %+v, %v", name, f, err)
			}
		}
		expect(t, "stats", r.total(r.stats), 3)
		if _, err := s.Lookup(t.Context(), Caller{}, "", "z"); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("got %v", err)
		}
		expect(t, "lists", r.total(r.lists), 1)
	})
}

// A caller that leaves does not end the question others wait for, and finds the
// answer when it comes again.
func TestLookupCallerLeaves(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		r.before = func(ctx context.Context, _, _ string, _ ftppool.Want) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s := open(t, r, folder)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := s.Lookup(ctx, Caller{}, "a", "one"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		time.Sleep(time.Second)
		if _, err := s.Lookup(t.Context(), Caller{}, "a", "one"); err != nil {
			t.Fatal(err)
		}
		expect(t, "stats", r.total(r.stats), 1)
	})
}

// What one name's question told exactly refines the listing that follows.
func TestAnswerRefinesTheListing(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(tree())
		s := open(t, r, folder)
		if _, err := s.Lookup(t.Context(), Caller{}, "a", "one"); err != nil {
			t.Fatal(err)
		}
		s.Learn("a/one", listing.Entry{Size: 10, MTime: listing.Exactly(noon), Type: listing.File})
		r.dirs["a"][0].MTime = minute(noon)
		e, _ := mustList(t, s, "a").Find("one")
		expect(t, "entry", e, file("one", 10, noon))
	})
}

// The answers about single names are bounded.
func TestAnswersAreBounded(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(wide(3*maxAnswers, 1))
		s := open(t, r, folder)
		for name := range r.dirs {
			if name == "" {
				continue
			}
			if _, err := s.Lookup(t.Context(), Caller{}, name, "f000"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if s.answers > maxAnswers || len(s.looks) > maxAnswers {
				t.Fatalf("%d answers in %d directories", s.answers, len(s.looks))
			}
		}
	})
}
