// Package proxy makes TCP connections through a SOCKS5 or HTTP proxy, for
// machines that a firewall keeps from the server.
//
// Host names are handed to the proxy as they are, so this machine resolves
// nothing and sends no packet to the server itself.
package proxy

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	xproxy "golang.org/x/net/proxy"
)

// DialFunc makes one connection, as net.Dialer.DialContext does. addr may hold
// a host name.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// New returns the DialFunc for a proxy URL: socks5h://[user:password@]host:port
// (socks5:// means the same) or http://[user:password@]host:port, which must
// allow CONNECT to the server's ports. Errors never hold the password.
func New(proxyURL string) (DialFunc, error) {
	u, err := url.Parse(proxyURL)
	if err != nil {
		return nil, errors.New("the proxy's URL can't be read: write it like socks5h://host:1080 or http://host:3128")
	}
	if u.Hostname() == "" {
		return nil, errors.New("the proxy's URL names no host: write it like socks5h://host:1080 or http://host:3128")
	}
	switch u.Scheme {
	case "socks5", "socks5h":
		return socks(u)
	case "http":
		return connect(u), nil
	}
	return nil, fmt.Errorf("proxies of the kind %q are not supported: use socks5h:// or http://", u.Scheme)
}

func address(u *url.URL, port string) string {
	if p := u.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func socks(u *url.URL) (DialFunc, error) {
	var auth *xproxy.Auth
	if u.User != nil {
		password, _ := u.User.Password()
		auth = &xproxy.Auth{User: u.User.Username(), Password: password}
	}
	d, err := xproxy.SOCKS5("tcp", address(u, "1080"), auth, new(net.Dialer))
	if err != nil {
		return nil, err
	}
	return d.(xproxy.ContextDialer).DialContext, nil
}

// connect dials through an HTTP proxy with the CONNECT method (RFC 9110,
// section 9.3.6).
func connect(u *url.URL) DialFunc {
	proxyAddr := address(u, "3128")
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, proxyAddr)
		if err != nil {
			return nil, fmt.Errorf("proxy %s: %w", proxyAddr, err)
		}
		// Whatever happens to ctx while the proxy thinks ends the exchange.
		undo := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
		tunnel, err := handshake(conn, u, addr)
		if !undo() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			conn.Close()
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, fmt.Errorf("proxy %s: %w", proxyAddr, err)
		}
		return tunnel, nil
	}
}

func handshake(conn net.Conn, u *url.URL, addr string) (net.Conn, error) {
	req := &http.Request{
		Method: http.MethodConnect,
		URL:    &url.URL{Opaque: addr},
		Host:   addr,
		Header: make(http.Header),
	}
	if u.User != nil {
		password, _ := u.User.Password()
		token := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		req.Header.Set("Proxy-Authorization", "Basic "+token)
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it refuses a connection to %s: %s", addr, resp.Status)
	}
	return &tunnel{Conn: conn, in: in}, nil
}

// tunnel is the connection behind a CONNECT; the server may have spoken before
// the proxy's answer was read to its end.
type tunnel struct {
	net.Conn
	in *bufio.Reader
}

func (t *tunnel) Read(p []byte) (int, error) {
	if t.in.Buffered() > 0 {
		return t.in.Read(p)
	}
	return t.Conn.Read(p)
}
