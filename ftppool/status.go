package ftppool

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// Status is what a Pool is doing.
type Status struct {
	Bound        int // sessions allowed by the user
	Cap          int // sessions the server takes, as far as known; at most Bound
	Busy         int // sessions in use
	Idle         int // sessions waiting for work
	Dialing      int // sessions being made
	Ending       int // sessions ended, but perhaps still counted by the server
	Waiting      int // requests waiting for a session
	Logins       int64
	ProbeAt      time.Time  // when one session more than Cap is tried; zero when Cap is Bound
	BackoffUntil time.Time  // when the server is tried again; zero when it answers
	Failed       int64      // failures in all
	Failures     []Failure  // the last ones, newest first
	Transfers    []Transfer // files under way, oldest first
}

// Failure is something that went wrong, in words.
type Failure struct {
	Time time.Time
	Path string // raw; "" when it concerned no file
	Err  error
}

// Transfer is a file, or a listing in the background, that is under way.
type Transfer struct {
	Path    string // raw
	Listing bool
	UID     uint32
	Class   Class
	Offset  int64 // where it began
	Bytes   int64 // how many have come
	Started time.Time
	Rate    float64 // bytes per second since it began
}

const keptFailures = 8

// Status returns what the pool is doing now.
func (p *Pool) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	st := Status{
		Bound: p.capacity.bound, Cap: p.capacity.learned,
		Busy: len(p.live) - len(p.idle), Idle: len(p.idle), Dialing: p.dialing, Ending: p.ending,
		Waiting: p.queue.waiting + len(p.fresh), Logins: p.logins,
		Failed: p.failed, Failures: slices.Clone(p.failures),
	}
	if st.Cap < st.Bound {
		st.ProbeAt = p.capacity.probeAt
	}
	if p.backoff.err != nil && now.Before(p.backoff.until) {
		st.BackoffUntil = p.backoff.until
	}
	slices.Reverse(st.Failures)
	for t := range p.transfers {
		shown := Transfer{
			Path: t.path, Listing: !t.stream, UID: t.uid, Class: Class(t.class.Load()),
			Offset: t.offset, Bytes: t.bytes.Load(), Started: t.started,
		}
		if d := now.Sub(t.started).Seconds(); d > 0 {
			shown.Rate = float64(shown.Bytes) / d
		}
		st.Transfers = append(st.Transfers, shown)
	}
	slices.SortFunc(st.Transfers, func(a, b Transfer) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Path, b.Path))
	})
	return st
}

// note remembers a failure for the status.
func (p *Pool) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noteLocked(err)
}

// noteLocked is note with p.mu held.
func (p *Pool) noteLocked(err error) {
	f := Failure{Time: time.Now(), Err: err}
	var e *Error
	if errors.As(err, &e) {
		f.Path = e.Path
	}
	p.failed++
	p.failures = append(p.failures, f)
	if len(p.failures) > keptFailures {
		p.failures = slices.Clone(p.failures[1:])
	}
}
