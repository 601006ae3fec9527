package listing

import (
	"bytes"
	"time"
)

// readDOS reads a line of dir: date, time, "<DIR>" or the size, name.
func (r *run) readDOS(text []byte) (line, outcome) {
	f := split(text)
	when, ok := dosDate(f.at(0))
	if !ok {
		return line{}, unknownForm
	}
	column := 2
	clockText := f.at(1)
	var half byte // a or p
	if n := bytes.IndexAny(clockText, "aApP"); n > 0 {
		if m := clockText[n+1:]; len(m) > 1 || len(m) == 1 && m[0]|0x20 != 'm' {
			return line{}, unknownForm
		}
		half, clockText = clockText[n]|0x20, clockText[:n]
	} else if m := f.at(2); len(m) == 2 && m[1]|0x20 == 'm' && (m[0]|0x20 == 'a' || m[0]|0x20 == 'p') {
		half, column = m[0]|0x20, 3
	}
	if !when.setTime(clockText) || (half != 0 && when.hour > 12) {
		return line{}, unknownForm
	}
	switch {
	case half == 'a' && when.hour == 12:
		when.hour = 0
	case half == 'p' && when.hour < 12:
		when.hour += 12
	}
	l := line{style: DOS, typ: File, when: when}
	if l.mtime, ok = r.interval(r.order.apply(when)); !ok {
		return line{}, badTimestamp
	}
	what := f.at(column)
	if len(what) == 0 {
		return line{}, unknownForm
	}
	rest := text[f.end[column]:]
	if what[0] == '<' {
		return l.readTag(what, rest)
	}
	if len(bytes.Trim(what, "-0123456789,.'\xa0")) > 0 {
		return line{}, unknownForm
	}
	l.size = parseSize(what, true)
	if len(rest) < 2 {
		return line{}, noName
	}
	l.raw = rest[1:]
	return l, good
}

// readTag reads the name after "<DIR>" and its kin, which are padded to 15
// columns. Links end in "[target]".
func (l line) readTag(tag, rest []byte) (line, outcome) {
	for pad := 15 - len(tag); pad > 0 && len(rest) > 0 && rest[0] == ' '; pad-- {
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return line{}, noName
	}
	l.raw = rest
	l.size = SizeUnknown
	switch string(bytes.ToUpper(tag)) {
	case "<DIR>":
		l.typ = Dir
		return l, good
	case "<JUNCTION>", "<SYMLINKD>":
		l.typ = Dir
	case "<SYMLINK>":
	default:
		return line{}, unknownType
	}
	at := bytes.LastIndex(rest, []byte(" ["))
	if at <= 0 || rest[len(rest)-1] != ']' {
		return l, good
	}
	l.raw = rest[:at]
	// A target on a drive or a share is no path on this server. The server
	// itself follows it, so it is shown as what it leads to.
	target := bytes.ReplaceAll(rest[at+2:len(rest)-1], []byte(`\`), []byte("/"))
	if len(target) > 0 && target[0] != '/' && bytes.IndexByte(target, ':') < 0 {
		l.typ, l.target = Symlink, target
	}
	return l, good
}

// dosDate reads 01-02-06, 01-02-2006, 2006-01-02, with "-", "/" or "." between.
func dosDate(b []byte) (clock, bool) {
	if len(b) < 8 || len(b) > 10 {
		return clock{}, false
	}
	sep := b[2]
	if b[4] == '-' || b[4] == '/' || b[4] == '.' {
		sep = b[4]
	}
	if sep != '-' && sep != '/' && sep != '.' {
		return clock{}, false
	}
	parts := bytes.Split(b, []byte{sep})
	if len(parts) != 3 {
		return clock{}, false
	}
	if len(parts[0]) == 4 {
		return dateOf(parts[0], parts[1], parts[2])
	}
	c, ok := dateOf(nil, parts[0], parts[1])
	if !ok {
		return clock{}, false
	}
	switch y, ok := parseInt(parts[2], 2, 4); {
	case !ok:
		return clock{}, false
	case len(parts[2]) == 2 && y < 70:
		c.year = 2000 + y
	case len(parts[2]) == 2 || len(parts[2]) == 3 && y < 200: // 103 is 2003
		c.year = 1900 + y
	case y >= 1600:
		c.year = y
	default:
		return clock{}, false
	}
	c.swappable = true
	return c, true
}

// dayOrder finds out whether a server writes the month first, as Microsoft's
// does, or the day: a number above 12 tells. Until then the month is taken to
// be first, and the dates read so are mended if that proves wrong.
type dayOrder struct {
	known, dayFirst bool
	unsure          []unsureDate
}

type unsureDate struct {
	entry int
	when  clock // as read
}

// apply puts day and month, read month first, in the order found.
func (o *dayOrder) apply(c clock) clock {
	if c.swappable && (c.month > 12 || o.dayFirst && c.day <= 12) {
		return c.swapped()
	}
	return c
}

// saw learns from the date of the entry taken in last.
func (o *dayOrder) saw(c clock, r *run) {
	switch {
	case o.known || !c.swappable:
	case c.month > 12:
		o.known, o.dayFirst = true, true
		for _, u := range o.unsure {
			if t, ok := r.interval(u.when.swapped()); ok {
				r.entries[u.entry].MTime = t
			}
		}
		o.unsure = nil
	case c.day > 12:
		o.known, o.unsure = true, nil
	case int(c.month) != c.day:
		o.unsure = append(o.unsure, unsureDate{len(r.entries) - 1, c})
	}
}

// forget drops an entry that was withdrawn.
func (o *dayOrder) forget(entry int) {
	if n := len(o.unsure); n > 0 && o.unsure[n-1].entry == entry {
		o.unsure = o.unsure[:n-1]
	}
}

func (c clock) swapped() clock {
	c.month, c.day = time.Month(c.day), int(c.month)
	return c
}
