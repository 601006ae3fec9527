package ftppool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// Everything that can be wrong at the start is one clear error with its remedy.
func TestConnectErrors(t *testing.T) {
	ca := ftptest.NewCA()
	good := ca.Issue("127.0.0.1")
	for _, c := range []struct {
		name   string
		server ftptest.Options
		config func(*Config)
		kind   error
		advice string
	}{
		{"refused login", ftptest.Options{Users: map[string]string{"u": "right"}},
			func(c *Config) { c.User, c.Password = "u", "secret-wrong" }, ErrLogin, "password"},
		{"no anonymous", ftptest.Options{Users: map[string]string{"u": "right"}}, nil, ErrLogin, "netrc"},
		{"missing folder", ftptest.Options{}, func(c *Config) { c.Root = "no/such" }, fs.ErrNotExist, "%2F"},
		{"a file as folder", ftptest.Options{Files: map[string]string{"f": "x"}},
			func(c *Config) { c.Root = "f" }, ErrNotDir, "folder"},
		{"too many", ftptest.Options{MaxSessions: 1, MaxPerAddr: 0, CapReply: "421 Too many users.", Profile: ftptest.Vsftpd()},
			nil, ErrTooMany, "--connections"},
		{"wrong host", ftptest.Options{TLS: ca.Issue("other.example").Config(), TLSMode: ftptest.ExplicitTLS},
			func(c *Config) { c.TLS = ExplicitTLS; c.TLSConfig = &tls.Config{RootCAs: ca.Pool()} }, x509.HostnameError{}, "another host"},
		{"expired", ftptest.Options{TLS: ca.Expired("127.0.0.1").Config(), TLSMode: ftptest.ExplicitTLS},
			func(c *Config) { c.TLS = ExplicitTLS; c.TLSConfig = &tls.Config{RootCAs: ca.Pool()} }, x509.CertificateInvalidError{}, "expired"},
		{"self-signed", ftptest.Options{TLS: ftptest.SelfSigned("127.0.0.1").Config(), TLSMode: ftptest.ImplicitTLS},
			func(c *Config) { c.TLS = ImplicitTLS }, x509.UnknownAuthorityError{}, "--tls-ca"},
		{"no TLS offered", ftptest.Options{}, func(c *Config) { c.TLS = ExplicitTLS }, errNoTLS, "ftp://"},
		{"not TLS", ftptest.Options{}, func(c *Config) { c.TLS = ImplicitTLS }, tls.RecordHeaderError{}, "ftpes://"},
		{"TLS without saying so", ftptest.Options{TLS: good.Config(), TLSMode: ftptest.ImplicitTLS}, nil, context.DeadlineExceeded, ""},
		{"TLS required", ftptest.Options{TLS: good.Config(), TLSMode: ftptest.RequireTLS}, nil, ErrLogin, "ftpes://"},
		{"no banner", ftptest.Options{Profile: ftptest.Profile{Name: "mute", System: "UNIX"}}, nil, context.DeadlineExceeded, "firewall"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, c.server)
			if c.kind == ErrTooMany {
				occupy(t, s)
			}
			p := newPool(t, s, func(cfg *Config) {
				cfg.Timeout = 6 * time.Second
				if c.config != nil {
					c.config(cfg)
				}
			})
			start := time.Now()
			err := p.Connect(patience(t))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if !errors.Is(err, c.kind) && !errors.As(err, reflect.New(reflect.TypeOf(c.kind)).Interface()) {
				t.Errorf("got %v (%T), want %T", err, e.Err, c.kind)
			}
			if !strings.Contains(e.Advice, c.advice) {
				t.Errorf("the advice is %q", e.Advice)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "right") {
				t.Errorf("a password in %q", err)
			}
			if d := time.Since(start); d > 12*time.Second {
				t.Errorf("it took %v", d)
			}
			t.Log(err)
		})
	}
}

// occupy takes a session of the server for the length of the test.
func occupy(t *testing.T, s *ftptest.Server) {
	other := newPool(t, s, connections(1))
	if err := other.Connect(patience(t)); err != nil {
		t.Fatal(err)
	}
}

func TestUnknownHostAndRefused(t *testing.T) {
	p, err := New(Config{Host: "nowhere.invalid", Connections: 1, Timeout: 6 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	err = p.Connect(patience(t))
	var e *Error
	var dns *net.DNSError
	if !errors.As(err, &e) || !errors.As(err, &dns) || e.Advice == "" {
		t.Errorf("got %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	p, err = New(Config{Host: "127.0.0.1", Port: port, Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	isError(t, p.Connect(patience(t)), syscall.ECONNREFUSED)
}

func TestOffline(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{})
	p := newPool(t, s, func(c *Config) { c.Offline = true })
	for _, err := range []error{
		p.Connect(patience(t)),
		second(p.List(patience(t), lookup, "")),
		second(p.Stat(patience(t), lookup, "x")),
		second(p.Open(patience(t), read, "x", 0)),
	} {
		isError(t, err, ErrOffline)
	}
	if n := len(s.Attempts()); n != 0 || p.Idle() != 0 {
		t.Errorf("%d attempts, %d idle", n, p.Idle())
	}
}

func second[T any](_ T, err error) error { return err }

func TestTLS(t *testing.T) {
	ca := ftptest.NewCA()
	for _, mode := range []struct {
		name   string
		server ftptest.TLSMode
		client TLSMode
	}{{"explicit", ftptest.RequireTLS, ExplicitTLS}, {"implicit", ftptest.ImplicitTLS, ImplicitTLS}} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, goodbye := range []bool{true, false} {
				t.Run(mode.name+" "+tls.VersionName(version), func(t *testing.T) {
					t.Parallel()
					server := ca.Issue("127.0.0.1").Config()
					server.MinVersion, server.MaxVersion = version, version
					profile := ftptest.Vsftpd()
					profile.NoCloseNotify = !goodbye
					tree := ftptest.NewTree()
					tree.Generate("f", 3<<20, 1, someTime)
					tree.Generate("none", 0, 1, someTime)
					tree.Mkdir("empty", someTime)
					s := ftptest.New(t, ftptest.Options{Profile: profile, Tree: tree, TLS: server, TLSMode: mode.server, RequireReuse: true})
					p := newPool(t, s, connections(2), func(c *Config) {
						c.TLS, c.TLSConfig = mode.client, &tls.Config{RootCAs: ca.Pool()}
					})
					if l := mustList(t, p, ""); len(l.Entries) != 3 {
						t.Errorf("listed %q", names(l))
					}
					if l := mustList(t, p, "empty"); len(l.Entries) != 0 {
						t.Errorf("listed %q", names(l))
					}
					readMany(t, p, 8, "f", tree.ReadFile("f"))
					readMany(t, p, 2, "none", nil)
					if b := readAll(t, p, "f", 2<<20); string(b) != string(tree.ReadFile("f")[2<<20:]) {
						t.Error("wrong bytes from an offset")
					}
					r := mustOpen(t, p, read, "f", 0)
					if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
						t.Error(err)
					}
					_ = r.Close()
					mustList(t, p, "")
					for _, tr := range s.Transfers() {
						if !tr.Encrypted || !tr.Resumed {
							t.Errorf("a transfer in the clear, or with a session of its own: %+v", tr)
						}
					}
					for _, c := range s.Unencrypted() {
						if !strings.HasPrefix(c, "AUTH") {
							t.Errorf("in the clear: %q", c)
						}
					}
					if name := p.Profile().TLS; !strings.HasPrefix(name, tls.VersionName(version)) {
						t.Errorf("the profile says %q", name)
					}
				})
			}
		}
	}
}

// Encrypted data that used to end with a goodbye and now ends without has been
// cut by somebody in between.
func TestTLSTruncation(t *testing.T) {
	ca := ftptest.NewCA()
	s := ftptest.New(t, ftptest.Options{TLS: ca.Issue("127.0.0.1").Config(), TLSMode: ftptest.ImplicitTLS, Files: map[string]string{"f": "x"}})
	p := newPool(t, s, func(c *Config) { c.TLS, c.TLSConfig = ImplicitTLS, &tls.Config{RootCAs: ca.Pool()} })
	mustList(t, p, "")
	s.Update(func(o *ftptest.Options) { o.NoCloseNotify = true })
	if l, err := p.List(patience(t), lookup, ""); err == nil {
		t.Errorf("a cut listing was taken for whole: %q", names(l))
	}
}

func TestRoot(t *testing.T) {
	tree := ftptest.NewTree()
	tree.WriteFile("home/u/data/f", []byte("home"), someTime)
	tree.WriteFile("srv/data/f", []byte("srv"), someTime)
	tree.WriteFile(`home/u/d "q" d/f`, []byte("quotes"), someTime)
	s := ftptest.New(t, ftptest.Options{Tree: tree, LoginDir: "home/u"})
	for _, c := range []struct {
		root     string
		absolute bool
		want     string
	}{{"data", false, "home"}, {"data/", false, "home"}, {"srv/data", true, "srv"}, {"/srv/data", true, "srv"}, {`d "q" d`, false, "quotes"}} {
		p := newPool(t, s, func(cfg *Config) { cfg.Root, cfg.RootAbsolute = c.root, c.absolute })
		mustList(t, p, "")
		if b := readAll(t, p, "f", 0); string(b) != c.want {
			t.Errorf("%+v: read %q", c, b)
		}
	}
}

// After the first login, which asks, later ones cost one round trip: the server
// sees all commands before it has answered any.
func TestLoginRoundTrips(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"f": "x"}})
	p := newPool(t, s)
	mustList(t, p, "")
	p.Slept()
	s.Reset()
	gate := make(chan struct{})
	user := s.On("USER", "*", ftptest.Wait(gate))
	done := make(chan error)
	go func() { done <- p.Connect(patience(t)) }()
	if err := user.Await(patience(t), 1); err != nil {
		t.Fatal(err)
	}
	close(gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"FEAT", "SYST", "PWD"} {
		if n := s.Count(verb); n != 0 {
			t.Errorf("%s was asked again", verb)
		}
	}
}

// A server that drops what is sent before it has answered gets one command at a
// time from then on.
func TestSequentialServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := ftptest.New(t, ftptest.Options{Files: map[string]string{"d/f": "0123456789"}})
	lossy := &lossyRelay{l: l, to: s.Addr()}
	lossy.start(t)
	p := newPool(t, s, func(c *Config) { c.Port = l.Addr().(*net.TCPAddr).Port; c.Timeout = 6 * time.Second })
	if got := names(mustList(t, p, "d")); len(got) != 1 {
		t.Errorf("listed %q", got)
	}
	if b := readAll(t, p, "d/f", 3); string(b) != "3456789" {
		t.Errorf("read %q", b)
	}
	if _, err := p.Stat(patience(t), lookup, "d/f"); err != nil {
		t.Error(err)
	}
	if p.Profile().Pipelining {
		t.Error("the profile says that commands may be sent together")
	}
}

// With what an earlier pool learned, a new one knows before it asks.
func TestProfileIsKept(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Profile: ftptest.DATASUS(), Files: map[string]string{"A/f.txt": "0123456789"}})
	p := newPool(t, s)
	mustList(t, p, "A")
	readAll(t, p, "A/f.txt", 3)
	kept, err := json.Marshal(p.Profile())
	if err != nil {
		t.Fatal(err)
	}
	var earlier Profile
	if err := json.Unmarshal(kept, &earlier); err != nil {
		t.Fatal(err)
	}
	q := newPool(t, s, func(c *Config) { c.Profile = &earlier })
	now := q.Profile()
	if !q.IgnoreCase() || !q.CanRestart("f") || !now.Learned || now.Zone != "UTC-03:00" || len(now.ZoneSamples) == 0 || now.System != "Windows_NT" {
		t.Errorf("%+v", now)
	}
	s.Reset()
	mustList(t, q, "A")
	if s.Count("MDTM") != 0 {
		t.Error("the zone was found out again")
	}
	if r := newPool(t, s).Profile(); r.Learned || r.IgnoreCase {
		t.Errorf("a new pool knows %+v", r)
	}
}

func TestPasswordIsNeverLogged(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Users: map[string]string{"u": "hunter2"}, Files: map[string]string{"f": "x"}})
	s.On("PASS", "*", ftptest.Reply(530, "hunter2 is not the password"))
	log := new(strings.Builder)
	p := newPool(t, s, func(c *Config) {
		c.User, c.Password = "u", "hunter2"
		c.Log = debugLog(log)
	})
	err := p.Connect(patience(t))
	isError(t, err, ErrLogin)
	s.ClearRules()
	await(t, p, func(Status) bool { return p.Connect(patience(t)) == nil })
	mustList(t, p, "")
	_ = p.Close()
	for what, text := range map[string]string{"error": err.Error(), "log": log.String()} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("the password is in the %s: %s", what, text)
		}
	}
	if !strings.Contains(log.String(), "logged in") {
		t.Error("nothing was logged, so nothing was tested")
	}
}

func TestIPv6(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Listen: "[::1]:0", Files: map[string]string{"f": "0123456789"}})
	p := newPool(t, s)
	mustList(t, p, "")
	if b := readAll(t, p, "f", 0); string(b) != "0123456789" {
		t.Errorf("read %q", b)
	}
}
