package listing

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)

// parse reads lines as a server sends them, and checks what must hold for any
// answer.
func parse(t testing.TB, p Parser, text string) (*Listing, Report) {
	t.Helper()
	if p.Now.IsZero() {
		p.Now = now
	}
	l, r, err := p.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	check(t, l, r)
	return l, r
}

func check(t testing.TB, l *Listing, r Report) {
	t.Helper()
	if got := len(l.Entries) + l.Unparsed + r.Ignored + r.Merged; got != r.Lines {
		t.Errorf("%d lines, but %d entries + %d unparsed + %d ignored + %d merged", r.Lines, len(l.Entries), l.Unparsed, r.Ignored, r.Merged)
	}
	if want := min(l.Unparsed, maxSamples); len(r.Samples) != want {
		t.Errorf("%d samples of %d unparsed lines", len(r.Samples), l.Unparsed)
	}
	raws := map[string]bool{}
	for i, e := range l.Entries {
		switch {
		case CheckName(e.Name) != nil || CheckName(e.Raw) != nil:
			t.Errorf("forbidden name %q, raw %q", e.Name, e.Raw)
		case strings.ToValidUTF8(e.Name, "") != e.Name:
			t.Errorf("%q is not UTF-8", e.Name)
		case len(e.Name) > 255 || len(e.Raw) > 1024 || len(e.Target) > 4095:
			t.Errorf("too long: %+v", e)
		case i > 0 && l.Entries[i-1].Name >= e.Name:
			t.Errorf("not sorted, or not unique: %q, %q", l.Entries[i-1].Name, e.Name)
		case raws[e.Raw]:
			t.Errorf("raw name %q twice", e.Raw)
		case e.Type < File || e.Type > Symlink:
			t.Errorf("%q has type %d", e.Name, e.Type)
		case e.Size < SizeUnknown || e.Size > maxSize || e.Type != File && e.Size != 0:
			t.Errorf("%q has size %d", e.Name, e.Size)
		case e.MTime.Min > e.MTime.Max:
			t.Errorf("%q has time %v", e.Name, e.MTime)
		case e.Target != "" && e.Type != Symlink:
			t.Errorf("%q has a target and is no link", e.Name)
		}
		raws[e.Raw] = true
	}
}

// one parses a line that must give one entry.
func one(t testing.TB, p Parser, text string) Entry {
	t.Helper()
	l, r := parse(t, p, text+"\r\n")
	if len(l.Entries) != 1 {
		t.Fatalf("%q gave %d entries; %+v", text, len(l.Entries), r.Samples)
	}
	return l.Entries[0]
}

// utc is the interval of the seconds from a time in UTC.
func utc(s string, seconds int64) Interval {
	t, err := time.Parse("2006-01-02 15:04:05", s)
	if err != nil {
		panic(err)
	}
	return Interval{t.Unix(), t.Unix() + seconds - 1}
}

// day is the interval of a date in an unknown zone.
func day(s string) Interval {
	i := utc(s+" 00:00:00", 86400)
	return Interval{i.Min - 14*3600, i.Max + 12*3600}
}

func sameEntry(t testing.TB, got, want Entry) {
	t.Helper()
	if want.Raw == "" {
		want.Raw = want.Name
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestIgnoredLines(t *testing.T) {
	for _, text := range []string{
		"", " ", "\t", "total 0", "total 123456", "Total 1.2M", "insgesamt 12",
		"drwxr-xr-x   2 root     root         4096 Nov 23 19:39 .",
		"drwxr-xr-x   2 root     root         4096 Nov 23 19:39 ..",
		"crw-r--r--   1 root     root       1,   3 Nov 20 10:11 null",
		"brw-rw----   1 root     disk       8,   0 Nov 20 10:11 sda",
		"prw-r--r--   1 root     root            0 Nov 20 10:11 fifo",
		"srwxrwxrwx   1 root     root            0 Nov 20 10:11 socket",
		"type=cdir;modify=20150813224845; /pub",
		"type=pdir;modify=20150813224845; ..",
		"Type=CDIR;Perm=el; .",
		"type=OS.unix=chr-1/3;modify=20150813224845; null",
		"01-02-06  03:04PM       <DIR>          .",
	} {
		l, r := parse(t, Parser{}, text+"\r\n")
		if r.Ignored != 1 || len(l.Entries) != 0 {
			t.Errorf("%q: %d ignored, %+v, %+v", text, r.Ignored, l.Entries, r.Samples)
		}
	}
}

func TestUnparsedLines(t *testing.T) {
	long := strings.Repeat("n", 1025)
	tests := []struct{ text, reason string }{
		{"what is this", string(unknownForm)},
		{"000000000x ", string(unknownForm)},
		{"ls: cannot open directory '.': Permission denied", string(unknownForm)},
		{"Zrwxrwxrwx   1 root     other          7 Jan 25 00:17 bin", string(unknownForm)},
		{"drwxr-xr-x    3 110      1002            3 Dec 02  209 pub", string(badTimestamp)},
		{"drwxr-xr-x    3 110      1002            3 Feb 30  2009 pub", string(badTimestamp)},
		{"-rw-r--r--    1 0        0               3 Jan 25 24:17 x", string(badTimestamp)},
		{"-rw-r--r--    1 0        0               3 Jan 25 00:17", string(noName)},
		{"-rw-r--r--    1 0        0               3 Jan 25 00:17 ", string(noName)},
		{"-rw-r--r--    1 0        0               3 Jan 25 00:17 a/b", string(badName)},
		{"-rw-r--r--    1 0        0               3 Jan 25 00:17 ../../etc/passwd", string(badName)},
		{"-rw-r--r--    1 0        0               3 Jan 25 00:17 /etc/passwd", string(badName)},
		{"-rw-r--r--    1 0        0               3 Jan 25 00:17 a\x00b", string(badName)},
		{"-rw-r--r--    1 0        0               3 Jan 25 00:17 a\rb", string(badName)},
		{"-rw-r--r--    1 0        0               3 Jan 25 00:17 b\r", string(badName)},
		{"-rw-r--r--    1 0        0               3 Jan 25 00:17 " + long, string(nameTooLong)},
		{"lrwxrwxrwx    1 0        0               0 Jan 25 00:17 a -> " + strings.Repeat("t", 4096), string(badTarget)},
		{"lrwxrwxrwx    1 0        0               0 Jan 25 00:17 a -> b\x00c", string(badTarget)},
		{"01-02-06  03:04PM       <ODD>          x", string(unknownType)},
		{"01-02-06  03:04PM       <DIR>          ", string(noName)},
		{"01-02-06  03:04PM                  589", string(noName)},
		{"13-32-06  03:04PM                  589 x", string(badTimestamp)},
		{"01-02-06  13:04PM                  589 x", string(unknownForm)},
		{"01-02-06  03:04PM                  5b9 x", string(unknownForm)},
		{"type=file;size=3; a/b", string(badName)},
		{"type=unknown;size=0; fifo", string(unknownType)},
		{"size=3;modify=20150813224845; x", string(untyped)},
		{" nameonly", string(unknownForm)},
		{"+i1,s3,\tx", string(untyped)},
		{"+i1,r,s3, x", string(unknownForm)},
		{strings.Repeat("x", maxLine+1), string(lineTooLong)},
	}
	for _, tt := range tests {
		good := "-rw-r--r-- 1 0 0 3 Jan 25 00:17 good\r\n"
		l, r := parse(t, Parser{}, good+tt.text+"\r\n"+strings.Replace(good, "good", "also", 1))
		if l.Unparsed != 1 || len(r.Samples) != 1 || len(l.Entries) != 2 {
			t.Errorf("%.80q: %d unparsed, %d entries", tt.text, l.Unparsed, len(l.Entries))
			continue
		}
		s := r.Samples[0]
		if s.Reason != tt.reason || s.Number != 2 || s.Line != tt.text[:min(len(tt.text), maxSampleBytes)] {
			t.Errorf("%.80q: sample %+v, want %q", tt.text, s, tt.reason)
		}
	}
}

func TestUntypedIsCounted(t *testing.T) {
	_, r := parse(t, Parser{}, "size=3; a\r\nmodify=20150813224845; b\r\ntype=file; c\r\njunk\r\n")
	if r.Untyped != 2 {
		t.Errorf("Untyped = %d, want 2", r.Untyped)
	}
}

func TestLineEnds(t *testing.T) {
	line := "-rw-r--r-- 1 0 0 3 Jan 25 00:17 "
	for _, tt := range []struct {
		text  string
		names string
		cut   bool
	}{
		{"", "", false},
		{line + "a\r\n" + line + "b\r\n", "a|b", false},
		{line + "a\n" + line + "b\n", "a|b", false},
		{line + "a\n" + line + "b\r\n", "a|b", false},
		{line + "a\r\n" + line + "b", "a|b", true},
		{line + "a \r\n", "a ", false},
		// A name with LF in it, on servers that end lines with CR LF.
		{line + "a\r\n" + line + "half\nother half\r\n" + line + "b\r\n", "a|b", false},
		{line + "a\r\n" + line + "half\n2\n3\r\n" + line + "b\r\n", "a|b|half", false},
		{line + "a\r\n" + line + "b\r\n" + line + "half\n2\n3\r\n", "a|b", false},
		{line + "a\n" + line + "b\n" + "goodbye\r\n", "a|b", false},
		{line + "a\ntype=unknown; b\r\n", "a", false},
		{line + "a\nmotd\n" + line + "b\n", "a|b", false},
	} {
		l, r := parse(t, Parser{}, tt.text)
		var names []string
		for _, e := range l.Entries {
			names = append(names, e.Name)
		}
		if got := strings.Join(names, "|"); got != tt.names || r.Cut != tt.cut {
			t.Errorf("%q: %q, cut %v; want %q, %v", tt.text, got, r.Cut, tt.names, tt.cut)
		}
	}
}

func TestMixedStyles(t *testing.T) {
	l, r := parse(t, Parser{}, `total 4
-rw-r--r-- 1 0 0 3 Jan 25 00:17 a
01-02-06  03:04PM                  589 b
type=dir; c
+i1,r,s3,	d
-rw-r--r-- 1 0 0 3 Jan 25 00:17 e
`)
	if len(l.Entries) != 5 || l.Unparsed != 0 || r.Style != Unix {
		t.Errorf("%+v %+v", l, r)
	}
	if _, r := parse(t, Parser{}, "total 0\n"); r.Style != 0 || r.Style.String() != "none" {
		t.Errorf("style of an empty listing: %v", r.Style)
	}
}

func TestReaderFails(t *testing.T) {
	lost := errors.New("connection lost")
	text := "-rw-r--r-- 1 0 0 3 Jan 25 00:17 a\n-rw-r--r-- 1 0 0 3 Jan 25 00:17 half a na"
	l, _, err := Parser{Now: now}.Parse(io.MultiReader(strings.NewReader(text), failing{lost}))
	if !errors.Is(err, lost) || l != nil {
		t.Errorf("got %v, %v", l, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// repeat gives the same bytes n times.
type repeat struct {
	text string
	n    int
	rest string
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.rest == "" {
		if r.n == 0 {
			return 0, io.EOF
		}
		r.n--
		r.rest = r.text
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func TestTooLarge(t *testing.T) {
	numbered := func(n int) io.Reader {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "-rw-r--r-- 1 0 0 3 Jan 25 00:17 file%d\n", i)
		}
		return strings.NewReader(b.String())
	}
	p := Parser{Now: now, MaxMemory: 100_000}
	if l, _, err := p.Parse(numbered(900)); err != nil || len(l.Entries) != 900 {
		t.Errorf("900 entries: %v", err)
	}
	if l, _, err := p.Parse(numbered(2000)); !errors.Is(err, ErrTooLarge) || l != nil {
		t.Errorf("2000 entries: %v", err)
	}
	// Junk without end costs no memory, and ends.
	for _, text := range []string{strings.Repeat("x", 1<<20), strings.Repeat("x", 1<<20) + "\n"} {
		if _, _, err := p.Parse(&repeat{text: text, n: 1 << 20}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("endless junk: %v", err)
		}
	}
}

// countdown writes n lines, each as it is wanted.
type countdown struct {
	n    int
	rest []byte
}

func (c *countdown) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		if c.n == 0 {
			return 0, io.EOF
		}
		c.n--
		c.rest = fmt.Appendf(c.rest[:0], "-rw-r--r-- 1 0 0 %d Jan 25 00:17 file%07d.dbc\r\n", c.n, c.n)
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func TestMillionLines(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	l, r, err := Parser{Now: now}.Parse(&countdown{n: n})
	if err != nil || len(l.Entries) != n || r.Lines != n || l.Unparsed != 0 {
		t.Fatalf("%d entries, %+v, %v", len(l.Entries), r, err)
	}
	if e := l.Entries[4711]; e.Name != "file0004711.dbc" || e.Size != 4711 {
		t.Errorf("%+v", e)
	}
	if slack := cap(l.Entries) - len(l.Entries); slack > len(l.Entries)/8 || l.Cost() > 100<<20 {
		t.Errorf("%d MiB, room for %d more", l.Cost()>>20, slack)
	}
}

func TestLongestLine(t *testing.T) {
	_, r := parse(t, Parser{}, strings.Repeat("x", maxLine)+"\rand more\r\n")
	if len(r.Samples) != 1 || r.Samples[0].Reason != string(lineTooLong) {
		t.Errorf("%d samples", len(r.Samples))
	}
	for _, end := range []string{"\r\n", ""} {
		for _, n := range []int{16<<10 - 1, 16 << 10, 16<<10 + 1, maxLine - 1, maxLine, maxLine + 1, maxLine + 2, 10 * maxLine} {
			_, r := parse(t, Parser{}, "-rw-r--r-- 1 0 0 3 Jan 25 00:17 a\r\n"+strings.Repeat("x", n)+end)
			want := unknownForm
			if n > maxLine {
				want = lineTooLong
			}
			if r.Lines != 2 || len(r.Samples) != 1 || r.Samples[0].Reason != string(want) {
				t.Errorf("line of %d ending in %q: %d lines, %d samples", n, end, r.Lines, len(r.Samples))
			}
		}
	}
}
