package main

import (
	"runtime/debug"
	"time"
)

// The heap is listings, which --metadata-memory bounds, and nodes, which only
// the kernel bounds, by forgetting. It is collected when it has grown by a
// share of what lives. With few nodes a half keeps the process near the first
// bound at little cost; with many a half would be more than all else together,
// and each collection pays for a longer walk.
const (
	shareFew, shareMany = 50, 25 // percent
	manyNodes           = 100_000
	heapLook            = 5 * time.Second // how often it is looked which it is

	// A block that is never touched takes no memory and counts as living. So
	// what is made anew by the first look into a large folder is not collected
	// again and again while the heap is small, but once per 16 MiB.
	ballast = 32 << 20
)

// heap sets how often garbage is collected.
type heap struct {
	share   int
	ballast []byte
}

func newHeap() *heap {
	h := &heap{shareFew, make([]byte, ballast)}
	debug.SetGCPercent(h.share)
	return h
}

// tune fits it to the number of nodes. Between the half of many and many it
// stays as it is.
func (h *heap) tune(nodes int) {
	share := h.share
	switch {
	case nodes >= manyNodes:
		share = shareMany
	case nodes < manyNodes/2:
		share = shareFew
	}
	if share == h.share {
		return
	}
	h.share = share
	debug.SetGCPercent(share)
	if share == shareFew {
		debug.FreeOSMemory() // the system is short of it, or would not have made the kernel forget
	}
}
