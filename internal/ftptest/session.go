package ftptest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"path"
	"strings"
	"sync"
	"time"
)

// session is one control connection. Its reader goroutine takes lines off the
// wire, also during a transfer; its serving goroutine obeys them in order.
type session struct {
	srv  *Server
	id   int
	host string // the client's address, for the caps

	lines chan line     // from the reader; closed at its end
	next  chan struct{} // tells the reader to go on after AUTH
	done  chan struct{} // closed when the session must end

	mu    sync.Mutex // guards what follows; before Server.mu
	ended bool       // done is closed
	gone  bool       // counted no more
	alone bool       // the data connection goes on without the control connection
	busy  bool       // a transfer is under way
	raw   net.Conn
	conn  net.Conn // raw, or TLS over it
	pasv  net.Listener
	data  net.Conn // raw

	// Owned by the serving goroutine.
	br        *bufio.Reader // handed to the reader goroutine, except around AUTH
	encrypted bool
	prot      bool
	user      string
	in        bool // logged in
	slot      bool // counts for the caps
	cwd       string
	rest      int64
	ascii     bool
	closing   bool // leave after this command
}

// line is one line off the wire.
type line struct {
	verb, arg string
	at        time.Time
	during    bool // a transfer was under way
}

func newSession(srv *Server, c net.Conn) *session {
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	return &session{
		srv: srv, host: host, raw: c, conn: c,
		lines: make(chan line), next: make(chan struct{}), done: make(chan struct{}),
	}
}

// kill closes everything at once.
func (s *session) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alone = false
	s.end()
}

// end closes the control connection and, unless the data goes on alone, the data
// connection. Callers hold mu.
func (s *session) end() {
	if !s.ended {
		s.ended = true
		close(s.done)
	}
	s.closeControl()
	if !s.alone {
		s.closeData()
	}
}

// closeControl closes the control connection, which is counted no more before the
// client can see that. Callers hold mu.
func (s *session) closeControl() {
	if !s.gone {
		s.gone = true
		s.srv.closing()
	}
	s.raw.Close()
}

// closeData closes the data connection and its listener. Callers hold mu.
func (s *session) closeData() {
	if s.pasv != nil {
		s.pasv.Close()
		s.pasv = nil
	}
	if s.data != nil {
		s.data.Close()
		s.data = nil
	}
}

// drop closes the control connection alone, with a reset if asked.
func (s *session) drop(reset, dataGoesOn bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if tcp, ok := s.raw.(*net.TCPConn); ok && reset {
		tcp.SetLinger(0)
	}
	s.alone = dataGoesOn
	s.closing = true
	if dataGoesOn {
		s.closeControl()
		return
	}
	s.end()
}

func (s *session) serve() {
	defer func() {
		s.kill()
		if s.slot {
			s.srv.freeSlot(s.host)
		}
	}()
	o := s.srv.opts()
	if o.TLSMode == ImplicitTLS {
		s.prot = true
		if !s.encrypt(o) {
			return
		}
	}
	s.br = bufio.NewReader(s.conn)
	if s.greet(o); s.closing {
		return
	}
	read := make(chan struct{})
	go func() { defer close(read); s.read() }()
	defer func() {
		s.kill()
		<-read
	}()
	for {
		l, ok := s.receive()
		if !ok {
			return
		}
		s.obey(l)
		if l.verb == "AUTH" {
			select {
			case s.next <- struct{}{}:
			case <-s.done:
			}
		}
		if s.closing {
			return
		}
	}
}

// receive waits for the next line, or ends an idle session.
func (s *session) receive() (line, bool) {
	var idle <-chan time.Time
	if d := s.srv.opts().IdleTimeout; d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		idle = t.C
	}
	select {
	case l, ok := <-s.lines:
		return l, ok
	case <-s.done:
	case <-idle:
		s.reply("421 Timeout.")
	}
	return line{}, false
}

// read is the reader goroutine.
func (s *session) read() {
	defer close(s.lines)
	for {
		text, err := s.br.ReadString('\n')
		if err != nil {
			s.mu.Lock()
			if !s.alone {
				s.end()
			}
			s.mu.Unlock()
			return
		}
		l := line{at: time.Now()}
		l.verb, l.arg, _ = strings.Cut(strings.TrimRight(text, "\r\n"), " ")
		l.verb = strings.ToUpper(l.verb)
		s.mu.Lock()
		if l.during = s.busy; l.during && l.verb == "ABOR" {
			s.closeData()
		}
		s.mu.Unlock()
		select {
		case s.lines <- l:
		case <-s.done:
			return
		}
		if l.verb == "AUTH" { // the next byte may be TLS
			select {
			case <-s.next:
			case <-s.done:
				return
			}
		}
	}
}

var takesPath = map[string]bool{
	"CWD": true, "XCWD": true, "LIST": true, "NLST": true, "MLSD": true, "MLST": true, "RETR": true,
	"SIZE": true, "MDTM": true, "STAT": true, "STOR": true, "APPE": true, "DELE": true, "MKD": true, "RMD": true,
}

// target is the path that a command's argument means.
func (s *session) target(verb, arg string) string {
	if (verb == "LIST" || verb == "NLST") && s.srv.opts().ListFlags {
		for strings.HasPrefix(arg, "-") {
			_, arg, _ = strings.Cut(arg, " ")
		}
	}
	return s.resolve(arg)
}

func (s *session) resolve(arg string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasPrefix(arg, "/") {
		return clean(arg)
	}
	return clean(s.cwd + "/" + arg)
}

// find looks a path up, following links as the server's system does; with last
// also a link in the last element.
func (s *session) find(p string, last bool) *node {
	ignoreCase := s.srv.opts().IgnoreCase
	done, todo := "", strings.Split(clean(p), "/")
	for links := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case ".":
			continue
		case "..":
			done, _ = split(done)
			continue
		}
		at := path.Join(done, name)
		n := s.srv.tree.lookup(at, ignoreCase)
		if n == nil {
			return nil
		}
		e := s.srv.tree.entry(n)
		if e.Kind != Symlink || len(todo) == 0 && !last {
			done = at
			continue
		}
		if links++; links > 40 {
			return nil
		}
		if strings.HasPrefix(e.Target, "/") {
			done = ""
		}
		todo = append(strings.FieldsFunc(e.Target, func(r rune) bool { return r == '/' }), todo...)
	}
	return s.srv.tree.lookup(done, ignoreCase)
}

// reply sends one reply and tells whether it went out.
func (s *session) reply(text string) bool {
	return s.write([]byte(text + "\r\n"))
}

func (s *session) replyf(format string, args ...any) bool {
	return s.reply(fmt.Sprintf(format, args...))
}

func (s *session) write(b []byte) bool {
	if !s.sleep(s.srv.opts().ReplyDelay) || !s.thawed() {
		return false
	}
	_, err := s.conn.Write(b)
	return err == nil
}

// sleep waits, unless the session ends first.
func (s *session) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.done:
		return false
	}
}

// wait waits for a gate (nil: forever), unless the session ends first.
func (s *session) wait(gate <-chan struct{}) bool {
	select {
	case <-gate:
		return true
	case <-s.done:
		return false
	}
}

func (s *session) thawed() bool {
	if ice := s.srv.ice(); ice != nil {
		return s.wait(ice)
	}
	return true
}

// encrypt wraps the control connection in TLS.
func (s *session) encrypt(o *Options) bool {
	c := tls.Server(s.raw, o.TLS)
	if err := c.Handshake(); err != nil {
		return false
	}
	s.mu.Lock()
	s.conn = c
	s.mu.Unlock()
	s.encrypted = true
	return true
}
