package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Disk is what a folder is on.
type Disk struct {
	Free int64  // bytes, for this user
	Kind string // "" for a local disk; "memory" or "network" else
}

// DiskOf looks at the real machine.
func DiskOf(folder string) (Disk, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return Disk{}, &os.PathError{Op: "statfs", Path: folder, Err: err}
	}
	d := Disk{Free: int64(st.Bavail) * st.Bsize}
	switch uint32(st.Type) {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		d.Kind = "memory"
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.V9FS_MAGIC, unix.FUSE_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.CODA_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC:
		d.Kind = "network"
	}
	return d, nil
}

// WritableBy asks the kernel whether this user can make files in a folder.
func WritableBy(folder string) error { return unix.Access(folder, unix.W_OK|unix.X_OK) }

// cache is where content is kept.
func (m *Machine) cache() []Finding {
	problem := func(format string, args ...any) []Finding {
		return one(Finding{Topic: "cache", Mark: Problem, Cause: CauseCache, Found: fmt.Sprintf(format, args...),
			Means: "Listings and content are kept there.", Do: "Give another place with --cache-dir."})
	}
	folder := m.CacheDir
	for {
		info, err := os.Stat(m.at(folder))
		if err == nil && !info.IsDir() {
			return problem("%s is not a folder", folder)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || folder == filepath.Dir(folder) {
			return problem("%s can't be used: %v", folder, errors.Unwrap(err))
		}
		folder = filepath.Dir(folder)
	}
	if err := m.Writable(m.at(folder)); err != nil {
		return problem("nothing can be written to %s: %v", folder, err)
	}
	disk, err := m.Disk(m.at(folder))
	if err != nil {
		return problem("%v", err)
	}
	f := Finding{Topic: "cache", Mark: OK, Found: fmt.Sprintf("%s, %s free", m.CacheDir, showBytes(disk.Free))}
	switch {
	case disk.Free <= m.MinFree:
		f.Mark = Note
		f.Means = fmt.Sprintf("That is no more than is to be left free (%s), so nearly nothing is kept: files are read through.", showBytes(m.MinFree))
		f.Do = "Make room, or give a larger disk with --cache-dir or less to leave with --cache-min-free."
	case disk.Kind == "memory":
		f.Mark, f.Means = Note, "It is in memory: what is kept takes memory from programs, and is lost at a restart."
		f.Do = "Give a folder on a disk with --cache-dir."
	case disk.Kind == "network":
		f.Mark, f.Means = Note, "It is not on a local disk: reading again is as slow as that one is, and passthrough may not work."
		f.Do = "Give a folder on a local disk with --cache-dir."
	}
	return one(f)
}

// mountpoint is the folder to mount on, where one was named.
func (m *Machine) mountpoint() []Finding {
	if m.Dir == "" {
		return nil
	}
	const topic = "folder"
	problem := func(found, do string) []Finding {
		return one(Finding{Topic: topic, Mark: Problem, Cause: CauseMountpoint, Found: found, Do: do})
	}
	if m.Mounted != "" { // which may hang, so it is not looked at
		return problem("a file system is mounted on "+m.Dir+" already ("+m.Mounted+")", "Mount on another folder, or unmount it: mirrorfs unmount DIR.")
	}
	info, err := os.Stat(m.at(m.Dir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return one(Finding{Topic: topic, Mark: Note, Found: m.Dir + " does not exist", Do: "Make it before mounting, as below."})
	case err != nil:
		return problem(fmt.Sprintf("%s can't be looked at: %v", m.Dir, errors.Unwrap(err)), "Mount on another folder.")
	case !info.IsDir():
		return problem(m.Dir+" is not a folder", "Mount on a folder.")
	}
	if m.UID != 0 {
		if err := m.Writable(m.at(m.Dir)); err != nil {
			return problem(m.Dir+" is not writable for this user", "Mount on a folder that belongs to you.")
		}
	}
	names, err := os.ReadDir(m.at(m.Dir))
	switch {
	case err != nil:
		return problem(fmt.Sprintf("%s can't be read: %v", m.Dir, errors.Unwrap(err)), "Mount on a folder that belongs to you.")
	case len(names) > 0:
		return problem(m.Dir+" is not empty", "Mount on an empty folder; or over what is there, hiding it, with --allow-non-empty.")
	}
	return one(Finding{Topic: topic, Mark: OK, Found: m.Dir + " is there and empty"})
}
