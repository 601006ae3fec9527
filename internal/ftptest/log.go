package ftptest

import (
	"context"
	"sync/atomic"
	"time"
)

// Command is one line of the command log.
type Command struct {
	Session   int
	Verb, Arg string // the verb in upper case
	Path      string // what Arg means for commands that take a path
	Time      time.Time
	During    bool // it came while a transfer of the same session was under way
}

// Transfer is one data connection that was used.
type Transfer struct {
	Session    int
	Verb, Path string
	Offset     int64 // where REST made it begin
	Sent       int64 // bytes given to the kernel
	Whole      bool  // everything up to the end was sent
	Running    bool
	Reply      string // the final one
	ASCII      bool   // TYPE A was in force
	Encrypted  bool
	Resumed    bool // TLS session of the control connection
	Begin, End time.Time
}

type transfer struct {
	Transfer              // guarded by Server.mu, except Sent
	sent     atomic.Int64 // what Sent will be
}

// Commands returns the command log.
func (s *Server) Commands() []Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Command(nil), s.commands...)
}

// Count is how many commands with this verb came.
func (s *Server) Count(verb string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[verb]
}

// CountPath is how many commands with this verb came for one path.
func (s *Server) CountPath(verb, path string) int {
	path = clean(path)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for i := range s.commands {
		if c := &s.commands[i]; c.Verb == verb && c.Path == path {
			n++
		}
	}
	return n
}

// Total is how many commands came.
func (s *Server) Total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := -s.counts["CONNECT"]
	for _, c := range s.counts {
		n += c
	}
	return n
}

// Transfers returns the data connections used, running ones too.
func (s *Server) Transfers() []Transfer {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Transfer, len(s.transfers))
	for i, t := range s.transfers {
		out[i] = t.Transfer
		out[i].Sent = t.sent.Load()
	}
	return out
}

// BytesSent is how many bytes of files went out.
func (s *Server) BytesSent() int64 { return s.fileBytes.Load() }

// ListBytesSent is how many bytes of listings went out.
func (s *Server) ListBytesSent() int64 { return s.listBytes.Load() }

// Sessions is how many control connections are open.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// MaxSessions is the largest number of control connections that were open at once.
func (s *Server) MaxSessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maxOpen
}

// Attempts are the times of all control connections.
func (s *Server) Attempts() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.attempts...)
}

// Refused are the times at which a cap refused a session.
func (s *Server) Refused() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.refused...)
}

// Changed are the commands that would have changed something on a writable
// server. A read-only client leaves it empty.
func (s *Server) Changed() []Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Command(nil), s.changed...)
}

// Overlaps are the commands that came while a transfer of the same session was
// under way, ABOR, QUIT and STAT aside: two transfers on one session.
func (s *Server) Overlaps() []Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Command(nil), s.overlaps...)
}

// Unencrypted lists what crossed the wire in the clear: logins and transfers.
func (s *Server) Unencrypted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := append([]string(nil), s.clear...)
	for _, t := range s.transfers {
		if !t.Encrypted {
			out = append(out, t.Verb+" "+t.Path)
		}
	}
	return out
}

// Reset forgets the logs, counts and maxima, not the rules. Sessions open now
// count toward the new maximum.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands, s.changed, s.overlaps, s.clear = nil, nil, nil, nil
	s.attempts, s.refused = nil, nil
	s.counts = make(map[string]int)
	s.maxOpen = s.open
	kept := s.transfers[:0:0]
	for _, t := range s.transfers {
		if t.Running {
			kept = append(kept, t)
		}
	}
	s.transfers = kept
	s.fileBytes.Store(0)
	s.listBytes.Store(0)
}

// Await waits until cond holds. It is asked again after every event: a session,
// a command, a rule that hit, a cut reached, the beginning and end of a transfer.
func (s *Server) Await(ctx context.Context, cond func() bool) error {
	for {
		s.mu.Lock()
		changed := s.event
		s.mu.Unlock()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// notify wakes those in Await. Callers hold mu.
func (s *Server) notify() {
	close(s.event)
	s.event = make(chan struct{})
}

// record logs a command that arrived.
func (s *Server) record(c Command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = trim(append(s.commands, c), s.opts().LogLimit)
	if c.During && c.Verb != "ABOR" && c.Verb != "QUIT" && c.Verb != "STAT" {
		s.overlaps = append(s.overlaps, c)
	}
	if changes(c) {
		s.changed = append(s.changed, c)
	}
}

// trim drops the older half of a log that is over its limit.
func trim[T any](log []T, limit int) []T {
	if limit == 0 {
		limit = 1_000_000
	}
	if len(log) > limit {
		log = append(log[:0:0], log[len(log)-limit/2:]...)
	}
	return log
}

// changes tells whether a command would change a writable server.
func changes(c Command) bool {
	switch c.Verb {
	case "STOR", "STOU", "APPE", "DELE", "MKD", "XMKD", "RMD", "XRMD", "RNFR", "RNTO",
		"SITE", "MFMT", "MFCT", "MFF", "ALLO", "SMNT", "COMB":
		return true
	case "MDTM": // the form that sets a time
		return len(c.Arg) > 15 && c.Arg[14] == ' ' && digits(c.Arg[:14])
	}
	return false
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// begin logs a transfer.
func (s *Server) begin(t Transfer) *transfer {
	tr := &transfer{Transfer: t}
	tr.Running, tr.Begin = true, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transfers = trim(append(s.transfers, tr), s.opts().LogLimit)
	s.notify()
	return tr
}

// end completes the log of a transfer.
func (s *Server) end(t *transfer, whole bool, reply string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Running, t.Whole, t.Reply, t.End = false, whole, reply, time.Now()
	s.notify()
}
