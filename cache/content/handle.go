package content

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Handle reads one generation of a file. Its methods may be called from
// anywhere, but not during or after Close.
type Handle struct {
	store *Store
	file  *file // nil for an empty file
	uid   uint32
	v     listing.Version // of an empty file

	mu     sync.Mutex // guards what follows
	whole  *os.File
	closed bool
}

// Version returns the version the handle is pinned to, as exactly as it is
// known by now.
func (h *Handle) Version() listing.Version {
	if h.file == nil {
		return h.v
	}
	h.file.mu.Lock()
	defer h.file.mu.Unlock()
	return h.file.version
}

// Generation tells contents of one path apart: it is the same for two handles
// when they read the same bytes, across remounts too. That of empty files is 0.
func (h *Handle) Generation() uint64 {
	if h.file == nil {
		return 0
	}
	return h.file.gen
}

// ReadAt reads len(p) bytes from off, and waits for those that are not here
// yet. It returns fewer only at the end of the file, with io.EOF, or with an
// error: ErrChanged (the missing bytes are no longer on the server), a *Failure,
// or ctx.Err(), which ends this wait only, not the fetch.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	size := h.v.Size
	if h.file != nil {
		size = h.file.size
	}
	switch {
	case off < 0:
		return 0, fmt.Errorf("read at %d: %w", off, os.ErrInvalid)
	case off >= size:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	n := int(min(int64(len(p)), size-off))
	if err := h.file.readAt(ctx, p[:n], off, h.uid); err != nil {
		return 0, err
	}
	h.store.counters.served.Add(int64(n))
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) readAt(ctx context.Context, p []byte, off int64, uid uint32) error {
	want := span{off, off + int64(len(p))}
	for first := true; ; first = false {
		if f.store.ctx.Err() != nil {
			return closedError(f.path)
		}
		now := time.Now()
		f.mu.Lock()
		if first {
			f.noteRead(want, uid, now)
		}
		here := f.held.contains(want)
		if here {
			data, epoch := f.data, f.epoch
			if first {
				f.schedule(now)
			}
			f.mu.Unlock()
			if first {
				f.store.counters.hits.Add(1)
			}
			if f.read(p, off, data, epoch) {
				return nil
			}
			continue
		}
		if first {
			f.store.counters.misses.Add(1)
		}
		w, err := f.wait(want, p, uid, ftppool.ClassRead, now)
		deferred := err == nil && w.deferred
		f.mu.Unlock()
		if err != nil {
			return err
		}
		if err := f.await(ctx, w, deferred); err != nil {
			return err
		}
		if f.complete(w, p) {
			return nil
		}
	}
}

// Whole returns the file on disk, when all of it is here and the server
// confirmed it, opened for reading only. It belongs to the handle, stays valid
// until Close, and keeps its bytes whatever becomes of the cache.
func (h *Handle) Whole() (*os.File, bool) {
	if h.file == nil {
		return nil, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.whole != nil {
		return h.whole, true
	}
	f := h.file
	f.mu.Lock()
	data := f.data
	ok := f.whole && data != nil && !h.closed
	if ok {
		f.lent = true
	}
	f.mu.Unlock()
	if !ok {
		return nil, false
	}
	// Opening the descriptor's own link works for a file whose name is gone.
	whole, err := os.Open("/proc/self/fd/" + strconv.Itoa(int(data.Fd())))
	if err == nil {
		if err = checkSize(whole, f.size); err != nil {
			whole.Close()
		}
	}
	if err != nil {
		f.store.log.Warn("a whole file can't be opened for direct reading", "path", f.path, "error", err)
		return nil, false
	}
	h.whole = whole
	return whole, true
}

// Close ends the use of the handle. Fetches that only it was waiting for end.
func (h *Handle) Close() error {
	h.mu.Lock()
	closed, whole := h.closed, h.whole
	h.closed, h.whole = true, nil
	h.mu.Unlock()
	if closed || h.file == nil {
		return nil
	}
	if whole != nil {
		whole.Close()
	}
	f := h.file
	now := time.Now()
	f.mu.Lock()
	f.handles--
	f.lastClosed, f.used = now, now
	last := f.handles == 0
	seal := false
	if last {
		f.schedule(now)
		seal = f.onDisk && f.gone == nil && f.held.total()-f.durable.total() >= worthSealing
	}
	dirty := now.Sub(f.savedUsed) > usedPrecision
	f.mu.Unlock()
	if dirty {
		f.store.dirty.add(f)
	}
	if seal {
		f.store.sealer.add(f)
	}
	f.release()
	return nil
}
