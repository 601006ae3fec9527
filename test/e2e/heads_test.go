package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// insideNetwork tells a test run that it has a network namespace to itself.
const insideNetwork = "MIRRORFS_E2E_OWN_NETWORK"

// ownNetwork reports whether the test has a network namespace to itself. If not,
// it runs the test again in one, and takes over how it ends.
func ownNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideNetwork) != "" {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "-n", "sh", "-c", `ip link set lo up && exec "$@"`, "sh",
		os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), insideNetwork+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("in a network of its own:\n%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("%v", err)
	}
	return false
}

// received is how many bytes came over loopback in this network namespace:
// content, commands, and the headers of both.
func received(t testing.TB) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var n int64
		if name, counts, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name == "lo" {
			if _, err := fmt.Sscan(counts, &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no loopback")
	return 0
}

// TestHeads: a look at the heads of 1 000 files of 20 MB does not fetch them: at
// most 1 MiB of each comes over the wire. The servers' logs are no measure of
// that: they count what a server put into its kernel's send buffer, which on
// loopback grows to megabytes that are never sent. So the test has a network of
// its own and counts the bytes in it.
func TestHeads(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	const files, size = 1000, 20_000_000
	f := &fixture{}
	for i := range files {
		f.add(fmt.Sprintf("file-%04d.bin", i), headed{size, ftptest.Generated(4096, uint64(i))})
	}
	f.disk(t)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := serve(t, kind, f, options{})
			m := newPlace(t, plain).mount(s.url(""))
			names(t, m.dir)
			begin := received(t)
			var most int64
			for _, file := range f.files {
				before := received(t)
				in, err := os.Open(m.path(file.path))
				if err != nil {
					t.Fatal(err)
				}
				sameRange(t, in, file.content, 0, 4096)
				in.Close()
				most = max(most, received(t)-before)
			}
			m.settled()
			m.unmount()
			all := received(t) - begin
			if most > 1<<20 || all > files<<20 {
				t.Errorf("%d bytes came for 1000 looks at 4 KiB, up to %d for one; want 1 MiB for each at most", all, most)
			}
			sent := s.sent()
			if len(sent) != files {
				t.Errorf("the server's log has %d files, want %d", len(sent), files)
			}
			t.Logf("on the wire: %d KiB a file, up to %d; by the server's log: %d KiB", all/files>>10, most>>10, total(sent)/files>>10)
		})
	}
}
