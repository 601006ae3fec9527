package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// maxName is the longest name the kernel takes, in bytes. One that is longer in
// a listing would make it fail the whole directory.
const maxName = 1024

// dirHandle is an open directory, pinned to one listing from its beginning to
// its end; rewinding takes the listing of that moment. One without a listing
// gets it when it is first read. go-fuse calls it under a lock of its own.
//
// An offset is the number of entries before it, and a mark of the listing in
// its upper half: the kernel joins what several handles read by the offsets,
// and must not join two listings.
type dirHandle struct {
	dir     *dirNode
	listing Directory
	entries []listing.Entry
	mark    uint64
	next    int  // the entry to give next: ".", "..", entries
	keeps   bool // the kernel may keep what it reads here
	tells   bool // the kernel dropped all for this listing, which is to be told once

	dirent fuse.DirEntry // the last one given; its entry is entries[next-3]
}

var (
	_ gofs.FileReaddirenter = (*dirHandle)(nil)
	_ gofs.FileSeekdirer    = (*dirHandle)(nil)
	_ gofs.FileLookuper     = (*dirHandle)(nil)
	_ gofs.FileFsyncdirer   = (*dirHandle)(nil)
)

func (h *dirHandle) pin(d Directory) {
	h.listing, h.entries = d, d.Entries()
	h.mark = (d.ID() * 0x9e3779b97f4a7c15) >> 33 << 32
	h.next = 0
}

// begin is called before the first entry is read.
func (h *dirHandle) begin() {
	switch {
	case h.tells:
		h.dir.kernelHas.Store(h.listing.ID())
		h.tells = false
	case h.keeps && h.dir.kernelHas.Load() != h.listing.ID():
		// Another listing came since this was opened. The kernel would keep
		// the old one for it.
		h.repin()
	}
}

// repin takes the listing that is held now. The kernel may have kept another one
// since this was opened, so nothing is told of it.
func (h *dirHandle) repin() {
	if d := h.dir.m.mirror.Held(h.dir.path); d != nil {
		h.pin(d)
		h.tells = false
	}
}

func (h *dirHandle) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	if h.listing == nil {
		d, errno := h.dir.directory(ctx)
		if errno != 0 {
			return nil, errno
		}
		next := h.next
		h.pin(d)
		h.next = next
	}
	if h.next == 0 {
		h.begin()
	}
	for ; h.next-2 < len(h.entries); h.next++ {
		switch h.next {
		case 0:
			h.dirent = fuse.DirEntry{Name: ".", Mode: syscall.S_IFDIR, Ino: ino(h.dir.path)}
		case 1:
			h.dirent = fuse.DirEntry{Name: "..", Mode: syscall.S_IFDIR, Ino: ino(parentOf(h.dir.path))}
		default:
			e := &h.entries[h.next-2]
			if len(e.Name) > maxName {
				continue
			}
			h.dirent = fuse.DirEntry{Name: e.Name, Mode: fileType(e.Type), Ino: ino(listing.Join(h.dir.path, e.Raw))}
		}
		h.next++
		h.dirent.Off = h.mark | uint64(h.next)
		return &h.dirent, 0
	}
	return nil, 0
}

func (h *dirHandle) Seekdir(_ context.Context, off uint64) syscall.Errno {
	if off == 0 && h.listing != nil {
		h.repin()
	}
	h.next = int(uint32(off))
	return 0
}

// Lookup is asked for the attributes of an entry that is being read.
func (h *dirHandle) Lookup(_ context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	var e listing.Entry
	if i := h.next - 3; i >= 0 && i < len(h.entries) && h.entries[i].Name == name {
		e = h.entries[i]
	} else if found, ok := h.listing.Find(name); ok {
		e = found
	} else {
		return nil, syscall.ENOENT
	}
	out.SetEntryTimeout(entryTimeout(h.listing.Expires(), h.listing.Stale()))
	return h.dir.child(e, listing.Join(h.dir.path, e.Raw), name, out), 0
}

func (h *dirHandle) Fsyncdir(context.Context, uint32) syscall.Errno { return syscall.ENOSYS }
