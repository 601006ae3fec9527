package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// backgroundVariable names the descriptor on which a mount in the background
// tells the process that started it how the start went.
const backgroundVariable = "_MIRRORFS_BACKGROUND"

// word is what the background says: a line of JSON each; the last is Ready or
// has an Error.
type word struct {
	Ready   bool   `json:",omitempty"`
	Warning string `json:",omitempty"`
	Error   string `json:",omitempty"`
	Code    int    `json:",omitempty"`
}

// margin is how long a start may take beyond what the server is given.
const margin = 15 * time.Second

// startWithin is how long a start may take before it counts as hung.
func (p *plan) startWithin() time.Duration { return 2*time.Duration(p.timeout) + margin }

// background starts the program anew, and returns once it has mounted or failed. A
// start that fails leaves nothing behind.
//
// The new process leaves the terminal's session when it has mounted, and not
// before: an automount has whoever looks at its folder wait for the mount, but
// for the process group that systemd runs mount(8) in.
func (c *call) background(ctx context.Context, p *plan, stderr io.Writer) error {
	exe, err := executable()
	if err != nil {
		return err
	}
	words, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer words.Close()
	child := *c
	child.Login = &login{p.url.User, p.url.Password}
	memory, err := child.memory()
	if err != nil {
		tell.Close()
		return err
	}
	var last tail
	cmd := &exec.Cmd{
		Path:       exe,
		Args:       append([]string{"mirrorfs"}, c.shown()...),
		Env:        append(withoutManager(cleanEnviron(4)), backgroundVariable+"=3"),
		ExtraFiles: []*os.File{tell, memory},
		Stderr:     &last,
		WaitDelay:  time.Second,
	}
	err = cmd.Start()
	tell.Close()
	memory.Close()
	if err != nil {
		return fmt.Errorf("start in the background: %w; mount with -f to do without", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.startWithin(), errSlowStart)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { words.SetReadDeadline(time.Now()) })
	defer stop()
	for lines := json.NewDecoder(words); ; {
		var w word
		if err := lines.Decode(&w); err != nil {
			kill(cmd, p.dir)
			switch {
			case errors.Is(context.Cause(ctx), errSlowStart):
				return failf(exitUnreachable, "mounting %s took too long and was given up; see why with -f -v", p.url)
			case ctx.Err() != nil:
				return failf(exitInterrupted, "interrupted")
			}
			return failf(exitFailure, "the mount's process died%s; see more with -f -v", last.text())
		}
		switch {
		case w.Warning != "":
			fmt.Fprintln(stderr, "mirrorfs:", w.Warning)
		case w.Error != "":
			if err := cmd.Wait(); err == nil {
				return failf(exitFailure, "%s", w.Error)
			}
			return failf(w.Code, "%s", w.Error)
		case w.Ready:
			return cmd.Process.Release()
		}
	}
}

var errSlowStart = errors.New("slow start")

// kill ends a start that went wrong, and takes away the mount that it may have
// made before.
func kill(cmd *exec.Cmd, dir string) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	force := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // how it ended says nothing
	force.Stop()
	path, m, mounted, err := resolve(dir)
	if err == nil && mounted && m.Type == fsType {
		if _, err := within(func() (fs.FileInfo, error) { return look(path) }); errors.Is(err, unix.ENOTCONN) {
			_ = detach(path, true) // the next mount tries again and says why not
		}
	}
}

// tail keeps the first bytes of what a process writes.
type tail struct{ bytes.Buffer }

func (t *tail) Write(b []byte) (int, error) {
	if room := 4096 - t.Len(); room > 0 {
		t.Buffer.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

func (t *tail) text() string {
	line, _, _ := strings.Cut(strings.TrimSpace(t.String()), "\n")
	if line == "" {
		return ""
	}
	return ": " + line
}

// starter is where a mount tells how its start went: the process that waits for
// it, or in the foreground stderr.
type starter struct {
	pipe   *os.File // nil in the foreground
	stderr io.Writer
}

// newStarter finds out whether this is the background's process.
func newStarter(stderr io.Writer) *starter {
	s := &starter{stderr: stderr}
	if os.Getenv(backgroundVariable) == "3" {
		s.pipe = os.NewFile(3, "words")
		unix.CloseOnExec(3)
	}
	os.Unsetenv(backgroundVariable)
	return s
}

func (s *starter) tell(w word) {
	if s.pipe == nil {
		return
	}
	b, err := json.Marshal(w)
	if err == nil {
		_, _ = s.pipe.Write(append(b, '\n')) // nobody may be waiting any more
	}
}

func (s *starter) warn(text string) {
	if s.pipe == nil {
		fmt.Fprintln(s.stderr, "mirrorfs:", text)
		return
	}
	s.tell(word{Warning: text})
}

// ready tells that the mount answers, and lets go of the terminal.
func (s *starter) ready() error {
	if s.pipe == nil {
		return nil
	}
	if _, err := unix.Setsid(); err != nil {
		return os.NewSyscallError("setsid", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := range 3 {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return err
		}
	}
	s.tell(word{Ready: true})
	err = s.pipe.Close()
	s.pipe = nil
	return err
}
