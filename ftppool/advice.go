package ftppool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// advice is what a user can do about a failure.
func (p *Pool) advice(e *Error) string {
	var dns *net.DNSError
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var data *dataError
	err := e.Err
	switch {
	case errors.Is(err, ErrOffline):
		return "leave out --offline to fetch it"
	case errors.Is(err, context.Canceled), errors.Is(err, ErrClosed), errors.Is(err, ErrPreempted):
		return ""
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return "check the spelling of the host name, and the network"
		}
		return "the name server does not answer: check the network"
	case errors.As(err, &host):
		return "the certificate is for another host: use the name it is made for, or --tls-skip-verify if you trust the network"
	case errors.As(err, &unknown):
		return "the certificate is signed by nobody this machine knows (self-signed?): name its authority with --tls-ca, or use --tls-skip-verify if you trust the network"
	case errors.As(err, &invalid):
		if invalid.Reason == x509.Expired {
			return "the certificate has expired or is not valid yet: check this machine's clock, tell the server's owner, or use --tls-skip-verify if you trust the network"
		}
		return "the certificate can't be accepted; --tls-skip-verify does, if you trust the network"
	case errors.As(err, &record):
		return "the server does not speak TLS here: use ftpes:// for AUTH TLS, or ftp:// without encryption"
	case errors.As(err, &data):
		return "control connections work but data connections don't: a firewall or NAT near the server or near you blocks passive FTP's ports; another network or --proxy may help"
	case errors.Is(err, ErrTooMany):
		return "use a smaller --connections, or wait until others have gone"
	case errors.Is(err, errNoTLS):
		return "use ftp:// without encryption if you trust the network, or ftps:// if the server has TLS on a port of its own"
	case errors.Is(err, errClearData):
		return "ask the server's owner to allow PROT P, or use ftp:// without encryption if you trust the network"
	case p.cfg.TLS == Plain && e.Reply != "" && wantsTLS.MatchString(e.Reply):
		return "the server wants encryption: use ftpes://"
	case errors.Is(err, ErrLogin) && strings.HasPrefix(e.Reply, "500"): // vsftpd's "500 OOPS"
		return "the server itself fails at this login: tell its owner, or give another user in the URL"
	case errors.Is(err, ErrLogin):
		if p.cfg.User == "anonymous" {
			return "the server wants a user: give it in the URL or ~/.netrc"
		}
		return "check user and password"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: check the port, or the server is down for now"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to the host: check the network or VPN"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "the server is down or slow, or a firewall drops the packets; --timeout waits longer"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the server hung up; if it goes on, it may not want connections from this address"
	case errors.Is(err, ErrProtocol):
		return "is it an FTP server, and the right port?"
	case errors.Is(err, listing.ErrTooLarge):
		return "mount a folder below it instead"
	case errors.Is(err, listing.ErrUnread):
		return "a file whose path you know can be opened all the same"
	case e.Op == opFolder && errors.Is(err, fs.ErrNotExist):
		return "check the path in the URL: it is relative to the login folder; begin it with %2F for one from the server's root"
	case e.Op == opFolder && (errors.Is(err, ErrNotDir)):
		return "only a folder can be mounted"
	case e.Op == opFolder && errors.Is(err, fs.ErrPermission):
		return "this login may not enter it: mount another folder, or log in as somebody who may"
	case errors.Is(err, fs.ErrPermission):
		return "this login may not read it"
	case errors.Is(err, errHandshake):
		return "the two could not agree on how to encrypt: the server's TLS may be older than 1.2; use ftp:// without encryption if you trust the network"
	case (e.Op == opLogin || e.Op == opConnect) && errors.Is(err, ErrRefused):
		return "try again later; if it goes on, ask the server's owner"
	case errors.Is(err, ErrRefused):
		return "try again later, or see what the server's owner says of it"
	}
	return ""
}
