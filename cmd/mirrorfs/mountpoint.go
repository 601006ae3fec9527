package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/control"
	"github.com/mirrorfs/mirrorfs/internal/mountinfo"
	"golang.org/x/sys/unix"
)

// fsType is what the kernel calls our mounts.
const fsType = "fuse.mirrorfs"

// patience is how long a look at a mountpoint may take: what is mounted there
// may hang.
const patience = 3 * time.Second

var errHangs = errors.New("it does not answer")

// within runs f, and gives up on it after patience. What f does is then left
// behind in a goroutine, which is why only commands about to end use it.
func within[T any](f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-time.After(patience):
		var none T
		return none, errHangs
	}
}

// resolve returns dir absolute and without links, and what is mounted right
// there. It does not touch a mount whose root dir is.
func resolve(dir string) (string, mountinfo.Mount, bool, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", mountinfo.Mount{}, false, err
	}
	if m, ok, err := mountinfo.At(path); ok || err != nil {
		return path, m, ok, err
	}
	parent, err := within(func() (string, error) { return filepath.EvalSymlinks(filepath.Dir(path)) })
	if err != nil {
		return path, mountinfo.Mount{}, false, err
	}
	path = filepath.Join(parent, filepath.Base(path))
	m, ok, err := mountinfo.At(path)
	if ok || err != nil {
		return path, m, ok, err
	}
	if target, err := within(func() (string, error) { return filepath.EvalSymlinks(path) }); err == nil {
		path = target
	}
	m, ok, err = mountinfo.At(path)
	return path, m, ok, err
}

// prepare makes sure that a mirror can be mounted on dir, takes away a mount of
// ours that a crash left dead there, and returns the directory without links.
func prepare(dir string, nonEmpty bool) (string, error) {
	for {
		path, m, mounted, err := resolve(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", failf(exitMountpoint, "can't mount on %s: %w; choose another folder", dir, err)
		}
		info, err := within(func() (fs.FileInfo, error) { return look(path) })
		dead := errors.Is(err, unix.ENOTCONN)
		switch {
		case dead && mounted && m.Type == fsType:
			if err := detach(path, true); err != nil {
				return "", failf(exitMountpoint, "a mirror that crashed is still mounted on %s and can't be unmounted: %w; try: umount -l %[1]s", path, err)
			}
			continue
		case dead:
			return "", failf(exitMountpoint, "%s is a dead mount of another file system; unmount it with: fusermount3 -uz %[1]s", path)
		case mounted && m.Type == fsType && errors.Is(err, errHangs):
			return "", failf(exitMountpoint, "%s is a mount of %s that does not answer; unmount it with: mirrorfs unmount --lazy %[1]s", path, m.Source)
		case mounted && m.Type == fsType:
			return "", failf(exitMountpoint, "%s is mounted on %s already; unmount it with: mirrorfs unmount %[2]s", m.Source, path)
		case errors.Is(err, fs.ErrNotExist):
			return "", failf(exitMountpoint, "%s does not exist; make it with: mkdir -p %[1]s", dir)
		case errors.Is(err, fs.ErrPermission):
			return "", failf(exitMountpoint, "you may not look into the path of %s; choose a folder of your own", path)
		case err != nil:
			return "", failf(exitMountpoint, "can't mount on %s: %w; choose another folder", path, err)
		case !info.IsDir():
			return "", failf(exitMountpoint, "%s is not a directory; make one and mount there", path)
		}
		if !nonEmpty {
			if err := checkEmpty(path); err != nil {
				return "", err
			}
		}
		return path, nil
	}
}

// look is a stat that asks a mount also for what the kernel has cached of it, so
// that a dead one is found out.
func look(path string) (fs.FileInfo, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); errors.Is(err, unix.ENOTCONN) {
		return nil, err
	}
	return os.Stat(path)
}

func checkEmpty(path string) error {
	_, err := within(func() (bool, error) {
		d, err := os.Open(path)
		if err != nil {
			return false, err
		}
		defer d.Close()
		_, err = d.Readdirnames(1)
		return false, err
	})
	switch {
	case err == nil:
		return failf(exitMountpoint, "%s is not empty; choose an empty folder, or hide its files meanwhile with --allow-non-empty", path)
	case errors.Is(err, io.EOF), errors.Is(err, fs.ErrPermission):
		return nil
	}
	return failf(exitMountpoint, "can't mount on %s: %w; choose another folder", path, err)
}

// detach unmounts path: lazily, whoever uses it still, or not.
func detach(path string, lazy bool) error {
	if os.Geteuid() == 0 {
		flags := unix.UMOUNT_NOFOLLOW
		if lazy {
			flags |= unix.MNT_DETACH
		}
		return unix.Unmount(path, flags)
	}
	flag := "-u"
	if lazy {
		flag = "-uz"
	}
	out, err := exec.Command(fusermount(), flag, "--", path).CombinedOutput()
	if err == nil {
		return nil
	}
	said := strings.TrimSpace(string(out))
	switch {
	case strings.Contains(said, "busy"):
		return unix.EBUSY
	case said != "":
		return errors.New(said)
	}
	return err
}

func fusermount() string {
	for _, name := range []string{"fusermount3", "fusermount"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return "fusermount3"
}

// socketOf returns the control socket of the mount at path.
func socketOf(path string) (string, error) {
	return within(func() (string, error) {
		buf := make([]byte, unix.PathMax)
		n, err := unix.Getxattr(path, "user.mirrorfs.control", buf)
		if err != nil {
			return "", &os.PathError{Op: "getxattr", Path: path, Err: err}
		}
		return string(buf[:n]), nil
	})
}

// clientOf returns a client of the mount at path.
func clientOf(path string) (*control.Client, error) {
	socket, err := socketOf(path)
	if err != nil {
		return nil, err
	}
	return control.NewClient(socket), nil
}

// processOf returns the process that serves the mount at path.
func processOf(ctx context.Context, path string) (int, error) {
	c, err := clientOf(path)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return c.PID(ctx)
}
