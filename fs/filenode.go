package fs

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// fileNode is one content of a file, read in one mode.
type fileNode struct {
	node
	path string // raw
	name string // as shown

	// The rest is guarded by table.mu.
	next    *fileNode            // another version or mode of the path
	version listing.Version      // grows narrower, never becomes another
	mtime   int64                // as shown, from the first time on
	mode    mode                 // see passthrough.go
	content uint64               // generation of what its handles read; undecided with mode
	retired bool                 // no look-up leads here any more
	sized   bool                 // the kernel was told the size
	sent    map[uint32]time.Time // threads that were answered ESTALE
}

var (
	_ gofs.NodeGetattrer   = (*fileNode)(nil)
	_ gofs.NodeOpener      = (*fileNode)(nil)
	_ gofs.NodeGetxattrer  = (*fileNode)(nil)
	_ gofs.NodeListxattrer = (*fileNode)(nil)
)

func (n *fileNode) OnForget() { n.m.nodes.forgetFile(n) }

// fileAttr fills attributes and returns for how long they hold: not at all
// while the size is not known, so that the kernel asks before it reads.
func (m *mount) fileAttr(out *fuse.Attr, a fileAttr) time.Duration {
	m.attr(out, listing.File, uint64(max(a.size, 0)), a.mtime)
	if a.size == listing.SizeUnknown {
		return 0
	}
	return attrTimeout
}

// Getattr waits for the server only where the listing did not tell the size:
// programs that store a file under the size they saw would store nothing. If
// the size can't be learned, opening the file is what fails.
func (n *fileNode) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	a := n.m.nodes.attr(n)
	if a.size == listing.SizeUnknown {
		r := n.m.request(ctx)
		defer r.finish()
		if _, errno := n.settle(r, r.mirrorCaller()); errno == syscall.EINTR {
			return errno
		}
		a = n.m.nodes.attr(n)
	}
	out.SetTimeout(n.m.fileAttr(&out.Attr, a))
	return 0
}

// settle learns the size.
func (n *fileNode) settle(r *request, c Caller) (listing.Version, syscall.Errno) {
	e, err := n.m.mirror.Settle(r, c, n.path)
	if err != nil {
		return listing.Version{}, r.fileErrno(err)
	}
	v, same := n.m.nodes.learn(n, e.Version())
	switch {
	case !same:
		return v, syscall.ESTALE
	case v.Size == listing.SizeUnknown:
		return v, syscall.EIO
	}
	return v, 0
}

// current returns the version to open, or ESTALE when the path has another by
// now. If the Mirror can't say, what the node knows is good enough: its bytes
// may be held.
func (n *fileNode) current(r *request, c Caller) (listing.Version, syscall.Errno) {
	found, err := n.m.mirror.Lookup(r, c, parentOf(n.path), n.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return listing.Version{}, syscall.ESTALE
	case r.Err() != nil:
		return listing.Version{}, syscall.EINTR
	case err != nil:
		n.m.nodes.mu.Lock()
		defer n.m.nodes.mu.Unlock()
		return n.version, 0
	case found.Path != n.path || found.Entry.Type != listing.File:
		return listing.Version{}, syscall.ESTALE
	}
	v, same := n.m.nodes.learn(n, found.Entry.Version())
	if !same {
		return v, syscall.ESTALE
	}
	return v, 0
}

// Open opens the node's version. See the package comment for its ESTALEs.
func (n *fileNode) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY || flags&syscall.O_TRUNC != 0 {
		return nil, 0, syscall.EROFS
	}
	r := n.m.request(ctx)
	defer r.finish()
	c := r.mirrorCaller()
	v, errno := n.current(r, c)
	if errno == 0 && v.Size == listing.SizeUnknown {
		v, errno = n.settle(r, c)
	}
	if errno != 0 {
		return nil, 0, errno
	}
	if !n.kernelKnowsSize() && !n.m.nodes.again(n, r.caller.Pid) {
		// The look-up that follows tells it; reads end at the size the kernel
		// believes.
		return nil, 0, syscall.ESTALE
	}
	if c.NoFetch && v.Size > 0 && !n.m.mirror.State(n.path, v).Whole {
		return nil, 0, syscall.EACCES // to open it may ask which version is right
	}
	f, err := n.m.mirror.OpenFile(r, c.UID, n.path, v)
	if err != nil {
		return nil, 0, r.fileErrno(err)
	}
	backing, whole := f.Whole()
	if c.NoFetch && !whole && v.Size > 0 {
		f.Close()
		return nil, 0, syscall.EACCES
	}
	best := cached
	if whole && v.Size > 0 && n.m.through.on.Load() {
		best = through
	}
	h := &fileHandle{m: n.m, file: f, size: v.Size}
	switch n.m.nodes.decide(n, best, f.Generation(), r.caller.Pid) {
	case undecided:
		f.Close()
		return nil, 0, syscall.ESTALE
	case through:
		h.backing = backing
		return h, fuse.FOPEN_KEEP_CACHE | wantThrough, 0
	}
	return h, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *fileNode) kernelKnowsSize() bool {
	n.m.nodes.mu.Lock()
	defer n.m.nodes.mu.Unlock()
	return n.sized
}
