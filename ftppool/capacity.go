package ftppool

import "time"

const (
	confirmAfter  = time.Second      // a cap learned from several refusals at once is tried again
	probeAfter    = 5 * time.Minute  // a learned cap is tried again
	probeAtMost   = 60 * time.Minute // the longest pause between two tries
	ownDiscard    = 5 * time.Second  // a refusal that soon after a session of ours ended may be about that one
	maxOwnRefused = 20               // refusals in a row that are excused by that
	finGrace      = 100 * time.Millisecond
	finWait       = 2 * time.Second // for a peer that does not close its side, or can't be reached
)

// capacity is how many sessions may exist at once: what the user allows, and
// what the server was seen to take. It is guarded by the pool's mutex.
type capacity struct {
	bound     int // the user's
	learned   int // the server's, as far as known; at most bound
	probeAt   time.Time
	pause     time.Duration // between the last probe and the next
	discarded time.Time     // when a session of ours ended last
	excused   int
}

func newCapacity(bound int) capacity {
	return capacity{bound: bound, learned: bound, pause: probeAfter}
}

// limit is how many sessions may be begun or alive now: once in a while one
// more than the server last took.
func (c *capacity) limit(now time.Time) int {
	if c.learned < c.bound && !now.Before(c.probeAt) {
		return c.learned + 1
	}
	return c.learned
}

// refused learns from the server taking no more than the live sessions. It
// returns false when the refusal says nothing, because a session of ours that
// just ended may still have counted. Unless the attempt was alone, others that
// were refused at the same time may have counted, so it is tried again soon.
func (c *capacity) refused(live int, alone bool, now time.Time) bool {
	if now.Sub(c.discarded) < ownDiscard && c.excused < maxOwnRefused {
		c.excused++
		return false
	}
	c.excused = 0
	switch {
	case !alone:
		c.pause = confirmAfter
	case c.pause < probeAfter || live < c.learned:
		c.pause = probeAfter
	default: // this was a probe
		c.pause = min(2*c.pause, probeAtMost)
	}
	c.learned = max(1, min(live, c.bound))
	c.probeAt = now.Add(c.pause)
	return true
}

// accepted learns from a login that worked beside others, live in all.
func (c *capacity) accepted(live int, now time.Time) {
	c.excused = 0
	if live > c.learned {
		c.learned = min(live, c.bound)
		c.probeAt = now.Add(min(c.pause, time.Minute)) // where one more fits, another may
		c.pause = min(c.pause, probeAfter)
	}
}
