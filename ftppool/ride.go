package ftppool

import "errors"

// This file is about small questions that ride along. A question that waits for
// a session need not have one to itself: whoever is about to send commands on
// one sends it in the same write, and passes the replies on. So of many that
// wait, all are answered within a round trip, and what nobody waits for costs
// none of its own.

// maxRide bounds the bytes of questions in one write, since servers read
// commands into buffers of some kilobytes.
const maxRide = 1000

// question is commands that change nothing of a session but its current
// directory, and their replies.
type question struct {
	commands []string
	replies  []reply // set before the waiter is told errCarried
}

func (q *question) bytes() int {
	n := 0
	for _, c := range q.commands {
		n += len(c) + len("\r\n")
	}
	return n
}

var (
	// errCarried tells a waiter that its question was answered.
	errCarried = errors.New("asked along with another request")
	// errDropped tells it that the session ended first: it has to ask by itself.
	errDropped = errors.New("asked along in vain")
	// errRode tells a request that it failed because of a question it took along,
	// whose answer did not come. The next attempt takes none along.
	errRode = errors.New("a question that was asked along was not answered")
)

// Together reports whether questions that wait for a session ride along.
func (p *Pool) Together() bool { return p.known().together() }

// carry takes waiting questions out of the queue, in its order, to be sent
// along with own bytes of commands. Each is to be passed to deliver.
func (s *session) carry(own int) []*waiter {
	p := s.pool
	if s.alone || !p.known().together() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var taken []*waiter
	for room := maxRide - own; ; {
		w := p.queue.question()
		if w == nil || len(taken) > 0 && w.want.ask.bytes() > room {
			return taken
		}
		room -= w.want.ask.bytes()
		p.queue.remove(w)
		w.carried = true
		taken = append(taken, w)
	}
}

func asked(riders []*waiter) (commands []string) {
	for _, w := range riders {
		commands = append(commands, w.want.ask.commands...)
	}
	return commands
}

// deliver tells riders their replies; without enough of them they have to ask
// by themselves.
func deliver(riders []*waiter, replies []reply, err error) {
	for _, w := range riders {
		n := len(w.want.ask.commands)
		if err != nil || len(replies) < n {
			w.ready <- grant{err: errDropped}
			continue
		}
		w.want.ask.replies, replies = replies[:n], replies[n:]
		w.ready <- grant{err: errCarried}
	}
}

// question returns the first waiter that only has a question, nil without one.
func (q *queue) question() *waiter { return q.find(func(w *waiter) bool { return w.want.ask != nil }) }

// popOrCarrier is pop, but where it is the turn of a question that nobody waits
// for, and the next to come can take it along, that one is served. So neither
// waits for the other.
func (q *queue) popOrCarrier() *waiter {
	first := q.find(func(*waiter) bool { return true })
	if first != nil && first.want.ask != nil && first.want.Class >= ClassReadAhead {
		if w := q.find(func(w *waiter) bool { return w.want.ask == nil }); w != nil && w.want.Check {
			q.remove(w)
			return w
		}
	}
	return q.pop()
}

// find returns the first waiter that ok accepts, in the order of pop but for
// the turns of users with several.
func (q *queue) find(ok func(*waiter) bool) *waiter {
	for i := range q.classes {
		for _, uid := range q.classes[i].users {
			for _, w := range q.classes[i].lines[uid] {
				if ok(w) {
					return w
				}
			}
		}
	}
	return nil
}
