package faults

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// load keeps readers at work on a mount until stop is called: each holds files
// open all along, mapped and read in pieces. fail reports what else than an
// error they got.
type load struct {
	t     *testing.T
	stop  func()
	files []*os.File
}

// under puts a mount under load, and returns when bytes flow.
func under(t *testing.T, m *mounted, s *ftptest.Server, names []string) *load {
	t.Helper()
	l := &load{t: t}
	done := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	l.stop = func() { once.Do(func() { close(done) }); wg.Wait() }
	t.Cleanup(l.stop)
	flows := make(chan struct{}, 1000)
	for i := range 8 {
		p := names[i%len(names)]
		f, err := os.Open(filepath.Join(m.dir, p))
		if err != nil {
			t.Fatal(err)
		}
		l.files = append(l.files, f)
		truth := s.Tree().Content(p)
		wg.Go(func() {
			defer f.Close()
			buf := make([]byte, 50_000)
			for off := int64(i) * 10_000; ; off = (off + 50_000) % truth.Size() {
				select {
				case <-done:
					return
				default:
				}
				n, err := f.ReadAt(buf, off)
				if wrong := compare(buf[:n], truth, off, false); wrong != nil {
					t.Errorf("%s: %v", p, wrong)
					return
				}
				if err == io.EOF && off+int64(n) != truth.Size() {
					t.Errorf("%s ends at %d of %d", p, off+int64(n), truth.Size())
					return
				}
				select {
				case flows <- struct{}{}:
				default:
				}
				// What is not in the mount's folder any more can't be looked up, but what
				// is open is read on.
				_, _ = os.ReadFile(filepath.Join(m.dir, names[0]))
			}
		})
	}
	<-flows
	return l
}

// However a mount ends while programs read it and hold files open, what they
// read is exact or an error, and no process is left behind.
func TestUnmountUnderLoad(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, m *mounted, l *load) error{
		"umount": func(t *testing.T, m *mounted, l *load) error {
			if err := exec.Command("umount", m.dir).Run(); err == nil {
				return errors.New("a busy mount was unmounted")
			}
			l.stop()
			return exec.Command("umount", m.dir).Run()
		},
		"umount -l, then closed": func(t *testing.T, m *mounted, l *load) error {
			if err := exec.Command("umount", "-l", m.dir).Run(); err != nil {
				return err
			}
			// Those who have files open read on; the process ends with the last.
			for _, f := range l.files {
				if _, err := f.ReadAt(make([]byte, 1000), 0); err != nil {
					return fmt.Errorf("after umount -l: %w", err)
				}
			}
			select {
			case <-m.ended:
				return errors.New("the process ended while files are open")
			default:
			}
			l.stop()
			return nil
		},
		"umount -l, then SIGTERM": func(t *testing.T, m *mounted, l *load) error {
			return errors.Join(exec.Command("umount", "-l", m.dir).Run(), m.cmd.Process.Signal(unix.SIGTERM))
		},
		"fusermount3 -uz, then SIGINT": func(t *testing.T, m *mounted, l *load) error {
			return errors.Join(exec.Command("fusermount3", "-uz", m.dir).Run(), m.cmd.Process.Signal(unix.SIGINT))
		},
		"SIGTERM": func(t *testing.T, m *mounted, l *load) error { return m.cmd.Process.Signal(unix.SIGTERM) },
		"SIGTERM twice": func(t *testing.T, m *mounted, l *load) error {
			return errors.Join(m.cmd.Process.Signal(unix.SIGTERM), m.cmd.Process.Signal(unix.SIGTERM))
		},
		"mirrorfs unmount": func(t *testing.T, m *mounted, l *load) error {
			out, err := exec.Command(program(t), "unmount", m.dir).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "in use") && !strings.Contains(string(out), "busy") {
				return fmt.Errorf("unmount of a busy mount: %v, %s", err, out)
			}
			return m.cmd.Process.Signal(unix.SIGTERM)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ftptest.New(t, ftptest.Options{Rate: 2 * mib})
			var names []string
			for i := range 6 {
				names = append(names, fmt.Sprintf("d/f%d", i))
				s.Tree().Generate(names[i], 8*mib, uint64(i), epoch)
			}
			m := newMounted(t, s, "-v", "--cache-size", "20M", "--cache-min-free", "0")
			m.start()
			l := under(t, m, s, names)
			if err := end(t, m, l); err != nil {
				t.Error(err)
			}
			m.await()
			l.stop()
			m.cmd = nil
			if b, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(b), " "+m.dir+" ") {
				t.Errorf("still mounted, %v", err)
			}
			if left := processes(t, m.dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			if strings.Contains(m.log.String(), "panic") {
				t.Errorf("it said %s", m.log)
			}
		})
	}
}

// processes are the command lines that name dir.
func processes(t *testing.T, dir string) (found []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), dir) {
			found = append(found, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}

// Two folders of one server on one cache directory, side by side and under load,
// keep to themselves; either may be killed without harm to the other, and the
// same folder is refused a second time in words that name the first.
func TestSideBySide(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{})
	var names []string
	for i := range 8 {
		names = append(names, fmt.Sprintf("f%d", i))
		s.Tree().Generate("a/"+names[i], 2*mib+int64(i), uint64(i), epoch)
		s.Tree().Generate("b/"+names[i], 2*mib+int64(i), uint64(100+i), epoch) // same names, sizes and times
	}
	mounts := make(map[string]*mounted)
	cache := t.TempDir()
	for _, dir := range []string{"a", "b"} {
		m := newMounted(t, s, "--cache-size", "9M", "--cache-min-free", "0", "--dir-cache-time", "1h")
		m.url, m.cache = s.URL(dir), cache
		m.start()
		mounts[dir] = m
	}
	read := func(dir string) {
		for _, p := range names {
			if err := mounts[dir].check(p, s.Tree().Content(dir+"/"+p), 0, 1<<40); err != nil {
				t.Errorf("%s/%s: %v", dir, p, err)
			}
		}
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { read("a") })
		wg.Go(func() { read("b") })
	}
	wg.Wait()

	second := newMounted(t, s)
	out, err := exec.Command(program(t), "--cache-dir", cache, s.URL("a"), second.dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), mounts["a"].dir) || strings.Count(string(out), "\n") != 1 {
		t.Errorf("a second mount of one folder: %v, %s", err, out)
	}

	for range 3 {
		wg.Go(func() { read("b") })
		mounts["a"].kill()
		mounts["a"].start()
		read("a")
	}
	wg.Wait()
	for _, dir := range []string{"a", "b"} {
		mounts[dir].unmount()
	}
}

// A file is replaced on the server while it is mounted: old handles and mappings
// keep the old bytes, and neither the kernel's pages nor a file it reads by
// itself pass for the new one, which is there once the listing is.
func TestKernelForgetsReplaced(t *testing.T) {
	for _, size := range []int64{mib, mib + 4096} { // the new one's
		for _, partly := range []bool{false, true} { // cached pages, or passthrough
			t.Run(fmt.Sprintf("size=%d partly=%v", size, partly), func(t *testing.T) {
				t.Parallel()
				s := ftptest.New(t, ftptest.Options{})
				s.Tree().Generate("d/f", mib, 1, epoch)
				old := s.Tree().Content("d/f")
				m := newMounted(t, s, "--dir-cache-time", "2s")
				m.start()
				path := filepath.Join(m.dir, "d/f")
				handle, err := os.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				defer handle.Close()
				b := make([]byte, mib)
				if partly {
					b = b[:64*kib]
				}
				if _, err := handle.ReadAt(b, 0); err != nil {
					t.Fatal(err)
				}
				mapped, err := unix.Mmap(int(handle.Fd()), 0, len(b), unix.PROT_READ, unix.MAP_SHARED)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Munmap(mapped)
				if !partly {
					eventually(t, "it is whole", func() bool { return m.xattr("d/f", "user.mirrorfs.state") == "cached" })
				}
				if err := m.check("d/f", old, 0, int64(len(b))); err != nil {
					t.Fatal(err)
				}
				s.Tree().Generate("d/f", size, 2, epoch.AddDate(0, 0, 3)) // LIST tells days
				changed := s.Tree().Content("d/f")
				// Until the listing is asked for again the old one may be shown; what is
				// opened is one or the other, never a mixture.
				eventually(t, "the new file is read", func() bool {
					if m.check("d/f", changed, 0, 1<<40) == nil {
						return true
					}
					err := m.check("d/f", old, 0, int64(len(b)))
					if errors.Is(err, errWrong) && m.check("d/f", changed, 0, 1<<40) != nil {
						t.Fatalf("neither the old file nor the new one: %v", err)
					}
					return false
				})
				for range 3 {
					if err := m.check("d/f", changed, 0, 1<<40); err != nil {
						t.Errorf("once it was seen: %v", err)
					}
				}
				if err := compare(mapped, old, 0, false); err != nil {
					t.Errorf("the mapping of the old file: %v", err)
				}
				n, err := handle.ReadAt(b, 0)
				if wrong := compare(b[:n], old, 0, false); wrong != nil || err != nil && !errors.Is(err, syscall.ESTALE) {
					t.Errorf("the handle of the old file: %v, %v", wrong, err)
				}
				n, err = handle.ReadAt(b[:4096], mib-4096) // of which perhaps nothing was here
				if wrong := compare(b[:n], old, mib-4096, false); wrong != nil || err != nil && !errors.Is(err, syscall.ESTALE) {
					t.Errorf("the end of the old file: %v, %v", wrong, err)
				}
			})
		}
	}
}

// A file is replaced by one of the same size that its listing, which tells days,
// can't tell from the old: once a transfer finds that out, who opens the file
// has the new one from its first byte, whatever pages of the old the kernel has.
func TestKernelForgetsReplacedOfTheSameDay(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Rate: 4 * mib})
	const size = 8 * mib
	s.Tree().Generate("d/f", size, 1, epoch)
	old := s.Tree().Content("d/f")
	m := newMounted(t, s)
	m.start()
	if _, err := os.ReadDir(filepath.Join(m.dir, "d")); err != nil { // a look-up alone would ask for the second
		t.Fatal(err)
	}
	handle, err := os.Open(filepath.Join(m.dir, "d/f"))
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	b := make([]byte, 64*kib)
	if _, err := handle.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	s.Tree().Generate("d/f", size, 2, epoch.Add(time.Hour))
	changed := s.Tree().Content("d/f")
	if _, err := handle.ReadAt(b, size-64*kib); !errors.Is(err, syscall.ESTALE) {
		t.Fatalf("a transfer of the new one for a reader of the old: %v", err)
	}
	for range 2 {
		if err := m.check("d/f", changed, 0, 1<<40); err != nil {
			t.Error(err)
		}
	}
	for off := int64(0); off < size; off += mib {
		n, err := handle.ReadAt(b, off)
		if wrong := compare(b[:n], old, off, false); wrong != nil || err != nil && !errors.Is(err, syscall.ESTALE) {
			t.Errorf("the handle of the old file: %v, %v", wrong, err)
		}
	}
}
