package demo

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	ftpserver "github.com/fclairamb/ftpserverlib"
	"github.com/spf13/afero"
)

// server is an anonymous FTP server for a folder, on loopback, that keeps what
// it saw.
type server struct {
	ftp  *ftpserver.FtpServer
	addr string
	done chan struct{} // closed when it no longer serves

	mu       sync.Mutex // guards what follows
	commands []string   // as they came
	sent     int64      // bytes over data connections
	sessions int        // now
	most     int        // sessions at once
	conns    map[net.Conn]struct{}
}

func serve(folder string) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{addr: l.Addr().String(), done: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	files := afero.NewReadOnlyFs(afero.NewBasePathFs(afero.NewOsFs(), folder))
	s.ftp = ftpserver.NewFtpServer(&driver{s, files, listener{l, s}})
	if err := s.ftp.Listen(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	go func() {
		defer close(s.done)
		_ = s.ftp.Serve() // it ends with Stop
	}()
	return s, nil
}

// stop ends the server and every connection with it.
func (s *server) stop() error {
	err := s.ftp.Stop()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	<-s.done
	return err
}

// seen is what the server saw since a moment.
type seen struct {
	Commands []string
	Sent     int64
	Most     int
}

// mark is a moment in what the server saw.
type mark struct {
	commands int
	sent     int64
}

func (s *server) now() mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return mark{len(s.commands), s.sent}
}

func (s *server) since(m mark) seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return seen{append([]string(nil), s.commands[m.commands:]...), s.sent - m.sent, s.most}
}

// count is how many of the commands are the verb.
func (v seen) count(verb string) int {
	n := 0
	for _, c := range v.Commands {
		if c == verb || strings.HasPrefix(c, verb+" ") {
			n++
		}
	}
	return n
}

// listener hands out control connections that note the commands.
type listener struct {
	net.Listener
	s *server
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.s.conns[c] = struct{}{}
	l.s.sessions++
	l.s.most = max(l.s.most, l.s.sessions)
	return &control{Conn: c, s: l.s}, nil
}

// control is a control connection.
type control struct {
	net.Conn
	s    *server
	line []byte
	once sync.Once
}

func (c *control) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.line = append(c.line, p[:n]...)
	for {
		line, rest, ok := bytes.Cut(c.line, []byte("\r\n"))
		if !ok {
			return n, err
		}
		c.s.commands = append(c.s.commands, string(line))
		c.line = rest
	}
}

func (c *control) Close() error {
	c.once.Do(func() {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		c.s.sessions--
		delete(c.s.conns, c.Conn)
	})
	return c.Conn.Close()
}

// dataListener hands out data connections that count.
type dataListener struct {
	net.Listener
	s *server
}

func (l dataListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &data{c, l.s}, nil
}

type data struct {
	net.Conn
	s *server
}

func (d *data) Write(p []byte) (int, error) {
	n, err := d.Conn.Write(p)
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	d.s.sent += int64(n)
	return n, err
}

// driver tells the library what to serve: files, to anybody, for reading.
type driver struct {
	s     *server
	files afero.Fs
	l     net.Listener
}

func (d *driver) GetSettings() (*ftpserver.Settings, error) {
	return &ftpserver.Settings{
		Listener: d.l, Banner: "mirrorfs demo", IdleTimeout: 600, DisableActiveMode: true, DisableSite: true,
		DefaultTransferType: ftpserver.TransferTypeBinary,
	}, nil
}

func (d *driver) WrapPassiveListener(l net.Listener) (net.Listener, error) {
	return dataListener{l, d.s}, nil
}

func (d *driver) ClientConnected(ftpserver.ClientContext) (string, error) {
	return "mirrorfs demo", nil
}
func (d *driver) ClientDisconnected(ftpserver.ClientContext) {}
func (d *driver) GetTLSConfig() (*tls.Config, error) {
	return nil, errors.New("this server has no TLS")
}

func (d *driver) AuthUser(_ ftpserver.ClientContext, user, _ string) (ftpserver.ClientDriver, error) {
	if user != "anonymous" {
		return nil, fmt.Errorf("user %s is not known", user)
	}
	return d.files, nil
}
