package content

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// room keeps the bounds of the disk.
type room struct {
	used atomic.Int64 // bytes that files take, as far as known without asking

	making sync.Mutex // held while room is made; before all other locks

	mu      sync.Mutex // guards what follows; a leaf
	free    int64      // of the file system, as asked last, less what was written since
	checked time.Time
	full    time.Time // when nothing was left to give up
	fullAt  int64     // what was used then

	cantPunch atomic.Bool // the file system has no such thing

	refusal   error     // why the disk last kept nothing; guarded by mu, as is
	refusedAt time.Time // when
}

// refuse notes that the disk did not keep what was read.
func (r *room) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusal, r.refusedAt = err, time.Now()
}

// refuses tells why the disk keeps nothing for now; nil when it may.
func (r *room) refuses() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.refusedAt) > diskRetry {
		return nil
	}
	return r.refusal
}

const (
	freeFor  = time.Second // how long the answer of statfs is good
	makeMore = 16 << 20    // when room is made, a bit more is made at once
	fullFor  = 200 * time.Millisecond
)

// reserve sees to it that n more bytes of f can be written within the bounds:
// by evicting the files used longest ago, then by giving up what was read in
// large open files. Open files may exceed MaxSize, but never MinFree.
func (s *Store) reserve(f *file, n int64) error {
	if s.over(n) && !s.full() || s.short(n) {
		s.room.making.Lock()
		s.makeRoom(n)
		if s.over(n) || s.short(n) {
			s.punch(f, n)
		}
		if s.over(n) {
			s.setFull()
		}
		s.room.making.Unlock()
		if s.short(n) {
			return errNoRoom
		}
	}
	r := &s.room
	r.mu.Lock()
	r.free -= n
	r.mu.Unlock()
	return nil
}

// over tells whether n more bytes would exceed MaxSize.
func (s *Store) over(n int64) bool {
	m := s.opts.MaxSize
	return m > 0 && s.room.used.Load()+n > m
}

// full tells whether all that is left was found to be in use a moment and a
// few bytes ago, so that looking again would be a waste.
func (s *Store) full() bool {
	r := &s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.full) < fullFor && r.used.Load() < r.fullAt+s.moreRoom()/4
}

// moreRoom is how much room is made beyond what is needed.
func (s *Store) moreRoom() int64 {
	if m := s.opts.MaxSize; m > 0 {
		return min(makeMore, m/50)
	}
	return makeMore
}

func (s *Store) setFull() {
	r := &s.room
	r.mu.Lock()
	r.full, r.fullAt = time.Now(), r.used.Load()
	r.mu.Unlock()
}

// short tells whether n more bytes would leave less than MinFree.
func (s *Store) short(n int64) bool {
	if s.opts.MinFree <= 0 {
		return false
	}
	r := &s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.checked) > freeFor || r.free-n < s.opts.MinFree {
		var st unix.Statfs_t
		if err := unix.Statfs(s.opts.Dir, &st); err != nil {
			return false // writing will tell
		}
		r.free, r.checked = int64(st.Bavail)*st.Bsize, now
	}
	return r.free-n < s.opts.MinFree
}

// keepRoom makes room when others have filled the disk.
func (s *Store) keepRoom() {
	if s.over(0) || s.short(0) {
		s.room.making.Lock()
		defer s.room.making.Unlock()
		s.makeRoom(0)
	}
}

// makeRoom evicts until n more bytes fit, or nothing is left to evict.
func (s *Store) makeRoom(n int64) {
	if !s.over(n) && !s.short(n) {
		return
	}
	more := s.moreRoom()
	for _, f := range s.oldest() {
		if !s.over(n+more) && !s.short(n+more) {
			return
		}
		s.evict(f)
	}
}

// oldest returns the files that may be evicted, those used longest ago first.
func (s *Store) oldest() []*file {
	type candidate struct {
		f    *file
		used time.Time
	}
	var list []candidate
	for _, f := range s.all() {
		f.mu.Lock()
		if f.refs == 0 && !f.pinned {
			list = append(list, candidate{f, f.used})
		}
		f.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b candidate) int { return a.used.Compare(b.used) })
	files := make([]*file, len(list))
	for i, c := range list {
		files[i] = c.f
	}
	return files
}

// evict gives a file up if nobody uses it, and returns the bytes this frees.
func (s *Store) evict(f *file) (freed int64, ok bool) {
	return s.giveUp(f, func() bool { return f.refs == 0 })
}

// giveUp takes a file out of the index and off the disk if idle, which is
// called with file.mu held, says so.
func (s *Store) giveUp(f *file, idle func() bool) (freed int64, ok bool) {
	s.mu.Lock()
	f.mu.Lock()
	if ok = f.gone == nil && idle(); ok {
		s.unindex(f)
		f.gone = errEvicted
		f.endFetch(errEvicted)
		freed = f.blocks
	}
	f.mu.Unlock()
	s.mu.Unlock()
	if ok {
		f.erase()
		s.counters.evicted.Add(freed)
	}
	return freed, ok
}

// punch gives up bytes of large open files that were read already, those of f
// first, until n more fit.
func (s *Store) punch(f *file, n int64) {
	need := n + s.moreRoom()
	if s.room.cantPunch.Load() {
		return
	}
	for _, g := range append([]*file{f}, s.all()...) {
		if !s.over(need) && !s.short(need) {
			return
		}
		g.punch(need)
	}
}

// punch gives up about n bytes that no reader is near. Only files that are
// large and were never whole have such: a whole one may be mapped into the
// memory of a program, which outlives its handles, and this process too.
func (f *file) punch(n int64) {
	s := f.store
	f.retain() // so that the descriptor stays this file's
	defer f.release()
	f.disk.Lock()
	defer f.disk.Unlock()
	f.mu.Lock()
	data := f.data
	if data == nil || f.gone != nil || f.lent || f.whole || f.size < s.opts.WholeFileBelow && f.fits() {
		f.mu.Unlock()
		return
	}
	victims := f.behind(n)
	if len(victims) == 0 {
		f.mu.Unlock()
		return
	}
	held, durable := f.held.clone(), f.durable.clone()
	for _, v := range victims {
		f.held.remove(v)
		f.durable.remove(v)
	}
	f.whole, f.sums = false, nil
	f.epoch++
	f.mu.Unlock()

	// Until the record has forgotten them for good, the bytes must stay. That of a
	// file that is gone by now was not written, and may come back.
	err := f.save(true)
	f.mu.Lock()
	if err == nil {
		err = f.gone
	}
	f.mu.Unlock()
	untouched := err != nil
	for _, v := range victims {
		if err == nil {
			err = unix.Fallocate(int(data.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, v.lo, v.len())
		}
	}
	if err == nil {
		f.measure(data)
		return
	}
	s.log.Warn("can't give up a part of a large file", "path", f.path, "error", err)
	if !untouched {
		if !isUnsupported(err) {
			return // what was punched is unknown, so none of it is held
		}
		s.room.cantPunch.Store(true)
	}
	f.mu.Lock()
	f.held, f.durable = held, durable
	f.wake() // who began to wait for them meanwhile
	f.mu.Unlock()
	s.dirty.add(f)
}

func isUnsupported(err error) bool { return err == unix.EOPNOTSUPP || err == unix.ENOSYS }

// behind picks about n held bytes that are worth least: far from every reader
// and every stream. file.mu is held.
func (f *file) behind(n int64) []span {
	const page = 4096
	spare := f.held.clone()
	for _, c := range f.fetch.cursors {
		spare.remove(span{c.next - 4*slack, c.next + f.horizon(&c)})
	}
	for _, st := range f.fetch.streams {
		spare.remove(span{st.pos - slack, st.pos + 1})
	}
	for _, w := range f.fetch.waiters {
		spare.remove(w.span)
	}
	var victims []span
	for _, s := range spare.spans {
		s = span{(s.lo + page - 1) / page * page, s.hi / page * page}
		if s.len() < page {
			continue
		}
		s.hi = min(s.hi, s.lo+(n+page-1)/page*page)
		victims = append(victims, s)
		if n -= s.len(); n <= 0 {
			break
		}
	}
	return victims
}

// measure brings what is counted for the file in line with the blocks it has.
func (f *file) measure(data interface{ Fd() uintptr }) {
	var st unix.Stat_t
	if err := unix.Fstat(int(data.Fd()), &st); err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone != nil {
		return
	}
	now := st.Blocks*512 + metaCost
	f.store.room.used.Add(now - f.blocks)
	f.blocks = now
}
