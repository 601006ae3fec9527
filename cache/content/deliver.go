package content

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
)

// diskRetry is how long bytes go past a disk that refused to keep them, before
// it is tried again.
const diskRetry = 10 * time.Second

// errDiffers says that a transfer brought other bytes than are held.
var errDiffers = &Failure{Err: ErrChanged}

// accept takes the bytes p that a transfer has at off: those that are held are
// compared, the others kept, or handed straight to their readers when the disk
// refuses them. The last bytes of the file count only once the transfer has
// ended there too.
func (st *stream) accept(rs ftppool.Stream, off int64, p []byte) error {
	f := st.file
	s := span{off, off + int64(len(p))}
	if s.hi == f.size && s.hi > st.pos {
		if err := atEnd(rs); err != nil {
			return err
		}
	}
	if !st.compare(s, p) {
		return errDiffers
	}
	f.mu.Lock()
	s.lo = max(s.lo, min(st.pos, s.hi)) // what lies before the frontier was only compared
	here := f.held.contains(s)
	if here && st.pos < f.stop(st) {
		st.pos = max(st.pos, s.hi)
	}
	past := !time.Now().After(f.fetch.keepUntil)
	f.mu.Unlock()
	if here {
		return nil
	}
	p = p[s.lo-off:]
	if past {
		st.pass(s, p)
		return nil
	}
	if err := st.keep(s, p); err != nil {
		if !local(err) {
			return err
		}
		st.refused(err)
		st.pass(s, p)
	}
	return nil
}

// atEnd reports ErrChanged when a transfer goes on beyond the file's end. A
// transfer that fails there has brought all there was.
func atEnd(rs ftppool.Stream) error {
	var more [1]byte
	for {
		n, err := rs.Read(more[:])
		if n > 0 {
			return errDiffers
		}
		if err != nil {
			return nil
		}
	}
}

// compare reports whether what is held within s equals p.
func (st *stream) compare(s span, p []byte) bool {
	f := st.file
	f.mu.Lock()
	data, epoch := f.data, f.epoch
	var held []span
	if data != nil {
		for _, t := range f.held.spans {
			if t.meets(s) {
				held = append(held, t.cut(s))
			}
		}
	}
	f.mu.Unlock()
	for _, t := range held {
		buf := make([]byte, min(t.len(), 64<<10))
		for lo := t.lo; lo < t.hi; {
			b := buf[:min(int64(len(buf)), t.hi-lo)]
			if !f.read(b, lo, data, epoch) {
				return true // given up meanwhile: nothing to compare with
			}
			if !bytes.Equal(b, p[lo-s.lo:][:len(b)]) {
				return false
			}
			lo += int64(len(b))
		}
	}
	return true
}

// keep writes the bytes of s to the .dat and enters them.
func (st *stream) keep(s span, p []byte) error {
	_, err := st.put(s, func(data *os.File) (int64, error) {
		if err := write(data, p, s.lo); err != nil {
			return 0, err
		}
		return s.len(), nil
	})
	return err
}

// put has fill write the bytes of s to the .dat, and enters as many from its
// beginning as fill says are there, with or without an error.
func (st *stream) put(s span, fill func(*os.File) (int64, error)) (int64, error) {
	f := st.file
	data, err := f.makeData()
	if err != nil {
		return 0, err
	}
	if err := f.store.reserve(f, s.len()); err != nil {
		return 0, err
	}
	// Writing makes a .dat that was cut as long as before, with zeros in the place
	// of what is held.
	if err := checkSize(data, f.size); errors.Is(err, errMismatch) {
		f.damaged(err)
	}
	f.disk.RLock()
	defer f.disk.RUnlock()
	n, err := fill(data)
	if n == 0 {
		return 0, err
	}
	s.hi = s.lo + n
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone != nil {
		return n, f.gone
	}
	f.held.add(s)
	f.blocks += s.len()
	f.store.room.used.Add(s.len())
	f.fetched = now
	f.store.dirty.add(f)
	st.pos = s.hi
	st.progress(now)
	f.wake()
	return n, err
}

func write(data *os.File, p []byte, off int64) error {
	n, err := data.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// pass hands the bytes of s to those who wait for them now, and keeps the
// latest in memory for those who come a little late.
func (st *stream) pass(s span, p []byte) {
	f := st.file
	f.store.counters.through.Add(s.len())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetch.tail.put(s.lo, p)
	for _, w := range f.fetch.waiters {
		w.take(s.lo, p)
	}
	st.pos = s.hi
	st.progress(time.Now())
	f.wake()
}

// refused has bytes go past the disk for a while. Those who wanted nothing but
// to have them kept are told.
func (st *stream) refused(err error) {
	f := st.file
	f.store.log.Warn("the cache can't keep what is read; it is passed on", "path", f.path, "error", err)
	f.store.room.refuse(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetch.keepUntil = time.Now().Add(diskRetry)
	f.fetch.waiters = slices.DeleteFunc(f.fetch.waiters, func(w *waiter) bool {
		if w.p != nil {
			return false
		}
		w.done <- &Failure{Path: f.path, Err: err}
		return true
	})
}
