package content

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
)

// ErrChanged says that the server's file is not the one a handle is pinned to.
// What is held of the old one stays readable; looking the name up again leads
// to the new one. It Is syscall.ESTALE.
var ErrChanged error = changed{}

type changed struct{}

func (changed) Error() string        { return "the file was replaced on the server" }
func (changed) Is(target error) bool { return target == syscall.ESTALE }

// ErrInUse says that a content can't be given up while a handle is open on it.
var ErrInUse = errors.New("the file is open")

// errShort is a transfer that ended before the file's end, without a word.
var errShort = errors.New("the server ended the transfer before the end of the file")

// errEvicted is why a file left the index to make room.
var errEvicted = errors.New("given up to make room")

// errNoRoom says that writing would break the bounds of the cache.
var errNoRoom = errors.New("no room in the cache")

// Failure is an error together with what was done about it.
type Failure struct {
	Path     string
	Attempts int       // in a row
	Since    time.Time // when the first of them failed
	Err      error
}

func (f *Failure) Error() string {
	if f.Attempts > 1 {
		return fmt.Sprintf("read %s: failed %d times in a row, the last time with: %v", f.Path, f.Attempts, f.Err)
	}
	return fmt.Sprintf("read %s: %v", f.Path, f.Err)
}

func (f *Failure) Unwrap() error { return f.Err }

// final reports whether trying again soon can't help.
func final(err error) bool {
	for _, e := range []error{
		fs.ErrNotExist, fs.ErrPermission, ErrChanged,
		ftppool.ErrOffline, ftppool.ErrClosed, ftppool.ErrLogin, ftppool.ErrIsDir,
		ftppool.ErrNotDir, ftppool.ErrUnsupported, ftppool.ErrRefused,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// errMismatch says that a .dat is not there, or not what its record says. Other
// failures to open one, like too many open files, pass.
var errMismatch = errors.New("the content on disk is not what was recorded")

// local reports whether err is this machine's disk refusing, not the server.
func local(err error) bool {
	if errors.Is(err, errNoRoom) {
		return true
	}
	var p *fs.PathError
	return errors.As(err, &p) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
