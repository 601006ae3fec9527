package content

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Open returns a handle on version v of the file at path, pinned to it for as
// long as it is open. The server is asked only when another version is held:
// when it then has neither v, the error Is ErrChanged, and Options.Changed has
// been told what it has. When it can't be asked, v is opened, and what is held
// of the other version is kept until v is confirmed.
func (s *Store) Open(ctx context.Context, uid uint32, path string, v listing.Version) (*Handle, error) {
	if v.Size < 0 || path == "" || v.MTime.Min > v.MTime.Max {
		return nil, fmt.Errorf("open %q: a file of size %d: %w", path, v.Size, os.ErrInvalid)
	}
	if s.ctx.Err() != nil {
		return nil, closedError(path)
	}
	if v.Size == 0 {
		return &Handle{store: s, uid: uid, v: v}, nil
	}
	for asked := false; ; asked = true {
		f, other := s.take(path, v, asked)
		if f == nil {
			if err := s.settle(ctx, other, v); err != nil {
				return nil, err
			}
			continue
		}
		if err := f.openData(); err != nil {
			f.mu.Lock()
			f.handles--
			f.mu.Unlock()
			if !errors.Is(err, errMismatch) {
				f.release()
				return nil, &Failure{Path: path, Err: err}
			}
			s.log.Warn("a file of the cache is damaged and will be fetched again", "path", path, "error", err)
			s.drop(f, &Failure{Path: path, Err: err})
			f.release()
			continue
		}
		f.mu.Lock()
		again := f.doubt == nil || time.Since(f.doubted) > s.opts.Timeout
		f.mu.Unlock()
		if again {
			f.confirm()
		}
		return &Handle{store: s, file: f, uid: uid}, nil
	}
}

// take retains the file of that version for a handle. Unless force is set, it
// returns another version that is held instead of making a new file.
func (s *Store) take(path string, v listing.Version, force bool) (f, other *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.files[path] {
		if g.matches(v) {
			f = g
			break
		}
		if g.holds() {
			other = g
		}
	}
	if f == nil {
		if other != nil && !force {
			return nil, other
		}
		s.gen++
		f = s.newFile(path, s.gen, v)
		s.files[path] = append(s.files[path], f)
	}
	f.mu.Lock()
	f.refs++
	f.handles++
	f.used = time.Now()
	f.mu.Unlock()
	f.narrow(v)
	return f, nil
}

func (f *file) matches(v listing.Version) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gone == nil && f.version.Same(v)
}

func (f *file) holds() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.held.spans) > 0
}

// settle asks the server, once for all who want to know, which version of a
// path it has: that of held, or v. When it has v, held is given up. An error
// says that it has another than v. When nobody knows, both stay.
func (s *Store) settle(ctx context.Context, held *file, v listing.Version) error {
	e, err := s.settling.do(ctx, s, held.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.opts.Changed(held.path, listing.Entry{Size: listing.SizeUnknown, MTime: listing.Anytime()})
		return err
	case errors.Is(err, ErrChanged): // it is no file any more
		s.opts.Changed(held.path, e)
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ftppool.ErrClosed):
		return closedError(held.path)
	case err != nil:
		s.log.Info("can't ask which version of a file is right; what is held of the other is kept",
			"path", held.path, "error", err)
		return nil
	}
	now := e.Version()
	if !now.Same(v) {
		s.opts.Changed(held.path, e)
		return &Failure{Path: held.path, Err: ErrChanged}
	}
	held.mu.Lock()
	same := held.version.Same(now)
	held.mu.Unlock()
	if same && !now.MTime.Known() {
		return nil // the server's answer fits both
	}
	s.drop(held, &Failure{Path: held.path, Err: ErrChanged})
	return nil
}

// stat asks the server about one file, on nobody's behalf in particular.
func (s *Store) stat(ctx context.Context, class ftppool.Class, path string) (listing.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	e, err := s.remote.Stat(ctx, ftppool.Want{Class: class}, path)
	if err == nil && e.Type != 0 && e.Type != listing.File {
		return e, &Failure{Path: path, Err: ErrChanged}
	}
	return e, err
}

// flights are questions to the server that are under way, by path, so that one
// answer serves all who ask the same.
type flights struct {
	mu  sync.Mutex // a leaf
	now map[string]*flight
}

type flight struct {
	done  chan struct{}
	entry listing.Entry
	err   error
}

// do returns the server's answer about path. A caller who gives up does not
// take the question back.
func (fl *flights) do(ctx context.Context, s *Store, path string) (listing.Entry, error) {
	fl.mu.Lock()
	q := fl.now[path]
	if q == nil {
		q = &flight{done: make(chan struct{})}
		if fl.now == nil {
			fl.now = make(map[string]*flight)
		}
		ask := func() {
			q.entry, q.err = s.stat(s.ctx, ftppool.ClassRead, path)
			fl.mu.Lock()
			delete(fl.now, path)
			fl.mu.Unlock()
			close(q.done)
		}
		if !s.work.start(ask) {
			fl.mu.Unlock()
			return listing.Entry{}, ftppool.ErrClosed
		}
		fl.now[path] = q
	}
	fl.mu.Unlock()
	select {
	case <-q.done:
		return q.entry, q.err
	case <-ctx.Done():
		return listing.Entry{}, ctx.Err()
	}
}
