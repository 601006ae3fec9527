package ftppool

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"
	"testing"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// An error says what failed, why, and what to do.
func TestErrorsSayWhatToDo(t *testing.T) {
	p, err := New(Config{Host: "ftp.example.org", Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	seen := map[string]string{}
	for name, c := range map[string]struct {
		op  string
		err error
	}{
		"no such host":      {opConnect, &net.DNSError{IsNotFound: true}},
		"no name server":    {opConnect, &net.DNSError{IsTimeout: true}},
		"refused":           {opConnect, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}},
		"no way":            {opConnect, &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}},
		"silent":            {opConnect, &silentError{1e9}},
		"hung up":           {opConnect, io.EOF},
		"no FTP":            {opConnect, ErrProtocol},
		"other certificate": {opConnect, fmt.Errorf("%w: %w", errHandshake, x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"})},
		"strange authority": {opConnect, fmt.Errorf("%w: %w", errHandshake, x509.UnknownAuthorityError{})},
		"old certificate":   {opConnect, fmt.Errorf("%w: %w", errHandshake, x509.CertificateInvalidError{Reason: x509.Expired})},
		"bad certificate":   {opConnect, fmt.Errorf("%w: %w", errHandshake, x509.CertificateInvalidError{Reason: x509.IncompatibleUsage})},
		"old TLS":           {opConnect, fmt.Errorf("%w: %w", errHandshake, errors.New("unsupported protocol version"))},
		"no TLS":            {opConnect, &replyError{errNoTLS, reply{502, "no"}}},
		"data in the clear": {opLogin, &replyError{errClearData, reply{534, "no"}}},
		"login":             {opLogin, &replyError{ErrLogin, reply{530, "no"}}},
		"broken login":      {opLogin, &replyError{ErrLogin, reply{500, "OOPS: cannot change directory"}}},
		"wants TLS":         {opLogin, &replyError{ErrLogin, reply{530, "TLS required"}}},
		"too many":          {opLogin, &replyError{ErrTooMany, reply{421, "full"}}},
		"not now":           {opLogin, &replyError{ErrRefused, reply{450, "not now"}}},
		"no such folder":    {opFolder, &replyError{fs.ErrNotExist, reply{550, "no"}}},
		"no folder":         {opFolder, &replyError{ErrNotDir, reply{550, "no"}}},
		"forbidden folder":  {opFolder, &replyError{fs.ErrPermission, reply{550, "no"}}},
		"forbidden file":    {opOpen, &replyError{fs.ErrPermission, reply{550, "no"}}},
		"refused file":      {opOpen, &replyError{ErrRefused, reply{551, "no"}}},
		"data connection":   {opOpen, &dataError{syscall.ECONNREFUSED}},
		"large listing":     {opList, listing.ErrTooLarge},
		"listing not read":  {opList, listing.ErrUnread},
		"offline":           {opList, ErrOffline},
		"out of time":       {opStat, context.DeadlineExceeded},
	} {
		e := p.fail(c.op, "", c.err).(*Error)
		if e.Advice == "" {
			t.Errorf("%s: nothing to do about %v", name, e)
		}
		if other, ok := seen[e.Advice]; ok && name != "out of time" && other != "out of time" {
			t.Errorf("%s and %s have the same advice: %s", name, other, e.Advice)
		}
		seen[e.Advice] = name
	}
	// Nothing need be done about these.
	for _, err := range []error{context.Canceled, ErrClosed, ErrPreempted} {
		if e := p.fail(opRead, "", err).(*Error); e.Advice != "" {
			t.Errorf("%v", e)
		}
	}
}
