package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// TestLargeDirectory: a folder of 50 000 entries costs one listing, whatever is
// done with its entries, and little memory.
func TestLargeDirectory(t *testing.T) {
	const entries = 50_000
	f := &fixture{}
	for i := range entries {
		f.add(fmt.Sprintf("many/PASP%05d.dbc", i), ftptest.Bytes([]byte("entry")[:i%6]))
	}
	f.disk(t)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := serve(t, kind, f, options{})
			m := newPlace(t, plain).mount(s.url(""))
			before := listings(s)
			out, err := exec.Command("ls", "-f", m.path("many")).Output()
			if err != nil {
				t.Fatal(err)
			}
			shown := map[string]bool{}
			for line := range strings.Lines(string(out)) {
				shown[strings.TrimSuffix(line, "\n")] = true
			}
			if n := strings.Count(string(out), "\n"); n != entries+2 || len(shown) != n {
				t.Errorf("ls -f shows %d names, %d of them different, want %d", n, len(shown), entries+2)
			}
			if n := listings(s) - before; n != 1 {
				t.Errorf("ls -f cost %d listings, want 1", n)
			}
			asked := len(questions(s))
			for i := range 1000 {
				name := fmt.Sprintf("PASP%05d.dbc", i*50)
				fi, err := os.Lstat(m.path("many/" + name))
				if err != nil {
					t.Fatal(err)
				}
				if want := int64(i * 50 % 6); fi.Size() != want || !fi.Mode().IsRegular() {
					t.Fatalf("%s: %v of %d bytes, want a file of %d", name, fi.Mode(), fi.Size(), want)
				}
			}
			if n := len(questions(s)); n != asked {
				t.Errorf("1000 stats cost commands: %v", questions(s)[asked:])
			}
			for range 200 {
				if _, err := os.Lstat(m.path("many/missing.dbc")); !errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("a missing name: %v", err)
				}
			}
			for i := range 200 {
				if _, err := os.Lstat(m.path(fmt.Sprintf("many/missing-%d.dbc", i))); !errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("a missing name: %v", err)
				}
			}
			if n := len(questions(s)); n != asked {
				t.Errorf("stats of missing names cost commands: %v", questions(s)[asked:])
			}
			if out, err := exec.Command("ls", "-l", m.path("many")).Output(); err != nil {
				t.Error(err)
			} else if n := strings.Count(string(out), "\n"); n != entries+1 {
				t.Errorf("ls -l shows %d lines, want %d", n, entries+1)
			}
			if n := len(questions(s)); n != asked {
				t.Errorf("ls -l cost commands: %v", questions(s)[asked:])
			}
			if peak := m.peakMemory(); peak >= 150<<20 {
				t.Errorf("peak memory of %d MiB, want less than 150", peak>>20)
			}
		})
	}
}
