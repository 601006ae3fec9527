package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// diskServer has more files than the small disks of these tests hold.
func diskServer(t *testing.T) (*ftptest.Server, []string) {
	t.Helper()
	s := ftptest.New(t, ftptest.Options{})
	var names []string
	for i := range 12 {
		name := fmt.Sprintf("d/f%02d", i)
		names = append(names, name)
		s.Tree().Generate(name, []int64{10, 100_000, mib, 3 * mib}[i%4], uint64(i), epoch)
	}
	return s, names
}

// readThrough has several readers read all of the files through a mount.
func (m *mounted) readThrough(s *ftptest.Server, names []string) {
	m.t.Helper()
	var wg sync.WaitGroup
	for r := range 3 {
		wg.Go(func() {
			for i := range names {
				p := names[(i+r*len(names)/3)%len(names)]
				if err := m.check(p, s.Tree().Content(p), 0, 1<<40); err != nil {
					m.t.Errorf("%s: %v", p, err)
				}
			}
		})
	}
	wg.Wait()
}

// status is what the status command says of the mount.
func (m *mounted) status() string {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), program(m.t), "status", m.dir)
	cmd.Env = append(os.Environ(), "HOME="+m.cache)
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Errorf("status: %v: %s", err, out)
	}
	return string(out)
}

// mirrorFolder is the one mirror's folder in the cache.
func (m *mounted) mirrorFolder() string {
	m.t.Helper()
	list, err := filepath.Glob(filepath.Join(m.cache, "v1", "*"))
	if err != nil || len(list) != 1 {
		m.t.Fatalf("folders %q, %v", list, err)
	}
	return list[0]
}

// A disk that takes no more: reading goes on, exact, past it; the status and the
// log say so in words; what lies there is good for the next mount.
func TestDiskRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		says    string
		prepare func(t *testing.T, m *mounted)           // before the mount
		spoil   func(t *testing.T, m *mounted, f string) // while it is mounted
	}{
		"full": {"no space left on device", func(t *testing.T, m *mounted) {
			if err := unix.Mount("tmpfs", m.cache, "tmpfs", 0, "size=4m"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(m.cache, unix.MNT_DETACH) })
		}, nil},
		"quota used up": {"disk quota exceeded", func(_ *testing.T, m *mounted) {
			m.wrap = []string{"strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null",
				"-e", "trace=pwrite64", "-e", "inject=pwrite64:error=EDQUOT:when=5+"}
		}, nil},
		"failing": {"input/output error", func(_ *testing.T, m *mounted) {
			m.wrap = []string{"strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null",
				"-e", "trace=pwrite64,fdatasync", "-e", "inject=pwrite64:error=EIO:when=5+", "-e", "inject=fdatasync:error=EIO"}
		}, nil},
		"read-only": {"read-only file system", func(t *testing.T, m *mounted) {
			if err := unix.Mount("tmpfs", m.cache, "tmpfs", 0, "size=64m"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(m.cache, unix.MNT_DETACH) })
		}, func(t *testing.T, m *mounted, _ string) {
			// As the kernel does to a disk that fails; busy with files open for
			// writing, it takes a bind mount over the folder instead.
			f := m.mirrorFolder()
			if err := errors.Join(unix.Mount(f, f, "", unix.MS_BIND, ""),
				unix.Mount("", f, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(f, unix.MNT_DETACH) })
		}},
		"gone": {"no such file or directory", nil, func(t *testing.T, m *mounted, _ string) {
			for _, folder := range []string{"content", "listings"} {
				err := os.RemoveAll(filepath.Join(m.mirrorFolder(), folder))
				// The mount may put a file into what is being emptied.
				for tries := 0; errors.Is(err, unix.ENOTEMPTY) && tries < 100; tries++ {
					err = os.RemoveAll(filepath.Join(m.mirrorFolder(), folder))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, names := diskServer(t)
			m := newMounted(t, s, "--cache-min-free", "0", "-v")
			if c.prepare != nil {
				c.prepare(t, m)
			}
			m.start()
			if c.spoil != nil {
				m.readThrough(s, names[:4])
				c.spoil(t, m, m.mirrorFolder())
			}
			for range 2 {
				m.readThrough(s, names)
			}
			if says := m.status(); !strings.Contains(says, "keeps nothing for now") || !strings.Contains(says, c.says) {
				t.Errorf("the status says %s", says)
			}
			m.unmount()
			if log := m.log.String(); !strings.Contains(log, "can't keep what is read") || !strings.Contains(log, c.says) {
				t.Errorf("the log says %s", log)
			}
			if name == "read-only" {
				return // the next mount is refused, as TestMountErrors has it
			}
			m.wrap = nil
			m.start()
			m.readThrough(s, names)
			m.unmount()
		})
	}
}

// Content files that something else cuts, deletes or lengthens while they are
// mounted, whole and handed to the kernel: who opens one afterwards gets every
// byte, and the log says what happened.
func TestContentDamagedWhileMounted(t *testing.T) {
	for name, damage := range map[string]func(dat string) error{
		"cut":        func(dat string) error { return os.Truncate(dat, 5000) },
		"emptied":    func(dat string) error { return os.Truncate(dat, 0) },
		"deleted":    os.Remove,
		"lengthened": func(dat string) error { return os.Truncate(dat, 20*mib) },
		"replaced by a link": func(dat string) error {
			return errors.Join(os.Remove(dat), os.Symlink("/etc/passwd", dat))
		},
	} {
		for _, open := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s open=%v", name, open), func(t *testing.T) {
				t.Parallel()
				s, names := diskServer(t)
				m := newMounted(t, s, "-v")
				m.start()
				m.readThrough(s, names)
				eventually(t, "all are whole", func() bool {
					for _, p := range names {
						if state := m.xattr(p, "user.mirrorfs.state"); state != "cached" {
							return false
						}
					}
					return true
				})
				m.readThrough(s, names) // by the kernel itself
				if open {
					for _, p := range names {
						f, err := os.Open(filepath.Join(m.dir, p))
						if err != nil {
							t.Fatal(err)
						}
						defer f.Close()
					}
				}
				dats, err := filepath.Glob(filepath.Join(m.mirrorFolder(), "content", "*.dat"))
				if err != nil || len(dats) != len(names) {
					t.Fatalf("%d content files, %v", len(dats), err)
				}
				for _, dat := range dats {
					if err := damage(dat); err != nil {
						t.Fatal(err)
					}
				}
				for _, p := range names {
					if err := m.check(p, s.Tree().Content(p), 0, 1<<40); err != nil {
						t.Errorf("%s: %v", p, err)
					}
				}
			})
		}
	}
}

// xattr is an extended attribute of a file in the mount, "" when it has none.
func (m *mounted) xattr(p, name string) string {
	b := make([]byte, 4096)
	n, err := unix.Getxattr(filepath.Join(m.dir, p), name, b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}
