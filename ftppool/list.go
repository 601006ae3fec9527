package ftppool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// List asks the server for a whole directory. An error never looks like an
// empty one: io/fs.ErrNotExist and ErrNotDir are only returned when the server
// was clear about it.
func (p *Pool) List(ctx context.Context, want Want, dir string) (*listing.Listing, error) {
	if err := checkPath(dir); err != nil {
		return nil, p.fail(opList, dir, err)
	}
	var l *listing.Listing
	err := p.with(ctx, want, opList, dir, func(s *session) error {
		t := p.newTransfer(want, dir, 0)
		if want.Class == ClassIdle {
			cut, done := s.cuttable()
			defer done()
			t.onCut = cut
			p.enter(t)
			defer p.leaveTransfer(t)
		}
		var err error
		l, err = s.list(dir)
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

var (
	globs = "*?[]{}\\~"
	// What a server says at the end of an empty listing that is none.
	notOpened = regexp.MustCompile(`(?i)(fail(ed|ure)?|could ?n[o']t|can ?n[o']t|can't|unable) (to )?(open|read|access|list)|permission denied|access (is )?denied`)
	// What a server says instead of an empty listing.
	nothingThere = regexp.MustCompile(`(?i)no (such )?files?( or directory)?|no entries|not found|empty|0 files|nothing`)
)

// saysEmpty reports whether a refusal to list a directory that could be entered
// only means that there is nothing in it.
func saysEmpty(r reply) bool {
	return !forbidden.MatchString(r.text) && (nothingThere.MatchString(r.text) || notThere.MatchString(r.text))
}

// list fetches a directory: with MLSD where the server has it, else with LIST.
func (s *session) list(dir string) (*listing.Listing, error) {
	p := s.pool
	k := p.known()
	if k.mlst && !k.noMLST {
		l, report, err := s.fetch("MLSD", dir, true)
		switch r, ok := asReply(err); {
		case ok && r.missing():
			p.log.Info("MLSD was promised but is refused; using LIST", "reply", p.text(r))
			p.learn(func(k *knowledge) { k.noMLST = true })
		case errors.Is(err, listing.ErrUnread):
			p.log.Debug("the answer to MLSD can't be understood; using LIST", "dir", dir, "err", err)
		case err != nil:
			return nil, err
		case report.Untyped > 0:
			p.log.Debug("MLSD does not tell files from directories; using LIST", "dir", dir)
		default:
			if l, err = s.resolveLinks(dir, l); err != nil {
				return nil, err
			}
			s.report(dir, "mlsd", l, report)
			return l, nil
		}
	}
	// Entering the directory first and then listing it without a path keeps
	// servers from taking the path for a pattern or an option, and tells a
	// missing directory from an empty one. It is free where commands can be
	// sent together; elsewhere only what is doubtful pays for it.
	enter := k.together() || dir == "" || strings.ContainsAny(dir, globs) || strings.Contains(dir, " ")
	l, report, err := s.fetch("LIST", dir, enter)
	if !enter && (err == nil && doubtful(dir, l) || err != nil && !isBroken(err) && s.inStep()) {
		l, report, err = s.fetch("LIST", dir, true)
	}
	if err != nil {
		return nil, err
	}
	if report.Style != listing.Facts {
		s.correctZone(dir, l)
	}
	s.report(dir, report.Style.String(), l, report)
	return l, nil
}

// doubtful reports whether a listing can be that of something that is not a
// directory that can be read: it is empty, or has the name asked for. That one
// may not be alone, since vsftpd adds the links that lead to it.
func doubtful(dir string, l *listing.Listing) bool {
	return len(l.Entries) == 0 || itself(dir, l) >= 0
}

func itself(dir string, l *listing.Listing) int {
	return slices.IndexFunc(l.Entries, func(e listing.Entry) bool { return e.Raw == path.Base(dir) })
}

// fetch runs one listing command and waits for its end.
func (s *session) fetch(verb, dir string, enter bool) (*listing.Listing, listing.Report, error) {
	l, report, err := s.fetchOnce(verb, dir, enter)
	if err == nil && report.Cut {
		// The last line has no end: cut off, or the server's habit.
		again, reportAgain, errAgain := s.fetchOnce(verb, dir, enter)
		if errAgain == nil && reportAgain.Cut && (len(again.Entries) != len(l.Entries) || reportAgain.Lines != report.Lines) {
			errAgain = fmt.Errorf("%w: the listing ends in the middle of a line", io.ErrUnexpectedEOF)
		}
		return again, reportAgain, errAgain
	}
	return l, report, err
}

func (s *session) fetchOnce(verb, dir string, enter bool) (*listing.Listing, listing.Report, error) {
	var l *listing.Listing
	var report listing.Report
	arg := ""
	if enter {
		if err := s.enter(dir); err != nil {
			return nil, report, err
		}
	} else {
		arg = s.abs(dir)
		if err := s.transferAhead(nil, 0); err != nil {
			return nil, report, err
		}
	}
	s.ctl.listVerb = verb
	s.listErr = nil
	parse := func(r io.Reader) (err error) {
		l, report, err = s.pool.parser(time.Now()).Parse(r)
		return err
	}
	err := s.transfer(func() error {
		s.listen = parse
		_, err := s.lib.List(arg)
		return err
	})
	s.listen = nil
	switch r, isReply := asReply(err); {
	case s.listErr != nil && (err == nil || isReply):
		return nil, report, s.listErr // why there is no listing, whatever the reply
	case isReply && l == nil && r.code == 226:
		l = &listing.Listing{} // no data connection for nothing
		if _, err := s.ctl.exchange(false, "NOOP"); err != nil {
			return nil, report, err // it was not about this
		}
		s.ctl.last = r
	case isReply && l == nil && enter && (r.code == 450 || r.code == 550) && saysEmpty(r):
		l = &listing.Listing{} // the directory is there, it was entered
	case isReply && l == nil && enter && r.code/100 == 5 && refusal(r) == ErrRefused:
		return nil, report, &replyError{fs.ErrPermission, r}
	case err != nil:
		return nil, report, err
	}
	if final := s.ctl.last; len(l.Entries) == 0 && notOpened.MatchString(final.text) {
		return nil, report, &replyError{fs.ErrPermission, final}
	}
	if len(l.Entries) == 0 && report.Foreign > 0 {
		if err := unread(report); err != nil {
			return nil, report, err
		}
	}
	return l, report, nil
}

// unread is what a listing without entries means of which lines could not be
// understood: the server says in it why there are none, or it is in a form that
// is not known.
func unread(r listing.Report) error {
	said := r.Samples[0].Line
	switch {
	case notOpened.MatchString(said):
		return fmt.Errorf("%w: the listing says %q", fs.ErrPermission, said)
	case r.Lines == 1 && nothingThere.MatchString(said):
		return nil
	}
	return fmt.Errorf("%w, such as %q", listing.ErrUnread, said)
}

// enter makes dir the current directory and, where possible, has the server
// open a port for a transfer by the way.
func (s *session) enter(dir string) error {
	cwd := "CWD " + s.abs(dir)
	if !s.pool.known().together() {
		replies, err := s.ctl.exchange(false, cwd)
		if err == nil && !replies[0].ok() {
			err = s.whyNotEntered(dir, replies[0])
		}
		return err
	}
	if err := s.transferAhead([]string{cwd}, 0); err != nil {
		return err
	}
	r, err := s.ctl.final()
	if err != nil {
		return err
	}
	if !r.ok() {
		if err := s.ctl.forget(); err != nil {
			return err
		}
		return s.whyNotEntered(dir, r)
	}
	return nil
}

// whyNotEntered finds out what a refused CWD means. Some servers have one text
// for all reasons; what they list for the path tells them apart: nothing when
// it is missing, itself when it can't be read.
func (s *session) whyNotEntered(dir string, r reply) error {
	if k := s.pool.known(); k.grudging() {
		if _, err := s.exchange("CWD " + k.base); err != nil {
			return err
		}
	}
	kind := refusal(r)
	if kind != ErrRefused || dir == "" || strings.ContainsAny(dir, globs) {
		return &replyError{kind, r}
	}
	l, _, err := s.fetchOnce("LIST", dir, false)
	var named *replyError
	switch reply, ok := asReply(err); {
	case ok:
		kind = refusal(reply)
	case errors.As(err, &named):
		kind = named.kind
	case err != nil:
		return err
	case len(l.Entries) == 0:
		kind = fs.ErrNotExist
	case itself(dir, l) >= 0 && l.Entries[itself(dir, l)].Type == listing.File:
		kind = ErrNotDir
	default:
		kind = fs.ErrPermission
	}
	return &replyError{kind, r}
}

// transfer runs a library call that makes a data connection, and goes over to
// PASV for good when the port that EPSV gave can't be reached.
func (s *session) transfer(start func() error) error {
	err := start()
	var data *dataError
	k := s.pool.known()
	if errors.As(err, &data) && !s.noEPSV && k.epsv && !k.epsvWorked && s.ctx.Err() == nil {
		s.pool.learn(func(k *knowledge) { k.epsv = false })
		s.pool.log.Info("the port given for EPSV can't be reached; trying PASV", "err", err)
		if err = start(); errors.As(err, &data) {
			s.pool.learn(func(k *knowledge) { k.epsv = true }) // neither can be
		}
		return err
	}
	if err == nil && !s.noEPSV && !k.epsvWorked {
		s.pool.learn(func(k *knowledge) { k.epsvWorked = true })
	}
	return err
}

// report remembers the style and logs what could not be read.
func (s *session) report(dir, style string, l *listing.Listing, r listing.Report) {
	if l.Unparsed > 0 {
		s.pool.log.Warn("lines of a listing could not be read", "dir", dir, "lines", l.Unparsed, "of", r.Lines, "such as", r.Samples)
	}
	if len(l.Entries) > 0 && s.pool.known().Listing != style {
		s.pool.learn(func(k *knowledge) { k.Listing = style })
	}
}
