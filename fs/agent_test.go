package fs

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The mount is used by programs of their own, because a process that serves a
// mount and uses it can stop itself. agent is such a program: this test binary,
// run again, doing what it is told over pipes.
const agentEnv = "MIRRORFS_FS_TEST_AGENT"

func TestMain(m *testing.M) {
	switch os.Getenv(agentEnv) {
	case "agent":
		serveAgent()
		os.Exit(0)
	case "mount":
		mountAndHang()
		os.Exit(0)
	case "nobody":
		lookAtCallers()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// order is what an agent is told, report what it answers.
type order struct {
	Do   string
	Path string
	FD   int
	Off  int64
	Len  int
}

type report struct {
	FD    int
	Data  []byte
	Errno syscall.Errno
	Stat  unix.Stat_t
	Names []string
}

type agent struct {
	tb  testing.TB
	cmd *exec.Cmd
	mu  sync.Mutex // one order at a time
	in  *json.Encoder
	out *json.Decoder
}

// startAgent runs an agent whose process has the given name.
func startAgent(tb testing.TB, name string) *agent {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	link := filepath.Join(tb.TempDir(), name)
	if err := os.Symlink(self, link); err != nil {
		tb.Fatal(err)
	}
	a := &agent{tb: tb, cmd: exec.Command(link)}
	a.cmd.Env = append(os.Environ(), agentEnv+"=agent", "GORACE=atexit_sleep_ms=0")
	a.cmd.Stderr = os.Stderr
	in, err := a.cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	a.in, a.out = json.NewEncoder(in), json.NewDecoder(bufio.NewReader(out))
	tb.Cleanup(func() {
		in.Close()
		a.cmd.Wait()
	})
	return a
}

func (a *agent) do(o order) report {
	a.mu.Lock()
	defer a.mu.Unlock()
	var r report
	if err := a.in.Encode(o); err != nil {
		a.tb.Errorf("agent: %v", err)
	} else if err := a.out.Decode(&r); err != nil {
		a.tb.Errorf("agent: %v", err)
	}
	return r
}

// open opens a file and fails the test if that fails.
func (a *agent) open(path string) int {
	a.tb.Helper()
	r := a.do(order{Do: "open", Path: path})
	if r.Errno != 0 {
		a.tb.Fatalf("open %s: %v", path, r.Errno)
	}
	return r.FD
}

func (a *agent) pread(fd int, off int64, n int) ([]byte, syscall.Errno) {
	r := a.do(order{Do: "pread", FD: fd, Off: off, Len: n})
	return r.Data, r.Errno
}

func (a *agent) close(fd int) { a.do(order{Do: "close", FD: fd}) }

func (a *agent) fstat(fd int) unix.Stat_t { return a.do(order{Do: "fstat", FD: fd}).Stat }

// read is open, read all, close.
func (a *agent) read(path string) (string, syscall.Errno) {
	r := a.do(order{Do: "read", Path: path})
	return string(r.Data), r.Errno
}

func serveAgent() {
	runtime.LockOSThread()
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	maps := map[int][]byte{}
	caught := make(chan os.Signal, 1)
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			return
		}
		var r report
		var err error
		switch o.Do {
		case "open":
			r.FD, err = unix.Open(o.Path, unix.O_RDONLY, 0)
		case "openpath":
			r.FD, err = unix.Open(o.Path, unix.O_PATH, 0)
		case "reopen":
			r.FD, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", o.FD), unix.O_RDONLY, 0)
		case "close":
			err = unix.Close(o.FD)
		case "pread":
			r.Data = make([]byte, o.Len)
			var n int
			n, err = unix.Pread(o.FD, r.Data, o.Off)
			r.Data = r.Data[:max(n, 0)]
		case "read":
			r.Data, err = readAll(o.Path)
		case "splice":
			r.Data, err = spliceAll(o.Path)
		case "fstat":
			err = unix.Fstat(o.FD, &r.Stat)
		case "stat":
			err = unix.Lstat(o.Path, &r.Stat)
		case "mmap":
			maps[o.FD], err = unix.Mmap(o.FD, 0, o.Len, unix.PROT_READ, unix.MAP_SHARED)
		case "mapped":
			r.Data = slices.Clone(maps[o.FD][o.Off:][:o.Len])
		case "munmap":
			err = unix.Munmap(maps[o.FD])
			delete(maps, o.FD)
		case "names":
			r.Names, err = names(o.FD)
		case "getdents":
			r.Names, err = someNames(o.FD, o.Len)
		case "rewind":
			_, err = unix.Seek(o.FD, o.Off, io.SeekStart)
		case "tell":
			r.Stat.Size, err = unix.Seek(o.FD, 0, io.SeekCurrent)
		case "chdir":
			err = unix.Chdir(o.Path)
		case "getcwd":
			var s string
			s, err = os.Getwd()
			r.Names = []string{s}
		case "catch": // SIGINT and SIGUSR1 have a handler from now on
			signal.Notify(caught, unix.SIGINT, unix.SIGUSR1)
			r.FD = unix.Gettid()
		}
		r.Errno, _ = err.(syscall.Errno)
		if err != nil && r.Errno == 0 {
			fmt.Fprintln(os.Stderr, "agent:", o, err)
			os.Exit(1)
		}
		if err := out.Encode(r); err != nil {
			return
		}
	}
}

func readAll(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var all []byte
	buf := make([]byte, 128<<10)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil || n == 0 {
			return all, err
		}
		all = append(all, buf[:n]...)
	}
}

// spliceAll reads without ever asking for the size.
func spliceAll(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	p := make([]int, 2)
	if err := unix.Pipe(p); err != nil {
		return nil, err
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	n, err := unix.Splice(fd, nil, p[1], nil, 64<<10, 0)
	if err != nil || n == 0 {
		return nil, err
	}
	buf := make([]byte, n)
	k, err := unix.Read(p[0], buf)
	return buf[:max(k, 0)], err
}

// someNames makes one getdents call.
func someNames(fd, size int) ([]string, error) {
	buf := make([]byte, size)
	n, err := unix.ReadDirent(fd, buf)
	if err != nil || n == 0 {
		return nil, err
	}
	_, _, list := unix.ParseDirent(buf[:n], -1, nil)
	return list, nil
}

// names reads the rest of a directory, without "." and "..".
func names(fd int) ([]string, error) {
	var all []string
	for {
		some, err := someNames(fd, 32<<10)
		all = append(all, some...)
		if err != nil {
			return all, err
		}
		if len(some) == 0 {
			// ParseDirent leaves out dots, so look again.
			buf := make([]byte, 32<<10)
			n, err := unix.ReadDirent(fd, buf)
			if n <= 0 {
				return all, err
			}
			_, _, list := unix.ParseDirent(buf[:n], -1, nil)
			all = append(all, list...)
		}
	}
}

// mountAndHang mounts an empty mirror and waits to be killed.
func mountAndHang() {
	m := &standIn{dirs: map[string]*standInDir{}, counts: map[string]int{}}
	m.relist("", nil)
	dir := os.Getenv(agentEnv + "_DIR")
	o := Options{URL: "ftp://ftp.example.org/pub", Log: slog.New(slog.DiscardHandler)}
	if opts := os.Getenv(agentEnv + "_OPTIONS"); opts != "" {
		o.KernelOptions = strings.Split(opts, ";")
	}
	o.AllowOther = os.Getenv(agentEnv+"_OTHER") != ""
	s, err := Mount(dir, m, o)
	var refused *MountError
	switch e, ok := err.(*MountError); {
	case err == nil:
		fmt.Println("mounted")
	case ok:
		refused = e
		fmt.Println("refused", refused.Reason, err, "|", refused.Advice)
		return
	default:
		fmt.Println("error", err)
		return
	}
	io.Copy(io.Discard, os.Stdin)
	if err := s.Unmount(); err != nil {
		fmt.Println("unmount", err)
		fmt.Println("abandon", s.Abandon())
		s.Wait()
		fmt.Println("ended")
		return
	}
	fmt.Println("unmounted")
}

// lookAtCallers tells, as a user without rights, of each process that stdin names
// whether a read of its is to be ended.
func lookAtCallers() {
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(65534, 65534, 65534), syscall.Setresuid(65534, 65534, 65534)); err != nil {
		fmt.Println(err)
		return
	}
	var pid uint32
	for {
		if _, err := fmt.Scan(&pid); err != nil {
			return
		}
		r := &request{read: true}
		r.caller.Pid = pid
		fmt.Println(r.ending(false))
	}
}

func logTo(tb testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{tb}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct{ tb testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.tb.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// blockedIn reports whether a thread of the process waits in that function of
// the kernel.
func blockedIn(pid int, function string) bool {
	stacks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stack", pid))
	for _, s := range stacks {
		if b, err := os.ReadFile(s); err == nil && strings.Contains(string(b), function) {
			return true
		}
	}
	return false
}
