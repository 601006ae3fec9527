package main

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/mirrorfs/mirrorfs/cache/metadata"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// maxLinks is how many symlinks one path may lead through, as in the kernel.
const maxLinks = 40

// pathStep is one name on the way to a file: as shown, or as the server has it.
type pathStep struct {
	name string
	raw  bool
}

func pathSteps(path string, raw bool) []pathStep {
	var steps []pathStep
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." {
			steps = append(steps, pathStep{name, raw})
		}
	}
	return steps
}

// find returns the raw path and the entry of what is shown as a path, as an open
// of it would: symlinks are followed.
func (c *controls) find(ctx context.Context, caller metadata.Caller, shown string) (string, listing.Entry, error) {
	at, entry := "", listing.Entry{Type: listing.Dir}
	links := 0
	for steps := pathSteps(shown, false); len(steps) > 0; {
		next := steps[0]
		steps = steps[1:]
		if entry.Type != listing.Dir {
			return "", entry, fmt.Errorf("/%s is not a directory: %w", at, fs.ErrNotExist)
		}
		child, raw, err := c.child(ctx, caller, at, next)
		if err != nil {
			return "", entry, err
		}
		if child.Type != listing.Symlink {
			at, entry = raw, child
			continue
		}
		if links++; links > maxLinks {
			return "", entry, fmt.Errorf("/%s leads through too many links", raw)
		}
		target, ok := c.target(at, child.Target)
		if !ok {
			return "", entry, fmt.Errorf("/%s is a link to %q, which is not in this mirror: %w", raw, child.Target, fs.ErrNotExist)
		}
		at, entry = "", listing.Entry{Type: listing.Dir}
		steps = append(pathSteps(target, true), steps...)
	}
	return at, entry, nil
}

func (c *controls) child(ctx context.Context, caller metadata.Caller, dir string, s pathStep) (listing.Entry, string, error) {
	if !s.raw {
		f, err := c.cache.Lookup(ctx, caller, dir, s.name)
		return f.Entry, f.Path, err
	}
	d, err := c.cache.Directory(ctx, caller, dir)
	if err != nil {
		return listing.Entry{}, "", err
	}
	e, ok := rawEntry(d, s.name)
	if !ok {
		return e, "", fmt.Errorf("/%s: %w", listing.Join(dir, s.name), fs.ErrNotExist)
	}
	return e, listing.Join(dir, e.Raw), nil
}

func rawEntry(d *metadata.Directory, raw string) (listing.Entry, bool) {
	if e, ok := d.Find(raw); ok && e.Raw == raw {
		return e, true
	}
	for _, e := range d.Entries() {
		if e.Raw == raw {
			return e, true
		}
	}
	return listing.Entry{}, false
}

// target is the raw path of what a symlink in dir points to, if that is in the
// mirror.
func (c *controls) target(dir, target string) (string, bool) {
	if target == "" {
		return "", false
	}
	root := path.Join("/", c.pool.Profile().Root)
	if !path.IsAbs(target) {
		target = path.Join(root, dir, target)
	}
	target = path.Clean(target)
	if target == root {
		return "", true
	}
	return strings.CutPrefix(target, strings.TrimSuffix(root, "/")+"/")
}

func parentOf(raw string) (dir, name string) {
	i := strings.LastIndexByte(raw, '/')
	return raw[:max(i, 0)], raw[i+1:]
}
