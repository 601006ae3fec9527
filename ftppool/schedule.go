package ftppool

import (
	"context"
	"errors"
	"time"
)

// This file is what happens to sessions between their owners. Functions whose
// comment says so are called with the pool's mutex held.

// How long an idle session is kept: less than any server's own limit, which is
// 120 s and more unless it is seen to be shorter.
const (
	keepIdle    = 75 * time.Second
	keepAtLeast = 10 * time.Second
)

// schedule hands idle sessions to waiters and dials for those who get none.
// Callers hold p.mu.
func (p *Pool) schedule() {
	if p.closed {
		return
	}
	now := time.Now()
	for len(p.fresh) > 0 && len(p.idle) > 0 && p.idle[len(p.idle)-1].provenSince(now.Add(-time.Second)) {
		w := p.fresh[0]
		p.fresh = p.fresh[1:]
		p.grant(w)
	}
	for p.queue.waiting > 0 && len(p.idle) > 0 {
		p.grant(p.queue.popOrCarrier())
	}
	wanted := p.queue.waiting + len(p.fresh) - p.dialing - len(p.returning)
	for wanted > 0 && p.count() < p.capacity.limit(now) && !now.Before(p.backoff.until) {
		wanted--
		p.dialing++
		p.tasks.Add(1)
		go p.dial()
	}
	if wanted > 0 && len(p.fresh) > 0 && len(p.idle) > 0 {
		// Only idle sessions are left, which are as likely dead as the one
		// that failed; the oldest makes room.
		s := p.idle[0]
		p.idle = p.idle[1:]
		p.endIdle(s)
	}
	switch waiting := p.queue.waiting + len(p.fresh); {
	case waiting == 0:
	case now.Before(p.backoff.until):
		p.wakeAt(p.backoff.until)
	case p.capacity.learned < p.capacity.bound && now.Before(p.capacity.probeAt):
		p.wakeAt(p.capacity.probeAt)
	}
}

// Expect says that n requests will soon come at once: what is missing to as many
// sessions, and is known to be taken, is dialled now.
func (p *Pool) Expect(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.cfg.Offline || p.inBackoff(time.Now()) {
		return
	}
	n = min(n, p.capacity.learned)
	p.expected, p.expectedUntil = n, time.Now().Add(expectFor+10*p.known().trip)
	for p.count() < n {
		p.dialing++
		p.tasks.Add(1)
		go p.dial()
	}
}

// expectFor is how long what was said by Expect is waited for, and some round
// trips more.
const expectFor = time.Second

// Spare is Idle, less the sessions for which Expect said that requests will come
// and they have not yet.
func (p *Pool) Spare() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := p.idleNow()
	if time.Now().After(p.expectedUntil) {
		return idle
	}
	busy := len(p.live) - len(p.idle)
	return max(0, idle-max(0, p.expected-busy))
}

// count is how many control connections the server may see. Callers hold p.mu.
func (p *Pool) count() int { return len(p.live) + p.dialing + p.ending }

// provenSince reports whether an idle session answered after t.
func (s *session) provenSince(t time.Time) bool { return s.lastUsed.After(t) }

// grant gives the last idle session to w. Callers hold p.mu.
func (p *Pool) grant(w *waiter) {
	s := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	s.expiry.Stop()
	p.tasks.Add(1) // an owner
	w.ready <- grant{session: s}
}

// park makes s idle. Callers hold p.mu.
func (p *Pool) park(s *session) {
	p.idle = append(p.idle, s)
	keep := p.known().keep
	if s.expiry == nil {
		s.expiry = time.AfterFunc(keep, func() { p.expire(s) })
	} else {
		s.expiry.Reset(keep)
	}
}

// returningSoon says that an owned session will be back within a round trip or
// so, sooner than another could log in. After that time it no longer counts.
func (p *Pool) returningSoon(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.returning[s] = struct{}{}
	s.late = time.AfterFunc(100*time.Millisecond+3*p.known().trip, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.returning, s)
		p.schedule()
	})
}

// expire ends a session that nobody wanted for a while.
func (p *Pool) expire(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.idle {
		if other == s && !p.closed && time.Since(s.lastUsed) >= p.known().keep/2 {
			p.idle = append(p.idle[:i:i], p.idle[i+1:]...)
			p.endIdle(s)
			return
		}
	}
}

// endIdle says goodbye on a session taken from the idle ones, in the
// background. Callers hold p.mu.
func (p *Pool) endIdle(s *session) {
	s.expiry.Stop()
	delete(p.live, s)
	p.ending++
	p.tasks.Add(1)
	go func() {
		defer p.tasks.Done()
		p.quit(s)
		p.ended(true)
	}()
}

// quit is the goodbye; it does not wait for the server to answer.
func (p *Pool) quit(s *session) {
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.ctl.wire.setSilence(time.Second)
	_ = s.ctl.send("QUIT")
	s.ctl.wire.hangUp(finWait, p.ctx.Done())
	s.stop(ErrClosed)
}

// discard ends a session that can't be used any more. It counts against the
// bound until the server has closed its side. Callers hold p.mu.
func (p *Pool) discard(s *session) {
	delete(p.live, s)
	p.capacity.discarded = time.Now()
	p.hangUp(s, true)
}

// hangUp closes the connections of a session, whether it was logged in or not,
// in the background. One that did not come about may be one to the server. Callers
// hold p.mu.
func (p *Pool) hangUp(s *session, loggedIn bool) {
	s.stop(ErrClosed)
	s.mu.Lock()
	control, data := s.control, s.data
	s.mu.Unlock()
	if s.expiry != nil {
		s.expiry.Stop()
	}
	farewell := s.farewell()
	p.ending++
	p.tasks.Add(1)
	go func() {
		defer p.tasks.Done()
		if data != nil {
			_ = data.Close()
		}
		if control != nil {
			control.hangUp(farewell, p.ctx.Done())
		}
		p.ended(loggedIn)
	}()
}

// ended waits the moment that a server needs to notice that it has closed a
// session, and makes the place free.
func (p *Pool) ended(loggedIn bool) {
	t := time.NewTimer(finGrace)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending--
	if loggedIn {
		p.capacity.discarded = time.Now()
	}
	p.schedule()
}

// dial makes one more session, for whoever is next then.
func (p *Pool) dial() {
	defer p.tasks.Done()
	s := p.newSession()
	p.mu.Lock()
	s.alone, p.alone = p.alone, false
	p.opening[s] = struct{}{}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, p.cfg.Timeout*2/3)
	defer cancel()
	start := time.Now()
	release := s.guard(ctx)
	err := s.open(ctx)
	release()
	if err == nil && !s.inStep() {
		err = ErrProtocol
	}
	if why := s.givenUp(); why != nil {
		err = why
	} else if err != nil && ctx.Err() != nil && p.ctx.Err() == nil && !errors.Is(err, errRode) {
		err = &silentError{p.cfg.Timeout * 2 / 3}
	}
	if err == nil {
		p.log.Debug("logged in", "took", time.Since(start).Round(time.Millisecond))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	delete(p.opening, s)
	now := time.Now()
	if err == nil && !p.closed {
		p.logins++
		p.live[s] = struct{}{}
		p.backoff.succeeded()
		p.capacity.accepted(len(p.live), now)
		p.park(s)
		p.schedule()
		return
	}
	p.hangUp(s, false)
	if p.closed {
		return
	}
	p.dialFailed(err, now)
	p.schedule()
}

func (p *Pool) newSession() *session {
	s := &session{pool: p, tls: p.sessionTLS()}
	s.ctx, s.cancel = context.WithCancelCause(p.ctx)
	return s
}

// dialFailed decides what a failed login means for those who wait. Callers
// hold p.mu.
func (p *Pool) dialFailed(err error, now time.Time) {
	if errors.Is(err, errSequential) {
		return // asked to try another way
	}
	if errors.Is(err, errRode) {
		p.alone = true // the login itself worked
		return
	}
	if errors.Is(err, ErrPreempted) {
		return // the next attempt is made from where the machine is now
	}
	others := len(p.live) + p.dialing
	if r, ok := asReply(err); ok && isTooMany(r, others) {
		alone := p.dialing == 0 && p.ending == 1 // itself
		if !p.capacity.refused(len(p.live), alone, now) {
			p.backoff.soon(now, 150*time.Millisecond)
			p.log.Debug("refused, perhaps for a session that just ended", "reply", p.text(r))
			return
		}
		p.log.Info("the server takes no more sessions", "cap", p.capacity.learned, "reply", p.text(r))
		if !alone {
			p.backoff.soon(now, firstPause) // and one at a time
			return
		}
	}
	if r, ok := asReply(err); ok {
		err = p.fail(opLogin, "", &replyError{loginRefusal(r), r})
	} else {
		err = p.fail(opConnect, "", err)
	}
	if len(p.live) > 0 && errors.Is(err, ErrTooMany) {
		return
	}
	p.noteLocked(err)
	p.backoff.failed(err, now)
	p.log.Info("cannot log in", "err", err, "again", p.backoff.until.Sub(now).Round(time.Millisecond))
	if p.inBackoff(now) {
		p.failWaiters(p.backoffError())
	}
}

// inBackoff reports whether there is nothing to wait for: no session, and no
// attempt to get one before the pause is over. Callers hold p.mu.
func (p *Pool) inBackoff(now time.Time) bool {
	return p.backoff.err != nil && now.Before(p.backoff.until) && len(p.live) == 0 && p.dialing == 0
}

// backoffError is the failure that the pause is for. Callers hold p.mu.
func (p *Pool) backoffError() error {
	var e *Error
	if !errors.As(p.backoff.err, &e) {
		return p.backoff.err
	}
	again := *e
	again.RetryAt = p.backoff.until
	return &again
}

// failWaiters gives all who wait an error. Callers hold p.mu.
func (p *Pool) failWaiters(err error) {
	for _, w := range p.fresh {
		w.ready <- grant{err: err}
	}
	p.fresh = nil
	for w := p.queue.pop(); w != nil; w = p.queue.pop() {
		w.ready <- grant{err: err}
	}
}

// wakeAt has schedule called at t. Callers hold p.mu.
func (p *Pool) wakeAt(t time.Time) {
	if p.wake != nil {
		p.wake.Stop()
	}
	p.wake = time.AfterFunc(time.Until(t)+time.Millisecond, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.schedule()
	})
}

// refusedAtWork learns from a server that says in the middle of work that
// there are too many sessions.
func (p *Pool) refusedAtWork(err error) {
	r, ok := asReply(err)
	if !ok || !tooMany.MatchString(r.text) || r.code/100 == 5 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.capacity.refused(len(p.live)-1, true, time.Now()) {
		p.log.Info("the server takes no more sessions", "cap", p.capacity.learned, "reply", p.text(r))
	}
}

// endedIdle learns how long this server keeps an idle session, from one that
// it ended with a word (421), not from one that was lost.
func (p *Pool) endedIdle(s *session) {
	idle := time.Since(s.lastUsed)
	if words, _ := s.ctl.wire.unasked(); words && s.tls == nil && idle > keepAtLeast {
		p.learn(func(k *knowledge) { k.keep = max(keepAtLeast, min(k.keep, idle*4/5)) })
	}
}
