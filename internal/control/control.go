// Package control is how other commands speak to a running mount: HTTP and JSON
// over a unix socket in a private folder, and over another one where other users
// may read the mount (others.go); told apart by version in the path.
//
//	GET  /v1/status    what is mounted and how it is doing: Status
//	POST /v1/refresh   RefreshRequest; answers a line of JSON per Change, the
//	                   last of which is Done
//	POST /v1/warm      WarmRequest; a WarmEvent a line
//	POST /v1/cache/files, /v1/cache/verify
//	                   {}; a CacheFile or a CacheChecked a line
//	POST /v1/cache/room
//	                   RoomRequest; a line with a Room
//
// A line of the latter is {"item": ...}; the last is {"done": true}, or
// {"error": "..."}.
//
// A caller is known by the uid and the groups that the kernel reports for the
// connection. The Mount decides who may ask, and for what. What users other than
// its owner and root can take of it is bounded (bounds.go). Requests with a long
// answer end when the caller goes away.
package control

import (
	"context"
	"time"
)

// Mount is what a running mount answers. Its methods may be called at any time
// and by several callers at once.
type Mount interface {
	// Admit tells why a user may not ask for anything; nil: that user may.
	Admit(Caller) error
	Status(context.Context) Status
	// Refresh lists directories again and reports what is other than it was.
	Refresh(ctx context.Context, uid uint32, r RefreshRequest, report func(Change) error) error
	// Warm fetches files into the cache. It may report from many goroutines.
	Warm(ctx context.Context, uid uint32, r WarmRequest, report func(WarmEvent) error) error
	// CacheFiles reports what is held, CacheVerify whether it is still right.
	CacheFiles(ctx context.Context, uid uint32, report func(CacheFile) error) error
	CacheVerify(ctx context.Context, uid uint32, report func(CacheChecked) error) error
	// CacheRoom gives up what is held.
	CacheRoom(ctx context.Context, uid uint32, r RoomRequest) (Room, error)
}

// Caller is who asks, as the kernel tells it.
type Caller struct {
	UID    uint32
	Groups []uint32
}

// Status is what a mount says of itself. Fields are only ever added.
type Status struct {
	Program        string    `json:"program"` // version
	PID            int       `json:"pid"`
	URL            string    `json:"url"` // without credentials
	MountPoint     string    `json:"mount_point"`
	Since          time.Time `json:"since"`
	Passthrough    bool      `json:"passthrough"`
	PassthroughWhy string    `json:"passthrough_why,omitempty"` // why not
	Offline        bool      `json:"offline"`
	Sessions       Sessions  `json:"sessions"`
	Transfers      []Stream  `json:"transfers"`
	Cache          Cache     `json:"cache"`
	Listings       Listings  `json:"listings"`
	Nodes          int       `json:"nodes"` // files and directories that the kernel knows
	Server         Profile   `json:"server"`
	Errors         []Failure `json:"errors"` // the last ones, newest first
}

// Sessions are the connections to the server.
type Sessions struct {
	Bound        int       `json:"bound"` // --connections
	Cap          int       `json:"cap"`   // what the server was found to take
	Busy         int       `json:"busy"`
	Idle         int       `json:"idle"`
	Waiting      int       `json:"waiting"`
	Logins       int64     `json:"logins"`
	Failures     int64     `json:"failures"` // in all
	BackOffUntil time.Time `json:"back_off_until,omitzero"`
}

// Stream is a transfer under way.
type Stream struct {
	Path    string  `json:"path"`
	Listing bool    `json:"listing,omitempty"` // of a directory, not of a file's content
	Offset  int64   `json:"offset"`            // where in the file it began
	Bytes   int64   `json:"bytes"`             // so far
	Size    int64   `json:"size,omitempty"`    // of the file; 0: not known
	Rate    float64 `json:"rate"`              // bytes a second
}

// Cache is what is held of the files' content.
type Cache struct {
	Folder  string `json:"folder"` // of all mirrors
	Mirror  string `json:"mirror"` // in it, of this one
	Used    int64  `json:"used"`   // bytes on disk
	Max     int64  `json:"max"`    // 0: no bound
	Files   int    `json:"files"`
	Hits    int64  `json:"hits"`              // reads answered from what was held
	Misses  int64  `json:"misses"`            // reads that waited for the server
	Fetched int64  `json:"fetched"`           // bytes taken from the server
	Evicted int64  `json:"evicted"`           // bytes
	Changed int64  `json:"changed"`           // files found replaced on the server
	Through int64  `json:"through"`           // bytes read that could not be kept
	Refusal string `json:"refusal,omitempty"` // why nothing is kept for now
}

// Listings is what is held of the directories.
type Listings struct {
	Memory      int    `json:"memory"`
	MemoryBytes int64  `json:"memory_bytes"`
	Disk        int    `json:"disk"`
	Hits        uint64 `json:"hits"`
	Misses      uint64 `json:"misses"`
	Sent        uint64 `json:"sent"`     // LIST and MLSD sent to the server
	Unparsed    uint64 `json:"unparsed"` // lines that could not be read
}

// Profile is what was learned of the server.
type Profile struct {
	Banner     string   `json:"banner,omitempty"`
	System     string   `json:"system,omitempty"`
	Features   []string `json:"features,omitempty"`
	Listing    string   `json:"listing,omitempty"` // "mlsd", "unix", "dos", ...
	Restart    string   `json:"restart"`           // "unknown", "proven", "refused"
	IgnoreCase bool     `json:"ignore_case"`
	UTF8       bool     `json:"utf8"`
	Zone       string   `json:"zone,omitempty"` // of listed times, "UTC-03:00"; "" when not known
	TLS        string   `json:"tls,omitempty"`
}

// Failure is something that went wrong.
type Failure struct {
	When time.Time `json:"when"`
	Path string    `json:"path,omitempty"`
	Text string    `json:"text"`
}

// RefreshRequest names what is to be listed again.
type RefreshRequest struct {
	Paths     []string `json:"paths"` // below the mount as shown, "" is its root
	Recursive bool     `json:"recursive"`
}

// Change is one line of the answer to a RefreshRequest.
type Change struct {
	What string `json:"what"` // one of the constants
	Path string `json:"path,omitempty"`
	Size int64  `json:"size,omitempty"`
	Text string `json:"text,omitempty"` // of a Failed one
}

// What a Change says.
const (
	New     = "new"
	Changed = "changed"
	Gone    = "gone"
	Listed  = "listed" // a directory whose listing is done
	Failed  = "failed" // it could not be listed; others go on
	Done    = "done"   // nothing follows
)
