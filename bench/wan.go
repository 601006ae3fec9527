package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// wan is a wide-area link on one machine: two network namespaces joined by a
// pair of TUN devices, between which packets are carried with a delay. Both
// ends see real TCP over a real round trip, which a proxy can't give.
type wan struct {
	client, server string // namespaces
	serverIP       string
	devices        []*os.File
	carriers       sync.WaitGroup
}

const (
	wanMTU   = 1500
	wanQueue = 20000 // packets in flight each way; a full queue drops, as a router would
	// wanTick is the least that the carrier sleeps. A timer for each packet would
	// take a whole processor at 70 MB/s, which the line then could not exceed.
	wanTick = 200 * time.Microsecond
)

type packet struct {
	due  time.Time
	data *[wanMTU]byte
	n    int
}

// newWAN makes the link with the given round-trip time. It needs root.
func newWAN(ctx context.Context, rtt time.Duration) (_ *wan, err error) {
	suffix := fmt.Sprint(os.Getpid())
	w := &wan{client: "mfs-c" + suffix, server: "mfs-s" + suffix, serverIP: "10.98.0.2"}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	for _, end := range []struct{ ns, dev, addr string }{
		{w.client, "mfsc", "10.98.0.1"}, {w.server, "mfss", w.serverIP},
	} {
		dev, err := tun(end.dev)
		if err != nil {
			return nil, err
		}
		w.devices = append(w.devices, dev)
		for _, line := range []string{
			"ip netns add " + end.ns,
			"ip link set " + end.dev + " netns " + end.ns,
			"ip -n " + end.ns + " link set lo up",
			"ip -n " + end.ns + " addr add " + end.addr + "/24 dev " + end.dev,
			fmt.Sprintf("ip -n %s link set %s mtu %d txqueuelen %d up", end.ns, end.dev, wanMTU, wanQueue),
		} {
			if err := sh(ctx, line); err != nil {
				return nil, err
			}
		}
	}
	w.carriers.Go(func() { carry(w.devices[0], w.devices[1], rtt/2) })
	w.carriers.Go(func() { carry(w.devices[1], w.devices[0], rtt/2) })
	return w, nil
}

func (w *wan) close() {
	for _, d := range w.devices {
		d.Close()
	}
	w.carriers.Wait()
	// The deletions are a courtesy to the next run; a failure shows there.
	_ = sh(context.Background(), "ip netns del "+w.client)
	_ = sh(context.Background(), "ip netns del "+w.server)
}

// enter returns the words that run a command in namespace ns. "ip netns exec"
// would also change the mount namespace and hide FUSE mounts made there.
func enter(ns string) []string {
	if ns == "" {
		return nil
	}
	return []string{"nsenter", "--net=/run/netns/" + ns, "--"}
}

func tun(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("TUN device %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// carry moves packets from src to dst, each no sooner than delay after it was
// read, until either is closed.
func carry(src, dst *os.File, delay time.Duration) {
	queue := make(chan packet, wanQueue)
	buffers := sync.Pool{New: func() any { return new([wanMTU]byte) }}
	var writer sync.WaitGroup
	writer.Go(func() {
		for p := range queue {
			if d := time.Until(p.due); d > 0 {
				time.Sleep(max(d, wanTick))
			}
			if _, err := dst.Write(p.data[:p.n]); errors.Is(err, os.ErrClosed) {
				for range queue { // let the reader go
				}
				return
			}
			buffers.Put(p.data)
		}
	})
	for {
		buf := buffers.Get().(*[wanMTU]byte)
		n, err := src.Read(buf[:])
		if errors.Is(err, os.ErrClosed) {
			break
		}
		if err != nil {
			continue // the device's other end is being set up or torn down
		}
		select {
		case queue <- packet{time.Now().Add(delay), buf, n}:
		default:
		}
	}
	close(queue)
	writer.Wait()
}

func sh(ctx context.Context, line string) error {
	words := strings.Fields(line)
	out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, strings.TrimSpace(string(out)))
	}
	return nil
}
