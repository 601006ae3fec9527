package fs

import (
	"path"
	"strings"
)

// outside is the name below which targets that are not in the mirror point.
// Nothing has it, so such links dangle and say where they led.
const outside = ".not-in-this-mirror"

// shownTarget is what a symlink in the directory dir says of its target, which
// must not lead out of the mount however it is followed. root is the server's
// absolute path of the mounted folder.
//
// A relative target stays as it is when it climbs no higher than the mount's
// root and only at its beginning: after a name, ".." leaves from wherever that
// name leads, which need not be here. Everything else is worked out as the
// server's path and then shown relative to dir.
func shownTarget(root, dir, target string) string {
	if ups, plain := climbs(target); plain && ups <= depth(dir) {
		return target
	}
	root = path.Join("/", root)
	abs := path.Clean(target)
	if !path.IsAbs(target) {
		abs = path.Join(root, dir, target)
	}
	up := strings.Repeat("../", depth(dir))
	if abs == root {
		return path.Clean("./" + up)
	}
	if in, ok := strings.CutPrefix(abs, strings.TrimSuffix(root, "/")+"/"); ok {
		return up + in
	}
	return up + outside + abs
}

// climbs counts the ".." that a relative target begins with. It is plain when
// there are none after a name.
func climbs(target string) (ups int, plain bool) {
	if target == "" || target[0] == '/' {
		return 0, false
	}
	names := false
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "" || part == ".":
		case part != "..":
			names = true
		case names:
			return ups, false
		default:
			ups++
		}
	}
	return ups, true
}

// depth is how many folders below the mount's root dir is.
func depth(dir string) int {
	if dir == "" {
		return 0
	}
	return strings.Count(dir, "/") + 1
}
