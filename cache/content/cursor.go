package content

import "time"

// Sizes that decide how much is fetched beyond what was asked for.
const (
	smallFile   = 1 << 20   // fetched whole by any read
	headWindow  = 64 << 10  // the least to fetch for a look at a file's head
	farWindow   = 256 << 10 // the least to fetch for a look elsewhere
	lookLimit   = 256 << 10 // reading this much is no mere look
	slack       = 1 << 20   // a read this far beyond the last still counts as sequential
	splitAfter  = 512 << 10 // reading this much in order is worth several sessions
	minSegment  = 32 << 20  // the least a further session is given
	nearAhead   = 4 << 20   // what a sequential reader will want within moments
	farAhead    = 64 << 20  // the largest window of one stream
	maxCursors  = 8
	cursorLives = 5 * time.Second // a reader that was not heard of for so long wants nothing ahead
)

// cursor is one place where a file is being read in order, by whoever.
type cursor struct {
	start, next int64 // it has gone from start to next
	last        time.Time
}

func (c *cursor) run() int64 { return c.next - c.start }

// window is how far beyond next it is worth fetching now: doubling as the
// reader goes on.
func (c *cursor) window() int64 {
	least := int64(farWindow)
	if c.start == 0 {
		least = headWindow
	}
	return min(max(least-c.run(), c.run(), 0), farAhead)
}

// cursors are the places where a file is being read, the latest first.
type cursors []cursor

// touch notes a read of s and returns the cursor it belongs to, as it is now.
func (cs *cursors) touch(s span, now time.Time) cursor {
	list := *cs
	found := -1
	for i, c := range list {
		if c.start <= s.lo && s.lo <= c.next+slack && (found < 0 || c.start > list[found].start) {
			found = i
		}
	}
	c := cursor{start: s.lo, next: s.hi}
	switch {
	case found >= 0:
		c = list[found]
		c.next = max(c.next, s.hi)
	case len(list) < maxCursors:
		list = append(list, c)
		found = len(list) - 1
	default:
		found = len(list) - 1
	}
	c.last = now
	copy(list[1:found+1], list[:found])
	list[0] = c
	*cs = list
	return c
}
