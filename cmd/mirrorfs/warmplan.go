package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mirrorfs/mirrorfs/cache"
	"github.com/mirrorfs/mirrorfs/cache/content"
	"github.com/mirrorfs/mirrorfs/cache/metadata"
	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/control"
)

// warmer carries out one warming: it finds the files, then fetches them.
type warmer struct {
	*controls
	request control.WarmRequest
	caller  metadata.Caller
	report  func(control.WarmEvent) error
	end     context.CancelFunc // of this warming: nobody listens any more

	files []*warmFile
	known map[string]bool // their raw paths
	slots chan struct{}   // one of them for each file under way

	mu     sync.Mutex            // guards what follows
	listed map[string]*sync.Once // directories that were asked for again, for --check
}

// warmFile is a file that is wanted.
type warmFile struct {
	shown, path string
	entry       listing.Entry
	state       content.State
	err         error // it is not known well enough to be fetched
}

// maxJobs bounds the files that are fetched at once. More than there are
// sessions only wait.
const maxJobs = 256

// Warm fetches files and what is below directories.
func (c *controls) Warm(ctx context.Context, uid uint32, r control.WarmRequest, report func(control.WarmEvent) error) error {
	if (r.Pin || r.Evict) && !mayManage(uid) {
		return errNotOwner
	}
	if r.Jobs < 1 || !mayManage(uid) {
		r.Jobs = c.plan.connections // more would only wait
	}
	r.Jobs, r.Retries = min(r.Jobs, maxJobs), max(r.Retries, 0)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &warmer{
		controls: c, request: r, caller: metadata.Caller{UID: uid}, report: report, end: cancel,
		known: make(map[string]bool), slots: make(chan struct{}, r.Jobs), listed: make(map[string]*sync.Once),
	}
	if r.Evict {
		w.evict(ctx)
		return ctx.Err()
	}
	if !r.DryRun && !c.plan.offline {
		w.prepare(ctx)
	}
	w.survey(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	plan, fits := w.judge()
	if fits != nil {
		w.tell(control.WarmEvent{What: control.Refused, Text: fits.Error(), Plan: &plan})
		return nil
	}
	w.tell(control.WarmEvent{What: control.Planned, Plan: &plan})
	if r.DryRun {
		w.rehearse(ctx)
	} else {
		w.fetchAll(ctx)
	}
	return ctx.Err()
}

// tell reports an event. When nobody listens any more the warming ends.
func (w *warmer) tell(e control.WarmEvent) {
	if w.report(e) != nil {
		w.end()
	}
}

// survey finds all files that are wanted and what is held of them.
func (w *warmer) survey(ctx context.Context) {
	type folder struct{ shown, path string }
	type named struct {
		path string
		e    listing.Entry
		err  error
	}
	names := w.request.Paths
	found := make([]named, len(names))
	w.parallel(ctx, len(names), w.asking(), func(i int) {
		f := &found[i]
		f.err = w.again(ctx, names[i], func(retry bool) (err error) {
			if w.request.Check || retry {
				w.listAgain(ctx, names[i])
			}
			f.path, f.e, err = w.find(ctx, w.caller, names[i])
			return err
		})
	})
	if ctx.Err() != nil {
		return
	}
	var level []folder
	for i, f := range found {
		switch {
		case f.err != nil:
			w.fail(names[i], f.err)
		case f.e.Type == listing.Dir:
			level = append(level, folder{names[i], f.path})
		default:
			w.want(names[i], f.path, f.e)
		}
	}
	visited := make(map[string]bool)
	for len(level) > 0 && ctx.Err() == nil {
		level = slices.DeleteFunc(level, func(f folder) bool {
			seen := visited[f.path]
			visited[f.path] = true
			return seen
		})
		dirs := make([]*metadata.Directory, len(level))
		errs := make([]error, len(level))
		w.parallel(ctx, len(level), w.request.Jobs, func(i int) {
			dirs[i], errs[i] = w.list(ctx, level[i].shown, level[i].path)
		})
		var next []folder
		for i, f := range level {
			switch {
			case ctx.Err() != nil:
				return
			case errs[i] != nil:
				w.fail(f.shown, errs[i])
				continue
			}
			for _, e := range dirs[i].Entries() {
				shown, path := listing.Join(f.shown, e.Name), listing.Join(f.path, e.Raw)
				switch e.Type {
				case listing.Dir:
					next = append(next, folder{shown, path})
				case listing.File:
					w.want(shown, path, e)
				case listing.Symlink:
					// A link to a file counts as that file. Those to directories are
					// not followed, as find and grep do, and one that dangles is no file.
					path, e, err := w.find(ctx, w.caller, shown)
					if err == nil && e.Type == listing.File {
						w.want(shown, path, e)
					} else if err != nil && !errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
						w.fail(shown, err)
					}
				}
			}
		}
		level = next
	}
	w.parallel(ctx, len(w.files), w.asking(), func(i int) { w.examine(ctx, w.files[i]) })
	w.files = slices.DeleteFunc(w.files, func(f *warmFile) bool {
		if f.err != nil && ctx.Err() == nil {
			w.fail(f.shown, f.err)
		}
		return f.err != nil
	})
}

func (w *warmer) want(shown, path string, e listing.Entry) {
	if !w.known[path] {
		w.known[path] = true
		w.files = append(w.files, &warmFile{shown: shown, path: path, entry: e})
	}
}

// list returns a directory's listing.
func (w *warmer) list(ctx context.Context, shown, path string) (d *metadata.Directory, err error) {
	err = w.again(ctx, shown, func(retry bool) (err error) {
		if w.request.Check || retry {
			_, d, err = w.cache.Refresh(ctx, w.caller, path)
		} else {
			d, err = w.cache.Directory(ctx, w.caller, path)
		}
		return err
	})
	return d, err
}

// listAgain lists the directory that a path is in, once; who comes meanwhile waits.
func (w *warmer) listAgain(ctx context.Context, shown string) {
	dir, _ := parentOf(strings.Trim(shown, "/"))
	path, e, err := w.find(ctx, w.caller, dir)
	if err != nil || e.Type != listing.Dir {
		return // the look-up will tell
	}
	w.mu.Lock()
	once := w.listed[path]
	if once == nil {
		once = new(sync.Once)
		w.listed[path] = once
	}
	w.mu.Unlock()
	once.Do(func() { _, _, _ = w.cache.Refresh(ctx, w.caller, path) })
}

// examine completes what is known of a file: its size, what is held of it, and
// with --check whether the server still has what is held.
func (w *warmer) examine(ctx context.Context, f *warmFile) {
	f.err = w.again(ctx, f.shown, func(bool) (err error) {
		f.entry, err = w.settled(ctx, f.path, f.entry)
		return err
	})
	if f.err != nil {
		return
	}
	f.state = w.cache.Content().State(f.path, f.entry.Version())
	if !w.request.Check || f.state.Held == 0 || w.plan.offline {
		return
	}
	f.err = w.again(ctx, f.shown, func(bool) error {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(w.plan.timeout))
		defer cancel()
		e, err := w.pool.Stat(ctx, ftppool.Want{Class: ftppool.ClassIdle, UID: w.caller.UID}, f.path)
		switch {
		case errors.Is(err, ftppool.ErrUnsupported):
			return nil // the listing is all there is to know
		case err != nil:
			return err
		case e.Type != 0 && e.Type != listing.File:
			return content.ErrChanged
		}
		w.cache.Learn(f.path, e)
		if e.Size >= 0 {
			f.entry.Size, f.entry.MTime = e.Size, e.MTime
		}
		return nil
	})
	f.state = w.cache.Content().State(f.path, f.entry.Version())
}

// settled returns a file's entry with its size.
func (w *warmer) settled(ctx context.Context, path string, e listing.Entry) (listing.Entry, error) {
	if e.Size != listing.SizeUnknown {
		return e, nil
	}
	e, err := w.cache.Settle(ctx, w.caller, path)
	switch {
	case err == nil && e.Type != listing.File:
		err = content.ErrChanged
	case err == nil && e.Size == listing.SizeUnknown:
		err = errors.New("the server does not tell its size")
	}
	return e, err
}

// judge sums up what was found, and tells why it can't be held, if so.
func (w *warmer) judge() (control.Plan, error) {
	var p control.Plan
	versions := make(map[string]listing.Version, len(w.files))
	for _, f := range w.files {
		v := f.entry.Version()
		versions[f.path] = v
		p.Files++
		p.Bytes += v.Size
		if !f.state.Whole {
			p.ToFetch++
			p.Missing += v.Size - f.state.Held
		}
	}
	if rate := w.rate(); rate > 0 && p.Missing > 0 {
		p.Time = time.Duration(float64(p.Missing) / rate * float64(time.Second))
	}
	err := w.cache.Fits(versions)
	var no *cache.NoRoomError
	if !errors.As(err, &no) {
		return p, err
	}
	if no.Max > 0 {
		return p, fmt.Errorf("%d files take %s, but the cache can hold %s of them: it is bound to %s, of which %s are pinned or open; name less, evict something, or mount with a larger --cache-size",
			p.Files, showBytes(no.Need), showBytes(no.Max), showBytes(no.Bound), showBytes(no.Kept))
	}
	return p, fmt.Errorf("%s must come, but the disk of the cache has room for %s, with %s left free; name less, free some of it, or mount with a smaller --cache-min-free",
		showBytes(no.Fetch), showBytes(no.Disk), showBytes(no.Free))
}

// rate is how many bytes a second the server gives: those of the latest warming,
// else of what is being transferred now. 0 means that nothing is known.
func (c *controls) rate() float64 {
	if r := c.warmRate.Load(); r > 0 {
		return float64(r)
	}
	sum := 0.0
	for _, t := range c.pool.Status().Transfers {
		if !t.Listing {
			sum += t.Rate
		}
	}
	return sum
}

// rehearse tells what would come.
func (w *warmer) rehearse(ctx context.Context) {
	for _, f := range w.files {
		if ctx.Err() != nil {
			return
		}
		e := control.WarmEvent{What: control.Wanted, Path: f.shown, Size: f.entry.Size, Held: f.state.Held}
		if f.state.Whole {
			e.What, e.Outcome = control.Ended, control.Cached
		}
		w.tell(e)
	}
}
