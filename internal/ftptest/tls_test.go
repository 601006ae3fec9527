package ftptest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/jlaffaye/ftp"
)

// dialTLS logs in over TLS, resuming sessions only with a cache.
func dialTLS(s *Server, ca *CA, cache tls.ClientSessionCache, version uint16) (*ftp.ServerConn, error) {
	config := &tls.Config{
		RootCAs: ca.Pool(), ServerName: "127.0.0.1", ClientSessionCache: cache,
		MinVersion: version, MaxVersion: version,
	}
	option := ftp.DialWithExplicitTLS(config)
	if s.opts().TLSMode == ImplicitTLS {
		option = ftp.DialWithTLS(config)
	}
	c, err := ftp.Dial(s.Addr(), option, ftp.DialWithTimeout(10*time.Second))
	if err != nil {
		return nil, err
	}
	if err := c.Login("anonymous", "x"); err != nil {
		c.Quit()
		return nil, err
	}
	return c, nil
}

func TestTLS(t *testing.T) {
	ca := NewCA()
	for _, mode := range []TLSMode{ExplicitTLS, RequireTLS, ImplicitTLS} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			name := map[TLSMode]string{ExplicitTLS: "explicit", RequireTLS: "required", ImplicitTLS: "implicit"}[mode]
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				s, want := bigServer(t, Options{TLSMode: mode, TLS: ca.Issue("127.0.0.1").Config(), RequireReuse: true})
				c, err := dialTLS(s, ca, tls.NewLRUClientSessionCache(4), version)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Quit()
				if got := read(t, c, "f", 0); !bytes.Equal(got, want) {
					t.Error("other bytes")
				}
				if got, err := c.List(""); err != nil || len(got) != 1 {
					t.Errorf("LIST: %v, %v", got, err)
				}
				for _, tr := range s.Transfers() {
					if !tr.Encrypted || !tr.Resumed || !tr.Whole {
						t.Errorf("%+v", tr)
					}
				}
				if u := s.Unencrypted(); len(u) != 0 {
					t.Errorf("in the clear: %v", u)
				}
				fresh, err := dialTLS(s, ca, nil, version)
				if err != nil {
					t.Fatal(err)
				}
				defer fresh.Quit()
				if _, err := tryRead(fresh, "f", 0); err == nil {
					t.Error("a data connection without session reuse was taken")
				}
			})
		}
	}
}

func TestClearLoginsAndTransfersAreNoticed(t *testing.T) {
	s, _ := bigServer(t, Options{TLSMode: ExplicitTLS, TLS: NewCA().Issue("127.0.0.1").Config()})
	read(t, dial(t, s), "f", 0)
	if u := s.Unencrypted(); len(u) != 2 {
		t.Errorf("in the clear: %v", u)
	}
	required := New(t, Options{TLSMode: RequireTLS, TLS: NewCA().Issue("127.0.0.1").Config()})
	c, err := ftp.Dial(required.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Quit()
	if err := c.Login("anonymous", "x"); err == nil {
		t.Error("a login in the clear was taken")
	}
}

func TestBadCertificatesAreRefusedByAClient(t *testing.T) {
	ca := NewCA()
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	for _, c := range []struct {
		name string
		cert Cert
		want any
	}{
		{"wrong host", ca.Issue("192.0.2.1", "other.example"), &host},
		{"expired", ca.Expired("127.0.0.1"), &invalid},
		{"self-signed", SelfSigned("127.0.0.1"), &unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New(t, Options{TLSMode: ImplicitTLS, TLS: c.cert.Config()})
			if conn, err := dialTLS(s, ca, nil, tls.VersionTLS13); !errors.As(err, c.want) {
				if err == nil {
					conn.Quit()
				}
				t.Errorf("%v", err)
			}
		})
	}
}
