package content

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A part of a file that can't be had fails its readers when their time is over,
// however well another part comes meanwhile.
func TestOneOfTwoStreamsFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(2)
		f := r.add("f", 100*mib)
		refused := 0
		r.opens = func(_ string, offset int64) error {
			if offset > 50*mib {
				refused++
				return errRefused
			}
			return nil
		}
		r.hook = func(*remoteStream) (int, error) {
			time.Sleep(100 * time.Millisecond) // 50 seconds for 32 MiB
			return 0, nil
		}
		o := options(t)
		s := openStore(t, o, r)
		h := openFile(t, s, "f", f.version())
		var wg sync.WaitGroup
		wg.Go(func() { check(t, h, f, 0, 32*mib) })
		synctest.Wait()
		begun := time.Now()
		_, err := h.ReadAt(t.Context(), make([]byte, 4096), 60*mib)
		var failure *Failure
		if !errors.Is(err, errRefused) || !errors.As(err, &failure) || failure.Attempts < 3 {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begun); took < o.RetryFor || took > o.RetryFor+time.Second {
			t.Errorf("the read failed after %v, want %v", took, o.RetryFor)
		}
		if refused > 20 {
			t.Errorf("%d transfers were tried", refused)
		}
		time.Sleep(time.Second)
		if waiting(s, "f") != 1 {
			t.Error("the other read is over, which says nothing")
		}
		if err := s.LastError("f"); !errors.Is(err, errRefused) {
			t.Errorf("what the read failed with is forgotten: %v", err)
		}
		wg.Wait()
		check(t, h, f, 32*mib, 4096)
		if err := s.LastError("f"); err != nil {
			t.Errorf("an overcome failure is still reported: %v", err)
		}
	})
}

// Of a read that fails, only what could not be had is remembered as failed.
func TestOnlyWhatFailedIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(1)
		r.preempts.Store(false)
		f := r.add("f", 100*mib)
		gate := make(chan struct{})
		r.hook = stall(0, gate)
		s := openStore(t, options(t), r)
		h := openFile(t, s, "f", f.version())
		g := h.file
		read := func(off, n int64) <-chan error {
			done := make(chan error, 1)
			go func() {
				_, err := h.ReadAt(t.Context(), make([]byte, n), off)
				done <- err
			}()
			synctest.Wait()
			return done
		}
		both := read(10*mib, 20*mib)
		g.mu.Lock()
		g.fail(span{20 * mib, 25 * mib}, errReset, time.Now())
		g.mu.Unlock()
		if err := <-both; err != errReset {
			t.Errorf("the read across both parts: %v", err)
		}
		if err := <-read(24*mib, 2*mib); err != errReset {
			t.Errorf("a read of what failed: %v", err)
		}
		before, after := read(15*mib, 5*mib), read(25*mib, mib)
		close(gate)
		if err := errors.Join(<-before, <-after); err != nil {
			t.Errorf("reads of what did not fail: %v", err)
		}
	})
}

// A failure is overcome by a later read, also when nobody had the file open
// between the two.
func TestFailureIsOvercomeAfterReopen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(1)
		f := r.add("f", 2*mib)
		s := openStore(t, options(t), r)
		r.setDown(errReset)
		h := openFile(t, s, "f", f.version())
		if _, err := h.ReadAt(t.Context(), make([]byte, 4096), 0); !errors.Is(err, errReset) {
			t.Fatalf("got %v", err)
		}
		h.Close()
		synctest.Wait()
		if err := s.LastError("f"); !errors.Is(err, errReset) {
			t.Errorf("the last error is %v", err)
		}
		r.setDown(nil)
		checkAll(t, openFile(t, s, "f", f.version()), f)
		if err := s.LastError("f"); err != nil {
			t.Errorf("an overcome failure is still reported: %v", err)
		}
	})
}
