package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/mirrorfs/mirrorfs/cache/metadata"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/control"
)

// controls answers on the control socket for one mount.
type controls struct {
	*mirror
	plan    *plan
	folder  string // of the mirror in the cache
	since   time.Time
	mounted atomic.Bool // mirror.server may be read

	warmRate atomic.Int64 // bytes a second that the latest warming brought; 0 if none did
}

func (c *controls) Status(context.Context) control.Status {
	pool, lists, profile := c.pool.Status(), c.cache.Stats(), c.pool.Profile()
	content := c.cache.Content().Stats()
	s := control.Status{
		Program:    version(),
		PID:        os.Getpid(),
		URL:        c.plan.url.String(),
		MountPoint: c.plan.dir,
		Since:      c.since,
		Offline:    c.plan.offline,
		Sessions: control.Sessions{
			Bound: pool.Bound, Cap: pool.Cap, Busy: pool.Busy, Idle: pool.Idle,
			Waiting: pool.Waiting, Logins: pool.Logins, Failures: pool.Failed, BackOffUntil: pool.BackoffUntil,
		},
		Cache: control.Cache{
			Folder: c.plan.cacheDir, Mirror: c.folder, Used: content.Used, Max: content.MaxSize, Files: content.Files,
			Hits: content.Hits, Misses: content.Misses, Fetched: content.Fetched, Evicted: content.Evicted, Changed: content.Changed,
		},
		Listings: control.Listings{
			Memory: lists.InMemory, MemoryBytes: lists.MemoryBytes, Disk: lists.OnDisk,
			Hits: lists.Hits, Misses: lists.Misses, Sent: lists.Lists, Unparsed: lists.Unparsed,
		},
		Server: control.Profile{
			Banner: profile.Banner, System: profile.System, Features: profile.Features,
			Listing: profile.Listing, Restart: profile.Restart.String(), IgnoreCase: profile.IgnoreCase,
			UTF8: profile.UTF8, Zone: profile.Zone, TLS: profile.TLS,
		},
		Transfers: []control.Stream{},
		Errors:    []control.Failure{},
	}
	s.Cache.Through = content.Through
	if content.Refusal != nil {
		s.Cache.Refusal = oneLine(content.Refusal)
	}
	if c.mounted.Load() {
		s.Passthrough, s.PassthroughWhy = c.server.Passthrough()
		s.Nodes = c.server.Nodes()
	}
	sizes := make(map[string]int64)
	for _, t := range content.Transfers {
		sizes[t.Path] = t.Size
	}
	for _, t := range pool.Transfers {
		shown := control.Stream{
			Path: c.shown(t.Path), Listing: t.Listing, Offset: t.Offset, Bytes: t.Bytes, Rate: t.Rate,
		}
		if !t.Listing {
			shown.Size = sizes[t.Path]
		}
		s.Transfers = append(s.Transfers, shown)
	}
	for _, f := range pool.Failures {
		s.Errors = append(s.Errors, control.Failure{When: f.Time, Path: c.shown(f.Path), Text: f.Err.Error()})
	}
	return s
}

// shown is a raw path as people know it. Only one that is not UTF-8 is worth
// looking through listings.
func (c *controls) shown(raw string) string {
	if utf8.ValidString(raw) {
		return raw
	}
	return c.cache.Names().Shown(raw)
}

// Refresh lists the named directories again, and with Recursive what is below
// them as far as it is held; what was never listed has nothing to refresh.
func (c *controls) Refresh(ctx context.Context, uid uint32, r control.RefreshRequest, report func(control.Change) error) error {
	caller := metadata.Caller{UID: uid}
	for _, shown := range r.Paths {
		dir, err := c.directory(ctx, caller, shown)
		if err != nil {
			if err := report(control.Change{What: control.Failed, Path: shown, Text: err.Error()}); err != nil {
				return err
			}
			continue
		}
		if err := c.refresh(ctx, caller, dir, shown, r.Recursive, report); err != nil {
			return err
		}
	}
	return nil
}

// directory finds the raw path of a directory by the names that are shown; of a
// file, the directory it is in.
func (c *controls) directory(ctx context.Context, caller metadata.Caller, shown string) (string, error) {
	dir := ""
	names := strings.Split(shown, "/")
	for i, name := range names {
		if name == "" {
			continue
		}
		f, err := c.cache.Lookup(ctx, caller, dir, name)
		if errors.Is(err, fs.ErrNotExist) && i == len(names)-1 {
			return dir, nil // it may be new: its directory will tell
		}
		if err != nil {
			return "", err
		}
		if f.Entry.Type != listing.Dir {
			return dir, nil
		}
		dir = f.Path
	}
	return dir, nil
}

func (c *controls) refresh(ctx context.Context, caller metadata.Caller, dir, shown string, deep bool, report func(control.Change) error) error {
	before, after, err := c.cache.Refresh(ctx, caller, dir)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return report(control.Change{What: control.Failed, Path: shown, Text: err.Error()})
	}
	var was []listing.Entry
	if before != nil {
		was = before.Entries()
	}
	for _, change := range compare(was, after.Entries(), shown) {
		if before == nil {
			break // nothing was known that could have changed
		}
		if err := report(change); err != nil {
			return err
		}
	}
	if err := report(control.Change{What: control.Listed, Path: shown}); err != nil || !deep {
		return err
	}
	for _, e := range after.Entries() {
		path := listing.Join(dir, e.Raw)
		if e.Type != listing.Dir || c.cache.Held(path) == nil {
			continue
		}
		if err := c.refresh(ctx, caller, path, listing.Join(shown, e.Name), deep, report); err != nil {
			return err
		}
	}
	return nil
}

// compare tells what is other in a directory; both lists are sorted by name.
func compare(was, is []listing.Entry, dir string) []control.Change {
	var changes []control.Change
	for len(was) > 0 || len(is) > 0 {
		switch {
		case len(is) == 0 || len(was) > 0 && was[0].Name < is[0].Name:
			changes = append(changes, control.Change{What: control.Gone, Path: listing.Join(dir, was[0].Name), Size: was[0].Size})
			was = was[1:]
		case len(was) == 0 || is[0].Name < was[0].Name:
			changes = append(changes, control.Change{What: control.New, Path: listing.Join(dir, is[0].Name), Size: is[0].Size})
			is = is[1:]
		default:
			if a, b := was[0], is[0]; a.Type != b.Type || a.Type == listing.File && !a.Version().Same(b.Version()) {
				changes = append(changes, control.Change{What: control.Changed, Path: listing.Join(dir, b.Name), Size: b.Size})
			}
			was, is = was[1:], is[1:]
		}
	}
	return changes
}
