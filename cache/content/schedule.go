package content

import (
	"math"
	"slices"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
)

const (
	// A held run shorter than this does not end a stream: reading through it
	// costs less than starting again behind it.
	skipHeld = 256 << 10
	// A byte so close ahead of a frontier is waited for, however slow the stream.
	soonLeast = 1 << 20
	soonMost  = 8 << 20
	// How long a whole file is still fetched after its last handle was closed:
	// programs look into a file, close it and open it again.
	lingerWhole = 5 * time.Second
	leadMost    = 500 * time.Millisecond
	// classNone is less urgent than any class: nobody wants it.
	classNone = ftppool.ClassIdle + 1
)

// target is bytes worth having beyond those somebody waits for.
type target struct {
	span
	class ftppool.Class
	// eager targets are worth a stream of their own; the others only say how far
	// a stream that came for a waiter should go on.
	eager bool
}

// schedule sees to it that somebody brings what is wanted: it starts streams
// for what no stream reaches soon, and has the present ones look again at what
// they are for. file.mu is held.
func (f *file) schedule(now time.Time) {
	if f.gone != nil || f.store.ctx.Err() != nil {
		return
	}
	for _, w := range f.fetch.waiters {
		for _, gap := range f.missing(w) {
			if w.class <= ftppool.ClassRead || len(f.fetch.streams) == 0 {
				f.cover(gap, w)
			}
		}
	}
	targets := f.targets(now)
	f.coverAhead(targets)
	f.split(now)
	for _, st := range f.fetch.streams {
		f.classify(st, targets)
		st.nudge()
	}
}

// cover starts streams for the part of gap that none reaches soon.
func (f *file) cover(gap span, w *waiter) {
	for x := gap.lo; x < gap.hi; {
		st := f.reaching(x)
		switch {
		case st != nil && f.soon(st.pos, x):
		case f.retarget(x) != nil:
			st = f.reaching(x)
		case !w.settled && x > 0:
			w.deferred = true
			return
		default:
			st = f.start(x, w.class, w.uid)
		}
		if st == nil {
			return
		}
		x = max(f.stop(st), x+1)
	}
}

// retarget has a stream that has no session yet begin at off instead of a
// little further on.
func (f *file) retarget(off int64) *stream {
	for _, st := range f.fetch.streams {
		if st.remote == nil && st.pos == st.begin && off < st.pos && f.soon(off, st.pos) {
			st.begin, st.pos = off, off
			st.reopen()
			return st
		}
	}
	return nil
}

// reaching returns the stream that will come to off if it goes on.
func (f *file) reaching(off int64) *stream {
	for _, st := range f.fetch.streams {
		if st.pos <= off && off < f.stop(st) {
			return st
		}
	}
	return nil
}

// soon reports whether a stream at from reaches off so early that waiting for
// it beats a new one there. What others wait for in between does not count: the
// kernel asks for many pieces ahead of a reader at once, in any order.
func (f *file) soon(from, off int64) bool {
	if f.fetch.noRestart {
		return true
	}
	var between ranges
	between.add(span{from, off})
	for _, w := range f.fetch.waiters {
		between.remove(w.span)
	}
	var rate float64
	for _, st := range f.fetch.streams {
		if st.pos == from {
			rate = st.rate
		}
	}
	return between.total() <= min(max(soonLeast, int64(rate*0.3)), soonMost)
}

// stop returns where st must end at the latest: the file's end, the beginning
// of another stream, or of bytes that are held and not worth reading through.
func (f *file) stop(st *stream) int64 {
	stop := f.size
	for _, o := range f.fetch.streams {
		if o.begin > st.pos {
			stop = min(stop, o.begin)
		}
	}
	if f.fetch.noRestart {
		return stop
	}
	for pos := st.pos; pos < stop; {
		run := f.held.run(pos)
		if run.len() == 0 {
			next, ok := f.held.next(pos)
			if !ok {
				break
			}
			run = next
		}
		if run.hi-max(run.lo, pos) >= skipHeld || run.hi >= f.size {
			return min(stop, max(run.lo, st.pos))
		}
		pos = run.hi
	}
	return stop
}

// start begins a stream at off, or returns nil when the store is closing.
func (f *file) start(off int64, class ftppool.Class, uid uint32) *stream {
	if f.fetch.noRestart {
		if len(f.fetch.streams) > 0 {
			return f.fetch.streams[0]
		}
		off, _ = f.held.firstMissing(span{0, f.size})
	}
	st := newStream(f, off, class, uid)
	if !f.store.work.start(st.run) {
		st.cancel()
		return nil
	}
	f.refs++
	f.fetch.streams = append(f.fetch.streams, st)
	return st
}

// targets returns what is worth having now beyond what is waited for.
func (f *file) targets(now time.Time) []target {
	if !now.After(f.fetch.keepUntil) {
		return nil // there is nowhere to put it
	}
	if f.fetch.entire {
		class := classNone
		switch {
		case f.handles > 0: // or another read would cut it, and it cost a second transfer
			class = ftppool.ClassRead
		case now.Sub(f.lastClosed) < lingerWhole:
			class = ftppool.ClassIdle
		}
		return []target{{span{0, f.size}, class, true}}
	}
	if f.handles == 0 {
		return nil
	}
	var list []target
	for _, c := range f.fetch.cursors {
		if now.Sub(c.last) >= cursorLives {
			continue
		}
		near, eager := min(c.window(), nearAhead), c.run() >= lookLimit
		list = append(list, target{span{c.next, min(f.size, c.next+near)}, ftppool.ClassRead, eager})
		if ahead := f.horizon(&c); ahead > near {
			list = append(list, target{span{c.next, min(f.size, c.next+ahead)}, ftppool.ClassReadAhead, eager})
		}
	}
	return list
}

// horizon returns how far ahead of a cursor bytes are wanted.
func (f *file) horizon(c *cursor) int64 {
	ahead := c.window()
	if f.splits(c) {
		ahead = max(ahead, min(max(256<<20, 8*c.run()), 2<<30))
	}
	if m := f.store.opts.MaxSize; m > 0 {
		ahead = min(ahead, m/4)
	}
	return ahead
}

// coverAhead starts a stream for a target that none reaches, when that keeps
// nobody waiting or the file has no stream at all.
func (f *file) coverAhead(targets []target) {
	for _, t := range targets {
		if t.class == classNone || !t.eager {
			continue
		}
		for _, gap := range f.held.missing(t.span) {
			// A window that is still well filled needs no new transfer yet.
			if !f.fetch.entire && gap.lo-t.lo > t.len()/2 {
				break
			}
			if f.reaching(gap.lo) != nil {
				continue
			}
			if len(f.fetch.streams) > 0 && (f.fetch.entire || f.fetch.noRestart || f.store.spare() <= 0) {
				return
			}
			if f.troubled(gap) {
				return
			}
			f.start(gap.lo, t.class, f.fetch.uid)
		}
	}
}

// troubled reports whether fetching s ahead of need should wait, because the
// server just refused bytes of it.
func (f *file) troubled(s span) bool {
	return f.fetch.trouble != nil || slices.ContainsFunc(f.fetch.failed, func(r failedRange) bool {
		return r.meets(s) && time.Now().Before(r.until)
	})
}

// goal returns up to where st is worth reading now, and for what class; a goal
// at its frontier means that nothing of it is wanted.
func (f *file) goal(st *stream, targets []target) (int64, ftppool.Class) {
	stop := f.stop(st)
	goal, class := st.pos, classNone
	reach := span{st.pos, stop}
	for _, w := range f.fetch.waiters {
		for _, g := range f.missing(w) {
			if g.meets(reach) {
				goal, class = max(goal, min(g.hi, stop)), min(class, w.class)
			}
		}
	}
	for _, t := range targets {
		if t.class != classNone && t.meets(reach) {
			goal, class = max(goal, min(t.hi, stop)), min(class, t.class)
		}
	}
	return goal, class
}

// classify has st count as what it is for now. A stream that is still waiting
// for its session asks anew when it became more urgent, and not at all when
// nobody wants it any more.
func (f *file) classify(st *stream, targets []target) {
	goal, class := f.goal(st, targets)
	if st.remote != nil {
		if goal == st.pos && !st.paused.IsZero() {
			return // a pause has its own class
		}
		if class = min(class, ftppool.ClassIdle); class != st.class {
			st.class = class
			st.remote.SetClass(class)
		}
		return
	}
	switch {
	case goal == st.pos:
		st.cancel()
	case class < st.class:
		st.class = class
		st.reopen()
	}
}

// splits reports whether a cursor is worth several sessions at once.
func (f *file) splits(c *cursor) bool {
	return c.run() >= splitAfter && f.large()
}

// expect has sessions dialled while a large file is being read on, but not yet
// split: by then they are there.
func (f *file) expect(c *cursor) {
	if c.run() >= lookLimit && !f.fetch.expected && f.large() {
		f.fetch.expected = true
		f.store.remote.Expect(1 + int(f.size/(2*minSegment)))
	}
}

// large reports whether the file may be fetched in several pieces at once.
func (f *file) large() bool {
	return f.size >= f.store.opts.WholeFileBelow && !f.fetch.noRestart && !f.store.noRestart.Load()
}

// spare returns how many sessions are idle and not about to be taken by a
// stream that was started already.
func (s *Store) spare() int { return s.remote.Idle() - s.lobby.opening() }

// split gives idle sessions to a large sequential read: each takes the middle
// of the largest piece that is missing. It waits until transfers are known to
// begin where they are told to, or soon will be: each would have to find out else.
func (f *file) split(now time.Time) {
	if f.gone != nil || f.fetch.trouble != nil || !now.After(f.fetch.keepUntil) {
		return
	}
	for _, c := range f.fetch.cursors {
		if f.handles == 0 || now.Sub(c.last) >= cursorLives {
			continue
		}
		if f.expect(&c); !f.splits(&c) || f.store.spare() <= 0 || !f.store.remote.CanRestart(f.path) {
			continue
		}
		f.splitArea(span{c.next, min(f.size, c.next+f.horizon(&c))}, ftppool.ClassReadAhead, now)
	}
	for _, w := range f.fetch.waiters {
		if w.len() > splitAfter && f.large() {
			f.splitArea(w.span, w.class, now)
		}
	}
}

// worthSplitting returns how many bytes of a stream's way are the least to be
// worth a second stream. Where the two meet, some megabytes that the server has
// sent already may be lost, so what takes two seconds at most is left alone: so
// fast a stream is held up by this machine rather than by the line.
func (f *file) worthSplitting() int64 {
	var rate float64
	for _, st := range f.fetch.streams {
		rate = max(rate, st.rate)
	}
	if rate == 0 {
		return math.MaxInt64 // not known yet
	}
	return max(2*minSegment, f.size/32, int64(2*rate))
}

// lead returns how far st will get while a stream that is begun now comes to its
// speed: that takes about as long as st has flown, as long as st is young.
func (st *stream) lead(now time.Time) int64 {
	return int64(st.rate * min(now.Sub(st.since), leadMost).Seconds())
}

// splitArea cuts pieces so that those who share one end at about the same time.
func (f *file) splitArea(area span, class ftppool.Class, now time.Time) {
	for spare := f.store.spare(); spare > 0; spare-- {
		var best span
		for _, gap := range f.held.missing(area) {
			for lo := gap.lo; lo < gap.hi; {
				piece := span{lo, gap.hi}
				least := int64(minSegment)
				from := lo
				if st := f.reaching(lo); st != nil {
					piece = span{max(lo, st.pos), min(gap.hi, f.stop(st))}
					least, from = f.worthSplitting(), (piece.lo+piece.hi+min(st.lead(now), piece.len()/2))/2&^0xffff
				} else {
					for _, o := range f.fetch.streams {
						if o.begin > lo {
							piece.hi = min(piece.hi, o.begin)
						}
					}
				}
				if piece.len() >= least && piece.len() > best.len() {
					best = span{from, from + piece.len()}
				}
				lo = max(piece.hi, lo+1)
			}
		}
		if best.len() == 0 || f.start(best.lo, class, f.fetch.uid) == nil {
			return
		}
	}
}
