package metadata

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// forest is a tree of directories d0... with n children on each level.
func forest(n, levels int) map[string][]listing.Entry {
	dirs := make(map[string][]listing.Entry)
	var grow func(dir string, levels int)
	grow = func(path string, levels int) {
		dirs[path] = []listing.Entry{file("f", 1, noon)}
		if levels == 0 {
			return
		}
		for i := range n {
			name := fmt.Sprintf("d%05d", i)
			dirs[path] = append(dirs[path], dir(name))
			grow(listing.Join(path, name), levels-1)
		}
	}
	grow("", levels)
	return dirs
}

// walker lists the tree as find does, and returns how many it listed.
func walker(t testing.TB, s *Store, path string) int {
	n := 1
	for _, e := range mustList(t, s, path).Entries() {
		if e.Type == listing.Dir {
			n += walker(t, s, listing.Join(path, e.Raw))
		}
	}
	return n
}

const aheads = 7

func openAhead(t testing.TB, r *server, folder string, change ...func(*Options)) *Store {
	r.idle = aheads + 1
	return open(t, r, folder, append([]func(*Options){func(o *Options) {
		o.ListAhead, o.Connections, o.MaxMemory = aheads, aheads+1, 16<<20
	}}, change...)...)
}

// slow makes a LIST take as long as at a round trip of 100 ms.
const listTime = 400 * time.Millisecond

func slow(r *server) {
	r.before = func(ctx context.Context, _, _ string, _ ftppool.Want) error {
		select {
		case <-time.After(listTime):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// `ls -l` of a directory with a thousand children is one LIST, and so is
// listing one of them, over and over.
func TestNoListingAheadOfOneLs(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(forest(1000, 1))
		s := openAhead(t, r, folder)
		for _, e := range mustList(t, s, "").Entries() {
			if _, err := s.Lookup(t.Context(), Caller{}, "", e.Name); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		expect(t, "lists", r.total(r.lists), 1)
		for range 3 {
			mustList(t, s, "d00007")
		}
		time.Sleep(time.Minute)
		expect(t, "lists with one child", r.total(r.lists), 2)
	})
}

func TestSecondChildBeginsListingAhead(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(forest(10, 2))
		slow(r)
		s := openAhead(t, r, folder)
		mustList(t, s, "")
		mustList(t, s, "d00003")
		mustList(t, s, "d00004")
		time.Sleep(time.Minute)
		// The other children, but not theirs: nobody was seen to go there.
		expect(t, "lists", r.total(r.lists), 11)
		for path, n := range r.listed() {
			expect(t, "lists of "+path, n, 1)
		}
		expect(t, "class", r.class("d00009"), ftppool.ClassIdle)
		expect(t, "ahead", s.Stats().Ahead, 8)
	})
}

// Who goes deeper is run ahead of there too.
func TestListingAheadGoesDeeper(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(forest(4, 2))
		slow(r)
		s := openAhead(t, r, folder)
		mustList(t, s, "")
		mustList(t, s, "d00000")
		mustList(t, s, "d00001")
		time.Sleep(time.Minute)
		expect(t, "lists of the first level", r.total(r.lists), 1+4)
		mustList(t, s, "d00002/d00001")
		time.Sleep(time.Minute)
		expect(t, "lists with one of the second", r.total(r.lists), 1+4+1)
		mustList(t, s, "d00002/d00003")
		time.Sleep(time.Minute)
		expect(t, "lists of both levels", r.total(r.lists), 1+4+16)
	})
}

func TestListingAheadOff(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(forest(10, 1))
		s := openAhead(t, r, folder, func(o *Options) { o.ListAhead = 0 })
		mustList(t, s, "")
		mustList(t, s, "d00003")
		mustList(t, s, "d00004")
		time.Sleep(time.Minute)
		expect(t, "lists", r.total(r.lists), 3)
	})
}

// A crawler that gets nothing fetched does not have anything fetched ahead.
func TestNoFetchIsNoWalker(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(forest(10, 1))
		s := openAhead(t, r, folder)
		for _, e := range mustList(t, s, "").Entries() {
			s.Directory(t.Context(), Caller{NoFetch: true}, e.Name)
		}
		time.Sleep(time.Minute)
		expect(t, "lists", r.total(r.lists), 1)
	})
}

// find over 111 directories at a round trip of 100 ms: the sessions are busy
// nearly all the time, each directory is listed once, and a walker that comes
// back gets everything from what is held.
func TestFindMeetsAnswers(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const fresh = 2 * time.Minute // less than walkers are remembered
		r := newServer(forest(10, 2))
		slow(r)
		s := openAhead(t, r, folder, func(o *Options) { o.Fresh = fresh })
		mustList(t, s, "")
		begun := time.Now()
		expect(t, "directories", walker(t, s, ""), 111)
		took := time.Since(begun)
		t.Logf("110 lists of %v each in %v", listTime, took)
		most := 110*listTime/(aheads+1) + 6*listTime
		if took > most {
			t.Errorf("took %v, want at most %v", took, most)
		}
		if n := r.peak(); n > aheads+1 {
			t.Errorf("%d lists at once", n)
		}
		synctest.Wait()
		for path, n := range r.listed() {
			expect(t, "lists of "+path, n, 1)
		}
		begun = time.Now()
		walker(t, s, "")
		expect(t, "took again", time.Since(begun), 0)

		// Once they are old, the walk is run ahead of again.
		time.Sleep(fresh)
		begun = time.Now()
		walker(t, s, "")
		if again := time.Since(begun); again > most+listTime {
			t.Errorf("took %v when old, want at most %v", again, most+listTime)
		}
	})
}

// Listing ahead yields: without an idle session nothing is listed.
func TestListingAheadYields(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(forest(10, 1))
		slow(r)
		s := openAhead(t, r, folder)
		r.set(func() { r.idle = 0 })
		mustList(t, s, "d00003")
		mustList(t, s, "d00004")
		time.Sleep(time.Minute)
		mustList(t, s, "")
		time.Sleep(time.Minute)
		expect(t, "lists", r.total(r.lists), 3)
		mustList(t, s, "d00005")
		r.set(func() { r.idle = 1 })
		time.Sleep(time.Minute)
		expect(t, "lists once a session is idle", r.total(r.lists), 11)
		expect(t, "at once", r.peak(), 1)
	})
}

// A tree of 20 000 directories: few goroutines, few listings at once, and soon
// after the walker stops nothing is listed any more.
func TestListingAheadIsBounded(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(forest(20000, 1))
		slow(r)
		s := openAhead(t, r, folder)
		before := runtime.NumGoroutine()
		mustList(t, s, "")
		mustList(t, s, "d00000")
		mustList(t, s, "d00001")
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > 4*aheads {
			t.Errorf("%d goroutines", n)
		}
		time.Sleep(walkMemory / 2)
		const spent = 2 // credit that may go to what somebody had listed just then
		within(t, "lists after the walker stopped", r.total(r.lists), 3+firstCredit-spent, 3+firstCredit)
		mustList(t, s, "d00002")
		time.Sleep(walkMemory / 2)
		within(t, "lists after another step", r.total(r.lists), 3+firstCredit+visitCredit-spent, 3+firstCredit+visitCredit)
		for i := range 2 + firstCredit + visitCredit - spent {
			expect(t, fmt.Sprintf("lists of d%05d", i), r.listed()[fmt.Sprintf("d%05d", i)], 1)
		}
		for i := range 100 {
			mustList(t, s, fmt.Sprintf("d%05d", 3+i))
		}
		if n := r.peak(); n > aheads+1 {
			t.Errorf("%d lists at once", n)
		}
		time.Sleep(time.Hour)
		within(t, "lists in all", r.total(r.lists), 200, 101+firstCredit+101*visitCredit)
	})
}

func within(t testing.TB, what string, got, least, most int) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s: got %d, want %d to %d", what, got, least, most)
	}
}

// A walker is never slower for what is listed ahead, and joins it.
func TestForegroundJoinsBackground(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(forest(5, 1))
		slow(r)
		s := openAhead(t, r, folder)
		mustList(t, s, "")
		mustList(t, s, "d00000")
		go s.Directory(t.Context(), Caller{}, "d00001")
		time.Sleep(listTime / 4)
		begun := time.Now()
		mustList(t, s, "d00004")
		expect(t, "waited", time.Since(begun), listTime-listTime/4)
		expect(t, "lists", r.lists["d00004"], 1)
	})
}

func TestListingAheadStopsOnErrors(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(forest(1000, 1))
		slow(r)
		s := openAhead(t, r, folder)
		mustList(t, s, "")
		mustList(t, s, "d00000")
		mustList(t, s, "d00001")
		r.set(func() { r.fail["*"] = syscall.ECONNRESET })
		time.Sleep(time.Hour)
		if n := r.total(r.lists); n > 3+2*aheads {
			t.Errorf("%d lists of a server that fails", n)
		}
	})
}

// A directory that can't be listed does not end the walk through the others.
func TestListingAheadSkipsTheUnreadable(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(forest(10, 1))
		slow(r)
		r.fail["d00005"] = syscall.EACCES
		s := openAhead(t, r, folder)
		mustList(t, s, "")
		mustList(t, s, "d00000")
		mustList(t, s, "d00001")
		time.Sleep(time.Minute)
		expect(t, "lists", r.total(r.lists), 11)
		expect(t, "lists of the unreadable one", r.listed()["d00005"], 1)

		time.Sleep(walkMemory) // nor is it tried over and over
		mustList(t, s, "")
		mustList(t, s, "d00000")
		mustList(t, s, "d00001")
		time.Sleep(time.Minute)
		expect(t, "lists of the unreadable one later", r.listed()["d00005"], 1)
	})
}

// What is remembered of walkers is bounded.
func TestWalkersAreBounded(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newServer(nil)
		s := openAhead(t, r, folder)
		for i := range 3 * maxSeen {
			s.ahead.visit(fmt.Sprintf("%d/a", i))
			s.ahead.visit(fmt.Sprintf("%d/b", i))
		}
		for i := range 3 * maxBehind {
			s.ahead.follow(fmt.Sprint(i))
		}
		a := s.ahead
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.seen) > maxSeen || len(a.walks) > maxWalks || len(a.behind) > maxBehind {
			t.Errorf("%d seen, %d walks, %d behind", len(a.seen), len(a.walks), len(a.behind))
		}
	})
}

// The time per directory does not grow with how many were seen before.
func BenchmarkWalk(b *testing.B) {
	r := newServer(forest(b.N, 1))
	s := openAhead(b, r, b.TempDir())
	b.ResetTimer()
	walker(b, s, "")
}
