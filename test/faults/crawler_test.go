package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// A part of a file is held, and its listing by now tells another version: a
// program that opens it has the server asked which is right, a crawler does not.
func TestCrawlersAskNothing(t *testing.T) {
	const size = 8 * mib
	s := ftptest.New(t, ftptest.Options{Rate: 4 * mib})
	s.Tree().Generate("d/f", size, 1, epoch)
	m := newMounted(t, s, "--no-fetch-for", "head")
	m.start()
	path := filepath.Join(m.dir, "d/f")
	if err := m.check("d/f", s.Tree().Content("d/f"), 0, 4096); err != nil {
		t.Fatal(err)
	}
	m.unmount() // the kernel, too, would keep the name for as long as the listing
	s.Tree().Generate("d/f", size+1, 2, epoch.Add(time.Hour))
	m.start()
	if out, err := exec.Command(program(t), "refresh", filepath.Join(m.dir, "d")).CombinedOutput(); err != nil {
		t.Fatalf("refresh: %v: %s", err, out)
	}
	if fi, err := os.Stat(path); err != nil || fi.Size() != size+1 {
		t.Fatalf("after the refresh: %v, %v", fi, err)
	}
	asked := func() (n int) {
		for _, verb := range []string{"SIZE", "MDTM", "MLST", "RETR"} {
			n += s.CountPath(verb, "d/f")
		}
		return n
	}
	before := asked()
	for range 2 {
		out, err := exec.Command("head", "-c", "1", path).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "Permission denied") {
			t.Errorf("a crawler: %v, %s", err, out)
		}
	}
	if n := asked() - before; n != 0 {
		t.Errorf("%d commands for a crawler", n)
	}
	if err := m.check("d/f", s.Tree().Content("d/f"), 0, 4096); err != nil {
		t.Error(err)
	}
	if asked() == before {
		t.Error("nothing was asked for a user either")
	}
}
