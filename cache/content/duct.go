package content

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorfs/mirrorfs/ftppool"
)

const (
	// ductAfter is how much of a transfer is read before a duct is made for it:
	// for less it is not worth two descriptors.
	ductAfter = 1 << 20
	// ductSize is what the pipe should hold: a chunk in pieces as small as a
	// packet, each of which takes a page's place.
	ductSize = 1 << 20
)

// duct is a pipe through which the kernel moves bytes from a transfer to the
// .dat, which spares copying them into this process and back. Only bytes that
// nothing is to be compared with go that way. Between two uses it is empty.
type duct struct {
	rs   ftppool.Stream
	from ftppool.Piped // rs; nil: its bytes have to be read
	r, w *os.File      // nil before the first use
}

func newDuct(rs ftppool.Stream) *duct {
	from, _ := rs.(ftppool.Piped)
	return &duct{rs: rs, from: from}
}

func (d *duct) close() {
	if d.r != nil {
		d.r.Close()
		d.w.Close()
	}
}

// open makes the pipe, if there is none yet. Where that can't be, or it can't
// be made large enough, reading is as good.
func (d *duct) open() bool {
	if d.from == nil || d.r != nil {
		return d.from != nil
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		d.from = nil
		return false
	}
	d.r, d.w = os.NewFile(uintptr(p[0]), "duct"), os.NewFile(uintptr(p[1]), "duct")
	if _, err := unix.FcntlInt(d.w.Fd(), unix.F_SETPIPE_SZ, ductSize); err != nil {
		d.from = nil
	}
	return d.from != nil
}

// straight returns how many of the bytes of [at, end) may go to the .dat unread:
// those at the frontier that nobody holds. The file's last bytes are not among
// them, since a transfer must end where the file does.
func (st *stream) straight(at, end int64) int64 {
	f := st.file
	f.mu.Lock()
	defer f.mu.Unlock()
	if at != st.pos || st.taken < ductAfter || !time.Now().After(f.fetch.keepUntil) {
		return 0
	}
	end = min(end, f.size-chunkSize)
	if run := f.held.run(at); run.len() > 0 {
		return 0
	}
	if run, ok := f.held.next(at); ok {
		end = min(end, run.lo)
	}
	return end - at
}

// conduct moves the next bytes of a transfer, from at on, through the duct, and
// returns how many. None and no error mean that they are to be read.
func (st *stream) conduct(d *duct, at, end int64, chunk *[chunkSize]byte) (int64, error) {
	if d.from == nil || st.straight(at, end) < chunkSize || !d.open() {
		return 0, nil
	}
	n, err := d.from.ReadPipe(int(d.w.Fd()), chunkSize)
	if errors.Is(err, errors.ErrUnsupported) {
		d.from = nil
		return 0, nil
	}
	if n > 0 {
		st.measure(n)
		if e := st.drain(d, at, int64(n), chunk); e != nil {
			return 0, e
		}
	}
	if err == io.EOF {
		err = errShort
	}
	return int64(n), err
}

// drain brings the n bytes that are in the duct, and belong at at, to the .dat,
// or to their readers when the disk refuses them.
func (st *stream) drain(d *duct, at, n int64, chunk *[chunkSize]byte) error {
	done, err := st.put(span{at, at + n}, func(data *os.File) (int64, error) {
		off := at
		for off < at+n {
			m, err := unix.Splice(int(d.r.Fd()), nil, int(data.Fd()), &off, int(at+n-off), unix.SPLICE_F_MOVE)
			if err == nil && m == 0 {
				err = io.ErrShortWrite
			}
			if err != nil && err != unix.EINTR {
				return off - at, &os.PathError{Op: "splice", Path: data.Name(), Err: err}
			}
		}
		return n, nil
	})
	if err == nil || !local(err) {
		return err
	}
	d.from = nil
	rest := chunk[:n-done]
	if _, err := io.ReadFull(d.r, rest); err != nil {
		return err
	}
	return st.accept(d.rs, at+done, rest)
}
