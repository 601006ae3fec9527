package e2e

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
)

// holds is how much of each kind a process has open: a file by its path, else
// "socket", "pipe" or "anon_inode".
func (p process) holds() map[string]int {
	kinds := map[string]int{}
	for _, f := range p.files() {
		kind, _, _ := strings.Cut(f, ":[")
		kinds[kind]++
	}
	return kinds
}

// TestIdleAgain: 16 readers of all of 400 files leave nothing open but the sessions
// that --connections allows.
func TestIdleAgain(t *testing.T) {
	f := &fixture{}
	for i := range 400 {
		f.text(fmt.Sprintf("dir%02d/file%03d.txt", i%20, i), strings.Repeat("content ", 1000+i))
	}
	s := serve(t, "datasus", f, options{})
	const connections = 4
	m := newPlace(t, plain).mount(s.url(""), "--connections", fmt.Sprint(connections))
	served := process{pid: m.proc.pid}
	before := served.holds()
	var readers sync.WaitGroup
	for r := range 16 {
		readers.Go(func() {
			for i := range f.files {
				file := f.files[(i*7+r*25)%len(f.files)]
				same(t, m.path(file.path), file.content)
			}
		})
	}
	readers.Wait()
	sockets := before["socket"]
	delete(before, "socket")
	var now map[string]int
	defer func() {
		if t.Failed() {
			t.Logf("before: %v and %d sockets\nnow: %v", before, sockets, now)
		}
	}()
	until(t, patience, "it has no more open than before the load, but sessions", func() bool {
		now = served.holds()
		others := maps.Clone(now)
		delete(others, "socket")
		return now["socket"] <= sockets+connections && maps.Equal(others, before)
	})
}
