package ftptest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/textproto"
	"testing"
	"time"

	"github.com/jlaffaye/ftp"
)

const size = 1 << 20

func bigServer(t *testing.T, o Options) (*Server, []byte) {
	t.Helper()
	if o.Tree == nil {
		o.Tree = NewTree()
	}
	o.Tree.Generate("f", size, 3, mtime)
	s := New(t, o)
	return s, s.Tree().ReadFile("f")
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func code(err error) int {
	var p *textproto.Error
	if errors.As(err, &p) {
		return p.Code
	}
	return 0
}

func TestCutTransfers(t *testing.T) {
	for _, c := range []struct {
		name  string
		how   How
		reply int // 0: none
		gone  bool
	}{
		{"426", With426, 426, false},
		{"451", With451, 451, false},
		{"226", With226, 226, false},
		{"reset", Reset, 426, false},
		{"disconnect", Disconnect, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, want := bigServer(t, Options{})
			rule := s.Once("RETR", "f", CutAt(100_000, c.how))
			conn := dial(t, s)
			r, err := conn.Retr("f")
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if c.how == Reset {
				if err == nil {
					t.Error("a reset read as an end in order")
				}
			} else if err != nil || len(b) != 100_000 {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			if !bytes.HasPrefix(want, b) {
				t.Error("other bytes")
			}
			err = r.Close()
			switch {
			case c.reply == 226 && err != nil, c.reply > 226 && code(err) != c.reply, c.gone && err == nil:
				t.Errorf("the reply was %v", err)
			}
			if tr := s.Transfers()[0]; tr.Whole || tr.Sent != 100_000 || rule.Fired() != 1 {
				t.Errorf("log: %+v, fired %d", tr, rule.Fired())
			}
			if c.gone {
				return
			}
			if got := read(t, conn, "f", 100_000); !bytes.Equal(got, want[100_000:]) {
				t.Error("resumed: other bytes")
			}
			if s.BytesSent() != size {
				t.Errorf("%d bytes sent", s.BytesSent())
			}
		})
	}
}

func TestStallGoesOnWhenItsGateOpens(t *testing.T) {
	s, want := bigServer(t, Options{})
	gate, reached := make(chan struct{}), make(chan struct{})
	a := StallAt(5000, gate)
	a.Then = func() { close(reached) }
	s.Once("RETR", "f", a)
	conn := dial(t, s)
	r, err := conn.Retr("f")
	if err != nil {
		t.Fatal(err)
	}
	<-reached
	head := make([]byte, 5000)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	close(gate)
	rest, err := io.ReadAll(r)
	if err != nil || r.Close() != nil || !bytes.Equal(append(head, rest...), want) {
		t.Errorf("%d bytes, %v", len(head)+len(rest), err)
	}
}

func TestStallEndsWithTheClientAndWithTheServer(t *testing.T) {
	s, _ := bigServer(t, Options{})
	rule := s.On("RETR", "f", StallAt(5000, nil))
	conn := dial(t, s)
	r, err := conn.Retr("f")
	if err != nil {
		t.Fatal(err)
	}
	if err := rule.Await(within(t), 1); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); code(err) != 426 {
		t.Errorf("closing a stalled transfer: %v", err)
	}
	if err := conn.NoOp(); err != nil {
		t.Error(err)
	}
	if _, err := conn.Retr("f"); err != nil {
		t.Fatal(err)
	}
	s.Stop() // would hang if the stall held on
	if s.Sessions() != 0 {
		t.Error("sessions outlived Stop")
	}
}

func TestControlConnectionDrops(t *testing.T) {
	for _, c := range []struct {
		name  string
		drop  Drop
		bytes int
	}{{"before", DropBefore, -1}, {"during", DropDuring, size}, {"final", DropFinal, size}, {"after", DropAfter, size}} {
		t.Run(c.name, func(t *testing.T) {
			s, want := bigServer(t, Options{})
			s.Once("RETR", "f", Action{Drop: c.drop, Cut: &Cut{At: 1000}})
			if c.drop != DropDuring {
				s.ClearRules()
				s.Once("RETR", "f", DropAt(c.drop))
			}
			conn := dial(t, s)
			r, err := conn.Retr("f")
			if c.bytes < 0 {
				if err == nil {
					t.Error("the command was answered")
				}
			} else {
				b, rerr := io.ReadAll(r)
				if rerr != nil || !bytes.Equal(b, want) {
					t.Errorf("%d bytes, %v", len(b), rerr)
				}
				if err := r.Close(); (err == nil) != (c.drop == DropAfter) {
					t.Errorf("the reply: %v", err)
				}
			}
			if err := s.AwaitIdle(within(t)); err != nil {
				t.Error(err)
			}
			if err := conn.NoOp(); err == nil {
				t.Error("the session lives")
			}
		})
	}
}

func TestRulesCountAndReplyAndWait(t *testing.T) {
	s, _ := bigServer(t, Options{})
	s.Add(Rule{Verb: "SIZE", Path: "f", Skip: 1, Every: 2, Times: 2, Action: Reply(550, "not now")})
	conn := dial(t, s)
	var got []bool
	for range 8 {
		_, err := conn.FileSize("f")
		got = append(got, err == nil)
	}
	if want := []bool{true, true, false, true, false, true, true, true}; !equal(got, want) {
		t.Errorf("SIZE answered %v, want %v", got, want)
	}
	gate := make(chan struct{})
	held := s.On("MDTM", "*", Wait(gate))
	answered := make(chan error, 1)
	go func() { _, err := conn.GetTime("f"); answered <- err }()
	if err := held.Await(within(t), 1); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-answered:
		t.Errorf("answered before the gate opened: %v", err)
	default:
	}
	close(gate)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	s.Script(func(c *Cmd) Action {
		if c.Verb == "CWD" && c.Path == "x" {
			return Reply(431, "No such directory")
		}
		return Action{}
	})
	if err := conn.ChangeDir("x"); code(err) != 431 {
		t.Errorf("script: %v", err)
	}
}

func equal(a, b []bool) bool {
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

func TestCaps(t *testing.T) {
	for _, c := range []struct {
		name  string
		at    CapMoment
		reply string
		code  int
	}{
		{"connect", CapAtConnect, "", 421},
		{"user", CapAtUser, "421 Too many users", 421},
		{"pass", CapAtPass, "530 Too many connections", 530},
		{"pass, left open", CapAtPassOpen, "530 Too many connections", 530},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := bigServer(t, Options{MaxPerAddr: 2, CapAt: c.at, CapReply: c.reply})
			first := dial(t, s)
			dial(t, s)
			login := func() error {
				conn, err := ftp.Dial(s.Addr(), ftp.DialWithTimeout(10*time.Second))
				if err != nil {
					return err
				}
				defer conn.Quit()
				return conn.Login("anonymous", "x")
			}
			refused := func(err error) bool { // the library drops the code of USER's reply
				return code(err) == c.code || c.at == CapAtUser && err != nil && err.Error() == "Too many users"
			}
			if err := login(); !refused(err) {
				t.Errorf("over the cap: %v", err)
			}
			if len(s.Refused()) != 1 || len(s.Attempts()) != 3 {
				t.Errorf("%d refused of %d", len(s.Refused()), len(s.Attempts()))
			}
			first.Quit()
			if err := s.Await(within(t), func() bool { return s.Sessions() == 1 }); err != nil {
				t.Fatal(err)
			}
			if err := login(); err != nil {
				t.Errorf("below the cap again: %v", err)
			}
			s.Update(func(o *Options) { o.MaxPerAddr = 1 })
			if err := s.Await(within(t), func() bool { return s.Sessions() == 1 }); err != nil {
				t.Fatal(err)
			}
			if err := login(); !refused(err) {
				t.Errorf("over the lowered cap: %v", err)
			}
		})
	}
}

func TestStopAndStartOnTheSamePort(t *testing.T) {
	s, want := bigServer(t, Options{Rate: 2 << 20})
	conn := dial(t, s)
	r, err := conn.Retr("f")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Await(within(t), func() bool { return len(s.Transfers()) == 1 }); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	b, _ := io.ReadAll(r)
	if len(b) == size || !bytes.HasPrefix(want, b) {
		t.Errorf("%d bytes before the end", len(b))
	}
	addr := s.Addr()
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("a stopped server answers")
	}
	if err := s.Start(); err != nil || s.Addr() != addr {
		t.Fatal(err, s.Addr())
	}
	if got := read(t, dial(t, s), "f", uint64(len(b))); !bytes.Equal(got, want[len(b):]) {
		t.Error("after the restart: other bytes")
	}
}

func TestFreezeAndThaw(t *testing.T) {
	s, _ := bigServer(t, Options{})
	conn := dial(t, s)
	s.Freeze()
	done := make(chan error, 1)
	go func() { done <- conn.NoOp() }()
	if err := s.Await(within(t), func() bool { return s.Count("NOOP") == 1 }); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Errorf("a frozen server answered: %v", err)
	default:
	}
	s.Thaw()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFilesChangeUnderTransfers(t *testing.T) {
	s, old := bigServer(t, Options{})
	gate := make(chan struct{})
	s.On("RETR", "f", StallAt(1000, gate))
	put, over := dial(t, s), dial(t, s)
	start := func(c *ftp.ServerConn, n int) *ftp.Response {
		r, err := c.Retr("f")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Await(within(t), func() bool {
			return len(s.Transfers()) == n && s.Transfers()[n-1].Sent == 1000
		}); err != nil {
			t.Fatal(err)
		}
		return r
	}
	r1 := start(put, 1)
	s.Tree().Generate("f", size, 4, mtime.Add(time.Hour)) // replaced: the open file lives on
	r2 := start(over, 2)
	mid := s.Tree().ReadFile("f")
	s.Tree().Overwrite("f", Generated(size/2, 5), mtime.Add(2*time.Hour)) // written over: the open file changes
	last := s.Tree().ReadFile("f")
	close(gate)
	if b, _ := io.ReadAll(r1); !bytes.Equal(b, old) {
		t.Error("the transfer of a replaced file got other bytes")
	}
	if b, _ := io.ReadAll(r2); !bytes.Equal(b, append(mid[:1000:1000], last[1000:]...)) {
		t.Error("the transfer of a file written over is not the mixture")
	}
	r1.Close()
	r2.Close()
	s.Tree().Remove("f")
	if _, err := put.FileSize("f"); code(err) != 550 {
		t.Errorf("SIZE of a removed file: %v", err)
	}
	s.Tree().Mkdir("f", mtime)
	if err := put.ChangeDir("f"); err != nil {
		t.Error(err)
	}
}

func TestOverlapsAndChangesAreNoticed(t *testing.T) {
	s, _ := bigServer(t, Options{})
	gate := make(chan struct{})
	s.Once("RETR", "f", StallAt(10, gate))
	conn := dial(t, s)
	if err := conn.MakeDir("new"); err == nil {
		t.Error("MKD was obeyed")
	}
	r, err := conn.Retr("f")
	if err != nil {
		t.Fatal(err)
	}
	go conn.NoOp() // a client that breaks the rule
	// The command can only be logged as one that overlapped if it arrived before
	// the gate opens; the reader goroutine takes it off the wire meanwhile.
	waitRead(t, s)
	close(gate)
	io.Copy(io.Discard, r)
	if err := s.Await(within(t), func() bool { return s.Count("NOOP") == 1 }); err != nil {
		t.Fatal(err)
	}
	if o := s.Overlaps(); len(o) != 1 || o[0].Verb != "NOOP" {
		t.Errorf("overlaps: %v", o)
	}
	if c := s.Changed(); len(c) != 1 || c[0].Verb != "MKD" {
		t.Errorf("changes: %v", c)
	}
	s.DropAll()
}

// waitRead waits until the only session's reader has a line in hand.
func waitRead(t *testing.T, s *Server) {
	t.Helper()
	s.mu.Lock()
	var ss *session
	for ss = range s.sessions {
	}
	s.mu.Unlock()
	select {
	case l := <-ss.lines: // put back by a goroutine of its own
		go func() { ss.lines <- l }()
	case <-within(t).Done():
		t.Fatal("no command arrived")
	}
}
