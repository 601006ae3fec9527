package ftppool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// TLSMode says how, and whether, a server's connections are encrypted.
type TLSMode uint8

// The ways to speak to a server.
const (
	Plain       TLSMode = iota // ftp://
	ImplicitTLS                // ftps://, TLS from the first byte
	ExplicitTLS                // ftpes://, AUTH TLS (RFC 4217)
)

// Config describes one server and what may be asked of it.
type Config struct {
	Host string
	Port int // 0: 21, or 990 with ImplicitTLS
	TLS  TLSMode
	// TLSConfig is cloned; nil means the system's roots. An empty ServerName
	// becomes Host.
	TLSConfig      *tls.Config
	User, Password string // "" user: anonymous
	// Root is the raw folder to mount, relative to the login folder unless
	// RootAbsolute.
	Root         string
	RootAbsolute bool
	Connections  int // the most control connections at any time, at least 1
	// Timeout is the whole budget of a look-up; the silence allowed on a
	// connection is a third of it. 0: 30 s.
	Timeout time.Duration
	// Charset names the encoding of names that are not UTF-8; "" is
	// windows-1252.
	Charset string
	// Location is the zone of the times in listings; nil: found by comparing
	// a listing with MDTM.
	Location       *time.Location
	IgnoreCase     bool  // names are the same in any case, whatever the server says
	BandwidthLimit int64 // bytes per second over all sessions; 0: none
	Offline        bool  // never dial: everything fails with ErrOffline
	// Dial makes every TCP connection, control and data; a proxy goes here.
	// It is asked for the data connections by Host too, never by an address
	// that the server named. nil: net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Path names the way that packets take from an address of this machine to
	// another one, as it is now, to be compared with what it was; from any address
	// of this machine if from is invalid. It asks nobody but the kernel. nil: it
	// is not looked at, and NetworkChanged does nothing.
	Path func(from, to netip.Addr) (string, error)
	// Profile is what an earlier Pool had learned about this server, nil when
	// nothing is known. It holds until the first login tells anew.
	Profile *Profile
	Log     *slog.Logger
}

const defaultTimeout = 30 * time.Second

// complete returns the config with its defaults filled in, or what is wrong.
func (c Config) complete() (Config, listing.Charset, error) {
	charset, err := listing.NewCharset(c.Charset)
	if err != nil {
		return c, charset, err
	}
	if c.Host == "" {
		return c, charset, errors.New("no host given")
	}
	if c.Connections < 1 {
		return c, charset, fmt.Errorf("connections must be at least 1, not %d", c.Connections)
	}
	for what, s := range map[string]string{"host": c.Host, "user": c.User, "password": c.Password, "folder": c.Root} {
		if strings.ContainsAny(s, "\r\n\x00") {
			return c, charset, fmt.Errorf("the %s holds a line end or NUL, which FTP cannot carry", what)
		}
	}
	if c.Port == 0 {
		c.Port = 21
		if c.TLS == ImplicitTLS {
			c.Port = 990
		}
	}
	if c.Port < 0 || c.Port > 65535 {
		return c, charset, fmt.Errorf("port %d does not exist", c.Port)
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Timeout < 0 || c.BandwidthLimit < 0 {
		return c, charset, errors.New("timeout and bandwidth limit can't be negative")
	}
	if c.User == "" {
		c.User = "anonymous"
		if c.Password == "" {
			c.Password = "anonymous@"
		}
	}
	if c.TLS != Plain {
		if c.TLSConfig == nil {
			c.TLSConfig = &tls.Config{}
		}
		c.TLSConfig = c.TLSConfig.Clone()
		if c.TLSConfig.ServerName == "" {
			c.TLSConfig.ServerName = c.Host
		}
		if c.TLSConfig.MinVersion == 0 {
			c.TLSConfig.MinVersion = tls.VersionTLS12
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, charset, nil
}

// silence is how long a connection may say nothing.
func (c *Config) silence() time.Duration { return c.Timeout / 3 }

func (c *Config) addr() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }
