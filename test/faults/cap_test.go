package faults

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

var capMoments = map[ftptest.CapMoment]string{
	ftptest.CapAtConnect: "at connect", ftptest.CapAtUser: "to USER",
	ftptest.CapAtPass: "to PASS", ftptest.CapAtPassOpen: "to PASS, left open",
}

// crowd has readers read all files, each beginning elsewhere.
func crowd(m *mirror, s *ftptest.Server, readers int) {
	m.t.Helper()
	files := s.Tree().List("d")
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			for j := range 3 {
				p := "d/" + files[(i+j)%len(files)].Name
				m.exact(p, s.Tree().Content(p))
			}
		})
	}
	wg.Wait()
}

// A server takes only so many sessions from one address: fifty readers get
// exact bytes, and once the cap is learned nothing is refused any more.
func TestCaps(t *testing.T) {
	replies := []string{
		"421 There are too many connected users, please try later.",
		"530 Sorry, the maximum number of clients from your host are already connected.",
	}
	for limit := 1; limit <= 3; limit++ {
		for at, name := range capMoments {
			reply := replies[(limit+int(at))%2]
			t.Run(fmt.Sprintf("%d, %s %s", limit, reply[:3], name), func(t *testing.T) {
				t.Parallel()
				s := ftptest.New(t, ftptest.Options{MaxPerAddr: limit, CapAt: at, CapReply: reply})
				for i := range 12 {
					s.Tree().Generate(fmt.Sprintf("d/f%02d", i), 200_000, uint64(i), epoch)
				}
				m := mount(t, s, func(s *settings) { s.Connections = 8 })
				learned := func() bool {
					st := m.pool.Status()
					return st.Cap == limit && time.Until(st.ProbeAt) > time.Minute
				}
				rounds := 0
				for ; !learned() && rounds < 100; rounds++ {
					crowd(m, s, 50)
					forget(m)
				}
				if !learned() {
					t.Fatalf("the cap of %d is not learned after %d rounds: %+v", limit, rounds, m.pool.Status())
				}
				refusals := len(s.Refused())
				// The one that was refused last may not have been closed yet.
				eventually(t, "the end of refused sessions", func() bool { return s.Sessions() <= limit })
				s.Reset()
				crowd(m, s, 50)
				if n := len(s.Refused()); n > 0 {
					t.Errorf("%d refusals after the cap was learned", n)
				}
				if n := s.MaxSessions(); n > limit {
					t.Errorf("%d sessions at once", n)
				}
				t.Logf("learned after %d rounds and %d refusals", rounds, refusals)
			})
		}
	}
}

// forget gives up all content, so that the next round fetches it again.
func forget(m *mirror) {
	for _, f := range m.cache.Content().Files() {
		_ = m.cache.Content().Evict(f.Path) // one that is being checked stays
	}
}

// A server refuses in the middle of its work that there be so many.
func TestTooManyAtWork(t *testing.T) {
	for _, reply := range []string{"421 Too many connections, closing.", "450 Too many users, try later."} {
		t.Run(reply[:3], func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{})
			for i := range 12 {
				s.Tree().Generate(fmt.Sprintf("d/f%02d", i), 200_000, uint64(i), epoch)
			}
			a := ftptest.Action{Reply: reply}
			if reply[:3] == "421" {
				a.Drop = ftptest.DropAfter
			}
			refused := s.Every(3, "RETR", "*", a)
			m := mount(t, s)
			crowd(m, s, 50)
			if refused.Fired() == 0 {
				t.Error("nothing was refused")
			}
			t.Logf("%d transfers refused", refused.Fired())
		})
	}
}

// While a server is down, fifty readers share one back-off: attempts come ever
// more rarely, however many wait, and all read on when it is back.
func TestBackoffIsShared(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{})
	for i := range 12 {
		s.Tree().Generate(fmt.Sprintf("d/f%02d", i), 200_000, uint64(i), epoch)
	}
	m := mount(t, s, func(s *settings) { s.Connections = 3 })
	if _, err := m.list("d"); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	m.dials.take()
	back := make(chan struct{})
	go func() {
		defer close(back)
		eventually(t, "four attempts failed", func() bool { return len(rounds(m.dials.peek())) >= 4 })
		if err := s.Start(); err != nil {
			t.Error(err)
		}
	}()
	crowd(m, s, 50)
	<-back
	first := rounds(m.dials.take())[:4]
	var pauses []time.Duration
	for i := 1; i < len(first); i++ {
		pauses = append(pauses, first[i].Sub(first[i-1]).Round(time.Millisecond))
		// Half a second, doubled each time, less a quarter of chance; never
		// less, however slow this machine is.
		if least := 375 * time.Millisecond << (i - 1); pauses[i-1] < least-50*time.Millisecond {
			t.Errorf("pause %d was %v, less than %v", i, pauses[i-1], least)
		}
	}
	t.Logf("pauses between attempts of 50 readers: %v", pauses)
}

// rounds are the beginnings of attempts; those made beside each other, as many
// as there may be sessions, are one.
func rounds(times []time.Time) []time.Time {
	slices.SortFunc(times, time.Time.Compare)
	var r []time.Time
	for _, at := range times {
		if len(r) == 0 || at.Sub(r[len(r)-1]) > 200*time.Millisecond {
			r = append(r, at)
		}
	}
	return r
}
