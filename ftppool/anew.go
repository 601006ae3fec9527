package ftppool

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// This file is about sessions that are given up because the machine slept or its
// network is another now. Their owners ask again, and are served by new ones.

// What is done on such a session ends with one of these. They are
// ErrPreempted: nobody failed, and the same request on another session goes on.
var (
	errMoved = fmt.Errorf("the way to the server changed: %w", ErrPreempted)
	errSlept = fmt.Errorf("the machine slept: %w", ErrPreempted)
)

// way is where a control connection goes, and how.
type way struct {
	from, to netip.Addr
	path     string // "" when it is not known
}

// elsewhere stand for a server whose address is not known yet: what matters is
// whether there is a way out at all. They are for documentation (RFC 5737, RFC
// 3849), so they are as far as can be, and nothing is sent to them.
var elsewhere = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}

// wayOf notes the way of a new connection.
func (p *Pool) wayOf(c net.Conn) way {
	if p.cfg.Path == nil {
		return way{}
	}
	w := way{from: addrOf(c.LocalAddr()), to: addrOf(c.RemoteAddr())}
	if !w.from.IsValid() || !w.to.IsValid() {
		return way{} // no TCP
	}
	w.path, _ = p.cfg.Path(w.from, w.to)
	out := p.wayOut(w.to)
	p.mu.Lock()
	p.server, p.out = w.to, out
	p.mu.Unlock()
	return w
}

func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr()
	}
	return netip.Addr{}
}

// wayOut is how a new connection to the server would go, "" if none would. An
// invalid address is a server that is not known yet.
func (p *Pool) wayOut(server netip.Addr) string {
	to := []netip.Addr{server}
	if !server.IsValid() {
		to = elsewhere
	}
	out := ""
	for _, a := range to {
		if path, err := p.cfg.Path(netip.Addr{}, a); err == nil {
			out += path + "\n"
		}
	}
	return out
}

// lost reports whether packets of a connection no longer go where they went,
// and others would. While there is no way to the server at all nothing is lost:
// it may be the same again in a moment, and TCP bridges that.
func (p *Pool) lost(w way) bool {
	if w.path == "" {
		return false
	}
	now, err := p.cfg.Path(w.from, w.to)
	if err == nil {
		return now != w.path
	}
	_, err = p.cfg.Path(netip.Addr{}, w.to)
	return err == nil
}

// NetworkChanged is told that addresses or routes of this machine may have
// changed. Sessions whose way to the server is another now, or whose address is
// gone, are given up, as are connections under way when new ones would go another
// way; what they were doing goes on with new ones. It returns
// true when there is reason to try at once what failed before. Without
// Config.Path it does nothing.
func (p *Pool) NetworkChanged() (tryAgain bool) {
	if p.cfg.Path == nil {
		return false
	}
	p.mu.Lock()
	sessions, server, before := p.all(), p.server, p.out
	p.mu.Unlock()
	var gone []*session
	out := p.wayOut(server)
	another := out != "" && out != before
	known := make(map[way]bool)
	for _, s := range sessions {
		w, connected := s.wayNow()
		if !connected && another {
			gone = append(gone, s)
			continue
		}
		lost, ok := known[w]
		if !ok {
			lost = p.lost(w)
			known[w] = lost
		}
		if lost {
			gone = append(gone, s)
		}
	}
	tryAgain = another || out != "" && len(gone) > 0
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == server {
		p.out = out
	}
	if len(gone) > 0 {
		p.log.Info("the way to the server changed", "sessions given up", len(gone))
	} else {
		p.log.Debug("the network changed, but not the way to the server", "try again", tryAgain)
	}
	p.giveUp(gone, errMoved, tryAgain)
	return tryAgain
}

// Slept is told that the machine was suspended: its peers may know nothing of
// its connections any more. All sessions are given up, and what they were doing
// goes on with new ones.
func (p *Pool) Slept() {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.all()
	p.log.Info("the machine slept", "sessions given up", len(all))
	p.giveUp(all, errSlept, true)
}

// all are the sessions there are, those that are being made too. Callers hold
// p.mu.
func (p *Pool) all() []*session {
	var all []*session
	for s := range p.live {
		all = append(all, s)
	}
	for s := range p.opening {
		all = append(all, s)
	}
	return all
}

// giveUp ends sessions: idle ones here, others by whoever has them. Where the
// server can be reached anew, what failed before is no reason to wait. Callers
// hold p.mu.
func (p *Pool) giveUp(gone []*session, why error, tryAgain bool) {
	for _, s := range gone {
		s.stop(why)
	}
	var idle []*session
	for _, s := range p.idle {
		if s.inStep() {
			idle = append(idle, s)
		} else {
			p.discard(s)
		}
	}
	p.idle = idle
	if tryAgain {
		p.backoff.succeeded()
	}
	p.schedule()
}

// givenUp is why a session that is being made was given up, nil if it was not.
func (s *session) givenUp() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.stopped, ErrPreempted) {
		return s.stopped
	}
	return nil
}

// wayNow is the way of a session's control connection, and whether it has one
// already.
func (s *session) wayNow() (w way, connected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.way, s.control != nil
}

// farewell is how long to wait for the server to notice that a session ended:
// not at all when nothing gets there.
func (s *session) farewell() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped == errMoved {
		return 0
	}
	return finWait
}
