package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// quick lets silence be noticed after two seconds.
func quick(s *settings) { s.Timeout = 6 * time.Second }

var ways = map[ftptest.How]string{
	ftptest.With426: "426", ftptest.With451: "451", ftptest.With226: "early 226", ftptest.Reset: "reset",
	ftptest.Stall: "stall", ftptest.NoReply: "no reply", ftptest.Disconnect: "disconnect",
}

var moments = map[ftptest.Drop]string{
	ftptest.DropBefore: "before", ftptest.DropDuring: "during", ftptest.DropFinal: "instead of the reply",
	ftptest.DropAfter: "after the reply",
}

// One transfer is cut at byte k, in every way: the file is exact, and what had
// come is not sent again.
func TestCutAtByte(t *testing.T) {
	const size = 3 * mib
	for how, name := range ways {
		for _, k := range []int64{0, 1, 4095, 256 * kib, size/2 + 1, size - 1, size} {
			t.Run(fmt.Sprintf("%s at %d", name, k), func(t *testing.T) {
				t.Parallel()
				s := ftptest.New(t, ftptest.Options{})
				s.Tree().Generate("d/f", size, uint64(k), epoch)
				cut := s.Once("RETR", "d/f", ftptest.CutAt(k, how))
				m := mount(t, s, quick)
				m.exact("d/f", s.Tree().Content("d/f"))
				if cut.Fired() != 1 {
					t.Error("nothing was cut")
				}
				sentOnce(t, s, m, size)
			})
		}
	}
}

// Every transfer is cut after 300 KB: the file comes in many pieces.
func TestCutAlways(t *testing.T) {
	const size = 6 * mib
	for how, name := range ways {
		if how == ftptest.Stall {
			continue // each costs the limit of silence; the model and the soak have stalls
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{})
			s.Tree().Generate("f", size, 1, epoch)
			cut := s.Add(ftptest.Rule{Verb: "RETR", Path: "f", Action: ftptest.CutAt(300_000, how),
				Match: func(c *ftptest.Cmd) bool { return c.Offset < size-300_000 }})
			m := mount(t, s, quick)
			m.exact("f", s.Tree().Content("f"))
			if n := cut.Fired(); n < size/300_000-1 {
				t.Errorf("%d cuts of a file of %d bytes", n, int64(size))
			}
			sentOnce(t, s, m, size)
		})
	}
}

// The control connection is closed at each moment of a transfer.
func TestControlLost(t *testing.T) {
	const size = 3 * mib
	for drop, name := range moments {
		for _, abort := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reset %v", name, abort), func(t *testing.T) {
				t.Parallel()
				s := ftptest.New(t, ftptest.Options{})
				s.Tree().Generate("f", size, 1, epoch)
				a := ftptest.Action{Drop: drop, Abort: abort}
				if drop == ftptest.DropDuring {
					a.Cut = &ftptest.Cut{At: size / 2}
				}
				lost := s.Add(ftptest.Rule{Verb: "RETR", Path: "f", Times: 2, Action: a})
				m := mount(t, s, quick)
				m.exact("f", s.Tree().Content("f"))
				if lost.Fired() == 0 {
					t.Error("no control connection was closed")
				}
				if drop != ftptest.DropDuring { // there the data goes on to nobody
					sentOnce(t, s, m, size)
				}
			})
		}
	}
}

// The control connection is lost to any other command.
func TestControlLostToAnyCommand(t *testing.T) {
	for _, profile := range []ftptest.Profile{ftptest.Vsftpd(), ftptest.DATASUS(), ftptest.ProFTPD()} {
		for _, verb := range []string{"USER", "PASS", "FEAT", "SYST", "TYPE", "CWD", "PWD", "EPSV", "LIST", "MLSD", "REST", "SIZE", "MDTM", "MLST"} {
			t.Run(profile.Name+" "+verb, func(t *testing.T) {
				t.Parallel()
				s := ftptest.New(t, ftptest.Options{Profile: profile})
				s.Tree().Generate("d/f", mib, 1, epoch)
				s.Add(ftptest.Rule{Verb: verb, Path: "*", Times: 1, Action: ftptest.DropAt(ftptest.DropBefore)})
				s.Once("RETR", "*", ftptest.CutAt(500_000, ftptest.With426)) // so that there is a REST
				m := mount(t, s, quick)
				// A failed listing stands for a second, so that it is not asked for in a loop.
				eventually(t, "the directory is listed", func() bool {
					d, err := m.list("d")
					if err == nil && d.Len() != 1 {
						t.Fatalf("%d entries", d.Len())
					}
					return err == nil
				})
				m.exact("d/f", s.Tree().Content("d/f"))
			})
		}
	}
}

// The server is killed in the middle of a file, and started again.
func TestServerRestarted(t *testing.T) {
	const size = 8 * mib
	s := ftptest.New(t, ftptest.Options{})
	s.Tree().Generate("f", size, 1, epoch)
	died := make(chan struct{}, 8)
	kill := ftptest.CutAt(size/5, ftptest.Disconnect)
	kill.Then = func() { died <- struct{}{} }
	s.Add(ftptest.Rule{Verb: "RETR", Path: "f", Times: 4, Action: kill})
	m := mount(t, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.exact("f", s.Tree().Content("f"))
	}()
	for restarts := 0; ; restarts++ {
		select {
		case <-died:
			s.Stop()
			if err := s.Start(); err != nil {
				t.Error(err)
			}
			continue
		case <-done:
		}
		t.Logf("%d restarts", restarts)
		break
	}
	sentOnce(t, s, m, size)
}

// A server that takes no REST sends the file from the front again.
func TestRestartRefused(t *testing.T) {
	for _, reply := range []string{"502 Not implemented.", "501 REST is not for you.", "550 Restart refused."} {
		for how, name := range ways {
			if reply[:3] != "502" && how != ftptest.With426 {
				continue
			}
			t.Run(reply[:3]+" "+name, func(t *testing.T) {
				t.Parallel()
				p := ftptest.Vsftpd()
				p.Replies = map[string]string{"REST": reply}
				s := ftptest.New(t, ftptest.Options{Profile: p})
				s.Tree().Generate("f", 2*mib, 1, epoch)
				s.Add(ftptest.Rule{Verb: "RETR", Path: "f", Times: 2, Action: ftptest.CutAt(mib, how)})
				m := mount(t, s, quick)
				m.exact("f", s.Tree().Content("f"))
			})
		}
	}
}

// shifted is what a server sends that takes REST and begins at the front.
type shifted struct {
	ftptest.Content
	by int64
}

func (c shifted) ReadAt(p []byte, off int64) (int, error) { return c.Content.ReadAt(p, off-c.by) }
func (c shifted) Size() int64                             { return c.Content.Size() + c.by }

// A server that takes REST and does not obey it is found out by the bytes: none
// of them is given to a reader at the wrong place.
func TestRestartIgnored(t *testing.T) {
	const size = 2 * mib
	s := ftptest.New(t, ftptest.Options{})
	s.Tree().Generate("f", size, 1, epoch)
	truth := s.Tree().Content("f")
	first := true
	s.Script(func(c *ftptest.Cmd) ftptest.Action {
		switch {
		case c.Verb != "RETR":
			return ftptest.Action{}
		case c.Offset > 0:
			return ftptest.Action{Content: shifted{truth, c.Offset}}
		case first:
			first = false
			return ftptest.CutAt(mib, ftptest.With426)
		}
		return ftptest.Action{}
	})
	m := mount(t, s, func(s *settings) { s.Connections = 1 })
	h, err := m.handle("f")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	b, err := all(h)
	if wrong := compare(b, truth, 0, err == nil); wrong != nil {
		t.Fatalf("%v (error %v)", wrong, err)
	}
	t.Logf("%d of %d bytes, then %v; REST %v", len(b), truth.Size(), err, m.pool.Profile().Restart)
	h.Close()
	eventually(t, "the file is exact", func() bool {
		b, err := m.file("f")
		if wrong := compare(b, truth, 0, err == nil); wrong != nil {
			t.Fatal(wrong)
		}
		return err == nil
	})
	if got := m.pool.Profile().Restart; got == ftppool.RestartProven {
		t.Errorf("REST is %v", got)
	}
}

// sentOnce fails when more than a tenth of a file went over the wire twice.
// What a reset threw away on its way is not the client's to count: then it goes
// by the bytes that arrived.
func sentOnce(t *testing.T, s *ftptest.Server, m *mirror, size int64) {
	t.Helper()
	sent := s.BytesSent()
	if strings.Contains(t.Name(), "reset") {
		sent = m.cache.Content().Stats().Fetched
	}
	if sent > size+size/10 {
		for _, tr := range s.Transfers() {
			t.Logf("%s %s from %d: %d bytes, %s", tr.Verb, tr.Path, tr.Offset, tr.Sent, tr.Reply)
		}
		t.Errorf("%d bytes sent of a file of %d", sent, size)
	}
}
