package ftppool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	stdpath "path"
	"strings"
	"sync"
	"time"

	"github.com/jlaffaye/ftp"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

const (
	cutWait = 2 * time.Second // for the reply after a transfer was cut
	endWait = 5 * time.Second // for the reply after all data has come
)

// Open begins to read a file at an offset. ctx governs the call, not the
// stream. With an offset above 0 on a server whose REST is not proven yet, it
// is put to the proof first; ErrNoRestart says that it can't be used.
func (p *Pool) Open(ctx context.Context, want Want, path string, offset int64) (Stream, error) {
	if err := checkPath(path); err != nil || path == "" {
		if err == nil {
			err = ErrIsDir
		}
		return nil, p.fail(opOpen, path, err)
	}
	if offset < 0 || offset > 0 && p.known().Restart == RestartRefused {
		return nil, p.fail(opOpen, path, ErrNoRestart)
	}
	p.mu.Lock()
	p.lastFile = path
	p.mu.Unlock()
	var opened *stream
	err := p.with(ctx, want, opOpen, path, func(s *session) error {
		if offset > 0 && p.known().Restart == RestartUnknown {
			if err := s.proveRestart(path); err != nil {
				return err
			}
		}
		s.small = want.Limit > 0 && want.Limit <= smallLimit && p.known().trip < nearby
		defer func() { s.small = false }()
		var now facts
		if want.Check {
			var err error
			if now, err = s.factsAhead(path, offset); err != nil {
				return err
			}
		} else if err := s.transferAhead(nil, offset); err != nil {
			return err
		}
		resp, err := s.retrieve(path, offset)
		if err != nil {
			return err
		}
		opened = p.newStream(s, resp, want, path, offset)
		opened.facts = now
		return errPassedOn
	})
	if err != nil {
		return nil, err
	}
	if !p.enter(opened.transfer) {
		opened.end(ErrClosed)
	}
	return opened, nil
}

// facts are the size and time of a file as the server told them just before a
// transfer.
type facts struct {
	entry listing.Entry
	told  bool
}

// factsAhead asks for the facts of a file along with what begins its transfer.
func (s *session) factsAhead(path string, offset int64) (facts, error) {
	questions := []string{"SIZE " + s.abs(path), "MDTM " + s.abs(path)}
	var replies []reply
	if s.pool.known().together() {
		if err := s.transferAhead(questions, offset); err != nil {
			return facts{}, err
		}
		for range questions {
			r, err := s.ctl.final()
			if err != nil {
				return facts{}, err
			}
			replies = append(replies, r)
		}
	} else {
		var err error
		if replies, err = s.ctl.exchange(false, questions...); err != nil {
			return facts{}, err
		}
	}
	if !replies[0].ok() {
		return facts{}, nil // RETR will tell why
	}
	e, err := s.pool.entry(stdpath.Base(path), replies[0], replies[1], reply{code: 550})
	return facts{e, err == nil}, nil
}

// retrieve starts a transfer.
func (s *session) retrieve(path string, offset int64) (*ftp.Response, error) {
	var resp *ftp.Response
	err := s.transfer(func() (err error) {
		resp, err = s.lib.RetrFrom(s.abs(path), uint64(offset))
		return err
	})
	if err == nil {
		return resp, nil
	}
	r, ok := asReply(err)
	switch {
	case !ok:
		return nil, err
	case strings.HasPrefix(s.ctl.command, "REST"):
		s.pool.learn(func(k *knowledge) { k.Restart = RestartRefused })
		return nil, &replyError{ErrNoRestart, r}
	case strings.HasPrefix(s.ctl.command, "RETR") && r.code/100 == 5 && refusal(r) == ErrRefused:
		return nil, s.whyNotRead(path, r)
	}
	return nil, err
}

// whyNotRead finds out what a refused RETR means: a file that has a size is
// there, so it may not be read; what can be entered is a directory.
func (s *session) whyNotRead(path string, r reply) error {
	abs := s.abs(path)
	replies, err := s.exchange("SIZE "+abs, "CWD "+abs)
	switch {
	case err != nil:
		return err
	case replies[1].ok():
		return &replyError{ErrIsDir, r}
	case replies[0].ok():
		return &replyError{fs.ErrPermission, r}
	case refusal(replies[0]) == ErrUnsupported:
		return &replyError{ErrRefused, r}
	}
	return &replyError{fs.ErrNotExist, r}
}

// proveRestart reads the last byte of a file: exactly one must come. A server
// that accepts REST and begins at the front anyway would otherwise have its
// bytes put in the wrong place.
func (s *session) proveRestart(path string) error {
	replies, err := s.ctl.exchange(false, "SIZE "+s.abs(path))
	if err != nil {
		return err
	}
	size, err := listing.ParseSize(replies[0].text)
	if !replies[0].ok() || err != nil || size < 2 {
		return nil // nothing to prove it with; the caller compares what it gets
	}
	if err := s.transferAhead(nil, size-1); err != nil {
		return err
	}
	resp, err := s.retrieve(path, size-1)
	if err != nil {
		return err
	}
	var two [2]byte
	n, err := io.ReadFull(resp, two[:])
	cut := !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF
	s.endTransfer(!cut)
	switch {
	case n == 1 && !cut:
		s.pool.learn(func(k *knowledge) { k.Restart = RestartProven })
		return nil
	case n == 2:
		s.pool.learn(func(k *knowledge) { k.Restart = RestartRefused })
		return ErrNoRestart
	case cut:
		return err
	}
	return fmt.Errorf("%w: no byte came after REST", io.ErrUnexpectedEOF)
}

// proveRestartSoon proves REST in the background, with the file opened last.
func (p *Pool) proveRestartSoon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proving || p.closed || p.lastFile == "" {
		return
	}
	p.proving = true
	path := p.lastFile
	p.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, p.cfg.Timeout)
		defer cancel()
		err := p.with(ctx, Want{Class: ClassReadAhead}, opOpen, path, func(s *session) error { return s.proveRestart(path) })
		if err != nil {
			p.log.Debug("REST is not proven", "err", err)
		}
		p.mu.Lock()
		p.proving = false
		p.mu.Unlock()
	})
}

// endTransfer closes the data connection and waits for the reply, so that the
// session can go on; clean says that all data had come. If the session can't go
// on, it is out of step afterwards.
func (s *session) endTransfer(clean bool) {
	wait := endWait
	if !clean {
		wait = cutWait
	}
	s.ctl.wire.setSilence(min(wait, s.pool.cfg.silence()))
	stopped := make(chan struct{})
	late := time.AfterFunc(wait, func() {
		defer close(stopped)
		s.stop(&silentError{wait})
	})
	defer func() {
		if !late.Stop() {
			<-stopped // before the session can have another owner
		}
	}()
	s.closeData()
	r, err := s.ctl.read()
	for err == nil && clean && r.code < 200 {
		r, err = s.ctl.read()
	}
	if err != nil || s.ctl.closing || clean && r.ok() {
		return
	}
	// After a cut, what comes is 426, 451, 226 or, from pure-ftpd, 150; and some
	// say two of them. NOOP's 200 is the end of it. Sending NOOP at once would
	// save a round trip, but pure-ftpd swallows what comes during a transfer.
	s.ctl.sent = nil
	if err := s.ctl.send("NOOP"); err != nil {
		return
	}
	for range 3 {
		s.ctl.sent = []string{""}
		r, err := s.ctl.read()
		if err != nil || s.ctl.closing || r.code == 200 {
			return
		}
		if r.code >= 200 && r.code != 226 && r.code != 225 && r.code != 426 && r.code != 451 {
			break
		}
	}
	s.stop(ErrProtocol)
}

// stream is a Stream.
type stream struct {
	*transfer
	session *session
	resp    *ftp.Response
	facts   facts

	mu  sync.Mutex // guards err
	err error      // why it ended, nil while it runs
}

func (p *Pool) newStream(s *session, resp *ftp.Response, want Want, path string, offset int64) *stream {
	t := &stream{transfer: p.newTransfer(want, path, offset), session: s, resp: resp}
	t.transfer.stream = true
	t.transfer.onCut = t.end
	return t
}

// Read reads what comes next. See Stream.
func (t *stream) Read(b []byte) (int, error) {
	if err := t.ended(); err != nil {
		return 0, err
	}
	n, err := t.resp.Read(b)
	t.bytes.Add(int64(n))
	if err != nil {
		t.end(err)
		err = t.ended()
	}
	return n, err
}

// Entry is what the server told of the file just before the transfer began.
func (t *stream) Entry() (listing.Entry, bool) { return t.facts.entry, t.facts.told }

// Close ends the transfer. It may be called from any goroutine, and makes a
// Read that is under way return ErrClosed.
func (t *stream) Close() error {
	t.end(ErrClosed)
	if err := t.ended(); err != ErrClosed && err != io.EOF {
		return err
	}
	return nil
}

func (t *stream) ended() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// end is done once, by whoever is first: the data, the owner, or the pool. The
// session finds back into step in the background.
func (t *stream) end(why error) {
	p := t.pool
	t.mu.Lock()
	if t.err != nil {
		t.mu.Unlock()
		return
	}
	t.err = why
	if why != io.EOF && why != ErrPreempted && why != ErrClosed {
		t.err = p.fail(opRead, t.path, why)
	}
	t.mu.Unlock()
	p.leaveTransfer(t.transfer)
	if why != io.EOF {
		t.session.stopData(why)
	}
	p.returningSoon(t.session)
	// The session still has an owner, which keeps p.tasks from being done.
	go func() {
		t.session.endTransfer(why == io.EOF)
		p.release(t.session)
	}()
}
