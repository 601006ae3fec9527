package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// network is a network namespace in which a mount may live: it has its own
// addresses and routes, and reaches this one, where the servers are, by its
// cards only.
type network struct {
	t    testing.TB
	name string
}

// card is a network card of such a namespace and its other end, which is here.
type card struct {
	dev         string // in the namespace
	here        string // the device's name here
	there, addr string // the address in the namespace, and the one here
}

var networks atomic.Int64 // made so far; each card has a net of its own

func newNetwork(t testing.TB) *network {
	t.Helper()
	n := &network{t, fmt.Sprintf("mirrorfs-e2e-%d-%d", os.Getpid(), networks.Add(1))}
	ip(t, "netns add "+n.name)
	t.Cleanup(func() { ip(t, "netns del "+n.name) })
	n.ip("link set lo up")
	return n
}

// ip runs ip in the namespace.
func (n *network) ip(words string) {
	n.t.Helper()
	ip(n.t, "-n "+n.name+" "+words)
}

func ip(t testing.TB, words string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput(); err != nil {
		t.Errorf("ip %s: %v\n%s", words, err, out)
		t.FailNow()
	}
}

// enter are the words that run a program in the namespace; "ip netns exec" would
// also change mounts.
func (n *network) enter() []string {
	return []string{"nsenter", "--net=/run/netns/" + n.name, "--"}
}

// plug gives the namespace a card, with an address and without routes. Its net is
// from the range for tests of network devices (RFC 2544), by chance.
func (n *network) plug() *card {
	n.t.Helper()
	k := networks.Add(1)
	base := netip.AddrFrom4([4]byte{198, 18, 0, 0}).As4()
	binary.BigEndian.PutUint32(base[:], binary.BigEndian.Uint32(base[:])+uint32(os.Getpid()%512)<<8+uint32(k%32)<<3)
	at := func(i byte) string {
		b := base
		b[3] += i
		return netip.AddrFrom4(b).String()
	}
	c := &card{dev: fmt.Sprintf("c%d", k), here: fmt.Sprintf("mfs%d-%d", os.Getpid()%100000, k), addr: at(1), there: at(2)}
	ip(n.t, fmt.Sprintf("link add %s type veth peer name %s netns %s", c.here, c.dev, n.name))
	n.t.Cleanup(func() { _ = exec.Command("ip", "link", "del", c.here).Run() }) // it went with the namespace, as a rule
	ip(n.t, fmt.Sprintf("addr add %s/29 dev %s", c.addr, c.here))
	ip(n.t, fmt.Sprintf("link set %s up", c.here))
	n.ip(fmt.Sprintf("addr add %s/29 dev %s", c.there, c.dev))
	n.ip(fmt.Sprintf("link set %s up", c.dev))
	return c
}

// another is one more address of the card's net, for its end in the namespace.
func (c *card) another() string {
	return netip.MustParseAddr(c.there).Next().String()
}

// capture is what goes over a card, as packets from the IP header on.
type capture struct {
	t       testing.TB
	fd      int
	quit    chan struct{}
	end     func() // what goes over the card from now on is left out
	done    sync.WaitGroup
	packets [][]byte
}

// listen captures what goes over the card, both ways, until it is stopped.
func (c *card) listen(t testing.TB) *capture {
	t.Helper()
	dev, err := net.InterfaceByName(c.here)
	if err != nil {
		t.Fatal(err)
	}
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	// Of no protocol until it is bound, or it would have what others send by then.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	k := &capture{t: t, fd: fd, quit: make(chan struct{})}
	k.end = sync.OnceFunc(func() {
		close(k.quit)
		k.done.Wait()
		k.check()
	})
	for _, err := range []error{
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: dev.Index}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	k.done.Go(k.run)
	t.Cleanup(k.end)
	return k
}

func (k *capture) run() {
	b := make([]byte, 1<<17)
	for {
		n, _, err := unix.Recvfrom(k.fd, b, 0)
		if err == nil {
			k.packets = append(k.packets, bytes.Clone(b[:n]))
			continue
		}
		select {
		case <-k.quit: // and nothing more is there
			return
		default:
		}
	}
}

// stop returns all that went over the card.
func (k *capture) stop() [][]byte {
	k.t.Helper()
	k.end()
	return k.packets
}

func (k *capture) check() {
	defer unix.Close(k.fd)
	if st, err := unix.GetsockoptTpacketStats(k.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err != nil || st.Drops > 0 {
		k.t.Errorf("the capture is not complete: %+v, %v", st, err)
	}
}
