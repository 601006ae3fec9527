package fs

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// dirNode is a directory under one spelling of its path.
type dirNode struct {
	node
	path    string // raw
	spelled string // as the kernel knows it: path where the server minds case
	mtime   atomic.Int64
	// kernelHas is the ID of the listing whose entries the kernel may keep, 0
	// for none. See OpendirHandle.
	kernelHas atomic.Uint64
}

var (
	_ gofs.NodeGetattrer      = (*dirNode)(nil)
	_ gofs.NodeLookuper       = (*dirNode)(nil)
	_ gofs.NodeOpendirHandler = (*dirNode)(nil)
	_ gofs.NodeOnForgetter    = (*dirNode)(nil)
	_ gofs.NodeStatfser       = (*dirNode)(nil)
	_ gofs.NodeGetxattrer     = (*dirNode)(nil)
)

func newDirNode(m *mount, path, spelled string) *dirNode {
	n := &dirNode{node: node{m: m}, path: strings.Clone(path), spelled: spelled}
	if spelled == path {
		n.spelled = n.path
	}
	return n
}

func (n *dirNode) OnForget() { n.m.nodes.forgetDir(n) }

// Getattr never asks the Mirror: the times come with each look-up of the name.
func (n *dirNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.m.attr(&out.Attr, listing.Dir, dirSize, n.mtime.Load())
	out.SetTimeout(attrTimeout)
	return 0
}

// Lookup finds a name. An absent one is given the time for which it may be
// believed to be; kernel.Lookup passes that on.
func (n *dirNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if len(name) > maxName {
		return nil, syscall.ENAMETOOLONG
	}
	r := n.m.request(ctx)
	defer r.finish()
	found, err := n.m.mirror.Lookup(r, r.mirrorCaller(), n.path, name)
	timeout := entryTimeout(found.Expires, found.Stale)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			out.SetEntryTimeout(timeout)
		}
		return nil, r.errno(err)
	}
	out.SetEntryTimeout(timeout)
	return n.child(found.Entry, found.Path, name, out), 0
}

// child returns the node of an entry under the name it was asked for, and its
// attributes.
func (n *dirNode) child(e listing.Entry, path, name string, out *fuse.EntryOut) *gofs.Inode {
	switch e.Type {
	case listing.Dir:
		d := n.m.nodes.dir(n, path, name, shownMTime(e.MTime))
		n.m.attr(&out.Attr, listing.Dir, dirSize, d.mtime.Load())
		out.SetAttrTimeout(attrTimeout)
		return d.EmbeddedInode()
	case listing.Symlink:
		return n.symlink(e, path, name, out)
	}
	f, a := n.m.nodes.file(n, path, e.Name, e.Version())
	out.SetAttrTimeout(n.m.fileAttr(&out.Attr, a))
	return f.EmbeddedInode()
}

func (n *dirNode) symlink(e listing.Entry, path, name string, out *fuse.EntryOut) *gofs.Inode {
	var l *symlinkNode
	if ch := n.GetChild(name); ch != nil {
		l, _ = ch.Operations().(*symlinkNode)
	}
	if l == nil || l.path != path || l.target != e.Target {
		l = newSymlinkNode(n.m, path, e)
		n.NewInode(context.Background(), l, n.m.stable(fileType(listing.Symlink), path))
	}
	l.attr(&out.Attr)
	out.SetAttrTimeout(attrTimeout)
	return l.EmbeddedInode()
}

// OpendirHandle opens the listing of the directory.
//
// The kernel keeps what it reads through handles that say so and gives it to
// later ones. The first handles of a new listing say nothing, upon which the
// kernel drops what it has; once one of them has been read from, that has
// happened, and the later ones may keep again.
//
// The root is there without a look, and df opens it only to have it open. Where
// its listing must be asked for, that waits until it is read.
func (n *dirNode) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if n.path == "" && !fresh(n.m.mirror.Held("")) {
		return &dirHandle{dir: n}, 0, 0
	}
	d, errno := n.directory(ctx)
	if errno != 0 {
		return nil, 0, errno
	}
	h := &dirHandle{dir: n, keeps: n.kernelHas.Load() == d.ID()}
	h.pin(d)
	if h.keeps {
		return h, fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, 0
	}
	h.tells = true
	return h, 0, 0
}

func (n *dirNode) directory(ctx context.Context) (Directory, syscall.Errno) {
	r := n.m.request(ctx)
	defer r.finish()
	d, err := n.m.mirror.Directory(r, r.mirrorCaller(), n.path)
	if err != nil {
		return nil, r.errno(err)
	}
	return d, 0
}

func fresh(d Directory) bool { return d != nil && !d.Stale() && time.Now().Before(d.Expires()) }
