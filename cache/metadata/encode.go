package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// recordKind names the form of a listing file; a reader of another form takes
// it for a damaged one, and the directory is listed again.
//
// The payload is: the raw path; when the server was asked and had answered
// (Unix nanoseconds, 0: to be asked again); lines not parsed; the number of
// entries; then each entry. Numbers are varints, strings have their length
// before them. An entry begins with a byte of flags:
//
//	bits 0-1  type
//	bit 2     the raw name differs from the shown one, and follows it
//	bit 3     the target of a symlink follows
//	bit 4     the size follows; else it is unknown
//	bits 5-6  modification time: 0 unknown, 1 one second, 2 an interval
const recordKind = "mirrorfs/listing/1"

const (
	typeMask  = 3
	hasRaw    = 1 << 2
	hasTarget = 1 << 3
	hasSize   = 1 << 4
	timeShift = 5
	timeNone  = 0
	timeExact = 1
	timeSpan  = 2
	usedBits  = 0x7f
)

// minEntry is the size of the shortest encoded entry: flags, length, one byte.
const minEntry = 3

var errEncoding = errors.New("not a listing")

// encode returns the directory's payload on disk.
func encode(d *Directory) []byte {
	b := make([]byte, 0, 64+len(d.path)+40*len(d.entries))
	b = appendString(b, d.path)
	b = binary.AppendVarint(b, nanos(d.asked))
	b = binary.AppendVarint(b, nanos(d.fetched))
	b = binary.AppendUvarint(b, uint64(d.unparsed))
	b = binary.AppendUvarint(b, uint64(len(d.entries)))
	for i := range d.entries {
		b = appendEntry(b, d.at(i))
	}
	return b
}

func appendEntry(b []byte, e listing.Entry) []byte {
	flags := byte(e.Type) & typeMask
	if e.Raw != e.Name {
		flags |= hasRaw
	}
	if e.Target != "" {
		flags |= hasTarget
	}
	if e.Size != listing.SizeUnknown {
		flags |= hasSize
	}
	switch {
	case !e.MTime.Known():
	case e.MTime.Min == e.MTime.Max:
		flags |= timeExact << timeShift
	default:
		flags |= timeSpan << timeShift
	}
	b = appendString(append(b, flags), e.Name)
	if flags&hasRaw != 0 {
		b = appendString(b, e.Raw)
	}
	if flags&hasTarget != 0 {
		b = appendString(b, e.Target)
	}
	if flags&hasSize != 0 {
		b = binary.AppendUvarint(b, uint64(e.Size))
	}
	if flags>>timeShift != timeNone {
		b = binary.AppendVarint(b, e.MTime.Min)
	}
	if flags>>timeShift == timeSpan {
		b = binary.AppendUvarint(b, uint64(e.MTime.Max)-uint64(e.MTime.Min))
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// decode is the inverse of encode. It accepts nothing that a listing could not
// hold, and allocates no more than the payload's size justifies.
func decode(b []byte) (*Directory, error) {
	r := reader{b: b}
	d := &Directory{path: r.string()} // its caller sets what is not on disk
	d.asked, d.fetched = r.time(), r.time()
	unparsed := r.uvarint()
	count := r.uvarint()
	if r.bad || unparsed > 1<<31 || count > uint64(len(r.b)/minEntry) {
		return nil, errEncoding
	}
	d.unparsed = int(unparsed)
	d.entries = make([]listing.Entry, count)
	for i := range d.entries {
		e := r.entry()
		if r.bad || !valid(e) {
			return nil, fmt.Errorf("%w: entry %d", errEncoding, i)
		}
		if i > 0 && d.entries[i-1].Name >= e.Name {
			return nil, fmt.Errorf("%w: entry %d is out of order", errEncoding, i)
		}
		d.entries[i] = e
	}
	if len(r.b) != 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", errEncoding, len(r.b))
	}
	return d, nil
}

func valid(e listing.Entry) bool {
	return e.Type >= listing.File && e.Type <= listing.Symlink &&
		listing.CheckName(e.Name) == nil && utf8.ValidString(e.Name) &&
		listing.CheckName(e.Raw) == nil &&
		e.Size >= listing.SizeUnknown && e.MTime.Min <= e.MTime.Max
}

// reader takes values off the front of b. After the first that is not there,
// bad is set and all values are zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() { r.b, r.bad = nil, true }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) time() time.Time {
	n := r.varint()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func (r *reader) entry() listing.Entry {
	if len(r.b) == 0 {
		r.fail()
		return listing.Entry{}
	}
	flags := r.b[0]
	r.b = r.b[1:]
	if flags&^usedBits != 0 {
		r.fail()
	}
	e := listing.Entry{Type: listing.Type(flags & typeMask), Name: r.string(), Size: listing.SizeUnknown}
	e.Raw = e.Name
	if flags&hasRaw != 0 {
		e.Raw = r.string()
	}
	if flags&hasTarget != 0 {
		e.Target = r.string()
	}
	if flags&hasSize != 0 {
		e.Size = int64(r.uvarint())
		if e.Size < 0 {
			r.fail()
		}
	}
	switch flags >> timeShift {
	case timeNone:
		e.MTime = listing.Anytime()
	case timeExact:
		e.MTime.Min = r.varint()
		e.MTime.Max = e.MTime.Min
	case timeSpan:
		e.MTime.Min = r.varint()
		e.MTime.Max = int64(uint64(e.MTime.Min) + r.uvarint())
	default:
		r.fail()
	}
	return e
}
