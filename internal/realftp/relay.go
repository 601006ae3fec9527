package realftp

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Command is what a client said.
type Command struct {
	Session   int
	Verb, Arg string // the verb in upper case
	Reply     int    // the code of the final reply, 0 if none came
	During    bool   // it came while a transfer of the same session was under way
	Time      time.Time
}

// relay passes control connections on to a server, counts them and reads along.
type relay struct {
	to     string // the server
	hidden bool   // TLS from the first byte: there is nothing to read

	wg sync.WaitGroup // the accepting and the passing goroutines

	mu       sync.Mutex // guards what follows; no I/O under it
	addr     string     // with the port after the first start
	listener net.Listener
	killed   bool                  // the server was, between close and start
	conns    map[net.Conn]struct{} // of both sides
	open     int
	most     int
	total    int
	lastID   int // of a session
	commands []*Command
	started  int // RETRs that got a mark
	overlaps []Command
}

func (r *relay) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := net.Listen("tcp", r.addr)
	if err != nil {
		return err
	}
	r.listener, r.addr, r.killed = l, l.Addr().String(), false
	r.conns = make(map[net.Conn]struct{})
	r.wg.Add(1)
	go r.accept(l)
	return nil
}

// close stops taking connections.
func (r *relay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != nil {
		r.listener.Close()
		r.listener, r.killed = nil, true
	}
}

// drop closes all connections and waits until nothing runs any more.
func (r *relay) drop() {
	r.mu.Lock()
	for c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *relay) port() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, port, _ := net.SplitHostPort(r.addr)
	n, _ := strconv.Atoi(port)
	return n
}

func (r *relay) accept(l net.Listener) {
	defer r.wg.Done()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		if r.listener != l {
			r.mu.Unlock()
			c.Close()
			return
		}
		r.total++
		r.lastID++
		r.open++
		r.most = max(r.most, r.open)
		p := &passage{relay: r, session: r.lastID, client: c, hidden: r.hidden}
		r.conns[c] = struct{}{}
		r.wg.Add(1)
		r.mu.Unlock()
		go func() {
			defer r.wg.Done()
			p.pass()
		}()
	}
}

// forget counts a session as closed.
func (r *relay) forget(p *passage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !p.over {
		p.over = true
		r.open--
	}
}

// passage is one control connection.
type passage struct {
	relay   *relay
	session int
	client  net.Conn
	server  net.Conn

	// Guarded by relay.mu.
	over    bool
	hidden  bool       // TLS: nothing more to read
	pending []*Command // those without a final reply
	marked  bool       // the first of them got a 1xx
}

func (p *passage) pass() {
	r := p.relay
	defer func() {
		r.forget(p)
		p.client.Close()
		r.mu.Lock()
		if p.marked && r.killed {
			r.started-- // the server had no time to log it
		}
		delete(r.conns, p.client)
		delete(r.conns, p.server)
		r.mu.Unlock()
	}()
	server, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer server.Close()
	r.mu.Lock()
	p.server = server
	r.conns[server] = struct{}{}
	gone := r.listener == nil
	r.mu.Unlock()
	if gone {
		return
	}
	up := make(chan struct{})
	go func() {
		defer close(up)
		var l lines
		copyLines(server, p.client, &l, p.said)
		r.forget(p) // the client is gone, whatever the server thinks
		server.Close()
	}()
	var l lines
	copyLines(p.client, server, &l, p.answered)
	r.forget(p)
	p.client.Close()
	<-up
}

// copyLines passes bytes on, after showing each whole line to see.
func copyLines(dst io.Writer, src io.Reader, l *lines, see func(string)) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			l.feed(buf[:n], see)
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// lines puts lines together from pieces. One over 64 KiB is forgotten.
type lines struct{ rest []byte }

func (l *lines) feed(b []byte, see func(string)) {
	for _, c := range b {
		if c == '\n' {
			see(strings.TrimSuffix(string(l.rest), "\r"))
			l.rest = l.rest[:0]
		} else if len(l.rest) < 64<<10 {
			l.rest = append(l.rest, c)
		}
	}
}

// said notes a line of the client.
func (p *passage) said(line string) {
	r := p.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.hidden {
		return
	}
	c := &Command{Session: p.session, Time: time.Now()}
	c.Verb, c.Arg, _ = strings.Cut(line, " ")
	c.Verb = strings.ToUpper(c.Verb)
	for _, before := range p.pending {
		c.During = c.During || transfers[before.Verb]
	}
	if c.During && transfers[c.Verb] {
		r.overlaps = append(r.overlaps, *c)
	}
	p.pending = append(p.pending, c)
	r.commands = append(r.commands, c)
}

var transfers = map[string]bool{"RETR": true, "LIST": true, "MLSD": true, "NLST": true}

// answered notes a line of the server.
func (p *passage) answered(line string) {
	r := p.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(line) >= 3 && line[0] == 0xff && line[1] >= 0xfb && line[1] <= 0xfe {
		line = line[3:] // an answer to a Telnet command, as proftpd gives it
	}
	if p.hidden || len(line) < 4 || line[3] != ' ' || len(p.pending) == 0 {
		return // before the first command: the banner; with a dash: more to come
	}
	code, err := strconv.Atoi(line[:3])
	if err != nil || code < 100 || code > 599 {
		return
	}
	c := p.pending[0]
	if code < 200 && !p.marked {
		p.marked = true
		if c.Verb == "RETR" {
			r.started++
		}
		return
	}
	// A second preliminary reply is how pure-ftpd ends a transfer that was cut:
	// "150 0.605 seconds (measured here), ...", and nothing comes after it.
	c.Reply = code
	p.marked = false
	p.pending = p.pending[1:]
	if c.Verb == "AUTH" && code == 234 {
		p.hidden = true
	}
}

var errNoRelay = errors.New("realftp: NoRelay was asked for, so this is not counted")

// seen runs f under the relay's lock.
func (s *Server) seen(f func(*relay)) {
	if s.relay == nil {
		panic(errNoRelay)
	}
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	f(s.relay)
}

// Commands are the commands of all sessions, in the order in which they came.
func (s *Server) Commands() (out []Command) {
	s.seen(func(r *relay) {
		for _, c := range r.commands {
			out = append(out, *c)
		}
	})
	return out
}

// Count is how many commands with this verb came.
func (s *Server) Count(verb string) (n int) {
	s.seen(func(r *relay) {
		for _, c := range r.commands {
			if c.Verb == verb {
				n++
			}
		}
	})
	return n
}

// Overlaps are the transfers that were asked for before the same session had
// replied to an earlier one. Other commands may come by then: this does not see
// the data, and when it has ended a client need not wait for the reply.
func (s *Server) Overlaps() (out []Command) {
	s.seen(func(r *relay) { out = append(out, r.overlaps...) })
	return out
}

// Changed are the commands that would change a writable server.
func (s *Server) Changed() (out []Command) {
	for _, c := range s.Commands() {
		switch c.Verb {
		case "STOR", "STOU", "APPE", "DELE", "MKD", "XMKD", "RMD", "XRMD", "RNFR", "RNTO", "SITE", "MFMT", "MFCT", "MFF":
			out = append(out, c)
		}
	}
	return out
}

// Sessions is how many control connections are open.
func (s *Server) Sessions() (n int) {
	s.seen(func(r *relay) { n = r.open })
	return n
}

// MaxSessions is the largest number of control connections that were open at once.
func (s *Server) MaxSessions() (n int) {
	s.seen(func(r *relay) { n = r.most })
	return n
}

// TotalSessions is how many control connections were made.
func (s *Server) TotalSessions() (n int) {
	s.seen(func(r *relay) { n = r.total })
	return n
}

// Reset forgets commands, transfers and maxima; sessions open now count toward the
// new maximum.
func (s *Server) Reset() error {
	all, err := s.logged()
	if err != nil {
		return err
	}
	s.seen(func(r *relay) {
		s.skip = len(all)
		r.commands, r.overlaps, r.started = nil, nil, 0
		r.most, r.total = r.open, 0
	})
	return nil
}
