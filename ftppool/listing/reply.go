package listing

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrReply is the error of a reply that could not be read.
var ErrReply = errors.New("the server's reply could not be read")

// ParseMLST reads the text of a reply to MLST (RFC 3659 section 7.2): lines,
// of which one has the facts. Servers repeat the reply code in it, leave out
// the space in front or add some, add empty lines, and give the name with a
// path, without, or as they see it; so the entry takes the name that was asked
// for, raw being its last element ("" for the root, whose entry has no name).
//
// The answer about a symbolic link is not to be trusted: proftpd says "file"
// with the size of the link itself. SIZE follows links, so a file's size that
// SIZE confirms is right.
func (p Parser) ParseMLST(text, raw string) (Entry, error) {
	err := fmt.Errorf("%w: no facts in the reply to MLST", ErrReply)
	for s := range strings.Lines(text) {
		s = strings.TrimRight(s, "\r\n")
		s = strings.TrimPrefix(s, "250-")
		s = strings.TrimPrefix(s, "250 ")
		l, o := readFacts([]byte(s + " ")) // some leave out the name
		switch {
		case o == unknownForm:
			continue
		case l.typ == 0:
			err = fmt.Errorf("%w: MLST %s", ErrReply, o)
			continue
		case len(l.target) > maxTarget || strings.Contains(string(l.target), "\x00"):
			return Entry{}, fmt.Errorf("%w: MLST: %s", ErrReply, badTarget)
		}
		e := Entry{Raw: raw, Size: l.size, MTime: l.mtime, Type: l.typ, Target: p.Charset.Decode(string(l.target), p.UTF8)}
		e.Name = p.Name(raw)
		if e.Type != File {
			e.Size = 0
		}
		return e, nil
	}
	return Entry{}, err
}

// Name returns the shown form of one raw name by itself, without the
// neighbours it might have to be told apart from.
func (p Parser) Name(raw string) string {
	name := p.Charset.Decode(raw, p.UTF8)
	if len(name) > maxName {
		name = distinct(name, raw, 0)
	}
	return name
}

// ParseSize reads the text of a reply to SIZE, with or without its code
// (RFC 3659 section 4): a number of bytes.
func ParseSize(text string) (int64, error) {
	f := strings.Fields(text)
	if len(f) > 1 && f[0] == "213" {
		f = f[1:]
	}
	if len(f) > 0 {
		if n := parseSize([]byte(f[0]), false); n != SizeUnknown {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: SIZE gave %.100q", ErrReply, text)
}

// ParseMDTM reads the text of a reply to MDTM, with or without its code
// (RFC 3659 section 3): a time in UTC, fractions of a second dropped.
func ParseMDTM(text string) (time.Time, error) {
	for _, f := range strings.Fields(text) {
		if t, ok := parseTimestamp(f); ok {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%w: MDTM gave %.100q", ErrReply, text)
}

// parseTimestamp reads YYYYMMDDHHMMSS[.fraction], UTC, and the same with the
// year 1900+n written as "19" and n: 19124 is 2024.
func parseTimestamp(s string) (time.Time, bool) {
	s, _, _ = strings.Cut(s, ".")
	year := 0
	switch {
	case len(s) == 15 && s[:3] == "191":
		n, ok := parseInt([]byte(s[2:5]), 3, 3)
		if !ok {
			return time.Time{}, false
		}
		year, s = 1900+n, s[5:]
	case len(s) == 14:
		n, ok := parseInt([]byte(s[:4]), 4, 4)
		if !ok {
			return time.Time{}, false
		}
		year, s = n, s[4:]
	default:
		return time.Time{}, false
	}
	var v [5]int // month, day, hour, minute, second
	for i := range v {
		n, ok := parseInt([]byte(s[2*i:2*i+2]), 2, 2)
		if !ok {
			return time.Time{}, false
		}
		v[i] = n
	}
	t := time.Date(year, time.Month(v[0]), v[1], v[2], v[3], v[4], 0, time.UTC)
	if v[4] > 60 || v[3] > 59 || v[2] > 23 || (v[4] < 60 && t.Day() != v[1]) || v[0] < 1 || v[0] > 12 || v[1] < 1 || v[1] > 31 {
		return time.Time{}, false
	}
	return t, true
}
