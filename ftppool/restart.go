package ftppool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// This file finds out whether the server's REST can be relied on (RFC 3659
// section 5). One that accepts it and begins at the front anyway would have its
// bytes put in the wrong place.

// ProveRestart puts the server's REST to the proof with a file, and waits for
// what comes of it; Profile tells. Of a file without a size or of less than two
// bytes nothing is learned.
func (p *Pool) ProveRestart(ctx context.Context, path string) error {
	return p.with(ctx, Want{Class: ClassReadAhead}, opOpen, path, func(s *session) error { return s.proveRestart(path) })
}

// proveRestart reads the last byte of a file: exactly one must come.
func (s *session) proveRestart(path string) error {
	question := "SIZE " + s.abs(path)
	var err error
	was := s.pool.sizeOfLast(path)
	if was < 2 {
		err = s.ctl.send(question)
	} else { // likely still right, which saves a round trip
		err = s.transferAhead([]string{question}, was-1)
	}
	if err != nil {
		return err
	}
	r, err := s.ctl.final()
	if err != nil {
		return err
	}
	size, err := listing.ParseSize(r.text)
	if !r.ok() || err != nil || size < 2 {
		return s.ctl.forget() // nothing to prove it with; the caller compares what it gets
	}
	if was < 2 {
		if err := s.transferAhead(nil, size-1); err != nil {
			return err
		}
	}
	return s.proveWith(path, size)
}

// sizeOfLast is what the server told of the file opened last, 0 of others.
func (p *Pool) sizeOfLast(path string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if path != p.lastFile {
		return 0
	}
	return p.lastSize
}

// proveWith is proveRestart with a file of a known size of at least two bytes.
// When the file has grown since, the size is asked again, a few times.
func (s *session) proveWith(path string, size int64) error {
	for tries := 1; ; tries++ {
		if err := s.readLast(path, size); err != errNoProof || tries == 3 {
			return err
		}
		if err := s.ctl.send("SIZE " + s.abs(path)); err != nil {
			return err
		}
		r, err := s.ctl.final()
		if err != nil {
			return err
		}
		if size, err = listing.ParseSize(r.text); !r.ok() || err != nil || size < 2 {
			return errNoProof
		}
		if err := s.transferAhead(nil, size-1); err != nil {
			return err
		}
	}
}

// readLast is one try of proveWith; errNoProof says that more than the last byte
// came, but not the whole file.
func (s *session) readLast(path string, size int64) error {
	resp, err := s.retrieve(path, size-1)
	if err != nil {
		return err
	}
	got := make([]byte, min(size, 64<<10))
	n, err := io.ReadFull(resp, got)
	cut := !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF
	switch { // others wait for this, not for the reply
	case n == 1 && !cut:
		s.pool.settleRestart(RestartProven)
	case n == len(got):
		s.pool.settleRestart(RestartRefused)
	}
	s.endTransfer(!cut)
	switch {
	case n == 1 && !cut:
		return nil
	case n == len(got):
		return ErrNoRestart
	case cut:
		return err
	case n > 1:
		return errNoProof
	}
	return fmt.Errorf("%w: no byte came after REST", io.ErrUnexpectedEOF)
}

// proveAgain is the least time between two proofs in the background: one that
// told nothing may do so again.
const proveAgain = 10 * time.Second

// proveRestartSoon proves REST in the background.
func (p *Pool) proveRestartSoon(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proving || p.closed || time.Now().Before(p.proveAfter) {
		return
	}
	p.proving = true
	p.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, p.cfg.Timeout)
		defer cancel()
		err := p.with(ctx, Want{Class: ClassReadAhead}, opOpen, path, func(s *session) error {
			p.mu.Lock()
			p.proof = make(chan struct{})
			p.mu.Unlock()
			defer p.proofOver()
			return s.proveRestart(path)
		})
		if err != nil {
			p.log.Debug("REST is not proven", "err", err)
		}
		p.mu.Lock()
		p.proving, p.proveAfter = false, time.Now().Add(proveAgain)
		p.mu.Unlock()
	})
}

// underProof returns what is closed when the proof that is under way is over,
// nil when none is that has its session.
func (p *Pool) underProof() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proof
}

// settleRestart keeps what was found out about REST, and lets go on who waits.
func (p *Pool) settleRestart(r Restart) {
	p.learn(func(k *knowledge) { k.Restart = r })
	p.proofOver()
}

// proofOver lets go on who waits for the proof in the background.
func (p *Pool) proofOver() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proof != nil {
		close(p.proof)
		p.proof = nil
	}
}

// awaitProof waits for the proof under way, while the first bytes of a transfer
// from within a file are on their way; nobody is given one of them before. When
// it can't be relied on that they are the right ones, the transfer has ended.
func (s *session) awaitProof(ctx context.Context, proof <-chan struct{}) error {
	select {
	case <-proof:
	case <-ctx.Done(): // which also closes the session
		return context.Cause(ctx)
	case <-s.pool.ctx.Done():
		return ErrClosed
	}
	switch s.pool.known().Restart {
	case RestartProven:
		return nil
	case RestartRefused:
		s.endTransfer(false)
		return ErrNoRestart
	}
	s.endTransfer(false)
	return errNoProof
}

// proofLimit is how much at a file's end may be its own proof.
const proofLimit = 1 << 20

// errNoProof says that nothing was learned: more bytes came than were left, from
// the front or because the file has grown, or a proof was waited for in vain.
var errNoProof = errors.New("the transfer proves nothing of REST")

// proveItself reads a transfer to its end, before anybody is given a byte of it:
// it is from where it was to begin if exactly as many bytes come as are left of
// the file from there. That saves a script that looks at a file's end first the
// round trips of a proof of its own. On failure the transfer has ended.
func (t *stream) proveItself(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { t.end(context.Cause(ctx)) })
	defer stop()
	held := make([]byte, t.unproven+1)
	n, err := io.ReadFull(t, held)
	if err == nil {
		t.end(ErrClosed)
		return errNoProof
	}
	if end := t.ended(); end != io.EOF {
		return end
	}
	if int64(n) < t.unproven {
		return fmt.Errorf("%w: %d of %d bytes came after REST", io.ErrUnexpectedEOF, n, t.unproven)
	}
	t.pool.settleRestart(RestartProven)
	t.held = held[:n]
	return nil
}
