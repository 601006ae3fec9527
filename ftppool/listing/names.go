package listing

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxName   = 255  // bytes of a shown name: NAME_MAX of Linux
	maxRaw    = 1024 // bytes of a raw name; no known file system has more
	maxTarget = 4095 // bytes of a link's target: PATH_MAX of Linux
)

// ErrName is the error of CheckName.
var ErrName = errors.New("not a file name")

// CheckName reports whether a name, raw or shown, can be one in a directory
// and in a command. "", ".", ".." and names with "/", NUL, CR or LF can't. It
// must hold before a name that came from anywhere but a Listing goes into a
// command.
func CheckName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00\r\n") {
		return ErrName
	}
	return nil
}

// unique sorts entries by name and makes names unique, so that nothing that
// was listed is lost. Of lines with one raw
// name the last counts. Different raw names that are shown alike (one in
// UTF-8, one in latin-1) are told apart by a suffix: the plain name goes to
// the entry that is spelt so, else to the first by raw name. It also returns
// the number of entries that were replaced.
func unique(entries []Entry) ([]Entry, int) {
	order := make([]int, len(entries)) // sorted instead of the entries, which are large
	for i := range order {
		order[i] = i
	}
	if !slices.IsSortedFunc(entries, byName) {
		slices.SortFunc(order, func(i, j int) int {
			a, b := &entries[i], &entries[j]
			return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Raw, b.Raw), i-j)
		})
	}
	kept := make([]Entry, 0, len(entries)) // without the room that append left to grow
	alike := false
	for n, i := range order {
		e := entries[i]
		if n+1 < len(order) && entries[order[n+1]].Raw == e.Raw {
			continue // a later line speaks of the same file
		}
		if last := len(kept) - 1; last >= 0 && kept[last].Name == e.Name {
			alike = true
		}
		kept = append(kept, e)
	}
	if alike {
		tellApart(kept)
		slices.SortFunc(kept, byName)
	}
	return kept, len(entries) - len(kept)
}

// byName orders entries by name, those shown alike by raw name.
func byName(a, b Entry) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Raw, b.Raw))
}

// tellApart renames all but one entry of each group that is shown alike, of
// entries sorted by name and raw name.
func tellApart(entries []Entry) {
	taken := make(map[string]bool, len(entries))
	for i := range entries {
		taken[entries[i].Name] = true
	}
	for start := 0; start < len(entries); {
		name := entries[start].Name
		end, plain := start, start
		for ; end < len(entries) && entries[end].Name == name; end++ {
			if entries[end].Raw == name {
				plain = end
			}
		}
		for i := start; i < end; i++ {
			if i == plain {
				continue
			}
			e := &entries[i]
			for try := 0; ; try++ {
				if n := distinct(name, e.Raw, try); !taken[n] {
					e.Name = n
					taken[n] = true
					break
				}
			}
		}
		start = end
	}
}

// distinct returns name with a mark of the raw name before its extension, cut
// to maxName bytes: 250 bytes of latin-1 can be 500 of UTF-8, more than Linux
// can show. The same arguments always give the same name.
func distinct(name, raw string, try int) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s\x00%d", raw, try)
	mark := fmt.Sprintf("~%08x", h.Sum32())
	ext := path.Ext(name)
	if len(ext) > 16 || len(ext) == len(name) {
		ext = ""
	}
	base := name[:len(name)-len(ext)]
	if room := maxName - len(mark) - len(ext); len(base) > room {
		for room > 0 && !utf8.RuneStart(base[room]) {
			room--
		}
		base = base[:room]
	}
	return base + mark + ext
}
