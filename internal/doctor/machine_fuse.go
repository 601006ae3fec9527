package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// device is the way to the kernel's FUSE.
func (m *Machine) device() []Finding {
	const path = "/dev/fuse"
	f := Finding{Topic: "FUSE", Mark: Problem, Cause: CauseFUSE}
	d, err := os.OpenFile(m.at(path), os.O_RDWR, 0)
	switch {
	case err == nil:
		d.Close()
		return one(Finding{Topic: "FUSE", Mark: OK, Found: path + " can be opened"})
	case errors.Is(err, fs.ErrNotExist) && m.inContainer():
		f.Found = "there is no " + path + " in this container"
		f.Do = "Start the container with: --device /dev/fuse --cap-add SYS_ADMIN"
	case errors.Is(err, fs.ErrNotExist):
		f.Found = "there is no " + path
		f.Do = "Load the kernel's FUSE as root with: modprobe fuse"
	case errors.Is(err, fs.ErrPermission):
		f.Found = path + " can't be opened by this user"
		f.Do = "See its group and mode with: ls -l " + path + ". It is usually open to all (mode 666)."
	default:
		f.Found = fmt.Sprintf("%s can't be opened: %v", path, errors.Unwrap(err))
		f.Do = "Load the kernel's FUSE as root with: modprobe fuse"
	}
	return one(f)
}

// helper is fusermount3, which mounts for users who are not root.
func (m *Machine) helper() []Finding {
	const install = "Install it: apt install fuse3 (or dnf, pacman, zypper, apk)."
	for _, dir := range slices.Concat(m.Path, []string{"/usr/bin", "/bin"}) {
		path := filepath.Join(dir, "fusermount3")
		info, err := os.Stat(m.at(path))
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			continue
		}
		if m.UID != 0 && info.Mode()&fs.ModeSetuid == 0 {
			return one(Finding{Topic: "fusermount3", Mark: Problem, Cause: CauseFUSE, Found: path + " is not setuid root",
				Means: "It can't mount for users who are not root.",
				Do:    "As root: chmod u+s " + path})
		}
		return one(Finding{Topic: "fusermount3", Mark: OK, Found: path})
	}
	if m.UID == 0 {
		return one(Finding{Topic: "fusermount3", Mark: Note, Found: "not installed",
			Means: "Root mounts without it; other users can't mount.", Do: install})
	}
	return one(Finding{Topic: "fusermount3", Mark: Problem, Cause: CauseFUSE, Found: "not installed",
		Means: "It is what mounts for users who are not root.", Do: install})
}

// allowOther is whether this user may let others into a mount.
func (m *Machine) allowOther() []Finding {
	const topic = "allow-other"
	switch {
	case m.UID == 0:
		return one(Finding{Topic: topic, Mark: OK, Found: "root may use --allow-other"})
	case slices.Contains(settings(m.read("/etc/fuse.conf")), "user_allow_other"):
		return one(Finding{Topic: topic, Mark: OK, Found: "/etc/fuse.conf has user_allow_other"})
	}
	return one(Finding{Topic: topic, Mark: Note, Found: "/etc/fuse.conf has no line user_allow_other",
		Means: "Only who mounts can read the mount; --allow-other would be refused.",
		Do:    "To share it, add the line user_allow_other to that file, as root."})
}
