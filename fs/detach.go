package fs

import (
	"bytes"
	"errors"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// unmount takes the mount at dir away if nothing uses it.
func unmount(dir string) error {
	err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EPERM) {
		err = helpedUnmount("-u", dir)
	}
	if err == nil {
		return nil
	}
	e := &MountError{Op: "unmount", Dir: dir, Err: err}
	if errors.Is(err, unix.EBUSY) {
		e.Reason, e.Advice = Busy, "Close the files and shells that use it (fuser -vm "+dir+" names them)."
	}
	return e
}

// detach takes the mount at dir out of the tree, used or not.
func detach(dir string) error {
	err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EPERM) {
		err = helpedUnmount("-uz", dir)
	}
	if err != nil {
		return &MountError{Op: "unmount", Dir: dir, Err: err}
	}
	return nil
}

// abandon is detach that, for root, also breaks the connection to the kernel off:
// whoever waits for it, or has files open on it, gets an error.
func abandon(dir string) error {
	if unix.Unmount(dir, unix.MNT_FORCE|unix.UMOUNT_NOFOLLOW) == nil {
		return nil
	}
	err := detach(dir)
	if errors.Is(err, unix.EINVAL) {
		return nil // the server noticed first; see Server.clear
	}
	return err
}

// abort breaks the connection of a device to the kernel off, through the
// kernel's control files: they are its owner's, where they are mounted.
func abort(device string) error {
	return os.WriteFile("/sys/fs/fuse/connections/"+minorOf(device)+"/abort", []byte("1"), 0)
}

func helpedUnmount(flag, dir string) error {
	helper, err := fusermount()
	if err != nil {
		return err
	}
	cmd := exec.Command(helper, flag, "--", dir)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		text := lastLine(said.String())
		if text == "" {
			return err
		}
		return helperError{text, heard(text, dir).cause}
	}
	return nil
}
