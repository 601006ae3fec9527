package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leftovers names the mounts, processes and open files at or below dir.
func leftovers(dir string) []string {
	var left []string
	for _, m := range mounts() {
		if below(m.dir, dir) {
			left = append(left, "mount "+m.dir)
		}
	}
	for _, p := range processes() {
		if p.pid == os.Getpid() {
			continue
		}
		switch {
		case p.mentions(dir):
			left = append(left, fmt.Sprintf("process %d: %s", p.pid, p.cmdline))
		default:
			for _, f := range p.files() {
				if below(f, dir) {
					left = append(left, fmt.Sprintf("file %s open in process %d: %s", f, p.pid, p.cmdline))
				}
			}
		}
	}
	return left
}

func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// mountEntry is one line of the mount table.
type mountEntry struct{ dir, options, fstype, source, superOptions string }

// mounts reads the mount table of this process.
func mounts() []mountEntry {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		panic(err)
	}
	return parseMounts(b)
}

func parseMounts(table []byte) []mountEntry {
	var all []mountEntry
	for line := range strings.Lines(string(table)) {
		left, right, _ := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) < 6 || len(r) < 3 {
			continue
		}
		all = append(all, mountEntry{unescape(l[4]), l[5], r[0], unescape(r[1]), r[2]})
	}
	return all
}

// unescape undoes the mount table's octal escapes.
func unescape(s string) string {
	for _, c := range []string{" ", "\t", "\n"} {
		s = strings.ReplaceAll(s, fmt.Sprintf(`\%03o`, c[0]), c)
	}
	return strings.ReplaceAll(s, `\134`, `\`)
}

// mountAt finds the topmost mount at a folder.
func mountAt(dir string) (found mountEntry, ok bool) {
	for _, m := range mounts() {
		if m.dir == dir {
			found, ok = m, true
		}
	}
	return found, ok
}

// process is one entry of /proc.
type process struct {
	pid          int
	exe, cmdline string
}

func processes() []process {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		panic(err)
	}
	var all []process
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		exe, err := os.Readlink(d + "/exe")
		if err != nil { // gone, a zombie or a kernel thread
			continue
		}
		cmdline, _ := os.ReadFile(d + "/cmdline")
		all = append(all, process{pid, strings.TrimSuffix(exe, " (deleted)"),
			string(bytes.ReplaceAll(bytes.TrimRight(cmdline, "\x00"), []byte{0}, []byte{' '}))})
	}
	return all
}

// mentions reports whether the process has dir in its program, words or working
// folder.
func (p process) mentions(dir string) bool {
	cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.pid))
	return below(p.exe, dir) || below(cwd, dir) || strings.Contains(p.cmdline, dir+"/") || strings.HasSuffix(p.cmdline, dir)
}

// files are the paths of what the process has open.
func (p process) files() []string {
	dir := fmt.Sprintf("/proc/%d/fd", p.pid)
	fds, _ := os.ReadDir(dir)
	var all []string
	for _, fd := range fds {
		if f, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil {
			all = append(all, strings.TrimSuffix(f, " (deleted)"))
		}
	}
	return all
}

// daemon finds the mirrorfs process that serves dir, 0 if none.
func daemon(dir string) int {
	marker := []byte(marker + "=" + dir + "\x00")
	for _, p := range processes() {
		if !below(p.exe, work) || filepath.Base(p.exe) != "mirrorfs" {
			continue
		}
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
		if bytes.Contains(append([]byte{0}, env...), append([]byte{0}, marker...)) {
			return p.pid
		}
	}
	return 0
}

// watched is a process that is no child of ours.
type watched struct {
	pid int
	fd  int
}

// watch takes hold of a process. The caller closes it.
func watch(pid int) (*watched, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return &watched{pid, fd}, nil
}

func (w *watched) signal(s unix.Signal) error { return unix.PidfdSendSignal(w.fd, s, nil, 0) }

func (w *watched) close() { unix.Close(w.fd) }

// exited waits for the end of the process.
func (w *watched) exited(limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for {
		left := time.Until(deadline)
		if left < 0 {
			left = 0
		}
		fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(left.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		return err == nil && n == 1
	}
}

// peakMemory is the largest resident size a process ever had, in bytes.
func peakMemory(t testing.TB, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatalf("no VmHWM in the status of process %d", pid)
	return 0
}

// until waits for a condition that only the kernel or another process can make
// true, and that nobody announces.
func until(t testing.TB, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", limit, what)
		}
	}
}
