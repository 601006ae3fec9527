package ftppool

import (
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// behind reads all of "f" while a question about "g" waits, tells when the file
// has ended, and waits for the answer.
func behind(t *testing.T, p *Pool, content string, ended func()) {
	t.Helper()
	r := mustOpen(t, p, read, "f", 0)
	var asking sync.WaitGroup
	asking.Go(func() {
		if e, err := p.Stat(patience(t), lookup, "g"); err != nil || e.Size != 2 {
			t.Errorf("%+v, %v", e, err)
		}
	})
	waiting(t, p, 1)
	if b, err := io.ReadAll(r); err != nil || string(b) != content {
		t.Errorf("%q, %v", b, err)
	}
	ended()
	asking.Wait()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// Who waits for a session has it when the data of a transfer is there, before
// the server has said that it is.
func TestNextOwnerDoesNotWaitForTheReply(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "content", "g": "xx"}})
	late := make(chan struct{})
	s.On("RETR", "f", ftptest.Action{Late: late})
	p := newPool(t, s, connections(1))
	mustList(t, p, "")
	from := len(s.Commands())
	behind(t, p, "content", func() {
		waiting(t, p, 0)
		close(late)
	})
	if got, want := sentSince(s, from), []string{"EPSV", "RETR", "SIZE", "MDTM", "CWD"}; !slices.Equal(got, want) {
		t.Errorf("sent %v, want %v", got, want)
	}
	if p.Status().Logins != 1 {
		t.Error("the session was not kept")
	}
}

// A reply that never comes, comes twice, or says no costs the session, not the
// request; and from then on replies are waited for.
func TestOwedReplyThatIsNone(t *testing.T) {
	for name, final := range map[string]string{
		"never comes": "",
		"says no":     "426 Failure writing network stream.",
		"comes twice": "226 Done.\r\n226 Transfer complete.",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "content", "g": "xx"}})
			gate := make(chan struct{})
			s.Add(ftptest.Rule{Verb: "RETR", Path: "f", Times: 1, Action: ftptest.Action{Final: final, Late: gate}})
			p := newPool(t, s, connections(1), func(c *Config) { c.Timeout = 3 * time.Second })
			mustList(t, p, "")
			behind(t, p, "content", func() {
				if waiting(t, p, 0); final != "" {
					close(gate)
				}
			})
			if p.Status().Logins != 2 {
				t.Errorf("%d logins", p.Status().Logins)
			}
			late := make(chan struct{})
			s.Add(ftptest.Rule{Verb: "RETR", Path: "f", Action: ftptest.Action{Late: late}})
			behind(t, p, "content", func() {
				if p.Status().Waiting != 1 {
					t.Error("the question did not wait for the reply")
				}
				close(late)
			})
			if p.Status().Logins != 2 {
				t.Errorf("%d logins after all", p.Status().Logins)
			}
		})
	}
}

// An idle session may still be owed a reply: whoever wanted it has gone.
func TestOwedReplyOfAnIdleSession(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "content", "g": "xx"}})
	late := make(chan struct{})
	s.Add(ftptest.Rule{Verb: "RETR", Path: "f", Times: 1, Action: ftptest.Action{Late: late}})
	p := newPool(t, s, connections(1))
	mustList(t, p, "")
	r := mustOpen(t, p, read, "f", 0)
	w := &waiter{want: lookup, ready: make(chan grant, 1)}
	p.mu.Lock()
	p.queue.push(w)
	p.mu.Unlock()
	if b, err := io.ReadAll(r); err != nil || string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
	idle := (<-w.ready).session
	p.release(idle)
	close(late)
	await(t, p, func(Status) bool {
		words, _ := idle.ctl.wire.unasked()
		return words
	})
	mustList(t, p, "")
	if b := readAll(t, p, "f", 0); string(b) != "content" || p.Status().Logins != 1 {
		t.Errorf("%q, %d logins", b, p.Status().Logins)
	}
}
