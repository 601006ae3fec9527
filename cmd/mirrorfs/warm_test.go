package main

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/control"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
	"github.com/mirrorfs/mirrorfs/internal/mountinfo"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// TestWarmScripts runs testdata/warm/*.txt, in which the server can be made to
// fail. Its tree is warmTree's.
func TestWarmScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/warm",
		Setup: func(env *testscript.Env) error {
			tb := env.T().(testing.TB)
			server := ftptest.New(tb, ftptest.Options{Tree: warmTree()})
			env.Setenv("SERVER", server.Addr())
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Values["server"], env.Values["fault"] = server, new(*ftptest.Armed)
			env.Defer(func() { sweep(tb, env.WorkDir) })
			for _, dir := range []string{"home", "mnt"} {
				if err := os.MkdirAll(filepath.Join(env.WorkDir, dir), 0o700); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":      exitCode,
			"mounted":   mounted,
			"fault":     fault,
			"calm":      calm,
			"meet":      meet,
			"sent":      sent,
			"same":      same,
			"interrupt": interrupt,
			"replace":   replace,
			"damage":    damage,
			"sealed":    sealed,
			"terminal":  onPseudoTerminal,
		},
	})
}

var longAgo = time.Date(2023, 5, 6, 7, 8, 9, 0, time.UTC)

// warmTree has 6 files with content below data, of 575 000 bytes, and two links.
func warmTree() *ftptest.Tree {
	tree := ftptest.NewTree()
	for i, f := range []struct {
		name string
		size int64
	}{
		{"data/a.bin", 300_000}, {"data/b.bin", 100_000}, {"data/deep/c.bin", 70_000},
		{"data/deep/er/d.bin", 50_000}, {"data/caf\xe9.bin", 30_000}, {"data/with space.bin", 25_000},
		{"big/e.bin", 3 << 20}, {"big/f.bin", 3 << 20},
	} {
		tree.Generate(f.name, f.size, uint64(i+1), longAgo)
	}
	tree.WriteFile("data/empty", nil, longAgo)
	tree.Symlink("data/link.bin", "a.bin", longAgo)
	tree.Symlink("data/current", "deep", longAgo)
	return tree
}

func warmServer(ts *testscript.TestScript) *ftptest.Server {
	return ts.Value("server").(*ftptest.Server)
}

// fault has the server cut or refuse transfers of a file: fault PATH HOW TIMES,
// where HOW is cut@BYTES, stall@BYTES or a reply, and 0 times means always.
func fault(ts *testscript.TestScript, _ bool, args []string) {
	times, err := strconv.Atoi(args[2])
	ts.Check(err)
	r := ftptest.Rule{Verb: "RETR", Path: args[0], Times: times}
	how, at, _ := strings.Cut(args[1], "@")
	n, _ := strconv.ParseInt(at, 10, 64)
	switch how {
	case "cut":
		r.Action = ftptest.CutAt(n, ftptest.With426)
	case "stall":
		r.Action = ftptest.StallAt(n, nil)
	default:
		r.Reply = args[1]
	}
	*ts.Value("fault").(**ftptest.Armed) = warmServer(ts).Add(r)
}

func calm(ts *testscript.TestScript, _ bool, _ []string) { warmServer(ts).ClearRules() }

// meet lets the server answer nothing about the files and their folders before it was
// asked about each: meet PATH...
func meet(ts *testscript.TestScript, _ bool, args []string) {
	all := make(chan struct{})
	var missing atomic.Int32
	missing.Store(int32(len(args)))
	for _, path := range args {
		var asked sync.Once
		warmServer(ts).Add(ftptest.Rule{Path: "*", Action: ftptest.Wait(all), Match: func(c *ftptest.Cmd) bool {
			if c.Path != path && c.Path != filepath.Dir(path) || c.Verb == "RETR" {
				return false
			}
			asked.Do(func() {
				if missing.Add(-1) == 0 {
					close(all)
				}
			})
			return true
		}})
	}
}

// sent checks how many transfers of a file were begun: sent PATH N
func sent(ts *testscript.TestScript, _ bool, args []string) {
	if got := strconv.Itoa(warmServer(ts).CountPath("RETR", args[0])); got != args[1] {
		ts.Fatalf("%s was transferred %s times, want %s", args[0], got, args[1])
	}
}

// same checks that a file has the bytes of one on the server: same FILE PATH
func same(ts *testscript.TestScript, _ bool, args []string) {
	got, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	if !bytes.Equal(got, warmServer(ts).Tree().ReadFile(strings.ReplaceAll(args[1], `\xe9`, "\xe9"))) {
		ts.Fatalf("%s has other bytes than %s", args[0], args[1])
	}
}

// replace puts another content in place of a file's, of the same size: replace PATH
func replace(ts *testscript.TestScript, _ bool, args []string) {
	tree := warmServer(ts).Tree()
	e, ok := tree.Stat(args[0])
	if !ok {
		ts.Fatalf("no %s", args[0])
	}
	tree.Generate(args[0], e.Size(), 99, longAgo.Add(400*24*time.Hour))
}

// interrupt runs mirrorfs, sends SIGINT once the latest fault has begun, and
// checks the exit code: interrupt ARGS...
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	self, err := os.Executable()
	ts.Check(err)
	// The program under test is this binary under another name.
	link := ts.MkAbs("mirrorfs")
	if err := os.Symlink(self, link); err != nil && !os.IsExist(err) {
		ts.Check(err)
	}
	cmd := exec.Command(link, args...)
	cmd.Dir = ts.MkAbs(".")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	ts.Check(cmd.Start())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ts.Check((*ts.Value("fault").(**ftptest.Armed)).Await(ctx, 1))
	ts.Check(cmd.Process.Signal(unix.SIGINT))
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		ts.Fatalf("interrupted: %v\n%s", err, &out)
	}
	if !strings.Contains(out.String(), "interrupted") {
		ts.Fatalf("it does not say so: %s", &out)
	}
}

// sealed waits until all that is held by the mirror on DIR has checksums: sealed DIR
func sealed(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ts.Check(ts.Exec("mirrorfs", "cache", "verify", args[0]))
		if strings.Contains(ts.ReadFile("stdout"), " 0 have no checksums") {
			return
		}
	}
	ts.Fatalf("some files never got checksums: %s", ts.ReadFile("stdout"))
}

// damage changes a byte of the largest content of a cache: damage DIR
func damage(ts *testscript.TestScript, _ bool, args []string) {
	files, err := filepath.Glob(ts.MkAbs(args[0]) + "/v1/*/content/*.dat")
	ts.Check(err)
	sizes := make(map[int64]string)
	for _, f := range files {
		info, err := os.Stat(f)
		ts.Check(err)
		sizes[info.Size()] = f
	}
	if len(sizes) == 0 {
		ts.Fatalf("nothing is held")
	}
	f, err := os.OpenFile(sizes[slices.Max(slices.Collect(maps.Keys(sizes)))], os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], 1000)
	ts.Check(err)
	_, err = f.WriteAt([]byte{b[0] ^ 1}, 1000)
	ts.Check(err)
}

func TestLocate(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"m", "other", "plain/x"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"into": "m/a/b", "abs": filepath.Join(dir, "m"), "chain": "into", "loop": "loop", "plain/up": "../m/z",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	mounts := []mountinfo.Mount{
		{Point: "/", Type: "ext4"},
		{Point: filepath.Join(dir, "m"), Type: fsType},
		{Point: filepath.Join(dir, "other"), Type: "tmpfs"},
	}
	for path, want := range map[string]string{
		"m": "", "m/a/b": "a/b", "m/../m/x": "x", "into": "a/b", "into/c": "a/b/c", "abs/q": "q",
		"chain/d": "a/b/d", "plain/up/w": "z/w", "m/not/here": "not/here",
	} {
		if l, err := locate(filepath.Join(dir, path), mounts); err != nil || l.below != want || l.mount.Point != mounts[1].Point {
			t.Errorf("%s: %+v, %v; want %q", path, l, err, want)
		}
	}
	for _, path := range []string{"loop", "other/x", "plain/x", "none/x", "."} {
		if l, err := locate(filepath.Join(dir, path), mounts); codeOf(err) != exitMountpoint {
			t.Errorf("%s: %+v, %v", path, l, err)
		}
	}
}

func TestOnlyTheOwnerManages(t *testing.T) {
	c := &controls{}
	other := uint32(os.Geteuid()) + 1
	for _, r := range []control.WarmRequest{{Pin: true}, {Evict: true}} {
		if err := c.Warm(t.Context(), other, r, nil); !errors.Is(err, errNotOwner) {
			t.Errorf("%+v by another user: %v", r, err)
		}
	}
	if _, err := c.CacheRoom(t.Context(), other, control.RoomRequest{All: true}); !errors.Is(err, errNotOwner) {
		t.Errorf("clear by another user: %v", err)
	}
	if err := c.CacheVerify(t.Context(), other, nil); !errors.Is(err, errNotOwner) {
		t.Errorf("verify by another user: %v", err)
	}
	if !mayManage(0) || !mayManage(uint32(os.Geteuid())) || mayManage(other) {
		t.Error("root and the owner may, others may not")
	}
}

// TestAdmit: others are let in as the kernel lets them read.
func TestAdmit(t *testing.T) {
	const owner, group = 1000, 100
	for _, c := range []struct {
		allowOther bool
		umask      octal
		uid        uint32
		groups     []uint32
		may        bool
	}{
		{false, 0, 5, nil, false},
		{true, 0o022, 5, nil, true},
		{true, 0o077, 5, nil, false},
		{true, 0o077, owner, nil, true},
		{true, 0o027, 5, []uint32{7, group}, true},
		{true, 0o027, 5, []uint32{7}, false},
		{true, 0o026, 5, nil, false},             // x alone lists nothing
		{true, 0o023, 5, nil, false},             // r alone opens nothing
		{true, 0o070, 5, []uint32{group}, false}, // the group is told apart before others
		{true, 0o700, owner, []uint32{group}, false},
		{false, 0o777, 0, nil, true},
		{false, 0o777, uint32(os.Geteuid()), nil, true},
	} {
		m := &controls{plan: &plan{settings: settings{allowOther: c.allowOther, umask: c.umask, uid: id{n: owner}, gid: id{n: group}}}}
		if err := m.Admit(control.Caller{UID: c.uid, Groups: c.groups}); (err == nil) != c.may {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestShorten(t *testing.T) {
	for path, want := range map[string]string{
		"a/b": "a/b", "0123456789": "0123456789", "0123456789A": "01…456789A", "caféé/0123456789": "ca…3456789",
	} {
		if got := shorten(path, 10); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
