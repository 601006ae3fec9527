package e2e

import (
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// told is what a path's extended attribute says of its last error.
func told(t *testing.T, path string) string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Getxattr(path, "user.mirrorfs.error", buf)
	if err != nil {
		t.Errorf("user.mirrorfs.error of %s: %v", path, err)
		return ""
	}
	return string(buf[:n])
}

// TestErrors: programs get the errno that fits, and the extended attribute says
// in words what happened, when, and what was tried.
func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		begin func(*ftptest.Server, *network, *card)
		errno unix.Errno
		words string
	}{
		"server down": {func(s *ftptest.Server, _ *network, _ *card) { s.Stop() },
			unix.ECONNREFUSED, "connection refused"},
		"server silent": {func(s *ftptest.Server, _ *network, _ *card) { s.DropAll(); s.Freeze() },
			unix.ETIMEDOUT, "--timeout waits longer"},
		"login refused": {func(s *ftptest.Server, _ *network, _ *card) {
			s.DropAll()
			s.On("USER", "*", ftptest.Reply(530, "Not today."))
		}, unix.EACCES, "Not today"},
		"not understood": {func(s *ftptest.Server, _ *network, _ *card) {
			s.On("*", "*", ftptest.Reply(451, "Local error in processing."))
		}, unix.EIO, "Local error"},
		"host unreachable": {func(s *ftptest.Server, n *network, c *card) {
			s.DropAll()
			n.ip("route add unreachable " + c.addr)
		}, unix.EHOSTUNREACH, "no way to the host"},
		"network unreachable": {func(s *ftptest.Server, n *network, c *card) {
			s.DropAll()
			n.ip("addr del " + c.there + "/29 dev " + c.dev)
		}, unix.ENETUNREACH, "no way to the host"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			card := n.plug()
			f := &fixture{}
			f.text("known/file.txt", "content\n")
			f.text("unknown/file.txt", "content\n")
			s := ftptest.New(t, ftptest.Options{Tree: f.tree(), Listen: net.JoinHostPort(card.addr, "0")})
			p := newPlace(t, raced)
			p.via = n.enter()
			m := p.mount(s.URL(""), "--timeout", "3s", "--retry-for", "2s", "--list-ahead", "0", "--connections", "2")
			names(t, m.path("known"))
			c.begin(s, n, card)
			file := m.path("known/file.txt")
			for what, fail := range map[string]func() error{
				m.path("unknown"): func() error { _, err := os.ReadDir(m.path("unknown")); return err },
				file: func() error {
					f, err := os.Open(file)
					if err != nil {
						return err
					}
					defer f.Close()
					_, err = io.ReadAll(f)
					return err
				},
			} {
				if err := fail(); !errors.Is(err, c.errno) {
					t.Errorf("%s: %v, want %v", what, err, c.errno)
				}
				text := told(t, what)
				if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S+: `).MatchString(text) || !strings.Contains(text, c.words) {
					t.Errorf("%s: it says %q", what, text)
				}
				// A refusal is not tried again, an outage is.
				again := c.errno != unix.EACCES && c.errno != unix.EIO
				if what == file && again && !regexp.MustCompile(`tried \d+ times since \d{4}-`).MatchString(text) {
					t.Errorf("%s: it does not say what was tried: %q", what, text)
				}
			}
		})
	}
}
