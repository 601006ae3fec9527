package ftppool

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

const (
	maxReply  = 1 << 20 // bytes of one reply, all its lines together
	maxStrays = 16      // empty lines tolerated before a reply
)

// control is the control connection of one session. The library reads and
// writes it as a net.Conn, and sees every reply as one line in the form it
// understands; between the library's calls the session speaks over it with
// exchange. One goroutine at a time uses it, the session's owner.
type control struct {
	net.Conn // wire, or TLS over it
	wire     *wire
	in       *bufio.Reader
	sent     []string // commands whose final reply has not been read; "" is what any reply answers
	banner   reply    // what the server said first
	last     reply    // what it said last
	closing  bool     // the server said 421: it hangs up
	owed     bool     // the reply to a transfer that has ended is the next to come; see owe.go
	restarts bool     // REST was accepted and no transfer has begun since: the next one would be from there
	doubled  bool     // the byte 255 is written twice; see telnet
	declined bool     // the server has answered in Telnet
	broken   error    // the first failure; nothing works after it
	// later is the silence to allow when a reply has come, 0 for no change.
	later time.Duration

	// The library's side.
	line    []byte  // what it wrote of a command that is not complete yet
	command string  // the last one it wrote
	begun   bool    // the preliminary reply to that command has been read
	hand    []byte  // what it has not read of a reply
	told    []reply // replies it is to read before any of the server's
	// ahead are commands already sent that it is going to write next, in this
	// order; when it does, they are not sent again. If it writes something else
	// instead, the replies to these are read and forgotten.
	ahead    []string
	known    func(command string) (reply, bool)
	listVerb string // sent in place of LIST
}

// newControl returns the control connection over conn; the server speaks first
// there, unless greeted.
func newControl(conn net.Conn, w *wire, greeted bool) *control {
	c := &control{Conn: conn, wire: w, in: bufio.NewReader(conn), listVerb: "LIST"}
	if !greeted {
		c.sent = []string{""} // the banner
	}
	return c
}

// Close does nothing: the session hangs up by itself, in its own time, where
// the library would at once.
func (c *control) Close() error { return nil }

// RemoteAddr is a TCP address even behind a proxy, as the library insists.
// What it makes of it is not used: data connections go to the control
// connection's peer.
func (c *control) RemoteAddr() net.Addr {
	if a, ok := c.Conn.RemoteAddr().(*net.TCPAddr); ok {
		return a
	}
	return &net.TCPAddr{IP: net.IPv4zero}
}

// inStep reports whether every command was answered, but for what is owed, and
// nothing else was said.
func (c *control) inStep() bool {
	return c.broken == nil && !c.restarts && (len(c.sent) == 0 || c.owed && len(c.sent) == 1) && !c.closing && len(c.ahead) == 0 && len(c.hand) == 0 && len(c.told) == 0 && c.in.Buffered() == 0
}

// send writes commands in one go.
func (c *control) send(commands ...string) error {
	if len(commands) == 0 {
		return nil
	}
	for _, command := range commands {
		if strings.ContainsAny(command, lineEnds) {
			return errInjection
		}
	}
	if c.broken != nil {
		return c.broken
	}
	c.sent = append(c.sent, commands...)
	text := strings.Join(commands, "\r\n") + "\r\n"
	if c.doubled {
		text = strings.ReplaceAll(text, iac, iac+iac)
	}
	_, err := io.WriteString(c.Conn, text)
	return c.fail(err)
}

// fail remembers a failure: the library goes on with another command after some.
func (c *control) fail(err error) error {
	if c.broken == nil {
		c.broken = err
	}
	return err
}

// lineEnds end a command on one server or another.
const lineEnds = "\r\n\x00"

var errInjection = errors.New("a command with a line end or NUL in it was not sent")

// exchange sends commands and returns their final replies, one for each. With
// together they are sent at once and cost one round trip.
func (c *control) exchange(together bool, commands ...string) ([]reply, error) {
	replies := make([]reply, 0, len(commands))
	if together {
		if err := c.send(commands...); err != nil {
			return nil, err
		}
	}
	for _, command := range commands {
		if !together {
			if err := c.send(command); err != nil {
				return replies, err
			}
		}
		r, err := c.final()
		if err != nil {
			return replies, err
		}
		replies = append(replies, r)
	}
	// After a refusal more words are no wonder; the session is out of step then.
	if c.in.Buffered() > 0 && replies[len(replies)-1].code < 400 {
		return replies, c.fail(fmt.Errorf("%w: more replies than commands", ErrProtocol))
	}
	return replies, nil
}

// final reads up to a reply that is not preliminary. A 421 answers nothing, it is
// an error.
func (c *control) final() (reply, error) {
	for range maxStrays {
		r, err := c.read()
		if err == nil && c.closing {
			err = r.asError()
		}
		if err != nil || r.code >= 200 {
			return r, err
		}
	}
	return reply{}, fmt.Errorf("%w: preliminary replies without end", ErrProtocol)
}

// forget reads the replies of commands that were sent ahead for nothing.
func (c *control) forget() error {
	for len(c.ahead) > 0 {
		if _, err := c.final(); err != nil {
			return err
		}
		c.ahead = c.ahead[1:]
	}
	return nil
}

// Write takes what the library sends.
func (c *control) Write(p []byte) (int, error) {
	c.line = append(c.line, p...)
	for {
		line, rest, ok := strings.Cut(string(c.line), "\r\n")
		if !ok {
			return len(p), nil
		}
		c.line = append(c.line[:0], rest...)
		if err := c.write(line); err != nil {
			return 0, err
		}
	}
}

func (c *control) write(line string) error {
	if c.broken != nil {
		return c.broken
	}
	if verb, arg, _ := strings.Cut(line, " "); verb == "PRET" {
		line = verb + " " + c.verb(arg)
	} else {
		line = c.verb(line)
	}
	c.command, c.begun = line, false
	if c.known != nil {
		if r, ok := c.known(line); ok {
			c.told = append(c.told, r)
			return nil
		}
	}
	if len(c.ahead) > 0 && c.ahead[0] == line {
		c.ahead = c.ahead[1:]
		return nil
	}
	if err := c.forget(); err != nil {
		return err
	}
	return c.send(line)
}

func (c *control) verb(line string) string {
	if verb, arg, _ := strings.Cut(line, " "); verb == "LIST" {
		return strings.TrimSuffix(c.listVerb+" "+arg, " ")
	}
	return line
}

// Read gives the library one reply, in one line.
func (c *control) Read(p []byte) (int, error) {
	if len(c.hand) == 0 {
		r, err := c.next()
		if err != nil {
			return 0, err
		}
		c.hand = append(c.hand[:0], r.line()...)
	}
	n := copy(p, c.hand)
	c.hand = c.hand[n:]
	return n, nil
}

func (c *control) next() (reply, error) {
	if c.broken != nil {
		return reply{}, c.broken
	}
	if len(c.told) > 0 {
		r := c.told[0]
		c.told = c.told[1:]
		c.banner = cmp.Or(c.banner, r)
		return r, nil
	}
	for range maxStrays {
		r, err := c.read()
		if err != nil {
			return r, err
		}
		if r.code < 200 && (c.begun || c.command == "") {
			continue // a marker, or "ready in 5 minutes"
		}
		c.begun = c.begun || r.code < 200
		return normal(c.command, r), nil
	}
	return reply{}, fmt.Errorf("%w: preliminary replies without end", ErrProtocol)
}

// read reads one reply from the server, after the one that is owed.
func (c *control) read() (reply, error) {
	for c.owed {
		r, err := c.readNext()
		switch {
		case err != nil:
			return r, err
		case r.code < 200:
		case !r.ok(): // and perhaps not all it says about that
			return r, c.fail(fmt.Errorf("%w: %d after a transfer", ErrProtocol, r.code))
		default:
			c.owed = false
		}
	}
	return c.readNext()
}

func (c *control) readNext() (reply, error) {
	if c.broken != nil {
		return reply{}, c.broken
	}
	r, said, err := readReply(c.in)
	c.declined = c.declined || said
	if err != nil {
		return r, c.fail(err)
	}
	c.last = r
	if len(c.sent) > 0 {
		switch verb, _, _ := strings.Cut(c.sent[0], " "); {
		case verb == "REST" && r.code == 350:
			c.restarts = true
		case verb == "RETR" && r.code < 300:
			c.restarts = false
		}
	}
	if c.later != 0 {
		c.wire.setSilence(c.later)
		c.later = 0
	}
	if c.banner.code == 0 {
		c.banner = r
	}
	switch {
	case r.code == 421: // the server hangs up
		c.closing = true
		_ = c.fail(r.asError())
	case r.code < 200:
	case len(c.sent) == 0:
		return r, c.fail(fmt.Errorf("%w: %d, and nothing was asked", ErrProtocol, r.code))
	case !r.fits(c.sent[0]):
		verb, _, _ := strings.Cut(c.sent[0], " ")
		return r, c.fail(fmt.Errorf("%w: %d for %s", ErrProtocol, r.code, verb))
	default:
		c.sent = c.sent[1:]
	}
	return r, nil
}
