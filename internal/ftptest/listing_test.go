package ftptest

import (
	"strings"
	"testing"
	"time"
)

func TestListFailures(t *testing.T) {
	tree := NewTree()
	tree.Put("secret", Entry{Kind: Dir, Refuse: "550 Permission denied.", ModTime: mtime})
	tree.Mkdir("none", mtime)
	tree.Put("odd", Entry{Line: "total nonsense \x01", ModTime: mtime})
	s := New(t, Options{Tree: tree})
	raw := func(f func(*Profile), dir string) string {
		s.Update(func(o *Options) { o.Profile = Vsftpd(); f(&o.Profile) })
		out := curlOut(t, "-v", "--ftp-method", "nocwd", "-X", "LIST "+dir, s.URL(""))
		return out
	}
	for _, c := range []struct {
		set  func(*Profile)
		dir  string
		want string
	}{
		{func(*Profile) {}, "/missing", "226 Directory send OK."},
		{func(p *Profile) { p.Unreadable = Refused226 }, "/secret", "226 Transfer done (but failed to open directory)."},
		{func(*Profile) {}, "/secret", " secret"},
		{func(p *Profile) { p.Missing = Failed450 }, "/missing", "450 "},
		{func(p *Profile) { p.Missing = Refused450 }, "/missing", "450 "},
		{func(p *Profile) { p.Missing = Refused }, "/missing", "550 "},
		{func(p *Profile) { p.Empty = Refused450 }, "/none", "450 "},
		{func(p *Profile) { p.Empty = Refused550 }, "/none", "550 "},
		{func(p *Profile) { p.TotalLine = true }, "", "total 0"},
		{func(p *Profile) { p.ModeSuffix = "." }, "", "drwxr-xr-x. "},
		{func(p *Profile) { p.TimeShift = time.Hour }, "", " none"},
		{func(*Profile) {}, "", "total nonsense \x01"},
		{func(*Profile) {}, "/n*", " none"},
		{func(*Profile) {}, "-la", " none"},
		{func(p *Profile) { p.PASVNoParens = true; p.Replies = map[string]string{"EPSV": "500 no"} }, "", "227 Entering Passive Mode 127,0,0,1,"},
		{func(p *Profile) { p.EPSVDead = true }, "", "227 Entering Passive Mode"},
		{func(p *Profile) { p.TransferOK = "250 done" }, "", "250 Directory"},
	} {
		if got := raw(c.set, c.dir); !strings.Contains(got, c.want) {
			t.Errorf("LIST %s: no %q in\n%s", c.dir, c.want, got)
		}
	}
}
