package control

import (
	"errors"
	"net"
	"sync"
)

// What one user among the others may take of a mount's process.
const (
	maxConnections = 32  // of one user
	maxInAll       = 256 // connections of all of them
	maxRequests    = 8   // under way, of one user
	maxOthersBody  = 4 << 20
)

var errBusy = errors.New("you have too many requests under way at this mount; wait until one ends")

// bounds counts what others than the owner do. The zero value is ready.
type bounds struct {
	mu          sync.Mutex // guards what follows
	connections map[uint32]int
	requests    map[uint32]int
	all         int // connections
}

// connect counts a connection of a user in, unless there are too many.
func (b *bounds) connect(uid uint32) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.connections == nil {
		b.connections, b.requests = make(map[uint32]int), make(map[uint32]int)
	}
	if b.all >= maxInAll || b.connections[uid] >= maxConnections {
		return false
	}
	b.all++
	b.connections[uid]++
	return true
}

func (b *bounds) disconnect(uid uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	if b.connections[uid]--; b.connections[uid] == 0 {
		delete(b.connections, uid)
	}
}

// begin counts a request in, unless there are too many; end counts it out.
func (b *bounds) begin(uid uint32) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.requests[uid] >= maxRequests {
		return false
	}
	b.requests[uid]++
	return true
}

func (b *bounds) end(uid uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.requests[uid]--; b.requests[uid] == 0 {
		delete(b.requests, uid)
	}
}

// boundListener drops connections that are too many. Those of this user and of
// root are never that.
type boundListener struct {
	net.Listener
	bounds *bounds
}

// boundConn is a connection that is counted.
type boundConn struct {
	*net.UnixConn
	once   sync.Once
	closed func()
}

func (c *boundConn) Close() error {
	c.once.Do(c.closed)
	return c.UnixConn.Close()
}

func (l boundListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		u := c.(*net.UnixConn)
		cred, err := peer(u)
		switch {
		case err != nil:
		case privileged(cred.Uid):
			return u, nil
		case l.bounds.connect(cred.Uid):
			return &boundConn{UnixConn: u, closed: func() { l.bounds.disconnect(cred.Uid) }}, nil
		}
		u.Close()
	}
}
