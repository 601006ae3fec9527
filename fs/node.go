package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is what all kinds of nodes share. Each kind has a file of its own.
type node struct {
	gofs.Inode
	m *mount
}

// Statfs tells what the cache takes and may take of the local disk: the space
// that fills up by reading. It asks nobody.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	used, limit, files := n.m.mirror.Usage()
	used, limit, files = max(used, 0), max(limit, used, 0), max(files, 0)
	out.Bsize, out.Frsize = blockSize, blockSize
	out.Blocks = uint64(limit) / blockSize
	out.Bfree = uint64(limit-used) / blockSize
	out.Bavail = out.Bfree
	out.Files = uint64(files)
	out.NameLen = maxName
	return 0
}

// stable returns the identity of a new node. The generation is what sets it
// apart; go-fuse takes nodes with the same number and generation for one.
func (m *mount) stable(mode uint32, path string) gofs.StableAttr {
	return gofs.StableAttr{Mode: mode, Ino: ino(path), Gen: m.generation.Add(1)}
}
