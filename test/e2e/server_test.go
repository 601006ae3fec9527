package e2e

import (
	"cmp"
	"net/url"
	"strings"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
	"github.com/mirrorfs/mirrorfs/internal/realftp"
)

// server is an FTP server and its own account of what was asked of it.
type server interface {
	kind() string
	url(path string) string // with what a login needs
	commands() []command    // all that were sent, in order within a session
	overlaps() []command    // those that came while their session was busy with a transfer
	open() int              // control connections now
	sessions() int          // the most control connections at once
	sent() map[string]int64 // bytes of files sent, by path, by the server's own log
	reset()                 // forget the account
	stop()                  // as when it is killed
	start()                 // again, at the same address
}

// command is one line a client sent.
type command struct {
	session   int
	verb, arg string
}

// options shape a server of any kind.
type options struct {
	rate int64 // bytes/s of one data connection, 0 unlimited
	max  int   // control connections it takes from one address, 0 any
}

// kinds are the servers that mirrorfs must be right on.
var kinds = []string{"vsftpd", "proftpd", "pure-ftpd", "datasus"}

// serve starts a server of a kind over a fixture, and ends it with the test.
func serve(t testing.TB, kind string, f *fixture, o options) server {
	t.Helper()
	if kind == "datasus" {
		return serveTree(t, ftptest.DATASUS(), f.tree(), o)
	}
	return serveDisk(t, kind, f.disk(t), o)
}

// serveDisk starts a real server over a folder.
func serveDisk(t testing.TB, kind, root string, o options) *real {
	t.Helper()
	return &real{realftp.Start(t, realftp.Kind(kind), realftp.Options{Root: root, Rate: o.rate, MaxPerIP: o.max}), t}
}

// serveTree starts a server that behaves as a profile says.
func serveTree(t testing.TB, p ftptest.Profile, tree *ftptest.Tree, o options) *scripted {
	t.Helper()
	return &scripted{t: t, Server: ftptest.New(t, ftptest.Options{Profile: p, Tree: tree, Rate: o.rate, MaxPerAddr: o.max})}
}

// allClosed waits until the sessions of mounts that are gone are closed, and
// so nothing more is added to the account.
func allClosed(t testing.TB, s server) {
	t.Helper()
	until(t, patience, "the server's sessions are closed", func() bool { return s.open() == 0 })
}

// count is how many commands with one of the verbs were sent.
func count(s server, verbs ...string) int {
	n := 0
	for _, c := range s.commands() {
		for _, v := range verbs {
			if c.verb == v {
				n++
			}
		}
	}
	return n
}

// questions are the commands that ask for something, in their order: all but
// those that keep or end a session.
func questions(s server) []command {
	var asked []command
	for _, c := range s.commands() {
		if c.verb != "NOOP" && c.verb != "QUIT" && c.verb != "ABOR" {
			asked = append(asked, c)
		}
	}
	return asked
}

// listings is how often a directory was listed.
func listings(s server) int { return count(s, "LIST", "MLSD", "NLST") }

// retrieved are the offsets at which each file was asked for, by its name.
func retrieved(s server) map[string][]string {
	offsets := map[string][]string{}
	rest := map[int]string{}
	for _, c := range s.commands() {
		switch c.verb {
		case "REST":
			rest[c.session] = c.arg
		case "RETR":
			name := c.arg[strings.LastIndexByte(c.arg, '/')+1:]
			offsets[name] = append(offsets[name], cmp.Or(rest[c.session], "0"))
			rest[c.session] = ""
		}
	}
	return offsets
}

// changing are the commands that would change something on a server.
func changing(s server) []command {
	var bad []command
	for _, c := range s.commands() {
		switch c.verb {
		case "STOR", "STOU", "APPE", "DELE", "MKD", "XMKD", "RMD", "XRMD", "RNFR", "RNTO", "SITE", "MFMT", "MFCT", "MFF", "ALLO", "SMNT":
			bad = append(bad, c)
		case "MDTM": // the form that sets a time
			if len(c.arg) > 15 && c.arg[14] == ' ' && strings.Trim(c.arg[:14], "0123456789") == "" {
				bad = append(bad, c)
			}
		}
	}
	return bad
}

// total is the sum of what was sent.
func total(sent map[string]int64) int64 {
	var n int64
	for _, b := range sent {
		n += b
	}
	return n
}

// escape spells a raw path for a URL.
func escape(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// scripted is an ftptest server.
type scripted struct {
	*ftptest.Server
	t testing.TB
}

func (s *scripted) kind() string           { return "datasus" }
func (s *scripted) url(path string) string { return "ftp://" + s.Addr() + "/" + escape(path) }
func (s *scripted) open() int              { return s.Sessions() }
func (s *scripted) sessions() int          { return s.MaxSessions() }
func (s *scripted) reset()                 { s.Reset() }
func (s *scripted) stop()                  { s.Stop() }

func (s *scripted) start() {
	s.t.Helper()
	if err := s.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scripted) commands() []command { return translate(s.Commands()) }
func (s *scripted) overlaps() []command { return translate(s.Overlaps()) }

func translate(log []ftptest.Command) []command {
	var all []command
	for _, c := range log {
		if c.Verb != "CONNECT" {
			all = append(all, command{c.Session, c.Verb, c.Arg})
		}
	}
	return all
}

func (s *scripted) sent() map[string]int64 {
	sent := map[string]int64{}
	for _, tr := range s.Transfers() {
		if tr.Verb == "RETR" {
			sent[tr.Path] += tr.Sent
		}
	}
	return sent
}

// real is vsftpd, proftpd or pure-ftpd, in processes of their own.
type real struct {
	*realftp.Server
	t testing.TB
}

func (s *real) kind() string           { return string(s.Kind()) }
func (s *real) url(path string) string { return "ftp://" + s.Addr() + "/" + escape(path) }
func (s *real) open() int              { return s.Sessions() }
func (s *real) sessions() int          { return s.MaxSessions() }
func (s *real) stop()                  { s.Stop() }

func (s *real) start() {
	s.t.Helper()
	if err := s.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *real) reset() {
	s.t.Helper()
	if err := s.Reset(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *real) commands() []command { return heard(s.Commands()) }
func (s *real) overlaps() []command { return heard(s.Overlaps()) }

func heard(log []realftp.Command) []command {
	var all []command
	for _, c := range log {
		all = append(all, command{c.Session, c.Verb, c.Arg})
	}
	return all
}

func (s *real) sent() map[string]int64 {
	s.t.Helper()
	log, err := s.Transfers()
	if err != nil {
		s.t.Fatal(err)
	}
	sent := map[string]int64{}
	for _, tr := range log {
		sent[tr.Path] += tr.Bytes
	}
	return sent
}
