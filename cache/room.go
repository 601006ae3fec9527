package cache

import (
	"fmt"
	"slices"

	"github.com/mirrorfs/mirrorfs/cache/content"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"golang.org/x/sys/unix"
)

// Shrink evicts what was used longest ago until files take no more than to
// bytes, or only pinned and open ones are left.
func (c *Cache) Shrink(to int64) {
	files := c.content.Files()
	slices.SortFunc(files, func(a, b content.Info) int { return a.Used.Compare(b.Used) })
	for _, f := range files {
		if c.content.Stats().Used <= to {
			return
		}
		if !f.Pinned && f.Handles == 0 {
			_ = c.content.Evict(f.Path) // one that was opened meanwhile stays
		}
	}
}

// perFile is what a file takes on disk beyond its bytes: its record, and the
// rest of its last block.
const perFile = 8 << 10

// NoRoomError says that files can't be held all at once.
type NoRoomError struct {
	Need  int64 // bytes that they take
	Max   int64 // that the cache may hold for them; 0: it is the disk
	Bound int64 // of the cache: MaxSize; 0: none
	Kept  int64 // of it, in what is pinned or open
	Fetch int64 // bytes that must come
	Disk  int64 // bytes that the disk has for them
	Free  int64 // bytes that stay free: MinFree
}

func (e *NoRoomError) Error() string {
	if e.Max > 0 {
		return fmt.Sprintf("they take %d bytes and the cache can hold %d of them", e.Need, e.Max)
	}
	return fmt.Sprintf("%d bytes must come and the disk has room for %d", e.Fetch, e.Disk)
}

// Fits returns a *NoRoomError when files of these versions, by raw path, can't
// all be held at once, if what else is held, pinned and open files excepted,
// makes room for them.
func (c *Cache) Fits(files map[string]listing.Version) error {
	e := NoRoomError{Bound: c.bounds.MaxSize, Free: c.bounds.MinFree}
	var others int64 // that can be evicted
	for _, f := range c.content.Files() {
		v, ours := files[f.Path]
		switch {
		case ours && f.Version.Same(v):
			e.Fetch -= f.Held
		case f.Pinned || f.Handles > 0:
			e.Kept += f.Disk
		default:
			others += f.Disk
		}
	}
	for _, v := range files {
		if v.Size > 0 {
			e.Need += v.Size + perFile
			e.Fetch += v.Size
		}
	}
	if e.Fetch <= 0 {
		return nil
	}
	if e.Bound > 0 {
		// When the store makes room it makes a little more than it needs.
		spare := min(16<<20, e.Bound/50)
		if e.Max = e.Bound - spare - e.Kept; e.Need > e.Max {
			e.Max = max(e.Max, 1)
			return &e
		}
		e.Max = 0
	}
	var st unix.Statfs_t
	if err := unix.Statfs(c.folder, &st); err != nil {
		return nil // writing will tell
	}
	if e.Disk = int64(st.Bavail)*st.Bsize - e.Free + others; e.Fetch > e.Disk {
		e.Disk = max(e.Disk, 0)
		return &e
	}
	return nil
}
