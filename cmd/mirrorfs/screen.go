package main

import (
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"
)

// screen is a terminal while a live report fills it. It draws on the terminal's
// second screen, so that what was there before is there again afterwards. Until
// close, keys are not echoed and come through keys.
type screen struct {
	out  *os.File
	tty  *os.File      // the same terminal as a source of keys, nil: none
	was  *unix.Termios // how the terminal was; nil without tty
	keys chan byte
	done chan struct{} // closed when keys are no longer read
}

const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l" // second screen, no cursor, no wrapping
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// able reports whether the terminal, if there is one, can do more than lines.
func able() bool {
	term := os.Getenv("TERM")
	return term != "" && term != "dumb"
}

func openScreen(out *os.File) (*screen, error) {
	s := &screen{out: out, keys: make(chan byte, 8), done: make(chan struct{})}
	// A description of its own can be read with a deadline, whatever stdin is.
	if tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0); err == nil {
		s.tty = tty
	}
	go s.read()
	if err := s.enter(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// enter takes the terminal.
func (s *screen) enter() error {
	if s.tty != nil {
		err := s.control(func(fd int) error {
			was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
			if err != nil {
				return err
			}
			s.was = was
			quiet := *was
			quiet.Lflag &^= unix.ECHO | unix.ICANON // Ctrl-C and its like still signal
			return unix.IoctlSetTermios(fd, unix.TCSETS, &quiet)
		})
		if err != nil {
			return err
		}
	}
	_, err := s.out.WriteString(enterScreen)
	return err
}

// leave gives the terminal back as it was.
func (s *screen) leave() error {
	_, err := s.out.WriteString(leaveScreen)
	if s.was == nil {
		return err
	}
	if e := s.control(func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETS, s.was) }); err == nil {
		err = e
	}
	return err
}

func (s *screen) control(f func(fd int) error) error {
	raw, err := s.tty.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// suspend stops this process, as Ctrl-Z wants, with the terminal as it was, and
// returns when it is continued.
func (s *screen) suspend() error {
	if err := s.leave(); err != nil {
		return err
	}
	// Other threads may go on for a moment after the signal is sent.
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	if err := unix.Kill(os.Getpid(), unix.SIGSTOP); err != nil {
		return err
	}
	<-continued
	return s.enter()
}

// read passes keys on until close.
func (s *screen) read() {
	defer close(s.done)
	if s.tty == nil {
		return
	}
	for b := make([]byte, 1); ; {
		n, err := s.tty.Read(b)
		if err != nil {
			return
		}
		if n == 1 {
			select {
			case s.keys <- b[0]:
			default: // so many that nobody means them
			}
		}
	}
}

func (s *screen) close() {
	_ = s.leave() // a terminal that is gone needs no care
	if s.tty != nil {
		s.tty.Close() // ends read
	}
	<-s.done
}

func (s *screen) size() (rows, columns int) {
	rows, columns = sizeOf(s.out)
	return max(rows, 1), max(columns, 2)
}

// bold stresses a line, unless NO_COLOR forbids.
func (s *screen) bold(line string) string {
	if os.Getenv("NO_COLOR") != "" {
		return line
	}
	return "\x1b[1m" + line + "\x1b[0m"
}

// draw puts lines in place of what was there, in one write and without erasing
// first, so that nothing flickers.
func (s *screen) draw(lines []string) error {
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	_, err := s.out.WriteString(b.String())
	return err
}
