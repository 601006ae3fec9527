package listing

import (
	"bytes"
	"strconv"
	"time"
)

// readEPLF reads a line of the easily parsed list format:
// "+i8388621.29609,m824255902,r,s280,<tab>name".
func readEPLF(text []byte) (line, outcome) {
	facts, name, ok := bytes.Cut(text[1:], []byte("\t"))
	if !ok {
		return line{}, unknownForm
	}
	l := line{style: EPLF, raw: name, size: SizeUnknown, mtime: Anytime()}
	for fact := range bytes.SplitSeq(facts, []byte(",")) {
		if len(fact) == 0 {
			continue
		}
		switch value := fact[1:]; fact[0] {
		case '/':
			l.typ = Dir
		case 'r':
			l.typ = File
		case 's':
			l.size = parseSize(value, false)
		case 'm':
			if s, err := strconv.ParseInt(string(value), 10, 48); err == nil {
				l.mtime = Exactly(time.Unix(s, 0))
			}
		}
	}
	if l.typ == 0 {
		return line{}, untyped
	}
	return l, good
}
