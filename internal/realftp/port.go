package realftp

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// heldPort is a TCP port that the system gives to nobody else until it is let
// go. Its socket never listens; a server that sets SO_REUSEADDR, as they all
// do, listens beside it.
type heldPort struct {
	socket int
	number int
}

func holdPort(host string) (*heldPort, error) {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil, err
	}
	family, where := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: addr.As16()})
	if addr.Is4() {
		family, where = unix.AF_INET, &unix.SockaddrInet4{Addr: addr.As4()}
	}
	socket, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	p := &heldPort{socket: socket}
	if err = unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
		err = unix.Bind(socket, where)
	}
	if err == nil {
		where, err = unix.Getsockname(socket)
	}
	if err != nil {
		p.letGo()
		return nil, fmt.Errorf("port on %s: %w", host, err)
	}
	switch at := where.(type) {
	case *unix.SockaddrInet4:
		p.number = at.Port
	case *unix.SockaddrInet6:
		p.number = at.Port
	}
	return p, nil
}

// letGo may be called more than once.
func (p *heldPort) letGo() {
	if p.socket >= 0 {
		_ = unix.Close(p.socket)
	}
	p.socket = -1
}
