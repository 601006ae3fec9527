package ftppool

import (
	"context"
	"fmt"
	"io/fs"
	"path"
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
	err := p.with(ctx, want, opStat, path, func(s *session) (err error) {
		e, err = s.stat(path)
		return err
	})
	return e, err
}

func (s *session) stat(name string) (listing.Entry, error) {
	p := s.pool
	k := p.known()
	raw := path.Base(name)
	if name == "" {
		raw = ""
	}
	abs := s.abs(name)
	if k.mlst && !k.noMLST {
		commands := []string{"MLST " + abs}
		if k.together() {
			commands = append(commands, "SIZE "+abs, "MDTM "+abs, "CWD "+abs)
		}
		replies, err := s.exchange(commands...)
		if err != nil {
			return listing.Entry{}, err
		}
		mlst := replies[0]
		switch e, err := p.facts(raw, mlst); {
		case !mlst.ok() && !mlst.missing() && refusal(mlst) != ErrRefused:
			return listing.Entry{}, mlst.asError()
		case err == nil && e.Type == listing.Dir:
			return e, nil
		case k.together():
			return p.entry(raw, replies[1], replies[2], replies[3])
		}
		// It is a file, or a link to one: MLST gives the length of the link
		// itself on some servers, SIZE that of the file.
	} else if k.together() {
		replies, err := s.exchange("SIZE "+abs, "MDTM "+abs, "CWD "+abs)
		if err != nil {
			return listing.Entry{}, err
		}
		return p.entry(raw, replies[0], replies[1], replies[2])
	}
	size, err := s.ctl.exchange(false, "SIZE "+abs)
	if err != nil {
		return listing.Entry{}, err
	}
	second := "MDTM " + abs
	if !size[0].ok() {
		second = "CWD " + abs
	}
	r, err := s.ctl.exchange(false, second)
	if err != nil {
		return listing.Entry{}, err
	}
	no := reply{code: 550}
	if size[0].ok() {
		return p.entry(raw, size[0], r[0], no)
	}
	return p.entry(raw, size[0], no, r[0])
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
