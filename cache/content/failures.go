package content

import (
	"fmt"
	"sync"
	"time"
)

// failureLog remembers the last failure of each path until it was overcome, or
// too many others were noted.
type failureLog struct {
	mu   sync.Mutex // a leaf
	last map[string]noted
}

const maxFailures = 1024

// noted is a failure and when it happened.
type noted struct {
	*Failure
	at time.Time
}

func (n noted) Error() string {
	text := fmt.Sprintf("%s: %v", n.at.Format(time.RFC3339), n.Failure)
	if n.Attempts > 1 {
		text += fmt.Sprintf("; tried %d times since %s", n.Attempts, n.Since.Format(time.RFC3339))
	}
	return text
}

func (n noted) Unwrap() error { return n.Failure }

func (l *failureLog) note(f *Failure, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = make(map[string]noted)
	}
	for path := range l.last {
		if len(l.last) < maxFailures {
			break
		}
		delete(l.last, path)
	}
	l.last[f.Path] = noted{f, now}
}

func (l *failureLog) clear(path string) {
	l.mu.Lock()
	delete(l.last, path)
	l.mu.Unlock()
}

func (l *failureLog) get(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n, ok := l.last[path]; ok {
		return n
	}
	return nil
}
