package metadata

import (
	"strings"
	"sync"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// ahead begins the flights that nobody waits for, on idle sessions: listings
// behind look-ups, and listings ahead of somebody who walks the tree.
//
// A walk begins in a directory when a second child of it is listed for
// somebody. It goes through the other children, breadth first, and down as many
// levels as the walker was seen to go: a level below counts once two children
// were listed there too. Each listing spends credit, which every directory that
// the walker reaches renews, so that what is fetched ahead is bounded and stops
// soon after the walker does.
type ahead struct {
	s    *Store
	wake chan struct{} // holds one token when there may be something to do

	mu        sync.Mutex // guards the fields below and those of walks that say so
	seen      map[string]*seen
	walks     []*walk     // the last visited one at the end
	behind    []following // to be listed behind look-ups
	quiet     time.Time   // till then nothing of behind begins
	following int         // flights of behind
	running   int         // flights of walks
}

// following is a directory to be listed behind a look-up.
type following struct {
	dir   string
	since time.Time
}

// seen is what was listed below a directory for somebody.
type seen struct {
	first  string // child listed first
	second bool   // another one was too
	depth  int    // levels below in which somebody walks
	at     time.Time
}

// walk is the listing ahead below one directory.
type walk struct {
	root string

	// Guarded by ahead.mu.
	depth   int    // levels below root that are listed
	from    string // child of root after which to begin
	credit  int    // listings it may still begin
	restart bool   // begin anew at root
	begun   time.Time
	visited time.Time

	// Used by the dispatcher alone.
	queue []level
	at    cursor
}

// level is a directory whose children are to be listed, and how many levels
// down from it.
type level struct {
	dir    string
	levels int
}

// cursor goes through the directories among a listing's entries.
type cursor struct {
	level
	entries []listing.Entry
	start   int // begins here, and wraps
	done    int
}

const (
	walkMemory = 5 * time.Minute // a walker is forgotten when not seen for so long
	maxSeen    = 4096
	maxWalks   = 16
	maxLevels  = 8
	maxQueue   = 4096 // levels that one walk remembers
	maxBehind  = 64

	// grace is left to whoever looked up a name to go on with the session that
	// told it: to look up the next level, to read the file. A listing begun at
	// once would have that session, and they would wait for a login. The same
	// goes while others still wait for an answer. Somebody who looks up all the
	// time puts listings off for no longer than maxGrace.
	grace    = 50 * time.Millisecond
	maxGrace = time.Second

	firstCredit = 64
	visitCredit = 16
	maxCredit   = 512

	// poll is how often it is looked whether a session has become idle.
	poll = 50 * time.Millisecond
	// takeoff is how long a flight has to take its session before the idle ones
	// are counted again.
	takeoff = 2 * time.Millisecond
)

func newAhead(s *Store) *ahead {
	return &ahead{s: s, wake: make(chan struct{}, 1), seen: make(map[string]*seen)}
}

func (a *ahead) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// hush puts off what is to be listed behind look-ups by a grace.
func (a *ahead) hush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.quiet = time.Now().Add(grace)
}

// follow has dir listed when a session is idle and nobody looks up anything.
func (a *ahead) follow(dir string) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.quiet = now.Add(grace)
	for _, f := range a.behind {
		if f.dir == dir {
			return
		}
	}
	if len(a.behind) == maxBehind {
		a.behind = a.behind[1:]
	}
	a.behind = append(a.behind, following{dir, now})
	a.signal()
}

// visit notes that dir is listed for somebody.
func (a *ahead) visit(dir string) {
	if dir == "" || a.s.options.ListAhead == 0 || a.s.options.Fresh == 0 {
		return
	}
	now := a.s.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	parent, _ := split(dir)
	v := a.sight(parent, now)
	switch {
	case v.first == "":
		v.first = dir
	case v.first != dir:
		v.second = true
	}
	if v.second {
		a.deepen(parent)
	}
	for _, up := range ancestors(dir) {
		if v := a.seen[up]; v != nil && v.second {
			a.extend(up, v.depth, dir, now)
			if v.depth >= distance(up, dir) {
				break // that walk comes by here
			}
		}
	}
	a.signal()
}

// sight returns what was seen below dir, anew when that is long ago.
func (a *ahead) sight(dir string, now time.Time) *seen {
	v := a.seen[dir]
	if v == nil || now.Sub(v.at) > walkMemory {
		if v == nil && len(a.seen) >= maxSeen {
			for dir, old := range a.seen {
				if now.Sub(old.at) > walkMemory {
					delete(a.seen, dir)
				}
			}
			if len(a.seen) >= maxSeen {
				clear(a.seen)
			}
		}
		v = new(seen)
		a.seen[dir] = v
	}
	v.at = now
	return v
}

// deepen tells the directories above that somebody walks in dir.
func (a *ahead) deepen(dir string) {
	for levels := 1; levels <= maxLevels; levels++ {
		v := a.seen[dir]
		if v == nil {
			return
		}
		v.depth = max(v.depth, levels)
		if dir == "" {
			return
		}
		dir, _ = split(dir)
	}
}

// extend begins the walk at root, or lets it go on.
func (a *ahead) extend(root string, depth int, visiting string, now time.Time) {
	var w *walk
	for i, old := range a.walks {
		if old.root == root {
			w = old
			a.walks = append(a.walks[:i], a.walks[i+1:]...)
			break
		}
	}
	switch {
	case w == nil || now.Sub(w.visited) > walkMemory:
		w = &walk{root: root, depth: depth, credit: firstCredit, restart: true, begun: now}
	case depth > w.depth || now.Sub(w.begun) >= a.s.options.Fresh:
		w.depth, w.restart, w.begun = depth, true, now
		fallthrough
	default:
		w.credit = min(w.credit+visitCredit, maxCredit)
	}
	w.visited = now
	w.from, _, _ = strings.Cut(below(root, visiting), "/")
	if len(a.walks) == maxWalks {
		a.walks = a.walks[1:]
	}
	a.walks = append(a.walks, w)
}

// reset forgets all that was to be listed.
func (a *ahead) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.walks, a.behind = nil, nil
	clear(a.seen)
}

// ancestors returns the directories above dir, from the root down.
func ancestors(dir string) []string {
	up := []string{""}
	for i := range len(dir) {
		if dir[i] == '/' {
			up = append(up, dir[:i])
		}
	}
	return up
}

// below returns path relative to dir, one of its ancestors.
func below(dir, path string) string {
	if dir == "" {
		return path
	}
	return path[len(dir)+1:]
}

// distance is how many levels path is below dir, one of its ancestors.
func distance(dir, path string) int { return strings.Count(below(dir, path), "/") + 1 }
