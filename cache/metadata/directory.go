package metadata

import (
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Directory is what the server said of one directory, refined by what was
// learned of its files since. It is immutable and may be kept and shared.
type Directory struct {
	path     string
	entries  []listing.Entry // sorted by Name
	patches  []patch         // entries replaced since, sorted by index
	folded   *folded         // finds names in any case; shared by all versions of entries
	anyCase  func() bool     // whether the server ignores case: it may be learned late
	unparsed int
	cost     int64 // bytes of memory

	asked   time.Time // when the server was asked; zero: to be asked again
	fetched time.Time // when its answer was complete
	expires time.Time
	id      uint64
	stale   bool
}

// patch replaces one entry, so that learning one file's exact time does not
// copy the listing of all.
type patch struct {
	index int
	entry listing.Entry
}

// maxPatches is when copying the patches costs more than copying the entries.
const maxPatches = 256

// Path is the directory's raw path, "" for the root.
func (d *Directory) Path() string { return d.path }

// Entries returns all entries, sorted by Name. The slice must not be changed.
func (d *Directory) Entries() []listing.Entry {
	if len(d.patches) == 0 {
		return d.entries
	}
	all := slices.Clone(d.entries)
	for _, p := range d.patches {
		all[p.index] = p.entry
	}
	return all
}

// Len is the number of entries.
func (d *Directory) Len() int { return len(d.entries) }

// Find returns the entry shown as name. On a server that ignores case, so does
// Find, but the exact spelling wins.
func (d *Directory) Find(name string) (listing.Entry, bool) {
	i, ok := d.index(name)
	if !ok && d.anyCase() {
		i, ok = d.folded.find(d.entries, name)
	}
	if !ok {
		return listing.Entry{}, false
	}
	return d.at(i), true
}

// Fetched is when the server gave this listing.
func (d *Directory) Fetched() time.Time { return d.fetched }

// Expires is until when this answer may be used without asking the store again.
func (d *Directory) Expires() time.Time { return d.expires }

// Stale says that the listing is older than it should be, because the server
// could not be asked, or because nobody was to be asked.
func (d *Directory) Stale() bool { return d.stale }

// ID changes whenever the content of the listing does: a name, type, target,
// size, or a time that contradicts the one before. A time that only became
// known more exactly changes nothing. IDs of one store are never reused.
func (d *Directory) ID() uint64 { return d.id }

// Unparsed is the number of lines of the listing that could not be read.
func (d *Directory) Unparsed() int { return d.unparsed }

func (d *Directory) index(name string) (int, bool) {
	return slices.BinarySearchFunc(d.entries, name, func(e listing.Entry, name string) int {
		return strings.Compare(e.Name, name)
	})
}

// indexRaw finds an entry by the server's spelling.
func (d *Directory) indexRaw(raw string) (int, bool) {
	if i, ok := d.index(raw); ok && d.entries[i].Raw == raw {
		return i, true
	}
	i := slices.IndexFunc(d.entries, func(e listing.Entry) bool { return e.Raw == raw })
	return i, i >= 0
}

func (d *Directory) at(i int) listing.Entry {
	if j, ok := d.patched(i); ok {
		return d.patches[j].entry
	}
	return d.entries[i]
}

func (d *Directory) patched(i int) (int, bool) {
	return slices.BinarySearchFunc(d.patches, i, func(p patch, i int) int { return p.index - i })
}

// replaced returns the directory with e, which has the same name, at index i.
func (d *Directory) replaced(i int, e listing.Entry) *Directory {
	c := *d
	j, ok := d.patched(i)
	switch {
	case ok:
		c.patches = slices.Clone(d.patches)
		c.patches[j].entry = e
		c.cost += cost(&e) - cost(&d.patches[j].entry)
	case len(d.patches) < maxPatches:
		c.patches = slices.Insert(slices.Clip(d.patches), j, patch{i, e})
		c.cost += 8 + cost(&e)
	default:
		c.entries, c.patches = d.Entries(), nil
		c.entries[i] = e
		c.cost = c.measure()
	}
	return &c
}

// asStale returns the directory marked as stale, to be asked for again at next.
func (d *Directory) asStale(next time.Time) *Directory {
	c := *d
	c.stale, c.expires = true, next
	return &c
}

// overhead is what a held directory costs besides its entries: the struct, the
// key, and its places in ristretto's maps and in the recent ones.
const overhead = int64(unsafe.Sizeof(Directory{})) + 400

// measure returns the memory the directory holds, in bytes.
func (d *Directory) measure() int64 {
	c := overhead + 2*int64(len(d.path))
	for i := range d.entries {
		c += cost(&d.entries[i])
	}
	for i := range d.patches {
		c += 8 + cost(&d.patches[i].entry)
	}
	if d.anyCase() {
		c += 4 * int64(len(d.entries))
	}
	return c
}

// cost is the memory of one entry, with what the allocator adds to its strings.
func cost(e *listing.Entry) int64 {
	c := e.Cost() + 8
	if e.Name != e.Raw {
		c += 8
	}
	return c
}
