package fs

import "log/slog"

// Options say how a mirror is mounted. The zero value of each field is a
// sensible choice except where its comment says otherwise.
type Options struct {
	// URL of the mirror without credentials: the source in the mount table and
	// the value of user.mirrorfs.url. Required.
	URL string

	// ServerRoot is the server's absolute path of the mounted folder, for
	// symlinks with absolute targets; "" means "/".
	ServerRoot string

	UID, GID uint32 // owner of everything
	// Umask is the permission bits that files (0666) and directories (0777) lack.
	Umask uint32

	// AllowOther lets users other than the one who mounts in, as far as the
	// modes allow.
	AllowOther bool

	// AllowNonEmpty lets the mount hide what is in its folder.
	AllowNonEmpty bool

	// KernelOptions are further mount options: flags of mount(2) by name
	// (noexec, noatime) and whatever else the kernel is to read (context=...).
	KernelOptions []string

	// NoFetchFor are patterns (path.Match) of process names for which nothing
	// is fetched. nil is DefaultNoFetchFor; empty is nobody.
	NoFetchFor []string

	// Control is the path that user.mirrorfs.control on the root tells to root
	// and to this process's user, ControlForOthers what it tells to everybody
	// else; "" is none.
	Control, ControlForOthers string

	// CacheDir is a folder on the file system that holds whole files. It is
	// used once, to find out whether the kernel takes files there for
	// passthrough. "" leaves passthrough off.
	CacheDir string

	// ReadAhead is how many bytes the kernel may read ahead, where the process
	// may say so; 0 is 1 MiB.
	ReadAhead int64

	// Log gets what no caller can be told. Required.
	Log *slog.Logger
}

const defaultReadAhead = 1 << 20
