package realftp

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is a running FTP server.
type Server struct {
	kind     Kind
	opts     Options
	binary   string
	unpacked string
	dir      string    // configuration and logs
	port     *heldPort // of the server itself
	relay    *relay    // nil with NoRelay
	skip     int       // transfers in the log before Reset; guarded by relay.mu

	mu   sync.Mutex // guards proc; serialises Start, Stop and Close
	proc *process   // nil when stopped
}

// product is what one kind of server needs to know.
type product interface {
	// command writes the configuration into s.dir and returns the command line.
	command(s *Server) (*exec.Cmd, error)
	// transfers parses the log.
	transfers(s *Server) ([]Transfer, error)
	// logs are the files whose content tells what went on.
	logs() []string
}

var products = map[Kind]product{Vsftpd: vsftpd{}, ProFTPD: proftpd{}, PureFTPd: pureftpd{}}

// Start runs a server until the test ends. A server that is not installed, or
// does not start, fails the test.
func Start(tb testing.TB, kind Kind, o Options) *Server {
	tb.Helper()
	s, err := New(kind, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		s.Close()
		if tb.Failed() {
			tb.Logf("what %s said:\n%s", kind, tail(s.ServerLog(), 40))
		}
	})
	return s
}

// New runs a server. The caller closes it.
func New(kind Kind, o Options) (*Server, error) {
	p := products[kind]
	if p == nil {
		return nil, fmt.Errorf("realftp: no server is called %q", kind)
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("realftp: %s can only be started by root", kind)
	}
	s := &Server{kind: kind, opts: o}
	var err error
	if s.binary, s.unpacked, err = find(kind); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "realftp-"); err != nil {
		return nil, err
	}
	if err := s.prepare(); err != nil {
		s.Close()
		return nil, fmt.Errorf("realftp: %s: %w", kind, err)
	}
	return s, nil
}

func (s *Server) prepare() error {
	if s.opts.Host == "" {
		s.opts.Host = "127.0.0.1"
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return err
	}
	if s.opts.Root == "" {
		s.opts.Root = filepath.Join(s.dir, "root")
		if err := os.Mkdir(s.opts.Root, 0o755); err != nil {
			return err
		}
	}
	root, err := filepath.EvalSymlinks(s.opts.Root)
	if err != nil {
		return err
	}
	if s.opts.Root, err = filepath.Abs(root); err != nil {
		return err
	}
	if err := openPath(s.opts.Root); err != nil {
		return err
	}
	if s.port, err = holdPort(s.opts.Host); err != nil {
		return err
	}
	if !s.opts.NoRelay {
		s.relay = &relay{
			to:     net.JoinHostPort(s.opts.Host, strconv.Itoa(s.port.number)),
			addr:   net.JoinHostPort(s.opts.Host, "0"),
			hidden: s.opts.TLS == ImplicitTLS,
		}
	}
	return s.Start()
}

// openPath lets the servers' users through to a test's folder, whose parents
// are closed to others by default.
func openPath(root string) error {
	temp, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil {
		return err
	}
	for dir := root; strings.HasPrefix(dir, temp+"/"); dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if need := info.Mode().Perm() | 0o011; need != info.Mode().Perm() {
			if err := os.Chmod(dir, need); err != nil {
				return err
			}
		}
	}
	return nil
}

// Start runs the server again after Stop, on the same port. The logs go on.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		return nil
	}
	cmd, err := products[s.kind].command(s)
	if err != nil {
		return err
	}
	if cmd, err = wrap(s.dir, s.opts.Root, cmd); err != nil {
		return err
	}
	p, err := run(cmd)
	if err != nil {
		return err
	}
	if err := s.ready(p); err != nil {
		p.kill()
		return fmt.Errorf("%w; it said: %s", err, tail(p.out.String()+s.ServerLog(), 20))
	}
	if s.relay != nil {
		if err := s.relay.start(); err != nil {
			p.kill()
			return err
		}
	}
	s.proc = p
	return nil
}

// ready waits until the server has said its banner, and has forgotten who asked.
func (s *Server) ready(p *process) error {
	deadline := time.Now().Add(20 * time.Second)
	for !s.greets() {
		select {
		case <-p.done:
			return errors.New("the server ended at once")
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return errors.New("the server does not answer")
		}
	}
	for len(children(p.pid)) > 0 {
		if time.Now().After(deadline) {
			return errors.New("the server does not end its first session")
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

func (s *Server) greets() bool {
	c, err := net.Dial("tcp", net.JoinHostPort(s.opts.Host, strconv.Itoa(s.port.number)))
	if err != nil {
		return false
	}
	defer c.Close()
	if s.opts.TLS == ImplicitTLS {
		return true // it accepts; speaking TLS here would say nothing more
	}
	c.SetDeadline(time.Now().Add(5 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && strings.HasPrefix(line, "220")
}

// Stop kills the server and all its sessions at once.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
}

func (s *Server) stop() {
	if s.proc == nil {
		return
	}
	if s.relay != nil {
		s.relay.close() // nobody gets in between
	}
	s.proc.kill()
	s.proc = nil
	if s.relay != nil {
		s.relay.drop()
	}
}

// Close stops the server for good and removes its configuration and logs, and the
// folder served if the server made it.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	if s.port != nil {
		s.port.letGo()
	}
	os.RemoveAll(s.dir)
}

// Addr is host:port for clients.
func (s *Server) Addr() string { return net.JoinHostPort(s.Host(), strconv.Itoa(s.Port())) }

// Host is the address for clients.
func (s *Server) Host() string { return s.opts.Host }

// Port is the port for clients.
func (s *Server) Port() int {
	if s.relay != nil {
		return s.relay.port()
	}
	return s.port.number
}

// URL is where a client finds path. The path is not escaped.
func (s *Server) URL(path string) string {
	scheme := map[TLSMode]string{NoTLS: "ftp", ExplicitTLS: "ftp", ImplicitTLS: "ftps"}[s.opts.TLS]
	return scheme + "://" + s.Addr() + "/" + strings.TrimPrefix(path, "/")
}

// User and Password let anybody in.
func (s *Server) User() string { return "anonymous" }

// Password goes with User.
func (s *Server) Password() string { return "test@example.org" }

// Kind is the product.
func (s *Server) Kind() Kind { return s.kind }

// Root is the folder served.
func (s *Server) Root() string { return s.opts.Root }

// PID is the process id of the server's main process, 0 when it is stopped.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.pid
}

// ServerLog is everything the server logged and printed.
func (s *Server) ServerLog() string {
	var b strings.Builder
	for _, name := range products[s.kind].logs() {
		data, _ := os.ReadFile(filepath.Join(s.dir, name))
		b.Write(data)
	}
	return b.String()
}

func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
