package control

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

const stranger = 65534

// dialAs connects as another user: the kernel keeps who connected by the thread.
func dialAs(t *testing.T, uid uint32, path string) net.Conn {
	t.Helper()
	var conn net.Conn
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
			if _, _, errno := unix.RawSyscall(call, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
				err = errno
				return
			}
		}
		conn, err = dial(context.Background(), path)
	}()
	<-done
	if err != nil {
		t.Fatalf("uid %d can't connect: %v", uid, err)
	}
	return conn
}

// clientAs is a client with one connection, made by another user.
func clientAs(t *testing.T, uid uint32, path string) *Client {
	t.Helper()
	conn := dialAs(t, uid, path)
	c := &Client{path, &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}}}
	t.Cleanup(func() { c.Close(); conn.Close() })
	return c
}

func serveOthers(t *testing.T, dir string) (*mount, *Server) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test becomes another user; run it as root")
	}
	m := &mount{}
	s, err := Listen(dir, m, Options{Others: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if s.PathForOthers() == "" {
		t.Fatal("others are not answered")
	}
	return m, s
}

// TestOthers: other users reach a socket whose folder they can't list, and are
// known by their uid and groups; the private one is not theirs.
func TestOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	m, s := serveOthers(t, dir)
	var seen []Caller
	m.admit = func(c Caller) error {
		seen = append(seen, c)
		if c.UID == stranger-1 {
			return os.ErrPermission
		}
		return nil
	}
	folder := filepath.Dir(s.PathForOthers())
	for path, want := range map[string]os.FileMode{
		folder: os.ModeDir | 0o711, filepath.Dir(folder): os.ModeDir | 0o711, s.PathForOthers(): os.ModeSocket | 0o666,
		dir: os.ModeDir | 0o700,
	} {
		if i, err := os.Lstat(path); err != nil || i.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", path, i, err, want)
		}
	}
	if st, err := clientAs(t, stranger, s.PathForOthers()).Status(t.Context()); err != nil || st.URL != "ftp://host/a" {
		t.Errorf("another user's status: %+v, %v", st, err)
	}
	if _, err := clientAs(t, stranger-1, s.PathForOthers()).Status(t.Context()); err == nil || err.Error() != os.ErrPermission.Error() {
		t.Errorf("one who is not admitted: %v", err)
	}
	if len(seen) != 2 || seen[0].UID != stranger || !slices.Contains(seen[0].Groups, stranger) {
		t.Errorf("the callers were %+v", seen)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(folder); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", folder, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

// TestCrashedMeetingIsRemoved: what a mount that died left is gone after the next.
func TestCrashedMeetingIsRemoved(t *testing.T) {
	for _, others := range []bool{true, false} {
		dir := t.TempDir()
		m, err := newMeeting(filepath.Join(dir, "others"))
		if err != nil {
			t.Fatal(err)
		}
		if l, err := listenOthers(m.dir); err != nil {
			t.Fatal(err)
		} else {
			l.Close() // the socket stays
		}
		if m.keep != nil {
			m.keep.Close()
		}
		s, err := Listen(dir, &mount{}, Options{Others: others, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(m.dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", m.dir, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestMeetingInTmp: a user meets others in /tmp.
func TestMeetingInTmp(t *testing.T) {
	m := &meeting{link: filepath.Join(t.TempDir(), "others")}
	base, err := m.tmp()
	if err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(base); err != nil || i.Mode().Perm() != 0o711 || filepath.Dir(base) != "/tmp" {
		t.Errorf("%s: %v, %v", base, i, err)
	}
	if err := m.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(base); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", base, err)
	}
}

// TestOthersAreBounded: what one user takes is bounded, and leaves room for the
// next; the owner is not bound.
func TestOthersAreBounded(t *testing.T) {
	_, s := serveOthers(t, filepath.Join(t.TempDir(), "c"))
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	path := s.PathForOthers()
	large := RefreshRequest{Paths: []string{strings.Repeat("x", maxOthersBody)}}
	ignore := func(Change) error { return nil }
	if err := clientAs(t, stranger, path).Refresh(t.Context(), large, ignore); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a large request: %v", err)
	}
	if err := clientAs(t, 0, path).Refresh(t.Context(), large, ignore); err != nil {
		t.Errorf("the owner's large request: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	var warming, begun sync.WaitGroup
	defer warming.Wait()
	defer cancel()
	hold := func(uid uint32) {
		c := clientAs(t, uid, path)
		begun.Add(1)
		warming.Go(func() {
			_ = c.Warm(ctx, WarmRequest{Paths: []string{"hold"}}, func(WarmEvent) error { begun.Done(); return nil })
		})
	}
	for range maxRequests {
		hold(stranger)
		hold(0)
	}
	begun.Wait()
	if _, err := clientAs(t, stranger, path).Status(t.Context()); err == nil || err.Error() != errBusy.Error() {
		t.Errorf("one request more: %v", err)
	}
	for _, uid := range []uint32{0, stranger - 1} {
		if _, err := clientAs(t, uid, path).Status(t.Context()); err != nil {
			t.Errorf("uid %d: %v", uid, err)
		}
	}

	var silent []net.Conn
	for range maxConnections + 1 {
		silent = append(silent, dialAs(t, stranger, path))
	}
	if _, err := silent[maxConnections].Read(make([]byte, 1)); err == nil {
		t.Error("a connection too many was answered")
	}
	if _, err := clientAs(t, stranger-1, path).Status(t.Context()); err != nil {
		t.Errorf("another user meanwhile: %v", err)
	}
	for _, c := range silent {
		c.Close()
	}
}
