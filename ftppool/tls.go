package ftppool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// TLS is done beneath the library: it dials through session.dial, gets
// connections that are encrypted already, and is told to send PBSZ and PROT.
// Its own explicit mode would leave data connections in the clear, since they
// come from a dial function.

// sessionTLS is the configuration of one session's connections. Its cache lets
// data connections resume the session of the control connection, which many
// servers insist on.
func (p *Pool) sessionTLS() *tls.Config {
	if p.cfg.TLS == Plain {
		return nil
	}
	c := p.cfg.TLSConfig.Clone()
	c.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	if c.InsecureSkipVerify && c.Time == nil {
		c.Time = longAgo
	}
	return c
}

// longAgo is the time for connections whose certificate is not looked at: by the
// true one crypto/tls would not resume a session under an expired certificate.
func longAgo() time.Time { return time.Now().AddDate(-40, 0, 0) }

// encrypt turns the control connection into an encrypted one: at once, or after
// AUTH TLS (RFC 4217), in which case the banner is told to the library again.
func (s *session) encrypt(ctx context.Context, w *wire) (*control, error) {
	if s.pool.cfg.TLS == ImplicitTLS {
		conn := tls.Client(w, s.tls)
		if err := conn.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", errHandshake, err)
		}
		return newControl(conn, w, false), nil
	}
	clear := newControl(w, w, false)
	banner, err := clear.final()
	if err != nil {
		return nil, err
	}
	if banner.code != 220 {
		return nil, banner.asError()
	}
	replies, err := clear.exchange(false, "AUTH TLS")
	if err != nil {
		return nil, err
	}
	if r := replies[0]; r.code != 234 && r.code != 334 {
		return nil, &replyError{errNoTLS, r}
	}
	if clear.in.Buffered() > 0 {
		return nil, fmt.Errorf("%w: words slipped in before encryption began", ErrProtocol)
	}
	conn := tls.Client(w, s.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	c := newControl(conn, w, true)
	c.told = append(c.told, banner)
	return c, nil
}

// errHandshake comes with the reason why there is no encryption.
var errHandshake = errors.New("TLS")

var errNoTLS = errors.New("the server does not offer encryption (AUTH TLS refused)")

// cleanEnd tells how a data connection ended: err is io.EOF when in order. Many
// servers end encrypted data without TLS's own goodbye, and crypto/tls lets them;
// but where a server was seen to say it, data without it was cut by somebody.
func (d *dataConn) cleanEnd(err error) error {
	if _, ok := d.Conn.(*tls.Conn); !ok || err != io.EOF {
		return err
	}
	p := d.session.pool
	switch goodbye := !d.wire.ended; {
	case goodbye && !p.known().closeNotify:
		p.learn(func(k *knowledge) { k.closeNotify = true })
	case !goodbye && p.known().closeNotify:
		return fmt.Errorf("%w: the encrypted data was cut short", io.ErrUnexpectedEOF)
	}
	return io.EOF
}

// tlsName is the version and cipher in words, for the profile.
func (c *control) tlsName() string {
	conn, ok := c.Conn.(*tls.Conn)
	if !ok {
		return ""
	}
	st := conn.ConnectionState()
	return strings.TrimSpace(tls.VersionName(st.Version) + " " + tls.CipherSuiteName(st.CipherSuite))
}
