package content

import (
	"errors"
	"io/fs"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// verify reports ErrChanged when a transfer is not of the file's version: the
// listing that told it may be an hour old, and bytes of that version may be
// in the kernel's cache though none are here.
func (f *file) verify(rs ftppool.Stream) error {
	if c, ok := rs.(ftppool.Checked); ok {
		if e, told := c.Entry(); told {
			return f.compareVersion(e)
		}
	}
	return nil // a server that can't tell; what overlaps is compared all the same
}

// compareVersion notes what the server says of the file, and returns ErrChanged
// when that is another version.
func (f *file) compareVersion(e listing.Entry) error {
	f.mu.Lock()
	was := f.version
	f.mu.Unlock()
	if !was.Same(e.Version()) {
		return &changedError{entry: e}
	}
	f.narrow(e.Version())
	if e.MTime.Known() && e.MTime != was.MTime {
		f.store.opts.Changed(f.path, e)
	}
	return nil
}

// changedError is ErrChanged together with what the server has now.
type changedError struct{ entry listing.Entry }

func (e *changedError) Error() string { return ErrChanged.Error() }
func (e *changedError) Unwrap() error { return ErrChanged }

// replaced gives up a file that the server has another version of, and tells
// what that is.
func (f *file) replaced(why error) {
	s := f.store
	f.mu.Lock()
	already := f.gone != nil
	f.mu.Unlock()
	if already {
		return
	}
	s.counters.changed.Add(1)
	s.log.Info("a file was replaced on the server", "path", f.path, "size", f.size)
	s.drop(f, &Failure{Path: f.path, Err: ErrChanged})
	var c *changedError
	if errors.As(why, &c) {
		s.opts.Changed(f.path, c.entry)
		return
	}
	// The bytes gave it away. Asking is a goroutine of its own, because the
	// stream that found out still has its session.
	s.work.start(func() {
		e, err := s.stat(s.ctx, ftppool.ClassRead, f.path)
		if err != nil && e.Type == 0 {
			e = listing.Entry{Size: listing.SizeUnknown, MTime: listing.Anytime()}
		}
		if s.ctx.Err() == nil {
			s.opts.Changed(f.path, e)
		}
	})
}

// confirm asks the server, once all bytes are here, whether they are still the
// version they were opened as; only then is the file whole. The channel is
// closed when the answer is here; it is nil when there is nothing to ask.
func (f *file) confirm() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone != nil || f.whole || !f.held.contains(span{0, f.size}) {
		return nil
	}
	if f.asking == nil {
		asking := make(chan struct{})
		if !f.store.work.start(func() { f.ask(asking) }) {
			f.doubt = ftppool.ErrClosed
			return nil
		}
		f.refs++
		f.asking = asking
	}
	return f.asking
}

// confirmLast gives the questions about files that became complete only now the
// time to be answered, or they would be asked again after the next mount.
func (s *Store) confirmLast() {
	var asked []<-chan struct{}
	for _, f := range s.all() {
		f.mu.Lock()
		first := f.doubt == nil
		f.mu.Unlock()
		if !first {
			continue // the server was asked, and could not say
		}
		if done := f.confirm(); done != nil {
			asked = append(asked, done)
		}
	}
	patience := time.NewTimer(confirmOnClose)
	defer patience.Stop()
	for _, done := range asked {
		select {
		case <-done:
		case <-patience.C:
			return
		}
	}
}

// confirmOnClose is how long closing waits for the server's word on files.
const confirmOnClose = 2 * time.Second

// ask is the goroutine of confirm.
func (f *file) ask(done chan<- struct{}) {
	defer f.release()
	s := f.store
	err := f.question()
	f.mu.Lock()
	f.asking, f.doubt, f.doubted = nil, err, time.Now()
	if err == nil && f.gone == nil && f.held.contains(span{0, f.size}) {
		f.whole = true
		s.dirty.add(f)
	}
	f.mu.Unlock()
	switch {
	case err == nil:
		s.dropOthers(f)
		s.sealer.add(f)
	case errors.Is(err, ErrChanged):
		f.replaced(err)
	case errors.Is(err, fs.ErrNotExist):
		s.opts.Changed(f.path, listing.Entry{Size: listing.SizeUnknown, MTime: listing.Anytime()})
	case s.ctx.Err() == nil:
		s.log.Info("a file is complete, but the server could not confirm it", "path", f.path, "error", err)
	}
	close(done)
}

// question is what confirm asks the server. Nobody waits for the answer, so it
// takes no session from those who wait.
func (f *file) question() error {
	e, err := f.store.stat(f.store.ctx, ftppool.ClassReadAhead, f.path)
	switch {
	case errors.Is(err, ErrChanged):
		return &changedError{entry: e}
	case errors.Is(err, ftppool.ErrUnsupported):
		return nil // there is no more to know than that the size was right
	case err != nil:
		return err
	}
	return f.compareVersion(e)
}

// dropOthers gives up the generations of f's path that its confirmed version
// shows to be old.
func (s *Store) dropOthers(f *file) {
	f.mu.Lock()
	v := f.version
	f.mu.Unlock()
	s.mu.Lock()
	var old []*file
	for _, g := range s.files[f.path] {
		if g != f && !g.matches(v) {
			old = append(old, g)
		}
	}
	s.mu.Unlock()
	for _, g := range old {
		s.drop(g, &Failure{Path: f.path, Err: ErrChanged})
	}
}
