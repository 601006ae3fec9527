package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/cache"
	"github.com/mirrorfs/mirrorfs/cache/metadata"
	"github.com/mirrorfs/mirrorfs/fs"
	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/control"
	"github.com/mirrorfs/mirrorfs/internal/ftpurl"
	"github.com/mirrorfs/mirrorfs/internal/metrics"
	"github.com/mirrorfs/mirrorfs/internal/netpath"
)

// mirror is the layers of one mount, joined.
type mirror struct {
	pool    *ftppool.Pool
	cache   *cache.Cache
	network *netpath.Watcher // nil when the network is not used
	control *control.Server
	metrics *metrics.Server // nil: not wanted
	server  *fs.Server
	log     *slog.Logger
}

// open joins the layers and mounts the mirror. warn is told what went wrong but
// does not prevent it. On an error nothing is left.
func (p *plan) open(ctx context.Context, log *slog.Logger, warn func(string)) (_ *mirror, err error) {
	dir, err := prepare(p.dir, p.allowNonEmpty)
	if err != nil {
		return nil, err
	}
	p.dir = dir
	m := &mirror{log: log}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if p.metrics != "" {
		if m.metrics, err = metrics.Listen(ctx, p.metrics); err != nil {
			return nil, failf(exitFailure, "metrics can't be served at %s: %w; give another address with --metrics, each mount needs its own", p.metrics, err)
		}
	}
	folder, err := m.openCache(p)
	if err != nil {
		return nil, err
	}
	if !p.offline {
		m.watchNetwork()
	}
	if err := m.reach(ctx, p, warn); err != nil {
		return nil, err
	}
	c := &controls{mirror: m, plan: p, folder: folder, since: time.Now()}
	if m.control, err = control.Listen(filepath.Join(folder, "control"), c, control.Options{Others: p.allowOther, Log: log}); err != nil {
		return nil, cacheError(p.cacheDir, err)
	}
	if err := m.mount(p, folder); err != nil {
		return nil, err
	}
	c.mounted.Store(true)
	if m.metrics != nil {
		m.metrics.Serve(func() control.Status { return c.Status(context.Background()) }, log)
	}
	return m, nil
}

// openCache takes the mirror's folder and opens pool and stores. It asks the
// server for nothing.
func (m *mirror) openCache(p *plan) (folder string, err error) {
	o := cache.Options{
		Dir: p.cacheDir,
		Mirror: cache.Mirror{
			Host: p.url.Host, Port: p.url.Port, User: p.url.User, Root: p.url.Path, Absolute: p.url.Absolute,
		},
		URL:            p.url.String(),
		Holder:         p.holder(),
		Fresh:          time.Duration(p.dirCacheTime),
		MetadataMemory: int64(p.metadataMemory),
		ListAhead:      p.listAhead,
		Connections:    p.connections,
		MinFree:        int64(p.cacheMinFree),
		WholeFileBelow: int64(p.wholeFileBelow),
		Timeout:        time.Duration(p.timeout),
		RetryFor:       time.Duration(p.retryFor),
		Log:            m.log,
	}
	claim, err := cache.Take(o)
	if err != nil {
		return "", cacheError(p.cacheDir, err)
	}
	defer func() {
		if m.cache == nil {
			claim.Release()
		}
	}()
	if err := p.completeCacheSize(claim.Folder()); err != nil {
		return "", cacheError(p.cacheDir, err)
	}
	if p.cacheSize != unlimited {
		claim.SetMaxSize(int64(p.cacheSize))
	}
	if m.pool, err = ftppool.New(p.poolConfig(claim.Profile(), m.log)); err != nil {
		return "", failf(exitUsage, "%w", err)
	}
	if m.cache, err = claim.Open(m.pool); err != nil {
		return "", cacheError(p.cacheDir, err)
	}
	return claim.Folder(), nil
}

func (p *plan) poolConfig(profile json.RawMessage, log *slog.Logger) ftppool.Config {
	c := ftppool.Config{
		Host:           p.url.Host,
		Port:           p.url.Port,
		TLSConfig:      p.tls,
		User:           p.url.User,
		Password:       p.url.Password,
		Root:           p.url.Path,
		RootAbsolute:   p.url.Absolute,
		Connections:    p.connections,
		Timeout:        time.Duration(p.timeout),
		Charset:        p.charset,
		Location:       p.location,
		IgnoreCase:     p.ignoreCase,
		BandwidthLimit: int64(p.bwlimit),
		Offline:        p.offline,
		Dial:           p.dial,
		Path:           netpath.Between,
		Log:            log,
	}
	switch p.url.Scheme {
	case ftpurl.FTPS:
		c.TLS = ftppool.ImplicitTLS
	case ftpurl.FTPES:
		c.TLS = ftppool.ExplicitTLS
	}
	if profile != nil {
		known := new(ftppool.Profile)
		if err := json.Unmarshal(profile, known); err == nil {
			c.Profile = known
		}
	}
	return c
}

// reach proves that the mirror can be read and has its root listed. When the
// server is out of reach and the root's listing is held, the mirror is mounted
// with what is held.
func (m *mirror) reach(ctx context.Context, p *plan, warn func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(p.timeout))
	defer cancel()
	root := m.cache.Held("")
	held := root != nil
	if held && root.Expires().After(time.Now()) {
		return nil // a remount asks the server for nothing that is fresh
	}
	if p.offline {
		if !held {
			return failf(exitCache, "nothing of %s is in the cache below %s, and --offline forbids to fetch it; mount it once without", p.url, p.cacheDir)
		}
		return nil
	}
	err := m.pool.Connect(ctx)
	if err == nil {
		_, err = m.cache.Directory(ctx, metadata.Caller{UID: p.uid.n}, "")
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, ftppool.ErrLogin) && p.url.User != "" {
		err = fmt.Errorf("%w (as user %s)", err, p.url.User)
	}
	refused := remoteError(err)
	if held && codeOf(refused) == exitUnreachable && !errors.Is(err, context.Canceled) {
		warn(fmt.Sprintf("%v; mounted with what the cache holds, the rest will come when the server answers", oneLine(err)))
		m.log.Warn("mounted without the server", "error", err)
		return nil
	}
	return refused
}

// watchNetwork has sessions given up that a change of the network or a suspend
// has cut off, and what failed tried again when the server may be in reach.
func (m *mirror) watchNetwork() {
	var err error
	m.network, err = netpath.Watch(nil, func(e netpath.Event) {
		switch e {
		case netpath.Slept:
			m.pool.Slept()
			m.cache.TryAgain()
		case netpath.Changed:
			if m.pool.NetworkChanged() {
				m.cache.TryAgain()
			}
		}
	})
	if err != nil {
		m.log.Warn("changes of the network will be noticed late, by the silence of connections", "error", err)
	}
}

func (m *mirror) mount(p *plan, folder string) error {
	o := fs.Options{
		URL:              p.url.String(),
		ServerRoot:       m.pool.Profile().Root,
		UID:              p.uid.n,
		GID:              p.gid.n,
		Umask:            uint32(p.umask),
		AllowOther:       p.allowOther,
		KernelOptions:    p.kernel,
		NoFetchFor:       p.noFetchFor,
		AllowNonEmpty:    p.allowNonEmpty,
		Control:          m.control.Path(),
		ControlForOthers: m.control.PathForOthers(),
		CacheDir:         folder,
		Log:              m.log,
	}
	server, err := fs.Mount(p.dir, adapter{m.cache}, o)
	if err != nil {
		return mountError(err)
	}
	m.server = server
	return nil
}

// mountError gives a refused mount its exit code and advice.
func mountError(err error) error {
	code := exitMountpoint
	var refused *fs.MountError
	if errors.As(err, &refused) {
		switch refused.Reason {
		case fs.NoDevice, fs.NoFusermount:
			code = exitNoFUSE
		case fs.BadOption:
			code = exitUsage
		case fs.Other:
			code = exitFailure
		}
	}
	if refused != nil && refused.Advice != "" {
		return failf(code, "%w; %s", err, strings.TrimSuffix(refused.Advice, "."))
	}
	return &exitError{code, err}
}

// close ends what open began: no request is left, and what was fetched is kept.
// The mirror is unmounted already, or never was mounted.
func (m *mirror) close() {
	if m.network != nil {
		if err := m.network.Close(); err != nil {
			m.log.Debug("the watch of the network was not closed in order", "error", err)
		}
	}
	if m.metrics != nil {
		if err := m.metrics.Close(); err != nil {
			m.log.Debug("the metrics were not closed in order", "error", err)
		}
	}
	if m.control != nil {
		if err := m.control.Close(); err != nil {
			m.log.Warn("the control socket was not closed in order", "error", err)
		}
	}
	if m.cache != nil {
		if m.pool.Profile().Learned {
			if err := m.cache.SaveProfile(m.pool.Profile()); err != nil {
				m.log.Warn("what was learned of the server is not kept", "error", err)
			}
		}
		if err := m.cache.Close(); err != nil {
			m.log.Error("the cache was not closed in order", "error", err)
		}
	}
	if m.pool != nil {
		if err := m.pool.Close(); err != nil {
			m.log.Debug("the sessions were not closed in order", "error", err)
		}
	}
}

// adapter is the cache in the words of package fs.
type adapter struct{ c *cache.Cache }

func (a adapter) Lookup(ctx context.Context, c fs.Caller, dir, name string) (fs.Found, error) {
	f, err := a.c.Lookup(ctx, metadata.Caller(c), dir, name)
	return fs.Found(f), err
}

func (a adapter) Directory(ctx context.Context, c fs.Caller, dir string) (fs.Directory, error) {
	d, err := a.c.Directory(ctx, metadata.Caller(c), dir)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (a adapter) Held(dir string) fs.Directory {
	if d := a.c.Held(dir); d != nil {
		return d
	}
	return nil
}

func (a adapter) Settle(ctx context.Context, c fs.Caller, path string) (listing.Entry, error) {
	return a.c.Settle(ctx, metadata.Caller(c), path)
}

func (a adapter) OpenFile(ctx context.Context, uid uint32, path string, v listing.Version) (fs.File, error) {
	h, err := a.c.OpenFile(ctx, uid, path, v)
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (a adapter) State(path string, v listing.Version) fs.State {
	s := a.c.Content().State(path, v)
	return fs.State{Held: s.Held, Whole: s.Whole, Fetched: s.Fetched}
}

func (a adapter) LastError(path string) error { return a.c.LastError(path) }

func (a adapter) Usage() (used, limit, files int64) {
	s := a.c.Content().Stats()
	return s.Used, s.MaxSize, int64(s.Files)
}
