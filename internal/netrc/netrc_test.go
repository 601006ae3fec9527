package netrc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sample = `# logins
machine ftp.example.org login me password "a b\"c"
machine ftp.example.org
	login other   # not a comment's place, but common
	password p#2
macdef init
machine trap login trap password trap
cd /pub

default login anonymous password me@example.org
machine late.example.org password onlypass
machine bare.example.org
`

func TestFind(t *testing.T) {
	f, err := parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host, user string
		want       Login
	}{
		{"ftp.example.org", "", Login{"me", `a b"c`}},
		{"FTP.example.org", "me", Login{"me", `a b"c`}},
		{"ftp.example.org", "other", Login{"other", "p#2"}},
		{"late.example.org", "her", Login{"her", "onlypass"}},
		{"late.example.org", "", Login{"", "onlypass"}},
		{"bare.example.org", "", Login{"", ""}},
		{"elsewhere.org", "", Login{"anonymous", "me@example.org"}},
		{"trap", "", Login{"anonymous", "me@example.org"}},
	} {
		if got, ok := f.Find(c.host, c.user); !ok || got != c.want {
			t.Errorf("Find(%q, %q) = %+v, %v; want %+v", c.host, c.user, got, ok, c.want)
		}
	}
	if l, ok := f.Find("ftp.example.org", "third"); ok {
		t.Errorf("another user's login was given: %+v", l)
	}
}

func TestParseErrorsKeepPasswords(t *testing.T) {
	for _, s := range []string{
		"machine h login me password a secret",
		"login me password secret",
		"machine h password",
		"machine h password \"secret",
		"machine h password \"secret\n\"",
	} {
		_, err := parse(s)
		if err == nil {
			t.Errorf("parse(%q): no error", s)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("parse(%q): error shows the password: %v", s, err)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "netrc")
	if f, err := Read(path); err != nil || len(f.entries) != 0 {
		t.Errorf("a missing file: %+v, %v", f, err)
	}
	if err := os.WriteFile(path, []byte(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := Read(path); err != nil || f.Exposed || f.Path != path {
		t.Errorf("a private file: %+v, %v", f, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if f, err := Read(path); err != nil || !f.Exposed {
		t.Errorf("a readable file: %+v, %v", f, err)
	}
	if _, err := Read(dir); err == nil {
		t.Error("a directory was read")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Add("machine \"h\\n")
	f.Add("macdef")
	f.Fuzz(func(t *testing.T, s string) {
		if file, err := parse(s); err == nil {
			file.Find("ftp.example.org", "")
		}
	})
}
