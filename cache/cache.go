// Package cache is what a mount knows and holds of a mirror: which entries its
// directories have (cache/metadata) and the bytes of its files (cache/content),
// in memory and in one folder on disk, and the fetches that fill both.
//
// A Cache joins the two stores: it owns the mirror's folder and the lock on it,
// and carries what one store learns to the other. A file found changed by a
// fetch is corrected in its listing, so that the next look-up sees it.
//
// On disk, below the cache directory:
//
//	v1/<host>-<hash>/      one mirror: a server, user and folder
//	    lock               held while mounted; names the holder
//	    mirror             URL and the server's profile
//	    listings/          one checksummed file a directory
//	    content/           per content a sparse .dat and a checksummed .meta
//	    control/           the running mount's socket
//
// Everything there is private to the user (0700 and 0600). It may be deleted
// while nothing is mounted from it.
package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/mirrorfs/mirrorfs/cache/content"
	"github.com/mirrorfs/mirrorfs/cache/metadata"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Remote is the server as both stores need it; *ftppool.Pool is one.
type Remote interface {
	metadata.Remote
	content.Remote
}

// Options are what a mount decides about its cache.
type Options struct {
	Dir    string // the cache directory; made when it is missing
	Mirror Mirror
	URL    string // without credentials, kept for those who look at the cache
	Holder string // what a refused second mount is told, like "process 123 on /mnt"

	Fresh          time.Duration // how long a listing is served unasked
	MetadataMemory int64         // bytes of listings in memory
	ListAhead      int           // listings ahead at once; 0 is off
	Connections    int           // the bound of sessions

	MaxSize        int64 // bytes of content on disk
	MinFree        int64 // bytes left free on the disk
	WholeFileBelow int64 // files below are fetched whole once they are read on

	Timeout  time.Duration // of a look-up or listing
	RetryFor time.Duration // how long the read of a known file keeps trying

	Log *slog.Logger
}

// Cache serves one mounted mirror. All methods may be called from anywhere at
// any time until Close.
type Cache struct {
	*metadata.Store
	content *content.Store
	lock    *os.File
	folder  string
	about   About
	bounds  Bounds
	log     *slog.Logger
}

// Bounds are what the disk may be used for.
type Bounds struct {
	MaxSize int64 // bytes of content, 0 for no bound
	MinFree int64 // bytes left free
}

// Claim is the right to use a mirror's folder: taken before anything is read
// from it, held until its Cache is closed.
type Claim struct {
	options Options
	folder  string
	lock    *os.File
	about   About
}

// Take makes the mirror's folder and locks it. The error is a *LockedError when
// another process has the mirror mounted.
func Take(o Options) (*Claim, error) {
	folder := o.Mirror.Folder(o.Dir)
	for _, dir := range []string{folder, listingsDir(folder), contentDir(folder)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if err := tag(o.Dir); err != nil {
		return nil, err
	}
	l, err := lock(folder, o.Holder)
	if err != nil {
		return nil, err
	}
	about, err := ReadAbout(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Log.Warn("what was known of the server is lost and will be learned again", "error", err)
	}
	about.URL, about.Mounted = o.URL, time.Now()
	if err := about.keep(folder, o.Log); err != nil {
		l.Close()
		return nil, err
	}
	return &Claim{options: o, folder: folder, lock: l, about: about}, nil
}

// Folder is the mirror's folder.
func (c *Claim) Folder() string { return c.folder }

// Profile is what SaveProfile was last given for this mirror, nil if nothing.
func (c *Claim) Profile() json.RawMessage { return c.about.Profile }

// SetMaxSize decides Options.MaxSize late: its default depends on what the
// folder already holds.
func (c *Claim) SetMaxSize(bytes int64) { c.options.MaxSize = bytes }

// Release gives the folder back when no Cache was opened from it.
func (c *Claim) Release() { c.lock.Close() }

// Open opens both stores in the folder. It asks the server for nothing. On an
// error the claim stays the caller's to release; else the Cache owns it.
func (c *Claim) Open(r Remote) (*Cache, error) {
	c.about.MaxSize, c.about.MinFree = c.options.MaxSize, c.options.MinFree
	if err := c.about.keep(c.folder, c.options.Log); err != nil {
		return nil, err
	}
	return c.open(r)
}

func (c *Claim) open(r Remote) (*Cache, error) {
	o := c.options
	meta, err := metadata.Open(metadata.Options{
		Dir:         listingsDir(c.folder),
		Fresh:       o.Fresh,
		MaxMemory:   o.MetadataMemory,
		Timeout:     o.Timeout,
		ListAhead:   o.ListAhead,
		Connections: o.Connections,
		Log:         o.Log,
	}, r)
	if err != nil {
		return nil, fmt.Errorf("open the cache of listings: %w", err)
	}
	data, err := content.Open(content.Options{
		Dir:            contentDir(c.folder),
		MaxSize:        o.MaxSize,
		MinFree:        o.MinFree,
		WholeFileBelow: o.WholeFileBelow,
		Timeout:        o.Timeout,
		RetryFor:       o.RetryFor,
		Changed:        meta.Learn,
		Log:            o.Log,
	}, r)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the cache of content: %w", err), meta.Close())
	}
	return &Cache{
		Store: meta, content: data, lock: c.lock, folder: c.folder, about: c.about,
		bounds: Bounds{o.MaxSize, o.MinFree}, log: o.Log,
	}, nil
}

// OpenFile returns a handle on one version of a file, pinned to it until it is
// closed. It asks the server for nothing unless another version is held.
func (c *Cache) OpenFile(ctx context.Context, uid uint32, path string, v listing.Version) (*content.Handle, error) {
	return c.content.Open(ctx, uid, path, v)
}

// Content is the store of file bytes, for those who manage it.
func (c *Cache) Content() *content.Store { return c.content }

// TryAgain has what failed tried again at once, where somebody waits, or when it
// is next wanted: the server may be in reach by now.
func (c *Cache) TryAgain() {
	c.Store.TryAgain()
	c.content.TryAgain()
}

// LastError is the last failure that concerned path, nil when it was overcome.
func (c *Cache) LastError(path string) error {
	if err := c.content.LastError(path); err != nil {
		return err
	}
	return c.Store.LastError(path)
}

// Usage is the bytes that content takes on disk, the most it may take (0: no
// bound), and how many files are held.
func (c *Cache) Usage() (used, limit, files int64) {
	s := c.content.Stats()
	return s.Used, s.MaxSize, int64(s.Files)
}

// SaveProfile keeps what was learned of the server for the next mount.
func (c *Cache) SaveProfile(profile any) error {
	b, err := json.Marshal(profile)
	if err != nil {
		return err
	}
	about := c.about
	about.Profile = b
	return about.write(c.folder)
}

// Close waits for the fetches that are under way to stop and what they brought
// to be kept, and gives the folder back. No handle may be used after it.
func (c *Cache) Close() error {
	return errors.Join(c.content.Close(), c.Store.Close(), c.lock.Close())
}

func listingsDir(folder string) string { return filepath.Join(folder, "listings") }
func contentDir(folder string) string  { return filepath.Join(folder, "content") }

// tag marks dir for backup programs as not worth keeping
// (https://bford.info/cachedir/).
func tag(dir string) error {
	name := filepath.Join(dir, "CACHEDIR.TAG")
	if _, err := os.Lstat(name); err == nil {
		return nil
	}
	return os.WriteFile(name, []byte("Signature: 8a477f597d28d172789f06886806bc55\n"+
		"# This folder is a cache of mirrorfs. It can be deleted while nothing is mounted from it.\n"), 0o600)
}
