package metadata

import (
	"slices"
	"strings"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// merge refines a new listing by the one held before, which may know times and
// sizes more exactly, and reports whether its content is another.
//
// A LIST knows minutes, where MDTM told seconds: the narrower interval stays as
// long as both can speak of the same content. When all times moved together,
// it was the server's clock that moved, and the old times stay.
func merge(old, fresh []listing.Entry) (entries []listing.Entry, changed bool) {
	entries = slices.Clone(fresh)
	if shift, ok := listing.UniformShift(old, fresh); ok {
		for i := range entries {
			entries[i].MTime = entries[i].MTime.Shift(-shift)
		}
	}
	changed = len(old) != len(fresh)
	for i, j := 0, 0; i < len(entries); i++ {
		e := &entries[i]
		for j < len(old) && strings.Compare(old[j].Name, e.Name) < 0 {
			j++
		}
		if j == len(old) || old[j].Name != e.Name {
			changed = true
			continue
		}
		*e = refine(old[j], *e)
		changed = changed || !sameContent(old[j], *e)
	}
	return entries, changed
}

// refine returns what is known of an entry that was old and is e now.
func refine(old, e listing.Entry) listing.Entry {
	if old.Raw == e.Raw {
		e.Raw, e.Name = old.Raw, old.Name // the memory is shared with the old listing
	}
	if old.Type != e.Type || old.Raw != e.Raw || !old.Version().Same(e.Version()) {
		return e
	}
	if e.Size == listing.SizeUnknown && e.MTime.Known() && old.MTime.Known() {
		e.Size = old.Size
	}
	e.MTime = e.MTime.Intersect(old.MTime)
	return e
}

// learned returns the held entry old with what was learned of it alone. Of a
// symlink nothing can be: servers speak of what it points to. A time that only
// became more exact is not taken over: it would change what stat shows of an
// unchanged file, and backups would copy it again.
func learned(old, e listing.Entry) listing.Entry {
	n := old
	if old.Type == listing.Symlink {
		return old
	}
	if e.Type != 0 && e.Type != old.Type {
		n.Type, n.Target, n.Size, n.MTime = e.Type, e.Target, e.Size, e.MTime
		return n
	}
	if !old.MTime.Known() || !old.Version().Same(e.Version()) {
		n.MTime = e.MTime
	}
	if e.Size != listing.SizeUnknown {
		n.Size = e.Size
	} else if n.MTime != old.MTime && !old.MTime.Meets(e.MTime) {
		n.Size = listing.SizeUnknown // of another content
	}
	return n
}

// sameContent reports whether a listing with b instead of a says the same.
func sameContent(a, b listing.Entry) bool {
	return a.Name == b.Name && a.Raw == b.Raw && a.Target == b.Target && a.Type == b.Type &&
		a.Size == b.Size && a.MTime.Meets(b.MTime)
}
