package listing

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Besides these seeds there are those under testdata/fuzz.

func FuzzList(f *testing.F) {
	f.Add([]byte("total 4\r\n-rw-r--r-- 1 0 0 3 Jan 25 00:17 a\r\nlrwxrwxrwx 1 0 0 1 Feb 29 00:17 b -> c\r\n"), "", false)
	f.Add([]byte("01-02-06  03:04PM       <DIR>          caf\xe9\r\n13-02-06  03:04PM                9,730 caf\xc3\xa9"), "latin1", true)
	f.Add([]byte("+i8388621.48594,m825718503,r,s280,\tdjb.html\n"), "shift_jis", false)
	captures, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(captures) == 0 {
		f.Fatalf("no captures: %v", err)
	}
	for _, name := range captures {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "", true)
	}
	zone := location(f, "America/Sao_Paulo")
	f.Fuzz(func(t *testing.T, text []byte, label string, utf8Server bool) {
		c, err := NewCharset(label)
		if err != nil {
			return
		}
		for _, loc := range []*time.Location{nil, zone} {
			p := Parser{Charset: c, UTF8: utf8Server, Location: loc, Now: now}
			l, r, err := p.Parse(strings.NewReader(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			check(t, l, r)
			UniformShift(l.Entries, l.Entries)
		}
	})
}

func FuzzMLSD(f *testing.F) {
	f.Add("type=file;size=3;modify=20240102030405;perm=r;", "a name")
	f.Add("Type=OS.unix=slink:../a b;c;Size=1;", " x; y")
	f.Add("sizd=1;UNIX.mode=0755;modify=191240102030405.25;", "caf\xe9")
	f.Fuzz(func(t *testing.T, facts, name string) {
		p := Parser{Now: now}
		l, r, err := p.Parse(strings.NewReader(facts + " " + name + "\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		check(t, l, r)
		e, err := p.ParseMLST("Begin\n "+facts+" "+name+"\nEnd", "asked for")
		if err == nil && (e.Raw != "asked for" || e.Type < File || e.Type > Symlink || e.Size < SizeUnknown || e.MTime.Min > e.MTime.Max) {
			t.Fatalf("%+v", e)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add("213 20240229123456.789")
	f.Add("213 191240229123456")
	f.Add("213 5368709120")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := ParseSize(text); err == nil && (n < 0 || n > maxSize) {
			t.Fatalf("size %d", n)
		}
		if at, err := ParseMDTM(text); err == nil {
			if i := Exactly(at); !i.Known() || at.Year() < 0 || at.Year() > 10000 {
				t.Fatalf("time %v", at)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add("caf\xe9", "", false)
	f.Add("\x83\x65\x83\x58", "shift_jis", false)
	f.Add("\x1b$B%F\x1b(B", "iso-2022-jp", true)
	f.Fuzz(func(t *testing.T, raw, label string, utf8Server bool) {
		c, err := NewCharset(label)
		if err != nil {
			return
		}
		name := c.Decode(raw, utf8Server)
		if !utf8.ValidString(name) {
			t.Fatalf("%q is shown as %q", raw, name)
		}
		if guess := c.Encode(name, utf8Server); guess != name && c.Decode(guess, utf8Server) != name {
			t.Fatalf("%q is spelt %q", name, guess)
		}
		if m := distinct(name, raw, 0); !utf8.ValidString(m) || len(m) > maxName || CheckName(name) == nil && CheckName(m) != nil {
			t.Fatalf("%q is marked as %q", name, m)
		}
	})
}
