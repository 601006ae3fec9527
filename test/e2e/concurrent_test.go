package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// wholeFileBelow is the default of --whole-file-below.
const wholeFileBelow = 64 << 20

// crowdSizes are the sizes of the 64 files of the crowd: empty, tiny, odd, and
// up to 80 MB, some 300 MB in all.
func crowdSizes() []int64 {
	sizes := []int64{0, 0, 1, 7, 511, 4096, 4097, 65535, 65536, 131072, 262143, 262144, 262145, 1 << 20, 80_000_000, 40_000_000}
	r := rand.New(rand.NewPCG(64, 300))
	for len(sizes) < 64 {
		sizes = append(sizes, int64(100_000+r.IntN(7_000_000)))
	}
	return sizes
}

// crowd makes the 64 files, in two folders.
var crowd = sync.OnceValue(func() *fixture {
	f := &fixture{}
	for i, size := range crowdSizes() {
		f.add(fmt.Sprintf("%c/file-%02d.bin", 'a'+i%2, i), ftptest.Generated(size, uint64(i)))
	}
	return f
})

// crowdSums are the files' true sums, by path.
var crowdSums = sync.OnceValue(func() map[string]string {
	sums := map[string]string{}
	for _, file := range crowd().files {
		sums[file.path] = sum(discard{}, file.content)
	}
	return sums
})

// discard is a testing.TB for fixtures that are made before any test needs them.
type discard struct{ testing.TB }

func (discard) Helper()           {}
func (discard) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// TestCrowd: 32 processes read 64 files at once, each wanted by four of them,
// through three sessions, from a cold cache.
func TestCrowd(t *testing.T) {
	crowd().disk(t)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := serve(t, kind, crowd(), options{})
			for round := range rounds(t) {
				readCrowd(t, s, 3, round)
			}
		})
	}
}

// TestCrowdConnections: the same through other numbers of sessions.
func TestCrowdConnections(t *testing.T) {
	s := serve(t, "vsftpd", crowd(), options{})
	for _, n := range []int{1, 2, 16} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			for round := range rounds(t) {
				readCrowd(t, s, n, round)
			}
		})
	}
}

func readCrowd(t *testing.T, s server, connections, round int) {
	t.Helper()
	allClosed(t, s)
	s.reset()
	m := newPlace(t, plain).mount(s.url(""), "--connections", strconv.Itoa(connections))
	files := crowd().files
	random := rand.New(rand.NewPCG(uint64(connections), uint64(round)))
	var wg sync.WaitGroup
	for range 4 { // eight readers share all files among them, four times
		order := random.Perm(len(files))
		for share := range slices.Chunk(order, 8) {
			var mine []string
			for _, i := range share {
				mine = append(mine, files[i].path)
			}
			wg.Go(func() { checkSums(t, m.dir, mine) })
		}
	}
	wg.Wait()
	m.settled()
	if n := s.sessions(); n > connections {
		t.Errorf("%d control connections at once, %d are allowed", n, connections)
	}
	if o := s.overlaps(); len(o) > 0 {
		t.Errorf("commands during a transfer of the same session: %v", o)
	}
	m.unmount()
	if sent, size := total(s.sent()), crowd().size(); sent > size*105/100 || sent < size {
		t.Errorf("the server sent %d bytes for %d", sent, size)
	}
	log, err := os.ReadFile(m.log)
	if err != nil {
		t.Fatal(err)
	}
	offsets := retrieved(s)
	for _, file := range files {
		name, size := filepath.Base(file.path), file.content.Size()
		// A listing that somebody waits for may set a transfer aside, which goes on later.
		most := 1 + strings.Count(string(log), `msg="a transfer makes way" path=`+file.path+" ")
		if at := offsets[name]; size < wholeFileBelow && len(at) > most || size > 0 && len(at) == 0 {
			t.Errorf("%s of %d bytes: %d RETR from %v, want %d", name, size, len(at), at, most)
		}
	}
}

// checkSums reads files in a process of its own and compares their sums with
// the truth.
func checkSums(t *testing.T, dir string, paths []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sha256sum", paths...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Errorf("sha256sum %v: %v\n%s", paths, err, &errs)
		return
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(paths) {
		t.Errorf("sha256sum %v said %d lines:\n%s", paths, len(lines), &out)
	}
	for _, line := range lines {
		got, path, _ := strings.Cut(line, "  ")
		if want := crowdSums()[path]; got != want {
			size := int64(-1)
			if fi, err := os.Stat(filepath.Join(dir, path)); err == nil {
				size = fi.Size()
			}
			t.Errorf("%s (%d bytes): sha256 %s, want %s", path, size, got, want)
		}
	}
}
