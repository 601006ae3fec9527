package ftppool

import (
	"sync/atomic"
	"time"
)

const (
	cutPause  = 250 * time.Millisecond // between two cuts, to see what the first one gave
	slice     = 10 * time.Second       // how long a transfer may keep others of its class waiting
	loginTime = 2 * time.Second        // how long a login under way is waited for instead
)

// transfer is data under way, as the pool sees it: something to show, and to
// cut when a more urgent request waits.
type transfer struct {
	pool    *Pool
	path    string
	uid     uint32
	offset  int64
	started time.Time
	stream  bool // else a listing, which is begun again by itself
	class   atomic.Uint32
	bytes   atomic.Int64
	onCut   func(error)
}

func (p *Pool) newTransfer(want Want, path string, offset int64) *transfer {
	t := &transfer{pool: p, path: path, uid: want.UID, offset: offset, started: time.Now()}
	t.class.Store(uint32(want.Class))
	return t
}

// SetClass changes what the transfer counts as.
func (t *transfer) SetClass(c Class) { t.class.Store(uint32(c)) }

func (t *transfer) cut(why error) { t.onCut(why) }

// enter makes t known; false means that the pool is closed.
func (p *Pool) enter(t *transfer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.transfers[t] = struct{}{}
	}
	return !p.closed
}

func (p *Pool) leaveTransfer(t *transfer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.transfers, t)
}

// cuttable is for a request that makes way for others: cut makes its data
// connection fail, and those it has yet to make, and leaves the session. After
// done, when the session may have another owner, cut does nothing.
func (s *session) cuttable() (cut func(error), done func()) {
	active := true // guarded by s.mu
	cut = func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !active {
			return
		}
		s.cut = err
		if s.data != nil {
			s.data.stop(err)
		}
	}
	done = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		active, s.cut = false, nil
	}
	return cut, done
}

// preempt cuts a transfer for a request that has waited for a while. One whose
// question is being asked needs no session.
func (p *Pool) preempt(w *waiter, waited time.Duration) {
	p.mu.Lock()
	var t *transfer
	if !w.carried {
		t = p.victim(w.want, waited, time.Now())
	}
	if t != nil {
		p.lastCut = time.Now()
		delete(p.transfers, t)
	}
	p.mu.Unlock()
	if t != nil {
		p.log.Debug("a transfer makes way", "path", t.path, "waited", waited.Round(time.Millisecond))
		t.cut(ErrPreempted)
	}
}

// victim chooses the transfer of the lowest class below want's; of several, one
// of the user who has most, and of these the one begun last. Where a transfer
// can be continued at little cost, one of the same class that has been going on
// for long makes way too, for a request that has waited as long: or a single
// session would belong to whoever came first for hours. Callers hold p.mu.
func (p *Pool) victim(want Want, waited time.Duration, now time.Time) *transfer {
	if p.closed || len(p.idle) > 0 || now.Sub(p.lastCut) < cutPause || p.dialing > 0 && waited < loginTime {
		return nil
	}
	count := make(map[uint32]int)
	for t := range p.transfers {
		count[t.uid]++
	}
	var best, oldest *transfer
	for t := range p.transfers {
		class := Class(t.class.Load())
		if class == want.Class && t.stream && now.Sub(t.started) >= slice && (oldest == nil || t.started.Before(oldest.started)) {
			oldest = t
		}
		if class <= want.Class {
			continue
		}
		if best == nil || class > Class(best.class.Load()) ||
			class == Class(best.class.Load()) && (count[t.uid] > count[best.uid] ||
				count[t.uid] == count[best.uid] && t.started.After(best.started)) {
			best = t
		}
	}
	if best == nil && waited >= slice && p.known().Restart == RestartProven {
		return oldest
	}
	return best
}
