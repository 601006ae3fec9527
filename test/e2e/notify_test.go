package e2e

import (
	"bytes"
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// manager is the end of a notify socket that systemd has.
type manager struct {
	t    testing.TB
	path string
	conn *net.UnixConn
}

func newManager(t testing.TB) *manager {
	t.Helper()
	path := filepath.Join(sandbox(t), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t, path, conn}
}

// next is what the manager is told next: variables and their values.
func (m *manager) next() map[string]string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		m.t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := m.conn.Read(b)
	if err != nil {
		m.t.Fatal(err)
	}
	told := make(map[string]string)
	for line := range strings.Lines(string(b[:n])) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok {
			m.t.Fatalf("not a variable: %q", line)
		}
		told[name] = value
	}
	return told
}

// silent checks that the manager was told nothing more.
func (m *manager) silent() {
	m.t.Helper()
	out, err := net.Dial("unixgram", m.path)
	if err != nil {
		m.t.Fatal(err)
	}
	defer out.Close()
	if _, err := out.Write([]byte("END=1")); err != nil {
		m.t.Fatal(err)
	}
	if told := m.next(); told["END"] != "1" {
		m.t.Errorf("told more: %v", told)
	}
}

// service is a mount in the foreground, as a service manager runs it.
func (m *manager) service(p *place, url string, options ...string) (*exec.Cmd, *bytes.Buffer) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	m.t.Cleanup(cancel)
	p.env = append(p.env, "NOTIFY_SOCKET="+m.path)
	cmd := p.command(ctx, p.words(url, append(options, "-f")...)...)
	errs := new(bytes.Buffer)
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // ended already, unless the test failed
		_ = unix.Unmount(p.dir, unix.MNT_DETACH)
	})
	return cmd, errs
}

// TestNotify: a mount in the foreground tells a service manager that it is ready
// when it answers, and not before; when it reloads, and when it ends.
func TestNotify(t *testing.T) {
	s := smallServer(t)
	s.Freeze()
	p, m := newPlace(t, raced), newManager(t)
	cmd, errs := m.service(p, s.url(""), "--timeout", "50s")
	told := m.next()
	if told["READY"] != "" || !strings.HasPrefix(told["STATUS"], "connecting to 127.0.0.1") {
		t.Errorf("at the start: %v", told)
	}
	if usec, err := strconv.Atoi(told["EXTEND_TIMEOUT_USEC"]); err != nil || usec < 50e6 {
		t.Errorf("the start may take --timeout at least: %v", told)
	}
	if e, ok := mountAt(p.dir); ok {
		t.Errorf("mounted without a word of the server: %+v", e)
	}
	m.silent()
	s.Thaw()
	told = m.next()
	if told["READY"] != "1" || !strings.Contains(told["STATUS"], s.url("")) || !strings.HasSuffix(told["STATUS"], p.dir) {
		t.Fatalf("ready: %v\n%s%s", told, errs, p.logTail())
	}
	reads(t, p.dir)

	if got := names(t, filepath.Join(p.dir, "dir")); !slices.Equal(got, []string{"file.txt"}) {
		t.Fatalf("%q", got)
	}
	s.Tree().WriteFile("dir/new.txt", []byte("new\n"), time.Now())
	var before unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &before); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	told = m.next()
	if usec, err := strconv.ParseInt(told["MONOTONIC_USEC"], 10, 64); told["RELOADING"] != "1" || err != nil || usec < before.Nano()/1000 {
		t.Errorf("reloading, after %d: %v", before.Nano()/1000, told)
	}
	if told = m.next(); told["READY"] != "1" || told["STATUS"] == "" {
		t.Errorf("reloaded: %v", told)
	}
	until(t, patience, "the new file is shown", func() bool {
		return slices.Contains(names(t, filepath.Join(p.dir, "dir")), "new.txt")
	})

	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if told = m.next(); told["STOPPING"] != "1" || told["STATUS"] == "" || told["EXTEND_TIMEOUT_USEC"] == "" {
		t.Errorf("stopping: %v", told)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, errs)
	}
	m.silent()
	p.checkRaces()
}

// TestNotifyUnmounted: a service manager learns of an unmount too, and one that
// started a mount in the background is told nothing.
func TestNotifyUnmounted(t *testing.T) {
	s := smallServer(t)
	p, m := newPlace(t, plain), newManager(t)
	cmd, errs := m.service(p, s.url(""))
	for told := m.next(); told["READY"] == ""; told = m.next() {
	}
	if code, _, errs := p.run("unmount", p.dir); code != 0 {
		t.Error(errs)
	}
	if told := m.next(); told["STOPPING"] != "1" {
		t.Errorf("stopping: %v", told)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, errs)
	}
	p.mount(s.url("")).unmount() // with the socket in its environment
	m.silent()
}

// TestNotifyFailure: a start that fails is never ready, and its reason is its
// status.
func TestNotifyFailure(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Users: map[string]string{"maria": "right"}})
	p, m := newPlace(t, plain), newManager(t)
	cmd, errs := m.service(p, "ftp://"+s.Addr()+"/")
	m.next()
	told := m.next()
	_ = cmd.Wait() // its exit code tells more
	if told["READY"] != "" || !strings.Contains(told["STATUS"], "530") || errs.String() != "mirrorfs: "+told["STATUS"]+"\n" {
		t.Errorf("told %v, said %q", told, errs)
	}
	if code := cmd.ProcessState.ExitCode(); code != 6 {
		t.Errorf("exit code %d, want 6", code)
	}
	m.silent()
}
