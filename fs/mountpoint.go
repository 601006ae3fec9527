package fs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// prepare checks that dir can be mounted on, and returns its path as the mount
// table will spell it. A mount of ours whose process died is taken away.
func prepare(dir string, allowNonEmpty bool) (string, error) {
	fail := func(r Reason, err error, advice string) (string, error) {
		return "", &MountError{Op: "mount", Dir: dir, Reason: r, Advice: advice, Err: err}
	}
	real, err := resolve(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(Missing, unix.ENOENT, "Create the folder first: mkdir -p "+dir)
	}
	if err != nil {
		return fail(Other, err, "")
	}
	table, err := mountTable()
	if err != nil {
		return fail(Other, err, "")
	}
	if at, ok := mountedAt(table, real); ok {
		switch {
		case at.fsType == fsType && dead(real):
			if err := detach(real); err != nil {
				return fail(AlreadyMounted, err, "A mirrorfs that died left its mount; take it away with: fusermount3 -uz "+dir)
			}
		case at.fsType == fsType:
			return fail(AlreadyMounted, errors.New("a mirror is already mounted there"),
				"Unmount it first (mirrorfs unmount "+dir+"), or mount on another folder.")
		}
		// Any other mount point is a folder like any other.
	}
	f, err := os.Open(real)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(Missing, unix.ENOENT, "Create the folder first: mkdir -p "+dir)
	} else if err != nil {
		return fail(Other, err, "")
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return fail(Other, err, "")
	} else if !st.IsDir() {
		return fail(NotADirectory, unix.ENOTDIR, "Give a folder to mount on.")
	}
	if allowNonEmpty {
		return real, nil
	}
	if _, err := f.Readdirnames(1); err != io.EOF {
		if err != nil {
			return fail(Other, err, "")
		}
		return fail(NotEmpty, errors.New("the folder is not empty"),
			"Its files would be hidden while the mirror is mounted; give an empty folder.")
	}
	return real, nil
}

// resolve follows symlinks to dir without looking at dir itself, which may be
// a mount that doesn't answer.
func resolve(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	real := filepath.Join(parent, filepath.Base(abs))
	if to, err := os.Readlink(real); err == nil {
		if !filepath.IsAbs(to) {
			to = filepath.Join(parent, to)
		}
		return filepath.EvalSymlinks(to)
	}
	return real, nil
}

// dead reports whether the mount at dir has lost its process. statfs is never
// answered by the kernel alone, and at once by a mount of ours that lives.
func dead(dir string) bool {
	var st unix.Statfs_t
	return errors.Is(unix.Statfs(dir, &st), unix.ENOTCONN)
}
