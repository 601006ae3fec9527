// Package listing is what a server says of a directory: its entries, and the
// parsers that turn LIST, MLSD and MLST lines into them.
//
// Paths are raw: the bytes the server knows a file by, joined with "/",
// relative to the mounted folder, "" for that folder itself. Names shown to
// users are UTF-8 and may differ from the raw ones; Entry holds both.
//
// Everything here is a pure function of its input: no I/O, no clock.
package listing

import (
	"math"
	"time"
	"unsafe"
)

// Type says what kind of thing an entry is.
type Type uint8

// The types a mirror can show. Devices, sockets and pipes are never shown.
const (
	File Type = iota + 1
	Dir
	Symlink
)

// Entry is one name in a directory. Values are immutable once published.
type Entry struct {
	Name   string   // as shown: valid UTF-8 of at most 255 bytes, without "/", NUL, CR and LF, never "." or ".."
	Raw    string   // as the server spells it, used in commands
	Target string   // of a symlink, its names as shown, with "/"; "" when it is not known
	Size   int64    // of a file in bytes, -1 when the listing did not tell it; 0 for what is no file
	MTime  Interval // when it was last changed
	Type   Type
}

// SizeUnknown is the Size of an entry whose listing did not tell it.
const SizeUnknown = -1

// Interval is the span of Unix seconds (UTC, both ends included) in which a
// file's modification time lies: LIST knows minutes or days, MDTM seconds.
type Interval struct{ Min, Max int64 }

// Anytime is the interval of a time that is not known; it meets every other.
func Anytime() Interval { return Interval{math.MinInt64, math.MaxInt64} }

// Exactly is the interval of one second.
func Exactly(t time.Time) Interval { return Interval{t.Unix(), t.Unix()} }

// Known reports whether anything is known of the time.
func (i Interval) Known() bool { return i != Anytime() }

// Meets reports whether both intervals can speak of the same moment.
func (i Interval) Meets(j Interval) bool { return i.Min <= j.Max && j.Min <= i.Max }

// Intersect returns what both intervals agree on. It must only be called on
// intervals that meet.
func (i Interval) Intersect(j Interval) Interval {
	return Interval{max(i.Min, j.Min), min(i.Max, j.Max)}
}

// Shift moves a known interval by d; an unknown one stays unknown.
func (i Interval) Shift(d time.Duration) Interval {
	if !i.Known() {
		return i
	}
	s := int64(d / time.Second)
	return Interval{i.Min + s, i.Max + s}
}

// Version tells one content of a file from another: its size and the interval
// of its modification time. Two contents of the same size written within the
// same interval can't be told apart.
type Version struct {
	Size  int64
	MTime Interval
}

// Version returns the version of a file entry.
func (e Entry) Version() Version { return Version{e.Size, e.MTime} }

// Same reports whether two versions can be of one content: sizes are equal (or
// one is unknown) and the intervals meet.
func (v Version) Same(w Version) bool {
	return (v.Size == w.Size || v.Size == SizeUnknown || w.Size == SizeUnknown) && v.MTime.Meets(w.MTime)
}

// Listing is one answer of the server for a whole directory. Immutable.
type Listing struct {
	Entries  []Entry // sorted by Name; names are unique, and so are raw ones
	Unparsed int     // lines that could not be read; they were logged
}

// Cost is the memory the listing holds, in bytes.
func (l *Listing) Cost() int64 {
	c := int64(unsafe.Sizeof(*l))
	for i := range l.Entries {
		c += l.Entries[i].Cost()
	}
	return c
}

// Cost is the memory the entry holds, in bytes. Equal names share theirs.
func (e *Entry) Cost() int64 {
	c := int(unsafe.Sizeof(*e)) + len(e.Raw) + len(e.Target)
	if e.Name != e.Raw {
		c += len(e.Name)
	}
	return int64(c)
}

// Join returns the path of the entry raw in dir.
func Join(dir, raw string) string {
	if dir == "" {
		return raw
	}
	return dir + "/" + raw
}
