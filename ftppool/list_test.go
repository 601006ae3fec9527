package ftppool

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// Names that servers take for patterns or options, and latin-1 ones.
var oddNames = []string{"a*b", "a?b", "[ab]", "{x,y}", "-la", "-", "~", "a b", " lead", "trail ", "a\\b", "100%;#&", "S\xe3o Paulo", "São", `q"q`, "a\tb"}

// Names with the byte that begins a command in Telnet, which some servers obey.
var telnetNames = []string{"\xff\xfey\xff", "z\xff", "\xff"}

func TestOddNames(t *testing.T) {
	oddNames := slices.Concat(oddNames, telnetNames)
	for _, profile := range profiles {
		t.Run(profile.Name, func(t *testing.T) {
			tree := ftptest.NewTree()
			for i, n := range oddNames {
				tree.WriteFile("f/"+n, []byte(n), someTime)
				tree.WriteFile("d/"+n+"/in "+fmt.Sprint(i), []byte(n), someTime)
			}
			// What a pattern would match if it were taken for one.
			tree.WriteFile("d/axb/wrong", nil, someTime)
			tree.WriteFile("d/a/wrong", nil, someTime)
			s := ftptest.New(t, ftptest.Options{Profile: profile, Tree: tree})
			p := newPool(t, s)
			want := slices.Clone(oddNames)
			slices.Sort(want)
			if got := names(mustList(t, p, "f")); !slices.Equal(got, want) {
				t.Errorf("listed %q\nwant   %q", got, want)
			}
			for i, n := range oddNames {
				if got := names(mustList(t, p, "d/"+n)); !slices.Equal(got, []string{fmt.Sprint("in ", i)}) {
					t.Errorf("%q has %q", n, got)
				}
				if b := readAll(t, p, "f/"+n, 0); string(b) != n {
					t.Errorf("%q reads %q", n, b)
				}
				if e, err := p.Stat(patience(t), lookup, "f/"+n); err != nil || e.Size != int64(len(n)) || e.Raw != n {
					t.Errorf("%q is %+v, %v", n, e, err)
				}
			}
		})
	}
}

// No command with a line end in it leaves the process.
func TestInjection(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{})
	p := newPool(t, s)
	if err := p.Connect(patience(t)); err != nil {
		t.Fatal(err)
	}
	before := s.Total()
	for _, path := range []string{"a\r\nDELE b", "a\nb", "a\x00b", "x/../y", "./a", "/abs", "a//b", "a/"} {
		_, err := p.List(patience(t), lookup, path)
		isError(t, err, fs.ErrNotExist)
		_, err = p.Stat(patience(t), lookup, path)
		isError(t, err, fs.ErrNotExist)
		_, err = p.Open(patience(t), read, path, 0)
		isError(t, err, fs.ErrNotExist)
	}
	if n := s.Total(); n != before {
		t.Errorf("%d commands were sent", n-before)
	}
	for _, c := range []Config{{User: "a\r\nQUIT"}, {Password: "x\ny"}, {Root: "a\x00b"}} {
		c.Host, c.Connections = "h", 1
		if _, err := New(c); err == nil {
			t.Errorf("accepted %+v", c)
		}
	}
}

// Missing, forbidden and empty directories, and files, in all the ways in which
// servers answer LIST for them: a failure never looks like an empty directory.
func TestListingTraps(t *testing.T) {
	failures := []ftptest.ListFailure{
		ftptest.Refused, ftptest.Refused450, ftptest.Refused550, ftptest.ShownEmpty, ftptest.ShownSelf,
		ftptest.Refused226, ftptest.ShownNothing,
	}
	for _, sequential := range []bool{false, true} {
		for _, f := range failures {
			t.Run(fmt.Sprintf("sequential=%v/%d", sequential, f), func(t *testing.T) {
				tree := ftptest.NewTree()
				tree.Mkdir("empty", someTime)
				tree.WriteFile("self/self", []byte("x"), someTime)
				tree.WriteFile("file", []byte("x"), someTime)
				tree.Mkdir("forbidden", someTime)
				tree.Edit("forbidden", func(e *ftptest.Entry) { e.Refuse = "550 Permission denied." })
				profile := ftptest.Vsftpd()
				profile.Missing, profile.Unreadable = f, f
				s := ftptest.New(t, ftptest.Options{Profile: profile, Tree: tree})
				p := newPool(t, s, func(c *Config) {
					c.Profile = &Profile{Learned: true, EPSV: true, Pipelining: !sequential}
				})
				if l := mustList(t, p, "empty"); len(l.Entries) != 0 {
					t.Errorf("the empty directory has %q", names(l))
				}
				if got := names(mustList(t, p, "self")); !slices.Equal(got, []string{"self"}) {
					t.Errorf("self has %q", got)
				}
				if l, err := p.List(patience(t), lookup, "missing"); err == nil {
					t.Errorf("a missing directory has %q", names(l))
				} else {
					isError(t, err, fs.ErrNotExist)
				}
				if l, err := p.List(patience(t), lookup, "forbidden"); err == nil {
					t.Errorf("a forbidden directory has %q", names(l))
				} else {
					isError(t, err, fs.ErrPermission)
				}
				if l, err := p.List(patience(t), lookup, "file"); err == nil {
					t.Errorf("a file has %q", names(l))
				} else {
					isError(t, err, ErrNotDir)
				}
			})
		}
	}
}

// Ordinary servers that do something in their own way.
func TestOddServers(t *testing.T) {
	for name, change := range map[string]func(*ftptest.Profile){
		"PASV without parentheses": func(p *ftptest.Profile) {
			p.PASVNoParens = true
			p.Replies = map[string]string{"EPSV": "500 What?"}
		},
		"PASV names another host": func(p *ftptest.Profile) {
			p.PASVHost = "192.0.2.1"
			p.Replies = map[string]string{"EPSV": "522 No."}
		},
		"EPSV's port is dead":   func(p *ftptest.Profile) { p.EPSVDead = true },
		"EPSV's port is silent": func(p *ftptest.Profile) { p.EPSVSilent = true },
		"FEAT in lower case":    func(p *ftptest.Profile) { p.Features = []string{"size", "mdtm", "utf8", "rest stream"} },
		"FEAT unknown":          func(p *ftptest.Profile) { p.Features = nil },
		"UTF8 refused":          func(p *ftptest.Profile) { p.Replies = map[string]string{"OPTS UTF8": "501 No."} },
		"250 after a transfer":  func(p *ftptest.Profile) { p.TransferOK = "250 Done." },
		"226 in several lines":  func(p *ftptest.Profile) { p.TransferOK = "226-One\r\n226-Two\r\n226 Three" },
		"an early 226":          func(p *ftptest.Profile) { p.EarlyFinal = true },
		"a total line":          func(p *ftptest.Profile) { p.TotalLine, p.DotEntries = true, true },
		"550 for an empty directory": func(p *ftptest.Profile) {
			p.Empty = ftptest.Refused550
		},
		"450 for an empty directory": func(p *ftptest.Profile) { p.Empty = ftptest.Refused450 },
		"226 alone for an empty one": func(p *ftptest.Profile) { p.Empty = ftptest.ShownNothing },
		"MLSD promised but refused":  func(p *ftptest.Profile) { *p = ftptest.ProFTPD(); p.Replies = map[string]string{"MLSD": "502 No."} },
		"MLSD and MLST refused": func(p *ftptest.Profile) {
			*p = ftptest.ProFTPD()
			p.Replies = map[string]string{"MLSD": "500 ?", "MLST": "500 ?"}
		},
		"MLSD with few facts": func(p *ftptest.Profile) { *p = ftptest.ProFTPD(); p.Facts = []string{"type"} },
		"MLSD without types":  func(p *ftptest.Profile) { *p = ftptest.ProFTPD(); p.Facts = []string{"size", "modify"} },
		"SYST, PWD and OPTS refused": func(p *ftptest.Profile) {
			p.Replies = map[string]string{"SYST": "500 ?", "PWD": "502 ?", "OPTS": "500 ?"}
		},
		"SIZE and MDTM unknown":          func(p *ftptest.Profile) { p.Replies = map[string]string{"SIZE": "500 ?", "MDTM": "500 ?"} },
		"no group, SELinux dot":          func(p *ftptest.Profile) { p.NoGroup, p.ModeSuffix = true, "." },
		"a banner of many lines":         func(p *ftptest.Profile) { p.Banner = "220-Hello\r\n220-\r\n 220 not yet\r\n220 now" },
		"a zone of its own":              func(p *ftptest.Profile) { p.Zone = time.FixedZone("x", -3*3600) },
		"a zone of its own, MDTM as bad": func(p *ftptest.Profile) { p.Zone = time.FixedZone("x", 5*3600+1800); p.MDTMZone = p.Zone },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			when := time.Now().Add(-40 * 24 * time.Hour).Truncate(time.Minute)
			tree := ftptest.NewTree()
			tree.WriteFile("d/file", []byte("0123456789"), when)
			tree.Mkdir("d/empty", when)
			profile := ftptest.Vsftpd()
			change(&profile)
			s := ftptest.New(t, ftptest.Options{Profile: profile, Tree: tree})
			p := newPool(t, s, func(c *Config) { c.Timeout = 9 * time.Second })
			if err := p.Connect(patience(t)); err != nil {
				t.Fatal(err)
			}
			farAway(p)
			for range 2 { // the second time with what was learned
				l := mustList(t, p, "d")
				if got := names(l); !slices.Equal(got, []string{"empty", "file"}) {
					t.Fatalf("listed %q", got)
				}
				for _, e := range l.Entries {
					if (e.Raw == "empty") != (e.Type == listing.Dir) {
						t.Errorf("%+v", e)
					}
					exact := when
					if profile.MDTMZone != nil {
						_, offset := when.In(profile.Zone).Zone()
						exact = when.Add(time.Duration(offset) * time.Second)
					}
					if e.Type == listing.File && !e.MTime.Meets(listing.Exactly(exact)) {
						t.Errorf("time of the file: %v, want %v", e.MTime, exact)
					}
				}
				if l := mustList(t, p, "d/empty"); len(l.Entries) != 0 {
					t.Errorf("empty has %q", names(l))
				}
				if b := readAll(t, p, "d/file", 0); string(b) != "0123456789" {
					t.Errorf("read %q", b)
				}
				if b := readAll(t, p, "d/file", 3); string(b) != "3456789" {
					t.Errorf("read %q", b)
				}
			}
			if n := p.Status().Logins; n != 1 {
				t.Errorf("%d logins", n)
			}
			if e := s.Overlaps(); len(e) > 0 {
				t.Errorf("overlaps: %v", e)
			}
		})
	}
}

// EPSV found dead is not tried again, on no session.
func TestEPSVIsForgotten(t *testing.T) {
	profile := ftptest.Vsftpd()
	profile.EPSVDead = true
	s := ftptest.New(t, ftptest.Options{Profile: profile, Files: map[string]string{"f": "x"}})
	p := newPool(t, s)
	for range 3 {
		mustList(t, p, "")
		p.Slept()
	}
	if n := s.Count("EPSV"); n != 1 {
		t.Errorf("EPSV was tried %d times", n)
	}
	if p.Profile().EPSV {
		t.Error("the profile says EPSV works")
	}
}

// When no data connection can be made, that is what the error says.
func TestDataConnectionsBlocked(t *testing.T) {
	profile := ftptest.Vsftpd()
	profile.EPSVDead, profile.PASVDead = true, true
	s := ftptest.New(t, ftptest.Options{Profile: profile})
	p := newPool(t, s)
	_, err := p.List(patience(t), lookup, "")
	var e *Error
	if e, _ = err.(*Error); e == nil || !strings.Contains(e.Advice, "firewall") {
		t.Errorf("got %v", err)
	}
}

func TestSymlinkTargets(t *testing.T) {
	for _, slink := range []bool{true, false} {
		tree := ftptest.NewTree()
		tree.WriteFile("d/file", []byte("x"), someTime)
		tree.Symlink("d/link", "file", someTime)
		tree.Symlink("d/gone", "nowhere", someTime)
		profile := ftptest.ProFTPD()
		profile.Slink = slink
		s := ftptest.New(t, ftptest.Options{Profile: profile, Tree: tree})
		if !slink {
			// As proftpd does it: the type without the target.
			s.On("MLSD", "*", ftptest.Action{Listing: []byte("type=dir; sub\r\n" +
				"modify=20240101000000;size=1;type=file; file\r\n" +
				"modify=20240101000000;type=OS.unix=symlink; link\r\n" +
				"modify=20240101000000;type=OS.unix=symlink; gone\r\n")})
		}
		p := newPool(t, s)
		targets := map[string]string{}
		for _, e := range mustList(t, p, "d").Entries {
			if e.Type == listing.Symlink {
				targets[e.Raw] = e.Target
			}
		}
		if targets["link"] != "file" || targets["gone"] != "nowhere" {
			t.Errorf("slink=%v: targets %q", slink, targets)
		}
	}
}

// MLST on some servers shows the link itself as a file with the link's length.
func TestStatFollowsLinks(t *testing.T) {
	tree := ftptest.NewTree()
	tree.WriteFile("file", []byte("0123456789"), someTime)
	tree.Mkdir("dir", someTime)
	tree.Symlink("link", "file", someTime)
	tree.Symlink("way", "dir", someTime)
	s := ftptest.New(t, ftptest.Options{Profile: ftptest.ProFTPD(), Tree: tree})
	for _, l := range []string{"link", "way"} {
		s.On("MLST", l, ftptest.Action{Reply: "250-Start\r\n type=file;size=4;modify=20240101000000; /" + l + "\r\n250 End"})
	}
	p := newPool(t, s)
	if e, err := p.Stat(patience(t), lookup, "link"); err != nil || e.Size != 10 || e.Type != listing.File || e.MTime != listing.Exactly(someTime) {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := p.Stat(patience(t), lookup, "way"); err != nil || e.Type != listing.Dir {
		t.Errorf("%+v, %v", e, err)
	}
}

// A listing that is cut anywhere is an error or asked for again, never short.
func TestListingCut(t *testing.T) {
	for _, how := range []ftptest.How{ftptest.With426, ftptest.With451, ftptest.With226, ftptest.Reset, ftptest.NoReply, ftptest.Disconnect, ftptest.Stall} {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			t.Parallel()
			tree := ftptest.NewTree()
			for i := range 200 {
				tree.WriteFile(fmt.Sprintf("file-%03d", i), nil, someTime)
			}
			s := ftptest.New(t, ftptest.Options{Tree: tree})
			s.Once("LIST", "*", ftptest.CutAt(3333, how))
			p := newPool(t, s, func(c *Config) { c.Timeout = 3 * time.Second })
			for range 2 {
				l, err := p.List(patience(t), lookup, "")
				if err == nil && len(l.Entries) != 200 {
					t.Errorf("%d entries and no error", len(l.Entries))
				}
			}
			if l := mustList(t, p, ""); len(l.Entries) != 200 {
				t.Errorf("%d entries", len(l.Entries))
			}
		})
	}
}

// Bounded memory and time, whatever is sent.
func TestHostileReplies(t *testing.T) {
	for name, act := range map[string]ftptest.Action{
		"endless":    {Endless: true},
		"garbage":    {Raw: []byte("\x00\xff\xfe<html>\r\n")},
		"silence":    {Silent: true},
		"wrong code": {Reply: "999 what"},
		"early end":  {Raw: []byte("25")},
		"421":        {Reply: "421 Bye."},
		"extra":      {Reply: "250 one\r\n250 two\r\n250 three"},
	} {
		for _, verb := range []string{"CONNECT", "USER", "FEAT", "CWD", "EPSV", "LIST"} {
			t.Run(name+" for "+verb, func(t *testing.T) {
				t.Parallel()
				s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "x"}})
				s.On(verb, "*", act)
				p := newPool(t, s, func(c *Config) { c.Timeout = 1500 * time.Millisecond })
				l, err := p.List(patience(t), lookup, "")
				if err == nil && !slices.Equal(names(l), []string{"f"}) {
					t.Errorf("listed %q", names(l))
				}
				s.ClearRules()
				await(t, p, func(st Status) bool { return st.BackoffUntil.IsZero() })
				if got := names(mustList(t, p, "")); !slices.Equal(got, []string{"f"}) {
					t.Errorf("afterwards, listed %q", got)
				}
			})
		}
	}
}

// A PASV reply must not make us connect anywhere but to the server.
func TestPASVHostIsNotFollowed(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	touched := make(chan struct{})
	go func() {
		defer close(touched)
		if c, err := other.Accept(); err == nil {
			t.Error("the other host was connected to")
			c.Close()
		}
	}()
	profile := ftptest.Vsftpd()
	profile.PASVHost = "127.0.0.2"
	profile.Replies = map[string]string{"EPSV": "500 ?"}
	s := ftptest.New(t, ftptest.Options{Profile: profile, Files: map[string]string{"f": "x"}})
	var dialled []string
	p := newPool(t, s, func(c *Config) {
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialled = append(dialled, addr)
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
	})
	mustList(t, p, "")
	port := other.Addr().(*net.TCPAddr).Port
	s.On("PASV", "*", ftptest.Reply(227, fmt.Sprintf("Entering Passive Mode (127,0,0,2,%d,%d).", port>>8, port&255)))
	_, err = p.List(patience(t), lookup, "")
	if err == nil {
		t.Error("a port of the server where nothing listens gave a listing")
	}
	for _, addr := range dialled {
		if !strings.HasPrefix(addr, s.Host()+":") {
			t.Errorf("dialled %s", addr)
		}
	}
	other.Close()
	<-touched
}
