package metadata

import (
	"cmp"
	"slices"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// folded finds names without regard to case. It is built when it is first
// needed: most names are asked for as they are spelt.
type folded struct {
	once  sync.Once
	order []int32 // indices of entries, sorted by folded name, then by name
}

// find returns the first entry that is name in some case.
func (f *folded) find(entries []listing.Entry, name string) (int, bool) {
	f.once.Do(func() {
		f.order = make([]int32, len(entries))
		for i := range f.order {
			f.order[i] = int32(i)
		}
		slices.SortFunc(f.order, func(i, j int32) int {
			return cmp.Or(compareFolded(entries[i].Name, entries[j].Name), cmp.Compare(i, j))
		})
	})
	at, ok := slices.BinarySearchFunc(f.order, name, func(i int32, name string) int {
		return compareFolded(entries[i].Name, name)
	})
	if !ok {
		return 0, false
	}
	return int(f.order[at]), true
}

// compareFolded orders names as if each letter had one case.
func compareFolded(a, b string) int {
	for a != "" && b != "" {
		r, n := utf8.DecodeRuneInString(a)
		s, m := utf8.DecodeRuneInString(b)
		if c := cmp.Compare(fold(r), fold(s)); c != 0 {
			return c
		}
		a, b = a[n:], b[m:]
	}
	return cmp.Compare(len(a), len(b))
}

// fold returns the one letter that stands for r in every case.
func fold(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}
	least := r
	for s := unicode.SimpleFold(r); s != r; s = unicode.SimpleFold(s) {
		least = min(least, s)
	}
	if 'A' <= least && least <= 'Z' { // the Kelvin sign and the long s
		return least + 'a' - 'A'
	}
	return least
}
