package ftppool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// ways is a machine's routing, to be changed by a test.
type ways struct {
	mu   sync.Mutex
	path string // "": there is none
	gone bool   // the address that connections come from
}

func (w *ways) set(path string, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.path, w.gone = path, gone
}

func (w *ways) between(from, to netip.Addr) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.path == "":
		return "", syscall.ENETUNREACH
	case w.gone && from.IsValid():
		return "", errors.New("the address is gone")
	}
	return w.path, nil
}

func (w *ways) in(c *Config) { c.Path = w.between }

// readOn reads a stream whose first bytes are read to its end, and goes on with
// others when it is set aside.
func readOn(t *testing.T, p *Pool, path string, r Stream, got []byte) (all []byte, streams int) {
	t.Helper()
	for streams = 1; ; streams++ {
		b, err := io.ReadAll(r)
		got = append(got, b...)
		_ = r.Close()
		if err == nil {
			return got, streams
		}
		if !errors.Is(err, ErrPreempted) || streams > 10 {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
		r = mustOpen(t, p, read, path, int64(len(got)))
	}
}

// busyPool is a pool with two idle sessions and one in the middle of "big".
func busyPool(t *testing.T, w *ways) (p *Pool, s *ftptest.Server, r Stream, head []byte, open func()) {
	t.Helper()
	s, open = slowServer(t, ftptest.Options{})
	p = newPool(t, s, connections(3), w.in)
	openAll(t, p, 3, "small")
	r = mustOpen(t, p, read, "big", 0)
	head = make([]byte, 1000)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	if st := p.Status(); st.Idle != 2 || st.Busy != 1 {
		t.Fatalf("%+v", st)
	}
	return p, s, r, head, open
}

// After a change of the network idle sessions are given up and transfers go on
// with new ones; after one that leaves the way as it is, or while there is no way
// at all, nothing happens.
func TestNetworkChanged(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		gone bool
		anew bool
	}{
		"another way":             {"wlan", false, true},
		"another address":         {"eth", true, true},
		"another way and address": {"wlan", true, true},
		"the same way":            {"eth", false, false},
		"no way":                  {"", false, false},
		"no way and no address":   {"", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &ways{path: "eth"}
			p, s, r, head, open := busyPool(t, w)
			logins := p.Status().Logins
			w.set(c.path, c.gone)
			if anew := p.NetworkChanged(); anew != c.anew {
				t.Errorf("a reason to try again: %v", anew)
			}
			if st := p.Status(); c.anew && st.Idle != 0 || !c.anew && st.Idle != 2 {
				t.Errorf("%+v", st)
			}
			w.set(c.path, false)
			open()
			got, streams := readOn(t, p, "big", r, head)
			want, _ := io.ReadAll(io.NewSectionReader(s.Tree().Content("big"), 0, 16<<20))
			if !bytes.Equal(got, want) {
				t.Error("wrong bytes")
			}
			more := p.Status().Logins - logins
			if c.anew && (streams != 2 || more != 1) || !c.anew && (streams != 1 || more != 0) {
				t.Errorf("%d streams, %d more logins", streams, more)
			}
			if f := p.Status().Failures; len(f) > 0 {
				t.Errorf("failures: %v", f)
			}
		})
	}
}

// After a suspend all sessions are given up, and transfers go on.
func TestSlept(t *testing.T) {
	p, s, r, head, open := busyPool(t, new(ways))
	p.Slept()
	if st := p.Status(); st.Idle != 0 {
		t.Errorf("%+v", st)
	}
	open()
	got, streams := readOn(t, p, "big", r, head)
	want, _ := io.ReadAll(io.NewSectionReader(s.Tree().Content("big"), 0, 16<<20))
	if !bytes.Equal(got, want) || streams != 2 {
		t.Errorf("wrong bytes, or not in 2 streams but %d", streams)
	}
	if f := p.Status().Failures; len(f) > 0 {
		t.Errorf("failures: %v", f)
	}
}

// A login under way when the network changes is begun again at once, and teaches
// nothing about the server.
func TestNetworkChangedDuringLogin(t *testing.T) {
	t.Parallel()
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "x"}})
	w := &ways{path: "eth"}
	p := newPool(t, s, w.in)
	silent := s.Once("USER", "*", ftptest.Action{Silent: true})
	done := make(chan error, 1)
	go func() { done <- p.Connect(patience(t)) }()
	if err := silent.Await(patience(t), 1); err != nil {
		t.Fatal(err)
	}
	w.set("wlan", false)
	p.NetworkChanged()
	unharmed(t, p, done)
}

// unharmed waits for a request to succeed, by one login and without a failure.
func unharmed(t *testing.T, p *Pool, done <-chan error) {
	t.Helper()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if st := p.Status(); len(st.Failures) > 0 || st.Logins != 1 || st.Cap != st.Bound {
		t.Errorf("%+v", st)
	}
}

// So is one that is not even connected: what was sent went the old way.
func TestNetworkChangedDuringConnect(t *testing.T) {
	t.Parallel()
	s := ftptest.New(t, ftptest.Options{})
	w := &ways{path: "eth"}
	first := make(chan struct{}, 1)
	first <- struct{}{}
	under := make(chan struct{})
	p := newPool(t, s, w.in, func(c *Config) {
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			select {
			case <-first:
				close(under)
				<-ctx.Done()
				return nil, ctx.Err()
			default:
				return new(net.Dialer).DialContext(ctx, network, addr)
			}
		}
	})
	done := make(chan error, 1)
	go func() { done <- p.Connect(patience(t)) }()
	<-under
	w.set("", false)
	p.NetworkChanged()
	if st := p.Status(); st.Dialing != 1 {
		t.Errorf("given up for none: %+v", st)
	}
	w.set("wlan", false)
	p.NetworkChanged()
	unharmed(t, p, done)
}

// A server that was out of reach is tried at once when there is a way again, not
// when the pause is over; the news of another network interface is no reason.
func TestNetworkChangedEndsThePause(t *testing.T) {
	t.Parallel()
	s := ftptest.New(t, ftptest.Options{})
	s.Stop()
	w := &ways{path: "eth"}
	p := newPool(t, s, w.in)
	w.set("", false)
	if p.NetworkChanged() {
		t.Error("there is a reason to try again where there is no way")
	}
	for range 3 { // the pause is seconds by now
		_ = p.Connect(patience(t))
		await(t, p, func(st Status) bool { return !time.Now().Before(st.BackoffUntil) })
	}
	_ = p.Connect(patience(t))
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if p.NetworkChanged() || p.Status().BackoffUntil.IsZero() {
		t.Errorf("the pause ended for nothing: %+v", p.Status())
	}
	w.set("eth", false)
	if !p.NetworkChanged() || !p.Status().BackoffUntil.IsZero() {
		t.Errorf("the pause goes on: %+v", p.Status())
	}
	if err := p.Connect(patience(t)); err != nil {
		t.Error(err)
	}
}
