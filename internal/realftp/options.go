package realftp

import "time"

// Kind is a server product.
type Kind string

// The products.
const (
	Vsftpd   Kind = "vsftpd"
	ProFTPD  Kind = "proftpd"
	PureFTPd Kind = "pure-ftpd"
)

// Kinds are all products, for tests that go over them.
func Kinds() []Kind { return []Kind{Vsftpd, ProFTPD, PureFTPd} }

// TLSMode is how a server encrypts.
type TLSMode uint8

// The TLS modes.
const (
	NoTLS       TLSMode = iota
	ExplicitTLS         // AUTH TLS is required for login and data
	ImplicitTLS         // TLS from the first byte; not on pure-ftpd
)

// Options shape a server. The zero value serves an empty folder to anybody.
type Options struct {
	Root string // the folder served, readable by all; "": a new one, see Server.Root
	Host string // address to listen on; "": 127.0.0.1

	MaxClients  int           // sessions at once, 0: plenty
	MaxPerIP    int           // sessions at once per address, 0: plenty
	Rate        int64         // bytes/s of each connection, 0: unlimited
	IdleTimeout time.Duration // whole seconds (pure-ftpd: minutes); 0: the server's own

	TLS               TLSMode
	CertFile, KeyFile string // PEM
	RequireReuse      bool   // data connections must resume the TLS session (not on pure-ftpd)

	UTF8Off bool     // proftpd takes names as bytes and offers no UTF8
	Slink   bool     // proftpd's MLSD shows links with their targets
	Extra   []string // further lines of the configuration, or arguments for pure-ftpd

	NoRelay bool // clients talk to the server itself; sessions and commands are not counted
}
