package control

import (
	"context"
	"net/http"
	"time"
)

// WarmRequest names what is to be fetched, or given up.
type WarmRequest struct {
	Paths   []string `json:"paths"`             // below the mount as shown, "" is its root
	Jobs    int      `json:"jobs,omitempty"`    // files at once; 0: as many as there are sessions
	Retries int      `json:"retries,omitempty"` // of what makes no progress
	Pin     bool     `json:"pin,omitempty"`     // keep what came from being evicted
	Check   bool     `json:"check,omitempty"`   // ask the server about what is held too
	DryRun  bool     `json:"dry_run,omitempty"` // only tell what would come
	Evict   bool     `json:"evict,omitempty"`   // give up what is held instead
}

// WarmEvent is one of the answer to a WarmRequest. A Plan comes first, or a
// Refused, which ends it; Ended ones of paths that are not there may precede it.
type WarmEvent struct {
	What    string `json:"what"`              // one of the constants
	Path    string `json:"path,omitempty"`    // of a file, below the mount
	Size    int64  `json:"size,omitempty"`    // of it
	Held    int64  `json:"held,omitempty"`    // of it
	Outcome string `json:"outcome,omitempty"` // of an Ended one
	Attempt int    `json:"attempt,omitempty"` // of a Retrying one: how many failed
	Text    string `json:"text,omitempty"`    // why
	*Plan
}

// Plan is what a warming comes to.
type Plan struct {
	Files   int           `json:"files"`   // in all
	Bytes   int64         `json:"bytes"`   // of all
	ToFetch int           `json:"fetch"`   // files that are not held as a whole
	Missing int64         `json:"missing"` // bytes of these that are not held
	Time    time.Duration `json:"time_ns"` // it will take, 0: not known
}

// What a WarmEvent says.
const (
	Planned  = "plan"
	Refused  = "refused"  // it can't fit; nothing was fetched
	Wanted   = "wanted"   // a file that would come
	Started  = "started"  // a file's fetch has begun
	Progress = "progress" // of one file
	Retrying = "retrying" // a file's transfer failed and goes on
	Ended    = "ended"    // with a file, or a path
)

// The outcomes.
const (
	OK       = "OK"
	Cached   = "CACHED"
	NotFound = "NOT FOUND"
	Error    = "ERROR"
	Evicted  = "EVICTED"
)

// Warm has files fetched into the cache, and calls each for every event. An
// error of each, or the end of ctx, ends it; what has come stays.
func (c *Client) Warm(ctx context.Context, r WarmRequest, each func(WarmEvent) error) error {
	return stream(ctx, c, "/v1/warm", r, each)
}

func (s *Server) warm() http.HandlerFunc { return lines(s.mount.Warm) }
