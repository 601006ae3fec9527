package fs

import (
	"context"
	"strings"
	"sync"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// table knows the live nodes by their paths, so that a look-up finds the node
// that the kernel has. It is emptied by the kernel's forgetting. A node that is
// missing here though it lives costs a second inode for the same content, and
// nothing else.
type table struct {
	// mu guards both maps and what fileNode says it guards. go-fuse's own locks
	// are taken under it, never the other way round.
	mu    sync.Mutex
	files map[string]*fileNode // by raw path: the newest, which leads to the others
	dirs  map[string]*dirNode  // by the path as it was spelled
}

func newTable() *table {
	return &table{files: make(map[string]*fileNode), dirs: make(map[string]*dirNode)}
}

// count is the number of paths that have nodes.
func (t *table) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.files) + len(t.dirs)
}

// file returns the node for a version of the file at path, and the attributes
// the kernel is about to be told. Where the one of that version is retired, it
// is another, which looks the same.
func (t *table) file(parent *dirNode, path, name string, v listing.Version) (*fileNode, fileAttr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found, sibling *fileNode
	for n := t.files[path]; n != nil; n = n.next {
		if !n.version.Same(v) {
			continue
		}
		n.version = narrower(n.version, v)
		sibling = n
		if !n.retired && found == nil {
			found = n
		}
	}
	if found == nil {
		found = &fileNode{node: node{m: parent.m}, path: strings.Clone(path), version: v, mtime: shownMTime(v.MTime)}
		found.name = found.path[len(found.path)-len(base(path)):]
		if found.name != name {
			found.name = strings.Clone(name)
		}
		if sibling != nil {
			found.version, found.mtime = sibling.version, sibling.mtime
		}
		// Made here, under mu: nobody may see it half made.
		parent.NewInode(context.Background(), found, parent.m.stable(fileType(listing.File), path))
		found.next = t.files[path]
		t.files[found.path] = found
	}
	return found, found.told()
}

// dir returns the node for the directory at path in parent, spelled name.
func (t *table) dir(parent *dirNode, path, name string, mtime int64) *dirNode {
	spelled := listing.Join(parent.spelled, name)
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.dirs[spelled]
	if n == nil {
		// Forgotten and looked up at the same moment: the kernel's node is in
		// go-fuse's tree. Another one would take the directory away under
		// those who are in it.
		if ch := parent.GetChild(name); ch != nil {
			n, _ = ch.Operations().(*dirNode)
		}
	}
	if n == nil || n.path != path {
		n = newDirNode(parent.m, path, spelled)
		parent.NewInode(context.Background(), n, parent.m.stable(fileType(listing.Dir), path))
	}
	n.mtime.Store(mtime)
	t.dirs[n.spelled] = n
	return n
}

// forgetFile and forgetDir are told by go-fuse that the kernel dropped a node.
// If it was looked up again at the same moment, it lives on unknown here.
func (t *table) forgetFile(n *fileNode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	head := t.files[n.path]
	for p := &head; *p != nil; p = &(*p).next {
		if *p == n {
			*p = n.next
			break
		}
	}
	if head == nil {
		delete(t.files, n.path)
	} else {
		t.files[head.path] = head
	}
}

func (t *table) forgetDir(n *dirNode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dirs[n.spelled] == n {
		delete(t.dirs, n.spelled)
	}
}

// learn takes what is known of the file now. It returns the version to open,
// false when the node is of another.
func (t *table) learn(n *fileNode, v listing.Version) (listing.Version, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !n.version.Same(v) {
		return n.version, false
	}
	n.version = narrower(n.version, v)
	return n.version, true
}

// fileAttr is what the kernel is told of a file.
type fileAttr struct {
	size  int64 // SizeUnknown when it has to be asked for
	mtime int64
}

// attr returns what a node says of itself, for telling the kernel.
func (t *table) attr(n *fileNode) fileAttr {
	t.mu.Lock()
	defer t.mu.Unlock()
	return n.told()
}

// told is attr, with mu held.
func (n *fileNode) told() fileAttr {
	if n.version.Size != listing.SizeUnknown {
		n.sized = true
	}
	return fileAttr{n.version.Size, n.mtime}
}

// again reports whether the thread tid was already sent to look the name up
// again by an open of n, and remembers that it is.
func (t *table) again(n *fileNode, tid uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return n.sentBefore(tid, time.Now())
}

// sentFor is for how long it is remembered who was sent: a thread whose number
// is used again later is a new one.
const sentFor = 10 * time.Second

// sentBefore is again, with mu held.
func (n *fileNode) sentBefore(tid uint32, now time.Time) bool {
	for id, at := range n.sent {
		if now.Sub(at) > sentFor {
			delete(n.sent, id)
		}
	}
	if _, ok := n.sent[tid]; ok {
		return true
	}
	if n.sent == nil {
		n.sent = make(map[uint32]time.Time)
	}
	n.sent[tid] = now
	return false
}

// narrower is what two versions that are the same say together.
func narrower(v, w listing.Version) listing.Version {
	if v.Size == listing.SizeUnknown {
		v.Size = w.Size
	}
	v.MTime = v.MTime.Intersect(w.MTime)
	return v
}

// base and parentOf split a raw path.
func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

func parentOf(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 0)] }

var _ gofs.NodeOnForgetter = (*fileNode)(nil)
