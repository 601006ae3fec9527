package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server with a few files, as a profile and options say.
func serve(t *testing.T, p ftptest.Profile, o ftptest.Options) *ftptest.Server {
	t.Helper()
	when := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	if o.Tree == nil {
		o.Tree = ftptest.NewTree()
		o.Tree.WriteFile("pub/a/readme.txt", []byte("read me"), when)
		o.Tree.Generate("pub/b/data.bin", 600_000, 1, when)
		o.Tree.Generate("pub/c/large.bin", 1<<30, 2, when)
	}
	o.Profile = p
	return ftptest.New(t, o)
}

// ask examines the server's folder pub and returns the report, the findings by
// topic, and the text as people see it.
func ask(t *testing.T, s *ftptest.Server, changes ...func(*ftppool.Config, *Server)) (*Server, map[string]Finding, string) {
	t.Helper()
	cfg := ftppool.Config{Host: s.Host(), Port: s.Port(), Root: "pub", Connections: 1, Timeout: 15 * time.Second}
	d := &Server{Host: s.Host(), Timeout: cfg.Timeout}
	for _, change := range changes {
		change(&cfg, d)
	}
	pool, err := ftppool.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	d.Pool = pool
	found := map[string]Finding{}
	var text bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = d.Examine(ctx, func(f Finding) {
		if old, ok := found[f.Topic]; !ok || old.Mark == OK {
			found[f.Topic] = f
		}
		Printer{W: &text}.Finding(f)
	})
	if err != nil {
		t.Fatal(err)
	}
	inColumns(t, text.String())
	return d, found, text.String()
}

func TestServerIsWell(t *testing.T) {
	for product, p := range map[string]ftptest.Profile{
		"vsftpd": ftptest.Vsftpd(), "proftpd": ftptest.ProFTPD(), "pure-ftpd": ftptest.PureFTPd(), "microsoft": ftptest.DATASUS(),
	} {
		t.Run(product, func(t *testing.T) {
			s := serve(t, p, ftptest.Options{})
			d, found, text := ask(t, s)
			for topic, f := range found {
				if f.Mark != OK {
					t.Errorf("%s: %+v", topic, f)
				}
			}
			if d.Facts.Product != product || d.Facts.Sample != "b/data.bin" || d.Facts.SampleBytes != 600_000 {
				t.Errorf("%+v\n%s", d.Facts, text)
			}
			// It is polite: one session, one file, few commands, nothing changed.
			if len(s.Attempts()) != 1 || s.MaxSessions() != 1 || s.Total() > 45 || s.BytesSent() > 600_001 || len(s.Changed()) > 0 {
				t.Errorf("%d sessions, %d commands, %d bytes, %v", len(s.Attempts()), s.Total(), s.BytesSent(), s.Changed())
			}
			// The same is told of one that hides its product.
			p.Banner = "220 Welcome."
			if d, _, text := ask(t, serve(t, p, ftptest.Options{})); d.Facts.Product != product {
				t.Errorf("%q\n%s", d.Facts.Product, text)
			}
		})
	}
}

func TestServerProblems(t *testing.T) {
	vsftpd := ftptest.Vsftpd()
	encrypted := func(c *ftppool.Config, d *Server) { c.TLS, d.Encrypted = ftppool.ExplicitTLS, true }
	quick := func(c *ftppool.Config, d *Server) { c.Timeout = 3 * time.Second }
	changed := func(f func(*ftptest.Profile)) ftptest.Profile {
		p := ftptest.Vsftpd()
		f(&p)
		return p
	}
	for name, c := range map[string]struct {
		profile ftptest.Profile
		options ftptest.Options
		with    func(*ftppool.Config, *Server)
		topic   string
		kind    error
		words   []string
	}{
		"login refused":        {profile: vsftpd, options: ftptest.Options{Users: map[string]string{"maria": "x"}}, topic: "login", kind: ftppool.ErrLogin, words: []string{"530", "~/.netrc"}},
		"folder missing":       {profile: vsftpd, with: func(c *ftppool.Config, _ *Server) { c.Root = "none" }, topic: "login", kind: fs.ErrNotExist, words: []string{`"none"`, "%2F"}},
		"certificate wrong":    {profile: vsftpd, options: ftptest.Options{TLSMode: ftptest.ExplicitTLS, TLS: ftptest.SelfSigned("127.0.0.1").Config()}, with: encrypted, topic: "login", words: []string{"--tls-ca"}},
		"no TLS":               {profile: vsftpd, with: encrypted, topic: "login", words: []string{"AUTH TLS refused", "ftp://"}},
		"wants TLS":            {profile: vsftpd, options: ftptest.Options{TLSMode: ftptest.RequireTLS, TLS: ftptest.SelfSigned("127.0.0.1").Config()}, topic: "login", words: []string{"ftpes://"}},
		"data ports dead":      {profile: changed(func(p *ftptest.Profile) { p.EPSVDead, p.PASVDead = true, true }), topic: "data", words: []string{"EPSV names port", "PASV names port", "can't be reached", "firewall"}},
		"data ports silent":    {profile: changed(func(p *ftptest.Profile) { p.EPSVSilent, p.PASVSilent = true, true }), with: quick, topic: "data", words: []string{"can't be reached", "firewall"}},
		"no passive FTP":       {profile: changed(func(p *ftptest.Profile) { p.Replies = map[string]string{"EPSV": "500 No.", "PASV": "502 No."} }), topic: "data", words: []string{"is refused", "active FTP"}},
		"silent":               {profile: changed(func(p *ftptest.Profile) { p.Banner = "" }), with: quick, topic: "login", kind: context.DeadlineExceeded, words: []string{"--timeout"}},
		"listing never begins": {profile: changed(func(p *ftptest.Profile) { p.Replies = map[string]string{"LIST": "451 Disk error."} }), topic: "listing", words: []string{"451 Disk error."}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.profile, c.options)
			var with []func(*ftppool.Config, *Server)
			if c.with != nil {
				with = append(with, c.with)
			}
			_, found, text := ask(t, s, with...)
			f := found[c.topic]
			if f.Mark != Problem || f.Cause != CauseServer || f.Err == nil || c.kind != nil && !errors.Is(f.Err, c.kind) {
				t.Errorf("%+v\n%s", f, text)
			}
			for _, w := range c.words {
				if !strings.Contains(f.Found+" "+f.Do, w) {
					t.Errorf("%q is not in %+v", w, f)
				}
			}
			if _, on := found["rate"]; on {
				t.Errorf("it went on after a problem:\n%s", text)
			}
		})
	}
	t.Run("full", func(t *testing.T) {
		s := serve(t, vsftpd, ftptest.Options{MaxPerAddr: 1})
		other, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if _, err := other.Read(make([]byte, 100)); err != nil { // its banner: it has the place
			t.Fatal(err)
		}
		_, found, text := ask(t, s)
		if f := found["login"]; f.Mark != Problem || !errors.Is(f.Err, ftppool.ErrTooMany) || !strings.Contains(f.Found, "421") {
			t.Errorf("%+v\n%s", f, text)
		}
	})
	t.Run("down", func(t *testing.T) {
		s := serve(t, vsftpd, ftptest.Options{})
		s.Stop()
		_, found, _ := ask(t, s)
		if f := found["login"]; f.Mark != Problem || !strings.Contains(f.Found, "connection refused") || !strings.Contains(f.Do, "down") {
			t.Errorf("%+v", f)
		}
	})
}

func TestServerNotes(t *testing.T) {
	changed := func(f func(*ftptest.Profile)) ftptest.Profile {
		p := ftptest.Vsftpd()
		f(&p)
		return p
	}
	refusing := func(verb, reply string) ftptest.Profile {
		return changed(func(p *ftptest.Profile) { p.Replies = map[string]string{verb: reply} })
	}
	empty := ftptest.NewTree()
	empty.Mkdir("pub", time.Now())
	latin := ftptest.NewTree()
	latin.WriteFile("pub/caf\xe9", bytes.Repeat([]byte("x"), 300_000), time.Now())
	locked := ftptest.NewTree()
	locked.WriteFile("pub/a", bytes.Repeat([]byte("x"), 300_000), time.Now())
	for name, c := range map[string]struct {
		profile ftptest.Profile
		tree    *ftptest.Tree
		script  func(*ftptest.Server)
		with    func(*ftppool.Config, *Server)
		topic   string
		mark    Mark
		words   string
		facts   func(Facts) bool
	}{
		"REST refused": {profile: refusing("REST", "502 No."), topic: "REST", mark: Note, words: "refused",
			facts: func(f Facts) bool { return f.REST == "refused" && f.Rate > 0 }},
		"no MDTM": {profile: refusing("MDTM", "502 No."), topic: "files", mark: Note, words: "MDTM does not",
			facts: func(f Facts) bool { return f.Size == "yes" && f.MDTM == "no" }},
		"... nor a zone": {profile: refusing("MDTM", "502 No."), topic: "times", mark: Note, words: "--timezone"},
		"a zone given": {profile: refusing("MDTM", "502 No."), with: func(c *ftppool.Config, d *Server) {
			c.Location, d.ZoneGiven = time.FixedZone("-03:00", -3*3600), true
		}, topic: "times", mark: OK, words: "as --timezone says"},
		"no SIZE":          {profile: refusing("SIZE", "502 No."), topic: "files", mark: Note, words: "SIZE does not work"},
		"EPSV refused":     {profile: refusing("EPSV", "500 No."), topic: "data", mark: OK, words: "PASV will be used", facts: func(f Facts) bool { return !f.EPSV && f.PASV }},
		"EPSV's port dead": {profile: changed(func(p *ftptest.Profile) { p.EPSVDead = true }), topic: "data", mark: OK, words: "PASV will be used"},
		"behind a NAT": {profile: changed(func(p *ftptest.Profile) { p.PASVHost = "10.1.2.3" }), with: func(_ *ftppool.Config, d *Server) { d.Host = "203.0.113.5" },
			topic: "data", mark: Note, words: "10.1.2.3"},
		"nothing listed": {tree: empty, profile: ftptest.Vsftpd(), topic: "listing", mark: Note, words: "nothing in the folder", facts: func(f Facts) bool { return f.Sample == "" && f.REST == "unknown" }},
		"strange lines": {profile: ftptest.Vsftpd(), script: func(s *ftptest.Server) {
			s.On("LIST", "*", ftptest.Action{Listing: []byte("what is this\r\n-rw-r--r-- 1 0 0 3 Mar 07 2024 a\r\n")})
		}, topic: "listing", mark: Note, words: "can't be read"},
		"MLSD only promised": {profile: func() ftptest.Profile {
			p := ftptest.ProFTPD()
			p.Replies = map[string]string{"MLSD": "500 No."}
			return p
		}(), topic: "listing", mark: OK, words: "LIST"},
		"names in latin-1": {tree: latin, profile: ftptest.DATASUS(), topic: "names", mark: Note, words: "--charset"},
		"forbidden file": {tree: locked, profile: ftptest.Vsftpd(), script: func(s *ftptest.Server) {
			s.On("RETR", "*", ftptest.Reply(550, "Permission denied."))
		}, topic: "files", mark: Note, words: "can't be read"},
		"unverified": {profile: ftptest.Vsftpd(), script: func(s *ftptest.Server) {
			s.Update(func(o *ftptest.Options) {
				o.TLSMode, o.TLS = ftptest.ExplicitTLS, ftptest.SelfSigned("other").Config()
			})
		}, with: func(c *ftppool.Config, d *Server) {
			c.TLS, c.TLSConfig = ftppool.ExplicitTLS, &tls.Config{InsecureSkipVerify: true}
			d.Encrypted, d.Unverified = true, true
		}, topic: "TLS", mark: Note, words: "pretend to be the server"},
		"password in the clear": {profile: ftptest.Vsftpd(), with: func(c *ftppool.Config, d *Server) {
			c.User, c.Password, d.User = "maria", "s3cr3t", "maria"
		}, topic: "TLS", mark: Note, words: "for all to read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.profile, ftptest.Options{Tree: c.tree})
			if c.script != nil {
				c.script(s)
			}
			var with []func(*ftppool.Config, *Server)
			if c.with != nil {
				with = append(with, c.with)
			}
			d, found, text := ask(t, s, with...)
			f := found[c.topic]
			if f.Mark != c.mark || !strings.Contains(f.Found+" "+f.Means+" "+f.Do, c.words) || c.facts != nil && !c.facts(d.Facts) {
				t.Errorf("%+v\n%+v\n%s", f, d.Facts, text)
			}
			if strings.Contains(text, "s3cr3t") {
				t.Errorf("the password is shown:\n%s", text)
			}
			for _, f := range found {
				if f.Mark == Problem {
					t.Errorf("a problem: %+v", f)
				}
			}
		})
	}
}

func TestServerSessions(t *testing.T) {
	probing := func(_ *ftppool.Config, d *Server) { d.Sessions = MostSessions }
	for _, c := range []struct{ cap, taken, advice int }{{1, 1, 1}, {2, 2, 2}, {5, 5, 0}, {0, 10, 0}} {
		s := serve(t, ftptest.Vsftpd(), ftptest.Options{MaxPerAddr: c.cap})
		d, found, text := ask(t, s, probing)
		if d.Facts.Sessions == nil || d.Facts.Sessions.Taken != c.taken || d.Advice.Connections != c.advice || found["sessions"].Mark == Problem {
			t.Errorf("a cap of %d: %+v, %+v\n%s", c.cap, d.Facts.Sessions, d.Advice, text)
		}
		if (d.Facts.Sessions.Refusal == "") != (c.cap == 0) || len(s.Refused()) > 1 || s.MaxSessions() > MostSessions {
			t.Errorf("a cap of %d: refused %d times, %d sessions", c.cap, len(s.Refused()), s.MaxSessions())
		}
	}
	// Far away, more than usual are worth their while.
	d := &Server{Facts: Facts{Latency: 120}}
	if d.connections(10); d.Advice.Connections != polite {
		t.Errorf("%+v", d.Advice)
	}
}

// A huge file is only begun, the next question comes on the same session or after it.
func TestServerReadsLittle(t *testing.T) {
	tree := ftptest.NewTree()
	tree.Generate("pub/large.bin", 1<<40, 1, time.Now())
	s := serve(t, ftptest.Vsftpd(), ftptest.Options{Tree: tree, SendBuffer: 64 << 10})
	d, _, text := ask(t, s)
	if d.Facts.SampleBytes < mostBytes || d.Facts.SampleBytes > mostBytes+64<<10 || d.Facts.REST != "proven" || s.MaxSessions() > 1 {
		t.Errorf("%+v, %d sessions\n%s", d.Facts, s.MaxSessions(), text)
	}
	if n := s.BytesSent(); n > 12<<20 { // what is in the buffers of both sides comes on top
		t.Errorf("%d bytes sent", n)
	}
}

// Of a deep tree with nothing to read, few folders are listed.
func TestServerListsLittle(t *testing.T) {
	tree := ftptest.NewTree()
	for _, dir := range []string{"a", "b", "c"} {
		for _, sub := range []string{"1", "2", "3", "4", "5"} {
			tree.WriteFile("pub/"+dir+"/"+sub+"/note.txt", []byte("x"), time.Now())
		}
	}
	s := serve(t, ftptest.Vsftpd(), ftptest.Options{Tree: tree})
	if _, _, text := ask(t, s); s.Count("LIST") > mostListings {
		t.Errorf("%d listings\n%s", s.Count("LIST"), text)
	}
}

func TestServerIsInterrupted(t *testing.T) {
	s := serve(t, ftptest.Vsftpd(), ftptest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	gate := make(chan struct{})
	defer close(gate)
	s.On("RETR", "*", ftptest.Action{Cut: &ftptest.Cut{At: 1000, How: ftptest.Stall, Until: gate}, Then: cancel})
	pool, err := ftppool.New(ftppool.Config{Host: s.Host(), Port: s.Port(), Root: "pub", Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var told []string
	d := &Server{Pool: pool, Timeout: 30 * time.Second}
	err = d.Examine(ctx, func(f Finding) { told = append(told, f.Topic) })
	if !errors.Is(err, context.Canceled) || slices.Contains(told, "REST") {
		t.Errorf("%v after %v", err, told)
	}
}
