package fs

import (
	"context"
	"os"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Mirror is what the mount shows. All methods may be called from many
// goroutines at once. Paths are raw: as the server spells them, "/"-joined,
// relative to the mounted folder, "" for that folder itself. Errors say what
// happened by wrapping the sentinels that errno.go knows.
//
// Methods that take a context may wait for the server; they return soon after
// the context ends. The others answer from what is held and must not wait.
type Mirror interface {
	// Lookup finds the name, as users spell it, in the directory dir. For a
	// name that is absent the error is fs.ErrNotExist and Found.Expires says
	// until when that may be believed.
	Lookup(ctx context.Context, c Caller, dir, name string) (Found, error)

	// Directory returns the whole listing of dir.
	Directory(ctx context.Context, c Caller, dir string) (Directory, error)

	// Held returns the listing of dir that is at hand, however old, or nil.
	Held(dir string) Directory

	// Settle returns the entry at path with what its listing did not tell: the
	// size of a file, the target of a symlink. Both are then in the listing too.
	Settle(ctx context.Context, c Caller, path string) (listing.Entry, error)

	// OpenFile opens the content of one version of the file at path for the
	// user uid. It does not fetch; File.ReadAt does. But it may ask the server
	// which version is right, unless all of that one is here.
	OpenFile(ctx context.Context, uid uint32, path string, v listing.Version) (File, error)

	// State says how much of that version is held.
	State(path string, v listing.Version) State

	// LastError is what last went wrong with path, nil when it went well since.
	LastError(path string) error

	// Usage is the space that content takes, the space it may take (both in
	// bytes), and the number of files that are held.
	Usage() (used, limit, files int64)
}

// Caller is on whose behalf something is asked.
type Caller struct {
	UID uint32
	// NoFetch marks a crawler: it is told what is held and nothing is fetched
	// for it; anything else is refused with fs.ErrPermission.
	NoFetch bool
}

// Found is a name's entry, the path it was found at and until when it holds.
type Found struct {
	Entry   listing.Entry
	Path    string
	Expires time.Time
	Stale   bool // it should have been asked again but could not be
}

// Directory is one listing. It never changes.
type Directory interface {
	Entries() []listing.Entry               // sorted by Name; not to be written to
	Find(name string) (listing.Entry, bool) // in any case where the server ignores it
	ID() uint64                             // another listing of the directory has another
	Fetched() time.Time                     // when the server gave it
	Expires() time.Time
	Stale() bool
}

// File is one open version of a file.
type File interface {
	// ReadAt fills p from the offset off, waiting for the bytes to come. It
	// returns less than len(p) only with an error, io.EOF at the file's end.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// Whole returns the cache file once all of it is here and checked. It
	// belongs to the File.
	Whole() (*os.File, bool)
	// Generation tells contents of one path apart that may be of one version, as
	// far as the server tells versions: Files with the same have the same bytes.
	Generation() uint64
	Close() error
}

// State is how much of a file is held.
type State struct {
	Held    int64     // bytes
	Whole   bool      // all of it
	Fetched time.Time // when its last byte came; zero when nothing is held
}
