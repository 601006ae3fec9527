package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type mount struct {
	uid     atomic.Uint32 // of who asked last
	admit   func(Caller) error
	blocked chan struct{} // closed when a refresh of "wait" waits
}

func (m *mount) Admit(c Caller) error {
	if m.admit != nil {
		return m.admit(c)
	}
	return nil
}

func (*mount) Status(context.Context) Status {
	return Status{URL: "ftp://host/a", Since: time.Unix(1e9, 0).UTC(), Sessions: Sessions{Bound: 4}}
}

func (m *mount) Refresh(ctx context.Context, uid uint32, r RefreshRequest, report func(Change) error) error {
	m.uid.Store(uid)
	for _, p := range r.Paths {
		switch p {
		case "wait":
			close(m.blocked)
			<-ctx.Done()
			return ctx.Err()
		case "broken":
			return errors.New("it broke")
		}
		if err := report(Change{What: New, Path: p, Size: 7}); err != nil {
			return err
		}
	}
	return nil
}

func (m *mount) Warm(ctx context.Context, uid uint32, r WarmRequest, report func(WarmEvent) error) error {
	m.uid.Store(uid)
	var workers sync.WaitGroup
	for _, p := range r.Paths {
		switch p {
		case "hold":
			if err := report(WarmEvent{What: Started, Path: p}); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		case "wait":
			if err := report(WarmEvent{What: Started, Path: p}); err != nil {
				return err
			}
			<-ctx.Done()
			close(m.blocked)
			return ctx.Err()
		case "broken":
			return errors.New("it broke")
		}
		workers.Go(func() { _ = report(WarmEvent{What: Ended, Path: p, Outcome: OK}) })
	}
	workers.Wait()
	return nil
}

func (*mount) CacheFiles(_ context.Context, _ uint32, report func(CacheFile) error) error {
	return report(CacheFile{Path: "a", Size: 3, Used: time.Unix(1e9, 0).UTC()})
}

func (*mount) CacheVerify(_ context.Context, _ uint32, report func(CacheChecked) error) error {
	return report(CacheChecked{Path: "a", Error: "it is damaged"})
}

func (*mount) CacheRoom(_ context.Context, _ uint32, r RoomRequest) (Room, error) {
	if r.To == nil {
		return Room{}, errors.New("not yours")
	}
	return Room{Freed: *r.To}, nil
}

func serve(t *testing.T, dir string) (*mount, *Server, *Client) {
	t.Helper()
	m := &mount{blocked: make(chan struct{})}
	s, err := Listen(dir, m, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(s.Path())
	t.Cleanup(func() {
		c.Close()
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if _, err := os.Lstat(s.Path()); !os.IsNotExist(err) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return m, s, c
}

func TestStatusInALongFolder(t *testing.T) {
	dir := t.TempDir()
	for len(dir) < 300 {
		dir = filepath.Join(dir, strings.Repeat("x", 100))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "control")
	_, s, c := serve(t, dir)
	got, err := c.Status(t.Context())
	if want := (&mount{}).Status(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("status = %+v, %v; want %+v", got, err, want)
	}
	if pid, err := c.PID(t.Context()); err != nil || pid != os.Getpid() {
		t.Errorf("PID = %d, %v; want %d", pid, err, os.Getpid())
	}
	if i, err := os.Stat(filepath.Dir(s.Path())); err != nil || i.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v; want 0700", i, err)
	}
}

func TestRefresh(t *testing.T) {
	m, _, c := serve(t, filepath.Join(t.TempDir(), "c"))
	var got []Change
	each := func(c Change) error { got = append(got, c); return nil }
	if err := c.Refresh(t.Context(), RefreshRequest{Paths: []string{"a", "b\xe3"}}, each); err != nil {
		t.Fatal(err)
	}
	want := []Change{{New, "a", 7, ""}, {New, "b\ufffd", 7, ""}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("refresh reported %+v, want %+v", got, want)
	}
	if m.uid.Load() != uint32(os.Getuid()) {
		t.Errorf("the mount was told uid %d, want %d", m.uid.Load(), os.Getuid())
	}
	got = nil
	err := c.Refresh(t.Context(), RefreshRequest{Paths: []string{"a", "broken", "b"}}, each)
	if err == nil || len(got) != 2 || got[1] != (Change{What: Failed, Text: "it broke"}) {
		t.Errorf("a refresh that broke reported %+v, %v", got, err)
	}
}

func TestCloseEndsRequests(t *testing.T) {
	m := &mount{blocked: make(chan struct{})}
	s, err := Listen(t.TempDir(), m, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(s.Path())
	defer c.Close()
	done := make(chan error)
	go func() {
		done <- c.Refresh(t.Context(), RefreshRequest{Paths: []string{"wait"}}, func(Change) error { return nil })
	}()
	<-m.blocked
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-done; err == nil {
		t.Error("the refresh of a mount that ended has no error")
	}
}

func TestWarmReportsFromManyGoroutines(t *testing.T) {
	m, _, c := serve(t, t.TempDir())
	var want, got []string
	for i := range 200 {
		want = append(want, fmt.Sprintf("%03d", i))
	}
	each := func(e WarmEvent) error {
		if e.What == Ended && e.Outcome == OK {
			got = append(got, e.Path)
		}
		return nil
	}
	if err := c.Warm(t.Context(), WarmRequest{Paths: want}, each); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("reported %q", got)
	}
	if m.uid.Load() != uint32(os.Getuid()) {
		t.Errorf("the mount was told uid %d", m.uid.Load())
	}
	if err := c.Warm(t.Context(), WarmRequest{Paths: []string{"broken"}}, each); err == nil || err.Error() != "it broke" {
		t.Errorf("a warming that broke: %v", err)
	}
}

func TestWarmEndsWithItsCaller(t *testing.T) {
	m, _, c := serve(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Warm(ctx, WarmRequest{Paths: []string{"wait"}}, func(WarmEvent) error { cancel(); return nil })
	if err == nil {
		t.Error("no error")
	}
	<-m.blocked // the mount's context has ended
}

func TestCache(t *testing.T) {
	_, _, c := serve(t, t.TempDir())
	var files []CacheFile
	err := c.CacheFiles(t.Context(), func(f CacheFile) error { files = append(files, f); return nil })
	if want := []CacheFile{{Path: "a", Size: 3, Used: time.Unix(1e9, 0).UTC()}}; err != nil || !reflect.DeepEqual(files, want) {
		t.Errorf("files: %+v, %v", files, err)
	}
	var checked []CacheChecked
	err = c.CacheVerify(t.Context(), func(f CacheChecked) error { checked = append(checked, f); return nil })
	if want := []CacheChecked{{Path: "a", Error: "it is damaged"}}; err != nil || !reflect.DeepEqual(checked, want) {
		t.Errorf("verified: %+v, %v", checked, err)
	}
	to := int64(7)
	if room, err := c.CacheRoom(t.Context(), RoomRequest{To: &to}); err != nil || room.Freed != 7 {
		t.Errorf("room: %+v, %v", room, err)
	}
	if _, err := c.CacheRoom(t.Context(), RoomRequest{}); err == nil || err.Error() != "not yours" {
		t.Errorf("refused room: %v", err)
	}
}

func TestSocketLeftBehindIsReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, c := serve(t, dir)
	if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestUnknownRequest(t *testing.T) {
	_, _, c := serve(t, t.TempDir())
	_, err := c.do(t.Context(), "GET", "/v1/later", nil)
	if err == nil || !strings.Contains(err.Error(), "does not know") {
		t.Errorf("an unknown request: %v", err)
	}
	gone := NewClient("/nowhere/at/all")
	if _, err := gone.Status(t.Context()); !os.IsNotExist(errors.Unwrap(err)) && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no socket: %v", err)
	}
}

// TestUnknownFields: what only one of a command and a mount knows is passed over.
func TestUnknownFields(t *testing.T) {
	_, _, c := serve(t, filepath.Join(t.TempDir(), "c"))
	later := struct {
		Paths []string `json:"paths"`
		Fly   bool     `json:"fly"`
	}{Paths: []string{"a"}, Fly: true}
	var ended struct {
		Path string `json:"path"`
	}
	err := stream(t.Context(), c, "/v1/warm", later, func(e struct {
		Path string `json:"path"`
	}) error {
		ended = e
		return nil
	})
	if err != nil || ended.Path != "a" {
		t.Errorf("a request with a field more: %+v, %v", ended, err)
	}
}
