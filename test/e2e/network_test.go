package e2e

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// moving is a mirror mounted in a namespace with two cards, in the middle of a
// file. A connection may be silent for twenty minutes, so nothing but the news of
// a change gets the transfer to go on.
type moving struct {
	t        *testing.T
	server   *ftptest.Server
	net      *network
	one, two *card
	m        *mounted
	file     *os.File
	truth    ftptest.Content
	release  func() // transfers that stand still
}

func startMoving(t *testing.T) *moving {
	t.Helper()
	v := &moving{t: t, net: newNetwork(t)}
	v.one, v.two = v.net.plug(), v.net.plug()
	v.net.ip("route add default via " + v.one.addr)
	f := &fixture{}
	f.add("dir/large.bin", ftptest.Generated(24<<20, 1))
	f.text("other/file.txt", "content\n")
	v.truth = f.files[0].content
	v.server = ftptest.New(t, ftptest.Options{Tree: f.tree(), Listen: v.one.addr + ":0"})
	gate := make(chan struct{})
	v.release = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(v.release)
	stall := v.server.On("RETR", "*", ftptest.StallAt(4<<20, gate))
	p := newPlace(t, raced)
	p.via = v.net.enter()
	v.m = p.mount(v.server.URL(""), "--timeout", "1h", "--connections", "3")
	names(t, v.m.path("dir"))
	var err error
	if v.file, err = os.Open(v.m.path("dir/large.bin")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.file.Close() })
	head := make([]byte, 2<<20)
	if _, err := io.ReadFull(v.file, head); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the transfer stands still", func() bool { return v.server.BytesSent() >= 4<<20 })
	if stall.Fired() == 0 {
		t.Fatal("no transfer stands still")
	}
	return v
}

// rest reads the file to its end.
func (v *moving) rest() {
	v.t.Helper()
	same(v.t, v.file.Name(), v.truth)
	if again := v.server.BytesSent() - v.truth.Size(); again > v.truth.Size()/10 {
		v.t.Errorf("%d bytes were sent again", again)
	}
}

// logged waits for words in the log.
func (v *moving) logged(words string) {
	v.t.Helper()
	until(v.t, patience, "the log says "+words, func() bool {
		b, _ := os.ReadFile(v.m.log)
		return strings.Contains(string(b), words)
	})
}

// TestNetworkChanges: when the machine's address or its route to the server
// changes, transfers go on by new sessions and idle ones are not used again.
func TestNetworkChanges(t *testing.T) {
	for name, change := range map[string]func(v *moving){
		"another address": func(v *moving) {
			v.net.ip(fmt.Sprintf("addr del %s/29 dev %s", v.one.there, v.one.dev))
			v.net.ip(fmt.Sprintf("addr add %s/29 dev %s", v.one.another(), v.one.dev))
		},
		"another route": func(v *moving) {
			v.net.ip(fmt.Sprintf("route add %s via %s", v.one.addr, v.two.addr))
		},
		"another card": func(v *moving) {
			v.net.ip(fmt.Sprintf("link set %s down", v.one.dev))
			v.net.ip("route add default via " + v.two.addr)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := startMoving(t)
			v.server.ClearRules() // transfers that stand still go on to do so
			change(v)
			v.logged("the way to the server changed")
			reads := v.m.path("other/file.txt")
			if b, err := os.ReadFile(reads); err != nil || string(b) != "content\n" {
				t.Errorf("%q, %v", b, err)
			}
			v.rest()
		})
	}
}

// TestOtherNetworkNews: what changes elsewhere, as when containers are started,
// cuts no transfer.
func TestOtherNetworkNews(t *testing.T) {
	v := startMoving(t)
	connects, transfers := v.server.Count("CONNECT"), v.server.Count("RETR")
	v.net.ip("link add docker0 type veth peer name veth0")
	v.net.ip("link set docker0 up")
	v.net.ip("addr add 172.17.0.1/16 dev docker0")
	v.net.ip("-6 addr add fd00::2/64 dev " + v.one.dev + " valid_lft 3600 preferred_lft 1800 nodad")
	v.net.ip("-6 addr change fd00::2/64 dev " + v.one.dev + " valid_lft 7200 preferred_lft 3600")
	v.net.ip("route add 192.0.2.0/24 via " + v.two.addr)
	v.net.ip("link set " + v.two.dev + " down")
	v.logged("not the way to the server")
	v.release()
	v.rest()
	if now := v.server.Count("RETR"); now != transfers {
		t.Errorf("%d transfers, were %d", now, transfers)
	}
	if now := v.server.Count("CONNECT"); now != connects {
		t.Errorf("%d sessions, were %d", now, connects)
	}
}
