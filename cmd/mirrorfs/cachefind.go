package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mirrorfs/mirrorfs/cache"
	"github.com/mirrorfs/mirrorfs/internal/control"
	"github.com/mirrorfs/mirrorfs/internal/mountinfo"
)

// heldMirror is the cache of one mirror: spoken to through its mount while it is
// mounted, else opened under the lock that a mount would take.
type heldMirror struct {
	folder string
	url    string
	client *control.Client // nil: it is not mounted, as far as is known
	cache  *cache.Cache    // open, if it is not mounted
}

// findMirrors returns the folders of the mirrors that are meant: each by the
// folder it is mounted on, its URL, or its folder in the cache or that one's
// name. None named are all.
func findMirrors(cacheDir string, names []string) ([]*heldMirror, error) {
	folders, err := cache.Folders(cacheDir)
	if err != nil {
		return nil, cacheError(cacheDir, err)
	}
	var all []*heldMirror
	for _, folder := range folders {
		m := &heldMirror{folder: folder, url: "an unknown mirror"}
		about, err := cache.ReadAbout(folder)
		switch {
		case err == nil:
			m.url = about.URL
		case !errors.Is(err, fs.ErrNotExist):
			return nil, cacheError(cacheDir, fmt.Errorf("%s: %w", folder, err))
		}
		all = append(all, m)
	}
	if len(names) == 0 {
		return all, nil
	}
	mounts, err := mountinfo.Read()
	if err != nil {
		return nil, failf(exitFailure, "%w", err)
	}
	var found []*heldMirror
	for _, name := range names {
		m, err := findMirror(cacheDir, name, all, mounts)
		if err != nil {
			return nil, err
		}
		found = append(found, m)
	}
	return found, nil
}

func findMirror(cacheDir, name string, all []*heldMirror, mounts []mountinfo.Mount) (*heldMirror, error) {
	bare := strings.TrimRight(name, "/")
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, failf(exitMountpoint, "can't find %s: %w", name, err)
	}
	for _, m := range all {
		if bare == strings.TrimRight(m.url, "/") || bare == filepath.Base(m.folder) || abs == m.folder {
			return m, nil
		}
	}
	l, err := locate(name, mounts)
	if err != nil {
		return nil, failf(exitMountpoint, "%s is neither in a mounted mirror nor one whose cache is in %s; \"mirrorfs cache ls\" lists those", name, cacheDir)
	}
	return mountedMirror(l.mount)
}

// mountedMirror is the mirror of a mount, which tells its folder: another user's
// can't be looked into.
func mountedMirror(m mountinfo.Mount) (*heldMirror, error) {
	socket, err := socketOf(m.Point)
	if err != nil {
		return nil, unspoken(m, err)
	}
	client := control.NewClient(socket)
	a := askClient(context.Background(), client, m)
	if a.Error != "" {
		client.Close()
		return nil, unspoken(m, errors.New(a.Error))
	}
	folder := a.Cache.Mirror
	if folder == "" { // a mount of an older version tells its owner by the socket
		folder = filepath.Dir(filepath.Dir(socket))
	}
	return &heldMirror{folder: folder, url: m.Source, client: client}, nil
}

// unspoken is the error of a mount that can't be asked.
func unspoken(m mountinfo.Mount, err error) error {
	return failf(exitFailure, "the mount on %s can't be spoken to: %w", m.Point, unasked(m.Point, err))
}

// open makes the mirror's cache ready to be used. With bounds, those of its
// latest mount are kept while it is.
func (m *heldMirror) open(bounds bool) error {
	if m.client != nil {
		return nil
	}
	holder := fmt.Sprintf("process %d, which looks after its cache", os.Getpid())
	c, err := cache.OpenUnmounted(m.folder, holder, bounds)
	var locked *cache.LockedError
	switch {
	case err == nil:
		m.cache = c
	case errors.As(err, &locked):
		m.client = control.NewClient(control.Socket(filepath.Join(m.folder, "control")))
	default:
		return cacheError(m.folder, err)
	}
	return nil
}

func (m *heldMirror) close() error {
	if m.client != nil {
		m.client.Close()
	}
	if m.cache != nil {
		if err := m.cache.Close(); err != nil {
			return cacheError(m.folder, err)
		}
	}
	return nil
}

func (m *heldMirror) files(ctx context.Context, report func(control.CacheFile) error) error {
	if m.client != nil {
		return m.client.CacheFiles(ctx, report)
	}
	return heldFiles(ctx, m.cache, report)
}

func (m *heldMirror) verify(ctx context.Context, report func(control.CacheChecked) error) error {
	if m.client != nil {
		return m.client.CacheVerify(ctx, report)
	}
	return verifyHeld(ctx, m.cache, report)
}

func (m *heldMirror) room(ctx context.Context, r control.RoomRequest) (control.Room, error) {
	if m.client != nil {
		return m.client.CacheRoom(ctx, r)
	}
	return makeRoom(m.cache, r, 0), nil
}
