// Package doctor examines a server and this machine before a mount, and says
// what was found, what it means and what to do.
//
// What it asks of a server it asks through the sessions of ftppool, as a mount
// does, so that both come to the same conclusions. Each thing that was looked at
// becomes a Finding. A mark means the same everywhere: with a problem a mount
// would fail, with a note it works but there is something to know.
package doctor

import "time"

// Mark says how a finding is to be taken.
type Mark string

// The marks.
const (
	OK      Mark = "ok"
	Note    Mark = "note"
	Problem Mark = "problem" // a mount would fail
)

// Cause is what a problem comes from, since each has an exit code of its own.
type Cause string

// The causes.
const (
	CauseServer     Cause = "server" // Finding.Err tells which kind
	CauseFUSE       Cause = "fuse"
	CauseCache      Cause = "cache"
	CauseMountpoint Cause = "mountpoint"
)

// Finding is one thing that was looked at.
type Finding struct {
	Topic string `json:"topic"`
	Mark  Mark   `json:"mark"`
	Found string `json:"found"`
	Means string `json:"means,omitempty"`
	Do    string `json:"do,omitempty"`
	Cause Cause  `json:"cause,omitempty"` // of a problem
	Err   error  `json:"-"`               // of a problem with the server
}

// Facts are what was found out about a server, for scripts.
type Facts struct {
	Product     string    `json:"product,omitempty"` // "vsftpd", "proftpd", "pure-ftpd", "microsoft", ...; "" when it can't be told
	Banner      string    `json:"banner,omitempty"`
	System      string    `json:"system,omitempty"`
	Features    []string  `json:"features"`
	LoginFolder string    `json:"login_folder,omitempty"`
	Folder      string    `json:"folder,omitempty"` // the one to mount
	TLS         string    `json:"tls,omitempty"`
	EPSV        bool      `json:"epsv"`
	PASV        bool      `json:"pasv"`
	Listing     string    `json:"listing,omitempty"` // "mlsd", "unix", "dos", ...
	Size        Answer    `json:"size,omitempty"`    // the command SIZE
	MDTM        Answer    `json:"mdtm,omitempty"`    // the command MDTM
	REST        string    `json:"rest,omitempty"`    // "proven", "refused" or "unknown"
	UTF8        bool      `json:"utf8"`
	IgnoreCase  bool      `json:"ignore_case"`
	Zone        string    `json:"zone,omitempty"`
	Latency     float64   `json:"latency_ms,omitempty"`
	Rate        float64   `json:"bytes_per_second,omitempty"` // of one stream
	Sample      string    `json:"sample,omitempty"`           // the file that was read
	SampleBytes int64     `json:"sample_bytes,omitempty"`
	Sessions    *Sessions `json:"sessions,omitempty"` // nil: not asked for
}

// Answer is whether the server answers a command: "yes", "no", or "" when there
// was nothing to ask about.
type Answer string

// Sessions is how many sessions the server took at once.
type Sessions struct {
	Taken   int    `json:"taken"`
	Refusal string `json:"refusal,omitempty"` // of the next; "" when there was none
}

// Advice is what follows from the findings.
type Advice struct {
	Connections int           // 0: the default
	Timeout     time.Duration // 0: the default
}

// Worst returns the first problem, nil when there is none.
func Worst(findings []Finding) *Finding {
	for i := range findings {
		if findings[i].Mark == Problem {
			return &findings[i]
		}
	}
	return nil
}
