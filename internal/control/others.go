package control

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// A mount that other users may read also answers them, on a second socket: the
// first one is in the cache, where they may not go. The second is in a folder
// whose name nobody can guess or list; it is told to those who may read the
// mount's root, by an extended attribute. Who they are is judged at each request
// all the same.
//
//	/run/mirrorfs/NAME/socket       of root
//	/tmp/mirrorfs-RANDOM/NAME/socket   of a user, who has no place that others reach
//
// A symlink in the private folder tells where it is, so that the next mount
// can take away what a crash left.

// meeting is such a folder.
type meeting struct {
	dir  string   // the folder of the socket
	keep *os.File // holds a lock that keeps cleaners of /tmp away; nil where there are none
	link string
}

const (
	runFolder = "/run/mirrorfs"
	tmpPrefix = "/tmp/mirrorfs-"
)

// newMeeting makes the folder, and removes the one that link names.
func newMeeting(link string) (_ *meeting, err error) {
	if err := removeStale(link); err != nil {
		return nil, err
	}
	m := &meeting{link: link}
	defer func() {
		if err != nil {
			_ = m.remove()
		}
	}()
	base, err := m.base()
	if err != nil {
		return nil, err
	}
	name := make([]byte, 16)
	_, _ = rand.Read(name) // never fails
	m.dir = filepath.Join(base, hex.EncodeToString(name))
	if err := os.Symlink(m.dir, link); err != nil {
		return nil, err
	}
	return m, passable(m.dir)
}

// base makes the folder that the meeting's is in.
func (m *meeting) base() (string, error) {
	if os.Geteuid() == 0 {
		if err := passable(runFolder); err == nil {
			return runFolder, nil
		}
	}
	return m.tmp()
}

func (m *meeting) tmp() (string, error) {
	base, err := os.MkdirTemp("/tmp", filepath.Base(tmpPrefix))
	if err != nil {
		return "", err
	}
	if err := os.Chmod(base, 0o711); err != nil {
		return "", err
	}
	if m.keep, err = os.Open(base); err != nil {
		return "", err
	}
	return base, unix.Flock(int(m.keep.Fd()), unix.LOCK_SH|unix.LOCK_NB)
}

// passable makes a folder of this user's that others may pass through, and not
// list.
func passable(dir string) error {
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if !ours(dir) {
		return fmt.Errorf("%s is not a folder of this user's", dir)
	}
	return os.Chmod(dir, 0o711)
}

func ours(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// removeStale removes the folder that a mount that crashed has left.
func removeStale(link string) error {
	dir, err := os.Readlink(link)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if ours(dir) {
		m := meeting{dir: dir, link: link}
		return m.remove()
	}
	return os.Remove(link)
}

// remove takes the folder away.
func (m *meeting) remove() error {
	var errs []error
	gone := func(path string) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if m.dir != "" {
		gone(filepath.Join(m.dir, name))
		gone(m.dir)
		if base := filepath.Dir(m.dir); base != runFolder {
			gone(base)
		}
	} else if m.keep != nil {
		gone(m.keep.Name())
	}
	if m.keep != nil {
		m.keep.Close()
	}
	gone(m.link)
	return errors.Join(errs...)
}
