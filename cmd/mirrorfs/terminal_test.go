package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// onPseudoTerminal runs mirrorfs on a terminal of 80 columns and checks that no
// line is longer, and its exit code; what it wrote becomes the file "screen":
// terminal CODE ARGS...
func onPseudoTerminal(ts *testscript.TestScript, _ bool, args []string) {
	self, err := os.Executable()
	ts.Check(err)
	link := ts.MkAbs("mirrorfs")
	if err := os.Symlink(self, link); err != nil && !os.IsExist(err) {
		ts.Check(err)
	}
	master, slave, err := openPTY(24, 80)
	ts.Check(err)
	defer master.Close()
	cmd := exec.Command(link, args[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), slave, slave, slave
	cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR="+ts.Getenv("NO_COLOR"))
	ts.Check(cmd.Start())
	slave.Close()
	var screen bytes.Buffer
	_, err = io.Copy(&screen, master)
	if err != nil && !errors.Is(err, unix.EIO) { // which is how a terminal ends
		ts.Check(err)
	}
	code := 0
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s\n%s", code, args[0], &screen)
	}
	ts.Check(os.WriteFile(ts.MkAbs("screen"), screen.Bytes(), 0o600))
	control := regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]|\r")
	for line := range strings.Lines(screen.String()) {
		line = strings.TrimSuffix(control.ReplaceAllString(line, ""), "\n")
		if strings.HasPrefix(line, "mirrorfs:") || strings.Contains(line, "/mnt/") {
			continue // whole paths are as long as they are
		}
		if w := utf8.RuneCountInString(line); w > 80 {
			ts.Fatalf("a line of %d columns: %q", w, line)
		}
	}
}

// openPTY returns both ends of a new terminal.
func openPTY(rows, columns uint16) (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
	}
	return master, slave, err
}
