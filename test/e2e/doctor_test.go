package e2e

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
	"github.com/mirrorfs/mirrorfs/internal/realftp"
)

// diagnosis is what "mirrorfs doctor --json" prints.
type diagnosis struct {
	Server []struct{ Topic, Mark, Found, Means, Do string }
	Facts  struct {
		Product, Listing, Size, MDTM, REST, Zone, TLS, Sample string
		EPSV, PASV, UTF8                                      bool
		IgnoreCase                                            bool    `json:"ignore_case"`
		Rate                                                  float64 `json:"bytes_per_second"`
		SampleBytes                                           int64   `json:"sample_bytes"`
		Sessions                                              *struct{ Taken int }
	}
	Prepare, Command []string
	ExitCode         int `json:"exit_code"`
}

// doctor examines url and returns what it printed, too.
func (p *place) doctor(want int, url string, options ...string) (diagnosis, string) {
	p.t.Helper()
	words := append([]string{"doctor", "--json", "--cache-dir", p.cache}, options...)
	code, out, errs := p.run(append(words, url, p.dir)...)
	if code != want || errs != "" {
		p.t.Fatalf("doctor of %s: exit code %d, want %d\n%s%s", url, code, want, out, errs)
	}
	var d diagnosis
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		p.t.Fatalf("%v\n%s", err, out)
	}
	if d.ExitCode != code {
		p.t.Errorf("the report says exit code %d, it was %d", d.ExitCode, code)
	}
	return d, out
}

// follow mounts with exactly the command that the doctor told.
func (p *place) follow(d diagnosis) *mounted {
	p.t.Helper()
	if d.Prepare != nil || len(d.Command) < 3 || d.Command[0] != "mirrorfs" {
		p.t.Fatalf("prepare with %q, mount with %q", d.Prepare, d.Command)
	}
	if code, out, errs := p.run(d.Command[1:]...); code != 0 || out != "" || errs != "" {
		p.t.Fatalf("%q: exit code %d\n%s%s", d.Command, code, out, errs)
	}
	return p.adopt()
}

// TestDoctor has each server examined and mounted as advised.
func TestDoctor(t *testing.T) {
	f := &fixture{}
	f.add("dados/2024/sample.dbc", ftptest.Generated(3_000_000, 11))
	f.text("dados/LEIAME.TXT", "read me\n")
	f.disk(t)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := serve(t, kind, f, options{})
			p := newPlace(t, plain)
			d, out := p.doctor(0, s.url("dados"))
			if n := s.sessions(); n != 1 {
				t.Errorf("%d sessions at once, not asked for", n)
			}
			if asked := questions(s); len(asked) > 45 {
				t.Errorf("%d commands: %v", len(asked), asked)
			}
			if n := total(s.sent()); n > 3_000_000+1 {
				t.Errorf("%d bytes of files sent for one sample and a proof", n)
			}
			if bad := changing(s); len(bad) > 0 {
				t.Errorf("commands that change something: %v", bad)
			}
			want := map[string][4]string{
				"vsftpd": {"vsftpd", "unix"}, "proftpd": {"proftpd", "mlsd"}, "pure-ftpd": {"pure-ftpd", "mlsd"}, "datasus": {"microsoft", "dos"},
			}[kind]
			got := d.Facts
			if got.Product != want[0] || got.Listing != want[1] || got.REST != "proven" || got.Size != "yes" || got.MDTM != "yes" ||
				!got.EPSV || !got.PASV || got.IgnoreCase != (kind == "datasus") || got.UTF8 != (kind == "vsftpd" || kind == "proftpd") ||
				got.Rate <= 0 || got.Sample != "2024/sample.dbc" || got.SampleBytes != 3_000_000 {
				t.Errorf("the wrong profile: %+v\n%s", got, out)
			}
			if kind == "datasus" && got.Zone != "UTC-03:00" {
				t.Errorf("zone %q", got.Zone)
			}
			m := p.follow(d)
			same(t, m.path("2024/sample.dbc"), f.files[0].content)
			if b, err := os.ReadFile(m.path("LEIAME.TXT")); err != nil || string(b) != "read me\n" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}

// TestDoctorCap has the doctor find a cap, and nobody refused after its advice.
func TestDoctorCap(t *testing.T) {
	f := &fixture{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		f.add(name+"/data.bin", ftptest.Generated(400_000, uint64(name[0])))
	}
	for _, kind := range []string{"vsftpd", "datasus"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := serve(t, kind, f, options{max: 2})
			p := newPlace(t, plain)
			d, out := p.doctor(0, s.url(""), "--probe-connections")
			if d.Facts.Sessions == nil || d.Facts.Sessions.Taken != 2 {
				t.Fatalf("a cap of 2 was not found: %s", out)
			}
			if !slices.Contains(d.Command, "--connections=2") {
				t.Fatalf("advice: %q", d.Command)
			}
			allClosed(t, s)
			s.reset()
			m := p.follow(d)
			for _, file := range f.files {
				same(t, m.path(file.path), file.content)
			}
			if n := s.sessions(); n > 2 {
				t.Errorf("%d sessions under a cap of 2", n)
			}
			if s, ok := s.(*scripted); ok && len(s.Refused()) > 0 {
				t.Errorf("refused at %v", s.Refused())
			}
		})
	}
}

// TestDoctorEncrypted is told of a certificate's authority, and repeats that.
func TestDoctorEncrypted(t *testing.T) {
	f := &fixture{}
	f.add("data.bin", ftptest.Generated(600_000, 5))
	cert, key, err := ftptest.SelfSigned("127.0.0.1").Files(sandbox(t))
	if err != nil {
		t.Fatal(err)
	}
	root := f.disk(t)
	for _, kind := range realftp.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := realftp.Start(t, kind, realftp.Options{
				Root: root, TLS: realftp.ExplicitTLS, CertFile: cert, KeyFile: key, RequireReuse: kind != realftp.PureFTPd,
			})
			p := newPlace(t, plain)
			url := "ftpes://" + s.Addr() + "/"
			if d, out := p.doctor(9, url); d.Command != nil || !strings.Contains(out, "--tls-ca") {
				t.Errorf("a certificate that nobody vouches for: %s", out)
			}
			d, out := p.doctor(0, url, "--tls-ca", cert)
			if !strings.HasPrefix(d.Facts.TLS, "TLS 1.3") || d.Facts.Product != string(kind) || !d.Facts.PASV {
				t.Errorf("%+v\n%s", d.Facts, out)
			}
			if !slices.Contains(d.Command, "--tls-ca="+cert) || strings.Contains(strings.Join(d.Command, " "), "skip-verify") {
				t.Fatalf("advice: %q", d.Command)
			}
			m := p.follow(d)
			same(t, m.path("data.bin"), f.files[0].content)
		})
	}
}
