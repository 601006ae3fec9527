package fs

import (
	"context"
	"sync/atomic"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// symlinkNode is one symlink with one target; another target is another node.
type symlinkNode struct {
	node
	path   string
	mtime  int64
	target string                 // as the listing told it, "" if it did not
	shown  atomic.Pointer[string] // what programs are told; nil until it is known
}

var (
	_ gofs.NodeGetattrer  = (*symlinkNode)(nil)
	_ gofs.NodeReadlinker = (*symlinkNode)(nil)
)

func newSymlinkNode(m *mount, path string, e listing.Entry) *symlinkNode {
	n := &symlinkNode{node: node{m: m}, path: path, mtime: shownMTime(e.MTime), target: e.Target}
	if e.Target != "" {
		n.show(e.Target)
	}
	return n
}

func (n *symlinkNode) show(target string) string {
	s := shownTarget(n.m.options.ServerRoot, parentOf(n.path), target)
	n.shown.Store(&s)
	return s
}

func (n *symlinkNode) attr(out *fuse.Attr) {
	size := 0
	if s := n.shown.Load(); s != nil {
		size = len(*s)
	}
	n.m.attr(out, listing.Symlink, uint64(size), n.mtime)
}

func (n *symlinkNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.attr(&out.Attr)
	out.SetTimeout(attrTimeout)
	return 0
}

func (n *symlinkNode) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	if s := n.shown.Load(); s != nil {
		return []byte(*s), 0
	}
	r := n.m.request(ctx)
	defer r.finish()
	e, err := n.m.mirror.Settle(r, r.mirrorCaller(), n.path)
	if err != nil {
		return nil, r.errno(err)
	}
	if e.Target == "" {
		return nil, syscall.EIO
	}
	return []byte(n.show(e.Target)), 0
}
