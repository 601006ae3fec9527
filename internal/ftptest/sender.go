package ftptest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// sender pushes content into a data connection.
type sender struct {
	s       *session
	o       *Options
	tr      *transfer
	raw     net.Conn
	out     net.Conn // raw, or TLS over it
	ended   bool
	content func() Content
	total   interface{ Add(int64) int64 }
	at      int64
	begin   time.Time
}

// run sends up to the offset end (-1: to the end of the content) and tells
// whether the client took it all.
func (w *sender) run(end int64) bool {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		b := *buf
		if rate := w.o.Rate; rate > 0 {
			b = b[:min(int64(len(b)), max(rate/50, 1<<10))]
		}
		if end >= 0 {
			b = b[:min(int64(len(b)), end-w.at)]
		}
		if len(b) == 0 {
			return true
		}
		n, err := w.content().ReadAt(b, w.at)
		if n == 0 {
			return err == io.EOF
		}
		if !w.s.thawed() {
			return false
		}
		n, err = w.out.Write(b[:n])
		w.at += int64(n)
		w.total.Add(int64(n))
		sent := w.tr.sent.Add(int64(n))
		if err != nil {
			return false
		}
		if rate := w.o.Rate; rate > 0 {
			due := time.Duration(float64(sent) / float64(rate) * float64(time.Second))
			if !w.s.sleep(due - time.Since(w.begin)) {
				return false
			}
		}
	}
}

// encrypt wraps the data connection in TLS.
func (w *sender) encrypt() error {
	c := tls.Server(w.raw, w.o.TLS)
	if err := c.Handshake(); err != nil {
		return err
	}
	resumed := c.ConnectionState().DidResume
	w.s.srv.mu.Lock()
	w.tr.Encrypted, w.tr.Resumed = true, resumed
	w.s.srv.mu.Unlock()
	w.out = c
	if w.o.RequireReuse && !resumed {
		return errors.New("SSL connection failed: session reuse required")
	}
	return nil
}

// cut brings a transfer to the point of its fault and commits it. It tells
// whether the transfer goes on.
func (w *sender) cut(cut *Cut, a *Action, final string) bool {
	end := w.at + cut.At
	reached := w.run(end)
	if cut.How == Stall && reached && w.at < end {
		return true // it is shorter
	}
	w.s.srv.mu.Lock()
	w.s.srv.notify()
	w.s.srv.mu.Unlock()
	if a.Then != nil {
		a.Then()
	}
	if !reached {
		w.finish("426 Failure writing network stream.", false)
		return false
	}
	if a.Drop == DropDuring {
		w.s.drop(a.Abort, true)
		w.end("", w.run(-1))
		return false
	}
	switch cut.How {
	case With426:
		w.finish("426 Connection closed; transfer aborted.", false)
	case With451:
		w.finish("451 Requested action aborted: local error in processing.", false)
	case With226:
		w.finish(final, false)
	case Reset:
		w.raw.(*net.TCPConn).SetLinger(0)
		w.s.hangUp()
		w.finish("426 Connection closed; transfer aborted.", false)
	case Stall:
		if w.wait(cut.Until) {
			return true
		}
		w.finish("426 Failure writing network stream.", false)
	case NoReply:
		w.end("", false)
		w.s.wait(nil)
	case Disconnect:
		w.s.drop(a.Abort, false)
	}
	return false
}

// end closes the data connection in order and logs the transfer, once.
func (w *sender) end(reply string, whole bool) {
	if w.ended {
		return
	}
	w.ended = true
	if c, ok := w.out.(*tls.Conn); ok && !w.o.NoCloseNotify {
		c.CloseWrite()
	}
	// The client can only know of the end after hangUp, so its next command
	// never counts as one during the transfer.
	w.s.setBusy(false)
	w.s.srv.end(w.tr, whole, reply)
	w.s.hangUp()
}

// finish ends the transfer and says how it went.
func (w *sender) finish(reply string, whole bool) {
	w.end(reply, whole)
	w.s.reply(reply)
}

// wait waits for a gate, unless the client hangs up the data connection or
// the session ends.
func (w *sender) wait(gate <-chan struct{}) bool {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for { // a client sends nothing here, but TLS may
			if _, err := w.raw.Read(make([]byte, 1024)); err != nil {
				return
			}
		}
	}()
	ok := false
	select {
	case <-gate:
		ok = true
	case <-gone:
	case <-w.s.done:
	}
	w.raw.SetReadDeadline(time.Unix(1, 0))
	<-gone
	w.raw.SetReadDeadline(time.Time{})
	return ok
}
