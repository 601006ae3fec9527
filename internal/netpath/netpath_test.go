package netpath

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// alone reports whether the test is in a network namespace of its own. If not, it
// runs it in one, in a process of its own.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv("NETPATH_ALONE") != "" {
		return true
	}
	cmd := exec.Command("unshare", "--net", os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "NETPATH_ALONE=yes")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

func ip(t *testing.T, words string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", words, err, out)
	}
}

// cards makes two network cards, one and two, that are up.
func cards(t *testing.T) {
	t.Helper()
	ip(t, "link set lo up")
	for _, c := range []string{"one", "two"} {
		ip(t, "link add "+c+" type veth peer name "+c+"-peer")
		ip(t, "link set "+c+" up")
		ip(t, "link set "+c+"-peer up")
	}
}

func TestBetween(t *testing.T) {
	if !alone(t) {
		return
	}
	cards(t)
	four, six := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8:9::9")
	for _, to := range []netip.Addr{four, six} {
		if way, err := Between(netip.Addr{}, to); !errors.Is(err, unix.ENETUNREACH) {
			t.Errorf("without a route: %q, %v", way, err)
		}
	}
	ip(t, "addr add 10.1.0.2/24 dev one")
	ip(t, "addr add 10.2.0.2/24 dev two")
	ip(t, "route add default via 10.1.0.1")
	ip(t, "-6 addr add fd01::2/64 dev one nodad")
	ip(t, "-6 addr add fd02::2/64 dev two nodad")
	ip(t, "-6 route add default via fd01::1")
	from := map[netip.Addr]netip.Addr{four: netip.MustParseAddr("10.1.0.2"), six: netip.MustParseAddr("fd01::2")}
	ways := map[netip.Addr]string{}
	look := func(to netip.Addr) string {
		t.Helper()
		way, err := Between(from[to], to)
		if err != nil {
			t.Fatalf("from %v to %v: %v", from[to], to, err)
		}
		return way
	}
	for to := range from {
		ways[to] = look(to)
	}
	if !strings.Contains(ways[four], "10.1.0.1") {
		t.Errorf("the way to %v is %q", four, ways[four])
	}
	unchanged := func(what string) {
		t.Helper()
		for to := range from {
			if way := look(to); way != ways[to] {
				t.Errorf("after %s the way to %v is %q, was %q", what, to, way, ways[to])
			}
		}
	}
	ip(t, "link add bridge type veth peer name bridge-peer")
	ip(t, "link set bridge up")
	ip(t, "addr add 172.17.0.1/16 dev bridge")
	unchanged("a bridge came up")
	ip(t, "-6 addr change fd01::2/64 dev one valid_lft 3600 preferred_lft 1800")
	unchanged("an address was renewed")
	ip(t, "-6 addr add fd01::77/64 dev one nodad")
	ip(t, "-6 addr change fd01::2/64 dev one valid_lft 3600 preferred_lft 0")
	unchanged("another address is preferred")
	ip(t, "route add 198.51.100.0/24 via 10.2.0.1")
	unchanged("a route to elsewhere")

	ip(t, "route replace default via 10.1.0.254")
	if way := look(four); way == ways[four] {
		t.Errorf("by another gateway the way is %q still", way)
	}
	ip(t, "route replace default via 10.2.0.1")
	ip(t, "-6 route replace default via fd02::1")
	for to := range from {
		if way := look(to); way == ways[to] {
			t.Errorf("by another card the way to %v is %q still", to, way)
		}
	}
	ip(t, "addr del 10.1.0.2/24 dev one")
	ip(t, "-6 addr del fd01::2/64 dev one")
	for to := range from {
		if way, err := Between(from[to], to); !errors.Is(err, ErrGone) {
			t.Errorf("from an address that is gone: %q, %v", way, err)
		}
		if way, err := Between(netip.Addr{}, to); err != nil {
			t.Errorf("from any address: %q, %v", way, err)
		}
	}
	if way, err := Between(netip.MustParseAddr("127.0.0.7"), netip.MustParseAddr("::ffff:127.0.0.1")); err != nil {
		t.Errorf("on this machine: %q, %v", way, err)
	}
}

// clocks are those of a machine that sleeps when told.
type clocks struct {
	mu    sync.Mutex
	slept time.Duration
	begun time.Time
}

func (c *clocks) now() (awake, on time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	awake = time.Since(c.begun)
	return awake, awake + c.slept
}

func (c *clocks) sleep(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slept += d
}

func TestWatch(t *testing.T) {
	if !alone(t) {
		return
	}
	cards(t)
	c := &clocks{begun: time.Now()}
	told := make(chan Event, 100)
	w, err := Watch(c.now, func(e Event) { told <- e })
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what string, want Event) {
		t.Helper()
		for {
			select {
			case e := <-told:
				if e == want {
					return
				}
				t.Logf("%s: also event %d", what, e)
			case <-time.After(30 * time.Second):
				t.Fatalf("%s: nothing is told", what)
			}
		}
	}
	for _, change := range []string{"addr add 10.1.0.2/24 dev one", "route add default via 10.1.0.1", "link set two down", "-6 addr add fd01::2/64 dev one nodad", "rule add to 192.0.2.0/24 table 7", "addr del 10.1.0.2/24 dev one"} {
		ip(t, change)
		expect(change, Changed)
	}
	c.sleep(time.Second)
	c.sleep(time.Hour)
	expect("an hour of sleep", Slept)
	// Much news at once is told, but not each of it.
	for i := range 200 {
		ip(t, fmt.Sprintf("addr add 10.9.0.%d/32 dev two", i+1))
	}
	expect("much news", Changed)
	if n := len(told); n > 20 {
		t.Errorf("told %d times of 200 changes", n)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	for len(told) > 0 {
		<-told
	}
	ip(t, "addr add 10.1.0.3/24 dev one")
	if n := len(told); n > 0 {
		t.Errorf("told %d times after the end", n)
	}
}
