package ftptest

import (
	"fmt"
	"net"
	"strings"
	"time"
)

// passive answers EPSV and PASV.
func (s *session) passive(o *Options, verb, arg string) {
	if verb == "EPSV" && strings.EqualFold(arg, "ALL") {
		s.reply("200 EPSV ALL ok.")
		return
	}
	host, _, _ := net.SplitHostPort(s.raw.LocalAddr().String())
	if verb == "PASV" && strings.Contains(host, ":") {
		s.reply("425 PASV is for IPv4 only.")
		return
	}
	listen := func(host string) (net.Listener, error) { return net.Listen("tcp", net.JoinHostPort(host, "0")) }
	if verb == "EPSV" && o.EPSVSilent || verb == "PASV" && o.PASVSilent {
		listen = listenSilently
	}
	l, err := listen(host)
	if err != nil {
		s.reply("425 " + err.Error())
		return
	}
	port := l.Addr().(*net.TCPAddr).Port
	s.mu.Lock()
	s.closeData()
	if s.ended || verb == "EPSV" && o.EPSVDead || verb == "PASV" && o.PASVDead {
		l.Close()
	} else {
		s.pasv = l
	}
	s.mu.Unlock()
	if verb == "EPSV" {
		s.replyf("229 Entering Extended Passive Mode (|||%d|)", port)
		return
	}
	if o.PASVHost != "" {
		host = o.PASVHost
	}
	at := fmt.Sprintf("%s,%d,%d", strings.ReplaceAll(host, ".", ","), port>>8, port&255)
	if o.PASVNoParens {
		s.reply("227 Entering Passive Mode " + at)
	} else {
		s.reply("227 Entering Passive Mode (" + at + ").")
	}
}

// accept takes the data connection.
func (s *session) accept(o *Options) (net.Conn, error) {
	s.mu.Lock()
	l := s.pasv
	s.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("use PASV first")
	}
	d := o.DataTimeout
	if d == 0 {
		d = 10 * time.Second
	}
	if l, ok := l.(*net.TCPListener); ok {
		l.SetDeadline(time.Now().Add(d))
	}
	c, err := l.Accept()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.closeData()
		return nil, fmt.Errorf("failed to establish connection")
	}
	l.Close()
	s.pasv = nil
	if s.ended {
		c.Close()
		return nil, net.ErrClosed
	}
	if host, _, _ := net.SplitHostPort(c.RemoteAddr().String()); host != s.host {
		c.Close()
		return nil, fmt.Errorf("security: bad IP connecting")
	}
	if o.SendBuffer > 0 {
		c.(*net.TCPConn).SetWriteBuffer(o.SendBuffer)
	}
	s.data = c
	return c, nil
}

// retr answers RETR.
func (s *session) retr(o *Options, arg string, a *Action) {
	p := s.resolve(arg)
	n := s.find(p, true)
	refuse := ""
	if n == nil {
		refuse = "550 Failed to open file: no such file or directory."
	} else if e := s.srv.tree.entry(n); e.Refuse != "" {
		refuse = e.Refuse
	} else if e.Kind != File {
		refuse = "550 Not a regular file."
	}
	if refuse != "" {
		s.hangUp()
		s.reply(refuse)
		return
	}
	content := func() Content {
		e := s.srv.tree.entry(n)
		switch {
		case a.Content != nil:
			return a.Content
		case e.Content == nil:
			return Bytes(nil)
		}
		return e.Content
	}
	s.send(o, "RETR", p, s.rest, content, o.TransferOK, a)
}

// sendList answers LIST, NLST and MLSD.
func (s *session) sendList(o *Options, verb, arg string, a *Action) {
	l := s.list(o, verb, arg)
	if a.Listing != nil {
		l = listed{data: a.Listing}
	}
	final := l.final
	if final == "" {
		if final = o.ListOK; strings.Contains(final, "%d") {
			final = fmt.Sprintf(final, l.count)
		}
		if final == "" {
			final = "226 Directory send OK."
		}
		if strings.HasPrefix(o.TransferOK, "250") {
			final = "250 Directory send OK."
		}
	}
	if l.refuse != "" || l.nothing {
		if l.nothing {
			l.refuse = final
		}
		s.hangUp()
		s.reply(l.refuse)
		return
	}
	c := Bytes(l.data)
	s.send(o, verb, s.target(verb, arg), 0, func() Content { return c }, final, a)
}

// send carries out one transfer, with the faults that a asks for.
func (s *session) send(o *Options, verb, p string, from int64, content func() Content, final string, a *Action) {
	if s.prot != s.encrypted && o.TLSMode == RequireTLS {
		s.reply("522 Data connections must be encrypted.")
		return
	}
	raw, err := s.accept(o)
	if err != nil {
		s.replyf("425 %v.", err)
		return
	}
	s.setBusy(true)
	tr := s.srv.begin(Transfer{Session: s.id, Verb: verb, Path: p, Offset: from, ASCII: s.ascii})
	w := &sender{s: s, o: o, tr: tr, raw: raw, out: raw, content: content, at: from, begin: time.Now()}
	defer w.end("", false)
	w.total = &s.srv.listBytes
	if verb == "RETR" {
		w.total = &s.srv.fileBytes
	}
	if !s.reply("150 Opening data connection.") {
		return
	}
	if s.prot {
		if err := w.encrypt(); err != nil {
			w.finish("522 "+err.Error(), false)
			return
		}
	}
	if final == "" {
		final = "226 Transfer complete."
	}
	if a.Final != "" {
		final = a.Final
	}
	if cut := a.Cut; cut != nil || a.Drop == DropDuring {
		if cut == nil {
			cut = &Cut{}
		}
		if !w.cut(cut, a, final) {
			return
		}
	}
	if o.EarlyFinal {
		if w.run(from+max(0, content().Size()-from)/2) && s.reply(final) {
			w.end(final, w.run(-1))
		}
		return
	}
	whole := w.run(-1)
	switch {
	case a.Drop == DropFinal:
		w.end("", whole)
		s.drop(a.Abort, false)
	case whole:
		if w.end(final, true); a.Late != nil && !s.wait(a.Late) {
			return
		}
		s.reply(final)
	default:
		w.finish("426 Failure writing network stream.", false)
	}
}

func (s *session) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeData()
}

func (s *session) setBusy(busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = busy
}
