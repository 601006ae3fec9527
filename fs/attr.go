package fs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Attributes that the server doesn't tell.
const (
	dirSize   = 4096
	blockSize = 4096 // what programs size their buffers by; local disks say the same
)

// fileType is the type bits of a mode.
func fileType(t listing.Type) uint32 {
	switch t {
	case listing.Dir:
		return syscall.S_IFDIR
	case listing.Symlink:
		return syscall.S_IFLNK
	}
	return syscall.S_IFREG
}

// shownMTime is the one second shown of an interval: its middle, which is the
// most likely to be near, and the whole minute where the interval is a minute
// or more, as ls over FTP shows it. A time that is not known is the epoch.
func shownMTime(i listing.Interval) int64 {
	any := listing.Anytime()
	switch {
	case i.Min == any.Min && i.Max == any.Max:
		return 0
	case i.Min == any.Min:
		return i.Max
	case i.Max == any.Max:
		return i.Min
	}
	middle := i.Min + (i.Max-i.Min)/2
	if i.Max-i.Min < 59 {
		return middle
	}
	return max(i.Min, middle-((middle%60)+60)%60)
}

// attr fills what is the same for an inode of the type t. The blocks always
// cover the size: a file with fewer looks sparse, and archivers would store
// zeros for what they take for holes.
func (m *mount) attr(out *fuse.Attr, t listing.Type, size uint64, mtime int64) {
	out.Mode = fileType(t)
	switch t {
	case listing.Dir:
		out.Mode |= 0o777 &^ m.options.Umask
	case listing.Symlink:
		out.Mode |= 0o777
	default:
		out.Mode |= 0o666 &^ m.options.Umask
	}
	out.Size = size
	out.Blocks = (size + 511) / 512
	out.Blksize = blockSize
	out.Nlink = 1 // of a directory too: programs then don't guess at its subdirectories
	out.Uid, out.Gid = m.options.UID, m.options.GID
	t0 := time.Unix(mtime, 0)
	out.SetTimes(&t0, &t0, &t0)
}

// rootIno is the number of the mounted folder.
const rootIno = 1

// ino is the inode number of a path: a hash (FNV-1a). Two paths with one number
// look like links to programs that don't mind the link count, which is 1; no
// bytes are ever found by it.
func ino(path string) uint64 {
	if path == "" {
		return rootIno
	}
	h := uint64(14695981039346656037)
	for i := range len(path) {
		h = (h ^ uint64(path[i])) * 1099511628211
	}
	// Not what means nothing, the root, or a number not known.
	if h <= rootIno || h == fuse.FUSE_UNKNOWN_INO || h == ^uint64(0) {
		h ^= 1 << 40
	}
	return h
}
