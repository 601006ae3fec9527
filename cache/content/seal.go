package content

import (
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
			f.seal()
		}
	}
}

// drain syncs what is left when the store closes, for a while.
func (s *Store) drain() {
	for deadline := time.Now().Add(sealOnClose); time.Now().Before(deadline); {
		f := s.sealer.next()
		if f == nil {
			return
		}
		f.seal()
	}
}

// seal syncs what is held now and notes that it is durable, with checksums if
// the file is whole.
func (f *file) seal() {
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
		f.store.drop(f, &Failure{Path: f.path, Err: err})
		return
	}
	f.mu.Lock()
	data, epoch := f.data, f.epoch
	held, whole := f.held.clone(), f.whole
	f.mu.Unlock()
	if data == nil {
		return
	}
	if err := unix.Fdatasync(int(data.Fd())); err != nil {
		// The kernel reports a failed write once and forgets it: what is in
		// memory and what is on the disk may differ from now on.
		f.store.log.Error("what was fetched can't be written to the disk; it is given up", "path", f.path, "error", err)
		f.store.drop(f, &Failure{Path: f.path, Err: err})
		return
	}
	var sums []byte
	if whole {
		var err error
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
