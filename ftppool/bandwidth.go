package ftppool

import (
	"sync"
	"time"
)

// limiter spreads the bytes of all data connections over time.
type limiter struct {
	rate int64 // bytes per second

	mu   sync.Mutex // guards next
	next time.Time  // when all bytes taken so far will have had their time
}

func newLimiter(rate int64) *limiter {
	if rate <= 0 {
		return nil
	}
	return &limiter{rate: rate}
}

// chunk is the most that should be read at once: an eighth of a second's worth.
func (l *limiter) chunk() int { return int(max(512, min(l.rate/8, 1<<20))) }

// wait accounts for n bytes and sleeps as long as they take, unless stopped.
// A pause is not made up for by a burst of more than an eighth of a second.
func (l *limiter) wait(n int, stop <-chan struct{}) {
	now := time.Now()
	l.mu.Lock()
	if earliest := now.Add(-time.Second / 8); l.next.Before(earliest) {
		l.next = earliest
	}
	l.next = l.next.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	delay := l.next.Sub(now)
	l.mu.Unlock()
	if delay <= 0 {
		return
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-stop:
	}
}
