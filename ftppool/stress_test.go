package ftppool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// Everything at once, for a while: requests of all classes and users, given up
// at random, on a server that fails in every way it knows. What is answered is
// right, the bound holds, and in the end everything works and nothing is left.
func TestStress(t *testing.T) {
	for _, profile := range []ftptest.Profile{ftptest.Vsftpd(), ftptest.ProFTPD(), ftptest.DATASUS()} {
		for _, n := range []int{1, 3} {
			t.Run(profile.Name, func(t *testing.T) {
				t.Parallel()
				stress(t, profile, n)
			})
		}
	}
}

func stress(t *testing.T, profile ftptest.Profile, n int) {
	tree := ftptest.NewTree()
	tree.Generate("d/f", 256<<10, 1, someTime)
	for i := range 50 {
		tree.WriteFile("d/e/"+string(rune('a'+i%26))+string(rune('a'+i/26)), nil, someTime)
	}
	want := tree.ReadFile("d/f")
	s := ftptest.New(t, ftptest.Options{Profile: profile, Tree: tree, SendBuffer: 32 << 10})
	p := newPool(t, s, connections(n), func(c *Config) { c.Timeout = 3 * time.Second })
	for i, a := range []ftptest.Action{
		ftptest.CutAt(10_000, ftptest.With426), ftptest.CutAt(20_000, ftptest.Reset), ftptest.CutAt(100_000, ftptest.With226),
		ftptest.CutAt(7_000, ftptest.Disconnect), ftptest.CutAt(50_000, ftptest.Stall),
	} {
		s.Every(29+2*i, "RETR", "*", a)
	}
	s.Every(23, "LIST", "*", ftptest.CutAt(100, ftptest.With426))
	s.Every(31, "MLSD", "*", ftptest.CutAt(100, ftptest.Disconnect))
	s.Every(37, "CWD", "*", ftptest.Reply(421, "Going down."))
	s.Every(41, "EPSV", "*", ftptest.DropAt(ftptest.DropBefore))
	s.Every(43, "SIZE", "*", ftptest.Action{Silent: true})

	var done atomic.Int64
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for worker := range 12 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 7))
			for ctx.Err() == nil {
				once, stop := context.WithTimeout(ctx, time.Duration(rng.IntN(3000))*time.Millisecond)
				w := Want{Class: Class(rng.IntN(4)), UID: uint32(worker % 3), Check: rng.IntN(2) == 0}
				switch rng.IntN(4) {
				case 0:
					if l, err := p.List(once, w, "d/e"); err == nil {
						done.Add(1)
						if len(l.Entries) != 50 {
							t.Errorf("listed %d entries", len(l.Entries))
						}
					} else {
						known(t, err)
					}
				case 1:
					if e, err := p.Stat(once, w, "d/f"); err == nil {
						done.Add(1)
						if e.Size != int64(len(want)) {
							t.Errorf("%+v", e)
						}
					} else {
						known(t, err)
					}
				case 2, 3:
					at := int64(rng.IntN(len(want)))
					r, err := p.Open(once, w, "d/f", at)
					if err != nil {
						known(t, err)
						break
					}
					b, err := io.ReadAll(io.LimitReader(r, int64(rng.IntN(len(want)))))
					if err != nil {
						known(t, err)
					}
					done.Add(1)
					if !bytes.HasPrefix(want[at:], b) {
						t.Errorf("wrong bytes at %d", at)
					}
					_ = r.Close()
				}
				stop()
				if rng.IntN(50) == 0 {
					p.Slept()
				}
			}
		})
	}
	wg.Wait()
	s.ClearRules()
	await(t, p, func(Status) bool { return p.Connect(patience(t)) == nil })
	if b := readAll(t, p, "d/f", 0); !bytes.Equal(b, want) {
		t.Error("wrong bytes in the end")
	}
	await(t, p, func(st Status) bool {
		return st.Busy == 0 && st.Waiting == 0 && st.Ending == 0 && len(st.Transfers) == 0
	})
	if got := s.MaxSessions(); got > n {
		t.Errorf("%d control connections, with a bound of %d", got, n)
	}
	if o := s.Overlaps(); len(o) > 0 {
		t.Errorf("overlaps: %v", o)
	}
	t.Logf("%d requests answered, %d logins", done.Load(), p.Status().Logins)
}

// known fails the test for an error that a fault of the server can't explain.
func known(t *testing.T, err error) {
	t.Helper()
	for _, kind := range []error{
		context.DeadlineExceeded, context.Canceled, io.EOF, io.ErrUnexpectedEOF, ErrPreempted, ErrRefused, ErrTooMany,
		ErrProtocol, // a command that was not answered
	} {
		if errors.Is(err, kind) {
			return
		}
	}
	if !isNetwork(err) {
		t.Errorf("an error without reason: %v", err)
	}
}
