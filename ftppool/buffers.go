package ftppool

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A server on the same machine or next to it pushes megabytes into the socket
// buffers of both sides before a byte has been read. Where only the head of a
// file is wanted, small buffers keep that down. They are for short distances
// alone: set before the connection is made they bound the window for good,
// which costs nothing there and would be ruin at 100 ms, where a new connection
// starts slowly by itself.
const (
	smallLimit = 1 << 20 // bytes wanted
	nearby     = 2 * time.Millisecond
	smallBuf   = 16 << 10
	// A server's send buffer begins as a multiple of the segment size, which on
	// loopback is 64 KiB; below 384 bytes Linux counts half as much for each.
	smallSegment = 370
)

func smallBuffers(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		// Not worth an error where a kernel does not like it.
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, smallBuf)
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, smallSegment)
	})
}

// roundTrip is the kernel's measure of a new connection, which does not count
// how long this process had to wait for a processor; or took, if that is less or
// the kernel can't be asked.
func roundTrip(conn net.Conn, took time.Duration) time.Duration {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return took
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return took
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil && info.Rtt > 0 {
			took = min(took, time.Duration(info.Rtt)*time.Microsecond)
		}
	})
	return took
}
