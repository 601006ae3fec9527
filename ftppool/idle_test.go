package ftppool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// age makes the idle sessions look as if nobody had used them for a while.
func age(p *Pool, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.idle {
		s.lastUsed = s.lastUsed.Add(-d)
	}
}

// A session that was lost while it was idle costs its next user nothing but a
// login, however it was lost.
func TestIdleSessionLost(t *testing.T) {
	for name, lose := range map[string]func(s *ftptest.Server){
		"hung up":           func(s *ftptest.Server) { s.Stop(); _ = s.Start() },
		"421 to a command":  func(s *ftptest.Server) { s.Once("CWD", "*", ftptest.Reply(421, "Timeout.")) },
		"closed at command": func(s *ftptest.Server) { s.Once("CWD", "*", ftptest.DropAt(ftptest.DropBefore)) },
		"silent": func(s *ftptest.Server) {
			s.Add(ftptest.Rule{Path: "*", Match: func(c *ftptest.Cmd) bool { return c.Session == 1 }, Action: ftptest.Action{Silent: true}})
		},
		"out of step": func(s *ftptest.Server) {
			s.Once("CWD", "*", ftptest.Action{Raw: []byte("213 12345\r\n")})
		},
		"421 to EPSV":      func(s *ftptest.Server) { s.Once("EPSV", "*", ftptest.Reply(421, "Timeout.")) },
		"closed at EPSV":   func(s *ftptest.Server) { s.Once("EPSV", "*", ftptest.DropAt(ftptest.DropBefore)) },
		"closed at LIST":   func(s *ftptest.Server) { s.Once("LIST", "*", ftptest.DropAt(ftptest.DropBefore)) },
		"closed after 226": func(s *ftptest.Server) { s.Once("LIST", "*", ftptest.DropAt(ftptest.DropFinal)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{Files: map[string]string{"d/f": "x"}})
			p := newPool(t, s, connections(1), func(c *Config) { c.Timeout = time.Minute })
			mustList(t, p, "d")
			age(p, time.Minute)
			lose(s)
			start := time.Now()
			if got := names(mustList(t, p, "d")); !slices.Equal(got, []string{"f"}) {
				t.Errorf("listed %q", got)
			}
			if d := time.Since(start); d > p.cfg.silence()*3/4 {
				t.Errorf("it took %v", d)
			}
			if st := p.Status(); st.Logins != 2 || len(st.Failures) != 0 {
				t.Errorf("%+v", st)
			}
			if !p.Profile().EPSV {
				t.Error("EPSV was blamed")
			}
		})
	}
}

// All idle sessions are lost at once, and every slot is taken by one: requests
// are not sent through all of them.
func TestAllIdleSessionsLost(t *testing.T) {
	t.Parallel()
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"d/f": "x"}})
	p := newPool(t, s, connections(3), func(c *Config) { c.Timeout = time.Minute })
	openAll(t, p, 3, "d/f")
	age(p, time.Minute)
	s.Add(ftptest.Rule{Path: "*", Match: func(c *ftptest.Cmd) bool { return c.Session <= 3 }, Action: ftptest.Action{Silent: true}})
	start := time.Now()
	mustList(t, p, "d")
	if d := time.Since(start); d > p.cfg.silence()*3/4 {
		t.Errorf("it took %v", d)
	}
}

// openAll makes n sessions.
func openAll(t *testing.T, p *Pool, n int, path string) {
	t.Helper()
	var streams []Stream
	for range n {
		streams = append(streams, mustOpen(t, p, read, path, 0))
	}
	for _, r := range streams {
		_ = r.Close()
	}
	await(t, p, func(st Status) bool { return st.Idle == n })
}

// What is said to come is left its sessions for a while, and those that have come
// count no more.
func TestSpare(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{})
	p := newPool(t, s, connections(4))
	spare := func(when string, want int) {
		t.Helper()
		if n := p.Spare(); n != want {
			t.Errorf("%s: %d sessions to spare, want %d", when, n, want)
		}
	}
	spare("at first", 4)
	p.Expect(3)
	spare("with 3 to come", 1)
	held, err := p.acquire(patience(t), read, false)
	if err != nil {
		t.Fatal(err)
	}
	spare("when one has come", 1)
	p.release(held)
	p.Expect(99)
	spare("with all to come", 0)
	p.mu.Lock()
	p.expectedUntil = time.Now()
	p.mu.Unlock()
	spare("when none came", 4)
}

// Who says how many requests are about to come finds as many sessions, within
// the bound and what the server takes.
func TestExpect(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{MaxPerAddr: 6})
	p := newPool(t, s, connections(8))
	if err := p.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Expect(3)
	await(t, p, func(st Status) bool { return st.Idle == 3 })
	p.Expect(3)
	p.Expect(1)
	if st := p.Status(); st.Idle != 3 || st.Logins != 3 {
		t.Errorf("expecting no more than there are: %+v", st)
	}
	p.Expect(99)
	await(t, p, func(st Status) bool { return st.Idle == 6 && st.Cap == 6 && st.Dialing == 0 })
	p.Expect(99)
	if st := p.Status(); st.Idle != 6 || st.Dialing != 0 {
		t.Errorf("with the server's cap known: %+v", st)
	}
}

func TestIdleSessionsEnd(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "x"}})
	p := newPool(t, s, connections(3))
	openAll(t, p, 3, "f")
	const keep = 50 * time.Millisecond
	p.learn(func(k *knowledge) { k.keep = keep })
	p.mu.Lock()
	for _, idle := range p.idle {
		idle.expiry.Reset(keep)
	}
	p.mu.Unlock()
	await(t, p, func(st Status) bool { return st.Idle == 0 && st.Ending == 0 })
	if n := s.Count("QUIT"); n != 3 {
		t.Errorf("%d of 3 sessions said goodbye", n)
	}
	mustList(t, p, "")
}

func TestIdleCount(t *testing.T) {
	s, open := slowServer(t, ftptest.Options{})
	p := newPool(t, s, connections(2))
	if n := p.Idle(); n != 2 {
		t.Errorf("%d before the first login", n)
	}
	a := mustOpen(t, p, read, "big", 0)
	if n := p.Idle(); n != 1 {
		t.Errorf("%d beside one stream", n)
	}
	b := mustOpen(t, p, read, "big", 0)
	if n := p.Idle(); n != 0 {
		t.Errorf("%d beside two streams", n)
	}
	st := p.Status()
	if len(st.Transfers) != 2 || st.Transfers[0].Path != "big" || st.Busy != 2 {
		t.Errorf("%+v", st)
	}
	a.SetClass(ClassIdle)
	if c := p.Status().Transfers[0].Class; c != ClassIdle {
		t.Errorf("class %v", c)
	}
	open()
	_, _ = a.Close(), b.Close()
	await(t, p, func(st Status) bool { return st.Idle == 2 })
	if n := p.Idle(); n != 2 {
		t.Errorf("%d afterwards", n)
	}
}

// A listing in the background makes way too, and is begun again by itself.
func TestIdleListingMakesWay(t *testing.T) {
	t.Parallel()
	tree := ftptest.NewTree()
	tree.WriteFile("huge/f", nil, someTime)
	tree.WriteFile("small/f", nil, someTime)
	s := ftptest.New(t, ftptest.Options{Tree: tree})
	s.Add(ftptest.Rule{Verb: "LIST", Path: "huge", Times: 1, Action: ftptest.StallAt(10, nil)})
	p := newPool(t, s, connections(1), func(c *Config) { c.Timeout = time.Minute })
	done := make(chan error)
	go func() {
		l, err := p.List(patience(t), Want{Class: ClassIdle}, "huge")
		if err == nil && len(l.Entries) != 1 {
			err = fmt.Errorf("listed %q", names(l))
		}
		done <- err
	}()
	await(t, p, func(st Status) bool { return len(st.Transfers) == 1 && s.Count("LIST") == 1 })
	start := time.Now()
	mustList(t, p, "small")
	if d := time.Since(start); d > p.cfg.silence()*3/4 {
		t.Errorf("it took %v", d)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// roundTrips counts how often the client has to wait for the server: for each
// connection, and for the answer to whatever it sent in one go.
type roundTrips struct {
	mu       sync.Mutex
	n        int
	waiting  bool
	commands []string
}

type turnConn struct {
	net.Conn
	t    *roundTrips
	data bool
}

func (c *turnConn) Write(p []byte) (int, error) {
	c.t.mu.Lock()
	if !c.data {
		if !c.t.waiting {
			c.t.n++
			c.t.waiting = true
		}
		c.t.commands = append(c.t.commands, strings.TrimSpace(string(p)))
	}
	c.t.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *turnConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.t.mu.Lock()
	if !c.data {
		c.t.waiting = false
	}
	c.t.mu.Unlock()
	return n, err
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	tree := ftptest.NewTree()
	tree.WriteFile("d/f", []byte("0123456789"), someTime)
	s := ftptest.New(t, ftptest.Options{Tree: tree})
	c := &roundTrips{}
	control := true
	p := newPool(t, s, connections(1), func(cfg *Config) {
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.n++
			data := !control
			if control {
				c.n++ // the banner
			}
			control = false
			return &turnConn{conn, c, data}, err
		}
	})
	check := func(what string, want int, f func()) {
		t.Helper()
		c.mu.Lock()
		c.n, c.waiting, c.commands = 0, false, nil
		c.mu.Unlock()
		f()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.n != want {
			t.Errorf("%s: %d round trips, want %d: %q", what, c.n, want, c.commands)
		}
	}
	settle := func() { await(t, p, func(st Status) bool { return st.Busy == 0 }) }
	check("the first login", 6, func() { _ = p.Connect(patience(t)) })
	check("a listing", 3, func() { mustList(t, p, "d") })
	check("the next", 3, func() { mustList(t, p, "d") })
	check("a look-up", 1, func() { _, _ = p.Stat(patience(t), lookup, "d/f") })
	check("a file", 3, func() { _ = readAll(t, p, "d/f", 0) })
	settle()
	readAll(t, p, "d/f", 5) // proves REST
	settle()
	check("a file from an offset", 3, func() { _ = readAll(t, p, "d/f", 5) })
	settle()
	check("a checked file", 3, func() {
		r := mustOpen(t, p, Want{Class: ClassRead, Check: true}, "d/f", 5)
		_, _ = io.Copy(io.Discard, r)
		_ = r.Close()
	})
	settle()
	p.Slept()
	control = true
	await(t, p, func(st Status) bool { return st.Ending == 0 })
	check("a later login", 3, func() { _ = p.Connect(patience(t)) })
}

// Requests of several users on one session take turns, and the more urgent
// class goes first.
func TestOrderOnOneSession(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "x"}})
	p := newPool(t, s, connections(1))
	held, err := p.acquire(patience(t), lookup, false)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var order []string
	var wg sync.WaitGroup
	ask := func(class Class, uid uint32, name string) {
		before := p.Status().Waiting
		wg.Go(func() {
			err := p.with(patience(t), Want{Class: class, UID: uid}, opStat, "", func(*session) error {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		await(t, p, func(st Status) bool { return st.Waiting == before+1 })
	}
	ask(ClassIdle, 1, "warm")
	ask(ClassRead, 1, "a1")
	ask(ClassRead, 1, "a2")
	ask(ClassRead, 1, "a3")
	ask(ClassRead, 2, "b1")
	ask(ClassLookup, 3, "ls")
	ask(ClassRead, 2, "b2")
	p.release(held)
	wg.Wait()
	if want := []string{"ls", "a1", "b1", "a2", "b2", "a3", "warm"}; !slices.Equal(order, want) {
		t.Errorf("served %q, want %q", order, want)
	}
}

// A request that is given up leaves the queue, and a session that comes just
// then is not lost.
func TestGivenUpWhileWaiting(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "x"}})
	p := newPool(t, s, connections(1))
	for range 200 {
		held, err := p.acquire(patience(t), lookup, false)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			if s, err := p.acquire(ctx, lookup, false); err == nil {
				p.release(s)
			} else if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		wg.Go(cancel)
		wg.Go(func() { p.release(held) })
		wg.Wait()
	}
	if st := p.Status(); st.Waiting != 0 || st.Busy != 0 || st.Idle != 1 {
		t.Errorf("%+v", st)
	}
}

// A server that ends idle sessions sooner than we do is met by ending them
// sooner; one that was restarted has said nothing about that.
func TestIdleLimitIsLearned(t *testing.T) {
	for _, polite := range []bool{true, false} {
		s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "x"}})
		p := newPool(t, s, connections(1))
		mustList(t, p, "")
		if polite {
			s.Update(func(o *ftptest.Options) { o.IdleTimeout = 500 * time.Millisecond })
			p.mu.Lock()
			idle := p.idle[0]
			p.mu.Unlock()
			// The limit holds from the next command on.
			if err := p.Connect(patience(t)); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Stat(patience(t), lookup, "f"); err != nil {
				t.Fatal(err)
			}
			await(t, p, func(Status) bool { words, _ := idle.ctl.wire.unasked(); return words })
			s.Update(func(o *ftptest.Options) { o.IdleTimeout = 0 })
		} else {
			s.Stop()
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
		}
		age(p, 20*time.Second)
		mustList(t, p, "")
		if keep := p.known().keep; (keep < keepIdle) != polite {
			t.Errorf("polite=%v: idle sessions are kept for %v", polite, keep)
		}
	}
}
