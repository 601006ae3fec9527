package ftppool

import (
	"math/rand/v2"
	"time"
)

const (
	firstPause = 500 * time.Millisecond
	lastPause  = 30 * time.Second
)

// backoff spaces the attempts to reach a server that failed, for all who wait
// for it. It is guarded by the pool's mutex.
type backoff struct {
	failures int
	until    time.Time // no attempt before
	err      error     // the last failure, nil after a success
}

// failed takes in a failure. Failures of attempts that ran beside each other
// count as one.
func (b *backoff) failed(err error, now time.Time) {
	b.err = err
	if now.Before(b.until) {
		return
	}
	pause := min(firstPause<<min(b.failures, 10), lastPause)
	b.failures++
	b.until = now.Add(jitter(pause))
}

// soon puts the next attempt a little off, without blame.
func (b *backoff) soon(now time.Time, pause time.Duration) {
	if until := now.Add(jitter(pause)); until.After(b.until) {
		b.until = until
	}
}

func (b *backoff) succeeded() { *b = backoff{} }

// jitter returns between three and five quarters of d, so that clients of one
// server that failed together do not come back together.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(rand.Int64N(int64(d)/2+1))
}
