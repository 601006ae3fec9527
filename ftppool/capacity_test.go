package ftppool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

func TestCapacityLearns(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	c := newCapacity(8)
	if !c.refused(3, true, now) || c.limit(now) != 3 {
		t.Fatalf("cap %d after a refusal beside 3 sessions", c.limit(now))
	}
	if now = now.Add(probeAfter); c.limit(now) != 4 {
		t.Fatalf("no probe after %v", probeAfter)
	}
	if !c.refused(3, true, now) || c.limit(now) != 3 || c.limit(now.Add(probeAfter)) != 3 {
		t.Error("a refused probe is repeated too soon")
	}
	if now = now.Add(2 * probeAfter); c.limit(now) != 4 {
		t.Error("no second probe")
	}
	c.accepted(4, now)
	if c.limit(now) != 4 || c.limit(now.Add(time.Minute)) != 5 {
		t.Error("a probe that worked is not followed by another")
	}
	// A refusal soon after a session of ours ended may be about that one.
	c.discarded = now
	if c.refused(1, true, now.Add(4*time.Second)) || c.learned != 4 {
		t.Error("a refusal right after a discard taught something")
	}
	if !c.refused(1, true, now.Add(6*time.Second)) || c.learned != 1 {
		t.Error("a refusal long after a discard taught nothing")
	}
	if !c.refused(0, true, now.Add(20*time.Second)) || c.learned != 1 {
		t.Error("the cap fell below 1")
	}
	// Of several attempts at once, each may have been in the other's way.
	c = newCapacity(8)
	if !c.refused(1, false, now) || c.limit(now) != 1 || c.limit(now.Add(confirmAfter)) != 2 {
		t.Error("what refusals at the same time taught is not confirmed soon")
	}
	c.accepted(2, now)
	if !c.refused(2, true, now.Add(confirmAfter)) || c.limit(now.Add(probeAfter)) != 2 {
		t.Error("what is confirmed is doubted")
	}
}

// readMany reads one file n times at once and checks every byte.
func readMany(t *testing.T, p *Pool, n int, path string, want []byte) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			s, err := p.Open(patience(t), Want{Class: ClassRead, UID: uint32(i % 3)}, path, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if b, err := io.ReadAll(s); err != nil || !bytes.Equal(b, want) {
				t.Errorf("%d bytes of %d: %v", len(b), len(want), err)
			}
		})
	}
	wg.Wait()
}

// readUntilLearned keeps a pool busy until it is sure of the server's cap.
func readUntilLearned(t *testing.T, p *Pool, path string, want []byte) {
	t.Helper()
	await(t, p, func(Status) bool {
		readMany(t, p, 20, path, want)
		st := p.Status()
		return t.Failed() || st.Cap < st.Bound && time.Until(st.ProbeAt) > time.Minute
	})
}

func TestNeverMoreThanBound(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3} {
		tree := ftptest.NewTree()
		tree.Generate("f", 200_000, 1, time.Unix(1_700_000_000, 0))
		s := ftptest.New(t, ftptest.Options{Tree: tree})
		p := newPool(t, s, connections(n))
		// Every fifth session dies at work, so that there is dialling anew
		// beside discarded sessions.
		s.Every(5, "RETR", "*", ftptest.Action{Drop: ftptest.DropBefore})
		readMany(t, p, 30, "f", tree.ReadFile("f"))
		if got := s.MaxSessions(); got > n {
			t.Errorf("%d control connections, with a bound of %d", got, n)
		}
		if o := s.Overlaps(); len(o) > 0 {
			t.Errorf("two transfers on one session: %v", o)
		}
	}
}

func TestCapIsLearned(t *testing.T) {
	for name, o := range map[string]ftptest.Options{
		"421 for a banner": {CapAt: ftptest.CapAtConnect, CapReply: "421 There are too many connections from your internet address."},
		"530 to USER":      {CapAt: ftptest.CapAtUser, CapReply: "530 Sorry, the maximum number of clients (2) from your host are already connected."},
		"421 to PASS":      {CapAt: ftptest.CapAtPass, CapReply: "421 2 users (the maximum) are already logged in, sorry"},
		"530 and stays":    {CapAt: ftptest.CapAtPassOpen, CapReply: "530 Sorry, the maximum number of allowed clients (2) already connected."},
		"421 and no word":  {CapAt: ftptest.CapAtConnect, CapReply: "421 Service not available."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Tree = ftptest.NewTree()
			o.Tree.Generate("f", 100_000, 1, time.Unix(1_700_000_000, 0))
			o.MaxPerAddr = 2
			s := ftptest.New(t, o)
			p := newPool(t, s, connections(6))
			readUntilLearned(t, p, "f", o.Tree.ReadFile("f"))
			if st := p.Status(); st.Cap != 2 || st.Bound != 6 || st.ProbeAt.IsZero() {
				t.Errorf("status %+v", st)
			}
			refused := len(s.Refused())
			readMany(t, p, 20, "f", o.Tree.ReadFile("f"))
			if again := len(s.Refused()); again != refused {
				t.Errorf("refused %d times more once it was learned", again-refused)
			}
		})
	}
}

// A server that still counts a session that we have just discarded refuses the
// next one: that must neither fail the request nor lower the cap. How long it does
// is far from the pool's pause of 100 ms, so that neither's timer decides.
func TestDiscardCounts(t *testing.T) {
	t.Parallel()
	tree := ftptest.NewTree()
	tree.Generate("f", 50_000, 1, time.Unix(1_700_000_000, 0))
	s := ftptest.New(t, ftptest.Options{Tree: tree, MaxPerAddr: 1, SlotLinger: 20 * time.Millisecond})
	p := newPool(t, s, connections(1))
	s.Every(2, "RETR", "*", ftptest.Action{Drop: ftptest.DropBefore})
	for range 6 {
		readMany(t, p, 1, "f", tree.ReadFile("f"))
	}
	if n := len(s.Refused()); n > 0 {
		t.Errorf("%d logins came while the session before was still counted", n)
	}
	// Beyond what any client can know, it is still no lesson.
	s.Update(func(o *ftptest.Options) { o.SlotLinger = 700 * time.Millisecond })
	for range 2 {
		readMany(t, p, 1, "f", tree.ReadFile("f"))
	}
	if n := len(s.Refused()); n == 0 {
		t.Error("nothing was refused, so nothing was tested")
	}
	if st := p.Status(); len(st.Failures) > 0 {
		t.Errorf("failures: %v", st.Failures)
	}
}

func TestBackoffIsShared(t *testing.T) {
	t.Parallel()
	s := ftptest.New(t, ftptest.Options{})
	host, port := s.Host(), s.Port()
	s.Stop()
	p, err := New(Config{Host: host, Port: port, Connections: 4, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_, err = p.List(patience(t), lookup, "")
	first := isError(t, err, syscall.ECONNREFUSED)
	if first.Advice == "" || first.RetryAt.IsZero() {
		t.Errorf("%+v", first)
	}
	// Hundreds of requests during the pause make no attempt, and fail at once.
	attempts := p.Status()
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			_, err := p.Stat(patience(t), lookup, "x")
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if st := p.Status(); len(st.Failures) > len(attempts.Failures)+2 {
		t.Errorf("%d attempts for 200 requests", len(st.Failures))
	}
	// Once the server is there again, so is the pool.
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, p, func(Status) bool { return p.Connect(patience(t)) == nil })
	if st := p.Status(); !st.BackoffUntil.IsZero() {
		t.Errorf("%+v", st)
	}
}

func TestBackoffGrows(t *testing.T) {
	var b backoff
	now := time.Unix(1_700_000_000, 0)
	var pauses []time.Duration
	for range 12 {
		b.failed(io.EOF, now)
		until := b.until
		b.failed(io.EOF, now) // an attempt beside it
		if b.until != until {
			t.Fatal("two attempts at the same time counted twice")
		}
		pauses = append(pauses, until.Sub(now))
		now = until
	}
	nominal := firstPause
	for i, d := range pauses {
		if d < nominal*3/4 || d > nominal*5/4 {
			t.Errorf("pause %d is %v, want about %v", i, d, nominal)
		}
		nominal = min(2*nominal, lastPause)
	}
	if b.succeeded(); !b.until.IsZero() || b.err != nil {
		t.Error("a success does not end the pause")
	}
}

// A session refused in the middle of its work is a lesson too, and no failure.
func TestTooManyAtWork(t *testing.T) {
	tree := ftptest.NewTree()
	tree.Generate("f", 100_000, 1, someTime)
	s := ftptest.New(t, ftptest.Options{Tree: tree})
	p := newPool(t, s, connections(3))
	openAll(t, p, 3, "f")
	s.Once("RETR", "*", ftptest.Reply(421, "Too many connections (3) from this IP."))
	readMany(t, p, 10, "f", tree.ReadFile("f"))
	if st := p.Status(); st.Cap != 2 {
		t.Errorf("%+v", st)
	}
}

// A session that never came about leaves nothing behind.
func TestFailedConnectIsOver(t *testing.T) {
	var p *Pool
	var made []*session
	s := ftptest.New(t, ftptest.Options{})
	p = newPool(t, s, func(c *Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for s := range p.opening {
				made = append(made, s)
			}
			return nil, syscall.ECONNREFUSED
		}
	})
	isError(t, p.Connect(patience(t)), syscall.ECONNREFUSED)
	if len(made) == 0 || made[0].ctx.Err() == nil {
		t.Errorf("%d sessions made, the first goes on", len(made))
	}
}
