package metadata

import (
	"container/list"
	"sync"

	"github.com/dgraph-io/ristretto/v2"
)

// memory holds directories in ristretto, whose cost is counted in bytes.
//
// Ristretto is a hint: it may drop or reject what it is given, never takes an
// item larger than all its room, and applies a Set later. So the directories in
// use right now are held beside it, as many as fit an eighth of the room and at
// least one, whatever its size: an `ls -l` asks for each of a directory's names.
type memory struct {
	// mu guards everything below, and makes sure that ristretto never has an
	// older value than was put last: it rejects the value of a second Set of a
	// key while the first is still queued, so each Set is waited for. Nothing
	// is done under it but memory operations.
	mu     sync.Mutex
	cache  *ristretto.Cache[string, *Directory]
	max    int64 // cost that ristretto can take at all
	recent *list.List
	byPath map[string]*list.Element // of recent; values are *Directory
	used   int64                    // cost of recent
	room   int64                    // what recent may cost
	loads  map[string]*load
	closed bool
}

// load is a read of one listing file that everybody who wants it waits for.
type load struct {
	done       chan struct{}
	d          *Directory // valid once done is closed; nil: nothing is held
	superseded bool       // d was put, or removed, since the load began
}

func newMemory(size int64) (*memory, error) {
	size = max(size, 4096)
	m := &memory{
		room:   size / 8,
		max:    size - size/8,
		recent: list.New(),
		byPath: make(map[string]*list.Element),
		loads:  make(map[string]*load),
	}
	cache, err := ristretto.NewCache(&ristretto.Config[string, *Directory]{
		// Ten counters for each small directory that fits; they take 3 bytes each.
		NumCounters:        min(max(size/256, 1<<10), 1<<22),
		MaxCost:            m.max,
		BufferItems:        64,
		IgnoreInternalCost: true, // it is part of Directory.cost
	})
	m.cache = cache
	return m, err
}

func (m *memory) get(path string) *Directory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.getLocked(path)
}

func (m *memory) getLocked(path string) *Directory {
	if m.closed {
		return nil
	}
	// Ristretto is asked in any case: it counts how popular a key is.
	d, ok := m.cache.Get(path)
	if e := m.byPath[path]; e != nil {
		m.recent.MoveToFront(e)
		return e.Value.(*Directory)
	}
	if !ok {
		return nil
	}
	m.touch(d)
	return d
}

// peek is get without making the directory one of those in use.
func (m *memory) peek(path string) *Directory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	if e := m.byPath[path]; e != nil {
		return e.Value.(*Directory)
	}
	d, _ := m.cache.Get(path)
	return d
}

func (m *memory) put(d *Directory) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.putLocked(d)
}

func (m *memory) putLocked(d *Directory) {
	if m.closed {
		return
	}
	if l := m.loads[d.path]; l != nil {
		l.superseded, l.d = true, d
	}
	m.touch(d)
	if d.cost > m.max {
		m.cache.Del(d.path)
	} else {
		m.cache.Set(d.path, d, d.cost)
	}
	m.cache.Wait()
}

func (m *memory) remove(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	if l := m.loads[path]; l != nil {
		l.superseded, l.d = true, nil
	}
	m.forget(m.byPath[path])
	m.cache.Del(path)
	m.cache.Wait()
}

// touch makes d the directory used last.
func (m *memory) touch(d *Directory) {
	m.forget(m.byPath[d.path])
	m.byPath[d.path] = m.recent.PushFront(d)
	m.used += d.cost
	for m.used > m.room && m.recent.Len() > 1 {
		m.forget(m.recent.Back())
	}
}

func (m *memory) forget(e *list.Element) {
	if e == nil {
		return
	}
	d := m.recent.Remove(e).(*Directory)
	delete(m.byPath, d.path)
	m.used -= d.cost
}

// begin joins the load of a directory's file. When mine is true the caller has
// to do it, and to call end.
func (m *memory) begin(path string) (l *load, mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.loads[path]; l != nil {
		return l, false
	}
	l = &load{done: make(chan struct{})}
	m.loads[path] = l
	return l, true
}

// end finishes a load with what was on disk, nil for nothing, and returns what
// is held now: something newer, when it came in the meantime.
func (m *memory) end(path string, l *load, d *Directory) *Directory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !l.superseded {
		l.d = d
		if d != nil {
			m.putLocked(d)
		}
	}
	delete(m.loads, path)
	close(l.done)
	return l.d
}

// usage is the number of directories in memory and their cost.
func (m *memory) usage() (count int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, 0
	}
	seen := make(map[*Directory]bool)
	add := func(d *Directory) {
		if !seen[d] {
			seen[d] = true
			count++
			bytes += d.cost
		}
	}
	m.cache.IterValues(func(d *Directory) bool {
		add(d)
		return false
	})
	for e := m.recent.Front(); e != nil; e = e.Next() {
		add(e.Value.(*Directory))
	}
	return count, bytes
}

func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.closed = true
	m.cache.Close()
	m.recent, m.byPath = list.New(), nil
}
