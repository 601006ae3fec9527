package control

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// name is the socket's in its folder.
const name = "socket"

// Socket is where a mount that was told to Listen in dir answers.
func Socket(dir string) string { return filepath.Join(dir, name) }

// A socket's address holds 107 bytes and a cache directory's path may be
// longer, so both sides reach it through an open folder.

// folder is an open directory.
type folder struct{ fd int }

func openFolder(path string) (folder, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return folder{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return folder{fd}, nil
}

func (f folder) path(name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", f.fd, name) }
func (f folder) close()                  { unix.Close(f.fd) }

// listen makes the folder, private to this user, and the socket in it. One that
// was left behind is replaced: the caller holds the lock of the mirror.
func listen(dir string) (net.Listener, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	defer f.close()
	if err := unix.Unlinkat(f.fd, name, 0); err != nil && err != unix.ENOENT {
		return nil, fmt.Errorf("remove %s: %w", filepath.Join(dir, name), err)
	}
	return f.listen(dir)
}

// listen makes the socket in the folder, which is called dir.
func (f folder) listen(dir string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", f.path(name))
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", filepath.Join(dir, name), err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // its path ends with f
	return l, nil
}

// listenOthers makes a socket that everybody may connect to.
func listenOthers(dir string) (net.Listener, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	defer f.close()
	l, err := f.listen(dir)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(f.path(name), 0o666); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	f, err := openFolder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer f.close()
	c, err := new(net.Dialer).DialContext(ctx, "unix", f.path(filepath.Base(path)))
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// peer returns who is at the other end: for the one who dialled, the process
// that listens.
func peer(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err == nil {
		err = credErr
	}
	return cred, err
}

// groupsOf returns the groups of who is at the other end, the primary one first.
func groupsOf(c *net.UnixConn, cred *unix.Ucred) ([]uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	groups := make([]uint32, 64)
	var errno unix.Errno
	get := func(fd uintptr) {
		length := uint32(4 * len(groups))
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&length)), 0)
		if errno == unix.ERANGE { // length is what is needed
			groups = make([]uint32, length/4)
			return
		}
		if errno == 0 {
			groups = groups[:length/4]
		}
	}
	err = raw.Control(get)
	if err == nil && errno == unix.ERANGE {
		err = raw.Control(get)
	}
	if err == nil && errno != 0 {
		err = os.NewSyscallError("getsockopt", errno)
	}
	if err != nil {
		return nil, err
	}
	return append([]uint32{cred.Gid}, groups...), nil
}
