package content

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// logged collects the messages of a store; hook, if set, is called with each.
type logged struct {
	hook func(message string)

	mu       sync.Mutex
	messages []string
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	l.messages = append(l.messages, r.Message)
	l.mu.Unlock()
	if l.hook != nil {
		l.hook(r.Message)
	}
	return nil
}

func (l *logged) about(text string) (list []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.messages), func(m string) bool { return !strings.Contains(m, text) })
}

// While a failed transfer is logged, others go on with the file.
func TestFailuresAreLoggedWithoutLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(1)
		f := r.add("f", mib)
		refused := false
		r.opens = func(string, int64) error {
			if refused {
				return nil
			}
			refused = true
			return errReset
		}
		reached, gate := make(chan struct{}), make(chan struct{})
		log := &logged{hook: func(m string) {
			if strings.Contains(m, "will be continued") {
				close(reached)
				<-gate
			}
		}}
		o := options(t)
		o.Log = slog.New(log)
		s := openStore(t, o, r)
		h := openFile(t, s, "f", f.version())
		done := make(chan struct{})
		go func() {
			defer close(done)
			checkAll(t, h, f)
		}()
		<-reached
		synctest.Wait()
		if !h.file.mu.TryLock() {
			t.Error("file.mu is held")
		} else {
			h.file.mu.Unlock()
		}
		close(gate)
		<-done
	})
}

// Records that can't be written are logged when that begins and when it ends.
func TestUnwrittenRecordsAreLoggedOnce(t *testing.T) {
	o := options(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(2)
		f := r.add("f", mib)
		log := &logged{}
		o.Log = slog.New(log)
		s := openStore(t, o, r)
		h := openFile(t, s, "f", f.version())
		checkAll(t, h, f)
		for range 2 {
			before := len(log.about("written down"))
			if err := os.Rename(o.Dir, o.Dir+"-away"); err != nil {
				t.Fatal(err)
			}
			s.dirty.add(h.file)
			time.Sleep(10 * time.Second)
			if err := os.Rename(o.Dir+"-away", o.Dir); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			if got := log.about("written down")[before:]; len(got) != 2 || !strings.Contains(got[1], "again") {
				t.Errorf("logged %q", got)
			}
		}
	})
}
