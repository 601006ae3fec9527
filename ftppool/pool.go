// Package ftppool reads one FTP server through a bounded number of sessions.
//
// A session is one login on one control connection; the Pool owns them all and
// nobody else dials. A request (List, Stat, Open) acquires one, uses it alone
// and releases it; nobody acquires a second one while holding one. Requests
// wait in classes, and within a class users take turns; what waits in a higher
// class for half a second cuts a transfer of a lower one, which its owner
// continues later. A question about one name that waits need not get a session:
// it rides along with what another request sends (see ride.go).
//
// A session stays idle for a while after use. It is used again without asking
// whether it still works: when it does not, the request is silently done again
// on another, since everything here only reads.
//
// The server's word about how many sessions it takes is learned, as is
// everything else about it (see Profile).
package ftppool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// preemptAfter is how long a request waits before it cuts a lower one.
const preemptAfter = 500 * time.Millisecond

// Pool is the sessions of one server. All methods may be called from any
// goroutine.
type Pool struct {
	cfg     Config
	log     *slog.Logger
	charset listing.Charset
	limit   *limiter // nil: none

	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup // the pool's goroutines, and sessions somebody owns

	knowledge atomic.Pointer[knowledge]
	learning  sync.Mutex // makes changes of knowledge one after another

	// mu guards what follows. It is the last in the lock order; nothing that
	// waits, neither for the network nor for another lock, is done under it.
	mu        sync.Mutex
	closed    bool
	queue     queue
	fresh     []*waiter             // see waiter.fresh
	idle      []*session            // the one used last at the end
	live      map[*session]struct{} // idle or owned
	dialing   int
	opening   map[*session]struct{} // being made
	returning map[*session]struct{} // owned, but about to come back
	ending    int                   // discarded, but perhaps not yet in the server's eyes
	capacity  capacity
	backoff   backoff
	wake      *time.Timer // calls schedule when a pause is over
	transfers map[*transfer]struct{}
	lastCut   time.Time
	failures  []Failure
	failed    int64 // failures in all
	logins    int64
	lastFile  string     // opened last, of which the size is known
	lastSize  int64      // its size
	alone     bool       // the next login takes no questions along
	server    netip.Addr // where the last session went; see Config.Path
	out       string     // how a new one would have gone, at the last look

	proving       bool          // REST, in the background
	proof         chan struct{} // nil until that has a session; see underProof
	proveAfter    time.Time
	expected      int // requests, until a time; see Expect
	expectedUntil time.Time
}

// New returns a pool without a session. It does not dial.
func New(cfg Config) (*Pool, error) {
	cfg, charset, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	p := &Pool{
		cfg: cfg, log: cfg.Log.With("server", cfg.addr()), charset: charset,
		limit:     newLimiter(cfg.BandwidthLimit),
		live:      make(map[*session]struct{}),
		opening:   make(map[*session]struct{}),
		returning: make(map[*session]struct{}),
		transfers: make(map[*transfer]struct{}),
		capacity:  newCapacity(cfg.Connections),
	}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.knowledge.Store(newKnowledge(cfg.Profile))
	if cfg.Path != nil {
		p.out = p.wayOut(p.server)
	}
	return p, nil
}

// Connect proves that the host answers, the login works and the folder is
// there.
func (p *Pool) Connect(ctx context.Context) error {
	return p.with(ctx, Want{Class: ClassLookup}, opConnect, "", func(*session) error { return nil })
}

// Close ends all sessions and waits until nothing of the pool runs any more.
// Streams that are still open fail with ErrClosed.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.tasks.Wait()
		return nil
	}
	p.closed = true
	p.failWaiters(ErrClosed)
	idle := p.idle
	p.idle = nil
	var owned []*session
	for s := range p.live {
		owned = append(owned, s)
	}
	for _, s := range idle {
		p.tasks.Go(func() { p.quit(s) })
	}
	var cut []*transfer
	for t := range p.transfers {
		cut = append(cut, t)
	}
	if p.wake != nil {
		p.wake.Stop()
	}
	p.mu.Unlock()
	for _, t := range cut {
		t.cut(ErrClosed)
	}
	isIdle := make(map[*session]bool, len(idle))
	for _, s := range idle {
		isIdle[s] = true
	}
	for _, s := range owned {
		if !isIdle[s] {
			s.stop(ErrClosed)
		}
	}
	p.cancel(ErrClosed)
	p.tasks.Wait()
	return nil
}

// with runs a request on a session, and again on another when that session
// turns out not to work any more.
func (p *Pool) with(ctx context.Context, want Want, op, path string, f func(*session) error) error {
	if p.needsTelnet(path) {
		request := f
		f = func(s *session) error {
			if err := s.probeTelnet(); err != nil {
				return err
			}
			return request(s)
		}
	}
	fresh, alone := false, false
	for attempt := 1; ; attempt++ {
		s, err := p.acquire(ctx, want, fresh)
		switch {
		case err == errCarried:
			return nil
		case err == errDropped:
			want.ask = nil
			attempt-- // it was none
			continue
		case err != nil:
			return p.fail(op, path, err)
		}
		reused := s.used
		s.alone = alone
		lost, err := p.use(ctx, s, f)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return p.fail(op, path, context.Cause(ctx))
		}
		if p.ctx.Err() != nil {
			return p.fail(op, path, ErrClosed)
		}
		var silent *silentError
		again := errors.Is(err, ErrPreempted) || errors.Is(err, errRode) || // its owner would only ask again
			attempt < 3 && isPassing(err) ||
			isBroken(err) && (reused && lost || attempt < 3 && !errors.As(err, &silent) && (attempt < 2 || !errors.Is(err, ErrProtocol)))
		if !again || attempt >= 50 {
			err = p.fail(op, path, err)
			if isBroken(err) || errors.Is(err, ErrRefused) {
				p.note(err)
			}
			return err
		}
		fresh = isBroken(err)
		alone = alone || errors.Is(err, errRode)
		p.log.Debug("trying again on another session", "op", op, "err", err)
	}
}

// use runs f as the owner of s and gives s back, unless f passed it on. lost
// says that the session did not outlive f.
func (p *Pool) use(ctx context.Context, s *session, f func(*session) error) (lost bool, err error) {
	silence := p.cfg.silence()
	if s.used && time.Since(s.lastUsed) > reuseAfter {
		s.ctl.wire.setSilence(min(reuseSilence, silence))
		s.ctl.later = silence
	}
	s.used = true
	owed := s.ctl.owed
	s.ctl.doubled = p.known().telnet == telnetObeyed
	release := s.guard(ctx)
	err = f(s)
	release()
	if errors.Is(err, errPassedOn) {
		return false, nil
	}
	p.refusedAtWork(err)
	if owed {
		s.blameOwing(err)
	}
	lost = !s.inStep()
	p.release(s)
	return lost, err
}

// errPassedOn says that the session has a new owner.
var errPassedOn = errors.New("session passed on")

// acquire waits for a session; the caller owns it and must release it.
func (p *Pool) acquire(ctx context.Context, want Want, fresh bool) (*session, error) {
	for {
		s, err := p.wait(ctx, want, fresh)
		if err != nil {
			return nil, err
		}
		if s.alive() {
			return s, nil
		}
		p.log.Debug("an idle session had ended", "idle", time.Since(s.lastUsed).Round(time.Second))
		p.endedIdle(s)
		s.stop(io.ErrUnexpectedEOF)
		p.release(s)
	}
}

func (p *Pool) wait(ctx context.Context, want Want, fresh bool) (*session, error) {
	w := &waiter{want: want, ready: make(chan grant, 1), fresh: fresh}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return nil, ErrClosed
	case p.cfg.Offline:
		p.mu.Unlock()
		return nil, ErrOffline
	case p.inBackoff(time.Now()):
		err := p.backoffError()
		p.mu.Unlock()
		return nil, err
	}
	if fresh {
		p.fresh = append(p.fresh, w)
	} else {
		p.queue.push(w)
	}
	p.schedule()
	p.mu.Unlock()
	patience := time.NewTimer(preemptAfter)
	defer patience.Stop()
	start := time.Now()
	for {
		select {
		case g := <-w.ready:
			return g.session, g.err
		case <-patience.C:
			p.preempt(w, time.Since(start))
			patience.Reset(preemptAfter)
		case <-ctx.Done():
			if p.leave(w) {
				return nil, p.waitedInVain(ctx)
			}
			if p.isCarried(w) {
				return nil, context.Cause(ctx) // there is no session to give back
			}
			if g := <-w.ready; g.session != nil {
				p.release(g.session)
			}
			return nil, context.Cause(ctx)
		}
	}
}

// leave takes w out of the queue; false means that it was served already.
func (p *Pool) leave(w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.fresh {
		if other == w {
			p.fresh = append(p.fresh[:i:i], p.fresh[i+1:]...)
			return true
		}
	}
	return p.queue.remove(w)
}

func (p *Pool) isCarried(w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.carried
}

// waitedInVain says why no session came in time.
func (p *Pool) waitedInVain(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := context.Cause(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if p.backoff.err != nil {
		return fmt.Errorf("no session in time, the last attempt failed: %w (%w)", p.backoff.err, err)
	}
	return fmt.Errorf("all %d sessions were busy: %w", len(p.live), err)
}

// release gives a session back: to the next in the queue, or away.
func (p *Pool) release(s *session) {
	s.lastUsed = time.Now()
	good := s.inStep()
	if good {
		s.ctl.wire.setSilence(p.cfg.silence())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.late != nil {
		s.late.Stop()
		delete(p.returning, s)
	}
	if good && !p.closed {
		p.park(s)
	} else {
		p.discard(s)
	}
	p.schedule()
	p.tasks.Done()
}

// wanting reports whether a request waits for a session.
func (p *Pool) wanting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.waiting > 0
}

// Idle is the number of sessions that a new transfer could take with nobody
// waiting for them: idle ones, and ones not begun that the server would take.
func (p *Pool) Idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idleNow()
}

// idleNow is Idle for callers that hold p.mu.
func (p *Pool) idleNow() int {
	if p.closed || p.cfg.Offline {
		return 0
	}
	now := time.Now()
	n := len(p.idle) + p.dialing
	if !now.Before(p.backoff.until) {
		n += p.capacity.learned - len(p.live) - p.dialing - p.ending
	}
	return max(0, n-p.queue.waiting-len(p.fresh))
}
