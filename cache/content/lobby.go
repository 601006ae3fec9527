package content

import "sync"

// lobby is where streams of all files meet over sessions: those that wait for
// one, and those that hold one without using it just now.
type lobby struct {
	mu      sync.Mutex // a leaf
	waiting int
	paused  map[*stream]struct{}
}

// enter counts a stream that is about to ask for a session, and has the paused
// ones consider giving up theirs.
func (l *lobby) enter() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting++
	for st := range l.paused {
		st.nudge()
	}
}

func (l *lobby) leave() {
	l.mu.Lock()
	l.waiting--
	l.mu.Unlock()
}

// opening returns how many streams wait for a session.
func (l *lobby) opening() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting
}

func (l *lobby) pause(st *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.paused == nil {
		l.paused = make(map[*stream]struct{})
	}
	l.paused[st] = struct{}{}
}

func (l *lobby) resume(st *stream) {
	l.mu.Lock()
	delete(l.paused, st)
	l.mu.Unlock()
}
