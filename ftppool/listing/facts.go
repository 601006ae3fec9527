package listing

import (
	"bytes"
	"strings"
)

// readFacts reads a line of MLSD (RFC 3659 section 7): facts, each ended by
// ";", one space, name. Servers leave the last ";" out, and put spaces before.
func readFacts(text []byte) (line, outcome) {
	facts, name, ok := cutFacts(bytes.TrimLeft(text, " "))
	if !ok {
		return line{}, unknownForm
	}
	l := line{style: Facts, raw: name, size: SizeUnknown, mtime: Anytime()}
	var typ, perm []byte
	known, sized := false, false // sized: there is the size of a directory
	link := false                // the fact before was a link's target
	for fact := range bytes.SplitSeq(facts, []byte(";")) {
		key, value, ok := bytes.Cut(fact, []byte("="))
		if !ok {
			if link { // a target with ";" in it
				l.target = append(append(l.target, ';'), fact...)
			}
			continue
		}
		link = false
		var buf [10]byte // all the keys that count fit in
		n := copy(buf[:], key)
		switch string(toLower(buf[:n])) {
		case "type":
			known, typ = true, value
			if link = hasPrefixFold(value, slink); link {
				l.target = bytes.Clone(value[len(slink):])
			}
		case "size":
			known = true
			l.size = parseSize(value, false)
		case "modify":
			known = true
			if t, ok := parseTimestamp(string(value)); ok {
				l.mtime = Exactly(t)
			}
		case "perm":
			known, perm = true, value
		case "sizd":
			known, sized = true, true
		case "unique", "create", "lang", "media-type", "charset", "unix.mode": // told, and of no use
			known = true
		}
	}
	if !known {
		return line{}, unknownForm
	}
	var o outcome
	l.typ, o = factType(typ, perm, sized)
	return l, o
}

// cutFacts separates the facts from the name, at the first space, or at the
// first "; " when a link's target has a space in it.
func cutFacts(text []byte) (facts, name []byte, ok bool) {
	space := bytes.IndexByte(text, ' ')
	equal := bytes.IndexByte(text, '=')
	if equal <= 0 || space < equal {
		return nil, nil, false
	}
	if text[space-1] == ';' {
		return text[:space-1], text[space+1:], true
	}
	if last := text[bytes.LastIndexByte(text[:space], ';')+1 : space]; hasPrefixFold(last, "type="+slink) {
		if end := bytes.Index(text, []byte("; ")); end > 0 {
			return text[:end], text[end+2:], true
		}
	}
	return text[:space], text[space+1:], true
}

// slink begins the type of a link that tells its target.
const slink = "os.unix=slink:"

// factType turns the type fact into a Type; without one, the permissions tell
// files and directories apart by what can be done with them.
func factType(typ, perm []byte, sized bool) (Type, outcome) {
	switch s := strings.ToLower(string(typ)); {
	case s == "file":
		return File, good
	case s == "dir":
		return Dir, good
	case s == "cdir" || s == "pdir":
		return Dir, skip
	case s == "os.unix=symlink" || s == "os.unix=slink" || strings.HasPrefix(s, slink):
		return Symlink, good
	case strings.HasPrefix(s, "os.unix="): // chr-1/3, blk-8/0, fifo, socket
		return 0, skip
	case s != "":
		return 0, unknownType
	case sized || bytes.ContainsAny(perm, "celmpCELMP"):
		return Dir, good
	case bytes.ContainsAny(perm, "arwARW"):
		return File, good
	}
	return 0, untyped
}

func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && strings.EqualFold(string(b[:len(prefix)]), prefix)
}

// toLower changes ASCII letters in place.
func toLower(b []byte) []byte {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}
