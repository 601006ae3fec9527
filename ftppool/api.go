package ftppool

import (
	"errors"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Class orders the requests that wait for a session: lower values first.
type Class uint8

// The classes of section "sessions" in docs/ARCHITECTURE.md.
const (
	ClassLookup    Class = iota // listings and look-ups somebody waits for
	ClassRead                   // content somebody waits for
	ClassReadAhead              // content that will probably be wanted next
	ClassIdle                   // listing ahead, warming, verification
)

// Want says for whom a session is wanted: within a class, users take turns.
type Want struct {
	Class Class
	UID   uint32
	// Limit is how many bytes of a transfer the caller expects to take before it
	// closes the stream; 0 means to the end. It only sizes socket buffers, so
	// that a look at a file's head does not pull megabytes.
	Limit int64
	// Check makes Open ask for the size and time of the file just before the
	// transfer begins, on the same session and where possible without a round
	// trip of its own. The stream then is a Checked too.
	Check bool
	// Begun, unless nil, is called by Open when it has a session, before anything
	// is asked on it; more than once if it tries again.
	Begun func()

	ask *question // all that is wanted; it may be sent by the owner of any session
}

// Checked is a Stream that knows the file as it was when the transfer began;
// false when the server did not tell its size.
type Checked interface {
	Entry() (listing.Entry, bool)
}

// Stream is one RETR under way: the bytes of a file from an offset to its end.
// Read and Close belong to one goroutine; SetClass may be called from any.
// Read returns io.EOF only when the data connection ended in order; the caller
// compares the count with the file's size, because servers cut transfers
// without saying so. A stream that was cut to serve a higher class returns
// ErrPreempted; opening another at the offset reached continues it.
type Stream interface {
	Read(p []byte) (int, error)
	// SetClass changes what the stream counts as when others need its session.
	SetClass(Class)
	// Close ends the transfer and gives the session back. It does not wait for
	// the server longer than 2 s, and never returns an error worth acting on
	// after a Read returned one.
	Close() error
}

// Piped is a Stream that may be able to hand its bytes on inside the kernel.
type Piped interface {
	// ReadPipe is a Read of at most n bytes into a pipe, given by the descriptor
	// of its writing end, that must be empty. The error Is errors.ErrUnsupported
	// when this stream's bytes have to be read (encrypted ones do); nothing was
	// taken then.
	ReadPipe(pipe, n int) (int, error)
}

// Errors that callers tell apart with errors.Is, next to io/fs.ErrNotExist,
// io/fs.ErrPermission, context.DeadlineExceeded, and the syscall.Errno of a
// failed dial (ECONNREFUSED, EHOSTUNREACH, ...).
var (
	ErrPreempted   = errors.New("transfer was set aside for a more urgent request")
	ErrOffline     = errors.New("offline: the network may not be used")
	ErrClosed      = errors.New("the mount is shutting down")
	ErrNotDir      = errors.New("not a directory")
	ErrIsDir       = errors.New("is a directory")
	ErrLogin       = errors.New("login refused")
	ErrTooMany     = errors.New("the server takes no more connections from here")
	ErrNoRestart   = errors.New("the server cannot start a transfer in the middle (REST refused)")
	ErrUnsupported = errors.New("the server does not support this command")
	ErrProtocol    = errors.New("the server's answer could not be understood")
)
