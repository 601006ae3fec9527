package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mirrorfs/mirrorfs/internal/mountinfo"
)

// local is a path of this machine that is below a mirror.
type local struct {
	given string // as the user wrote it
	mount mountinfo.Mount
	below string // the rest behind the mountpoint, as shown
}

// locate finds the mirror that a path is in. Links on the way to the mirror are
// followed; in the mirror nothing is looked at, as its process will do that.
func locate(path string, mounts []mountinfo.Mount) (local, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return local{}, failf(exitMountpoint, "can't find %s: %w", path, err)
	}
	at, rest := "/", strings.Split(strings.Trim(abs, "/"), "/")
	for links := 0; ; {
		if m, ok := mountedAt(at, mounts); ok && m.Type == fsType {
			return local{path, m, strings.Join(rest, "/")}, nil
		}
		if len(rest) == 0 || rest[0] == "" {
			return local{}, failf(exitMountpoint, "%s is not in a mounted mirror; \"mirrorfs status\" lists them", path)
		}
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		if _, ok := mountedAt(next, mounts); ok {
			at = next // not touched: it may hang
			continue
		}
		target, err := within(func() (string, error) { return os.Readlink(next) })
		switch {
		case err == nil:
			if links++; links > maxLinks {
				return local{}, failf(exitMountpoint, "%s leads through too many links", path)
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(at, target)
			}
			at, rest = "/", append(strings.Split(strings.Trim(filepath.Clean(target), "/"), "/"), rest...)
		case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission), errors.Is(err, errHangs):
			return local{}, failf(exitMountpoint, "can't find %s: %w", path, err)
		default: // no link
			at = next
		}
	}
}

// mountedAt is the mount seen at a path: the last one made there.
func mountedAt(path string, mounts []mountinfo.Mount) (m mountinfo.Mount, ok bool) {
	for _, c := range mounts {
		if c.Point == path {
			m, ok = c, true
		}
	}
	return m, ok
}

// pathsFrom reads paths, one a line, from a file or, for "-", from stdin.
func pathsFrom(name string, stdin io.Reader) ([]string, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, failf(exitUsage, "--files-from: %w", err)
		}
		defer f.Close()
		in = f
	}
	var paths []string
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if line := strings.TrimSuffix(lines.Text(), "\r"); line != "" {
			paths = append(paths, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, failf(exitUsage, "--files-from: %w", err)
	}
	return paths, nil
}
