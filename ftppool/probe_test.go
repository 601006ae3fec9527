package ftppool

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
	"github.com/mirrorfs/mirrorfs/internal/realftp"
)

func TestProbeWays(t *testing.T) {
	for name, c := range map[string]struct {
		change     func(*ftptest.Profile)
		epsv, pasv bool
	}{
		"both work":          {func(*ftptest.Profile) {}, true, true},
		"EPSV is dead":       {func(p *ftptest.Profile) { p.EPSVDead = true }, false, true},
		"EPSV is refused":    {func(p *ftptest.Profile) { p.Replies = map[string]string{"EPSV": "500 No."} }, false, true},
		"PASV is dead":       {func(p *ftptest.Profile) { p.PASVDead = true }, true, false},
		"PASV is for others": {func(p *ftptest.Profile) { p.PASVHost = "10.1.2.3" }, true, true},
		"neither works":      {func(p *ftptest.Profile) { p.EPSVDead, p.PASVDead = true, true }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			profile := ftptest.Vsftpd()
			c.change(&profile)
			s := ftptest.New(t, ftptest.Options{Profile: profile, Files: map[string]string{"a": "alpha"}})
			p := newPool(t, s)
			ways, err := p.ProbeWays(patience(t))
			if err != nil {
				t.Fatal(err)
			}
			if ways.EPSV.Works() != c.epsv || ways.PASV.Works() != c.pasv || ways.RoundTrip <= 0 {
				t.Errorf("%+v", ways)
			}
			if profile.PASVHost != "" && ways.PASV.Host != profile.PASVHost {
				t.Errorf("PASV named %q", ways.PASV.Host)
			}
			if !c.epsv && !c.pasv {
				isError(t, ways.PASV.Err, syscall.ECONNREFUSED)
				return
			}
			// What was learned is used, on the same session.
			asked := s.Count("EPSV")
			if got := readAll(t, p, "a", 0); string(got) != "alpha" {
				t.Errorf("read %q", got)
			}
			if c.epsv != (s.Count("EPSV") > asked) || s.Sessions() > 1 || len(s.Attempts()) != 1 {
				t.Errorf("EPSV asked %d times after the probe, %d attempts", s.Count("EPSV")-asked, len(s.Attempts()))
			}
		})
	}
}

// A probe that is stopped just as it has a connection closes it.
func TestProbeStopped(t *testing.T) {
	var p *Pool
	var conns []net.Conn
	s := ftptest.New(t, ftptest.Options{})
	p = newPool(t, s, func(c *Config) {
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			p.mu.Lock()
			defer p.mu.Unlock()
			for s := range p.live {
				conns = append(conns, conn)
				s.stop(context.Canceled)
			}
			return conn, err
		}
	})
	if _, err := p.ProbeWays(patience(t)); !errors.Is(err, context.Canceled) || len(conns) == 0 {
		t.Errorf("%d connections, %v", len(conns), err)
	}
	for _, c := range conns {
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Error("a connection is open still")
		}
	}
}

// Some servers want to know what a port is for before they open one.
func TestProbeWaysWithPRET(t *testing.T) {
	profile := ftptest.Vsftpd()
	profile.Banner, profile.Features = "220 DrFTPD 3.0", append(profile.Features, "PRET")
	s := ftptest.New(t, ftptest.Options{Profile: profile})
	s.Script(func(c *ftptest.Cmd) ftptest.Action {
		if (c.Verb == "EPSV" || c.Verb == "PASV") && s.Count("PRET") < s.Count("EPSV")+s.Count("PASV") {
			return ftptest.Reply(530, "You need to use a client supporting PRET.")
		}
		return ftptest.Action{}
	})
	ways, err := newPool(t, s).ProbeWays(patience(t))
	if err != nil || !ways.EPSV.Works() || !ways.PASV.Works() {
		t.Errorf("%+v, %v", ways, err)
	}
}

// Ports that were asked for and left must not disturb any server.
func TestProbesOnRealServers(t *testing.T) {
	data := random(300_000, 3)
	onEach(t, realftp.Options{MaxPerIP: 3}, func(t *testing.T, s *realftp.Server) {
		write(t, s, "a", data)
		p := realPool(t, s, connections(1))
		ways, err := p.ProbeWays(patience(t))
		if err != nil || !ways.EPSV.Works() || !ways.PASV.Works() {
			t.Fatalf("%+v, %v", ways, err)
		}
		if got := readAll(t, p, "a", 0); !bytes.Equal(got, data) {
			t.Error("other bytes after the probe")
		}
		if err := p.ProveRestart(patience(t), "a"); err != nil || p.Profile().Restart != RestartProven {
			t.Errorf("REST is %v: %v", p.Profile().Restart, err)
		}
		found, err := p.ProbeSessions(patience(t), 10)
		if err != nil || found.Taken != 3 || found.Refusal == "" {
			t.Errorf("%+v, %v", found, err)
		}
		// All are gone again: others get in.
		if found, err = p.ProbeSessions(patience(t), 3); err != nil || found.Taken != 3 || found.Refusal != "" {
			t.Errorf("again: %+v, %v", found, err)
		}
	})
}

func TestProbeSessions(t *testing.T) {
	for name, at := range map[string]ftptest.CapMoment{
		"at the banner": ftptest.CapAtConnect, "at USER": ftptest.CapAtUser,
		"at PASS": ftptest.CapAtPass, "at PASS, and stays": ftptest.CapAtPassOpen,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{MaxPerAddr: 2, CapAt: at})
			p := newPool(t, s, connections(1))
			found, err := p.ProbeSessions(patience(t), 10)
			if err != nil || found.Taken != 2 || !strings.Contains(found.Refusal, "Too many") || found.Err != nil {
				t.Errorf("%+v, %v", found, err)
			}
			if n := len(s.Refused()); n != 1 {
				t.Errorf("refused %d times, one is enough", n)
			}
			if err := s.Await(patience(t), func() bool { return s.Sessions() <= 1 }); err != nil {
				t.Errorf("%d sessions are left", s.Sessions())
			}
			if n := len(s.Attempts()); n != 3 {
				t.Errorf("%d attempts", n)
			}
		})
	}
	t.Run("no more than told", func(t *testing.T) {
		s := ftptest.New(t, ftptest.Options{})
		found, err := newPool(t, s, connections(1)).ProbeSessions(patience(t), 5)
		if err != nil || found.Taken != 5 || found.Refusal != "" || s.MaxSessions() != 5 {
			t.Errorf("%+v, %v; %d sessions", found, err, s.MaxSessions())
		}
	})
	t.Run("the server hangs up", func(t *testing.T) {
		s := ftptest.New(t, ftptest.Options{})
		s.Add(ftptest.Rule{Verb: "CONNECT", Path: "*", Skip: 2, Action: ftptest.DropAt(ftptest.DropBefore)})
		found, err := newPool(t, s, connections(1)).ProbeSessions(patience(t), 10)
		if err != nil || found.Taken != 2 || found.Err == nil || len(s.Attempts()) != 3 {
			t.Errorf("%+v, %v", found, err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		s := ftptest.New(t, ftptest.Options{})
		ctx, cancel := context.WithCancel(patience(t))
		gate := make(chan struct{})
		s.Script(func(c *ftptest.Cmd) ftptest.Action {
			if c.Verb == "CONNECT" && c.N == 3 {
				cancel()
				return ftptest.Action{Wait: gate}
			}
			return ftptest.Action{}
		})
		if _, err := newPool(t, s, connections(1)).ProbeSessions(ctx, 10); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		close(gate)
		if err := s.AwaitIdle(patience(t)); err != nil {
			t.Errorf("%d sessions are left: %v", s.Sessions(), err)
		}
	})
}
