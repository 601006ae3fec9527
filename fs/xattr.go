package fs

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Files and directories tell about themselves under these names. They are
// answered to those who ask by name but not listed: programs that copy a
// file's attributes (cp -a, rsync -X, tar --xattrs) would copy the state of a
// cache to where it means nothing.
//
// Any other name is answered EOPNOTSUPP, upon which ls and its like stop asking
// for it in the whole mount.
const xattrs = "user.mirrorfs."

var (
	_ gofs.NodeGetxattrer  = (*dirNode)(nil)
	_ gofs.NodeListxattrer = (*node)(nil)
)

// Listxattr answers what makes the kernel answer by itself from then on.
func (*node) Listxattr(context.Context, []byte) (uint32, syscall.Errno) {
	return 0, syscall.ENOSYS
}

// Getxattr of anything that has no attributes of its own.
func (*node) Getxattr(context.Context, string, []byte) (uint32, syscall.Errno) {
	return 0, syscall.EOPNOTSUPP
}

// Getxattr of a file.
func (n *fileNode) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	field, ours := strings.CutPrefix(name, xattrs)
	if !ours {
		return 0, syscall.EOPNOTSUPP
	}
	n.m.nodes.mu.Lock()
	v := n.version
	n.m.nodes.mu.Unlock()
	switch field {
	case "version":
		return xattr(dest, versionText(v))
	case "state":
		return xattr(dest, stateText(n.m.mirror.State(n.path, v), v.Size))
	case "fetched":
		return xattr(dest, timeText(n.m.mirror.State(n.path, v).Fetched))
	}
	return n.m.common(n.path, field, dest)
}

// Getxattr of a directory. The root also tells where the mount is controlled.
func (n *dirNode) Getxattr(ctx context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	field, ours := strings.CutPrefix(name, xattrs)
	if !ours {
		return 0, syscall.EOPNOTSUPP
	}
	switch field {
	case "control":
		if n.path != "" {
			return 0, syscall.ENODATA
		}
		if c, ok := fuse.FromContext(ctx); ok && c.Uid != 0 && int(c.Uid) != os.Geteuid() {
			return xattr(dest, n.m.options.ControlForOthers)
		}
		return xattr(dest, n.m.options.Control)
	case "state":
		switch d := n.m.mirror.Held(n.path); {
		case d == nil:
			return xattr(dest, "remote")
		case d.Stale():
			return xattr(dest, "stale")
		}
		return xattr(dest, "cached")
	case "fetched":
		if d := n.m.mirror.Held(n.path); d != nil {
			return xattr(dest, timeText(d.Fetched()))
		}
		return 0, syscall.ENODATA
	}
	return n.m.common(n.path, field, dest)
}

// common is what files and directories both tell.
func (m *mount) common(path, field string, dest []byte) (uint32, syscall.Errno) {
	switch field {
	case "url":
		return xattr(dest, joinURL(m.options.URL, path))
	case "error":
		if err := m.mirror.LastError(path); err != nil {
			return xattr(dest, err.Error())
		}
	}
	return 0, syscall.ENODATA
}

// xattr answers a value as getxattr(2) wants it; "" is none.
func xattr(dest []byte, value string) (uint32, syscall.Errno) {
	switch {
	case value == "":
		return 0, syscall.ENODATA
	case len(dest) < len(value):
		return uint32(len(value)), syscall.ERANGE
	}
	return uint32(copy(dest, value)), 0
}

func joinURL(root, path string) string {
	if path == "" {
		return root
	}
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.TrimSuffix(root, "/") + "/" + strings.Join(parts, "/")
}

func stateText(s State, size int64) string {
	switch {
	case s.Whole:
		return "cached"
	case s.Held <= 0:
		return "remote"
	case size <= 0:
		return "partial"
	}
	// Not 100 % before all of it is here.
	return fmt.Sprintf("partial %d %%", min(s.Held*100/size, 99))
}

func versionText(v listing.Version) string {
	size := "unknown"
	if v.Size != listing.SizeUnknown {
		size = fmt.Sprint(v.Size)
	}
	if v.MTime.Min == v.MTime.Max {
		return size + " " + timeText(time.Unix(v.MTime.Min, 0))
	}
	from, to := "", ""
	if v.MTime.Min != listing.Anytime().Min {
		from = timeText(time.Unix(v.MTime.Min, 0))
	}
	if v.MTime.Max != listing.Anytime().Max {
		to = timeText(time.Unix(v.MTime.Max, 0))
	}
	return size + " " + from + "/" + to
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
