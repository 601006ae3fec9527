package doctor

import (
	"context"
	"fmt"

	"github.com/mirrorfs/mirrorfs/ftppool"
)

// manners is what follows from what was seen on the way: the clock.
func (s *Server) manners(context.Context) {
	p := s.Pool.Profile()
	s.Facts.Zone = p.Zone
	switch {
	case s.Facts.Listing == "":
	case p.Listing == "mlsd":
		s.ok("times", "exact, in UTC")
	case s.ZoneGiven:
		s.ok("times", "listed in %s, as --timezone says", p.Zone)
	case p.Zone != "":
		s.ok("times", "listed in %s, found by comparing with MDTM", p.Zone)
	case s.Facts.MDTM == "yes":
		s.ok("times", "exact by MDTM; the zone of listings shows with newer files")
	default:
		s.note("times", "the zone of the times that the server lists is not known",
			"They are taken for UTC, and may be hours off.", "If they are, name the server's zone with --timezone, like America/Sao_Paulo.")
	}
}

// The bounds of advice on --connections: what a mount takes by itself, and what
// is polite to ask of a server that is far away.
const (
	usual  = 4
	polite = 8
)

// sessions finds out how many the server takes, where that was asked for.
func (s *Server) sessions(ctx context.Context) {
	if s.Sessions == 0 {
		s.ok("sessions", "not tried: a mount finds out, from %d down. --probe-connections tries up to %d", usual, MostSessions)
		return
	}
	found, err := s.Pool.ProbeSessions(ctx, s.Sessions)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		s.problem("sessions", err)
		return
	}
	s.Facts.Sessions = &Sessions{Taken: found.Taken, Refusal: found.Refusal}
	text := fmt.Sprintf("%d at once", found.Taken)
	end := ""
	switch {
	case found.Refusal != "":
		end = fmt.Sprintf("the next one is refused (%q)", shorten(found.Refusal, 100))
	case found.Err != nil:
		end = fmt.Sprintf("the next one fails: %v", reason(found.Err))
		s.Facts.Sessions.Refusal = reason(found.Err).Error()
	default:
		s.ok("sessions", "%s, and perhaps more", text)
		s.connections(found.Taken)
		return
	}
	s.connections(found.Taken)
	if found.Taken >= usual {
		s.ok("sessions", "%s; %s", text, end)
		return
	}
	s.note("sessions", text+"; "+end, "All that come from one address may count together, other programs and people too.",
		fmt.Sprintf("Use --connections %d, or less where others need some.", found.Taken))
}

// connections chooses how many sessions to advise.
func (s *Server) connections(taken int) {
	switch {
	case taken < usual:
		s.Advice.Connections = taken
	case taken >= polite && s.Facts.Latency >= float64(farAway.Milliseconds()):
		s.Advice.Connections = polite
	}
}

// MostSessions is how many sessions are tried at most.
const MostSessions = 10

var _ Pool = (*ftppool.Pool)(nil)
