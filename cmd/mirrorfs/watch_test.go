package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
	"golang.org/x/sys/unix"
)

// watchPlace is a mirror that can be mounted, with one file that comes to 100 000
// of its bytes and no further until the gate opens.
type watchPlace struct {
	t                   *testing.T
	program, dir, mount string
	url                 string
}

func newWatchPlace(t *testing.T, gate <-chan struct{}) *watchPlace {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := &watchPlace{t: t, dir: dir, program: filepath.Join(dir, "mirrorfs"), mount: filepath.Join(dir, "mnt")}
	if err := errors.Join(os.Symlink(self, p.program), os.Mkdir(p.mount, 0o700)); err != nil {
		t.Fatal(err)
	}
	tree := ftptest.NewTree()
	tree.Generate("data/a\x1b[31m.bin", 300_000, 1, longAgo)
	s := ftptest.New(t, ftptest.Options{Tree: tree})
	s.On("RETR", "*", ftptest.StallAt(100_000, gate))
	p.url = "ftp://" + s.Addr() + "/"
	t.Cleanup(func() { sweep(t, dir) })
	return p
}

// run runs mirrorfs to its end, which must be a success.
func (p *watchPlace) run(words ...string) string {
	p.t.Helper()
	cmd := exec.Command(p.program, words...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("mirrorfs %q: %v\n%s", words, err, out)
	}
	return string(out)
}

func (p *watchPlace) mountIt() {
	p.t.Helper()
	// What stalls is not to be begun again while somebody looks.
	p.run("--timeout", "10m", "--cache-dir", filepath.Join(p.dir, "cache"), "--log-file", filepath.Join(p.dir, "log"), p.url, p.mount)
}

// terminal is a mirrorfs that runs on a terminal, and what it drew.
type terminal struct {
	t             *testing.T
	cmd           *exec.Cmd
	master, slave *os.File
	read          chan struct{} // closed when all is read

	mu    sync.Mutex // guards all, which is all that was written
	all   strings.Builder
	frame string // the latest whole one, without control sequences
	torn  string // a frame that does not fit, "" if all did
	rows  int    // of the terminal; frames begun before it shrank may not fit
	wide  int
}

func (p *watchPlace) onTerminal(env []string, words ...string) *terminal {
	p.t.Helper()
	master, slave, err := openPTY(24, 80)
	if err != nil {
		p.t.Fatal(err)
	}
	v := &terminal{t: p.t, master: master, slave: slave, read: make(chan struct{}), rows: 24, wide: 80}
	v.cmd = exec.Command(p.program, words...)
	v.cmd.Stdin, v.cmd.Stdout, v.cmd.Stderr = slave, slave, slave
	v.cmd.Env = append(append(os.Environ(), "TERM=xterm", "GORACE=atexit_sleep_ms=0"), env...)
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := v.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go v.follow()
	p.t.Cleanup(func() {
		_ = v.cmd.Process.Kill()
		slave.Close()
		<-v.read
		master.Close()
	})
	return v
}

var sequences = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]")

// follow takes frames apart as they come.
func (v *terminal) follow() {
	defer close(v.read)
	b := make([]byte, 64<<10)
	for {
		n, err := v.master.Read(b)
		if err != nil { // EIO: no process has the terminal open any more
			return
		}
		v.mu.Lock()
		v.all.Write(b[:n])
		text := v.all.String()
		if end := strings.LastIndex(text, "\x1b[J"); end >= 0 {
			frame := text[strings.LastIndex(text[:end], "\x1b[H"):end]
			frame = sequences.ReplaceAllString(frame, "")
			v.frame = strings.ReplaceAll(frame, "\r", "")
			lines := strings.Split(v.frame, "\n")
			for _, line := range lines {
				if len(lines) > v.rows || utf8.RuneCountInString(line) > v.wide {
					v.torn = v.frame
				}
			}
		}
		v.mu.Unlock()
	}
}

// await waits for a frame that matches.
func (v *terminal) await(pattern string) string {
	v.t.Helper()
	want, last := regexp.MustCompile(pattern), ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		v.mu.Lock()
		last = v.frame
		v.mu.Unlock()
		if want.MatchString(last) {
			return last
		}
	}
	v.t.Fatalf("no frame matches %s; the last one:\n%s", pattern, last)
	return ""
}

func (v *terminal) resize(rows, columns uint16) {
	v.t.Helper()
	if err := unix.IoctlSetWinsize(int(v.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		v.t.Fatal(err)
	}
}

func (v *terminal) settings() unix.Termios {
	v.t.Helper()
	s, err := unix.IoctlGetTermios(int(v.slave.Fd()), unix.TCGETS)
	if err != nil {
		v.t.Fatal(err)
	}
	return *s
}

// end types a key, and checks that the command ends in success and leaves the
// terminal as it was.
func (v *terminal) end(key string, was unix.Termios) {
	v.t.Helper()
	if _, err := v.master.WriteString(key); err != nil {
		v.t.Fatal(err)
	}
	if err := v.cmd.Wait(); err != nil {
		v.t.Errorf("after the key %q: %v", key, err)
	}
	if is := v.settings(); is != was {
		v.t.Errorf("the terminal's settings are other than before: %+v, were %+v", is, was)
	}
	v.slave.Close()
	<-v.read
	text := v.all.String()
	if !strings.HasPrefix(text, enterScreen) || !strings.HasSuffix(text, leaveScreen) || strings.Count(text, "\x1b[?25l") != strings.Count(text, "\x1b[?25h") {
		v.t.Errorf("the screen was not entered and left in order: %q ... %q", text[:min(30, len(text))], text[max(0, len(text)-30):])
	}
	if strings.Contains(text, "\x1b[2J") {
		v.t.Error("it erases the screen before it draws, which flickers")
	}
	if v.torn != "" {
		v.t.Errorf("a frame does not fit the terminal:\n%s", v.torn)
	}
}

// TestStatusWatch: a live screen fits its terminal, also one that is resized,
// outlives the mount, and leaves the terminal as it was.
func TestStatusWatch(t *testing.T) {
	gate := make(chan struct{})
	p := newWatchPlace(t, gate)
	p.mountIt()
	var reading sync.WaitGroup
	defer reading.Wait()
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	reading.Go(func() { _, _ = os.ReadFile(filepath.Join(p.mount, "data", "a\x1b[31m.bin")) })

	v := p.onTerminal([]string{"NO_COLOR=1"}, "status", "--watch", "--interval", "100ms", p.mount)
	v.await(`(?m)^  transfers   1 under way, .*\n +data/a\x{fffd}\[31m\.bin +97\.7K of +293K  33 % +0/s$`)
	was := func() unix.Termios { // as it is before and after
		s := v.settings()
		s.Lflag |= unix.ECHO | unix.ICANON
		return s
	}()
	v.mu.Lock()
	v.rows, v.wide = 24, 79 // the last column stays free
	v.mu.Unlock()
	if v.settings().Lflag&unix.ECHO != 0 {
		t.Error("keys are echoed into the screen")
	}
	v.resize(9, 40)
	v.await(`(?m)^\.\.\. \d+ lines more; enlarge the window$`)
	v.mu.Lock()
	v.rows, v.wide = 9, 39
	v.mu.Unlock()
	v.mu.Lock()
	v.rows, v.wide = 30, 99
	v.mu.Unlock()
	v.resize(30, 100)
	v.await(`1 under way`)

	open()
	reading.Wait()
	p.run("unmount", p.mount)
	v.await(`it is no longer mounted, since \d\d:\d\d:\d\d; waiting`)
	p.mountIt()
	v.await(`(?m)^  sessions    \d busy`)
	v.end("\x03", was)
	if strings.Contains(v.all.String(), "\x1b[1m") {
		t.Error("NO_COLOR is not obeyed")
	}

	v = p.onTerminal([]string{"NO_COLOR="}, "status", "--watch", "--interval", "1h")
	v.await(`(?m)^  sessions `)
	v.end("q", was)
	if !strings.Contains(v.all.String(), "\x1b[1mftp://") {
		t.Error("the mount's line is not bold")
	}
	p.run("unmount", p.mount)
}

// TestSuspend: Ctrl-Z gives the terminal back, and fg takes it again.
func TestSuspend(t *testing.T) {
	open := make(chan struct{})
	close(open)
	p := newWatchPlace(t, open)
	v := p.onTerminal(nil, "status", "--watch", "--interval", "1h")
	v.await(`q or Ctrl-C ends`)
	was := v.settings()
	was.Lflag |= unix.ECHO | unix.ICANON
	if err := v.cmd.Process.Signal(unix.SIGTSTP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", v.cmd.Process.Pid))
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("it does not stop: %s %v", b, err)
		}
		if strings.Contains(string(b), ") T ") {
			break
		}
	}
	if v.settings() != was {
		t.Errorf("the terminal is not given back while stopped: %+v, was %+v", v.settings(), was)
	}
	if err := v.cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); v.settings() == was; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not take the terminal again")
		}
	}
	v.end("q", was)
}
