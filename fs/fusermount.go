package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// attachHelped mounts with fusermount3, which is setuid root. It hands over the
// connection through a socket.
func attachHelped(dir string, o Options) (fd int, err error) {
	fail := func(r Reason, err error, advice string) (int, error) {
		return -1, &MountError{Op: "mount", Dir: dir, Reason: r, Advice: advice, Err: err}
	}
	helper, err := fusermount()
	if err != nil {
		return fail(NoFusermount, err, "Install it: apt install fuse3 (or dnf, pacman, zypper).")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail(Other, os.NewSyscallError("socketpair", err), "")
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "fusermount"), os.NewFile(uintptr(pair[1]), "fusermount")
	defer ours.Close()

	options := append([]string{"ro", "nosuid", "nodev", "fsname=" + o.URL, "subtype=" + subtype}, kernelOptions(o)...)
	options = append(options, o.KernelOptions...)
	for i, option := range options {
		options[i] = strings.NewReplacer(`\`, `\\`, ",", `\,`).Replace(option)
	}
	cmd := exec.Command(helper, "-o", strings.Join(options, ","), "--", dir)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3", "LC_ALL=C")
	cmd.ExtraFiles = []*os.File{theirs}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err = cmd.Run()
	theirs.Close()
	if err != nil {
		text := lastLine(said.String())
		if text == "" {
			text = err.Error()
		}
		k := heard(text, dir)
		return fail(k.reason, helperError{text, k.cause}, k.advice)
	}
	if fd, err = receive(pair[0]); err != nil {
		return fail(Other, fmt.Errorf("fusermount3 gave no connection: %w", err), "")
	}
	return fd, nil
}

// helperError is what fusermount3 said.
type helperError struct {
	text  string
	cause error
}

func (e helperError) Error() string {
	_, text, ok := strings.Cut(e.text, "fusermount3: ")
	if !ok {
		return e.text
	}
	return text
}
func (e helperError) Unwrap() error { return e.cause }

// fusermount finds the helper, on PATH or where distributions put it.
func fusermount() (string, error) {
	for _, name := range []string{"fusermount3", "/usr/bin/fusermount3", "/bin/fusermount3"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("fusermount3: %w", exec.ErrNotFound)
}

// known is a failure of fusermount3.
type known struct {
	words  string // in what it says
	reason Reason
	cause  error
	advice string
}

// heard tells the failures of fusermount3 apart by its words, which are all it
// gives (util/fusermount.c of libfuse).
func heard(text, dir string) known {
	for _, k := range []known{
		{"user_allow_other", NoAllowOther, fs.ErrPermission, "Add the line user_allow_other to /etc/fuse.conf, or leave allow-other out."},
		{"fuse device not found", NoDevice, fs.ErrNotExist, noDeviceAdvice},
		{"failed to open /dev/fuse", NoDevice, fs.ErrPermission, "This user may not open /dev/fuse; see its group and mode."},
		{"no write access", NotOwner, fs.ErrPermission, "Mount on a folder that belongs to you."},
		{"mountpoint is not owned", NotOwner, fs.ErrPermission, "Mount on a folder that belongs to you."},
		{"too many FUSE", TooManyMounts, unix.EMFILE, "Unmount another, or raise mount_max in /etc/fuse.conf."},
		{"Transport endpoint is not connected", AlreadyMounted, unix.ENOTCONN, "A mount that died is there; take it away with: fusermount3 -uz " + dir},
		{"No such file", Missing, fs.ErrNotExist, "Create the folder first: mkdir -p " + dir},
		{"Not a directory", NotADirectory, unix.ENOTDIR, "Give a folder to mount on."},
		{"unknown option", BadOption, unix.EINVAL, "Leave the mount option out, or mount as root."},
		{"Invalid argument", BadOption, unix.EINVAL, "The kernel does not know one of the mount options."},
		{"mount failed: Permission denied", Forbidden, fs.ErrPermission,
			"AppArmor lets fusermount3 mount below $HOME, /mnt, /media, /tmp and /run/user only (see /etc/apparmor.d/fusermount3); mount there, or allow the folder in /etc/apparmor.d/local/fusermount3."},
		{"Operation not permitted", Forbidden, fs.ErrPermission, "fusermount3 must be setuid root; a container needs --device /dev/fuse --cap-add SYS_ADMIN."},
		{"Device or resource busy", Busy, unix.EBUSY, "Close the files and shells that use it."},
	} {
		if strings.Contains(text, k.words) {
			return k
		}
	}
	return known{}
}

// receive takes the one file descriptor that comes with a message.
func receive(socket int) (int, error) {
	buf, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return -1, err
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil && len(fds) > 0 {
			return fds[0], nil
		}
	}
	return -1, errors.New("no file descriptor in its message")
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
