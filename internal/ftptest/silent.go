package ftptest

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// silent is a port that answers nobody, as behind a firewall that drops packets:
// a listener that never accepts and whose queue is full, so that the kernel
// ignores further attempts.
type silent struct {
	file   *os.File
	filler net.Conn
	addr   *net.TCPAddr
}

func listenSilently(host string) (net.Listener, error) {
	ip := net.ParseIP(host).To4()
	if ip == nil {
		return nil, errors.New("a silent port is for IPv4 only")
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "silent port")
	sa := &syscall.SockaddrInet4{Addr: [4]byte(ip)}
	if err := syscall.Bind(fd, sa); err != nil {
		file.Close()
		return nil, err
	}
	if err := syscall.Listen(fd, 0); err != nil { // room for one
		file.Close()
		return nil, err
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		file.Close()
		return nil, err
	}
	addr := &net.TCPAddr{IP: ip, Port: bound.(*syscall.SockaddrInet4).Port}
	filler, err := net.DialTCP("tcp", nil, addr)
	if err != nil {
		file.Close()
		return nil, err
	}
	return &silent{file: file, filler: filler, addr: addr}, nil
}

func (l *silent) Accept() (net.Conn, error) { return nil, errors.New("nobody gets through") }

func (l *silent) Addr() net.Addr { return l.addr }

func (l *silent) Close() error {
	l.filler.Close()
	return l.file.Close()
}
