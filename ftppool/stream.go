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
	var opened *stream
	err := p.with(ctx, want, opOpen, path, func(s *session) (err error) {
		if want.Begun != nil {
			want.Begun()
		}
		opened, err = s.openStream(ctx, want, path, offset)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !p.enter(opened.transfer) {
		opened.end(ErrClosed)
	}
	if opened.unproven == 0 {
		return opened, nil
	}
	switch err := opened.proveItself(ctx); err {
	case nil:
		return opened, nil
	case errNoProof:
		if err := p.ProveRestart(ctx, path); err != nil {
			return nil, err
		}
		return p.Open(ctx, want, path, offset)
	default:
		return nil, p.fail(opOpen, path, err)
	}
}

// openStream passes the session on to a stream.
//
// An offset above 0 is one to rely on only where REST is proven. Where it is
// not, what is left of the file proves it if it is little, and is held back until
// it has; else a transfer of the last byte does, before, or meanwhile by another
// session.
func (s *session) openStream(ctx context.Context, want Want, path string, offset int64) (*stream, error) {
	p := s.pool
	s.small = want.Limit > 0 && want.Limit <= smallLimit && p.known().trip < nearby
	defer func() { s.small = false }()
	unproven := offset > 0 && p.known().Restart == RestartUnknown
	var proof <-chan struct{}
	if unproven {
		proof = p.underProof()
	}
	if unproven && proof == nil && !want.Check {
		if err := s.proveRestart(path); err != nil {
			return nil, err
		}
	}
	var now facts
	var err error
	if want.Check {
		now, err = s.factsAhead(path, offset)
	} else {
		err = s.transferAhead(nil, offset)
	}
	if err != nil {
		return nil, err
	}
	if now.told {
		p.mu.Lock()
		p.lastFile, p.lastSize = path, now.entry.Size
		p.mu.Unlock()
	}
	left := now.entry.Size - offset
	if unproven && proof == nil && now.told && left > proofLimit {
		if err := s.proveWith(path, now.entry.Size); err != nil {
			return nil, err
		}
		if err := s.transferAhead(nil, offset); err != nil {
			return nil, err
		}
		unproven = false
	}
	resp, err := s.retrieve(path, offset)
	if err != nil {
		return nil, err
	}
	if proof != nil && (!now.told || left > proofLimit) {
		switch err := s.awaitProof(ctx, proof); err {
		case nil:
			unproven = false
		case errNoProof:
			return s.openStream(ctx, want, path, offset)
		default:
			return nil, err
		}
	}
	opened := p.newStream(s, resp, want, path, offset)
	opened.facts = now
	if unproven && now.told {
		opened.unproven = max(left, 0)
	}
	return opened, errPassedOn
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
		own := question{commands: questions}
		riders := s.carry(own.bytes())
		all := append(asked(riders), questions...)
		theirs := len(all) - len(questions)
		err := s.transferAhead(all, offset)
		for err == nil && len(replies) < len(all) {
			var r reply
			if r, err = s.ctl.final(); err == nil {
				replies = append(replies, r)
			}
		}
		deliver(riders, replies[:min(theirs, len(replies))], err)
		var silent *silentError
		if len(replies) < theirs && errors.As(err, &silent) {
			err = fmt.Errorf("%w: %w", errRode, err)
		}
		if err != nil {
			return facts{}, err
		}
		replies = replies[theirs:]
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
	case strings.HasPrefix(s.ctl.command, "REST") && r.code/100 == 5:
		s.pool.settleRestart(RestartRefused)
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

// endTransfer closes the data connection and waits for the reply, so that the
// session can go on; clean says that all data had come. If the session can't go
// on, it is out of step afterwards.
func (s *session) endTransfer(clean bool) {
	wait := endWait
	if !clean {
		wait = cutWait
	}
	silence := s.pool.cfg.silence()
	s.ctl.wire.setSilence(min(wait, silence))
	defer s.ctl.wire.setSilence(silence)
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
	plain   *wire // what resp reads, nil when it has to decrypt it
	facts   facts

	unproven int64  // see proveItself
	held     []byte // that came before the first Read

	mu  sync.Mutex // guards err
	err error      // why it ended, nil while it runs
}

func (p *Pool) newStream(s *session, resp *ftp.Response, want Want, path string, offset int64) *stream {
	t := &stream{transfer: p.newTransfer(want, path, offset), session: s, resp: resp, plain: s.plainData()}
	t.transfer.stream = true
	t.transfer.onCut = t.end
	return t
}

// Read reads what comes next. See Stream.
func (t *stream) Read(b []byte) (int, error) {
	if len(t.held) > 0 {
		n := copy(b, t.held)
		t.held = t.held[n:]
		return n, nil
	}
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
	if why != io.EOF && why != ErrClosed && !errors.Is(why, ErrPreempted) {
		t.err = p.fail(opRead, t.path, why)
	}
	t.mu.Unlock()
	p.leaveTransfer(t.transfer)
	if why != io.EOF {
		t.session.stopData(why)
	}
	if why == io.EOF && t.session.owe() {
		p.release(t.session)
		return
	}
	p.returningSoon(t.session)
	// The session still has an owner, which keeps p.tasks from being done.
	go func() {
		t.session.endTransfer(why == io.EOF)
		p.release(t.session)
	}()
}
