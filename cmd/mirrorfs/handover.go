package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/mirrorfs/mirrorfs/internal/ftpurl"
	"golang.org/x/sys/unix"
)

// Command lines and environments of processes can be read by others. So when
// they hold a password the program starts itself anew without it, and gets it
// back from a file in memory that only it has open.

// call is how the program was called, passwords included.
type call struct {
	Program  string   // argv[0]
	Args     []string // argv[1:]
	Password string   // MIRRORFS_PASSWORD
	// Login was found by a process that went before, which may have read it
	// from where it can't be read again.
	Login *login
}

type login struct{ User, Password string }

// handoverVariable names the descriptor with the call in it.
const handoverVariable = "_MIRRORFS_CALL"

// arrive returns the call. It does not return when the program has to start
// itself anew first.
func arrive() (*call, error) {
	if fd := os.Getenv(handoverVariable); fd != "" {
		os.Unsetenv(handoverVariable)
		return receive(fd)
	}
	c := &call{Program: os.Args[0], Args: os.Args[1:], Password: os.Getenv(passwordVariable)}
	if c.Password == "" && !c.exposed() {
		return c, nil
	}
	return nil, c.exec()
}

// exposed reports whether the command line has a password in it.
func (c *call) exposed() bool {
	for i, s := range c.shown() {
		if s != c.Args[i] {
			return true
		}
	}
	return false
}

// shown is the command line without passwords.
func (c *call) shown() []string {
	shown := make([]string, len(c.Args))
	for i, s := range c.Args {
		shown[i] = s
		if strings.Contains(s, "@") && !strings.HasPrefix(s, "/") {
			shown[i], _, _ = ftpurl.WithoutPassword(s)
		}
	}
	return shown
}

// env looks a variable up as the user set it.
func (c *call) env(name string) string {
	if name == passwordVariable {
		return c.Password
	}
	return os.Getenv(name)
}

// cleanEnviron is the environment without the password, and with the
// descriptor's number in it.
func cleanEnviron(fd int) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, passwordVariable+"=") {
			env = append(env, v)
		}
	}
	return append(env, handoverVariable+"="+strconv.Itoa(fd))
}

// memory writes the call to a file in memory.
func (c *call) memory() (*os.File, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("call", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("hide the password from other users: %w", err)
	}
	f := os.NewFile(uintptr(fd), "call")
	if _, err := f.Write(b); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// exec replaces this process by one that was called without a password in
// sight. It returns only with an error.
func (c *call) exec() error {
	exe, err := executable()
	if err != nil {
		return err
	}
	f, err := c.memory()
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
		return err
	}
	argv := append([]string{c.Program}, c.shown()...)
	return fmt.Errorf("start %s: %w", exe, syscall.Exec(exe, argv, cleanEnviron(int(f.Fd()))))
}

func receive(fd string) (*call, error) {
	n, err := strconv.Atoi(fd)
	if err != nil || n < 3 {
		return nil, errors.New(handoverVariable + " is for mirrorfs itself")
	}
	f := os.NewFile(uintptr(n), "call")
	defer f.Close()
	var c call
	if err := json.NewDecoder(f).Decode(&c); err != nil {
		return nil, fmt.Errorf("read the call: %w", err)
	}
	return &c, nil
}

// executable is this program's file, also when it was replaced meanwhile.
func executable() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(exe); err != nil {
		return "/proc/self/exe", nil
	}
	return exe, nil
}
