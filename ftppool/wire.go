package ftppool

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// wire is one TCP connection, control or data, that never waits longer than
// its limit of silence and can be stopped from any goroutine.
type wire struct {
	net.Conn
	limit *limiter     // of data connections, nil without one
	bytes atomic.Int64 // received
	ended bool         // the peer has ended it; for its reader

	// mu guards what follows; only the setting of a deadline is done under it,
	// so that a stop can't be undone by a read that is just beginning.
	mu      sync.Mutex
	silence time.Duration
	stopped error // why it was stopped, nil while it runs
	done    chan struct{}
}

func newWire(c net.Conn, silence time.Duration, l *limiter) *wire {
	return &wire{Conn: c, silence: silence, limit: l, done: make(chan struct{})}
}

// stop ends the read or write that is under way, and every later one, with err.
// The connection stays open until it is closed.
func (w *wire) stop(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped == nil {
		w.stopped = err
		close(w.done)
		_ = w.Conn.SetDeadline(time.Unix(1, 0))
	}
}

// setSilence changes how long later reads and writes may wait, and returns
// what it was.
func (w *wire) setSilence(d time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.silence
	w.silence = d
	return old
}

func (w *wire) arm() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped != nil {
		return w.stopped
	}
	return w.Conn.SetDeadline(time.Now().Add(w.silence))
}

// why replaces the error of an interrupted call by the reason for it.
func (w *wire) why(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped != nil {
		return w.stopped
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &silentError{w.silence}
	}
	return err
}

func (w *wire) Read(p []byte) (int, error) {
	if err := w.arm(); err != nil {
		return 0, err
	}
	if w.limit != nil {
		p = p[:min(len(p), w.limit.chunk())]
	}
	n, err := w.Conn.Read(p)
	w.bytes.Add(int64(n))
	w.ended = w.ended || err == io.EOF
	if w.limit != nil && n > 0 {
		w.limit.wait(n, w.done)
	}
	return n, w.why(err)
}

func (w *wire) Write(p []byte) (int, error) {
	if err := w.arm(); err != nil {
		return 0, err
	}
	n, err := w.Conn.Write(p)
	return n, w.why(err)
}

// hangUp tells the peer that nothing more will be sent and waits until it has
// closed its side too, or for the given time; then the connection is closed.
func (w *wire) hangUp(wait time.Duration, now <-chan struct{}) {
	defer func() { _ = w.Conn.Close() }()
	half, ok := w.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = w.SetDeadline(time.Now().Add(wait))
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, io.LimitReader(w.Conn, 1<<20))
	}()
	select {
	case <-gone:
	case <-now:
		_ = w.SetDeadline(time.Unix(1, 0))
		<-gone
	}
}

// unasked tells, without waiting, what has come that nobody asked for: words,
// or the end of the connection.
func (w *wire) unasked() (words, end bool) {
	sc, ok := w.Conn.(syscall.Conn)
	if !ok {
		return false, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false, true
	}
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == syscall.EAGAIN || err == syscall.EINTR:
		case err == nil && n > 0:
			words = true
		default:
			end = true
		}
	})
	return words, end || err != nil
}
