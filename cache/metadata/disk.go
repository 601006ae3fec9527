package metadata

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mirrorfs/mirrorfs/cache/internal/record"
)

// disk keeps one checksummed file per directory, written by one goroutine in
// the order of the puts. What is not written yet is answered from here.
//
// A disk that is full or may not be written costs what the files are for, a
// quick remount and answers in an outage, and nothing else.
type disk struct {
	dir string
	log *slog.Logger

	mu       sync.Mutex // guards the fields below; never held during I/O
	room     *sync.Cond // signalled when bytes went down
	pending  map[string]*Directory
	ready    []string            // paths of pending, to be written now
	later    map[string]struct{} // paths of pending that may change again soon
	bytes    int64               // cost of pending
	distrust map[string]struct{} // paths whose file is outdated and can't be replaced
	failing  bool                // the last write failed; it was, or will be, logged
	news     []func()            // logs what began or ended; see tell
	closed   bool

	wake chan struct{} // holds one token when there is something to do
	done chan struct{} // closed when the writer has ended
}

const (
	suffix = ".dir"
	// lazily is how long what was learned of single files waits to be written:
	// a program that reads a whole directory teaches us one file after the other.
	lazily = 5 * time.Second
	// maxPending bounds the memory of listings that wait to be written; one more
	// than fits may wait.
	maxPending = 8 << 20
	// maxThrottle is how long a listing is held back for those before it to be
	// written. After that it is not kept on disk: a dead disk stops nobody.
	maxThrottle = time.Second
)

// removed stands in pending for a file that has to go.
var removed = &Directory{}

func newDisk(dir string, log *slog.Logger) *disk {
	k := &disk{
		dir:      dir,
		log:      log,
		pending:  make(map[string]*Directory),
		later:    make(map[string]struct{}),
		distrust: make(map[string]struct{}),
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
	}
	k.room = sync.NewCond(&k.mu)
	return k
}

// file is where the listing of path is kept. The name is a hash because paths
// can be longer than names may be; the file itself holds the path.
func (k *disk) file(path string) string {
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(k.dir, hex.EncodeToString(sum[:16])+suffix)
}

// put has d written soon; with wait, in some seconds. It is called under a lock,
// so that tell is left to the caller.
func (k *disk) put(d *Directory, wait bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bytes <= maxPending {
		k.enqueue(d.path, d, wait)
		return
	}
	k.enqueue(d.path, removed, false)
	if !k.closed {
		k.complain(errors.New("the disk is too slow"))
	}
}

// remove has the file of path deleted soon.
func (k *disk) remove(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.enqueue(path, removed, false)
}

// enqueue has d written, or the file removed. The caller holds mu.
func (k *disk) enqueue(path string, d *Directory, wait bool) {
	if k.closed {
		return
	}
	if old := k.pending[path]; old != nil {
		k.bytes -= old.cost // its place in a queue stays
	}
	if wait {
		k.later[path] = struct{}{}
	} else {
		k.ready = append(k.ready, path)
	}
	k.pending[path] = d
	k.bytes += d.cost
	k.signal()
}

func (k *disk) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// unwritten returns what waits to be written for path. known is true also for
// a path whose file is about to be removed.
func (k *disk) unwritten(path string) (d *Directory, known bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d, known = k.pending[path]
	if d == removed {
		d = nil
	}
	return d, known
}

// throttle waits until the writer has caught up, but not for long.
func (k *disk) throttle() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bytes <= maxPending {
		return
	}
	k.flushLocked()
	k.signal()
	late := false
	timer := time.AfterFunc(maxThrottle, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		late = true
		k.room.Broadcast()
	})
	defer timer.Stop()
	for k.bytes > maxPending && !k.closed && !late {
		k.room.Wait()
	}
}

// load reads the file of path; nil when there is none that can be used.
func (k *disk) load(path string) *Directory {
	k.mu.Lock()
	_, outdated := k.distrust[path]
	k.mu.Unlock()
	if outdated {
		return nil
	}
	file := k.file(path)
	payload, err := record.Read(file, recordKind)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var d *Directory
	if err == nil {
		d, err = decode(payload)
	}
	if err == nil && d.path != path {
		return nil // another path with the same hash; whoever is listed last has the file
	}
	if err == nil {
		return d
	}
	k.log.Warn("a held listing can't be used and will be fetched again", "directory", path, "file", file, "error", err)
	if errors.Is(err, record.ErrCorrupt) || errors.Is(err, errEncoding) {
		k.discard(path)
	}
	return nil
}

// discard removes a damaged file unless a good one is about to replace it.
func (k *disk) discard(path string) {
	if _, known := k.unwritten(path); !known {
		k.remove(path)
	}
}

// write is the writer's goroutine; close ends it.
func (k *disk) write() {
	defer close(k.done)
	flush := time.NewTimer(0)
	flush.Stop()
	armed := false
	for {
		path, d, waiting, closed := k.next()
		if d != nil {
			k.store(path, d)
			k.tell()
			k.finish(path, d)
			continue
		}
		if closed {
			return
		}
		if waiting && !armed {
			flush.Reset(lazily)
			armed = true
		}
		select {
		case <-k.wake:
		case <-flush.C:
			armed = false
			k.flush()
		}
	}
}

// next takes the path to be written next off the queue.
func (k *disk) next() (path string, d *Directory, waiting, closed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		k.flushLocked()
	}
	for len(k.ready) > 0 && d == nil {
		path = k.ready[0]
		k.ready = k.ready[1:]
		d = k.pending[path] // nil when an earlier place in the queue served it
	}
	return path, d, len(k.later) > 0, k.closed
}

// flush moves what waited long enough to what is written now.
func (k *disk) flush() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.flushLocked()
}

func (k *disk) flushLocked() {
	for path := range k.later {
		k.ready = append(k.ready, path)
	}
	clear(k.later)
}

// finish takes what was written off pending, unless something newer waits.
func (k *disk) finish(path string, d *Directory) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pending[path] == d {
		delete(k.pending, path)
		k.bytes -= d.cost
	}
	k.room.Broadcast()
}

func (k *disk) store(path string, d *Directory) {
	file := k.file(path)
	var err error
	if d != removed {
		if err = record.Write(file, recordKind, encode(d), false); err == nil {
			k.written(path)
			return
		}
		err = fmt.Errorf("write %s: %w", file, err)
	}
	// Better no listing than an outdated one that looks fresh.
	if gone := os.Remove(file); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		k.failed(path, true, errors.Join(err, gone))
	} else if err != nil {
		k.failed(path, false, err)
	}
}

func (k *disk) written(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.distrust, path)
	if k.failing {
		k.failing = false
		k.news = append(k.news, func() { k.log.Info("listings are kept on disk again", "folder", k.dir) })
	}
}

func (k *disk) failed(path string, outdated bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if outdated {
		k.distrust[path] = struct{}{}
	}
	k.complain(err)
}

// complain has the first of a row of failures logged. The caller holds mu, and
// has tell called when it holds no lock.
func (k *disk) complain(err error) {
	if !k.failing {
		k.failing = true
		k.news = append(k.news, func() {
			k.log.Error("listings can't be kept on disk and are held in memory only", "folder", k.dir, "error", err)
		})
	}
}

// tell logs what happened under a lock.
func (k *disk) tell() {
	k.mu.Lock()
	news := k.news
	k.news = nil
	k.mu.Unlock()
	for _, log := range news {
		log()
	}
}

// count counts the files, by their names alone: there may be very many.
func (k *disk) count() int {
	dir, err := os.Open(k.dir)
	if err != nil {
		return 0
	}
	defer dir.Close()
	count := 0
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if filepath.Ext(name) == suffix {
				count++
			}
		}
		if err != nil {
			return count
		}
	}
}

// close writes what is pending and ends the writer.
func (k *disk) close() {
	k.mu.Lock()
	k.closed = true
	k.signal()
	k.room.Broadcast()
	k.mu.Unlock()
	<-k.done
}
