package content

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// sealer makes what was fetched last across a power failure: it syncs files in
// the background and then has their records say so.
type sealer struct {
	mu    sync.Mutex // a leaf
	queue []*file
	more  chan struct{}
}

// worthSealing is how many unsynced bytes a file must hold to be synced when it
// is closed. Less, as after a look at a head, is sooner fetched again, should
// the machine restart, than synced a thousand times.
const worthSealing = 1 << 20

// sealOnClose is how long closing the store may take to sync what is left.
const sealOnClose = time.Second

func (q *sealer) init() { q.more = make(chan struct{}, 1) }

func (q *sealer) add(f *file) {
	f.mu.Lock()
	known := f.sealing
	f.sealing = true
	f.mu.Unlock()
	if known {
		return
	}
	q.mu.Lock()
	q.queue = append(q.queue, f)
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
}

func (q *sealer) next() *file {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		return nil
	}
	f := q.queue[0]
	q.queue = q.queue[1:]
	return f
}

// sealFound queues what an earlier process left unsynced.
func (s *Store) sealFound() {
	for _, f := range s.all() {
		f.mu.Lock()
		behind := f.held.total()-f.durable.total() >= worthSealing || f.whole && f.sums == nil
		f.mu.Unlock()
		if behind {
			s.sealer.add(f)
		}
	}
}

// seal is the goroutine that syncs.
func (s *Store) seal() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.sealer.more:
		}
		for s.ctx.Err() == nil {
			f := s.sealer.next()
			if f == nil {
				break
			}
			f.seal(s.ctx.Done())
		}
	}
}

// drain syncs what is left when the store closes, for a while.
func (s *Store) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), sealOnClose)
	defer cancel()
	for ctx.Err() == nil {
		f := s.sealer.next()
		if f == nil {
			return
		}
		f.seal(ctx.Done())
	}
}

// seal syncs what is held now and notes that it is durable, with checksums if
// the file is whole. When it is stopped, the file stays as it is: good until the
// machine restarts.
func (f *file) seal(stop <-chan struct{}) {
	f.retain()
	defer f.release()
	f.mu.Lock()
	f.sealing = false
	gone := f.gone
	f.mu.Unlock()
	if gone != nil {
		return
	}
	if err := f.openData(); err != nil {
		if !errors.Is(err, errMismatch) {
			f.store.log.Warn("what was fetched can't be made durable now", "path", f.path, "error", err)
			return
		}
		f.store.log.Warn("a file of the cache is damaged and will be fetched again", "path", f.path, "error", err)
		f.lose()
		return
	}
	f.mu.Lock()
	data, epoch := f.data, f.epoch
	held, whole := f.held.clone(), f.whole
	var behind []span
	for _, s := range held.spans {
		behind = append(behind, f.durable.missing(s)...)
	}
	f.mu.Unlock()
	if data == nil {
		return
	}
	done, err := writeBack(data, behind, stop)
	if !done && err == nil {
		f.store.sealer.add(f) // perhaps there is time for it later
		return
	}
	if err == nil {
		err = unix.Fdatasync(int(data.Fd()))
	}
	if err != nil {
		// The kernel reports a failed write once and forgets it: what is in
		// memory and what is on the disk may differ from now on.
		f.store.log.Error("what was fetched can't be written to the disk; it is given up", "path", f.path, "error", err)
		f.store.room.refuse(err)
		f.lose()
		return
	}
	var sums []byte
	if whole {
		if sums, err = checksums(data, f.size, f.store.ctx.Done()); err != nil {
			f.store.log.Warn("a file of the cache can't be read", "path", f.path, "error", err)
		}
	}
	f.mu.Lock()
	if f.epoch == epoch {
		f.durable = held
		if f.whole && len(sums) > 0 {
			f.sums = sums
		}
		f.store.dirty.add(f)
	}
	f.mu.Unlock()
}

// sealPiece is how much is written to the disk before looking whether to stop.
const sealPiece = 16 << 20

// writeBack has the kernel write parts of a file to the disk, piece by piece,
// and reports false when it was stopped before the end. What Fdatasync then has
// left to do, which can't be stopped, is little: a slow disk with gigabytes to
// write would hold up the end of the process for minutes.
func writeBack(data *os.File, parts []span, stop <-chan struct{}) (done bool, err error) {
	const written = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	for _, s := range parts {
		for lo := s.lo; lo < s.hi; lo += sealPiece {
			select {
			case <-stop:
				return false, nil
			default:
			}
			switch err := unix.SyncFileRange(int(data.Fd()), lo, min(sealPiece, s.hi-lo), written); err {
			case nil:
			case unix.ENOSYS, unix.EPERM, unix.EINVAL, unix.ESPIPE, unix.EOPNOTSUPP:
				return true, nil // not on this file system; Fdatasync does it all
			default:
				return false, err
			}
		}
	}
	return true, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksums reads size bytes and returns a checksum a block; nothing if it was
// stopped before the end.
func checksums(data *os.File, size int64, stop <-chan struct{}) ([]byte, error) {
	buf := make([]byte, min(blockSize, size))
	sums := make([]byte, 0, blocks(size)*sumSize)
	for off := int64(0); off < size; off += blockSize {
		select {
		case <-stop:
			return nil, nil
		default:
		}
		b := buf[:min(blockSize, size-off)]
		if n, err := data.ReadAt(b, off); n < len(b) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		sums = binary.BigEndian.AppendUint32(sums, crc32.Checksum(b, castagnoli))
	}
	return sums, nil
}
