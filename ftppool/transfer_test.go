package ftppool

import (
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// theTransfer is the one under way.
func theTransfer(tb testing.TB, p *Pool) *transfer {
	tb.Helper()
	await(tb, p, func(s Status) bool { return len(s.Transfers) == 1 })
	p.mu.Lock()
	defer p.mu.Unlock()
	for t := range p.transfers {
		return t
	}
	return nil
}

// A listing in the background makes way before it has a data connection too: the
// first, or the one for the targets of its links.
func TestListingMakesWayBeforeItsData(t *testing.T) {
	again := []string{"CWD", "MLSD", "MLSD", "LIST"} // the other one, and all of this one
	for name, want := range map[string][]string{
		"listing":          append([]string{"MLSD"}, again...),
		"targets of links": append([]string{"MLSD", "LIST"}, again...),
	} {
		t.Run(name, func(t *testing.T) {
			skip := len(want) - len(again) - 1
			tree := ftptest.NewTree()
			tree.WriteFile("d/f", []byte("1"), someTime)
			tree.Symlink("d/link", "f", someTime)
			s := ftptest.New(t, ftptest.Options{Profile: ftptest.ProFTPD(), Tree: tree})
			p := newPool(t, s, connections(1))
			mustList(t, p, "")
			gate := make(chan struct{})
			entered := s.Add(ftptest.Rule{Verb: "CWD", Path: "d", Skip: skip, Times: 1, Action: ftptest.Wait(gate)})
			from := len(s.Commands())
			var both sync.WaitGroup
			both.Go(func() {
				l, err := p.List(patience(t), Want{Class: ClassIdle}, "d")
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range l.Entries {
					if e.Raw == "link" && e.Target != "f" {
						t.Errorf("listed as %+v", e)
					}
				}
			})
			if err := entered.Await(patience(t), 1); err != nil {
				t.Fatal(err)
			}
			both.Go(func() {
				if _, err := p.List(patience(t), lookup, ""); err != nil {
					t.Error(err)
				}
			})
			waiting(t, p, 1)
			p.preempt(&waiter{want: lookup}, preemptAfter)
			close(gate)
			both.Wait()
			var listed []string
			for _, c := range s.Commands()[from:] {
				if c.Verb == "MLSD" || c.Verb == "LIST" || c.Verb == "CWD" && c.Path == "" {
					listed = append(listed, c.Verb)
				}
			}
			if !slices.Equal(listed, want) {
				t.Errorf("listed %v, want %v", listed, want)
			}
		})
	}
}

// A cut that comes when a listing is over cuts nothing of the session's next owner.
func TestLateCutOfAListing(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"d/f": "1234"}})
	p := newPool(t, s, connections(1))
	gate := make(chan struct{})
	s.Once("CWD", "d", ftptest.Wait(gate))
	done := make(chan error)
	go func() {
		_, err := p.List(patience(t), Want{Class: ClassIdle}, "d")
		done <- err
	}()
	listing := theTransfer(t, p)
	close(gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, p, read, "d/f", 0)
	defer f.Close()
	listing.cut(ErrPreempted)
	if b, err := io.ReadAll(f); string(b) != "1234" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// Whose question is being asked already waits for that, not for a session.
func TestNothingMakesWayForRiders(t *testing.T) {
	s, _ := slowServer(t, ftptest.Options{})
	p := newPool(t, s, connections(1))
	f := mustOpen(t, p, Want{Class: ClassIdle}, "big", 0).(*stream)
	defer f.Close()
	p.preempt(&waiter{want: lookup, carried: true}, preemptAfter)
	if err := f.ended(); err != nil {
		t.Error(err)
	}
	p.preempt(&waiter{want: lookup}, preemptAfter)
	if err := f.ended(); !errors.Is(err, ErrPreempted) {
		t.Error(err)
	}
}
