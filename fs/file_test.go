package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"golang.org/x/sys/unix"
)

func TestAttributes(t *testing.T) {
	m := newStandIn(t)
	m.mkdir("", "d")
	m.file("f", bytes.Repeat([]byte("x"), 5000), someTime)
	m.put("", listing.Entry{Name: "minute", Type: listing.File, Size: 513, MTime: listing.Interval{Min: 1_699_999_980, Max: 1_699_999_980 + 59}})
	m.put("", listing.Entry{Name: "undated", Type: listing.File, Size: 0, MTime: listing.Anytime()})
	dir, _ := mountIn(t, m)
	a := startAgent(t, "stater")
	for _, c := range []struct {
		name         string
		mode         uint32
		size, blocks int64
		mtime        int64
	}{
		{"d", syscall.S_IFDIR | 0o755, 4096, 8, someTime},
		{"f", syscall.S_IFREG | 0o644, 5000, 10, someTime},
		{"minute", syscall.S_IFREG | 0o644, 513, 2, 1_699_999_980},
		{"undated", syscall.S_IFREG | 0o644, 0, 0, 0},
	} {
		r := a.do(order{Do: "stat", Path: filepath.Join(dir, c.name)})
		st := r.Stat
		if r.Errno != 0 || st.Mode != c.mode || st.Size != c.size || st.Blocks != c.blocks || st.Mtim.Sec != c.mtime ||
			st.Uid != 1234 || st.Gid != 2345 || st.Nlink != 1 {
			t.Errorf("%s: %v %+v", c.name, r.Errno, st)
		}
	}
}

// The time becomes known to the second. It is shown as it was: programs that
// compare times must not see a change where there was none.
func TestMTimeStaysWhenRefined(t *testing.T) {
	m := newStandIn(t)
	m.setFresh(0) // every stat looks up
	m.relist("", nil)
	m.mkdir("", "d")
	e := listing.Entry{Name: "f", Type: listing.File, Size: 5, MTime: listing.Interval{Min: someTime, Max: someTime + 59}}
	m.put("d", e)
	dir, _ := mountIn(t, m)
	a := startAgent(t, "stater")
	path := filepath.Join(dir, "d/f")
	before := a.do(order{Do: "stat", Path: path}).Stat
	e.MTime = exactly(someTime + 30)
	m.put("d", e)
	if now := a.do(order{Do: "stat", Path: path}).Stat; now.Mtim != before.Mtim || now.Ino != before.Ino {
		t.Errorf("the time went from %v to %v", before.Mtim, now.Mtim)
	}
	// Nor when it moves to another inode.
	data := []byte("12345")
	v := listing.Version{Size: 5, MTime: e.MTime}
	m.mu.Lock()
	m.files[key("d/f", v)] = &standInFile{data: data}
	m.mu.Unlock()
	fd := a.open(path)
	m.complete("d/f", v)
	if now := a.fstat(a.open(path)); now.Mtim != before.Mtim || now.Ino != before.Ino {
		t.Errorf("whole: the time went from %v to %v", before.Mtim, now.Mtim)
	}
	a.close(fd)
	e.MTime = exactly(someTime + 45) // cannot be the same file
	m.put("d", e)
	if now := a.do(order{Do: "stat", Path: path}).Stat; now.Mtim.Sec != someTime+45 {
		t.Errorf("another version shows the time %v", now.Mtim)
	}
}

func TestReading(t *testing.T) {
	m := newStandIn(t)
	data := make([]byte, 1<<20+123)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	m.file("f", data, someTime)
	m.file("empty", nil, someTime)
	dir, _ := mountIn(t, m)
	a := startAgent(t, "reader")
	if got, errno := a.read(filepath.Join(dir, "f")); errno != 0 || got != string(data) {
		t.Errorf("%d bytes, %v", len(got), errno)
	}
	if got, errno := a.read(filepath.Join(dir, "empty")); errno != 0 || got != "" {
		t.Errorf("%q, %v", got, errno)
	}
	fd := a.open(filepath.Join(dir, "f"))
	if got, errno := a.pread(fd, int64(len(data))-10, 100); errno != 0 || !bytes.Equal(got, data[len(data)-10:]) {
		t.Errorf("the end: %d bytes, %v", len(got), errno)
	}
	// What programs that look for holes are told.
	f := exec.Command("cp", "--sparse=always", filepath.Join(dir, "f"), filepath.Join(t.TempDir(), "copy"))
	if out, err := f.CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, out)
	} else if got, _ := os.ReadFile(f.Args[3]); !bytes.Equal(got, data) {
		t.Error("cp --sparse=always made another file")
	}
}

func TestReadErrors(t *testing.T) {
	m := newStandIn(t)
	dir, _ := mountIn(t, m)
	a := startAgent(t, "reader")
	for i, c := range []struct {
		err   error
		errno syscall.Errno
	}{
		{fmt.Errorf("read: %w", os.ErrDeadlineExceeded), syscall.ETIMEDOUT},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), syscall.ETIMEDOUT},
		{fmt.Errorf("login: %w", ftppool.ErrLogin), syscall.EACCES},
		{ftppool.ErrOffline, syscall.ENETDOWN},
		{ftppool.ErrTooMany, syscall.ECONNREFUSED},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, syscall.EHOSTUNREACH},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, syscall.EHOSTUNREACH},
		{fmt.Errorf("retr: %w", syscall.ESTALE), syscall.ESTALE},
		{fmt.Errorf("retr: %w", fs.ErrNotExist), syscall.ESTALE},
		{context.Canceled, syscall.EIO}, // not the caller's doing
		{errors.New("what nobody thought of"), syscall.EIO},
	} {
		name := fmt.Sprint("f", i)
		v := m.file(name, []byte("never seen"), someTime)
		m.content(name, v, func(f *standInFile) { f.err = c.err })
		if got, errno := a.read(filepath.Join(dir, name)); errno != c.errno || got != "" {
			t.Errorf("%v: read %q, %v", c.err, got, errno)
		}
	}
	// A file that ends before its size is no short file.
	v := m.file("short", []byte("0123456789"), someTime)
	m.content("short", v, func(f *standInFile) { f.data = f.data[:4] })
	if got, errno := a.read(filepath.Join(dir, "short")); errno != syscall.EIO {
		t.Errorf("a file cut short: %q, %v", got, errno)
	}
}

// A file that is listed and can't be opened because the server lacks it by now
// is stale, not absent, which only a listing may say.
func TestListedFileIsNeverAbsent(t *testing.T) {
	m := newStandIn(t)
	dir, _ := mountIn(t, m)
	a := startAgent(t, "reader")
	m.file("sized", []byte("was here"), someTime)
	m.put("", listing.Entry{Name: "unsized", Type: listing.File, Size: listing.SizeUnknown, MTime: exactly(someTime)})
	for _, name := range []string{"sized", "unsized"} {
		m.setFail(name, fmt.Errorf("550 no such file: %w", fs.ErrNotExist))
		if r := a.do(order{Do: "open", Path: filepath.Join(dir, name)}); r.Errno != syscall.ESTALE {
			t.Errorf("%s: %v", name, r.Errno)
		}
	}
}

// Sizes that the listing hides are learned before anything is read.
func TestUnknownSize(t *testing.T) {
	hidden := func(m *standIn, name, data string) {
		v := m.file(name, []byte(data), someTime)
		m.put("", listing.Entry{Name: name, Type: listing.File, Size: listing.SizeUnknown, MTime: v.MTime})
		m.mu.Lock()
		m.sizes[name] = v.Size
		m.mu.Unlock()
	}
	m := newStandIn(t)
	data := strings.Repeat("size", 10_000)
	for _, name := range []string{"read", "splice", "stat", "mapped", "tar", "whole", "late"} {
		hidden(m, name, data)
	}
	m.complete("whole", listing.Version{Size: int64(len(data)), MTime: exactly(someTime)})
	hidden(m, "refused", data)
	m.setFail("refused", fmt.Errorf("SIZE: %w", errors.New("502 not here")))
	dir, _ := mountIn(t, m)
	a := startAgent(t, "reader")

	if got := a.list(dir); len(got) != 8 {
		t.Fatalf("%d names", len(got))
	}
	if n := m.counted("settle"); n != 0 {
		t.Errorf("a listing of names asked for %d sizes", n)
	}
	if got, errno := a.read(filepath.Join(dir, "read")); errno != 0 || got != data {
		t.Errorf("read %d bytes, %v", len(got), errno)
	}
	if r := a.do(order{Do: "splice", Path: filepath.Join(dir, "splice")}); r.Errno != 0 || !strings.HasPrefix(data, string(r.Data)) || len(r.Data) == 0 {
		t.Errorf("spliced %d bytes, %v", len(r.Data), r.Errno)
	}
	if r := a.do(order{Do: "stat", Path: filepath.Join(dir, "stat")}); r.Errno != 0 || r.Stat.Size != int64(len(data)) {
		t.Errorf("stat: %v, %d bytes", r.Errno, r.Stat.Size)
	}
	if got, errno := a.read(filepath.Join(dir, "whole")); errno != 0 || got != data {
		t.Errorf("whole: read %d bytes, %v", len(got), errno)
	}
	// The server does not answer the stat that precedes the open, but the open.
	m.setFail("late", syscall.ETIMEDOUT)
	m.mu.Lock()
	m.forgive["late"] = true
	m.mu.Unlock()
	if r := a.do(order{Do: "splice", Path: filepath.Join(dir, "late")}); r.Errno != 0 || len(r.Data) == 0 {
		t.Errorf("known late: spliced %d bytes, %v", len(r.Data), r.Errno)
	}
	fd := a.open(filepath.Join(dir, "mapped"))
	a.do(order{Do: "mmap", FD: fd, Len: len(data)})
	if r := a.do(order{Do: "mapped", FD: fd, Off: 39_996, Len: 4}); string(r.Data) != "size" {
		t.Errorf("mapped %q", r.Data)
	}
	if out, err := exec.Command("sh", "-c", "tar -C "+dir+" -cf - tar | tar -xOf - tar").Output(); err != nil || string(out) != data {
		t.Errorf("tar made %d bytes, %v", len(out), err)
	}
	// What can't be learned is not an empty file.
	if r := a.do(order{Do: "stat", Path: filepath.Join(dir, "refused")}); r.Errno != 0 {
		t.Errorf("stat: %v", r.Errno)
	}
	if got, errno := a.read(filepath.Join(dir, "refused")); errno != syscall.EIO {
		t.Errorf("read %q, %v", got, errno)
	}
}

func TestEverythingIsReadOnly(t *testing.T) {
	m := newStandIn(t)
	m.mkdir("", "d")
	m.file("f", []byte("x"), someTime)
	dir, _ := mountIn(t, m, func(o *Options) { o.UID, o.GID = 0, 0 })
	f, n := filepath.Join(dir, "f"), filepath.Join(dir, "n")
	try := func() {
		t.Helper()
		for what, err := range map[string]error{
			"open for writing": second(unix.Open(f, unix.O_WRONLY, 0)),
			"open read-write":  second(unix.Open(f, unix.O_RDWR, 0)),
			"truncating open":  second(unix.Open(f, unix.O_RDONLY|unix.O_TRUNC, 0)),
			"create":           second(unix.Open(n, unix.O_CREAT|unix.O_WRONLY, 0o600)),
			"tmpfile":          second(unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)),
			"truncate":         unix.Truncate(f, 0),
			"mkdir":            unix.Mkdir(n, 0o700),
			"mknod":            unix.Mknod(n, unix.S_IFIFO|0o600, 0),
			"unlink":           unix.Unlink(f),
			"rmdir":            unix.Rmdir(filepath.Join(dir, "d")),
			"rename":           unix.Rename(f, n),
			"link":             unix.Link(f, n),
			"symlink":          unix.Symlink("f", n),
			"chmod":            unix.Chmod(f, 0o600),
			"chown":            unix.Chown(f, 1, 1),
			"utimes":           unix.Utimes(f, make([]unix.Timeval, 2)),
			"setxattr":         unix.Setxattr(f, "user.x", []byte("y"), 0),
			"set ours":         unix.Setxattr(f, "user.mirrorfs.state", []byte("y"), 0),
			"removexattr":      unix.Removexattr(f, "user.x"),
		} {
			if err != syscall.EROFS {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	try()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		t.Fatal(err)
	}
	try()
	if err := unix.Access(f, unix.R_OK); err != nil {
		t.Error(err)
	}
}

func second(_ int, err error) error { return err }

// Modes count for users that AllowOther lets in.
func TestModesAreObeyed(t *testing.T) {
	m := newStandIn(t)
	m.file("f", []byte("private"), someTime)
	for _, c := range []struct {
		umask uint32
		other bool
		out   string
	}{{0o022, true, "private"}, {0o077, true, "Permission denied"}, {0o022, false, "Permission denied"}} {
		dir, _ := mountIn(t, m, func(o *Options) { o.Umask, o.AllowOther = c.umask, c.other })
		for d := filepath.Dir(dir); d != "/tmp"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("cat", filepath.Join(dir, "f"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), c.out) {
			t.Errorf("%+v: %s", c, out)
		}
	}
}

func TestSymlinks(t *testing.T) {
	m := newStandIn(t)
	m.mkdir("", "d")
	m.file("d/f", []byte("reached"), someTime)
	link := func(dir, name, target string) {
		m.put(dir, listing.Entry{Name: name, Type: listing.Symlink, Target: target, Size: -1, MTime: exactly(someTime)})
	}
	link("", "current", "d")
	link("", "absolute", "/pub/mirror/d/f")
	link("d", "up", "../d/f")
	link("", "passwd", "/etc/passwd")
	link("d", "escape", "../../../../../../../../etc/passwd")
	link("", "loop", "loop")
	link("", "hidden", "")
	m.targets["hidden"] = "d/f"
	link("", "lost", "")
	dir, _ := mountIn(t, m, func(o *Options) { o.ServerRoot = "/pub/mirror" })
	a := startAgent(t, "follower")
	for path, want := range map[string]syscall.Errno{
		"current/f": 0, "absolute": 0, "d/up": 0, "current/up": 0, "hidden": 0,
		"passwd": syscall.ENOENT, "d/escape": syscall.ENOENT, "loop": syscall.ELOOP, "lost": syscall.EIO,
	} {
		got, errno := a.read(filepath.Join(dir, path))
		if errno != want || want == 0 && got != "reached" {
			t.Errorf("%s: %q, %v, want %v", path, got, errno, want)
		}
	}
	st := a.do(order{Do: "stat", Path: filepath.Join(dir, "absolute")}).Stat
	if target, err := os.Readlink(filepath.Join(dir, "absolute")); err != nil || target != "d/f" || st.Size != int64(len(target)) {
		t.Errorf("readlink %q, %v; size %d", target, err, st.Size)
	}
	// Another target under the same name.
	m.mkdir("", "e")
	m.file("e/f", []byte("elsewhere"), someTime)
	m.setFresh(0)
	m.mkdir("", "z")
	link("z", "l", "../d/f")
	a.read(filepath.Join(dir, "z/l"))
	link("z", "l", "../e/f")
	if got, errno := a.read(filepath.Join(dir, "z/l")); got != "elsewhere" || errno != 0 {
		t.Errorf("the new target: %q, %v", got, errno)
	}
}

func TestXattrs(t *testing.T) {
	m := newStandIn(t)
	m.mkdir("", "d i")
	v := m.file("d i/f#", []byte("0123456789"), someTime)
	m.mu.Lock()
	m.last["d i/f#"] = errors.New("21:40 connection lost, 3 tries")
	m.mu.Unlock()
	dir, _ := mountIn(t, m, func(o *Options) { o.Control = "/run/control" })
	get := func(path, name string) string {
		buf := make([]byte, 1000)
		n, err := unix.Getxattr(filepath.Join(dir, path), name, buf)
		if err != nil {
			return err.Error()
		}
		return string(buf[:n])
	}
	when := time.Unix(someTime, 0).UTC().Format(time.RFC3339)
	m.mu.Lock()
	m.dirs["d i"].fetched = time.Unix(someTime, 0)
	m.mu.Unlock()
	for _, c := range []struct{ path, name, want string }{
		{"d i/f#", "url", "ftp://ftp.example.org/pub/d%20i/f%23"},
		{"d i/f#", "state", "partial 50 %"},
		{"d i/f#", "version", "10 " + when},
		{"d i/f#", "fetched", syscall.ENODATA.Error()},
		{"d i/f#", "error", "21:40 connection lost, 3 tries"},
		{"d i", "error", syscall.ENODATA.Error()},
		{"d i", "state", "cached"},
		{"d i", "fetched", when},
		{"", "url", "ftp://ftp.example.org/pub"},
		{"", "control", "/run/control"},
		{"d i", "control", syscall.ENODATA.Error()},
		{"d i", "nonsense", syscall.ENODATA.Error()},
	} {
		if got := get(c.path, xattrs+c.name); got != c.want {
			t.Errorf("%s of %q: %q, want %q", c.name, c.path, got, c.want)
		}
	}
	m.complete("d i/f#", v)
	if got := get("d i/f#", xattrs+"state"); got != "cached" {
		t.Errorf("state %q", got)
	}
	for _, path := range []string{"d i/f#", "d i", ""} {
		for _, name := range []string{"user.other", "security.selinux", "system.posix_acl_access"} {
			if got := get(path, name); got != syscall.EOPNOTSUPP.Error() {
				t.Errorf("%s of %q: %q", name, path, got)
			}
		}
	}
	// The usual two steps: ask for the length, then for the value.
	if n, err := unix.Getxattr(dir, xattrs+"url", nil); n != 25 || err != nil {
		t.Errorf("length %d, %v", n, err)
	}
	// Nothing is listed, and the kernel need not ask.
	for range 2 {
		if _, err := unix.Listxattr(dir, nil); err != unix.EOPNOTSUPP {
			t.Errorf("listxattr: %v", err)
		}
	}
	// Copying keeps what belongs to the file and no trace of the cache.
	copied := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-a", filepath.Join(dir, "d i/f#"), copied).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("cp -a: %v %s", err, out)
	}
	if n, _ := unix.Listxattr(copied, nil); n != 0 {
		t.Errorf("%d bytes of attribute names were copied", n)
	}
}

func TestStatfs(t *testing.T) {
	m := newStandIn(t)
	m.block = make(chan struct{}) // the server does not answer
	defer close(m.block)
	dir, _ := mountIn(t, m)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if st.Bsize != 4096 || st.Blocks != 2560 || st.Bfree != 1792 || st.Bavail != 1792 || st.Files != 7 {
		t.Errorf("%+v", st)
	}
	var root unix.Stat_t
	if err := unix.Stat(dir, &root); err != nil || root.Mode != syscall.S_IFDIR|0o755 {
		t.Errorf("the root: %v %v", root.Mode, err)
	}
}
