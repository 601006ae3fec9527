package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"github.com/mirrorfs/mirrorfs/cache"
	"github.com/mirrorfs/mirrorfs/ftppool"
)

// The exit codes, which scripts may rely on.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitMountpoint  = 3
	exitNoFUSE      = 4
	exitUnreachable = 5
	exitLogin       = 6
	exitFolder      = 7
	exitCache       = 8
	exitCertificate = 9
	exitInterrupted = 130
)

// exitCodes is what --help says of them.
var exitCodes = []struct {
	code int
	text string
}{
	{exitOK, "done; the mirror is mounted and answers"},
	{exitFailure, "something else went wrong"},
	{exitUsage, "the command line, an option or the URL is wrong"},
	{exitMountpoint, "DIR is missing, not empty, busy, already mounted or not to be mounted on"},
	{exitNoFUSE, "FUSE is not there: no /dev/fuse or no fusermount3"},
	{exitUnreachable, "the server is unknown, unreachable, full or silent"},
	{exitLogin, "the server refused the login"},
	{exitFolder, "the folder on the server is missing or not permitted"},
	{exitCache, "the cache directory can't be used, or the mirror is already mounted"},
	{exitCertificate, "the server's certificate can't be trusted"},
	{exitInterrupted, "interrupted before it was mounted"},
}

// exitError is an error that decides the exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func failf(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

// codeOf returns the exit code of an error; one that says nothing of it comes
// from the parser of the command line.
func codeOf(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		return e.code
	default:
		return exitUsage
	}
}

// remoteError gives an error of the server, or of the way to it, its exit code.
func remoteError(err error) error {
	code := exitUnreachable
	var netErr net.Error
	switch {
	case isCertificate(err):
		code = exitCertificate
	case errors.Is(err, ftppool.ErrLogin):
		code = exitLogin
	case errors.Is(err, ftppool.ErrTooMany), errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr):
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, ftppool.ErrNotDir):
		code = exitFolder
	}
	return &exitError{code, err}
}

func isCertificate(err error) bool {
	var (
		verify  *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	return errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid)
}

// cacheError gives an error of the cache directory its exit code.
func cacheError(dir string, err error) error {
	var locked *cache.LockedError
	if errors.As(err, &locked) {
		return failf(exitCache, "%w; use that mount, unmount it first, or give another --cache-dir", err)
	}
	return failf(exitCache, "can't use the cache directory %s: %w; give another with --cache-dir", dir, err)
}

// errTold is an error that the user was told of already.
var errTold = errors.New("told already")

// oneLine makes an error fit to be the one line that is printed. It may hold
// what a server said.
func oneLine(err error) string {
	return printable(strings.Join(strings.Fields(err.Error()), " "))
}
