package ftpurl

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want URL
		show string
	}{
		{"ftp://ftp.datasus.gov.br/dissemin/publicos",
			URL{Scheme: FTP, Host: "ftp.datasus.gov.br", Port: 21, Path: "dissemin/publicos"}, ""},
		{"ftp://host", URL{Scheme: FTP, Host: "host", Port: 21}, "ftp://host/"},
		{"ftp://host/", URL{Scheme: FTP, Host: "host", Port: 21}, ""},
		{"FTP://HOST:2121/A/", URL{Scheme: FTP, Host: "host", Port: 2121, Path: "A"}, "ftp://host:2121/A"},
		{"ftps://host/a", URL{Scheme: FTPS, Host: "host", Port: 990, Path: "a"}, ""},
		{"ftpes://host/a", URL{Scheme: FTPES, Host: "host", Port: 21, Path: "a"}, ""},
		{"ftps://host:21/a", URL{Scheme: FTPS, Host: "host", Port: 21, Path: "a"}, ""},
		// curl's paths
		{"ftp://host//a/b", URL{Scheme: FTP, Host: "host", Port: 21, Path: "a/b", Absolute: true}, "ftp://host/%2Fa/b"},
		{"ftp://host/%2Fa/b", URL{Scheme: FTP, Host: "host", Port: 21, Path: "a/b", Absolute: true}, ""},
		{"ftp://host/%2f", URL{Scheme: FTP, Host: "host", Port: 21, Absolute: true}, "ftp://host/%2F"},
		{"ftp://host//", URL{Scheme: FTP, Host: "host", Port: 21, Absolute: true}, "ftp://host/%2F"},
		{"ftp://host/a/../b/./c//d/", URL{Scheme: FTP, Host: "host", Port: 21, Path: "b/c/d"}, "ftp://host/b/c/d"},
		{"ftp://host/../../etc", URL{Scheme: FTP, Host: "host", Port: 21, Path: "etc"}, "ftp://host/etc"},
		{"ftp://host/a;type=i", URL{Scheme: FTP, Host: "host", Port: 21, Path: "a"}, "ftp://host/a"},
		{"ftp://host/a;type=x", URL{Scheme: FTP, Host: "host", Port: 21, Path: "a;type=x"}, "ftp://host/a%3Btype=x"},
		{"ftp://host/a?b", URL{Scheme: FTP, Host: "host", Port: 21, Path: "a?b"}, "ftp://host/a%3Fb"},
		{"ftp://host/100%", URL{Scheme: FTP, Host: "host", Port: 21, Path: "100%"}, "ftp://host/100%25"},
		{"ftp://host/a b%20c,d:e", URL{Scheme: FTP, Host: "host", Port: 21, Path: "a b c,d:e"}, "ftp://host/a%20b%20c,d:e"},
		{"ftp://host/S%E3o", URL{Scheme: FTP, Host: "host", Port: 21, Path: "S\xe3o"}, ""},
		{"ftp://host/São", URL{Scheme: FTP, Host: "host", Port: 21, Path: "São"}, "ftp://host/S%C3%A3o"},
		{"ftp://host/a%23@b", URL{Scheme: FTP, Host: "host", Port: 21, Path: "a#@b"}, "ftp://host/a%23@b"},
		// hosts
		{"ftp://[::1]:2121/a", URL{Scheme: FTP, Host: "::1", Port: 2121, Path: "a"}, "ftp://[::1]:2121/a"},
		{"ftp://[FE80::1%25eth0]/", URL{Scheme: FTP, Host: "fe80::1%eth0", Port: 21}, "ftp://[fe80::1%25eth0]/"},
		{"ftp://saúde.example/", URL{Scheme: FTP, Host: "xn--sade-rra.example", Port: 21}, "ftp://xn--sade-rra.example/"},
		// credentials
		{"ftp://me:s%40cret@host/a", URL{Scheme: FTP, Host: "host", Port: 21, User: "me", Password: "s@cret", HasPassword: true, Path: "a"}, "ftp://host/a"},
		{"ftp://me@mail.org:a:b@host/", URL{Scheme: FTP, Host: "host", Port: 21, User: "me@mail.org", Password: "a:b", HasPassword: true}, "ftp://host/"},
		{"ftp://me@host", URL{Scheme: FTP, Host: "host", Port: 21, User: "me"}, "ftp://host/"},
		{"ftp://me:@host", URL{Scheme: FTP, Host: "host", Port: 21, User: "me", HasPassword: true}, "ftp://host/"},
		{"ftp://@host/a@b", URL{Scheme: FTP, Host: "host", Port: 21, Path: "a@b"}, "ftp://host/a@b"},
		{"ftp://us%3Aer:p@[::1]:21/", URL{Scheme: FTP, Host: "::1", Port: 21, User: "us:er", Password: "p", HasPassword: true}, "ftp://[::1]/"},
	} {
		got, err := Parse(c.in)
		if err != nil || got != c.want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", c.in, got, err, c.want)
			continue
		}
		show := c.show
		if show == "" {
			show = c.in
		}
		if got.String() != show {
			t.Errorf("Parse(%q) shows as %q, want %q", c.in, got.String(), show)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ in, why string }{
		{"", "empty"},
		{"host/path", "ftp://"},
		{"http://host/", "ftp://"},
		{"ftp://", "no host"},
		{"ftp:///path", "no host"},
		{"ftp://me:secret@/path", "no host"},
		{"ftp://:secret@host/path", "no user"},
		{"ftp://host:0/", "port"},
		{"ftp://host:65536/", "port"},
		{"ftp://host:x/", "port"},
		{"ftp://::1/", "brackets"},
		{"ftp://[::1/", "bracket"},
		{"ftp://[::1]x/", "port"},
		{"ftp://[1.2.3.4]/", "IPv6"},
		{"ftp://[fe80::1%25e\x00]/", "interface"},
		{"ftp://[fe80::1%e\r\nDELE b]/", "interface"},
		{"ftp://ho st/", "host"},
		{"ftp://ho%0Ast/", "host"},
		{"ftp://host/a%0D%0ADELE b", "line break"},
		{"ftp://host/a%00", "NUL"},
		{"ftp://me%0A:secret@host/", "line break"},
		{"ftp://me:secret%0D@host/", "line break"},
		{"ftp://host/a#b", "%23"},
		{"ftp://host/a;type=a", "type=a"},
		{"ftp://me:sec/ret@host/a", "%2F"},
		{"ftp://me:sec#ret@host", "%23"},
		{"me:secret@host", "ftp://"},
		{"ftp:/me:secret@host/", "ftp://"},
		{"ftp//me:secret@host/", "ftp://"},
		{"ftp:me:secret@host/", "ftp://"},
		{"ftp://me:12#secret@host/", "%23"},
		{"ftp://me:se@12#secret@host/", "%23"},
		{"ftp://me:secret", "port"},
		{"ftp//me:secret", "ftp://"},
		{"me:secret://x@host", "ftp://"},
	} {
		_, err := Parse(c.in)
		if err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("Parse(%q): error %v does not say %q", c.in, err, c.why)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "ret@")) {
			t.Errorf("Parse(%q): error shows the password: %v", c.in, err)
		}
	}
}

func TestWithoutPassword(t *testing.T) {
	for _, c := range []struct {
		in, clean, password string
		ok                  bool
	}{
		{"ftp://me:secret@host/a@b", "ftp://me@host/a@b", "secret", true},
		{"ftp://me:@host/", "ftp://me@host/", "", true},
		{"ftp://me@host/", "ftp://me@host/", "", false},
		{"ftp://host:21/a:b@c", "ftp://host:21/a:b@c", "", false},
		{"ftp://a@b:c%20d@host", "ftp://a@b@host", "c d", true},
		{"/mnt/a", "/mnt/a", "", false},
		{"a@b", "a@b", "", false},
		{"ftp:/maria:s3cr3t@host/", "ftp:/maria@host/", "s3cr3t", true},
		{"ftp//maria:s3cr3t@host/", "ftp//maria@host/", "s3cr3t", true},
		{"ftp://maria:12#s3cr3t@host/", "ftp://maria@host/", "12#s3cr3t", true},
		{"ftp://maria:a@b#c@host/", "ftp://maria@host/", "a@b#c", true},
		{"ftp:maria:s3cr3t@host/", "ftp:maria@host/", "s3cr3t", true},
		{"http://maria:1#s3cr3t@host:1", "http://maria@host:1", "1#s3cr3t", true},
		{"--proxy=socks5h://u:s3cr3t@host:1080", "--proxy=socks5h://u@host:1080", "s3cr3t", true},
	} {
		clean, password, ok := WithoutPassword(c.in)
		if clean != c.clean || password != c.password || ok != c.ok {
			t.Errorf("WithoutPassword(%q) = %q, %q, %v", c.in, clean, password, ok)
		}
	}
}

func TestRedact(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"ftp://maria:s3cr3t@host/a@b", "ftp://host/a@b"},
		{"ftp:/maria:s3cr3t@host/", "ftp:/host/"},
		{"ftp//maria:s3cr3t@host/", "ftp//host/"},
		{"ftp://maria:12#s3cr3t@host/", "ftp://host/"},
		{"maria:s3cr3t@ftp://host/", "ftp://host/"},
		{"ftp://maria:s3cr3t/", "ftp://maria:..."},
		{"http://host/a", "http://host/a"},
		{"ftp:/host:21/a", "ftp:/host:21/a"},
		{"host/a:b", "host/a:..."},
		{"ftp://[::1/", "ftp://[::1/"},
	} {
		if got := Redact(c.in); got != c.want {
			t.Errorf("Redact(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

// FuzzParse holds Parse to: no panic, nothing that could end a command line,
// and the shown form is free of credentials and means the same folder.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"ftp://ftp.datasus.gov.br/dissemin/publicos", "ftps://me:p%40w@[::1]:2121/%2Fa/b;type=i",
		"ftpes://a@b:c@host//x y", "ftp://h/%zz%", "ftp://h/a\r\nDELE b", "ftp://[fe80::1%25lo]/", "ftp://é/ã?q",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := Parse(s)
		Redact(s)
		WithoutPassword(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(u.Host+u.User+u.Password+u.Path, "\r\n\x00") {
			t.Fatalf("%q: control characters in %+v", s, u)
		}
		if u.Host == "" || u.Port < 1 || u.Port > 65535 {
			t.Fatalf("%q: no address in %+v", s, u)
		}
		again, err := Parse(u.String())
		if err != nil {
			t.Fatalf("%q: shown as %q, which is refused: %v", s, u, err)
		}
		u.User, u.Password, u.HasPassword = "", "", false
		if again != u {
			t.Fatalf("%q: shown as %q, which is %+v, not %+v", s, u, again, u)
		}
	})
}
