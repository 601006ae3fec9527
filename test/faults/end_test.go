package faults

import (
	"crypto/tls"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// endsWithin is how long a mount may take to end once nothing uses it or it was
// taken away. It is far above what an end takes, and far below what a server may
// be silent in these tests.
const endsWithin = 20 * time.Second

// stillness is a moment at which a server falls silent.
type stillness struct {
	name    string
	options func(*ftptest.Options)
	flags   []string
	arm     func(t *testing.T, s *ftptest.Server) (reached func()) // once something is asked
	dir     bool                                                   // reached by a listing
}

// silentAt falls silent at a command.
func silentAt(verb string, a ftptest.Action) func(*testing.T, *ftptest.Server) func() {
	return func(t *testing.T, s *ftptest.Server) func() {
		armed := s.On(verb, "*", a)
		return func() {
			t.Helper()
			eventually(t, "the server falls silent at "+verb, func() bool { return armed.Fired() > 0 })
		}
	}
}

func stillnesses() []stillness {
	silent := ftptest.Action{Silent: true}
	list := []stillness{
		{name: "half of a file", arm: silentAt("RETR", ftptest.StallAt(5*mib, nil))},
		{name: "half of a file, slowly", flags: []string{"--bwlimit", "8K"}, arm: silentAt("RETR", ftptest.StallAt(5*mib, nil))},
		{name: "no end of a file", arm: silentAt("RETR", ftptest.CutAt(5*mib, ftptest.NoReply))},
		{name: "half of a listing", dir: true, arm: silentAt("LIST", ftptest.StallAt(100, nil))},
		{name: "no end of a listing", dir: true, arm: silentAt("LIST", ftptest.CutAt(1<<40, ftptest.NoReply))},
		{name: "encrypted", options: func(o *ftptest.Options) {
			o.TLSMode, o.TLS = ftptest.ImplicitTLS, ftptest.SelfSigned("127.0.0.1").Config()
		}, flags: []string{"--tls-skip-verify"}, arm: silentAt("RETR", ftptest.StallAt(5*mib, nil))},
		{name: "handshake", options: func(o *ftptest.Options) {
			o.TLSMode, o.TLS = ftptest.ImplicitTLS, ftptest.SelfSigned("127.0.0.1").Config()
		}, flags: []string{"--tls-skip-verify"}, arm: silentHandshake},
		{name: "dead data port", arm: func(t *testing.T, s *ftptest.Server) func() {
			s.Update(func(o *ftptest.Options) { o.EPSVSilent, o.PASVSilent = true, true })
			return silentAt("EPSV", ftptest.Action{Then: func() {}})(t, s)
		}},
	}
	for _, verb := range []string{"CONNECT", "USER", "PASS", "FEAT", "CWD", "EPSV", "SIZE", "RETR", "LIST"} {
		list = append(list, stillness{name: verb, arm: silentAt(verb, silent), dir: verb == "LIST" || verb == "CWD"})
	}
	return list
}

// silentHandshake has the server take connections and not encrypt them.
func silentHandshake(t *testing.T, s *ftptest.Server) func() {
	asked, over := make(chan struct{}, 100), make(chan struct{})
	t.Cleanup(func() { close(over) })
	s.Update(func(o *ftptest.Options) {
		c := o.TLS.Clone()
		c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			asked <- struct{}{}
			<-over
			return nil, errors.New("the test is over")
		}
		o.TLS = c
	})
	return func() { <-asked }
}

// However a mount ends while a server is silent for much longer, and at whatever
// moment it fell silent, the process ends soon.
func TestEndWithSilentServer(t *testing.T) {
	ends := map[string]struct {
		warm bool // no reader, but a warm
		end  func(m *mounted, reader *exec.Cmd) error
	}{
		"SIGTERM, SIGINT": {end: func(m *mounted, _ *exec.Cmd) error { // of two SIGTERM one may get lost
			return errors.Join(m.cmd.Process.Signal(unix.SIGTERM), m.cmd.Process.Signal(unix.SIGINT))
		}},
		"unmount": {end: func(m *mounted, reader *exec.Cmd) error {
			_ = reader.Process.Kill()
			_ = reader.Wait()
			out, err := exec.Command(program(m.t), "unmount", m.dir).CombinedOutput()
			if err != nil {
				return errors.New(string(out))
			}
			return nil
		}},
		"unmount --lazy": {end: func(m *mounted, reader *exec.Cmd) error {
			out, err := exec.Command(program(m.t), "unmount", "--lazy", m.dir).CombinedOutput()
			if err != nil {
				return errors.New(string(out))
			}
			return reader.Process.Kill()
		}},
		"umount -f": {end: func(m *mounted, _ *exec.Cmd) error {
			err := unix.Unmount(m.dir, unix.MNT_FORCE)
			// The reader has lost the mount, but has yet to let go; or its program
			// saw the end first and took it away.
			if err == unix.EBUSY || err == unix.EINVAL {
				return nil
			}
			return err
		}},
		"umount during a warm": {warm: true, end: func(m *mounted, _ *exec.Cmd) error { return unix.Unmount(m.dir, 0) }},
		"SIGTERM during a warm": {warm: true, end: func(m *mounted, _ *exec.Cmd) error {
			return m.cmd.Process.Signal(unix.SIGTERM)
		}},
	}
	for _, still := range stillnesses() {
		for name, e := range ends {
			t.Run(still.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				o := ftptest.Options{}
				if still.options != nil {
					still.options(&o)
				}
				s := ftptest.New(t, o)
				s.Tree().Generate("d/f", 12*mib, 1, epoch)
				s.Tree().Generate("d/e/g", 1000, 2, epoch)
				url := s.URL("")
				m := newMountedAt(t, url, append([]string{"-v", "--timeout", "10m", "--retry-for", "30m", "--dir-cache-time", "1h"}, still.flags...)...)
				// What is known of the folders is asked for no more, so the next mount
				// logs in only when it is used.
				m.start()
				for _, p := range []string{"", "d"} {
					if _, err := os.ReadDir(filepath.Join(m.dir, p)); err != nil {
						t.Fatal(err)
					}
				}
				m.unmount()
				reached := still.arm(t, s)
				m.start()
				path := filepath.Join(m.dir, "d/f")
				if still.dir {
					path = filepath.Join(m.dir, "d/e")
				}
				var reader *exec.Cmd
				switch {
				case e.warm:
					reader = exec.Command(program(t), "warm", path)
					reader.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+m.cache, "HOME="+m.cache)
				case still.dir:
					reader = exec.Command("ls", path)
				default:
					reader = exec.Command("cat", path)
				}
				if err := reader.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					_ = reader.Process.Kill()
					_ = reader.Wait()
				})
				reached()
				if err := e.end(m, reader); err != nil {
					t.Error(err)
				}
				m.endsSoon()
			})
		}
	}
}

// endsSoon fails, and shows what the process does, unless it ends.
func (m *mounted) endsSoon() {
	m.t.Helper()
	begun := time.Now()
	select {
	case <-m.ended:
		m.t.Logf("ended after %v", time.Since(begun))
	case <-time.After(endsWithin):
		_ = m.cmd.Process.Signal(unix.SIGQUIT)
		m.await()
		m.t.Errorf("the process went on: %s", m.log)
	}
	m.cmd = nil
	if strings.Contains(m.log.String(), "panic") {
		m.t.Errorf("it said %s", m.log)
	}
}
