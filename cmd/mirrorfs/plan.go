package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // --timezone works on machines without the zone files

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/ftpurl"
	"github.com/mirrorfs/mirrorfs/internal/metrics"
	"github.com/mirrorfs/mirrorfs/internal/proxy"
	"golang.org/x/sys/unix"
)

// plan is a mount that was judged and can be tried: settings, with what follows
// from them and from the machine.
type plan struct {
	settings
	url      ftpurl.URL // with the login that will be used
	dir      string     // absolute; not looked at yet
	tls      *tls.Config
	location *time.Location // nil: found out
	dial     proxy.DialFunc // nil: no proxy
	warnings []string       // what the user should know though it is no error
}

// judge checks what the command line says and completes it. It is the only
// place where options are found wrong.
func (s settings) judge(rawURL, dir string, c *call) (*plan, error) {
	p, err := s.judgeURL(rawURL, c)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		return nil, usage(errors.New("DIR is empty"))
	}
	if strings.HasPrefix(dir, "/dev/fd/") {
		return nil, usage(errors.New("mount.fuse's drop_privileges can't be used; use -o setuid=USER"))
	}
	if p.dir, err = filepath.Abs(dir); err != nil {
		return nil, failf(exitMountpoint, "can't find out what %s is: %w", dir, err)
	}
	return p, nil
}

// judgeURL is judge where nothing is mounted.
func (s settings) judgeURL(rawURL string, c *call) (*plan, error) {
	p := &plan{settings: s}
	var err error
	if p.url, err = ftpurl.Parse(rawURL); err != nil {
		return nil, usage(err)
	}
	for _, check := range []func() error{
		p.checkNumbers, p.checkNames, p.completeTLS, p.completeOwner,
		func() error { return p.completeCacheDir(c.env) },
		func() error { return p.completeProxy(c.env) },
		func() error { return p.completeLogin(c) },
	} {
		if err := check(); err != nil {
			return nil, usage(err)
		}
	}
	return p, nil
}

func usage(err error) error {
	var e *exitError
	if errors.As(err, &e) {
		return err
	}
	return &exitError{exitUsage, err}
}

func (p *plan) checkNumbers() error {
	const most = 256
	switch {
	case p.connections < 1 || p.connections > most:
		return fmt.Errorf("--connections must be from 1 to %d", most)
	case p.listAhead < -1 || p.listAhead > most:
		return fmt.Errorf("--list-ahead must be from 0 to %d", most)
	case p.timeout < span(time.Second) || p.timeout > span(time.Hour):
		return errors.New("--timeout must be from 1s to 1h")
	case p.retryFor < 0 || p.retryFor > span(7*24*time.Hour):
		return errors.New("--retry-for must be from 0s to 7d")
	case p.dirCacheTime > span(10*365*24*time.Hour):
		return errors.New("--dir-cache-time must be 3650d at most")
	case p.cacheSize != unset && p.cacheSize < 1<<20:
		return errors.New("--cache-size must be 1M at least: what is being read lives there")
	case p.metadataMemory < 1<<20 || p.metadataMemory > 1<<40:
		return errors.New("--metadata-memory must be from 1M to 1T")
	case p.bwlimit != 0 && p.bwlimit < 1<<10:
		return errors.New("--bwlimit must be 1K (bytes a second) at least")
	}
	if p.listAhead == -1 {
		p.listAhead = p.connections
	}
	if p.bwlimit == unlimited {
		p.bwlimit = 0
	}
	if p.cacheMinFree == unlimited {
		return errors.New("--cache-min-free can't be off; 0 leaves nothing free")
	}
	return nil
}

func (p *plan) checkNames() error {
	if p.logFormat != "text" && p.logFormat != "json" {
		return fmt.Errorf("--log-format must be text or json, not %q", p.logFormat)
	}
	if _, err := listing.NewCharset(p.charset); err != nil {
		return fmt.Errorf("--charset: %w; charsets are named like latin1, windows-1252 or shift_jis", err)
	}
	for _, pattern := range p.noFetchFor {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("--no-fetch-for: %q is not a pattern; write names, with * and ? for what may differ", pattern)
		}
	}
	if p.logFile != "" {
		var err error
		if p.logFile, err = filepath.Abs(p.logFile); err != nil {
			return fmt.Errorf("--log-file: %w", err)
		}
	}
	if p.metrics != "" {
		var err error
		if p.metrics, err = metrics.Address(p.metrics); err != nil {
			return fmt.Errorf("--metrics %w", err)
		}
	}
	if p.timezone == "" {
		return nil
	}
	var err error
	p.location, err = zone(p.timezone)
	return err
}

// zone reads a zone's name, or an offset like -03:00.
func zone(name string) (*time.Location, error) {
	for _, form := range []string{"-07:00", "-0700", "-07"} {
		if t, err := time.Parse(form, name); err == nil {
			_, offset := t.Zone()
			return time.FixedZone(name, offset), nil
		}
	}
	if name == "Z" {
		return time.UTC, nil
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("--timezone: there is no zone %q; zones are named like America/Sao_Paulo or -03:00", name)
	}
	return l, nil
}

func (p *plan) completeTLS() error {
	if p.url.Scheme == ftpurl.FTP {
		if p.tlsCA != "" || p.tlsSkipVerify {
			return errors.New("--tls-ca and --tls-skip-verify need a URL with ftps:// or ftpes://")
		}
		return nil
	}
	p.tls = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: p.tlsSkipVerify}
	if p.tlsCA == "" {
		return nil
	}
	pem, err := os.ReadFile(p.tlsCA)
	if err != nil {
		return fmt.Errorf("--tls-ca: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("--tls-ca: %s has no certificate in PEM form, which begins with -----BEGIN CERTIFICATE-----", p.tlsCA)
	}
	p.tls.RootCAs = roots
	return nil
}

func (p *plan) completeOwner() error {
	if !p.uid.set {
		p.uid.n = uint32(os.Getuid())
	}
	if !p.gid.set {
		p.gid.n = uint32(os.Getgid())
	}
	return nil
}

func (p *plan) completeCacheDir(env environment) error {
	if p.cacheDir != "" {
		var err error
		p.cacheDir, err = filepath.Abs(p.cacheDir)
		return err
	}
	switch xdg, home := env("XDG_CACHE_HOME"), env.home(); {
	case os.Geteuid() == 0:
		p.cacheDir = "/var/cache/mirrorfs"
	case filepath.IsAbs(xdg): // the standard has relative ones ignored
		p.cacheDir = filepath.Join(xdg, "mirrorfs")
	case home != "":
		p.cacheDir = filepath.Join(home, ".cache", "mirrorfs")
	default:
		return failf(exitCache, "no place for a cache is known: set HOME, or give --cache-dir")
	}
	return nil
}

// maxDefaultCache is how large a cache gets that nobody gave a size.
const maxDefaultCache = 20 << 30

// completeCacheSize finds out the default of --cache-size: a tenth of what
// would be free if the mirror's folder held no content, so that it does not
// shrink as the cache fills. The folder exists.
func (p *plan) completeCacheSize(folder string) error {
	if p.cacheSize != unset {
		return nil
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(folder, &fs); err != nil {
		return &os.PathError{Op: "statfs", Path: folder, Err: err}
	}
	free := int64(fs.Bavail)*fs.Bsize + allocated(filepath.Join(folder, "content"))
	p.cacheSize = size(max(min(free/10, maxDefaultCache), 1<<20))
	return nil
}

// allocated is the space that the files of a folder take.
func allocated(folder string) int64 {
	var sum int64
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0 // not made yet: nothing is allocated
	}
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Lstat(filepath.Join(folder, e.Name()), &st) == nil {
			sum += st.Blocks * 512
		}
	}
	return sum
}

// holder is what this mount says of itself to a second one.
func (p *plan) holder() string {
	return "process " + strconv.Itoa(os.Getpid()) + " on " + p.dir
}
