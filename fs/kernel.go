package fs

import (
	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// kernel stands between the kernel and go-fuse's nodes for what a node can't
// say there.
type kernel struct {
	fuse.RawFileSystem
	m *mount
}

func newKernel(root gofs.InodeEmbedder, m *mount, o *gofs.Options) *kernel {
	return &kernel{gofs.NewNodeFS(root, o), m}
}

// Lookup lets the kernel remember that a name is absent for as long as the
// node said, which is by an answer without a node.
func (k *kernel) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	status := k.RawFileSystem.Lookup(cancel, h, name, out)
	if status == fuse.ENOENT && out.EntryTimeout() > 0 {
		out.NodeId = 0
		return fuse.OK
	}
	return status
}

// Open notices that go-fuse could not register a backing file: it never tries
// again then, and neither may the nodes.
func (k *kernel) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	status := k.RawFileSystem.Open(cancel, in, out)
	if status == fuse.OK && out.OpenFlags&wantThrough != 0 {
		out.OpenFlags &^= wantThrough
		if out.OpenFlags&fuse.FOPEN_PASSTHROUGH == 0 && k.m.through.on.Load() {
			k.m.through.off("the kernel refused a cache file")
			k.m.log.Warn("whole files are no longer read through the kernel", "reason", "it refused a cache file")
		}
	}
	return status
}
