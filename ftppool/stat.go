package ftppool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Stat asks about one path: SIZE, MDTM and CWD, and MLST where the server has
// it, in one round trip where commands can be sent together. Size and time are
// exact where the server told them. Symlinks are followed. Without MLST,
// io/fs.ErrNotExist is only a hint: servers say it of forbidden files too.
func (p *Pool) Stat(ctx context.Context, want Want, path string) (listing.Entry, error) {
	if err := checkPath(path); err != nil {
		return listing.Entry{}, p.fail(opStat, path, err)
	}
	var e listing.Entry
	if k := p.known(); k.together() && !strings.Contains(path, iac) && !strings.ContainsAny(path, lineEnds) {
		want.ask = &question{commands: p.questions(k, path)}
	}
	ask := want.ask
	for {
		err := p.with(ctx, want, opStat, path, func(s *session) (err error) {
			e, err = s.stat(path)
			return err
		})
		if err != nil || ask == nil || ask.replies == nil {
			return e, err
		}
		if e, err = p.answer(path, ask.commands, ask.replies); err == nil || errors.Is(err, fs.ErrNotExist) {
			return e, p.fail(opStat, path, err)
		}
		// Any other refusal is looked into on a session of its own.
		want.ask, ask = nil, nil
	}
}

// questions are the commands that Stat sends together.
func (p *Pool) questions(k *knowledge, path string) []string {
	abs := k.abs(path)
	commands := []string{"SIZE " + abs, "MDTM " + abs, "CWD " + abs}
	if k.mlst && !k.noMLST {
		commands = append([]string{"MLST " + abs}, commands...)
	}
	return k.appeased(commands...)
}

// answer reads the replies to questions.
func (p *Pool) answer(name string, asked []string, replies []reply) (listing.Entry, error) {
	raw := rawName(name)
	if strings.HasPrefix(asked[0], "MLST ") {
		if e, known, err := p.told(raw, replies[0]); known {
			return e, err
		}
		replies = replies[1:]
	}
	return p.entry(raw, replies[0], replies[1], replies[2])
}

func rawName(name string) string {
	if name == "" {
		return ""
	}
	return path.Base(name)
}

// told reads the reply to MLST, which is enough for a directory. Of a file, or a
// link to one, MLST gives the length of the link itself on some servers, where
// SIZE gives that of the file.
func (p *Pool) told(raw string, mlst reply) (e listing.Entry, known bool, err error) {
	switch e, err = p.facts(raw, mlst); {
	case !mlst.ok() && !mlst.missing() && mlst.code != 501 && refusal(mlst) != ErrRefused:
		return listing.Entry{}, true, mlst.asError()
	case err == nil && e.Type == listing.Dir:
		return e, true, nil
	}
	return listing.Entry{}, false, nil
}

func (s *session) stat(name string) (listing.Entry, error) {
	p := s.pool
	k := p.known()
	if k.together() {
		return s.statTogether(k, name)
	}
	raw, abs := rawName(name), s.abs(name)
	if k.mlst && !k.noMLST {
		replies, err := s.exchange("MLST " + abs)
		if err != nil {
			return listing.Entry{}, err
		}
		if e, known, err := p.told(raw, replies[0]); known {
			return e, err
		}
	}
	size, err := s.ctl.exchange(false, "SIZE "+abs)
	if err != nil {
		return listing.Entry{}, err
	}
	second := "MDTM " + abs
	if !size[0].ok() {
		second = "CWD " + abs
	}
	r, err := s.ctl.exchange(false, k.appeased(second)...)
	if err != nil {
		return listing.Entry{}, err
	}
	no := reply{code: 550}
	if size[0].ok() {
		return p.entry(raw, size[0], r[0], no)
	}
	return p.entry(raw, size[0], no, r[0])
}

// statTogether asks all in one round trip, for others too. Its own answers come
// first, so what goes wrong after them is not its affair.
func (s *session) statTogether(k *knowledge, name string) (listing.Entry, error) {
	own := question{commands: s.pool.questions(k, name)}
	riders := s.carry(own.bytes())
	n := len(own.commands)
	replies, err := s.ctl.exchange(true, append(own.commands, asked(riders)...)...)
	deliver(riders, replies[min(n, len(replies)):], err)
	if err != nil && (len(replies) < n || errors.Is(err, ErrProtocol)) {
		return listing.Entry{}, err
	}
	return s.pool.answer(name, own.commands, replies[:n])
}

// facts reads the reply to MLST.
func (p *Pool) facts(raw string, r reply) (listing.Entry, error) {
	if !r.ok() {
		return listing.Entry{}, r.asError()
	}
	return p.parser(time.Now()).ParseMLST(r.text, raw)
}

// entry makes one of the replies to SIZE, MDTM and CWD.
func (p *Pool) entry(raw string, size, mdtm, cwd reply) (listing.Entry, error) {
	e := listing.Entry{Raw: raw, Name: p.parser(time.Time{}).Name(raw), MTime: listing.Anytime()}
	if mdtm.ok() {
		if t, err := listing.ParseMDTM(mdtm.text); err == nil {
			e.MTime = listing.Exactly(t)
		}
	}
	if cwd.ok() {
		e.Type = listing.Dir
		return e, nil
	}
	e.Type = listing.File
	if size.ok() {
		n, err := listing.ParseSize(size.text)
		if err != nil {
			return listing.Entry{}, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		e.Size = n
		return e, nil
	}
	if mdtm.ok() && size.missing() {
		e.Size = listing.SizeUnknown
		return e, nil
	}
	kind := refusal(size)
	switch {
	case kind == ErrUnsupported || kind == ErrIsDir:
		kind = refusal(cwd)
	case refusal(cwd) == fs.ErrPermission:
		kind = fs.ErrPermission
	}
	if kind == ErrRefused || kind == ErrNotDir {
		kind = fs.ErrNotExist
	}
	return listing.Entry{}, &replyError{kind, size}
}
