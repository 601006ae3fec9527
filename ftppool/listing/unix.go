package listing

import (
	"bytes"
	"strings"
)

// maxFields is how many columns of an ls line are looked at: mode, links,
// owner and group (with spaces in them), size and date.
const maxFields = 16

// fields are the beginnings and ends of the columns of a line.
type fields struct {
	text       []byte
	start, end [maxFields]int
	n          int
}

func split(text []byte) fields {
	f := fields{text: text}
	for i := 0; i < len(text) && f.n < maxFields; {
		for i < len(text) && (text[i] == ' ' || text[i] == '\t') {
			i++
		}
		if i == len(text) {
			break
		}
		f.start[f.n] = i
		for i < len(text) && text[i] != ' ' && text[i] != '\t' {
			i++
		}
		f.end[f.n] = i
		f.n++
	}
	return f
}

// at returns column i, nothing past the last.
func (f *fields) at(i int) []byte {
	if i < 0 || i >= f.n {
		return nil
	}
	return f.text[f.start[i]:f.end[i]]
}

// readUnix reads a line of ls -l and its imitations: mode, then columns that
// differ from server to server, size, date, one space, name.
func (r *run) readUnix(text []byte) (line, outcome) {
	f := split(text)
	netware := len(f.at(0)) == 1 && len(f.at(1)) > 2 && f.at(1)[0] == '[' && f.at(1)[len(f.at(1))-1] == ']'
	if !netware && !isMode(f.at(0)) {
		return line{}, unknownForm
	}
	l := line{style: Unix}
	switch text[0] {
	case '-':
		l.typ = File
	case 'd':
		l.typ = Dir
	case 'l':
		l.typ = Symlink
	case 'b', 'c', 'p', 's', 'D', 'C', 'w':
		return line{}, skip // devices, pipes, sockets, doors, whiteouts
	default:
		return line{}, unknownForm
	}
	when, column, width := findDate(&f)
	if width == 0 {
		return line{}, badTimestamp
	}
	mtime, ok := r.interval(when)
	if !ok {
		return line{}, badTimestamp
	}
	l.mtime = mtime
	l.size = parseSize(f.at(column-1), false)

	end := f.end[column+width-1]
	if when.precision == 86400 && width == 1 && end+1 < len(text) && text[end+1] == ' ' {
		end++ // ls --time-style=iso pads a mere date to the width of "01-02 03:04"
	}
	if end == len(text) {
		return line{}, noName
	}
	l.raw = text[end+1:]
	if netware {
		l.raw = bytes.TrimLeft(l.raw, " ")
	}
	switch l.typ {
	case Symlink:
		l.raw, l.target = splitLink(l.raw, l.size)
	case Dir:
		if n := len(l.raw); n > 1 && l.raw[n-1] == '/' {
			l.raw = l.raw[:n-1] // ls -F
		}
	}
	return l, good
}

// isMode recognises "drwxr-xr-x" with what follows it: "." for SELinux, "+"
// for ACLs, "@" for extended attributes.
func isMode(b []byte) bool {
	if len(b) < 10 || len(b) > 12 {
		return false
	}
	for _, c := range b[1:10] {
		if strings.IndexByte("-rwxsStTlL?", c) < 0 {
			return false
		}
	}
	for _, c := range b[10:] {
		if c != '.' && c != '+' && c != '@' {
			return false
		}
	}
	return true
}

// splitLink cuts "name -> target". Both may hold an arrow themselves; the size
// of a link is its target's length, which tells where to cut. Where it doesn't
// (names were re-encoded on the way), the first arrow counts.
func splitLink(b []byte, size int64) (name, target []byte) {
	const arrow = " -> "
	if at := int64(len(b)) - size - int64(len(arrow)); size > 0 && at > 0 && bytes.HasPrefix(b[at:], []byte(arrow)) {
		return b[:at], b[at+int64(len(arrow)):]
	}
	if at := bytes.Index(b, []byte(arrow)); at > 0 {
		return b[:at], b[at+len(arrow):]
	}
	return bytes.TrimSuffix(b, []byte(" ->")), nil
}

// findDate finds the date among the columns: the first one, and the number of
// columns. The usual place is column 5; with columns missing, or spaces in the
// owner's name, it is the first date that follows a size.
func findDate(f *fields) (when clock, column, width int) {
	if isNumber(f.at(4)) {
		if c, n := readDate(f, 5); n > 0 {
			return c, 5, n
		}
	}
	for i := 2; i < f.n; i++ {
		c, n := readDate(f, i)
		if n == 0 {
			continue
		}
		if isNumber(f.at(i - 1)) {
			return c, i, n
		}
		if width == 0 { // the size has grown into the column before it
			when, column, width = c, i, n
		}
	}
	return when, column, width
}
