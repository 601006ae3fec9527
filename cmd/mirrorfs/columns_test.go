package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"
	"pgregory.net/rapid"
)

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		line          string
		width, indent int
		want          []string
	}{
		{"  as long as it is, without a terminal", 0, 2, []string{"  as long as it is, without a terminal"}},
		{"fits", 4, 2, []string{"fits"}},
		{"one two three", 8, 2, []string{"one two", "  three"}},
		{"an indent of more than half is none", 14, 8, []string{"an indent of", "more than half", "is none"}},
		{"averylongword and", 6, 2, []string{"averyl", "  ongw", "  ord", "  and"}},
		{"日本語の名前", 5, 0, []string{"日本", "語の", "名前"}},
		{"日本", 1, 0, []string{"日", "本"}},
		{"A日", 2, 1, []string{"A", "日"}},
	} {
		got := wrap(c.line, c.width, c.indent)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q in %d columns: %q, want %q", c.line, c.width, got, c.want)
		}
	}
}

// TestWrapKeepsAll: no line is too wide, and nothing but spaces is lost.
func TestWrapKeepsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := printable(rapid.String().Draw(t, "line"))
		width := rapid.IntRange(2, 100).Draw(t, "width")
		lines := wrap(line, width, rapid.IntRange(0, 20).Draw(t, "indent"))
		for _, l := range lines {
			if w := runewidth.StringWidth(l); w > width {
				t.Fatalf("%q has %d columns, not %d", l, w, width)
			}
		}
		bare := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		if got := bare(strings.Join(lines, "")); got != bare(line) {
			t.Fatalf("%q became %q", line, got)
		}
	})
}

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"café 日本.txt": "café 日本.txt", "a\x1b[31mb": "a\ufffd[31mb", "a\nb\tc\x7f": "a\ufffdb\ufffdc\ufffd",
		"caf\xe9": "caf\ufffd", "a\u202egpj.exe": "a\ufffdgpj.exe", "a\u009bb": "a\ufffdb",
	} {
		if got := printable(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
