// Package netpath tells by which way the kernel sends packets to an address,
// and when that may have changed: another network, a VPN that came up, a
// machine that slept.
//
// A TCP connection knows nothing of this. Its address may be gone or its
// packets may leave where nobody expects them, and it waits for answers until
// its owner loses patience. So the owner notes the Path of each connection when
// it is made (Between) and compares when a Watcher tells that something
// changed. What changed does not matter: the docker bridge that comes up and
// the IPv6 address whose lifetime is renewed leave all paths as they were.
package netpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone says that this machine no longer has the address that packets would
// come from.
var ErrGone = errors.New("the address is gone")

// answerWait is how long the kernel may take to answer, which it does at once.
const answerWait = 5 * time.Second

// Between returns the way of packets from one address to another, as a word to
// compare: the interface and, for IPv4, the gateway. (IPv6 routers come and go
// without any harm to connections, since no address is translated.) An invalid
// from means any address of this machine. The error is ErrGone when this
// machine does not have it, else the errno of who sends a packet there.
//
// No packet is sent.
func Between(from, to netip.Addr) (string, error) {
	from, to = from.Unmap(), to.Unmap()
	if !to.IsValid() || from.IsValid() && from.Is4() != to.Is4() {
		return "", fmt.Errorf("no way from %v to %v: %w", from, to, unix.EAFNOSUPPORT)
	}
	if from.IsValid() {
		here, err := has(from)
		if err != nil {
			return "", err
		}
		if !here {
			return "", ErrGone
		}
	}
	reply, err := ask(question(from, to))
	if err != nil {
		return "", err
	}
	return read(reply)
}

// has reports whether an address is this machine's.
func has(a netip.Addr) (bool, error) {
	if a.IsLoopback() {
		return true, nil // all of 127.0.0.0/8 is, though one address of it is listed
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	for _, i := range all {
		if n, ok := i.(*net.IPNet); ok {
			if b, ok := netip.AddrFromSlice(n.IP); ok && b.Unmap() == a.WithZone("") {
				return true, nil
			}
		}
	}
	return false, nil
}

// question is an RTM_GETROUTE message, see rtnetlink(7).
func question(from, to netip.Addr) []byte {
	family, bits := byte(unix.AF_INET6), byte(128)
	if to.Is4() {
		family, bits = unix.AF_INET, 32
	}
	b := make([]byte, unix.SizeofNlMsghdr)
	source := byte(0)
	if from.IsValid() {
		source = bits
	}
	b = append(b, family, bits, source, 0, 0, 0, 0, 0, 0, 0, 0, 0) // rtmsg
	b = attribute(b, unix.RTA_DST, to.AsSlice())
	if from.IsValid() {
		b = attribute(b, unix.RTA_SRC, from.AsSlice())
	}
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	return b
}

// attribute appends one; the values here are multiples of 4 bytes long.
func attribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(b, value...)
}

// ask puts a question to the kernel.
func ask(q []byte) ([]syscall.NetlinkMessage, error) {
	s, err := open(0)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := s.SetDeadline(time.Now().Add(answerWait)); err != nil {
		return nil, err
	}
	if _, err := s.Write(q); err != nil {
		return nil, err
	}
	b := make([]byte, 1<<16)
	n, err := s.Read(b)
	if err != nil {
		return nil, err
	}
	return syscall.ParseNetlinkMessage(b[:n])
}

// read takes the way from an answer.
func read(messages []syscall.NetlinkMessage) (string, error) {
	for _, m := range messages {
		switch m.Header.Type {
		case unix.NLMSG_ERROR:
			if len(m.Data) < 4 {
				return "", unix.EBADMSG
			}
			return "", unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
		case unix.RTM_NEWROUTE:
			attributes, err := syscall.ParseNetlinkRouteAttr(&m)
			if err != nil {
				return "", err
			}
			way, gateway := "nowhere", ""
			for _, a := range attributes {
				switch {
				case a.Attr.Type == unix.RTA_OIF && len(a.Value) == 4:
					way = fmt.Sprintf("interface %d", binary.NativeEndian.Uint32(a.Value))
				case a.Attr.Type == unix.RTA_GATEWAY && len(a.Value) == 4:
					gateway = fmt.Sprintf(" by %v", netip.AddrFrom4([4]byte(a.Value)))
				}
			}
			return way + gateway, nil
		}
	}
	return "", unix.EBADMSG
}

// open opens a socket to the kernel's routing, which gets the news of groups.
func open(groups uint32) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}
