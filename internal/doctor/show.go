package doctor

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
)

// The report has lines of at most 80 columns:
//
//	ok       REST         a transfer can begin in the middle
//
// Texts are wrapped at words, and what is longer than a line is shortened.
const (
	columns = 80
	indent  = "                        " // where texts begin
)

// Printer writes a report for people.
type Printer struct {
	W      io.Writer
	Colour bool
}

// Head begins a part of the report.
func (p Printer) Head(title string) {
	fmt.Fprintln(p.W, shorten(title, columns))
}

// Finding writes one finding.
func (p Printer) Finding(f Finding) {
	mark := fmt.Sprintf("%-7s", f.Mark)
	if p.Colour {
		code := map[Mark]string{OK: "32", Note: "33", Problem: "31"}[f.Mark]
		mark = "\x1b[" + code + "m" + mark + "\x1b[0m"
	}
	head := fmt.Sprintf("  %s  %-12s ", mark, f.Topic)
	for _, text := range []string{f.Found, f.Means, f.Do} {
		for _, line := range wrap(text, columns-len(indent)) {
			fmt.Fprintln(p.W, head+line)
			head = indent
		}
	}
}

// Command writes a command line that can be pasted into a shell as it is.
func (p Printer) Command(words []string) {
	const lead = "  "
	column := len(lead)
	fmt.Fprint(p.W, lead)
	for i, word := range words {
		word = Quote(word)
		last := i == len(words)-1
		room := columns - len(" \\")
		if i > 0 {
			if column+1+len(word) <= room || last && column+1+len(word) <= columns {
				fmt.Fprint(p.W, " ")
				column++
			} else {
				fmt.Fprint(p.W, " \\\n"+lead+lead)
				column = 2 * len(lead)
			}
		}
		// What fits no line goes on in the first column of the next, where the
		// shell joins it again.
		for column+len(word) > columns-1 {
			cut := splittable(word, columns-1-column)
			fmt.Fprint(p.W, word[:cut]+"\\\n")
			word, column = word[cut:], 0
		}
		fmt.Fprint(p.W, word)
		column += len(word)
	}
	fmt.Fprintln(p.W)
}

// splittable is where a quoted word may be cut, at most n bytes from its
// beginning: not within a character, nor between a backslash and what it quotes.
func splittable(word string, n int) int {
	for ; n > 1; n-- {
		head := word[:n]
		slashes := len(head) - len(strings.TrimRight(head, `\`))
		if utf8.RuneStart(word[n]) && slashes%2 == 0 {
			break
		}
	}
	return n
}

// Quote writes a word as a shell reads it, with nothing but backslashes, so that
// it may be cut between two characters.
func Quote(word string) string {
	if word == "" {
		return "''"
	}
	var b strings.Builder
	for i := range len(word) {
		c := word[i]
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80 || strings.IndexByte("-_./:@%+=,", c) >= 0
		switch {
		case c == '\n':
			b.WriteString("'\n'")
		case !plain:
			b.WriteByte('\\')
			fallthrough
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// wrap breaks a text at words into lines of at most width columns.
func wrap(text string, width int) []string {
	var lines []string
	line, used := "", 0
	for _, word := range strings.Fields(text) {
		word = shorten(word, width)
		w := runewidth.StringWidth(word)
		switch {
		case used == 0:
			line, used = word, w
		case used+1+w > width:
			lines = append(lines, line)
			line, used = word, w
		default:
			line, used = line+" "+word, used+1+w
		}
	}
	if used > 0 {
		lines = append(lines, line)
	}
	return lines
}

// shorten leaves out the middle of what is too long, and what can't be shown.
func shorten(s string, width int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.ToValidUTF8(s, "?"))
	if runewidth.StringWidth(s) <= width {
		return s
	}
	half := (width - 3) / 2
	return runewidth.Truncate(s, half, "") + "..." + runewidth.TruncateLeft(s, runewidth.StringWidth(s)-half, "")
}

// showBytes writes a number of bytes in the largest unit that keeps it short.
func showBytes(n int64) string {
	if n < 1<<10 {
		return strconv.FormatInt(n, 10) + " bytes"
	}
	f, units := float64(n)/(1<<10), []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for f >= 1<<10 && len(units) > 1 {
		f, units = f/(1<<10), units[1:]
	}
	return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64) + " " + units[0]
}

// showTime writes a time as exactly as is of use.
func showTime(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
