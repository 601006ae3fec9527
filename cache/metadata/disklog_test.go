package metadata

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// slowLog is a log whose every message waits until it is read, or all is over.
type slowLog struct {
	lines chan string
	over  chan struct{}
}

func (l slowLog) Enabled(context.Context, slog.Level) bool { return true }
func (l slowLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l slowLog) WithGroup(string) slog.Handler            { return l }

func (l slowLog) Handle(_ context.Context, r slog.Record) error {
	select {
	case l.lines <- r.Message:
	case <-l.over:
	}
	return nil
}

// The disk fails, is too slow, and works again: each is logged once, and nobody
// waits for the log.
func TestDiskIsLoggedWithoutLocks(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		log := slowLog{make(chan string), make(chan struct{})}
		s := open(t, newServer(tree()), folder, func(o *Options) { o.Log = slog.New(log) })
		t.Cleanup(func() { close(log.over) })
		synctest.Wait() // for what Open begins
		logged := func(want string) {
			t.Helper()
			synctest.Wait() // whoever logs waits for this test
			if !s.update.TryLock() {
				t.Fatal("Store.update is held")
			}
			s.update.Unlock()
			if !s.disk.mu.TryLock() {
				t.Fatal("disk.mu is held")
			}
			s.disk.mu.Unlock()
			select {
			case got := <-log.lines:
				expect(t, "log", got, want)
			default:
				t.Fatalf("nothing was logged, want %q", want)
			}
		}
		const fails, works = "listings can't be kept on disk and are held in memory only", "listings are kept on disk again"
		if err := os.Rename(folder, folder+"-away"); err != nil {
			t.Fatal(err)
		}
		mustList(t, s, "")
		logged(fails)
		mustList(t, s, "a")
		synctest.Wait() // the second of a row
		if err := os.Rename(folder+"-away", folder); err != nil {
			t.Fatal(err)
		}
		mustList(t, s, "b")
		logged(works)
		s.disk.mu.Lock()
		s.disk.bytes += maxPending + 1
		s.disk.mu.Unlock()
		go s.Directory(t.Context(), Caller{}, "a/sub")
		time.Sleep(maxThrottle)
		logged(fails)
		s.disk.mu.Lock()
		s.disk.bytes -= maxPending + 1
		s.disk.mu.Unlock()
		mustList(t, s, "a")
	})
}
