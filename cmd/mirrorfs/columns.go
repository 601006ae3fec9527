package main

import (
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
	"golang.org/x/sys/unix"
)

// Output for people fits their terminal: lines are wrapped or cut to its width,
// counted in columns, and what a server sends can't command it.

// columnsOf is the width of the terminal that w is, 0 when it is none.
func columnsOf(w io.Writer) int {
	_, columns := sizeOf(w)
	return columns
}

// sizeOf is the size of the terminal that w is, zeros when it is none. One that
// does not tell its size has the usual one.
func sizeOf(w io.Writer) (rows, columns int) {
	f, ok := w.(*os.File)
	if !ok || !isTerminal(f) {
		return 0, 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row == 0 || size.Col == 0 {
		return 24, 80
	}
	return int(size.Row), int(size.Col)
}

// printable replaces what would not be shown as it is but obeyed: control
// characters, and those that change the direction of text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// shownOn is a path as it is printed: on a terminal as that may show it, else as
// it is, for scripts.
func shownOn(w io.Writer, path string) string {
	if onTerminal(w) {
		return printable(path)
	}
	return path
}

// wrap breaks a line at spaces, or in words that are too long, so that no part
// is wider than width; those after the first are indented. Width 0 breaks nothing.
func wrap(line string, width, indent int) []string {
	if width <= 0 || runewidth.StringWidth(line) <= width {
		return []string{line}
	}
	if indent > width/2 || width-indent < 2 { // two for the widest runes
		indent = 0
	}
	var lines []string
	for room := width; ; room = width - indent {
		head := runewidth.Truncate(line, room, "")
		if head == "" { // a rune that is wider than the terminal
			_, n := utf8.DecodeRuneInString(line)
			head = line[:n]
		}
		rest := line[len(head):]
		if rest != "" && rest[0] != ' ' {
			start := strings.LastIndexByte(head, ' ')
			if strings.TrimLeft(head[:max(start, 0)], " ") != "" {
				head, rest = head[:start], head[start:]+rest
			}
		}
		if len(lines) > 0 {
			head = strings.Repeat(" ", indent) + head
		}
		lines = append(lines, strings.TrimRight(head, " "))
		if line = strings.TrimLeft(rest, " "); line == "" {
			return lines
		}
	}
}

// cut leaves off what of a line is beyond width.
func cut(line string, width int) string { return runewidth.Truncate(line, width, "") }

// pad fills a text up with spaces.
func pad(text string, width int) string { return runewidth.FillRight(text, width) }

// shorten cuts the middle out of a path that is too long, keeping its end, which
// tells files apart.
func shorten(path string, columns int) string {
	if runewidth.StringWidth(path) <= columns {
		return path
	}
	head := runewidth.Truncate(path, columns/4, "")
	return head + runewidth.TruncatePrefix(path, columns-runewidth.StringWidth(head), "…")
}
