package ftppool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// waiting blocks until n requests wait for a session.
func waiting(tb testing.TB, p *Pool, n int) {
	tb.Helper()
	await(tb, p, func(s Status) bool { return s.Waiting == n })
}

// sentSince is the commands that came after the first ones.
func sentSince(s *ftptest.Server, from int) []string {
	var verbs []string
	for _, c := range s.Commands()[from:] {
		verbs = append(verbs, c.Verb)
	}
	return verbs
}

// Questions that wait for a session are all answered by the first that is free,
// each with its own answer, that of an absent file too.
func TestQuestionsRideAlong(t *testing.T) {
	files := map[string]string{}
	for i := range 5 {
		files[fmt.Sprintf("f%d", i)] = fmt.Sprintf("%*d", i+1, i)
	}
	s := ftptest.New(t, ftptest.Options{Files: files})
	p := newPool(t, s, connections(1))
	held, err := p.acquire(patience(t), lookup, false)
	if err != nil {
		t.Fatal(err)
	}
	var asking sync.WaitGroup
	for i := range 5 {
		asking.Go(func() {
			if e, err := p.Stat(patience(t), lookup, fmt.Sprintf("f%d", i)); err != nil || e.Size != int64(i+1) || e.Raw != fmt.Sprintf("f%d", i) {
				t.Errorf("f%d: %+v, %v", i, e, err)
			}
		})
	}
	asking.Go(func() {
		if _, err := p.Stat(patience(t), lookup, "absent"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("absent: %v", err)
		}
	})
	waiting(t, p, 6)
	// Whoever is first sends for all before any reply is there.
	gate := make(chan struct{})
	first := s.Add(ftptest.Rule{Verb: "SIZE", Path: "*", Times: 1, Action: ftptest.Wait(gate)})
	p.release(held)
	if err := first.Await(patience(t), 1); err != nil {
		t.Fatal(err)
	}
	waiting(t, p, 0)
	close(gate)
	asking.Wait()
}

// A question that nobody waits for goes along with a transfer that does.
func TestQuestionsRideWithTransfers(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"done": "xx", "next": "yyy"}})
	p := newPool(t, s, connections(1))
	held, err := p.acquire(patience(t), lookup, false)
	if err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(func() {
		if e, err := p.Stat(patience(t), Want{Class: ClassReadAhead}, "done"); err != nil || e.Size != 2 {
			t.Errorf("%+v, %v", e, err)
		}
	})
	waiting(t, p, 1)
	both.Go(func() {
		r, err := p.Open(patience(t), Want{Class: ClassIdle, Check: true}, "next", 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer r.Close()
		if e, ok := r.(Checked).Entry(); !ok || e.Size != 3 {
			t.Errorf("checked: %+v, %v", e, ok)
		}
		if b, err := io.ReadAll(r); err != nil || string(b) != "yyy" {
			t.Errorf("%q, %v", b, err)
		}
	})
	waiting(t, p, 2)
	from := len(s.Commands())
	gate := make(chan struct{})
	first := s.Add(ftptest.Rule{Verb: "SIZE", Path: "done", Action: ftptest.Wait(gate)})
	p.release(held)
	if err := first.Await(patience(t), 1); err != nil {
		t.Fatal(err)
	}
	waiting(t, p, 0) // neither is served after the other
	close(gate)
	both.Wait()
	want := []string{"SIZE", "MDTM", "CWD", "SIZE", "MDTM", "EPSV", "RETR"}
	if got := sentSince(s, from); !slices.Equal(got, want) {
		t.Errorf("sent %v, want %v", got, want)
	}
}

// When the session ends under those who ride along, they ask by themselves; who
// gives up does not wait for it.
func TestRidersOfALostSession(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"a": "1", "b": "22", "c": "333"}})
	p := newPool(t, s, connections(1))
	held, err := p.acquire(patience(t), lookup, false)
	if err != nil {
		t.Fatal(err)
	}
	s.Add(ftptest.Rule{Verb: "MDTM", Path: "*", Times: 1, Action: ftptest.DropAt(ftptest.DropBefore)})
	var asking sync.WaitGroup
	for i, name := range []string{"a", "b", "c"} {
		asking.Go(func() {
			if e, err := p.Stat(patience(t), lookup, name); err != nil || e.Size != int64(i+1) {
				t.Errorf("%s: %+v, %v", name, e, err)
			}
		})
	}
	waiting(t, p, 3)
	p.release(held)
	asking.Wait()
}

// Questions ride with the login of the session they wait for, and a login that
// is refused answers none of them.
func TestQuestionsRideWithLogins(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"a": "1", "b": "22"}})
	p := newPool(t, s, connections(1))
	mustList(t, p, "")
	for _, refuse := range []bool{false, true} {
		held, err := p.acquire(patience(t), lookup, false)
		if err != nil {
			t.Fatal(err)
		}
		if refuse {
			s.Add(ftptest.Rule{Verb: "PASS", Path: "*", Times: 1, Action: ftptest.Reply(530, "Too many users.")})
			s.Add(ftptest.Rule{Verb: "SIZE", Path: "*", Times: 1, Action: ftptest.Reply(213, "99")})
		}
		var asking sync.WaitGroup
		for i, name := range []string{"a", "b"} {
			asking.Go(func() {
				if e, err := p.Stat(patience(t), lookup, name); err != nil || e.Size != int64(i+1) {
					t.Errorf("refused %v: %s: %+v, %v", refuse, name, e, err)
				}
			})
		}
		waiting(t, p, 2)
		from := len(s.Commands())
		held.stop(io.ErrUnexpectedEOF)
		p.release(held)
		asking.Wait()
		got := slices.DeleteFunc(sentSince(s, from), func(verb string) bool { return verb == "OPTS" })
		want := []string{"USER", "PASS", "TYPE", "SIZE", "MDTM", "CWD", "SIZE", "MDTM", "CWD"}
		if refuse {
			want = append(slices.Clone(want), want...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("refused %v: sent %v, want %v", refuse, got, want)
		}
	}
}

// The server's goodbye in place of an answer is none.
func TestGoodbyeInPlaceOfAnAnswer(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Profile: ftptest.Vsftpd(), Files: map[string]string{"dir/in": "", "next": "yyy"}})
	p := newPool(t, s, connections(1))
	held, err := p.acquire(patience(t), lookup, false)
	if err != nil {
		t.Fatal(err)
	}
	s.On("SIZE", "dir", ftptest.Reply(550, "No."))
	s.Once("CWD", "dir", ftptest.Reply(421, "Going down."))
	var both sync.WaitGroup
	both.Go(func() {
		if e, err := p.Stat(patience(t), Want{Class: ClassReadAhead}, "dir"); err != nil || e.Type != listing.Dir {
			t.Errorf("%+v, %v", e, err)
		}
	})
	waiting(t, p, 1)
	both.Go(func() {
		r, err := p.Open(patience(t), Want{Class: ClassIdle, Check: true}, "next", 0)
		if err != nil {
			t.Error(err)
			return
		}
		_ = r.Close()
	})
	waiting(t, p, 2)
	p.release(held)
	both.Wait()
}

// hanging returns a pool whose server soon counts as silent, and which is silent
// when it is asked for the size of "slow" for the first time; its one session is
// held. The question is asked again after that.
func hanging(t *testing.T) (s *ftptest.Server, p *Pool, held *session, slow *ftptest.Armed) {
	t.Helper()
	t.Parallel()
	gate := make(chan struct{})
	s = ftptest.New(t, ftptest.Options{Files: map[string]string{"slow": "1", "quick": "22", "other": "333"}})
	t.Cleanup(func() { close(gate) })
	p = newPool(t, s, connections(1), func(c *Config) { c.Timeout = 6 * time.Second })
	held, err := p.acquire(patience(t), lookup, false)
	if err != nil {
		t.Fatal(err)
	}
	return s, p, held, s.Once("SIZE", "slow", ftptest.Wait(gate))
}

// sizes asks for sizes in the background, one after another in the queue.
func sizes(t *testing.T, p *Pool, asking *sync.WaitGroup, names ...string) {
	t.Helper()
	want := map[string]int64{"slow": 1, "quick": 2, "other": 3}
	before := p.Status().Waiting
	for i, name := range names {
		asking.Go(func() {
			if e, err := p.Stat(patience(t), lookup, name); err != nil || e.Size != want[name] {
				t.Errorf("%s: %+v, %v", name, e, err)
			}
		})
		await(t, p, func(s Status) bool { return s.Waiting > before+i })
	}
}

// Whoever takes a question along that hangs has its own answer.
func TestOwnAnswerBeforeAHangingQuestion(t *testing.T) {
	s, p, held, _ := hanging(t)
	var asking sync.WaitGroup
	sizes(t, p, &asking, "quick", "slow")
	p.release(held)
	asking.Wait()
	n := 0
	for _, c := range s.Commands() {
		if c.Verb == "SIZE" && c.Path == "quick" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// A transfer that takes a question along that hangs is begun again without.
func TestTransferBehindAHangingQuestion(t *testing.T) {
	_, p, held, _ := hanging(t)
	var both sync.WaitGroup
	both.Go(func() {
		if e, err := p.Stat(patience(t), Want{Class: ClassReadAhead}, "slow"); err != nil || e.Size != 1 {
			t.Errorf("%+v, %v", e, err)
		}
	})
	waiting(t, p, 1)
	both.Go(func() {
		r, err := p.Open(patience(t), Want{Class: ClassIdle, Check: true}, "quick", 0)
		if err != nil {
			t.Error(err)
			return
		}
		if b, err := io.ReadAll(r); err != nil || string(b) != "22" {
			t.Errorf("%q, %v", b, err)
		}
		_ = r.Close()
	})
	waiting(t, p, 2)
	p.release(held)
	both.Wait()
}

// A login that takes a question along that hangs is no failure of the login; the
// next takes none along.
func TestLoginBeforeAHangingQuestion(t *testing.T) {
	s, p, held, slow := hanging(t)
	var asking sync.WaitGroup
	sizes(t, p, &asking, "quick", "slow")
	held.stop(io.ErrUnexpectedEOF)
	p.release(held)
	if err := slow.Await(patience(t), 1); err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	next := s.Once("PASS", "*", ftptest.Wait(gate))
	sizes(t, p, &asking, "other")
	if err := next.Await(patience(t), 1); err != nil {
		t.Fatal(err)
	}
	waiting(t, p, 3)
	close(gate)
	asking.Wait()
	if st := p.Status(); st.Failed != 0 {
		t.Errorf("failures: %+v", st)
	}
}

// A question that rides with a login is written as the server takes it, too.
func TestTelnetInRiders(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{})
	p := newPool(t, s, connections(1))
	held, err := p.acquire(patience(t), lookup, false)
	if err != nil {
		t.Fatal(err)
	}
	p.learn(func(k *knowledge) { k.base, k.telnet = "/\xff", telnetObeyed })
	done := make(chan error)
	go func() {
		_, err := p.Stat(patience(t), lookup, "a")
		done <- err
	}()
	waiting(t, p, 1)
	held.stop(io.ErrUnexpectedEOF)
	p.release(held)
	isError(t, <-done, fs.ErrNotExist)
	for _, c := range s.Commands() {
		if c.Verb == "SIZE" && c.Arg != "/\xff\xff/a" {
			t.Errorf("sent %q", c.Arg)
		}
	}
}
