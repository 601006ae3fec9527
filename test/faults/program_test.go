package faults

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

var (
	buildOnce sync.Once
	built     string // the folder of the program
	buildErr  error
)

// program builds mirrorfs once.
func program(t testing.TB) string {
	t.Helper()
	buildOnce.Do(func() {
		if built, buildErr = os.MkdirTemp("", "mirrorfs-faults-"); buildErr != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", filepath.Join(built, "mirrorfs"), "../../cmd/mirrorfs").CombinedOutput()
		if err != nil {
			buildErr = errors.Join(err, errors.New(string(out)))
		}
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return filepath.Join(built, "mirrorfs")
}

// mounted is the program at work on a folder.
type mounted struct {
	t          *testing.T
	dir, cache string
	url        string
	options    []string
	wrap       []string // a program that runs it

	cmd   *exec.Cmd
	ended chan struct{} // closed when it ended
	log   *bytes.Buffer // what it said; read once it ended
}

func newMounted(t *testing.T, s *ftptest.Server, options ...string) *mounted {
	t.Helper()
	return newMountedAt(t, s.URL(""), options...)
}

func newMountedAt(t *testing.T, url string, options ...string) *mounted {
	t.Helper()
	base := t.TempDir()
	m := &mounted{t: t, dir: filepath.Join(base, "mnt"), cache: filepath.Join(base, "cache"), url: url, options: options}
	for _, d := range []string{m.dir, m.cache} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if m.cmd != nil {
			m.kill()
		}
		_ = syscall.Unmount(m.dir, syscall.MNT_DETACH)
	})
	return m
}

// start mounts, and waits until the mount answers.
func (m *mounted) start() {
	m.t.Helper()
	words := append([]string{"--foreground", "--cache-dir", m.cache}, m.options...)
	words = append(append(append([]string(nil), m.wrap...), program(m.t)), append(words, m.url, m.dir)...)
	m.cmd = exec.Command(words[0], words[1:]...)
	m.cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+m.cache, "HOME="+m.cache)
	m.log = new(bytes.Buffer)
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	ended, cmd := make(chan struct{}), m.cmd
	m.ended = ended
	go func() { _ = cmd.Wait(); close(ended) }()
	deadline := time.After(patience)
	for !m.answers() {
		select {
		case <-ended:
			m.cmd = nil
			m.t.Fatalf("the mount ended at once: %s", m.log.String())
		case <-deadline:
			m.t.Fatal("the mount does not answer")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// answers reports whether the folder is a living mount. It asks in a way that
// waits for nothing.
func (m *mounted) answers() bool {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil || !strings.Contains(string(b), " "+m.dir+" fuse.mirrorfs ") {
		return false
	}
	const fuseMagic = 0x65735546 // else it is the bare folder, between an old mount and the next
	var st syscall.Statfs_t
	return syscall.Statfs(m.dir, &st) == nil && st.Type == fuseMagic
}

// kill ends the process as a crash does.
func (m *mounted) kill() {
	m.t.Helper()
	cmd := m.cmd
	m.cmd = nil
	_ = cmd.Process.Signal(syscall.SIGKILL)
	m.await()
}

func (m *mounted) await() {
	m.t.Helper()
	select {
	case <-m.ended:
	case <-time.After(patience):
		m.t.Error("the process goes on")
	}
}

// unmount ends the mount in order.
func (m *mounted) unmount() {
	m.t.Helper()
	m.cmd = nil
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, program(m.t), "unmount", m.dir).CombinedOutput(); err != nil {
		m.t.Errorf("unmount: %v: %s", err, out)
	}
	m.await()
}

// check reads a file through the mount, up to max bytes from off, in pieces.
func (m *mounted) check(p string, want ftptest.Content, off, max int64) error {
	f, err := os.Open(filepath.Join(m.dir, p))
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 100_000)
	for end := min(off+max, want.Size()); off < end; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), end-off)], off)
		if wrong := compare(buf[:n], want, off, false); wrong != nil {
			return errors.Join(errWrong, wrong)
		}
		off += int64(n)
		switch {
		case err == io.EOF && off < end:
			return errors.Join(errWrong, io.ErrUnexpectedEOF)
		case err != nil && err != io.EOF:
			return err
		}
	}
	return nil
}
