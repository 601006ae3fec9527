package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReadOnly: every change is refused with EROFS, and none of it reaches the
// server.
func TestReadOnly(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			f := &fixture{dirs: []string{"empty"}}
			f.text("dir/file.txt", "content\n")
			f.text("other.txt", "other\n")
			s := serve(t, kind, f, options{})
			m := newPlace(t, raced).mount(s.url(""))
			file, dir, fresh := m.path("dir/file.txt"), m.path("dir"), m.path("dir/new.txt")
			open := func(path string, flags int) error {
				fd, err := unix.Open(path, flags, 0o644)
				if err == nil {
					unix.Close(fd)
				}
				return err
			}
			now := []unix.Timespec{unix.NsecToTimespec(time.Now().UnixNano()), unix.NsecToTimespec(time.Now().UnixNano())}
			for what, err := range map[string]error{
				"create":           open(fresh, unix.O_CREAT|unix.O_WRONLY),
				"create exclusive": open(fresh, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY),
				"open for writing": open(file, unix.O_WRONLY),
				"open for both":    open(file, unix.O_RDWR),
				"open to append":   open(file, unix.O_WRONLY|unix.O_APPEND),
				"open to truncate": open(file, unix.O_WRONLY|unix.O_TRUNC),
				"temporary file":   open(dir, unix.O_TMPFILE|unix.O_RDWR),
				"truncate":         unix.Truncate(file, 0),
				"rename":           unix.Rename(file, fresh),
				"rename over":      unix.Rename(file, m.path("other.txt")),
				"rename folder":    unix.Rename(dir, m.path("renamed")),
				"unlink":           unix.Unlink(file),
				"mkdir":            unix.Mkdir(m.path("made"), 0o755),
				"rmdir":            unix.Rmdir(m.path("empty")),
				"link":             unix.Link(file, fresh),
				"symlink":          unix.Symlink("file.txt", fresh),
				"mknod":            unix.Mknod(fresh, unix.S_IFIFO|0o644, 0),
				"chmod":            unix.Chmod(file, 0o600),
				"chmod folder":     unix.Chmod(dir, 0o700),
				"chown":            unix.Chown(file, 1, 1),
				"utimes":           unix.UtimesNanoAt(unix.AT_FDCWD, file, now, 0),
				"setxattr":         unix.Setxattr(file, "user.note", []byte("x"), 0),
				"setxattr ours":    unix.Setxattr(file, "user.mirrorfs.state", []byte("x"), 0),
				"removexattr":      unix.Removexattr(file, "user.note"),
				"access":           unix.Access(file, unix.W_OK),
			} {
				if !errors.Is(err, syscall.EROFS) {
					t.Errorf("%s: %v, want EROFS", what, err)
				}
			}
			in, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			if err := in.Chmod(0o600); !errors.Is(err, syscall.EROFS) {
				t.Errorf("fchmod: %v, want EROFS", err)
			}
			for _, c := range []string{"touch new", "rm -f other.txt", "mv other.txt x", "sh -c 'echo x >> other.txt'",
				"cp other.txt x", "mkdir x", "ln -s x y", "sed -i s/o/0/ other.txt", "chmod 777 other.txt"} {
				cmd := exec.Command("sh", "-c", c)
				cmd.Dir, cmd.Env = m.dir, append(os.Environ(), "LC_ALL=C")
				out, err := cmd.CombinedOutput()
				if err == nil || !strings.Contains(string(out), "Read-only file system") {
					t.Errorf("%s: %v, %s", c, err, out)
				}
			}
			for _, file := range f.files {
				same(t, m.path(file.path), file.content)
			}
			in.Close()
			m.unmount()
			if bad := changing(s); len(bad) > 0 {
				t.Errorf("changing commands reached the server: %v", bad)
			}
			if sc, ok := s.(*scripted); ok && len(sc.Changed()) > 0 {
				t.Errorf("changing commands reached the server: %v", sc.Changed())
			}
		})
	}
}

// TestMountFlags: the mount is read-only, without setuid programs and devices,
// and tells no password.
func TestMountFlags(t *testing.T) {
	f := &fixture{}
	f.text("file.txt", "content\n")
	s := serve(t, "datasus", f, options{})
	url := strings.Replace(s.url(""), "ftp://", "ftp://maria:hunter2@", 1)
	m := newPlace(t, plain).mount(url)
	e, _ := mountAt(m.dir)
	for _, o := range []string{"ro", "nosuid", "nodev"} {
		if !slices.Contains(strings.Split(e.options, ","), o) {
			t.Errorf("mounted %q, want %s", e.options, o)
		}
	}
	if !slices.Contains(strings.Split(e.superOptions, ","), "default_permissions") {
		t.Errorf("mounted %q, want default_permissions", e.superOptions)
	}
	if strings.Contains(fmt.Sprint(e), "hunter2") || !strings.Contains(e.source, strings.TrimPrefix(s.url(""), "ftp://")[:9]) {
		t.Errorf("the mount's source is %q", e.source)
	}
}
