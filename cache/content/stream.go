package content

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool"
)

const (
	chunkSize = 256 << 10
	// overlap is how much of what is held a later stream reads again, to compare.
	overlap = 4 << 10
	// A stream that nobody wants more of waits so long for its reader to go on.
	pauseGrace = 3 * time.Second
	// When others wait for its session, it waits only so long.
	pauseContended = 20 * time.Millisecond
	// But a file that is to come in one transfer, and seems to be read on, keeps
	// its session for longer: its reader may just not have had its turn.
	pauseReading = 2 * time.Second
)

// The rate of a transfer is measured so often, and first so soon: whether more
// sessions would help is not known before. Whether they are there, and may be
// used, is looked at more often while it brings bytes: far away it takes them
// several round trips to be of use.
const (
	firstRate  = 50 * time.Millisecond
	rateEvery  = 100 * time.Millisecond
	splitEvery = 10 * time.Millisecond
)

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// stream is one transfer of a file, from an offset to where its bytes are no
// longer wanted; cut off, it goes on with another RETR. Its goroutine holds a
// reference to the file.
type stream struct {
	file  *file
	uid   uint32
	ctx   context.Context // ends when nobody wants the stream, or with the store
	stop  context.CancelFunc
	woken chan struct{} // something changed that a pause should look at
	retry chan struct{} // there is reason to try again before the time

	// Guarded by file.mu.
	begin  int64 // where it started
	pos    int64 // its frontier: the next byte it brings
	opened int64 // the frontier when the present transfer began
	class  ftppool.Class
	remote ftppool.Stream     // nil while there is no session
	redo   context.CancelFunc // ends the present attempt to get one
	rate   float64            // bytes a second, lately
	since  time.Time          // of the session
	paused time.Time          // zero while it flows
	// Other streams of the file may flow while this one fails, so each has its own
	// count of that.
	attempts int       // that failed since it last brought bytes
	failing  time.Time // when the first of them did

	// Of the goroutine alone.
	counted  bool  // in the lobby
	taken    int64 // bytes of this transfer
	mark     time.Time
	markedAt int64
	looked   time.Time // whether to split the file
}

// newStream is called with file.mu held.
func newStream(f *file, off int64, class ftppool.Class, uid uint32) *stream {
	st := &stream{file: f, uid: uid, begin: off, pos: off, class: class, woken: make(chan struct{}, 1), retry: make(chan struct{}, 1)}
	st.ctx, st.stop = context.WithCancel(f.store.ctx)
	if len(f.fetch.streams) == 0 {
		f.fetch.trouble = nil
	}
	st.enter()
	return st
}

func (st *stream) enter() {
	if !st.counted {
		st.counted = true
		st.file.store.lobby.enter()
	}
}

func (st *stream) leave() {
	if st.counted {
		st.counted = false
		st.file.store.lobby.leave()
	}
}

// cancel ends the stream for good.
func (st *stream) cancel() { st.stop() }

// reopen has a stream that waits for a session ask again, as what it is now.
func (st *stream) reopen() {
	if st.redo != nil {
		st.redo()
	}
}

func (st *stream) nudge() {
	select {
	case st.woken <- struct{}{}:
	default:
	}
}

// hurry ends a pause before another attempt.
func (st *stream) hurry() {
	select {
	case st.retry <- struct{}{}:
	default:
	}
}

// run is the stream's goroutine.
func (st *stream) run() {
	f := st.file
	defer f.release()
	defer st.stop()
	defer st.leave()
	for {
		rs, end, err := st.transfer()
		delay, again := st.outcome(err)
		if rs != nil {
			rs.Close()
			end()
		}
		st.leave()
		if !again {
			break
		}
		if delay > 0 {
			st.sleep(delay)
		}
	}
	f.mu.Lock()
	f.schedule(time.Now()) // now that its session is free
	f.mu.Unlock()
	f.confirm()
}

func (st *stream) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-st.retry:
	case <-st.ctx.Done():
	}
}

// transfer is one RETR. A nil error means that nothing more of it is wanted.
// The caller closes the stream, if there is one, and calls end.
func (st *stream) transfer() (rs ftppool.Stream, end func(), err error) {
	f := st.file
	now := time.Now()
	f.mu.Lock()
	if off, ok := f.held.firstMissing(span{st.pos, f.size}); ok {
		st.pos = off
	}
	if goal, _ := f.goal(st, f.targets(now)); goal == st.pos {
		f.mu.Unlock()
		return nil, nil, nil
	}
	f.mu.Unlock()
	rs, end, from, err := st.open()
	if err != nil {
		return nil, nil, err
	}
	if err := f.verify(rs); err != nil {
		return rs, end, err
	}
	return rs, end, st.pump(rs, from)
}

// open waits for a session and begins the transfer, which has its first byte at
// from: at the frontier, or somewhat before, to compare.
func (st *stream) open() (rs ftppool.Stream, end func(), from int64, err error) {
	f, s := st.file, st.file.store
	for {
		ctx, cancel := context.WithCancel(st.ctx)
		now := time.Now()
		f.mu.Lock()
		st.redo = cancel
		if from = st.pos; f.fetch.noRestart {
			from = 0
		} else if run := f.held.run(from - 1); run.len() > 0 {
			from = max(run.lo, from-overlap)
		}
		want := ftppool.Want{Class: st.class, UID: st.uid, Limit: f.limit(st, from, now), Check: true, Begun: st.leave}
		f.mu.Unlock()
		st.enter()
		rs, err := s.remote.Open(ctx, want, f.path, from)
		st.leave()
		f.mu.Lock()
		st.redo = nil
		outdated := ctx.Err() != nil
		if err == nil && !outdated {
			st.remote, st.since, st.rate = rs, time.Now(), 0
			st.opened = st.pos
			st.taken, st.mark, st.markedAt = 0, st.since, 0
			if st.class != want.Class {
				rs.SetClass(st.class)
			}
		}
		f.mu.Unlock()
		switch {
		case outdated && err == nil:
			rs.Close()
		case !outdated && err == nil:
			cancel()
			s.counters.streams.Add(1)
			if want.Limit == 0 && from == 0 && f.size >= s.opts.WholeFileBelow && s.spare() > 0 {
				s.remote.CanRestart(f.path) // it takes a while, and there may soon be several
			}
			return rs, closeWith(st.ctx, rs), from, nil
		}
		cancel()
		if st.ctx.Err() != nil || !outdated {
			return nil, nil, 0, errors.Join(err, st.ctx.Err())
		}
	}
}

// closeWith has rs closed when ctx ends, which ends a Read that is under way.
// The returned function ends that.
func closeWith(ctx context.Context, rs ftppool.Stream) func() {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		rs.Close()
		close(closed)
	})
	return func() {
		if !stop() {
			<-closed
		}
	}
}

// limit tells how many bytes a transfer from an offset will take as things
// are, 0 when it will take all or many. What is announced here the pool makes
// small buffers for, so a large file, which may be read on, gets that only for
// the smallest of looks.
func (f *file) limit(st *stream, from int64, now time.Time) int64 {
	most := int64(2 * lookLimit)
	if f.size >= f.store.opts.WholeFileBelow {
		most = headWindow + overlap
	}
	goal, _ := f.goal(st, f.targets(now))
	if n := goal - from; goal < f.size && n <= most {
		return n
	}
	return 0
}

// pump moves bytes from the transfer to the file for as long as they are wanted.
func (st *stream) pump(rs ftppool.Stream, at int64) error {
	f := st.file
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	d := newDuct(rs)
	defer d.close()
	for {
		end, err := st.next(at)
		if end <= at || err != nil {
			return err
		}
		if n, err := st.conduct(d, at, end, chunk); n > 0 || err != nil {
			if at += n; err != nil {
				return err
			}
			continue
		}
		n, err := rs.Read(chunk[:min(chunkSize, end-at)])
		if n > 0 {
			st.measure(n)
			if e := st.accept(rs, at, chunk[:n]); e != nil {
				return e
			}
			at += int64(n)
		}
		switch {
		case at >= f.size:
			return nil
		case err == io.EOF:
			return errShort
		case err != nil:
			return err
		}
	}
}

// measure keeps the rate, and has the file split when that tells.
func (st *stream) measure(n int) {
	f := st.file
	f.store.counters.fetched.Add(int64(n))
	st.taken += int64(n)
	now := time.Now()
	least := rateEvery
	if st.markedAt == 0 {
		least = firstRate
	}
	d := now.Sub(st.mark)
	if d < least && now.Sub(st.looked) < splitEvery {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if d >= least {
		latest := float64(st.taken-st.markedAt) / d.Seconds()
		if st.rate == 0 {
			st.rate = latest
		} else {
			st.rate += 0.3 * (latest - st.rate)
		}
		st.mark, st.markedAt = now, st.taken
	}
	f.split(now) // more may be known of the rate and the server than at the last read
	st.looked = now
}

// next returns up to where to read on from at, after waiting for somebody to
// want it. Nothing to read means that the transfer should end.
func (st *stream) next(at int64) (int64, error) {
	f, s := st.file, st.file.store
	for {
		now := time.Now()
		f.mu.Lock()
		targets := f.targets(now)
		end := f.next(st, at, targets)
		if end != at || st.ctx.Err() != nil {
			resumed := !st.paused.IsZero()
			if resumed {
				st.paused = time.Time{}
				st.mark, st.markedAt = now, st.taken
			}
			f.classify(st, targets)
			f.mu.Unlock()
			if resumed {
				s.lobby.resume(st)
			}
			return end, st.ctx.Err()
		}
		if st.paused.IsZero() {
			st.paused = now
			s.lobby.pause(st)
		}
		deadline := st.paused.Add(pauseGrace)
		class := ftppool.ClassIdle
		if until := st.paused.Add(pauseReading); f.readOn(st) && now.Before(until) {
			class, deadline = ftppool.ClassRead, until
		} else if s.lobby.opening() > 0 && s.remote.Idle() <= 0 {
			deadline = st.paused.Add(pauseContended)
		}
		if class != st.class {
			st.class = class
			st.remote.SetClass(class)
		}
		if f.handles == 0 {
			deadline = now
		}
		f.mu.Unlock()
		left := deadline.Sub(now)
		if left <= 0 && class != ftppool.ClassRead {
			s.lobby.resume(st)
			return 0, nil
		}
		t := time.NewTimer(left)
		select {
		case <-st.woken:
		case <-t.C:
		case <-st.ctx.Done():
		}
		t.Stop()
	}
}

// readOn reports whether a paused stream from a file's front has a reader that
// went beyond a mere look, and the file is to come in one transfer.
func (f *file) readOn(st *stream) bool {
	return st.begin == 0 && f.handles > 0 && f.size < f.store.opts.WholeFileBelow &&
		slices.ContainsFunc(f.fetch.cursors, func(c cursor) bool { return c.start == 0 && c.run() > headWindow })
}

// next returns up to where st, which has read to at, should read now: at when
// nothing is wanted for the moment, less when it is done.
func (f *file) next(st *stream, at int64, targets []target) int64 {
	for {
		stop := f.stop(st)
		if st.pos < stop {
			if goal, _ := f.goal(st, targets); goal > st.pos {
				return goal
			}
			return at
		}
		if stop >= f.size {
			return -1
		}
		i := slices.IndexFunc(f.fetch.streams, func(o *stream) bool { return o.begin == stop && o != st })
		if i >= 0 && f.fetch.streams[i].remote == nil && f.held.run(stop).len() == 0 {
			// The one that was to go on from here has no session yet.
			o := f.fetch.streams[i]
			f.fetch.streams = slices.Delete(f.fetch.streams, i, i+1)
			o.cancel()
			continue
		}
		// Where two transfers meet, a piece is read twice and compared.
		if end := min(stop+overlap, f.held.run(stop).hi); at < end {
			return end
		}
		return -1
	}
}
