package fs

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/mirrorfs/mirrorfs/ftppool"
)

// errnos is what programs are told of each kind of failure. The first that
// matches counts: what the server said of a name comes before how the network
// fared. A failure is never told as ENOENT unless the server's listing lacks
// the name.
func errnos() []struct {
	is    error
	errno syscall.Errno
} {
	return []struct {
		is    error
		errno syscall.Errno
	}{

		{syscall.ESTALE, syscall.ESTALE}, // which the cache's ErrChanged is
		{ftppool.ErrOffline, syscall.ENETDOWN},
		{ftppool.ErrClosed, syscall.ENOTCONN},
		{ftppool.ErrLogin, syscall.EACCES},
		{ftppool.ErrTooMany, syscall.ECONNREFUSED},
		{ftppool.ErrNotDir, syscall.ENOTDIR},
		{ftppool.ErrIsDir, syscall.EISDIR},
		{fs.ErrNotExist, syscall.ENOENT},
		{fs.ErrPermission, syscall.EACCES},
		{context.DeadlineExceeded, syscall.ETIMEDOUT},
		{os.ErrDeadlineExceeded, syscall.ETIMEDOUT},
		{syscall.ETIMEDOUT, syscall.ETIMEDOUT},
		{syscall.ECONNREFUSED, syscall.ECONNREFUSED},
		{syscall.EHOSTUNREACH, syscall.EHOSTUNREACH},
		{syscall.ENETUNREACH, syscall.ENETUNREACH},
		{syscall.ENETDOWN, syscall.ENETDOWN},
		{syscall.EMFILE, syscall.EMFILE},
		{syscall.ENFILE, syscall.ENFILE},
	}
}

// errno returns what the caller of the request is told of err.
func (r *request) errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if r.Err() != nil {
		return syscall.EINTR
	}
	for _, e := range errnos() {
		if errors.Is(err, e.is) {
			return e.errno
		}
	}
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
		if dns.Timeout() {
			return syscall.ETIMEDOUT
		}
		return syscall.EHOSTUNREACH
	}
	if t := net.Error(nil); errors.As(err, &t) && t.Timeout() {
		return syscall.ETIMEDOUT
	}
	return syscall.EIO
}

// fileErrno is errno for a file that a listing has. If the server lacks it by
// now it was removed, or another took its place, which the next look-up tells:
// only listings say that a name is absent.
func (r *request) fileErrno(err error) syscall.Errno {
	if errno := r.errno(err); errno != syscall.ENOENT {
		return errno
	}
	return syscall.ESTALE
}
