package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Pool is what examining a server needs of its sessions; *ftppool.Pool has it.
type Pool interface {
	Connect(context.Context) error
	Profile() ftppool.Profile
	ProbeWays(context.Context) (ftppool.Ways, error)
	List(ctx context.Context, want ftppool.Want, dir string) (*listing.Listing, error)
	Open(ctx context.Context, want ftppool.Want, path string, offset int64) (ftppool.Stream, error)
	ProveRestart(ctx context.Context, path string) error
	ProbeSessions(ctx context.Context, most int) (ftppool.Sessions, error)
}

// Server is how to examine a server. Its pool needs one session; more are made
// only where Sessions says so.
type Server struct {
	Pool       Pool
	Host       string        // as the URL has it
	User       string        // "" for an anonymous login
	Encrypted  bool          // the URL asks for TLS
	Unverified bool          // ... whatever the certificate
	Timeout    time.Duration // of each step
	Sessions   int           // how many sessions to try at most, 0 for none
	ZoneGiven  bool          // the user has told the server's zone

	Facts  Facts  // what was found out
	Advice Advice // what follows from it

	tell   func(Finding)
	failed bool
	sample sample
}

// Examine asks the server and tells each finding as it is made. It stops at the
// first problem. Its error is that of ctx.
func (s *Server) Examine(ctx context.Context, tell func(Finding)) error {
	s.tell = tell
	s.Facts.Features = []string{}
	for _, step := range []func(context.Context){
		s.login, s.ways, s.list, s.read, s.restart, s.manners, s.sessions,
	} {
		if step(ctx); ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if s.failed {
			return nil
		}
	}
	return nil
}

// limited bounds a step in time.
func (s *Server) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.Timeout)
}

func (s *Server) ok(topic, format string, args ...any) {
	s.tell(Finding{Topic: topic, Mark: OK, Found: fmt.Sprintf(format, args...)})
}

func (s *Server) note(topic, found, means, do string) {
	s.tell(Finding{Topic: topic, Mark: Note, Found: found, Means: means, Do: do})
}

// problem tells of what makes a mount fail.
func (s *Server) problem(topic string, err error) {
	s.failed = true
	f := Finding{Topic: topic, Mark: Problem, Found: err.Error(), Cause: CauseServer, Err: err}
	var e *ftppool.Error
	if errors.As(err, &e) {
		f.Found = e.Err.Error()
		if e.Path != "" {
			f.Found = fmt.Sprintf("%s %q: %v", e.Op, e.Path, e.Err)
		}
		if e.Reply != "" {
			f.Found += fmt.Sprintf(" (the server said %q)", e.Reply)
		}
		f.Do = sentence(e.Advice)
	}
	s.tell(f)
}

// sentence begins with a capital and ends with a stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

// slowLogin is when a login is so slow that a mount should be told to wait longer.
const slowLogin = 5 * time.Second

func (s *Server) login(ctx context.Context) {
	step, cancel := s.limited(ctx)
	defer cancel()
	start := time.Now()
	err := s.Pool.Connect(step)
	took := time.Since(start)
	s.identify()
	if err != nil {
		if ctx.Err() == nil {
			s.problem("login", err)
		}
		return
	}
	user := s.User
	if user == "" {
		user = "anonymous"
	}
	if took < slowLogin {
		s.ok("login", "as %s, in %s", user, showTime(took))
	} else {
		s.Advice.Timeout = max(2*s.Timeout, time.Minute)
		s.note("login", fmt.Sprintf("as %s, but only after %s", user, showTime(took)),
			"The server is slow to answer, so that look-ups may fail for lack of time.",
			"Give it more with --timeout.")
	}
	p := s.Pool.Profile()
	s.ok("folder", "%s", p.Root)
	s.tellTLS(p)
}

// identify notes what the first words of the server told.
func (s *Server) identify() {
	p := s.Pool.Profile()
	f := &s.Facts
	name, said := product(p)
	f.Product, f.Banner, f.System = name, p.Banner, p.System
	f.Features = append(f.Features, p.Features...)
	f.LoginFolder, f.Folder, f.TLS = p.Login, p.Root, p.TLS
	f.UTF8, f.IgnoreCase = p.UTF8, p.IgnoreCase
	if p.Banner == "" {
		return
	}
	found := fmt.Sprintf("%q", shorten(p.Banner, 100))
	switch {
	case said:
		found = name + ": " + found
	case name != "":
		found = "probably " + name + ", by what it can do: " + found
	}
	s.tell(Finding{Topic: "server", Mark: OK, Found: found, Means: character[name]})
	if p.System != "" {
		s.ok("system", "%s", p.System)
	}
	if len(p.Features) > 0 {
		s.ok("features", "%s", featureNames(p.Features))
	}
}

// featureNames are the first words of features.
func featureNames(features []string) string {
	var names []string
	for _, f := range features {
		name, _, _ := strings.Cut(f, " ")
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func (s *Server) tellTLS(p ftppool.Profile) {
	offered := false
	for _, f := range p.Features {
		offered = offered || strings.HasPrefix(f, "AUTH")
	}
	switch {
	case s.Encrypted && s.Unverified:
		s.note("TLS", p.TLS+", with whatever certificate", "Anybody on the way could pretend to be the server.",
			"Name its authority with --tls-ca instead, if you can get it.")
	case s.Encrypted:
		s.ok("TLS", "%s, with a certificate that this machine trusts", p.TLS)
	case offered && s.User != "":
		s.note("TLS", "not used, though the server offers it", "The password goes over the network for all to read.",
			"Use ftpes:// in the URL.")
	case offered:
		s.ok("TLS", "not used; the server offers it: ftpes://")
	case s.User != "":
		s.note("TLS", "the server offers none", "The password goes over the network for all to read.",
			"Use a password that is good for nothing else.")
	default:
		s.ok("TLS", "the server offers none")
	}
}

// farAway is a round trip that makes more sessions worth their while.
const farAway = 50 * time.Millisecond

func (s *Server) ways(ctx context.Context) {
	step, cancel := s.limited(ctx)
	defer cancel()
	ways, err := s.Pool.ProbeWays(step)
	if err != nil {
		if ctx.Err() == nil {
			s.problem("data", err)
		}
		return
	}
	s.Facts.Latency = float64(ways.RoundTrip.Microseconds()) / 1e3
	s.Facts.EPSV, s.Facts.PASV = ways.EPSV.Works(), ways.PASV.Works()
	if ways.RoundTrip < time.Second {
		s.ok("latency", "%s from a question to its answer", showTime(ways.RoundTrip))
	} else {
		s.note("latency", showTime(ways.RoundTrip)+" from a question to its answer", "Each folder and file that is new takes some of these.", "")
	}
	found := "EPSV " + way(ways.EPSV) + ", PASV " + way(ways.PASV)
	switch {
	case ways.EPSV.Works():
		s.ok("data", "%s", found)
	case ways.PASV.Works():
		s.tell(Finding{Topic: "data", Mark: OK, Found: found, Means: "PASV will be used."})
	default:
		s.problem("data", s.noWay(ways))
		return
	}
	if a := ways.PASV.Host; a != "" && ways.PASV.Works() && private(a) && !private(s.Host) && net.ParseIP(s.Host) != nil {
		s.note("data", "PASV names the address "+a, "It is one behind a NAT; mirrorfs takes no notice and connects to the host in the URL.", "")
	}
}

func way(p ftppool.Passive) string {
	switch {
	case p.Works():
		return "works"
	case p.Port == 0:
		return fmt.Sprintf("is refused (%q)", shorten(p.Reply, 60))
	}
	return fmt.Sprintf("names port %d, which can't be reached", p.Port)
}

// noWay is the error of a server to which no data connection can be made.
func (s *Server) noWay(ways ftppool.Ways) error {
	for _, p := range []ftppool.Passive{ways.PASV, ways.EPSV} {
		var e *ftppool.Error
		if errors.As(p.Err, &e) {
			told := *e
			told.Err = &blocked{"EPSV " + way(ways.EPSV) + ", PASV " + way(ways.PASV), e.Err}
			return &told
		}
	}
	return &ftppool.Error{Op: "connect", Err: &blocked{"EPSV " + way(ways.EPSV) + ", PASV " + way(ways.PASV), ftppool.ErrUnsupported},
		Advice: "the server wants to connect back (active FTP), which mirrorfs does not do: ask its owner for passive FTP"}
}

// blocked is why no data connection can be made.
type blocked struct {
	text string
	err  error
}

func (b *blocked) Error() string { return b.text + ": " + b.err.Error() }
func (b *blocked) Unwrap() error { return b.err }

func private(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && (ip.IsPrivate() || ip.IsLoopback())
}

// passedOver reports whether err is about one file or folder only.
func passedOver(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ftppool.ErrRefused) || errors.Is(err, ftppool.ErrIsDir)
}
