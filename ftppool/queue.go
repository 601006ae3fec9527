package ftppool

// waiter is a request that waits for a session.
type waiter struct {
	want  Want
	ready chan grant // of capacity 1; written once, when the waiter leaves the queue
	// fresh asks for a session that was seen to work after another one failed
	// this request, which is served at once since it has waited already.
	fresh   bool
	carried bool // its question is being asked; guarded by the pool's mutex
}

// grant is what a waiter gets.
type grant struct {
	session *session
	err     error
}

// queue orders waiters by class and, within one, lets users take turns. It is
// guarded by the pool's mutex.
type queue struct {
	classes [ClassIdle + 1]turns
	waiting int
}

// turns is the queue of one class: the users in the order of their turn, and
// what each of them waits for.
type turns struct {
	users []uint32
	lines map[uint32][]*waiter
}

func (q *queue) push(w *waiter) {
	t := &q.classes[min(w.want.Class, ClassIdle)]
	if t.lines == nil {
		t.lines = make(map[uint32][]*waiter)
	}
	if len(t.lines[w.want.UID]) == 0 {
		t.users = append(t.users, w.want.UID)
	}
	t.lines[w.want.UID] = append(t.lines[w.want.UID], w)
	q.waiting++
}

// pop removes the waiter whose turn it is, nil when there is none.
func (q *queue) pop() *waiter {
	for i := range q.classes {
		t := &q.classes[i]
		if len(t.users) == 0 {
			continue
		}
		uid := t.users[0]
		line := t.lines[uid]
		w := line[0]
		t.users = t.users[1:]
		if len(line) > 1 {
			t.lines[uid] = line[1:]
			t.users = append(t.users, uid)
		} else {
			delete(t.lines, uid)
		}
		q.waiting--
		return w
	}
	return nil
}

// remove takes a waiter out and reports whether it was there.
func (q *queue) remove(w *waiter) bool {
	t := &q.classes[min(w.want.Class, ClassIdle)]
	line := t.lines[w.want.UID]
	for i, other := range line {
		if other != w {
			continue
		}
		q.waiting--
		if len(line) > 1 {
			t.lines[w.want.UID] = append(line[:i:i], line[i+1:]...)
			return true
		}
		delete(t.lines, w.want.UID)
		for j, uid := range t.users {
			if uid == w.want.UID {
				t.users = append(t.users[:j:j], t.users[j+1:]...)
				break
			}
		}
		return true
	}
	return false
}
