package ftppool

import (
	"errors"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// ReadPipe moves bytes from the socket into a pipe. See Piped.
func (t *stream) ReadPipe(pipe, n int) (int, error) {
	if err := t.ended(); err != nil && len(t.held) == 0 {
		return 0, err
	}
	return t.readPipe(pipe, n)
}

// readPipe is ReadPipe of a stream that had not ended a moment ago. Since it may
// have by now, and the session may be somebody else's, it does not look at that.
func (t *stream) readPipe(pipe, n int) (int, error) {
	if t.plain == nil || len(t.held) > 0 {
		return 0, errors.ErrUnsupported
	}
	n, err := t.plain.splice(pipe, n)
	t.bytes.Add(int64(n))
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.end(err)
		err = t.ended()
	}
	return n, err
}

// plainData is the data connection of the transfer under way, nil when its
// bytes are not what the socket has. For the session's owner.
func (s *session) plainData() *wire {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tls != nil {
		return nil
	}
	return s.data
}

// splice is a Read into a pipe, which must be empty.
func (w *wire) splice(pipe, n int) (int, error) {
	conn, ok := w.Conn.(*net.TCPConn)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, w.why(err)
	}
	if err := w.arm(); err != nil {
		return 0, err
	}
	if w.limit != nil {
		n = min(n, w.limit.chunk())
	}
	var moved int64
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		failed = unix.EINTR
		for failed == unix.EINTR {
			moved, failed = unix.Splice(int(fd), nil, pipe, nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		}
		return failed != unix.EAGAIN
	})
	switch {
	case err != nil:
	case failed == unix.EINVAL || failed == unix.ENOSYS:
		return 0, errors.ErrUnsupported
	case failed != nil:
		err = failed
	case moved == 0:
		w.ended, err = true, io.EOF
	}
	moved = max(moved, 0)
	w.bytes.Add(moved)
	if w.limit != nil && moved > 0 {
		w.limit.wait(int(moved), w.done)
	}
	return int(moved), w.why(err)
}
