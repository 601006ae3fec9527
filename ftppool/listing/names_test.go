package listing

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{"", ".", "..", "/", "a/b", "../x", "a\x00", "a\r", "a\nb", "\r\n"} {
		if CheckName(name) == nil {
			t.Errorf("%q passes", name)
		}
	}
	for _, name := range []string{"...", "-", " ", "a b", "a\tb", "a\\b", "*", "\xe9", "~"} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Charsets with escape sequences can hide what a name or a command holds.
func TestHiddenNames(t *testing.T) {
	p := Parser{Charset: charset(t, "iso-2022-jp")}
	for _, raw := range []string{
		"\x1b$B%/\x1b(B",                // shown as one letter; the command has a slash in it
		"\x1b(B", "\x1b(B.", "\x1b(B..", // shown as nothing, "." and ".."
	} {
		if l, r := parse(t, p, list(raw)); l.Unparsed != 1 || r.Samples[0].Reason != string(badName) {
			t.Errorf("%q: %+v %+v", raw, l, r)
		}
	}
}

func list(names ...string) string {
	var b strings.Builder
	for i, n := range names {
		fmt.Fprintf(&b, "type=file;size=%d; %s\r\n", i, n)
	}
	return b.String()
}

// shown maps raw names to shown ones.
func shown(l *Listing) map[string]string {
	m := map[string]string{}
	for _, e := range l.Entries {
		m[e.Raw] = e.Name
	}
	return m
}

func TestDuplicates(t *testing.T) {
	l, r := parse(t, Parser{}, list("b", "a", "b", "c", "b"))
	if r.Merged != 2 || len(l.Entries) != 3 || l.Entries[1].Name != "b" || l.Entries[1].Size != 4 {
		t.Errorf("%+v, %d merged", l.Entries, r.Merged)
	}
	// Of many the last one counts, too.
	names := slices.Repeat([]string{"c", "b", "a"}, 100)
	l, r = parse(t, Parser{}, list(names...))
	if r.Merged != 297 || len(l.Entries) != 3 || l.Entries[0].Size != 299 || l.Entries[1].Size != 298 || l.Entries[2].Size != 297 {
		t.Errorf("%+v, %d merged", l.Entries, r.Merged)
	}
}

func TestNamesShownAlike(t *testing.T) {
	// UTF-8 and latin-1 spellings of one name: the one in UTF-8 is shown plain.
	l, _ := parse(t, Parser{}, list("caf\xe9.txt", "caf\xc3\xa9.txt", "other"))
	m := shown(l)
	if len(l.Entries) != 3 || m["caf\xc3\xa9.txt"] != "café.txt" || m["other"] != "other" {
		t.Fatalf("%q", m)
	}
	marked := m["caf\xe9.txt"]
	if !strings.HasPrefix(marked, "café~") || !strings.HasSuffix(marked, ".txt") || len(marked) != len("café~12345678.txt") {
		t.Errorf("the other is shown as %q", marked)
	}
	l, _ = parse(t, Parser{}, list("\x80", "€"))
	if m := shown(l); len(m) != 2 || m["€"] != "€" {
		t.Errorf("%q", m)
	}
	// Order and neighbours don't matter.
	again, _ := parse(t, Parser{}, list("x", "caf\xc3\xa9.txt", "caf\xe9.txt"))
	if got := shown(again)["caf\xe9.txt"]; got != marked {
		t.Errorf("shown as %q, then as %q", marked, got)
	}
	// A file that really has that name keeps it.
	l, _ = parse(t, Parser{}, list("caf\xe9.txt", marked, "caf\xc3\xa9.txt"))
	if m := shown(l); len(l.Entries) != 3 || m[marked] != marked || m["caf\xe9.txt"] == marked {
		t.Errorf("%q", m)
	}
	// Without a plain one, the first by raw name is shown plain. Shift JIS
	// has several codes for one character.
	l, _ = parse(t, Parser{Charset: charset(t, "shift_jis")}, list("\xfa\x54", "\x81\xca", "\xee\xf9"))
	if m := shown(l); len(m) != 3 || m["\x81\xca"] != "￢" {
		t.Errorf("%q", m)
	}
	// Two raw names whose marks are the same at first.
	l, _ = parse(t, Parser{Charset: charset(t, "shift_jis")}, list(strings.Repeat("\x81\xca", 14),
		"\xee\xf9\xfaT\xfaT\xfaT\xee\xf9\xee\xf9\xfaT\xfaT\xfaT\xfaT\xee\xf9\x81\xca\xee\xf9\xfaT",
		"\xfaT\x81\xca\xee\xf9\x81\xca\xee\xf9\xfaT\xee\xf9\xee\xf9\xee\xf9\xee\xf9\xee\xf9\xfaT\x81\xca\xfaT"))
	if len(l.Entries) != 3 {
		t.Errorf("%q", shown(l))
	}
}

func TestLongNames(t *testing.T) {
	// 250 bytes of latin-1 are 500 of UTF-8: more than Linux can show.
	a, b := strings.Repeat("\xe9", 249)+"a.txt", "b"+strings.Repeat("\xe9", 249)+".txt"
	l, _ := parse(t, Parser{}, list(a, b))
	m := shown(l)
	if len(m) != 2 || m[a] == m[b] {
		t.Fatalf("%q", m)
	}
	for _, raw := range []string{a, b} {
		if !strings.Contains(m[raw], "ééé") || !strings.HasSuffix(m[raw], ".txt") || len(m[raw]) < 250 {
			t.Errorf("%q is shown as %q", raw, m[raw])
		}
		if got := (Parser{}).Name(raw); got != m[raw] {
			t.Errorf("by itself it is shown as %q", got)
		}
	}
	odd := "x." + strings.Repeat("\xe9", 200) // nearly all extension
	if l, _ := parse(t, Parser{}, list(odd)); len(l.Entries) != 1 || !strings.HasPrefix(l.Entries[0].Name, "x.éé") {
		t.Errorf("%q is shown as %q", odd, shown(l))
	}
	exact := strings.Repeat("n", 255)
	if l, _ := parse(t, Parser{}, list(exact)); l.Entries[0].Name != exact {
		t.Errorf("255 bytes are shown as %q", l.Entries[0].Name)
	}
}

func TestNamesShareMemory(t *testing.T) {
	for _, label := range []string{"", "latin1", "iso-2022-jp"} {
		if e := one(t, Parser{Charset: charset(t, label)}, "type=file; some name"); unsafe.StringData(e.Name) != unsafe.StringData(e.Raw) {
			t.Errorf("%q: Name and Raw are two strings", label)
		}
	}
	for _, raw := range []string{strings.Repeat("n", 200), strings.Repeat("\xe9", 20)} {
		e := one(t, Parser{}, "type=file; "+raw)
		if e.Cost() > 300 {
			t.Errorf("%q costs %d bytes", raw, e.Cost())
		}
	}
}

// Whatever the raw names are, none is lost and the listing does not depend on
// their order.
func TestNamesProperties(t *testing.T) {
	chars := []rune("a.~é/")
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.Custom(func(t *rapid.T) string {
			s := rapid.StringOfN(rapid.SampledFrom(chars), 1, 4, -1).Draw(t, "name")
			if rapid.Bool().Draw(t, "latin-1") {
				s = strings.ReplaceAll(s, "é", "\xe9")
			}
			return s
		})
		names := rapid.SliceOfDistinct(name, rapid.ID).Draw(t, "names")
		parseAll := func() *Listing {
			l, r, err := (Parser{Now: now}).Parse(strings.NewReader(list(names...)))
			if err != nil {
				t.Fatal(err)
			}
			if len(l.Entries)+l.Unparsed+r.Ignored != len(names) || r.Merged != 0 {
				t.Fatalf("%d names, %d entries, %+v", len(names), len(l.Entries), r)
			}
			return l
		}
		before := shown(parseAll())
		unique := map[string]bool{}
		for raw, name := range before {
			if unique[name] || CheckName(name) != nil {
				t.Fatalf("%q shown as %q: twice, or forbidden", raw, name)
			}
			unique[name] = true
		}
		slices.Reverse(names)
		for raw, name := range shown(parseAll()) {
			if before[raw] != name {
				t.Fatalf("%q is shown as %q or %q", raw, before[raw], name)
			}
		}
	})
}
