package fs

import (
	"fmt"
)

// Reason says why a mount, or an unmount, was not possible.
type Reason uint8

// The reasons that have a remedy of their own.
const (
	Other          Reason = iota
	NoDevice              // there is no /dev/fuse, or it may not be opened
	NoFusermount          // fusermount3 is not installed
	Forbidden             // the kernel, AppArmor or a container forbids it here
	Missing               // the mountpoint does not exist
	NotADirectory         // it is something else
	NotEmpty              // it has entries, which the mount would hide
	AlreadyMounted        // something is mounted there
	NotOwner              // this user may not write to the mountpoint
	NoAllowOther          // allow_other needs user_allow_other in /etc/fuse.conf
	TooManyMounts         // the limit in /etc/fuse.conf
	BadOption             // the kernel or fusermount3 does not know a mount option
	Busy                  // programs use files in the mount
)

// MountError is a mount or unmount that failed. It wraps what the system said
// (fs.ErrPermission, fs.ErrNotExist, exec.ErrNotFound, EBUSY, ...).
type MountError struct {
	Op     string // "mount" or "unmount"
	Dir    string
	Reason Reason
	Advice string // what to do about it; a sentence
	Err    error
}

func (e *MountError) Error() string { return fmt.Sprintf("cannot %s %s: %v", e.Op, e.Dir, e.Err) }

func (e *MountError) Unwrap() error { return e.Err }
