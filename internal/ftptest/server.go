package ftptest

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	_ "time/tzdata" // profiles name zones
)

// Server is a scriptable FTP server. All methods may be called from any goroutine.
type Server struct {
	options atomic.Pointer[Options] // a new copy at each Update
	tree    *Tree

	fileBytes, listBytes atomic.Int64

	life sync.Mutex // serialises Start, Stop, Close
	wg   sync.WaitGroup

	mu          sync.Mutex // guards what follows; no I/O under it
	addr        string     // after the first Start
	listener    net.Listener
	sessions    map[*session]struct{}
	slots       map[string]int // sessions that count for the caps, by client address
	slotsTotal  int
	lastSession int
	frozen      chan struct{} // closed by Thaw; nil when not frozen
	script      func(*Cmd) Action
	rules       []*Armed
	event       chan struct{} // closed and replaced by notify
	counts      map[string]int
	commands    []Command
	changed     []Command
	overlaps    []Command
	clear       []string
	transfers   []*transfer
	attempts    []time.Time
	refused     []time.Time
	open        int // control connections
	maxOpen     int
}

// New starts a server and closes it when the test ends.
func New(tb testing.TB, o Options) *Server {
	tb.Helper()
	s, err := NewServer(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// NewServer starts a server. The caller closes it.
func NewServer(o Options) (*Server, error) {
	if o.Tree == nil {
		o.Tree = NewTree()
	}
	for p, data := range o.Files {
		o.Tree.WriteFile(p, []byte(data), time.Unix(1700000000, 0))
	}
	if o.TLSMode != NoTLS && o.TLS == nil {
		return nil, errors.New("ftptest: TLSMode without a TLS config")
	}
	s := &Server{
		tree:     o.Tree,
		sessions: make(map[*session]struct{}),
		slots:    make(map[string]int),
		counts:   make(map[string]int),
		event:    make(chan struct{}),
	}
	s.store(o)
	if err := s.Start(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) store(o Options) {
	if o.Profile.Name == "" && o.Profile.Banner == "" && o.Profile.System == "" {
		o.Profile = Vsftpd()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s.options.Store(&o)
}

func (s *Server) opts() *Options { return s.options.Load() }

// Update changes the options of the running server; sessions obey them from
// their next command on. Tree, Files, Listen and TLSMode do not change.
func (s *Server) Update(f func(*Options)) {
	s.life.Lock()
	defer s.life.Unlock()
	o := *s.opts()
	f(&o)
	s.store(o)
}

// Start listens again after Stop, on the same port.
func (s *Server) Start() error {
	s.life.Lock()
	defer s.life.Unlock()
	s.mu.Lock()
	addr, running := s.addr, s.listener != nil
	s.mu.Unlock()
	if running {
		return nil
	}
	if addr == "" {
		if addr = s.opts().Listen; addr == "" {
			addr = "127.0.0.1:0"
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.listener, s.addr = l, l.Addr().String()
	s.mu.Unlock()
	s.wg.Add(1)
	go s.accept(l)
	return nil
}

// Stop closes the listener and all connections at once, as when a server is
// killed, and waits until all its goroutines ended.
func (s *Server) Stop() {
	s.life.Lock()
	defer s.life.Unlock()
	s.mu.Lock()
	l := s.listener
	s.listener = nil
	open := make([]*session, 0, len(s.sessions))
	for ss := range s.sessions {
		open = append(open, ss)
	}
	s.mu.Unlock()
	if l != nil {
		l.Close()
	}
	for _, ss := range open {
		ss.kill()
	}
	s.wg.Wait()
}

// Close stops the server for good.
func (s *Server) Close() { s.Stop() }

// DropAll closes all control and data connections at once; the server goes on.
func (s *Server) DropAll() {
	s.mu.Lock()
	open := make([]*session, 0, len(s.sessions))
	for ss := range s.sessions {
		open = append(open, ss)
	}
	s.mu.Unlock()
	for _, ss := range open {
		ss.kill()
	}
}

// Freeze makes the server silent: connections are made, but no byte leaves it
// until Thaw.
func (s *Server) Freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen == nil {
		s.frozen = make(chan struct{})
	}
}

// Thaw ends Freeze.
func (s *Server) Thaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen != nil {
		close(s.frozen)
		s.frozen = nil
	}
}

func (s *Server) ice() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frozen
}

// Tree is what the server serves.
func (s *Server) Tree() *Tree { return s.tree }

// Addr is host:port of the control connection.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Host is the address without the port.
func (s *Server) Host() string {
	host, _, _ := net.SplitHostPort(s.Addr())
	return host
}

// Port is the port of the control connection.
func (s *Server) Port() int {
	_, port, _ := net.SplitHostPort(s.Addr())
	n, _ := strconv.Atoi(port)
	return n
}

// URL is where a client finds path: ftp://host:port/path, or ftps:// with
// implicit TLS. The path is not escaped.
func (s *Server) URL(path string) string {
	scheme := "ftp"
	if s.opts().TLSMode == ImplicitTLS {
		scheme = "ftps"
	}
	return scheme + "://" + s.Addr() + "/" + clean(path)
}

func (s *Server) accept(l net.Listener) {
	defer s.wg.Done()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		ss := newSession(s, c)
		s.mu.Lock()
		if s.listener != l { // stopped meanwhile
			s.mu.Unlock()
			c.Close()
			return
		}
		s.lastSession++
		ss.id = s.lastSession
		s.sessions[ss] = struct{}{}
		s.open++ // until it is about to be closed
		s.maxOpen = max(s.maxOpen, s.open)
		s.attempts = trim(append(s.attempts, time.Now()), s.opts().LogLimit)
		s.wg.Add(1)
		s.notify()
		s.mu.Unlock()
		go func() {
			defer s.wg.Done()
			ss.serve()
			s.mu.Lock()
			delete(s.sessions, ss)
			s.notify()
			s.mu.Unlock()
		}()
	}
}

// closing counts a control connection no more.
func (s *Server) closing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// takeSlot counts a session toward the caps, or refuses it.
func (s *Server) takeSlot(o *Options, host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.MaxSessions > 0 && s.slotsTotal >= o.MaxSessions || o.MaxPerAddr > 0 && s.slots[host] >= o.MaxPerAddr {
		s.refused = trim(append(s.refused, time.Now()), o.LogLimit)
		s.notify()
		return false
	}
	s.slots[host]++
	s.slotsTotal++
	return true
}

func (s *Server) freeSlot(host string) {
	free := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.slots[host]--; s.slots[host] == 0 {
			delete(s.slots, host)
		}
		s.slotsTotal--
	}
	if d := s.opts().SlotLinger; d > 0 {
		time.AfterFunc(d, free)
		return
	}
	free()
}

// AwaitIdle waits until no control connection is open.
func (s *Server) AwaitIdle(ctx context.Context) error {
	return s.Await(ctx, func() bool { return s.Sessions() == 0 })
}
