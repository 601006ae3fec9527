package metadata

import (
	"slices"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// run is the dispatcher's goroutine: it begins flights while sessions are idle.
func (a *ahead) run() {
	tick := time.NewTimer(poll)
	defer tick.Stop()
	for {
		tick.Stop()
		begun, again := a.dispatch()
		switch {
		case begun:
			tick.Reset(takeoff)
			select {
			case <-tick.C:
			case <-a.s.ctx.Done():
				return
			}
			continue
		case again:
			tick.Reset(poll)
		}
		select {
		case <-a.wake:
		case <-tick.C:
		case <-a.s.ctx.Done():
			return
		}
	}
}

// dispatch begins what it may, and reports whether it has to look again by
// itself: sessions become idle without notice, while the end of a flight wakes.
func (a *ahead) dispatch() (begun, again bool) {
	if !a.busy() {
		return false, false
	}
	if _, err := a.s.failures.down(); err != nil {
		a.reset() // the walk begins anew when the walker gets on
		return false, false
	}
	for idle := a.s.remote.Spare(); idle > 0; idle-- {
		if !a.startBehind() && !a.startWalk() {
			return begun, a.putOff()
		}
		begun = true
	}
	return begun, a.busy()
}

// busy reports whether something is to be listed.
func (a *ahead) busy() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.behind) > 0 || slices.ContainsFunc(a.walks, func(w *walk) bool {
		return w.credit > 0 && (w.restart || len(w.queue) > 0 || w.at.dir != "" || w.at.entries != nil)
	})
}

// putOff reports whether a listing behind a look-up waits for its time.
func (a *ahead) putOff() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.behind) > 0
}

// startBehind begins one listing behind a look-up. It leaves one session to
// those who wait.
func (a *ahead) startBehind() bool {
	for {
		asking := a.s.asking()
		now := time.Now()
		a.mu.Lock()
		if len(a.behind) == 0 || a.following >= max(1, a.s.options.Connections-1) ||
			(asking || now.Before(a.quiet)) && now.Sub(a.behind[0].since) < maxGrace {
			a.mu.Unlock()
			return false
		}
		dir := a.behind[0].dir
		a.behind = a.behind[1:]
		a.following++
		a.mu.Unlock()
		if a.start(dir, &a.following) {
			return true
		}
	}
}

// startWalk begins one listing of a walk, taking turns among walks.
func (a *ahead) startWalk() bool {
	a.mu.Lock()
	walks := slices.Clone(a.walks)
	a.mu.Unlock()
	slices.Reverse(walks) // whoever moved last is served first
	for _, w := range walks {
		for {
			a.mu.Lock()
			full := a.running >= a.s.options.ListAhead
			a.mu.Unlock()
			if full {
				return false
			}
			dir, ok := a.next(w)
			if !ok {
				break
			}
			a.mu.Lock()
			a.running++
			a.mu.Unlock()
			if a.start(dir, &a.running) {
				return true
			}
		}
	}
	return false
}

// start begins the flight for dir, which counts in n until it has landed.
func (a *ahead) start(dir string, n *int) bool {
	landed := func(error) {
		a.mu.Lock()
		*n--
		a.mu.Unlock()
	}
	if d := a.s.held(dir); d != nil && a.s.fresh(d) || !a.s.background(dir, landed) {
		landed(nil)
		return false
	}
	a.s.counters.ahead.Add(1)
	return true
}

// next returns the next directory of a walk that has to be listed.
func (a *ahead) next(w *walk) (string, bool) {
	a.mu.Lock()
	if w.restart {
		w.restart = false
		w.queue, w.at = []level{{w.root, w.depth}}, cursor{}
	}
	a.mu.Unlock()
	for a.spend(w, 0) {
		child, ok := w.at.next()
		if !ok {
			if !a.open(w) {
				return "", false
			}
			continue
		}
		if w.at.levels > 1 && len(w.queue) < maxQueue {
			w.queue = append(w.queue, level{child, w.at.levels - 1})
		}
		if a.s.inFlight(child) || a.s.failures.last(child) != nil {
			continue
		}
		if d := a.s.memory.peek(child); d != nil && a.s.fresh(d) {
			continue
		}
		a.spend(w, 1)
		if d := a.s.held(child); d == nil || !a.s.fresh(d) {
			return child, true
		}
	}
	return "", false
}

// open goes on with the next level of a walk that is held. Levels that are
// still under way stay in the queue.
func (a *ahead) open(w *walk) bool {
	w.at = cursor{}
	for range len(w.queue) {
		l := w.queue[0]
		w.queue = w.queue[1:]
		// In this order, as what is listed is held before it is in flight no more.
		flying := a.s.inFlight(l.dir)
		d := a.s.held(l.dir)
		switch {
		case d != nil:
			w.at = cursor{level: l, entries: d.Entries()}
			if l.dir == w.root {
				a.mu.Lock()
				from := w.from
				a.mu.Unlock()
				// A raw name for a shown one is near enough: only the order depends on it.
				i, ok := d.index(from)
				if ok {
					i++ // the walker is there
				}
				w.at.start = i
			}
			return true
		case flying:
			w.queue = append(w.queue, l)
		}
	}
	return false
}

// spend takes n listings off a walk's credit, and reports whether there was any.
func (a *ahead) spend(w *walk, n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	had := w.credit > 0
	w.credit -= n
	return had
}

// next returns the next directory's path.
func (c *cursor) next() (string, bool) {
	for c.done < len(c.entries) {
		e := c.entries[(c.start+c.done)%len(c.entries)]
		c.done++
		if e.Type == listing.Dir {
			return listing.Join(c.dir, e.Raw), true
		}
	}
	return "", false
}
