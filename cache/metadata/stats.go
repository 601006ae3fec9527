package metadata

import "sync/atomic"

// Stats are figures about a store since it was opened.
type Stats struct {
	InMemory    int    // directories held in memory
	MemoryBytes int64  // what they cost
	OnDisk      int    // listing files
	Hits        uint64 // directories served fresh from what is held
	Misses      uint64 // directories that had to be asked for
	Lists       uint64 // listings asked for, ahead or not
	Ahead       uint64 // of these, in the background
	Stats       uint64 // single names asked about
	Unparsed    uint64 // lines that could not be read in all listings
}

type counters struct {
	hits, misses, lists, ahead, stats, unparsed atomic.Uint64
}

// Stats counts what is held, for which it reads the folder on disk.
func (s *Store) Stats() Stats {
	c := &s.counters
	st := Stats{
		Hits:     c.hits.Load(),
		Misses:   c.misses.Load(),
		Lists:    c.lists.Load(),
		Ahead:    c.ahead.Load(),
		Stats:    c.stats.Load(),
		Unparsed: c.unparsed.Load(),
	}
	st.InMemory, st.MemoryBytes = s.memory.usage()
	st.OnDisk = s.disk.count()
	return st
}
