package listing

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A Parser turns the answer to LIST or MLSD into a Listing. The style is
// recognised line by line, since servers mix them; no two styles can be
// mistaken for each other. A Parser is a plain value: copy it, change it, use
// it from any goroutine.
type Parser struct {
	// Charset and UTF8 say how names are spelt; see Charset.Decode.
	Charset Charset
	UTF8    bool
	// Location is the zone of the times LIST shows (MLSD is always UTC). With
	// nil it is not known: times are read as UTC, to be corrected by
	// Interval.Shift once ZoneShift tells the difference, and dates without a
	// time of day become intervals wide enough to stay true in any zone, before
	// and after such a shift. A zone that was learned from one file is better
	// left nil and shifted than given as a fixed one: the server may use another
	// offset in winter.
	Location *time.Location
	// Now decides the year of dates that leave it out. It must be set.
	Now time.Time
	// MaxMemory bounds what the entries may hold, in bytes; 0 means 256 MiB,
	// good for some two million names.
	MaxMemory int64
}

const (
	defaultMaxMemory = 256 << 20
	maxInput         = 1 << 30 // bytes of one answer
	maxSamples       = 8
	maxSampleBytes   = 200
)

// ErrTooLarge is the error of a listing above the bounds of memory or length.
var ErrTooLarge = errors.New("the server's listing is too large to be held")

// ErrUnread is the error of a listing of which nothing could be understood, and
// which therefore must not pass for an empty one. Parse does not return it, since
// it takes more than the listing to tell: Report.Foreign is what to go by.
var ErrUnread = errors.New("no line of the server's listing can be understood")

// Style is a way to write a directory line.
type Style uint8

// The styles that are understood.
const (
	Unix  Style = iota + 1 // ls -l and its imitations
	DOS                    // dir, as Microsoft's server writes it
	Facts                  // MLSD and MLST, RFC 3659 section 7
	EPLF                   // https://cr.yp.to/ftp/list/eplf.html
)

func (s Style) String() string {
	return [...]string{"none", "unix", "dos", "mlsd", "eplf"}[s]
}

// Report tells what became of the lines of an answer. Every line is counted
// once: Lines = entries + Listing.Unparsed + Ignored + Merged.
type Report struct {
	Lines   int
	Ignored int // empty lines, totals, ".", "..", devices, sockets and pipes
	Merged  int // lines replaced by a later one with the same raw name
	// Untyped of the unparsed lines are of MLSD entries that don't tell files
	// from directories: LIST will know.
	Untyped int
	// Foreign of the unparsed lines are in no form that is known, so there may be
	// a file behind each of them.
	Foreign int
	// Cut says that the last line had no line end, as when the connection was
	// lost on the way; its name may be a part of the true one.
	Cut     bool
	Style   Style    // of most entries, 0 without any
	Samples []Sample // the first few lines that could not be read, for the log
}

// Sample is a line that could not be read.
type Sample struct {
	Number int    // from 1
	Line   string // its first bytes, raw
	Reason string
}

// outcome says what became of a line: good, skip, or the reason why it could
// not be read.
type outcome string

const (
	good outcome = ""
	skip outcome = "ignored"

	unknownForm  outcome = "in no known style"
	lineTooLong  outcome = "longer than 128 KiB"
	noName       outcome = "without a name"
	badName      outcome = "the name holds /, NUL, CR or LF"
	nameTooLong  outcome = "the name is longer than 1024 bytes"
	badTarget    outcome = "the target of the link is longer than 4095 bytes or holds NUL"
	untyped      outcome = "does not tell files from directories"
	unknownType  outcome = "of a type that is not known"
	badTimestamp outcome = "the date can't be read"
)

// line is what a style's reader found; raw and target alias the input.
type line struct {
	raw, target []byte
	size        int64
	mtime       Interval
	typ         Type
	style       Style
	when        clock // of a DOS line
}

// Parse reads a whole answer. The error is the reader's, or ErrTooLarge; there
// is no listing then, since part of one would make files look absent.
func (p Parser) Parse(r io.Reader) (*Listing, Report, error) {
	run := run{Parser: p}
	if run.MaxMemory == 0 {
		run.MaxMemory = defaultMaxMemory
	}
	lines := newLineReader(r)
	torn := false // the last line may be the first half of a name with LF in it
	for {
		text, long, err := lines.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			before := len(run.entries)
			err = run.line(text, long, torn && lines.crlf >= lines.lf)
			torn = lines.bare && len(run.entries) > before
		}
		if err != nil {
			return nil, run.Report, err
		}
	}
	run.Cut = lines.cut
	if n := slices.Max(run.styles[:]); n > 0 {
		run.Style = Style(slices.Index(run.styles[:], n))
	}
	entries, merged := unique(run.entries)
	run.Merged = merged
	return &Listing{Entries: entries, Unparsed: run.unparsed}, run.Report, nil
}

// run is the state of one Parse.
type run struct {
	Parser
	Report
	entries  []Entry
	memory   int64
	unparsed int
	styles   [EPLF + 1]int
	order    dayOrder
}

// line takes one line in; the error is ErrTooLarge. With torn, the entry taken
// in last is withdrawn if this line is no line of its own: servers that end
// lines with CR LF put names with LF in them as they are.
func (r *run) line(text []byte, long, torn bool) error {
	r.Lines++
	var l line
	var o outcome
	if long {
		o = lineTooLong
	} else {
		l, o = r.read(text)
	}
	var e Entry
	if o == good {
		e, o = r.entry(&l)
	}
	switch o {
	case good:
	case skip:
		r.Ignored++
		return nil
	default:
		if o == unknownForm && torn {
			last := len(r.entries) - 1
			r.reject(r.Lines-1, []byte(r.entries[last].Raw), badName)
			r.entries = r.entries[:last]
			r.order.forget(last)
		}
		r.reject(r.Lines, text, o)
		return nil
	}
	if r.memory += e.Cost(); r.memory > r.MaxMemory {
		return fmt.Errorf("%w: more than %d entries", ErrTooLarge, len(r.entries))
	}
	r.styles[l.style]++
	r.entries = append(r.entries, e)
	if l.style == DOS {
		r.order.saw(l.when, r)
	}
	return nil
}

// read finds the style of a line by its first bytes and reads it.
func (r *run) read(text []byte) (line, outcome) {
	if blank(text) {
		return line{}, skip
	}
	switch c := text[0]; {
	case c == '+':
		if l, o := readEPLF(text); o != unknownForm {
			return l, o
		}
	case '0' <= c && c <= '9' || c == ' ':
		if l, o := r.readDOS(text); o != unknownForm {
			return l, o
		}
	default:
		if l, o := r.readUnix(text); o != unknownForm {
			return l, o
		}
	}
	if l, o := readFacts(text); o != unknownForm {
		return l, o
	}
	if isTotal(text) {
		return line{}, skip
	}
	return line{}, unknownForm
}

// entry checks and decodes the name of what was read.
func (r *run) entry(l *line) (Entry, outcome) {
	if len(l.raw) > maxRaw {
		return Entry{}, nameTooLong
	}
	e := Entry{Raw: string(l.raw), Size: l.size, MTime: l.mtime, Type: l.typ}
	if e.Raw == "." || e.Raw == ".." {
		return Entry{}, skip
	}
	if e.Raw == "" {
		return Entry{}, noName
	}
	if CheckName(e.Raw) != nil {
		return Entry{}, badName
	}
	e.Name = r.Charset.Decode(e.Raw, r.UTF8)
	if CheckName(e.Name) != nil { // a charset may spell "/" in another way
		return Entry{}, badName
	}
	if len(e.Name) > maxName {
		e.Name = distinct(e.Name, e.Raw, 0)
	}
	if e.Type == Symlink {
		if len(l.target) > maxTarget || slices.Contains(l.target, 0) {
			return Entry{}, badTarget
		}
		e.Target = r.Charset.Decode(string(l.target), r.UTF8)
	}
	if e.Type != File {
		e.Size = 0
	}
	return e, good
}

func (r *run) reject(number int, text []byte, o outcome) {
	r.unparsed++
	switch o {
	case untyped:
		r.Untyped++
	case unknownForm, badTimestamp, lineTooLong:
		r.Foreign++
	}
	if len(r.Samples) < maxSamples {
		text = text[:min(len(text), maxSampleBytes)]
		r.Samples = append(r.Samples, Sample{Number: number, Line: string(text), Reason: string(o)})
	}
}

func blank(text []byte) bool {
	for _, c := range text {
		if c != ' ' && c != '\t' {
			return false
		}
	}
	return true
}

// isTotal recognises the sum that ls writes first.
func isTotal(text []byte) bool {
	word, _, _ := strings.Cut(string(text[:min(len(text), 16)]), " ")
	switch strings.ToLower(word) {
	case "total", "totale", "insgesamt", "gesamt":
		return true
	}
	return false
}
