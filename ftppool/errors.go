package ftppool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/textproto"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Error is what every method of a Pool returns when it fails. Err is one of
// this package's sentinels or of io/fs, or an error of the network; errors.Is
// sees through. It never holds a password.
type Error struct {
	Op      string    // what was being done: "log in", "list", "look up", "open", "read"
	Path    string    // raw, relative to the mounted folder; "" when it concerns no file
	Server  string    // host:port
	Reply   string    // what the server answered, code and text; "" when it said nothing
	Advice  string    // what to do about it; may be ""
	RetryAt time.Time // when the server will be asked again, zero when at once
	Err     error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Path != "" {
		fmt.Fprintf(&b, " %q", printable(e.Path))
	}
	fmt.Fprintf(&b, ": %s: %v", e.Server, e.Err)
	if e.Reply != "" {
		fmt.Fprintf(&b, " (it said %q)", e.Reply)
	}
	if e.Advice != "" {
		b.WriteString("; ")
		b.WriteString(e.Advice)
	}
	return b.String()
}

// Unwrap returns the kind of failure.
func (e *Error) Unwrap() error { return e.Err }

// ErrRefused is a refusal whose text does not tell a missing file from a
// forbidden one, or that has to do with neither.
var ErrRefused = errors.New("the server refuses this")

// silentError is the failure of a peer that says nothing. It is a
// context.DeadlineExceeded.
type silentError struct{ limit time.Duration }

func (e *silentError) Error() string {
	return fmt.Sprintf("no word from the server for %v", e.limit.Round(time.Millisecond))
}
func (e *silentError) Is(target error) bool {
	return target == context.DeadlineExceeded || target == os.ErrDeadlineExceeded
}
func (e *silentError) Timeout() bool { return true }

// dataError is a failure of a data connection before a byte came over it.
type dataError struct{ err error }

func (e *dataError) Error() string { return "the data connection failed: " + e.err.Error() }
func (e *dataError) Unwrap() error { return e.err }

var (
	tooMany   = regexp.MustCompile(`(?i)too many|maximum|\blimit\b|exceed|already (logged|connected)|no more (connections|users|logins)|(server|system) (is )?(full|busy)|connections? (is|are) (full|in use)`)
	notThere  = regexp.MustCompile(`(?i)no such|not? (be )?found|(can ?not|can't|could ?n[o']t|unable to) find|(does not|doesn't|not) exist|unknown (file|dir)|no (file|dir)|find the (file|path)|not a valid path|invalid path`)
	forbidden = regexp.MustCompile(`(?i)permission|denied|not allowed|forbidden|prohibited|privilege|not authori[sz]ed|unauthori[sz]ed|access is|no access|not permitted`)
	wantsTLS  = regexp.MustCompile(`(?i)\b(TLS|SSL|encrypt(ion|ed)?)\b`)
	notADir   = regexp.MustCompile(`(?i)not a (valid )?(directory|folder|dir\b)|is not directory|directory name is invalid`)
	notPlain  = regexp.MustCompile(`(?i)not a (plain|regular) file|is a (directory|folder)|not (a )?plain|only retrieve regular`)
)

// isTooMany tells a refusal for the number of connections from other ones. A
// 421 while other sessions of ours live can hardly mean anything else.
func isTooMany(r reply, others int) bool {
	switch r.code {
	case 421:
		return others > 0 || tooMany.MatchString(r.text)
	case 530, 425, 426, 450, 451, 452, 550, 120, 10060:
		return tooMany.MatchString(r.text)
	}
	return false
}

// refusal is the sentinel for a negative reply to a command about a file.
func refusal(r reply) error {
	switch {
	case r.code == 421:
		if tooMany.MatchString(r.text) {
			return ErrTooMany
		}
		return io.ErrUnexpectedEOF
	case r.code == 530 || r.code == 532 || r.code == 332:
		return ErrLogin
	case r.code == 501 && notThere.MatchString(r.text):
		return fs.ErrNotExist // the parameter is what is wrong
	case r.code == 500 || r.code == 501 || r.code == 502 || r.code == 503 || r.code == 504:
		return ErrUnsupported
	case r.code < 400 || r.code > 599:
		return ErrProtocol
	case r.code/100 == 4 && tooMany.MatchString(r.text):
		return ErrTooMany
	case notADir.MatchString(r.text):
		return ErrNotDir
	case notPlain.MatchString(r.text):
		return ErrIsDir
	case notThere.MatchString(r.text):
		return fs.ErrNotExist
	case forbidden.MatchString(r.text):
		return fs.ErrPermission
	}
	return ErrRefused
}

// loginRefusal is the sentinel for a negative reply on the way to a session.
func loginRefusal(r reply) error {
	switch {
	case tooMany.MatchString(r.text):
		return ErrTooMany
	case r.code/100 == 5:
		return ErrLogin
	}
	return ErrRefused
}

// asReply returns the server's reply that an error of the library stands for.
func asReply(err error) (reply, bool) {
	var te *textproto.Error
	if errors.As(err, &te) {
		return reply{te.Code, te.Msg}, true
	}
	return reply{}, false
}

// refused reports whether err is a reply to a command, after which the session
// goes on, and not the end of the connection.
func refused(err error) bool {
	r, ok := asReply(err)
	return ok && r.code != 421
}

// isPassing reports whether a refusal is about the data connection of this one
// transfer, and may not happen again (RFC 959 section 4.2.2).
func isPassing(err error) bool {
	r, ok := asReply(err)
	return ok && (r.code == 425 || r.code == 426 || r.code == 451)
}

// fail turns whatever went wrong into an Error.
func (p *Pool) fail(op, path string, err error) error {
	var done *Error
	if err == nil || errors.As(err, &done) {
		return err
	}
	e := &Error{Op: op, Path: path, Server: p.cfg.addr(), Err: err}
	if r, ok := asReply(err); ok {
		e.Reply = p.text(r)
		e.Err = refusal(r)
	}
	var named *replyError
	if errors.As(err, &named) {
		e.Reply = p.text(named.reply)
		e.Err = named.kind
	}
	e.Advice = p.advice(e)
	return e
}

// replyError is a reply whose meaning is known from more than its text.
type replyError struct {
	kind  error
	reply reply
}

func (e *replyError) Error() string { return e.kind.Error() }
func (e *replyError) Unwrap() error { return e.kind }

// text is a reply in a form fit for people and logs.
func (p *Pool) text(r reply) string {
	s := fmt.Sprintf("%03d %s", r.code, strings.ReplaceAll(r.text, "\n", " / "))
	if p.cfg.Password != "" && p.cfg.User != "anonymous" {
		s = strings.ReplaceAll(s, p.cfg.Password, "***")
	}
	s = printable(p.charset.Decode(s, false))
	return s[:min(len(s), 400)]
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.ToValidUTF8(s, "?"))
}

const (
	opConnect = "connect"
	opLogin   = "log in"
	opFolder  = "open the folder"
	opList    = "list"
	opStat    = "look up"
	opOpen    = "open"
	opRead    = "read"
)

// checkPath refuses what can't be the path of a listed file. Nothing with a
// line end may reach a command.
func checkPath(path string) error {
	if path == "" {
		return nil
	}
	for name := range strings.SplitSeq(path, "/") {
		if listing.CheckName(name) != nil {
			return fs.ErrNotExist
		}
	}
	return nil
}

// dialError gives a failed dial the errors that callers look for.
func dialError(err error) error {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w (%w)", err, context.DeadlineExceeded)
	}
	return err
}
