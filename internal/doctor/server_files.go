package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// What is asked of a server is bounded: that many folders are listed to find a
// file, and that much of it is read.
const (
	mostListings = 8
	mostBytes    = 4 << 20
	mostTime     = 5 * time.Second
	enoughBytes  = 256 << 10 // from which on a rate means something
)

// sample is the file that is read.
type sample struct {
	path string // raw
	name string // as shown
	size int64
}

// better reports whether e is a better sample: one that is read to its end, which
// leaves the session in order, and large enough to tell the rate.
func (s sample) better(e listing.Entry) bool {
	fits := func(n int64) int64 {
		if n <= mostBytes {
			return n
		}
		return enoughBytes - 1 // after all that fit and are large enough
	}
	return e.Type == listing.File && e.Size > 1 && (s.path == "" || fits(e.Size) > fits(s.size))
}

// list goes down from the folder until there is a file that can be a sample.
func (s *Server) list(ctx context.Context) {
	type folder struct{ path, name string }
	open := []folder{{}}
	listings, entries, unparsed, foreign := 0, 0, 0, 0
	for len(open) > 0 && listings < mostListings && s.sample.size < enoughBytes {
		dir := open[len(open)-1]
		open = open[:len(open)-1]
		step, cancel := s.limited(ctx)
		l, err := s.Pool.List(step, ftppool.Want{Class: ftppool.ClassLookup}, dir.path)
		cancel()
		listings++
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && dir.path != "" && passedOver(err):
			continue
		case err != nil:
			s.problem("listing", err)
			return
		}
		entries, unparsed = entries+len(l.Entries), unparsed+l.Unparsed
		for i := len(l.Entries) - 1; i >= 0; i-- { // so that the first is the next
			e := l.Entries[i]
			if !ascii(e.Raw) {
				foreign++
			}
			path, name := listing.Join(dir.path, e.Raw), listing.Join(dir.name, e.Name)
			if e.Type == listing.Dir {
				open = append(open, folder{path, name})
			}
			if s.sample.better(e) {
				s.sample = sample{path, name, e.Size}
			}
		}
	}
	s.Facts.Listing = s.Pool.Profile().Listing
	s.tellListing(listings, entries, unparsed)
	s.tellNames(foreign)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func (s *Server) tellListing(listings, entries, unparsed int) {
	count := fmt.Sprintf("%d entries in %d folders", entries, listings)
	if listings == 1 {
		count = fmt.Sprintf("%d entries", entries)
	}
	p := s.Pool.Profile()
	style := map[string]string{"mlsd": "MLSD", "unix": "LIST, in the form of Unix", "dos": "LIST, in the form of Windows"}[p.Listing]
	if style == "" {
		style = "LIST, in the form " + p.Listing
	}
	switch {
	case entries == 0:
		s.note("listing", "there is nothing in the folder", "The mount would be empty. Some servers show nothing to those who may not look.",
			"See whether the URL names the right folder, and the login is the right one.")
	case unparsed > 0:
		s.note("listing", fmt.Sprintf("%s; %s, and %d lines that can't be read", style, count, unparsed),
			"What these lines stand for does not appear in the mount.", "Report them: they are in the log of a mount with -v.")
	default:
		s.ok("listing", "%s; %s", style, count)
	}
	if p.NoMLSD {
		s.ok("listing", "MLSD is promised but refused, so LIST is used")
	}
}

func (s *Server) tellNames(foreign int) {
	p := s.Pool.Profile()
	text := "as bytes that are not declared UTF-8"
	if p.UTF8 {
		text = "UTF-8"
	}
	if p.IgnoreCase {
		text += ", the same in upper and lower case"
	}
	if foreign > 0 && !p.UTF8 {
		s.note("names", text, fmt.Sprintf("%d of those seen are not ASCII. They are read as UTF-8 where they can be, else as windows-1252.", foreign),
			"If they look wrong, name their encoding with --charset.")
		return
	}
	s.ok("names", "%s", text)
}

// read reads the sample, or its beginning, and learns what the server tells of
// it by the way.
func (s *Server) read(ctx context.Context) {
	if s.sample.path == "" {
		s.note("files", "none was found to try", "Whether SIZE, MDTM and REST work, and how fast transfers are, is not known.", "")
		return
	}
	step, cancel := s.limited(ctx)
	defer cancel()
	name := shorten(s.sample.name, 50)
	stream, err := s.Pool.Open(step, ftppool.Want{Class: ftppool.ClassRead, Check: true}, s.sample.path, 0)
	if err == nil {
		defer stream.Close()
	}
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && passedOver(err):
		s.note("files", fmt.Sprintf("%s can't be read: %v", name, reason(err)), "Others may be readable.", "")
		s.sample.path = ""
		return
	case err != nil:
		s.problem("files", err)
		return
	}
	s.askedOf(stream)
	start := time.Now()
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() })
	defer stop()
	n, err := readSome(stream)
	took := time.Since(start)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		s.problem("files", err)
		return
	}
	s.Facts.Sample, s.Facts.SampleBytes = s.sample.name, n
	if n < enoughBytes {
		s.ok("rate", "not measured: no file of %s was found", showBytes(enoughBytes))
		return
	}
	s.Facts.Rate = float64(n) / max(took.Seconds(), 1e-6)
	s.ok("rate", "%s/s on one session (%s of %s in %s)", showBytes(int64(s.Facts.Rate)), showBytes(n), name, showTime(took))
}

// reason is an error without the words that a finding has already.
func reason(err error) error {
	var e *ftppool.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

func readSome(r io.Reader) (int64, error) {
	buf := make([]byte, 64<<10)
	var n int64
	for start := time.Now(); n < mostBytes && time.Since(start) < mostTime; {
		k, err := r.Read(buf[:min(int64(len(buf)), mostBytes-n+1)])
		n += int64(k)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// askedOf tells whether SIZE and MDTM were answered for the sample.
func (s *Server) askedOf(stream ftppool.Stream) {
	c, ok := stream.(ftppool.Checked)
	if !ok {
		return
	}
	e, told := c.Entry()
	size, mdtm := told && e.Size != listing.SizeUnknown, told && e.MTime.Known()
	s.Facts.Size, s.Facts.MDTM = answer(size), answer(mdtm)
	switch {
	case size && mdtm:
		s.ok("files", "SIZE and MDTM tell a file's size and time exactly")
	case size:
		s.note("files", "SIZE works, MDTM does not",
			"A file that is replaced by one of the same size within the minute (or the day) that listings show is not noticed.", "")
	default:
		s.note("files", "SIZE does not work", "A file's size is known from its listing only, so that a cut transfer may go unnoticed for longer.", "")
	}
}

func answer(yes bool) Answer {
	if yes {
		return "yes"
	}
	return "no"
}

// restart puts REST to the proof.
func (s *Server) restart(ctx context.Context) {
	s.Facts.REST = ftppool.RestartUnknown.String()
	if s.sample.path == "" {
		return
	}
	step, cancel := s.limited(ctx)
	defer cancel()
	err := s.Pool.ProveRestart(step, s.sample.path)
	if ctx.Err() != nil {
		return
	}
	state := s.Pool.Profile().Restart
	s.Facts.REST = state.String()
	const means = "Files are read from their beginning: jumping ahead in a large one, and going on after a cut, fetches all before it again. Several sessions can't share a file."
	switch state {
	case ftppool.RestartProven:
		s.ok("REST", "proven: a transfer can begin in the middle")
	case ftppool.RestartRefused:
		s.note("REST", "refused, or not obeyed", means, "Nothing to set: mirrorfs does without. Copy large files before working on them, with mirrorfs warm.")
	default:
		why := ""
		if err != nil {
			why = ": " + reason(err).Error()
		}
		s.note("REST", "could not be proven"+why, means, "A mount tries again with each file.")
	}
}
