package fs

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// mode is how the handles of a file's inode read. It is decided by the first
// open and stays, because the kernel fails an open (EIO) of one mode while one
// of the other, or a mapping made from it, lives.
type mode uint8

const (
	undecided mode = iota
	cached         // the kernel asks us and keeps the pages
	through        // the kernel reads the cache file
)

// decide returns how the open of n by the thread tid may go on, given how it
// would be best and the generation of what it is to read. undecided means
// ESTALE: the name leads to another node now.
//
// Two contents may have versions that can't be told apart, but the pages and the
// backing file that the kernel has of n are of one of them. So whoever has
// another never gets n, not even without a name to look up.
func (t *table) decide(n *fileNode, best mode, content uint64, tid uint32) mode {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.mode == undecided {
		n.mode, n.content = best, content
	}
	if n.content != content {
		n.retired = true
		return undecided
	}
	if n.mode == best {
		return best
	}
	n.retired = true
	if !n.sentBefore(tid, time.Now()) {
		return undecided
	}
	// The caller came back: it has no name to look up, as with /proc/self/fd.
	if n.mode == cached {
		return cached
	}
	return undecided
}

// passthrough is whether whole files are handed to the kernel.
type passthrough struct {
	on     atomic.Bool
	reason atomic.Value // string: why not
}

func (p *passthrough) off(reason string) {
	p.reason.Store(reason)
	p.on.Store(false)
}

// wantThrough marks, inside this process only, the answer to an open that is
// meant to be passthrough; see kernel.Open.
const wantThrough = 1 << 31

// probe finds out whether the kernel takes files of dir as backing files.
func (p *passthrough) probe(s *fuse.Server, dir string) {
	switch {
	case s.KernelSettings().Flags64()&fuse.CAP_PASSTHROUGH == 0:
		p.off("the kernel is older than Linux 6.9 or was built without it")
		return
	case dir == "":
		p.off("no cache folder was given")
		return
	}
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		p.off("the cache folder cannot be written: " + err.Error())
		return
	}
	defer f.Close()
	defer os.Remove(f.Name())
	id, errno := s.RegisterBackingFd(&fuse.BackingMap{Fd: int32(f.Fd())})
	if errno != 0 {
		p.off("the kernel refuses it (" + errno.Error() + "); it needs CAP_SYS_ADMIN and a cache on a local disk")
		return
	}
	s.UnregisterBackingFd(id)
	p.on.Store(true)
}
