package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"golang.org/x/sys/unix"
)

// Folders returns the folders of the mirrors below a cache directory.
func Folders(cacheDir string) ([]string, error) {
	root := filepath.Join(cacheDir, formatVersion)
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var folders []string
	for _, e := range entries {
		folder := filepath.Join(root, e.Name())
		if _, err := os.Lstat(filepath.Join(folder, "lock")); err == nil {
			folders = append(folders, folder)
		}
	}
	return folders, nil
}

// OpenUnmounted opens the cache of a mirror to look after it without a mount,
// under the lock that a mount would take. With bounds, those that the latest
// mount kept are kept from the beginning, which may evict; else nothing is
// evicted. The error is a *LockedError when it is mounted.
func OpenUnmounted(folder, holder string, bounds bool) (*Cache, error) {
	var st unix.Stat_t
	if err := unix.Stat(folder, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: folder, Err: err}
	}
	if int(st.Uid) != os.Geteuid() { // files written by another could not be read by a mount
		return nil, fmt.Errorf("%s belongs to user %d: that user must do it", folder, st.Uid)
	}
	about, err := ReadAbout(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := lock(folder, holder)
	if err != nil {
		return nil, err
	}
	o := Options{
		MetadataMemory: 16 << 20,
		Connections:    1,
		Timeout:        time.Second,
		Log:            slog.New(slog.DiscardHandler),
	}
	if bounds {
		o.MaxSize, o.MinFree = about.MaxSize, about.MinFree
	}
	claim := &Claim{options: o, folder: folder, lock: l, about: about}
	c, err := claim.open(nowhere{})
	if err != nil {
		claim.Release()
		return nil, err
	}
	return c, nil
}

// nowhere is the server of a mirror that is not mounted.
type nowhere struct{}

func (nowhere) List(context.Context, ftppool.Want, string) (*listing.Listing, error) {
	return nil, ftppool.ErrOffline
}

func (nowhere) Stat(context.Context, ftppool.Want, string) (listing.Entry, error) {
	return listing.Entry{}, ftppool.ErrOffline
}

func (nowhere) Open(context.Context, ftppool.Want, string, int64) (ftppool.Stream, error) {
	return nil, ftppool.ErrOffline
}

func (nowhere) Idle() int  { return 0 }
func (nowhere) Spare() int { return 0 }
func (nowhere) Expect(int) {}

func (nowhere) Together() bool         { return false }
func (nowhere) IgnoreCase() bool       { return false }
func (nowhere) CanRestart(string) bool { return false }
