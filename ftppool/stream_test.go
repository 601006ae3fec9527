package ftppool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

var someTime = time.Unix(1_700_000_000, 0)

// slowServer has a file "big" whose transfers halt after 1 MiB until the gate
// is closed, and a file "small".
func slowServer(t *testing.T, o ftptest.Options) (s *ftptest.Server, open func()) {
	o.Tree = ftptest.NewTree()
	o.Tree.Generate("big", 16<<20, 1, someTime)
	o.Tree.WriteFile("small", []byte("small"), someTime)
	s = ftptest.New(t, o)
	gate := make(chan struct{})
	s.On("RETR", "big", ftptest.StallAt(1<<20, gate))
	closed := false
	open = func() {
		if !closed {
			close(gate)
		}
		closed = true
	}
	t.Cleanup(open)
	return s, open
}

// With one session, what is urgent cuts what is not, on a connection that is
// kept; the cut transfer is continued later.
func TestPreemption(t *testing.T) {
	t.Parallel()
	tree := ftptest.NewTree()
	tree.Generate("big", 16<<20, 1, someTime)
	s := ftptest.New(t, ftptest.Options{Tree: tree, Rate: 6 << 20, SendBuffer: 64 << 10})
	p := newPool(t, s, connections(1))
	big := mustOpen(t, p, Want{Class: ClassReadAhead, UID: 7}, "big", 0)
	type outcome struct {
		n   int64
		sum []byte
		err error
	}
	cut := make(chan outcome)
	go func() {
		var b bytes.Buffer
		n, err := io.Copy(&b, big)
		cut <- outcome{n, b.Bytes(), err}
	}()
	if l := mustList(t, p, ""); len(l.Entries) != 1 {
		t.Errorf("listed %v", l.Entries)
	}
	got := <-cut
	if !errors.Is(got.err, ErrPreempted) {
		t.Fatalf("the transfer ended with %v", got.err)
	}
	if !bytes.Equal(got.sum, tree.ReadFile("big")[:got.n]) {
		t.Error("wrong bytes before the cut")
	}
	if _, err := big.Read(make([]byte, 1)); !errors.Is(err, ErrPreempted) {
		t.Errorf("another Read gave %v", err)
	}
	_ = big.Close()
	if rest := readAll(t, p, "big", 14<<20); !bytes.Equal(rest, tree.ReadFile("big")[14<<20:]) {
		t.Error("wrong bytes after the cut")
	}
	if n := p.Status().Logins; n != 1 {
		t.Errorf("%d logins: the session was not kept", n)
	}
}

// Nothing is cut for a request of the same class or a lower one.
func TestNoPreemptionByEquals(t *testing.T) {
	t.Parallel()
	s, open := slowServer(t, ftptest.Options{})
	p := newPool(t, s, connections(1))
	big := mustOpen(t, p, read, "big", 0)
	for _, class := range []Class{ClassRead, ClassReadAhead, ClassIdle} {
		ctx, cancel := context.WithTimeout(context.Background(), 3*preemptAfter)
		_, err := p.List(ctx, Want{Class: class}, "")
		cancel()
		isError(t, err, context.DeadlineExceeded)
	}
	open()
	if b, err := io.ReadAll(big); err != nil || len(b) != 16<<20 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	_ = big.Close()
}

func TestVictim(t *testing.T) {
	now := time.Now()
	p := &Pool{transfers: map[*transfer]struct{}{}}
	p.knowledge.Store(&knowledge{})
	add := func(class Class, uid uint32, age time.Duration) *transfer {
		tr := p.newTransfer(Want{Class: class, UID: uid}, "", 0)
		tr.started, tr.stream = now.Add(-age), true
		p.transfers[tr] = struct{}{}
		return tr
	}
	add(ClassRead, 1, 5*time.Second)
	add(ClassRead, 2, 5*time.Second)
	add(ClassRead, 2, 5*time.Second)
	add(ClassReadAhead, 1, 4*time.Second)
	add(ClassIdle, 1, 3*time.Second)
	add(ClassIdle, 2, 3*time.Second)
	want := add(ClassIdle, 2, 2*time.Second)
	add(ClassIdle, 3, 1*time.Second)
	if got := p.victim(Want{Class: ClassRead, UID: 9}, preemptAfter, now); got != want {
		t.Errorf("cut %+v", got)
	}
	if got := p.victim(Want{Class: ClassIdle, UID: 9}, time.Hour, now); got != nil {
		t.Errorf("cut an equal that has not had its time: %+v", got)
	}
	old := add(ClassIdle, 4, time.Minute)
	if got := p.victim(Want{Class: ClassIdle, UID: 9}, time.Hour, now); got != nil {
		t.Errorf("cut an equal that could not be continued: %+v", got)
	}
	p.learn(func(k *knowledge) { k.Restart = RestartProven })
	if got := p.victim(Want{Class: ClassIdle, UID: 9}, slice, now); got != old {
		t.Errorf("cut %+v, want the one that has had its time", got)
	}
	p.dialing = 1
	if got := p.victim(Want{Class: ClassRead, UID: 9}, preemptAfter, now); got != nil {
		t.Error("cut although a login is under way")
	}
}

// A transfer that its owner ends early leaves a session that serves on.
func TestCutAndKeep(t *testing.T) {
	for _, profile := range profiles {
		t.Run(profile.Name, func(t *testing.T) {
			tree := ftptest.NewTree()
			tree.Generate("big", 16<<20, 1, someTime)
			s := ftptest.New(t, ftptest.Options{Profile: profile, Tree: tree, SendBuffer: 64 << 10})
			p := newPool(t, s, connections(1))
			want := tree.ReadFile("big")
			for i := range 5 {
				at := int64(i) * 100_003
				r := mustOpen(t, p, read, "big", at)
				b := make([]byte, 100_000)
				if _, err := io.ReadFull(r, b); err != nil || !bytes.Equal(b, want[at:at+100_000]) {
					t.Fatalf("wrong bytes, %v", err)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			mustList(t, p, "")
			if n := p.Status().Logins; n != 1 {
				t.Errorf("%d logins for one session cut 5 times", n)
			}
			if s.BytesSent() > 8<<20 {
				t.Errorf("%d bytes were sent for half a megabyte", s.BytesSent())
			}
		})
	}
}

// A server that says nothing after a cut costs the session, not the request.
func TestCutWithoutReply(t *testing.T) {
	t.Parallel()
	s, _ := slowServer(t, ftptest.Options{})
	p := newPool(t, s, connections(1), func(c *Config) { c.Timeout = 3 * time.Second })
	big := mustOpen(t, p, read, "big", 0)
	if _, err := io.ReadFull(big, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	_ = big.Close()
	if b := readAll(t, p, "small", 0); string(b) != "small" {
		t.Errorf("read %q", b)
	}
}

func TestCloseWhileReading(t *testing.T) {
	s, _ := slowServer(t, ftptest.Options{})
	p := newPool(t, s, connections(1))
	big := mustOpen(t, p, read, "big", 0)
	done := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, big)
		done <- err
	}()
	await(t, p, func(st Status) bool { return len(st.Transfers) == 1 && st.Transfers[0].Bytes == 1<<20 })
	_ = big.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("Read gave %v", err)
	}
}

func TestPoolCloseEndsStreams(t *testing.T) {
	s, _ := slowServer(t, ftptest.Options{})
	p := newPool(t, s, connections(1))
	big := mustOpen(t, p, read, "big", 0)
	waiting := make(chan error)
	go func() {
		_, err := p.List(context.Background(), Want{Class: ClassIdle}, "")
		waiting <- err
	}()
	await(t, p, func(st Status) bool { return st.Waiting == 1 })
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, big); !errors.Is(err, ErrClosed) {
		t.Errorf("the stream ended with %v", err)
	}
	isError(t, <-waiting, ErrClosed)
	_, err := p.Open(context.Background(), read, "small", 0)
	isError(t, err, ErrClosed)
}

// What cuts a transfer short is told apart from its end, or comes back as a
// plain end that the caller finds by counting.
func TestTransferFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		how  ftptest.How
		end  bool // the data connection ended in order
	}{
		{"426", ftptest.With426, true}, {"451", ftptest.With451, true}, {"226", ftptest.With226, true},
		{"reset", ftptest.Reset, false}, {"no reply", ftptest.NoReply, true}, {"disconnect", ftptest.Disconnect, true},
		{"stall", ftptest.Stall, false},
	} {
		for way, all := range map[string]func(testing.TB, Stream) ([]byte, error){
			"read": func(_ testing.TB, r Stream) ([]byte, error) { return io.ReadAll(r) }, "pipe": readPiped,
		} {
			t.Run(c.name+" "+way, func(t *testing.T) {
				t.Parallel()
				tree := ftptest.NewTree()
				tree.Generate("f", 1<<20, 1, someTime)
				s := ftptest.New(t, ftptest.Options{Tree: tree})
				p := newPool(t, s, connections(1), func(c *Config) { c.Timeout = 3 * time.Second })
				s.Once("RETR", "f", ftptest.CutAt(300_000, c.how))
				r := mustOpen(t, p, read, "f", 0)
				b, err := all(t, r)
				if c.end && err != nil || !c.end && err == nil {
					t.Errorf("ended with %v", err)
				}
				if c.how == ftptest.Stall {
					isError(t, err, context.DeadlineExceeded)
				}
				_ = r.Close()
				want := tree.ReadFile("f")
				if !bytes.Equal(b, want[:len(b)]) {
					t.Error("wrong bytes")
				}
				if rest := readAll(t, p, "f", int64(len(b))); !bytes.Equal(rest, want[len(b):]) {
					t.Error("wrong bytes after it was continued")
				}
			})
		}
	}
}

func TestCancel(t *testing.T) {
	cause := errors.New("interrupted")
	gate := make(chan struct{})
	defer close(gate)
	for _, verb := range []string{"CONNECT", "USER", "PASS", "TYPE", "CWD", "EPSV", "LIST", "SIZE", "RETR"} {
		t.Run(verb, func(t *testing.T) {
			s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "x"}})
			p := newPool(t, s, connections(1))
			if verb == "CWD" || verb == "SIZE" {
				if err := p.Connect(patience(t)); err != nil {
					t.Fatal(err)
				}
			}
			stuck := s.On(verb, "*", ftptest.Wait(gate))
			ctx, cancel := context.WithCancelCause(context.Background())
			done := make(chan error)
			go func() {
				var err error
				switch verb {
				case "SIZE":
					_, err = p.Stat(ctx, lookup, "f")
				case "RETR":
					_, err = p.Open(ctx, read, "f", 0)
				default:
					_, err = p.List(ctx, lookup, "")
				}
				done <- err
			}()
			if err := stuck.Await(patience(t), 1); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			cancel(cause)
			err := <-done
			isError(t, err, cause)
			if d := time.Since(start); d > p.cfg.silence()/2 {
				t.Errorf("it took %v", d) // far from any limit of silence
			}
		})
	}
}

// A reader's patience is no business of the stream once it is open.
func TestOpenContextIsForTheCall(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "0123456789"}})
	p := newPool(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	r, err := p.Open(ctx, read, "f", 0)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if b, err := io.ReadAll(r); string(b) != "0123456789" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	_ = r.Close()
}

func TestBandwidth(t *testing.T) {
	t.Parallel()
	tree := ftptest.NewTree()
	tree.Generate("f", 1<<20, 1, someTime)
	s := ftptest.New(t, ftptest.Options{Tree: tree})
	p := newPool(t, s, func(c *Config) { c.BandwidthLimit = 2 << 20 })
	start := time.Now()
	readMany(t, p, 2, "f", tree.ReadFile("f"))
	if d := time.Since(start); d < 800*time.Millisecond {
		t.Errorf("2 MiB at 2 MiB/s took %v", d)
	}
}

// Asked to check, Open knows what the file is at that moment, at no round trip.
// Who opens a file is told when there is a session for it, before the server is
// asked anything.
func TestOpenTellsWhenItBegins(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "x"}})
	p := newPool(t, s, connections(1))
	held, err := p.acquire(patience(t), lookup, false)
	if err != nil {
		t.Fatal(err)
	}
	begun := make(chan int, 1)
	var opening sync.WaitGroup
	opening.Go(func() {
		r, err := p.Open(patience(t), Want{Class: ClassRead, Check: true, Begun: func() { begun <- s.Count("SIZE") }}, "f", 0)
		if err != nil {
			t.Error(err)
			return
		}
		r.Close()
	})
	waiting(t, p, 1)
	select {
	case <-begun:
		t.Error("it began without a session")
	default:
	}
	p.release(held)
	opening.Wait()
	if n := <-begun; n != 0 {
		t.Errorf("%d questions came first", n)
	}
}

func TestOpenChecks(t *testing.T) {
	for _, profile := range []ftptest.Profile{ftptest.Vsftpd(), ftptest.ProFTPD(), ftptest.DATASUS()} {
		for _, sequential := range []bool{false, true} {
			tree := ftptest.NewTree()
			tree.WriteFile("f", []byte("0123456789"), someTime)
			s := ftptest.New(t, ftptest.Options{Profile: profile, Tree: tree})
			p := newPool(t, s, func(c *Config) { c.Profile = &Profile{Learned: true, EPSV: true, Pipelining: !sequential} })
			for _, offset := range []int64{0, 4} {
				r := mustOpen(t, p, Want{Class: ClassRead, Check: true}, "f", offset)
				e, told := r.(Checked).Entry()
				if !told || e.Size != 10 || e.MTime != listing.Exactly(someTime) || e.Raw != "f" || e.Type != listing.File {
					t.Errorf("%+v, %v", e, told)
				}
				if b, err := io.ReadAll(r); err != nil || string(b) != "0123456789"[offset:] {
					t.Errorf("%q, %v", b, err)
				}
				_ = r.Close()
			}
			_, err := p.Open(patience(t), Want{Class: ClassRead, Check: true}, "nope", 0)
			isError(t, err, fs.ErrNotExist)
			s.On("SIZE", "*", ftptest.Reply(500, "?"))
			r := mustOpen(t, p, Want{Class: ClassRead, Check: true}, "f", 0)
			if _, told := r.(Checked).Entry(); told {
				t.Error("told without an answer")
			}
			_ = r.Close()
		}
	}
}
