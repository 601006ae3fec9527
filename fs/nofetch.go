package fs

import (
	"bytes"
	"os"
	"path"
	"strconv"
	"sync"
	"time"
)

// DefaultNoFetchFor are the process names of programs that read every folder
// they can find, to index it. Names are as in /proc/PID/comm: 15 bytes at most.
func DefaultNoFetchFor() []string {
	return []string{
		"updatedb", "updatedb.*", "plocate*", "mlocate*", "slocate", "locate",
		"baloo*", "tracker-*", "localsearch*", "recollindex", "mdworker*",
	}
}

// callers tells crawlers from others by the name of their process, and
// remembers it for a moment: a thread that asks, asks often.
type callers struct {
	patterns []string

	mu    sync.Mutex // guards known
	known map[uint32]knownCaller
}

type knownCaller struct {
	crawler bool
	until   time.Time
}

// knownFor is short because a shell that forks and then runs a crawler keeps
// its process id; maxKnown bounds the memory.
const (
	knownFor = time.Second
	maxKnown = 1024
)

func newCallers(patterns []string) *callers {
	if patterns == nil {
		patterns = DefaultNoFetchFor()
	}
	return &callers{patterns: patterns, known: make(map[uint32]knownCaller)}
}

// crawler reports whether the thread tid is of a program that nothing should
// be fetched for.
func (c *callers) crawler(tid uint32) bool {
	if len(c.patterns) == 0 || tid == 0 {
		return false
	}
	now := time.Now()
	c.mu.Lock()
	k, ok := c.known[tid]
	c.mu.Unlock()
	if ok && now.Before(k.until) {
		return k.crawler
	}
	k = knownCaller{c.matches(tid), now.Add(knownFor)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxKnown {
		clear(c.known)
	}
	c.known[tid] = k
	return k.crawler
}

// matches compares the names of the thread and of its process, which is its
// first thread's: a program may name its threads as it likes.
func (c *callers) matches(tid uint32) bool {
	proc := "/proc/" + strconv.FormatUint(uint64(tid), 10)
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		return false
	}
	if c.listed(statusField(status, "Name:")) {
		return true
	}
	tgid := statusField(status, "Tgid:")
	if tgid == strconv.FormatUint(uint64(tid), 10) {
		return false
	}
	comm, err := os.ReadFile("/proc/" + tgid + "/comm")
	return err == nil && c.listed(string(bytes.TrimSpace(comm)))
}

func (c *callers) listed(comm string) bool {
	for _, p := range c.patterns {
		if ok, err := path.Match(p, comm); ok && err == nil {
			return true
		}
		// comm has the first 15 bytes of longer names.
		if len(comm) == 15 && len(p) > 15 && p[:15] == comm {
			return true
		}
	}
	return false
}

// mirrorCaller is on whose behalf the request asks the Mirror.
func (r *request) mirrorCaller() Caller {
	return Caller{UID: r.caller.Uid, NoFetch: r.m.callers.crawler(r.caller.Pid)}
}
