package cache

import (
	"strings"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Names turns raw paths into those that are shown, from the listings that are
// held. It is used by one goroutine and keeps what it looked up.
type Names struct {
	cache *Cache
	dirs  map[string]*named
}

// named is a directory: as it is shown, and what is in it, by raw name.
type named struct {
	shown   string
	entries map[string]string
}

// Names returns a Names with nothing looked up.
func (c *Cache) Names() *Names {
	return &Names{c, map[string]*named{"": {entries: c.namesIn("")}}}
}

// Shown is the path under which the raw one is shown. A name that no listing
// has is shown as it is, as far as it is UTF-8.
func (n *Names) Shown(raw string) string {
	dir, name := n.dir(parent(raw)), raw[strings.LastIndexByte(raw, '/')+1:]
	return listing.Join(dir.shown, dir.name(name))
}

func (n *Names) dir(raw string) *named {
	d := n.dirs[raw]
	if d == nil {
		above := n.dir(parent(raw))
		name := raw[strings.LastIndexByte(raw, '/')+1:]
		d = &named{listing.Join(above.shown, above.name(name)), n.cache.namesIn(raw)}
		n.dirs[raw] = d
	}
	return d
}

func (d *named) name(raw string) string {
	if shown, ok := d.entries[raw]; ok {
		return shown
	}
	return strings.ToValidUTF8(raw, "�")
}

// namesIn is how the names of a directory are shown, those that are not shown
// as they are.
func (c *Cache) namesIn(dir string) map[string]string {
	names := make(map[string]string)
	if d := c.Held(dir); d != nil {
		for _, e := range d.Entries() {
			if e.Name != e.Raw {
				names[e.Raw] = e.Name
			}
		}
	}
	return names
}

func parent(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 0)] }
