package ftppool

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What a mount learns of a server by using it, these probes find out at once,
// for whoever wants to know before. They cost a few commands and no data.

// Ways are the ways to a server: how far it is, and which of the two commands
// for a data connection lead to one.
type Ways struct {
	RoundTrip  time.Duration // the shortest of some questions and answers
	EPSV, PASV Passive
}

// Passive is what came of one way to ask for a data connection.
type Passive struct {
	Reply string // code and text
	Host  string // the address that PASV names; never connected to
	Port  int    // 0: the server offers none
	Err   error  // why the port can't be reached; nil when it can, or there is none
}

// Works reports whether a connection was made.
func (p Passive) Works() bool { return p.Port != 0 && p.Err == nil }

// ProbeWays asks for a port in both ways and connects to it. When only PASV
// works, EPSV will not be used. That neither does is no error.
func (p *Pool) ProbeWays(ctx context.Context) (Ways, error) {
	var found Ways
	err := p.with(ctx, Want{Class: ClassLookup}, opConnect, "", func(s *session) (err error) {
		found, err = s.probeWays()
		return err
	})
	if err == nil && !found.EPSV.Works() && found.PASV.Works() {
		p.learn(func(k *knowledge) { k.epsv = false })
	}
	return found, err
}

const trips = 3 // questions to measure the round trip with

func (s *session) probeWays() (found Ways, err error) {
	for range trips {
		start := time.Now()
		if _, err := s.ctl.exchange(false, "NOOP"); err != nil {
			return found, err
		}
		if took := time.Since(start); found.RoundTrip == 0 || took < found.RoundTrip {
			found.RoundTrip = took
		}
	}
	if found.EPSV, err = s.probePassive("EPSV", extendedPort); err != nil {
		return found, err
	}
	found.PASV, err = s.probePassive("PASV", func(text string) (int, bool) {
		m := passive.FindStringSubmatch(text)
		if m == nil {
			return 0, false
		}
		high, _ := strconv.Atoi(m[5])
		low, _ := strconv.Atoi(m[6])
		return high<<8 | low, high < 256 && low < 256
	})
	if m := passive.FindStringSubmatch(found.PASV.Reply); m != nil {
		found.PASV.Host = strings.Join(m[1:5], ".")
	}
	return found, err
}

// probePassive asks for a port, connects to it, and hangs up again.
func (s *session) probePassive(command string, port func(string) (int, bool)) (Passive, error) {
	commands := []string{command}
	if s.pool.known().pret {
		commands = []string{"PRET LIST", command} // it wants to know what for
	}
	replies, err := s.ctl.exchange(false, commands...)
	if err != nil {
		return Passive{}, err
	}
	answer := replies[len(replies)-1]
	found := Passive{Reply: s.pool.text(answer)}
	n, ok := port(answer.text)
	if !answer.ok() || !ok {
		return found, nil
	}
	found.Port = n
	conn, err := s.dialPort(strconv.Itoa(n), min(s.pool.cfg.silence(), epsvPatience))
	if err == nil {
		_ = conn.Close()
	}
	if s.ctx.Err() != nil {
		return found, context.Cause(s.ctx)
	}
	if err != nil {
		found.Err = s.pool.fail(opConnect, "", err)
	}
	return found, nil
}

// Sessions is how many sessions a server was seen to take at once.
type Sessions struct {
	Taken   int
	Refusal string // of the next one, in the server's words; "" when it was not refused
	// Err is what else kept the next one from coming about, such as a server
	// that hangs up without a word.
	Err error
}

// ProbeSessions logs in again and again, whatever the pool's own bound, until
// there are most sessions or one is refused; then it ends the new ones together
// and waits until the server has closed them too. The pool must be otherwise
// unused meanwhile.
func (p *Pool) ProbeSessions(ctx context.Context, most int) (Sessions, error) {
	var found Sessions
	err := p.with(ctx, Want{Class: ClassLookup}, opConnect, "", func(*session) error {
		found = Sessions{Taken: 1}
		var more []*session
		defer func() { p.quitAll(more) }()
		for found.Taken < most {
			s, err := p.another(ctx)
			switch {
			case err == nil:
				more = append(more, s)
				found.Taken++
				continue
			case ctx.Err() != nil:
				return context.Cause(ctx)
			}
			if r, ok := asReply(err); ok && isTooMany(r, found.Taken) {
				found.Refusal = p.text(r)
			} else {
				found.Err = p.fail(opLogin, "", err)
			}
			return nil
		}
		return nil
	})
	return found, err
}

// another makes a session that the pool does not count.
func (p *Pool) another(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout*2/3)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	for try := 1; ; try++ {
		s := p.newSession()
		s.alone = true
		release := s.guard(ctx)
		err := s.open(ctx)
		release()
		if err == nil && s.inStep() {
			return s, nil
		}
		s.stop(ErrClosed)
		if s.control != nil {
			s.control.hangUp(finWait, ctx.Done())
		}
		switch {
		case errors.Is(err, errSequential) && try < 3:
			continue // asked to try another way
		case err == nil:
			err = ErrProtocol
		case p.ctx.Err() == nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
			err = &silentError{p.cfg.Timeout * 2 / 3}
		}
		return nil, err
	}
}

// quitAll says goodbye on sessions that the pool does not count, all at once,
// and waits until the server has had the time to forget them.
func (p *Pool) quitAll(all []*session) {
	var tasks sync.WaitGroup
	for _, s := range all {
		tasks.Go(func() { p.quit(s) })
	}
	tasks.Wait()
	if len(all) == 0 {
		return
	}
	t := time.NewTimer(finGrace)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
	}
}
