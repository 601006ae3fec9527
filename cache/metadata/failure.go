package metadata

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Failure is an error of the server, when it happened, and how often since when
// the same was tried in vain.
type Failure struct {
	At       time.Time
	Since    time.Time
	Attempts int
	Err      error
}

func (f *Failure) Error() string {
	text := fmt.Sprintf("%s: %v", f.At.Format(time.RFC3339), f.Err)
	if f.Attempts > 1 {
		text += fmt.Sprintf("; tried %d times since %s", f.Attempts, f.Since.Format(time.RFC3339))
	}
	return text
}

func (f *Failure) Unwrap() error { return f.Err }

// failures remembers what went wrong where, so that those who ask again soon
// get the same answer at once, and those who ask why are told.
//
// A failure stands for as long as it took to come about, between a second and
// the bound of a look-up: what was refused at once costs nothing to try again,
// and nobody waits out a silent server twice in a row.
type failures struct {
	longest time.Duration // a failure stands at most so long
	now     func() time.Time

	mu     sync.Mutex // guards the fields below
	byPath map[string]failed
	outage failed // the last that was about the server, not about a path
}

type failed struct {
	Failure
	until time.Time
}

const (
	shortest    = time.Second
	maxFailures = 1024
)

func newFailures(longest time.Duration, now func() time.Time) *failures {
	return &failures{longest: longest, now: now, byPath: make(map[string]failed)}
}

// note remembers the failure of something that took so long.
func (f *failures) note(path string, err error, took time.Duration) {
	now := f.now()
	stands := min(max(took, shortest), max(f.longest, shortest))
	entry := failed{Failure{At: now, Since: now, Attempts: 1, Err: err}, now.Add(stands)}
	f.mu.Lock()
	defer f.mu.Unlock()
	before, again := f.byPath[path]
	if again {
		entry.Since, entry.Attempts = before.Since, before.Attempts+1
	} else if len(f.byPath) >= maxFailures {
		f.dropOldest()
	}
	f.byPath[path] = entry
	if !definite(err) {
		f.outage = entry
	}
}

func (f *failures) dropOldest() {
	var oldest string
	var at time.Time
	for path, e := range f.byPath {
		if at.IsZero() || e.At.Before(at) {
			oldest, at = path, e.At
		}
	}
	delete(f.byPath, oldest)
}

// clear forgets a path's failure: it succeeded. So there is no outage either.
func (f *failures) clear(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byPath, path)
	f.outage = failed{}
}

// lapse ends the time that failures stand; what happened can still be told.
func (f *failures) lapse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outage = failed{}
	for path, e := range f.byPath {
		e.until = time.Time{}
		f.byPath[path] = e
	}
}

// last returns the path's last failure, nil when it succeeded since.
func (f *failures) last(path string) *Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e, ok := f.byPath[path]; ok {
		return &e.Failure
	}
	return nil
}

// standing returns the path's failure while it stands, and until when it does.
func (f *failures) standing(path string) (until time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byPath[path].at(f.now())
}

// down returns the server's failure while it stands, and until when it does.
func (f *failures) down() (until time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.outage.at(f.now())
}

func (e failed) at(now time.Time) (until time.Time, err error) {
	if e.Err == nil || !now.Before(e.until) {
		return time.Time{}, nil
	}
	return e.until, e.Err
}

// definite reports whether an error is the server's answer about one path, so
// that it says nothing about others.
func definite(err error) bool {
	for _, answer := range []error{
		fs.ErrNotExist, fs.ErrPermission, ftppool.ErrRefused,
		ftppool.ErrNotDir, ftppool.ErrIsDir, ftppool.ErrUnsupported, ftppool.ErrProtocol, listing.ErrUnread,
	} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}

// gone reports whether the server said that a path is no directory any more.
// The root is never gone: whoever sees it missing looks at an outage.
func gone(path string, err error) bool {
	return path != "" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, ftppool.ErrNotDir))
}
