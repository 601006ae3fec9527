package ftppool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jlaffaye/ftp"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// session is one login. It has one owner at a time, from acquire to release;
// only stop may be called by others.
type session struct {
	pool *Pool
	tls  *tls.Config // nil: plain
	ctl  *control
	lib  *ftp.ServerConn

	// ctx ends when the session is stopped.
	ctx    context.Context
	cancel context.CancelCauseFunc

	used     bool        // it has served a request before
	lastUsed time.Time   // when its last request ended
	noEPSV   bool        // the library has gone over to PASV
	small    bool        // the next data connection gets small buffers
	alone    bool        // no questions of others ride along
	listen   consumer    // takes the data of the library's next List
	listErr  error       // what it made of it
	expiry   *time.Timer // ends it when it was idle for long
	late     *time.Timer // see Pool.returningSoon

	// mu guards what follows. It is held for nothing but that.
	mu      sync.Mutex
	control *wire // nil before the dial
	way     way   // of control
	data    *wire // of the transfer under way
	cut     error // see cuttable
	stopped error
}

// consumer reads a whole listing.
type consumer func(io.Reader) error

const (
	reuseAfter   = 5 * time.Second // idle that long, a session is no longer taken for granted
	reuseSilence = 3 * time.Second // and has this long to give its first reply
	epsvPatience = 5 * time.Second // for the first port that EPSV gives; PASV may do better
)

// stop makes every call on the session's connections fail with err, at once.
func (s *session) stop(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped == nil {
		s.stopped = err
		s.cancel(err)
	}
	if s.control != nil {
		s.control.stop(err)
	}
	if s.data != nil {
		s.data.stop(err)
	}
}

// guard lets ctx stop the session until the returned function is called, and
// never after that has returned, when the session may have another owner.
func (s *session) guard(ctx context.Context) (release func()) {
	stopped := make(chan struct{})
	undo := context.AfterFunc(ctx, func() {
		defer close(stopped)
		s.stop(context.Cause(ctx))
	})
	return func() {
		if !undo() {
			<-stopped
		}
	}
}

// inStep reports whether the session can serve another request.
func (s *session) inStep() bool {
	s.mu.Lock()
	ok := s.stopped == nil && s.data == nil
	s.mu.Unlock()
	return ok && s.ctl != nil && s.ctl.inStep()
}

// alive reports whether an idle session seems so, without asking the server.
// On an encrypted connection words may be a ticket for later.
func (s *session) alive() bool {
	if !s.inStep() {
		return false
	}
	words, end := s.ctl.wire.unasked()
	return !end && (!words || s.tls != nil || s.ctl.owed)
}

// exchange sends commands of our own, together where the server takes that.
func (s *session) exchange(commands ...string) ([]reply, error) {
	return s.ctl.exchange(s.pool.known().together(), commands...)
}

// dial is the library's DialFunc: the first call makes the control connection,
// later ones data connections.
func (s *session) dial(ctx context.Context, addr string) (net.Conn, error) {
	if s.ctl == nil {
		return s.dialControl(ctx, addr)
	}
	return s.dialData(addr)
}

func (s *session) dialControl(ctx context.Context, addr string) (net.Conn, error) {
	p := s.pool
	dctx, cancel := context.WithTimeout(ctx, p.cfg.silence())
	defer cancel()
	start := time.Now()
	conn, err := p.dialTCP(dctx, addr, false)
	if err != nil {
		return nil, dialError(err)
	}
	trip := roundTrip(conn, time.Since(start))
	p.learn(func(k *knowledge) { k.trip = trip })
	route := p.wayOf(conn)
	w := newWire(conn, p.cfg.silence(), nil)
	s.mu.Lock()
	s.control, s.way = w, route
	if s.stopped != nil {
		w.stop(s.stopped)
	}
	s.mu.Unlock()
	c := newControl(w, w, false)
	if p.cfg.TLS != Plain {
		if c, err = s.encrypt(ctx, w); err != nil {
			return nil, err
		}
	}
	c.doubled = p.known().telnet == telnetObeyed // for the questions of others
	s.ctl = c
	return c, nil
}

// dialData connects to the port the server named, on the host that is known
// to be the server's; a host in a PASV reply is never followed.
func (s *session) dialData(addr string) (net.Conn, error) {
	p := s.pool
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	patience := p.cfg.silence()
	if k := p.known(); !s.noEPSV && !k.epsvWorked {
		patience = min(patience, epsvPatience)
	}
	conn, err := s.dialPort(port, patience)
	if err != nil {
		return nil, err
	}
	w := newWire(conn, p.cfg.silence(), p.limit)
	s.mu.Lock()
	s.data = w
	if s.stopped != nil {
		w.stop(s.stopped)
	} else if s.cut != nil {
		w.stop(s.cut)
	}
	s.mu.Unlock()
	d := &dataConn{Conn: w, wire: w, session: s}
	if s.tls != nil {
		d.Conn = tls.Client(w, s.tls)
	}
	if s.listen != nil {
		listen := s.listen
		s.listen = nil
		return &listingConn{dataConn: d, consume: listen}, nil
	}
	return d, nil
}

// dialPort connects to one of the server's ports for data.
func (s *session) dialPort(port string, patience time.Duration) (net.Conn, error) {
	p := s.pool
	host := p.cfg.Host
	if peer, ok := s.ctl.Conn.RemoteAddr().(*net.TCPAddr); ok && p.cfg.Dial == nil {
		host = (&net.IPAddr{IP: peer.IP, Zone: peer.Zone}).String()
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	conn, err := p.dialTCP(ctx, net.JoinHostPort(host, port), s.small)
	if err == nil {
		return conn, nil
	}
	if s.ctx.Err() != nil {
		return nil, context.Cause(s.ctx)
	}
	return nil, &dataError{dialError(err)}
}

// closeData closes the data connection of the transfer under way.
func (s *session) closeData() {
	s.mu.Lock()
	w := s.data
	s.data = nil
	s.mu.Unlock()
	if w != nil {
		_ = w.Close()
	}
}

// stopData makes reading the transfer under way fail, and leaves the session.
func (s *session) stopData(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data != nil {
		s.data.stop(err)
	}
}

// dataConn is the data connection of a session, which knows it until it is
// closed.
type dataConn struct {
	net.Conn // wire, or TLS over it
	wire     *wire
	session  *session
}

func (d *dataConn) Close() error {
	err := d.Conn.Close()
	d.session.closeData()
	return err
}

// Read ends with io.EOF only when the server ended the data in order.
func (d *dataConn) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if err != nil {
		err = d.cleanEnd(err)
	}
	return n, err
}

// listingConn is the data connection of a listing. The library's parser would
// drop lines that it does not know, so the first Read reads everything into
// the consumer and the library is told that there was nothing.
type listingConn struct {
	*dataConn
	consume consumer
}

func (d *listingConn) Read([]byte) (int, error) {
	if d.consume != nil {
		d.session.listErr = d.consume(d.dataConn)
		d.consume = nil
	}
	return 0, io.EOF
}

func (p *Pool) dialTCP(ctx context.Context, addr string, small bool) (net.Conn, error) {
	if p.cfg.Dial != nil {
		return p.cfg.Dial(ctx, "tcp", addr)
	}
	var d net.Dialer
	if small {
		d.Control = smallBuffers
	}
	return d.DialContext(ctx, "tcp", addr)
}

// abs is the path to use in commands.
func (s *session) abs(path string) string { return s.pool.known().abs(path) }

func (k *knowledge) abs(path string) string {
	base := k.base
	switch {
	case path == "":
		return base
	case strings.HasSuffix(base, "/"):
		return base + path
	}
	return base + "/" + path
}

// transferAhead sends what the library is about to, as far as it can be known:
// saves a round trip for each command but the last.
func (s *session) transferAhead(own []string, offset int64) error {
	k := s.pool.known()
	if !k.together() || s.noEPSV || !k.epsv || k.pret {
		return s.ctl.send(own...)
	}
	ahead := []string{"EPSV"}
	if offset > 0 {
		ahead = append(ahead, fmt.Sprintf("REST %d", offset))
	}
	// One write, so that it is one packet.
	s.ctl.ahead = append(s.ctl.ahead, ahead...)
	return s.ctl.send(append(own, ahead...)...)
}

// answer answers commands of the library for the server.
func (s *session) answer(command string) (reply, bool) {
	switch {
	case command == "EPSV" && !s.pool.known().epsv && !s.noEPSV:
		s.noEPSV = true
		return reply{500, "EPSV is known not to work here"}, true
	case command == "PASV" && !s.noEPSV:
		// The library found EPSV refused, and will not use it again.
		s.noEPSV = true
		s.pool.learn(func(k *knowledge) { k.epsv = false })
	}
	return reply{}, false
}

// isBroken reports whether the session is to blame for err, not the request.
func isBroken(err error) bool {
	if err == nil || refused(err) {
		return false
	}
	for _, answer := range []error{ErrPreempted, ErrNoRestart, errNoProof, ErrNotDir, ErrIsDir, fs.ErrNotExist, fs.ErrPermission, errInjection, listing.ErrTooLarge, listing.ErrUnread} {
		if errors.Is(err, answer) {
			return false
		}
	}
	var named *replyError
	return !errors.As(err, &named) || named.reply.code == 421
}
