package fs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// waitFor waits for a condition, however long that takes within the test.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// stuck adds a file whose reads wait, and returns what lets them go on.
func (m *standIn) stuck(path, data string) (release func()) {
	v := m.file(path, []byte(data), someTime)
	gate := make(chan struct{})
	m.content(path, v, func(c *standInFile) { c.gate = gate })
	return func() {
		m.content(path, v, func(c *standInFile) {
			if c.gate != nil {
				close(c.gate)
				c.gate = nil
			}
		})
	}
}

// catch gives the agent handlers for SIGINT and SIGUSR1, and returns what sends
// a signal to the thread that follows orders: of a process with more threads,
// another one might handle it.
func (a *agent) catch() (signal func(syscall.Signal)) {
	thread := a.do(order{Do: "catch"}).FD
	return func(s syscall.Signal) {
		a.tb.Helper()
		if err := unix.Tgkill(a.cmd.Process.Pid, thread, s); err != nil {
			a.tb.Fatal(err)
		}
	}
}

// A signal that a program has a handler for and that is not meant to end it
// does not fail its system calls; one that is does, at once, although the first
// came before and the kernel tells of the first only.
func TestSignals(t *testing.T) {
	m := newStandIn(t)
	dir, _ := mountIn(t, m)
	block := make(chan struct{})
	m.mu.Lock()
	m.block = block
	m.mu.Unlock()
	a := startAgent(t, "waiter")
	signal := a.catch()
	wait := func() <-chan report {
		answer := make(chan report, 1)
		go func() { answer <- a.do(order{Do: "stat", Path: filepath.Join(dir, "x")}) }()
		waitFor(t, "the agent to wait", func() bool { return blockedIn(a.cmd.Process.Pid, "request_wait_answer") })
		return answer
	}

	answer := wait()
	for range 3 {
		signal(unix.SIGUSR1)
		time.Sleep(3 * interruptPoll / 2) // long enough to be answered wrongly
	}
	select {
	case r := <-answer:
		t.Fatalf("SIGUSR1 ended the call: %v", r.Errno)
	default:
	}
	signal(unix.SIGINT)
	if r := <-answer; r.Errno != syscall.EINTR {
		t.Errorf("after SIGINT: %v", r.Errno)
	}

	answer = wait()
	signal(unix.SIGUSR1)
	time.Sleep(interruptPoll)
	m.mu.Lock()
	m.block = nil
	m.mu.Unlock()
	close(block)
	if r := <-answer; r.Errno != syscall.ENOENT {
		t.Errorf("a call that was interrupted without need: %v", r.Errno)
	}
}

// A request ends with the mount also when nobody tells it, as go-fuse does not
// tell one that it reads from the kernel at that very moment.
func TestUntoldRequestEnds(t *testing.T) {
	for _, read := range []bool{false, true} {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		m := &mount{device: p[0]}
		r := m.request(t.Context())
		r.read = read
		done := r.Done()
		if m.gone() {
			t.Error("the connection is gone too early")
		}
		unix.Close(p[1]) // a broken connection polls like this
		waitFor(t, "the request to end", func() bool { return r.Err() != nil })
		<-done
		r.finish()
		m.watchers.Wait()
		unix.Close(p[0])
	}
}

// blockedInRead reports whether a process waits for the bytes of a file: for a
// page that read-ahead asked for or, where that asked for none, for its own read.
func blockedInRead(pid int) bool {
	return blockedIn(pid, "folio_wait") || blockedIn(pid, "request_wait_answer")
}

// A program that waits for bytes can be ended, also one that has a handler for
// the signal, which the kernel does not tell of.
func TestSignalsToReaders(t *testing.T) {
	m := newStandIn(t)
	release := m.stuck("f", strings.Repeat("comes late", 100_000))
	defer release()
	dir, _ := mountIn(t, m)
	path := filepath.Join(dir, "f")
	waiting := func(program string, args ...string) *exec.Cmd {
		t.Helper()
		cmd := exec.Command(program, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		waitFor(t, "the reader to wait", func() bool { return blockedInRead(cmd.Process.Pid) })
		return cmd
	}
	cat := waiting("cat", path)
	if err := cat.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cat.Wait(); err == nil || err.Error() != "signal: interrupt" {
		t.Errorf("cat: %v", err)
	}

	a := startAgent(t, "handler")
	signal := a.catch()
	fd := a.open(path)
	answer := make(chan report, 1)
	go func() { answer <- a.do(order{Do: "pread", FD: fd, Len: 100}) }()
	waitFor(t, "the agent to wait", func() bool { return blockedInRead(a.cmd.Process.Pid) })
	signal(unix.SIGUSR1)
	time.Sleep(2 * interruptPoll) // long enough to be answered wrongly
	select {
	case r := <-answer:
		t.Fatalf("SIGUSR1 ended the read: %v", r.Errno)
	default:
	}
	signal(unix.SIGINT)
	if r := <-answer; r.Errno == 0 {
		t.Errorf("after SIGINT: %q", r.Data)
	}

	// In a page fault a failed read would be SIGBUS.
	if r := a.do(order{Do: "mmap", FD: fd, Len: 1_000_000}); r.Errno != 0 {
		t.Fatal(r.Errno)
	}
	go func() { answer <- a.do(order{Do: "mapped", FD: fd, Len: 10}) }()
	waitFor(t, "the agent to fault", func() bool { return blockedIn(a.cmd.Process.Pid, "filemap_fault") })
	signal(unix.SIGINT)
	time.Sleep(3 * interruptPoll)
	release()
	if r := <-answer; string(r.Data) != "comes late" {
		t.Errorf("the mapping has %q", r.Data)
	}
}

// Where /proc hides the processes of other users, their reads go on until they
// have ended.
func TestHiddenCallers(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "-m", "sh", "-c",
		`mount -t proc -o hidepid=2 proc /proc && ! setpriv --reuid 65534 --regid 65534 --clear-groups test -e /proc/$1 && exec "$0"`, self, fmt.Sprint(os.Getpid()))
	cmd.Env = append(os.Environ(), agentEnv+"=nobody", "GORACE=atexit_sleep_ms=0")
	cmd.Stdin = strings.NewReader(fmt.Sprintln(os.Getpid(), ended.Process.Pid))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil || string(out) != "false\ntrue\n" {
		t.Errorf("a caller that lives and one that has ended are to be ended: %q, %v", out, err)
	}
}

// Many readers that wait keep nobody else waiting.
func TestStuckReadersDelayNobody(t *testing.T) {
	m := newStandIn(t)
	const readers = 40
	var releases []func()
	for i := range readers {
		releases = append(releases, m.stuck(fmt.Sprint("slow", i), string(make([]byte, 256<<10))))
	}
	m.file("held", make([]byte, 1<<20), someTime)
	w := m.file("whole", make([]byte, 1<<20), someTime)
	m.complete("whole", w)
	dir, _ := mountIn(t, m)
	done := make(chan error, readers)
	for i := range readers {
		// Read-ahead only, which the kernel bounds: the test's own process asks
		// for it and does not wait.
		go func() {
			fd, err := unix.Open(filepath.Join(dir, fmt.Sprint("slow", i)), unix.O_RDONLY, 0)
			if err == nil {
				err = unix.Fadvise(fd, 0, 256<<10, unix.FADV_WILLNEED)
				defer unix.Close(fd)
			}
			done <- err
		}()
	}
	for range readers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the slow reads", func() bool { return m.counted("read") >= readers })
	a := startAgent(t, "quick")
	for _, name := range []string{"held", "whole"} {
		answer := make(chan struct{})
		go func() {
			defer close(answer)
			if got, errno := a.read(filepath.Join(dir, name)); len(got) != 1<<20 || errno != 0 {
				t.Errorf("%s: %d bytes, %v", name, len(got), errno)
			}
		}()
		select {
		case <-answer:
		case <-time.After(60 * time.Second):
			t.Fatalf("%s waits behind the slow ones", name)
		}
	}
	for _, release := range releases {
		release()
	}
}

// A crawler is told what is held and nothing else; others of the same name in
// another case are not.
func TestCrawlersFetchNothing(t *testing.T) {
	m := newStandIn(t)
	m.mkdir("", "listed")
	m.file("listed/part", []byte("part"), someTime)
	v := m.file("listed/whole", []byte("whole"), someTime)
	m.complete("listed/whole", v)
	m.mkdir("", "unlisted")
	m.file("unlisted/f", []byte("f"), someTime)
	dir, _ := mountIn(t, m)
	user := startAgent(t, "bash")
	user.list(dir)
	user.list(filepath.Join(dir, "listed"))
	for _, name := range []string{"updatedb", "updatedb.plocate", "tracker-miner-fs-3", "baloo_file_extractor"} {
		a := startAgent(t, name)
		if got := a.list(filepath.Join(dir, "listed")); len(got) != 2 {
			t.Errorf("%s is told %q", name, got)
		}
		if r := a.do(order{Do: "open", Path: filepath.Join(dir, "unlisted")}); r.Errno != syscall.EACCES {
			t.Errorf("%s opens what was not listed: %v", name, r.Errno)
		}
		if r := a.do(order{Do: "stat", Path: filepath.Join(dir, "unlisted/f")}); r.Errno != syscall.EACCES {
			t.Errorf("%s looks up what was not listed: %v", name, r.Errno)
		}
		if r := a.do(order{Do: "open", Path: filepath.Join(dir, "listed/part")}); r.Errno != syscall.EACCES {
			t.Errorf("%s opens what is not here: %v", name, r.Errno)
		}
		if got, errno := a.read(filepath.Join(dir, "listed/whole")); got != "whole" || errno != 0 {
			t.Errorf("%s reads %q, %v", name, got, errno)
		}
	}
	for _, what := range []string{"listed unlisted", "open listed/part"} { // to open may ask, too
		if n := m.counted(what); n != 0 {
			t.Errorf("%s: %d times", what, n)
		}
	}
	if got, errno := user.read(filepath.Join(dir, "listed/part")); got != "part" || errno != 0 {
		t.Errorf("a user reads %q, %v", got, errno)
	}

	all, _ := mountIn(t, m, func(o *Options) { o.NoFetchFor = []string{} })
	if got := startAgent(t, "updatedb").list(filepath.Join(all, "unlisted")); len(got) != 1 {
		t.Errorf("with nobody excluded: %q", got)
	}
}
