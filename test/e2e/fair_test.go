package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// TestFairToUsers: when one user has a hundred reads waiting for the only
// session, another's read is the next but one at most: it waits for the transfer
// under way, and for one more that may have been chosen already.
func TestFairToUsers(t *testing.T) {
	const reads, crowd, single = 100, nobody, nobody - 1
	tree := ftptest.NewTree()
	for i := range reads {
		tree.WriteFile(fmt.Sprintf("crowd/%03d", i), []byte("crowd\n"), epoch)
	}
	tree.WriteFile("single/file", []byte("single\n"), epoch)
	s := serveTree(t, ftptest.DATASUS(), tree, options{})
	p := newPlace(t, plain)
	if err := os.Chmod(p.base, 0o755); err != nil {
		t.Fatal(err)
	}
	// Time does not decide here: nothing is given up while the gate is closed.
	m := p.mount(s.url(""), "--allow-other", "--connections", "1", "--timeout", "10m")
	names(t, m.path("crowd"))
	names(t, m.path("single"))

	gate := make(chan struct{})
	armed := s.Add(ftptest.Rule{Verb: "RETR", Path: "*", Times: 1, Action: ftptest.Wait(gate)})
	many := as(crowd, "sh", "-c", `for f in "$0"/*; do cat "$f" & done; wait`, m.path("crowd"))
	one := as(single, "cat", m.path("single/file"))
	waiting := func(n int) func() bool {
		return func() bool {
			var st struct{ Sessions struct{ Waiting int } }
			_, out, _ := m.run("status", "--json", m.dir)
			return json.Unmarshal([]byte(out), &st) == nil && st.Sessions.Waiting >= n
		}
	}
	if err := many.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the hundred wait", waiting(reads-1))
	if err := one.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the single one waits", waiting(reads))
	close(gate)
	if err := one.Wait(); err != nil {
		t.Errorf("the single read: %v", err)
	}
	if err := many.Wait(); err != nil {
		t.Errorf("the hundred reads: %v", err)
	}
	if armed.Fired() != 1 {
		t.Fatal("no transfer waited at the gate")
	}
	place := 0
	for _, c := range s.Commands() {
		if c.Verb != "RETR" {
			continue
		}
		if c.Path == "single/file" {
			break
		}
		place++
	}
	if place < 1 || place > 2 {
		t.Errorf("the single user was served after %d transfers of the other's %d", place, reads)
	}
}
