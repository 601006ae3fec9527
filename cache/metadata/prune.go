package metadata

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mirrorfs/mirrorfs/cache/internal/record"
)

// maxDisk bounds the listing files of a mirror, in bytes. It is kept when the
// mount starts: a listing grows with the mirror, not with its use.
const maxDisk = 512 << 20

// prune deletes what a crash left half written, and the listings that were not
// renewed for longest until the rest fits limit. It stops when ctx ends.
func prune(ctx context.Context, dir string, limit int64, log *slog.Logger) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		log.Warn("the listings on disk can't be counted", "folder", dir, "error", err)
		return
	}
	type file struct {
		name     string
		size     int64
		modified time.Time
	}
	var files []file
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if ctx.Err() != nil || err != nil {
			continue
		}
		switch {
		case record.IsTemp(e.Name()) && time.Since(info.ModTime()) > time.Minute:
			os.Remove(filepath.Join(dir, e.Name())) // not ours to mind if it fails
		case filepath.Ext(e.Name()) == suffix:
			files = append(files, file{e.Name(), info.Size(), info.ModTime()})
			total += info.Size()
		}
	}
	slices.SortFunc(files, func(a, b file) int { return a.modified.Compare(b.modified) })
	dropped := 0
	for _, f := range files {
		if total <= limit || ctx.Err() != nil {
			break
		}
		path := filepath.Join(dir, f.name)
		if info, err := os.Lstat(path); err != nil || !info.ModTime().Equal(f.modified) {
			continue // renewed since
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("an old listing can't be deleted", "file", path, "error", err)
			continue
		}
		total -= f.size
		dropped++
	}
	if dropped > 0 {
		log.Info("old listings were deleted", "count", dropped, "folder", dir, "limit", limit)
	}
}
