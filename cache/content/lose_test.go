package content

import (
	"errors"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorfs/mirrorfs/cache/internal/record"
	"golang.org/x/sys/unix"
)

// recorded returns what the record of f says.
func recorded(t testing.TB, f *file) *meta {
	t.Helper()
	payload, err := record.Read(f.store.file(f.base(), metaExt), metaKind)
	if err != nil {
		t.Fatal(err)
	}
	m, err := decodeMeta(payload)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// swapData puts another descriptor in the place of a .dat's, until the returned
// function is called.
func swapData(f *file, other *os.File) (back func()) {
	f.mu.Lock()
	data := f.data
	f.data = other
	f.mu.Unlock()
	return func() {
		f.mu.Lock()
		f.data = data
		f.mu.Unlock()
	}
}

// A disk that can't write down what a file holds costs that, and not the file:
// whoever has it open reads all of it, from the server.
func TestSyncFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(2)
		f := r.add("f", 100*mib)
		s := openStore(t, options(t), r)
		h := openFile(t, s, "f", f.version())
		check(t, h, f, 10*mib, 2*mib)
		eventually(t, "the transfer is over", func() bool { return len(s.Stats().Transfers) == 0 })
		if err := s.flush(); err != nil {
			t.Fatal(err)
		}
		pr, pw, err := os.Pipe() // can't be synced
		if err != nil {
			t.Fatal(err)
		}
		defer pr.Close()
		defer pw.Close()
		back := swapData(h.file, pw)
		h.file.seal(nil)
		back()
		if st := s.State("f", f.version()); st.Held != 0 || len(recorded(t, h.file).Held) != 0 {
			t.Errorf("%d bytes are trusted, in the record %v", st.Held, recorded(t, h.file).Held)
		}
		if err := s.Stats().Refusal; !errors.Is(err, unix.EINVAL) {
			t.Errorf("the disk is said to refuse with %v", err)
		}
		check(t, h, f, 10*mib, mib)
		check(t, h, f, 50*mib, mib)
		if h2 := openFile(t, s, "f", f.version()); h2.Generation() != h.Generation() {
			t.Error("the file left the index")
		}
		time.Sleep(diskRetry + time.Second)
		check(t, h, f, 10*mib, mib)
		if st := s.State("f", f.version()); st.Held < mib {
			t.Error("nothing is kept any more")
		}
	})
}

// Verify finds a .dat that was cut while a part of the file is held and open.
func TestVerifyOpenFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(2)
		f := r.add("f", 100*mib)
		o := options(t)
		s := openStore(t, o, r)
		h := openFile(t, s, "f", f.version())
		check(t, h, f, 10*mib, mib)
		// A transfer that goes on would notice first.
		eventually(t, "the transfers are over", func() bool { return len(s.Stats().Transfers) == 0 })
		if err := os.Truncate(onDisk(t, o.Dir, datExt), mib); err != nil {
			t.Fatal(err)
		}
		var found error
		if err := s.Verify(t.Context(), func(v Verified) { found = v.Err }); err != nil || !errors.Is(found, errMismatch) {
			t.Errorf("found %v, %v", found, err)
		}
		check(t, h, f, 10*mib, mib)
		check(t, h, f, 50*mib, mib)
	})
}

// What is lost while somebody waits for the bytes that follow it is fetched too,
// though the transfer that he waits for is past it.
func TestLostBeforeAWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(2)
		f := r.add("f", 100*mib)
		gate := make(chan struct{})
		r.hook = stall(10*mib+mib/2, gate)
		s := openStore(t, options(t), r)
		h := openFile(t, s, "f", f.version())
		read := make(chan struct{})
		go func() {
			defer close(read)
			check(t, h, f, 10*mib, mib)
		}()
		time.Sleep(time.Second)
		if held := s.State("f", f.version()).Held; held != mib/2 {
			t.Fatalf("%d bytes are held", held)
		}
		before := r.retrs("f")
		h.file.lose()
		synctest.Wait()
		if got := r.retrs("f"); !slices.Equal(got, append(before, 10*mib)) {
			t.Errorf("transfers from %v, before %v, want another for what was lost", got, before)
		}
		close(gate)
		<-read
	})
}
