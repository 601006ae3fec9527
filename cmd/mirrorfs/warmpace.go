package main

import (
	"context"
	"sync"

	"github.com/mirrorfs/mirrorfs/cache/metadata"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// This file is how much of a warming is done at once.

// prepare has the mount log in for what is about to come, while the names are
// looked up.
func (w *warmer) prepare(ctx context.Context) {
	caller := metadata.Caller{UID: w.caller.UID, NoFetch: true}
	missing := 0
	for _, shown := range w.request.Paths {
		path, e, err := w.find(ctx, caller, shown)
		if err == nil && (e.Type == listing.Dir || w.cache.Content().State(path, e.Version()).Whole) {
			continue
		}
		if missing++; missing == w.request.Jobs {
			break
		}
	}
	w.pool.Expect(missing)
}

// asking is how many questions about files are put at once. Those that find no
// session free go along with others, so more than there are sessions save time.
func (w *warmer) asking() int {
	if w.request.Jobs < w.plan.connections {
		return w.request.Jobs // somebody wants less to be done at once
	}
	return 4 * w.request.Jobs
}

// parallel calls f with 0 to n-1, some at once, and returns when all are done or
// ctx ended.
func (w *warmer) parallel(ctx context.Context, n, atOnce int, f func(i int)) {
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(atOnce, n) {
		workers.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	workers.Wait()
}

// slot waits until one file more may be under way. The returned function, which
// may be called more than once, lets the next one begin.
func (w *warmer) slot(ctx context.Context) (free func()) {
	select {
	case w.slots <- struct{}{}:
		return sync.OnceFunc(func() { <-w.slots })
	case <-ctx.Done():
		return func() {}
	}
}
