package ftptest

import (
	"bufio"
	"bytes"
	"path"
	"strconv"
	"strings"
	"time"
)

// greet refuses the connection or says the banner.
func (s *session) greet(o *Options) {
	if o.CapAt == CapAtConnect {
		if s.slot = s.srv.takeSlot(o, s.host); !s.slot {
			s.refuse(o)
			return
		}
	}
	cmd := Cmd{Session: s.id, Verb: "CONNECT", Encrypted: s.encrypted}
	a := s.srv.action(&cmd)
	if s.before(&a) || o.Banner == "" {
		return
	}
	s.reply(o.Banner)
	if a.Drop != DropNever {
		s.drop(a.Abort, false)
	}
}

// refuse ends a session that is over a cap.
func (s *session) refuse(o *Options) {
	text := o.CapReply
	if text == "" {
		text = "421 Too many connections from your address."
	}
	s.reply(text)
	s.closing = o.CapAt != CapAtPassOpen
}

// before applies the part of an action that comes before or instead of obeying,
// and tells whether it was instead.
func (s *session) before(a *Action) bool {
	if a.Wait != nil && !s.wait(a.Wait) || !s.sleep(a.Delay) {
		s.closing = true
		return true
	}
	if a.Then != nil && a.Cut == nil {
		a.Then()
	}
	switch {
	case a.Drop == DropBefore:
		s.drop(a.Abort, false)
	case a.Reply != "":
		s.reply(a.Reply)
	case a.Raw != nil:
		s.write(a.Raw)
	case a.Endless:
		line := bytes.Repeat([]byte("220-and so on and on\r\n"), 500)
		for s.write(line) {
		}
		s.closing = true
	case a.Silent:
	default:
		return false
	}
	if a.Drop > DropBefore {
		s.drop(a.Abort, false)
	}
	return true
}

// obey answers one command.
func (s *session) obey(l line) {
	o := s.srv.opts()
	verb, arg := l.verb, l.arg
	cmd := Cmd{Session: s.id, Verb: verb, Arg: arg, Offset: s.rest, Encrypted: s.encrypted}
	if takesPath[verb] {
		cmd.Path = s.target(verb, arg)
	}
	s.srv.record(Command{Session: s.id, Verb: verb, Arg: arg, Path: cmd.Path, Time: l.at, During: l.during})
	a := s.srv.action(&cmd)
	switch verb {
	case "REST", "EPSV", "PASV", "TYPE", "PRET":
	default: // REST holds for one command
		defer func() { s.rest = 0 }()
	}
	if s.before(&a) {
		return
	}
	first, _, _ := strings.Cut(arg, " ")
	if r, ok := o.Replies[verb]; ok {
		s.reply(r)
	} else if r, ok := o.Replies[verb+" "+strings.ToUpper(first)]; ok && first != "" {
		s.reply(r)
	} else if !s.in && !beforeLogin[verb] {
		s.reply("530 Please login with USER and PASS.")
	} else {
		s.run(o, verb, arg, &a)
	}
	if a.Drop > DropBefore {
		s.drop(a.Abort, false)
	}
}

var beforeLogin = map[string]bool{
	"USER": true, "PASS": true, "QUIT": true, "AUTH": true, "PBSZ": true, "PROT": true,
	"FEAT": true, "SYST": true, "NOOP": true, "HELP": true, "OPTS": true, "CLNT": true,
}

func (s *session) run(o *Options, verb, arg string, a *Action) {
	switch verb {
	case "USER", "PASS":
		s.login(o, verb, arg)
	case "QUIT":
		s.reply("221 Goodbye.")
		s.closing = true
	case "AUTH", "PBSZ", "PROT":
		s.security(o, verb, arg)
	case "FEAT":
		s.feat(o)
	case "SYST":
		s.reply("215 " + o.System)
	case "NOOP":
		s.reply("200 NOOP ok.")
	case "HELP":
		s.reply("214 Help is not here.")
	case "OPTS":
		s.reply("200 Always in UTF8 mode.")
	case "CLNT":
		s.reply("200 Noted.")
	case "TYPE":
		s.setType(arg)
	case "MODE", "STRU":
		if u := strings.ToUpper(arg); u == "S" || u == "F" {
			s.reply("200 OK.")
		} else {
			s.reply("504 Not supported.")
		}
	case "PWD", "XPWD":
		s.reply(`257 "/` + strings.ReplaceAll(s.cwd, `"`, `""`) + `" is the current directory.`)
	case "CWD", "XCWD":
		s.chdir(arg)
	case "CDUP", "XCUP":
		s.chdir("..")
	case "SIZE", "MDTM":
		s.fact(o, verb, arg)
	case "MLST":
		s.mlst(o, arg)
	case "REST":
		if n, err := strconv.ParseInt(arg, 10, 64); err == nil && n >= 0 {
			s.rest = n
			s.replyf("350 Restarting at %d.", n)
		} else {
			s.reply("501 REST requires a number.")
		}
	case "EPSV", "PASV":
		s.passive(o, verb, arg)
	case "RETR":
		s.retr(o, arg, a)
	case "LIST", "NLST", "MLSD":
		if verb == "MLSD" && !o.MLSD {
			s.reply("500 Unknown command.")
			return
		}
		s.sendList(o, verb, arg, a)
	case "STAT":
		if arg == "" {
			s.reply("211-Status\r\n All is well\r\n211 End")
			return
		}
		l := s.list(o, "LIST", arg)
		s.write(append(append([]byte("213-Status follows:\r\n"), l.data...), "213 End of status\r\n"...))
	case "ABOR":
		s.reply("226 No transfer to abort.")
	case "PORT", "EPRT":
		s.reply("502 Active mode is not offered.")
	default:
		if changes(Command{Verb: verb, Arg: arg}) {
			s.reply("550 Permission denied.")
			return
		}
		s.reply("500 Unknown command.")
	}
}

func (s *session) login(o *Options, verb, arg string) {
	if verb == "USER" {
		switch {
		case o.TLSMode == RequireTLS && !s.encrypted:
			s.reply("530 Sessions must use encryption.")
		case o.CapAt == CapAtUser && !s.slot && !s.enter(o):
		case o.NoPassword && strings.EqualFold(arg, "anonymous"):
			s.user = arg
			s.welcome(o)
		default:
			s.user, s.in = arg, false
			s.reply("331 Please specify the password.")
		}
		return
	}
	if s.in {
		s.reply("230 Already logged in.")
		return
	}
	if s.user == "" {
		s.reply("503 Login with USER first.")
		return
	}
	if o.Users != nil {
		if want, ok := o.Users[s.user]; !ok || want != arg {
			s.user = ""
			s.reply("530 Login incorrect.")
			return
		}
	}
	s.welcome(o)
}

// welcome lets a user in, unless a cap forbids it.
func (s *session) welcome(o *Options) {
	if o.CapAt >= CapAtPass && !s.slot && !s.enter(o) {
		return
	}
	if !s.encrypted {
		s.srv.mu.Lock()
		s.srv.clear = trim(append(s.srv.clear, "USER "+s.user), o.LogLimit)
		s.srv.mu.Unlock()
	}
	s.in = true
	s.setDir(clean(o.LoginDir))
	s.reply("230 Login successful.")
}

// enter takes the session's slot, or refuses it.
func (s *session) enter(o *Options) bool {
	if s.slot = s.srv.takeSlot(o, s.host); !s.slot {
		s.refuse(o)
	}
	return s.slot
}

func (s *session) security(o *Options, verb, arg string) {
	switch {
	case o.TLSMode == NoTLS || o.TLSMode == ImplicitTLS && verb == "AUTH":
		s.reply("530 Please login with USER and PASS.")
	case verb == "AUTH":
		if u := strings.ToUpper(arg); u != "TLS" && u != "TLS-C" && u != "SSL" || s.encrypted {
			s.reply("504 Unknown AUTH type.")
			return
		}
		s.reply("234 Proceed with negotiation.")
		if !s.encrypt(o) {
			s.closing = true
			return
		}
		s.br = bufio.NewReader(s.conn)
	case !s.encrypted:
		s.reply("503 " + verb + " needs a secure connection.")
	case verb == "PBSZ":
		s.reply("200 PBSZ set to 0.")
	case strings.EqualFold(arg, "P"):
		s.prot = true
		s.reply("200 PROT now Private.")
	case strings.EqualFold(arg, "C"):
		s.prot = false
		s.reply("200 PROT now Clear.")
	default:
		s.reply("536 PROT not supported.")
	}
}

func (s *session) feat(o *Options) {
	if o.Features == nil {
		s.reply("500 Unknown command.")
		return
	}
	var b strings.Builder
	b.WriteString("211-Features:\r\n")
	for _, f := range o.Features {
		b.WriteString(" " + f + "\r\n")
	}
	if o.TLSMode != NoTLS {
		b.WriteString(" AUTH TLS\r\n PBSZ\r\n PROT\r\n")
	}
	s.reply(b.String() + "211 End")
}

func (s *session) setType(arg string) {
	switch strings.ToUpper(arg) {
	case "A", "A N":
		s.ascii = true
		s.reply("200 Switching to ASCII mode.")
	case "I", "L8", "L 8":
		s.ascii = false
		s.reply("200 Switching to Binary mode.")
	default:
		s.reply("504 Unrecognised TYPE command.")
	}
}

func (s *session) setDir(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cwd = dir
}

func (s *session) chdir(arg string) {
	dir := s.resolve(arg)
	n := s.find(dir, true)
	if n == nil {
		s.reply("550 Failed to change directory: no such file or directory.")
		return
	}
	switch e := s.srv.tree.entry(n); {
	case e.Refuse != "":
		s.reply(e.Refuse)
	case e.Kind != Dir:
		s.reply("550 Not a directory.")
	default:
		s.setDir(dir)
		s.reply("250 Directory successfully changed.")
	}
}

func (s *session) fact(o *Options, verb, arg string) {
	n := s.find(s.resolve(arg), true)
	if n == nil {
		s.reply("550 No such file or directory.")
		return
	}
	e := s.srv.tree.entry(n)
	switch {
	case e.Kind != File:
		s.reply("550 Not a regular file.")
	case verb == "SIZE" && o.SizeNeedsBinary && s.ascii:
		s.reply("550 SIZE not allowed in ASCII mode")
	case verb == "SIZE":
		s.replyf("213 %d", e.Size())
	default:
		zone := o.MDTMZone
		if zone == nil {
			zone = time.UTC
		}
		s.reply("213 " + e.ModTime.Add(o.TimeShift).In(zone).Format("20060102150405"))
	}
}

func (s *session) mlst(o *Options, arg string) {
	p := s.resolve(arg)
	if !o.MLSD {
		s.reply("500 Unknown command.")
		return
	}
	n := s.find(p, false)
	var e Entry
	if n != nil {
		e = s.srv.tree.entry(n)
	}
	if e.Kind == Symlink && !o.Slink {
		link := e
		if n = s.find(p, true); n != nil {
			// What the link points to, with the link's own length.
			e = s.srv.tree.entry(n)
			e.Target, e.ModTime = link.Target, link.ModTime
		}
	}
	if n == nil {
		s.reply("550 '" + arg + "' cannot be listed")
		return
	}
	b := append([]byte("250-Start of list for "+arg+"\r\n "), o.factsLine(nil, &e, "", path.Join("/", p))...)
	s.write(append(b, "\r\n250 End of list\r\n"...))
}
