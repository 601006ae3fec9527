package fs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxRead is the largest read the kernel asks for.
const maxRead = 1 << 20

// attach mounts on dir, as root with mount(2) and else, or where that is not
// allowed, with fusermount3. It returns the connection to the kernel.
func attach(dir string, o Options) (fd int, err error) {
	if os.Geteuid() == 0 {
		fd, err = attachDirect(dir, o)
		if !errors.Is(err, unix.EPERM) {
			return fd, err
		}
	}
	return attachHelped(dir, o)
}

// kernelOptions are the options both ways of mounting share.
func kernelOptions(o Options) []string {
	s := []string{"default_permissions", fmt.Sprintf("max_read=%d", maxRead)}
	if o.AllowOther {
		s = append(s, "allow_other")
	}
	return s
}

// mountFlag is the flag of mount(2) that an option stands for, and whether the
// option sets it.
func mountFlag(option string) (flag uintptr, set, ok bool) {
	switch option {
	case "ro", "nosuid", "nodev": // always
		return 0, true, true
	case "exec":
		return unix.MS_NOEXEC, false, true
	case "noexec":
		return unix.MS_NOEXEC, true, true
	case "atime":
		return unix.MS_NOATIME, false, true
	case "noatime":
		return unix.MS_NOATIME, true, true
	case "nodiratime":
		return unix.MS_NODIRATIME, true, true
	case "relatime":
		return unix.MS_RELATIME, true, true
	case "strictatime":
		return unix.MS_STRICTATIME, true, true
	}
	return 0, false, false
}

func attachDirect(dir string, o Options) (fd int, err error) {
	fail := func(r Reason, err error, advice string) (int, error) {
		return -1, &MountError{Op: "mount", Dir: dir, Reason: r, Advice: advice, Err: err}
	}
	fd, err = unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(NoDevice, &fs.PathError{Op: "open", Path: "/dev/fuse", Err: err}, noDeviceAdvice)
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_RDONLY)
	data := append([]string{
		fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d", fd, unix.S_IFDIR, os.Geteuid(), os.Getegid()),
	}, kernelOptions(o)...)
	for _, option := range o.KernelOptions {
		flag, set, ok := mountFlag(option)
		switch {
		case !ok:
			data = append(data, option)
		case set:
			flags |= flag
		default:
			flags &^= flag
		}
	}
	err = unix.Mount(o.URL, dir, fsType, flags, strings.Join(data, ","))
	if err == nil {
		return fd, nil
	}
	unix.Close(fd)
	switch {
	case errors.Is(err, unix.EINVAL):
		return fail(BadOption, err, "The kernel does not know one of the mount options "+strings.Join(o.KernelOptions, ","))
	case errors.Is(err, unix.ENODEV):
		return fail(NoDevice, err, noDeviceAdvice)
	case errors.Is(err, fs.ErrPermission):
		return fail(Forbidden, err, "A container or a security policy forbids it; a container needs --device /dev/fuse --cap-add SYS_ADMIN.")
	}
	return fail(Other, err, "")
}

const noDeviceAdvice = "Load the kernel's FUSE with: modprobe fuse. A container needs --device /dev/fuse."
