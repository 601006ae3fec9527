// Package e2e holds the acceptance tests of mirrorfs: they build the program,
// mount real and misbehaving FTP servers with it through the kernel, and read
// the mounts with the programs people use.
//
// A test takes a server (server_test.go), mounts it (mount_test.go) and compares
// what programs read with the truth the fixtures were made from
// (fixture_test.go). What it cost is read from the servers' own logs. After
// every test the harness checks that no mount, process or open cache file is left.
//
// MIRRORFS_E2E_ROUNDS repeats the long tests; make soak sets it.
// MIRRORFS_E2E_CONNECTIONS is the --connections of every mount whose test does
// not set its own: all must hold with 1 as with 16.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

const connectionsEnv = "MIRRORFS_E2E_CONNECTIONS"

// work is the folder below which everything of this run lives.
var work string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mirrorfs-e2e-")
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755) // servers run as other users
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	work = dir
	code := m.Run()
	if left := leftovers(work); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "left behind after all tests:", left)
		code = 1
	}
	if err := os.RemoveAll(work); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// program is a build of mirrorfs, made when first wanted.
type program struct {
	name string
	args []string
	once sync.Once
	path string
	err  error
}

var (
	plain = &program{name: "plain"}
	raced = &program{name: "race", args: []string{"-race"}} // reports data races into the mount's folder
)

func (p *program) build(t testing.TB) string {
	t.Helper()
	p.once.Do(func() {
		p.path = filepath.Join(work, p.name, "mirrorfs")
		args := append([]string{"build", "-o", p.path}, p.args...)
		out, err := exec.Command("go", append(args, "../../cmd/mirrorfs")...).CombinedOutput()
		if err != nil {
			p.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.path
}

// rounds is how often the long tests repeat themselves.
func rounds(t testing.TB) int {
	s := os.Getenv("MIRRORFS_E2E_ROUNDS")
	if s == "" {
		return 1
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("MIRRORFS_E2E_ROUNDS=%q is not a number of rounds", s)
	}
	return n
}

// sandbox gives a test a folder of its own, and checks at its end, after all
// that the test registered later was cleaned up, that nothing is left of it.
func sandbox(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(work, "t-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, l := range leftovers(dir) {
			t.Error("left behind: " + l)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
