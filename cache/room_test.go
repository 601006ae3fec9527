package cache

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/cache/metadata"
	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fileSize is that of all files of zeros.
const fileSize = 3 << 20

// zeros is a server whose files hold zeros.
type zeros struct {
	nowhere
	dirs map[string][]listing.Entry
}

type zeroStream struct{ left int64 }

func (zeros) Open(_ context.Context, _ ftppool.Want, _ string, offset int64) (ftppool.Stream, error) {
	return &zeroStream{fileSize - offset}, nil
}

func (zeros) Stat(context.Context, ftppool.Want, string) (listing.Entry, error) {
	return listing.Entry{}, ftppool.ErrUnsupported
}

func (z zeros) List(_ context.Context, _ ftppool.Want, dir string) (*listing.Listing, error) {
	return &listing.Listing{Entries: z.dirs[dir]}, nil
}

func (z *zeroStream) Read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), z.left)]
	if len(p) == 0 {
		return 0, io.EOF
	}
	clear(p)
	z.left -= int64(len(p))
	return len(p), nil
}

func (*zeroStream) SetClass(ftppool.Class) {}
func (*zeroStream) Close() error           { return nil }

func options(dir string, max int64) Options {
	return Options{
		Dir: dir, Mirror: Mirror{Host: "h", Port: 21}, URL: "ftp://h/", Holder: "the test",
		Fresh: time.Hour, MetadataMemory: 1 << 20, Connections: 1, MaxSize: max, WholeFileBelow: 64 << 20,
		Timeout: time.Second, RetryFor: time.Second, Log: slog.New(slog.DiscardHandler),
	}
}

func open(t *testing.T, o Options, r Remote) *Cache {
	t.Helper()
	claim, err := Take(o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := claim.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func version(size int64) listing.Version {
	return listing.Version{Size: size, MTime: listing.Exactly(time.Unix(1e9, 0))}
}

func warm(t *testing.T, c *Cache, path string) {
	t.Helper()
	if err := c.Content().Warm(t.Context(), 0, path, version(fileSize), nil); err != nil {
		t.Fatalf("warm %s: %v", path, err)
	}
}

func TestFitsAndShrink(t *testing.T) {
	o := options(t.TempDir(), 10<<20)
	c := open(t, o, zeros{})
	check := func(what string, fits bool, files map[string]listing.Version) {
		t.Helper()
		err := c.Fits(files)
		var no *NoRoomError
		if fits != (err == nil) || !fits && !errors.As(err, &no) {
			t.Errorf("%s: %v", what, err)
		}
	}
	six := map[string]listing.Version{"a": version(3 << 20), "b": version(3 << 20)}
	eleven := map[string]listing.Version{"a": version(8 << 20), "b": version(3 << 20)}
	check("six of ten", true, six)
	check("eleven of ten", false, eleven)

	warm(t, c, "old")
	warm(t, c, "other")
	check("six beside what can go", true, six)
	if err := c.Content().Pin("old", true); err != nil {
		t.Fatal(err)
	}
	check("six beside three that are pinned", true, six)
	if err := c.Content().Pin("other", true); err != nil {
		t.Fatal(err)
	}
	check("six beside six that are pinned", false, six)
	check("what is held fits", true, map[string]listing.Version{"old": version(3 << 20), "other": version(3 << 20)})

	if err := c.Content().Pin("other", false); err != nil {
		t.Fatal(err)
	}
	c.Shrink(0)
	if files := c.Content().Files(); len(files) != 1 || files[0].Path != "old" {
		t.Errorf("left are %+v, want the pinned one", files)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	o.MaxSize, o.MinFree = 0, 1<<62
	c = open(t, o, zeros{})
	check("a disk that is to stay free", false, six)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestUnmounted(t *testing.T) {
	o := options(t.TempDir(), 4<<20)
	if folders, err := Folders(o.Dir); err != nil || len(folders) != 0 {
		t.Errorf("folders of nothing: %q, %v", folders, err)
	}
	c := open(t, o, zeros{})
	warm(t, c, "a")
	folders, err := Folders(o.Dir)
	if err != nil || len(folders) != 1 {
		t.Fatalf("folders: %q, %v", folders, err)
	}
	var locked *LockedError
	if _, err := OpenUnmounted(folders[0], "another", false); !errors.As(err, &locked) || locked.Holder != "the test" {
		t.Errorf("beside a mount: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c, err = OpenUnmounted(folders[0], "another", true)
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Content().Stats(); s.Files != 1 || s.MaxSize != 4<<20 {
		t.Errorf("held: %+v", s)
	}
	if _, err := Take(o); !errors.As(err, &locked) || locked.Holder != "another" {
		t.Errorf("a mount beside it: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	about, err := ReadAbout(folders[0])
	if err != nil || about.URL != o.URL || about.MaxSize != o.MaxSize {
		t.Errorf("about: %+v, %v", about, err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(folders[0], 12345, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenUnmounted(folders[0], "another", false); err == nil {
			t.Error("another user's cache was opened")
		}
	}
}

func TestNames(t *testing.T) {
	c := open(t, options(t.TempDir(), 0), zeros{dirs: map[string][]listing.Entry{
		"":          {{Name: "é", Raw: "\xe9", Type: listing.Dir}},
		"\xe9":      {{Name: "plain", Raw: "plain", Type: listing.Dir}, {Name: "ü.txt", Raw: "\xfc.txt", Type: listing.File}},
		"never\xe9": nil,
	}})
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, dir := range []string{"", "\xe9"} {
		if _, err := c.Directory(t.Context(), metadata.Caller{}, dir); err != nil {
			t.Fatal(err)
		}
	}
	names := c.Names()
	for raw, want := range map[string]string{
		"\xe9/\xfc.txt": "é/ü.txt", "\xe9/plain/x\xfc": "é/plain/x\ufffd", "never\xe9/a": "never\ufffd/a", "b": "b",
	} {
		if got := names.Shown(raw); got != want {
			t.Errorf("%q is shown as %q, want %q", raw, got, want)
		}
	}
}
