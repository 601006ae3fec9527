package fs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"golang.org/x/sys/unix"
)

// fill gives dir n files whose names begin so, in one listing.
func (m *standIn) fill(dir, prefix string, n int) {
	m.relist(dir, func([]listing.Entry) []listing.Entry {
		es := make([]listing.Entry, n)
		for i := range es {
			name := fmt.Sprintf("%s%06d.dbc", prefix, i)
			es[i] = listing.Entry{Name: name, Raw: name, Type: listing.File, Size: int64(i) + 1, MTime: exactly(someTime)}
		}
		return es
	})
}

func (a *agent) list(dir string) []string {
	a.tb.Helper()
	fd := a.open(dir)
	defer a.close(fd)
	r := a.do(order{Do: "names", FD: fd})
	if r.Errno != 0 {
		a.tb.Fatalf("list %s: %v", dir, r.Errno)
	}
	return r.Names
}

func TestDirectoryOfFiftyThousand(t *testing.T) {
	m := newStandIn(t)
	m.fill("", "f", 50_000)
	dir, _ := mountIn(t, m)
	a := startAgent(t, "lister")
	for range 4 { // uncached, then kept, then served by the kernel
		got := a.list(dir)
		slices.Sort(got)
		if len(got) != 50_000 || got[0] != "f000000.dbc" || got[49_999] != "f049999.dbc" || len(slices.Compact(got)) != 50_000 {
			t.Fatalf("%d names, from %q to %q", len(got), got[0], got[len(got)-1])
		}
	}
	for _, i := range []int{0, 1, 777, 49_999} {
		st := a.do(order{Do: "stat", Path: filepath.Join(dir, fmt.Sprintf("f%06d.dbc", i))}).Stat
		if st.Size != int64(i)+1 {
			t.Errorf("file %d has size %d", i, st.Size)
		}
	}
}

// telldir and seekdir go back to the same place, rewinding to the beginning.
func TestSeekInDirectory(t *testing.T) {
	m := newStandIn(t)
	m.fill("", "f", 5_000)
	dir, _ := mountIn(t, m)
	a := startAgent(t, "seeker")
	for round := range 4 {
		fd := a.open(dir)
		var read []string
		var after []string
		var mark int64
		for i := 0; ; i++ {
			if i == 3 {
				mark = a.do(order{Do: "tell", FD: fd}).Stat.Size
				after = nil
			}
			r := a.do(order{Do: "getdents", FD: fd, Len: 2000})
			if r.Errno != 0 {
				t.Fatal(r.Errno)
			}
			if len(r.Names) == 0 {
				break
			}
			read, after = append(read, r.Names...), append(after, r.Names...)
		}
		if len(read) != 5_000 {
			t.Fatalf("round %d: %d names", round, len(read))
		}
		a.do(order{Do: "rewind", FD: fd, Off: mark})
		if again := a.do(order{Do: "names", FD: fd}).Names; !slices.Equal(again, after) {
			t.Errorf("round %d: after seekdir %d names, want %d", round, len(again), len(after))
		}
		a.do(order{Do: "rewind", FD: fd})
		if again := a.do(order{Do: "names", FD: fd}).Names; !slices.Equal(again, read) {
			t.Errorf("round %d: after rewinddir %d names, want %d", round, len(again), len(read))
		}
		a.close(fd)
	}
}

// A handle is pinned to its listing once it was read from; one opened later, and
// one rewound, see the new listing; the kernel never joins the two.
func TestListingChangesUnderAnOpenDirectory(t *testing.T) {
	m := newStandIn(t)
	m.fill("", "old", 3_000)
	dir, _ := mountIn(t, m)
	a, b := startAgent(t, "first"), startAgent(t, "second")
	all := func(names []string, prefix string, n int) {
		t.Helper()
		if len(names) != n {
			t.Errorf("%d names, want %d", len(names), n)
		}
		for _, name := range names {
			if !strings.HasPrefix(name, prefix) {
				t.Fatalf("%q among the %s ones", name, prefix)
			}
		}
	}
	for range 2 { // first without, then with the kernel keeping it
		all(a.list(dir), "old", 3_000)
	}
	m.fill("", "older", 3_000)
	pinned := a.open(dir)
	begun := a.do(order{Do: "getdents", FD: pinned, Len: 4000}).Names
	early := b.open(dir) // open, but not read before the change

	m.fill("", "new", 2_000)
	all(b.list(dir), "new", 2_000)
	all(append(begun, a.do(order{Do: "names", FD: pinned}).Names...), "older", 3_000)
	all(b.do(order{Do: "names", FD: early}).Names, "new", 2_000)
	for range 3 {
		all(b.list(dir), "new", 2_000)
	}
	a.do(order{Do: "rewind", FD: pinned})
	all(a.do(order{Do: "names", FD: pinned}).Names, "new", 2_000)
	for range 3 {
		all(b.list(dir), "new", 2_000)
	}
}

// A handle that is rewound reads the new listing; what the kernel kept of the old
// one is not taken for it.
func TestRewoundToNewListing(t *testing.T) {
	m := newStandIn(t)
	m.fill("", "old", 100)
	dir, _ := mountIn(t, m)
	a, b := startAgent(t, "first"), startAgent(t, "second")
	fd := a.open(dir)
	a.do(order{Do: "names", FD: fd})
	for range 2 { // the kernel keeps it
		b.list(dir)
	}
	m.fill("", "new", 100)
	a.do(order{Do: "rewind", FD: fd})
	for who, names := range map[string][]string{"the rewound handle": a.do(order{Do: "names", FD: fd}).Names, "a later one": b.list(dir)} {
		if len(names) != 100 || slices.ContainsFunc(names, func(n string) bool { return !strings.HasPrefix(n, "new") }) {
			t.Errorf("%s reads %d names, %q first", who, len(names), names[:min(1, len(names))])
		}
	}
}

// The root opens while the server is silent and its listing is old, which df needs
// and nothing more; reading it asks the server, once, and tells what fails. Others
// are asked for when they are opened.
func TestRootOpensAtOnce(t *testing.T) {
	m := newStandIn(t)
	m.setFresh(0)
	m.fill("", "old", 10)
	m.mkdir("", "d")
	m.file("d/x", nil, someTime)
	dir, _ := mountIn(t, m)
	a := startAgent(t, "user")
	a.close(a.open(dir))
	fd := a.open(dir)
	if n := m.counted("listed "); n != 0 {
		t.Errorf("opening asked %d times", n)
	}
	m.fill("", "new", 10)
	if names := a.do(order{Do: "names", FD: fd}).Names; len(names) != 10 || !strings.HasPrefix(names[0], "new") {
		t.Errorf("read %q", names)
	}
	if n := m.counted("listed "); n != 1 {
		t.Errorf("reading asked %d times", n)
	}
	a.do(order{Do: "rewind", FD: fd})
	if names := a.do(order{Do: "names", FD: fd}).Names; len(names) != 10 {
		t.Errorf("rewound, read %q", names)
	}
	a.close(fd)
	m.setFail("", os.NewSyscallError("connect", syscall.ECONNREFUSED))
	fd = a.open(dir)
	if r := a.do(order{Do: "names", FD: fd}); r.Errno != syscall.ECONNREFUSED {
		t.Errorf("reading what can't be had: %v, %q", r.Errno, r.Names)
	}
	m.setFail("", nil)
	if r := a.do(order{Do: "names", FD: fd}); r.Errno != 0 || len(r.Names) != 10 {
		t.Errorf("reading it afterwards: %v, %q", r.Errno, r.Names)
	}
	a.close(fd)
}

// The numbers in listings, of ".", ".." and of stat are the same.
func TestInodeNumbersAgree(t *testing.T) {
	m := newStandIn(t)
	m.mkdir("", "d")
	m.mkdir("d", "sub")
	m.file("d/file", []byte("x"), someTime)
	m.put("d", listing.Entry{Name: "link", Type: listing.Symlink, Target: "file", Size: 4, MTime: exactly(someTime)})
	dir, _ := mountIn(t, m)
	out, err := exec.Command("ls", "-aiU1", filepath.Join(dir, "d")).Output()
	if err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, "stater")
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 5 {
		t.Fatalf("%q", lines)
	}
	seen := map[uint64]bool{}
	for _, line := range lines {
		var ino uint64
		var name string
		fmt.Sscan(line, &ino, &name)
		st := a.do(order{Do: "stat", Path: filepath.Join(dir, "d") + "/" + name}).Stat
		if st.Ino != ino || seen[ino] {
			t.Errorf("%s is %d in the listing and %d in stat", name, ino, st.Ino)
		}
		seen[ino] = true
	}
	// A name that was never looked up, and one in another case.
	if st := a.do(order{Do: "stat", Path: dir}).Stat; st.Ino != rootIno {
		t.Errorf("the root is %d", st.Ino)
	}
}

// Known names and absent ones cost nothing while their listing is fresh, and
// are asked for again when it is not.
func TestKernelKeepsNames(t *testing.T) {
	m := newStandIn(t)
	m.file("there", []byte("x"), someTime)
	dir, _ := mountIn(t, m)
	a := startAgent(t, "stater")
	there, absent := order{Do: "stat", Path: filepath.Join(dir, "there")}, order{Do: "stat", Path: filepath.Join(dir, "absent")}
	for range 200 {
		if r := a.do(there); r.Errno != 0 {
			t.Fatal(r.Errno)
		}
		if r := a.do(absent); r.Errno != syscall.ENOENT {
			t.Fatal(r.Errno)
		}
	}
	if n, k := m.counted("lookup there"), m.counted("lookup absent"); n != 1 || k != 1 {
		t.Errorf("looked up %d and %d times", n, k)
	}

	m.setFresh(0)
	m.mkdir("", "short")
	m.file("short/there", []byte("x"), someTime)
	there.Path, absent.Path = filepath.Join(dir, "short/there"), filepath.Join(dir, "short/absent")
	for range 5 {
		a.do(there)
		a.do(absent)
	}
	if n, k := m.counted("lookup short/there"), m.counted("lookup short/absent"); n != 5 || k != 5 {
		t.Errorf("expired names were looked up %d and %d times", n, k)
	}
	m.file("short/absent", []byte("came"), someTime)
	if r := a.do(absent); r.Errno != 0 || r.Stat.Size != 4 {
		t.Errorf("the file that came: %v, %d bytes", r.Errno, r.Stat.Size)
	}
}

// A failure is never an empty directory or a missing name.
func TestFailuresAreTold(t *testing.T) {
	m := newStandIn(t)
	m.mkdir("", "down")
	m.setFail("down", fmt.Errorf("dial: %w", os.NewSyscallError("connect", syscall.ECONNREFUSED)))
	dir, _ := mountIn(t, m)
	a := startAgent(t, "user")
	if r := a.do(order{Do: "open", Path: filepath.Join(dir, "down")}); r.Errno != syscall.ECONNREFUSED {
		t.Errorf("open: %v", r.Errno)
	}
	if r := a.do(order{Do: "stat", Path: filepath.Join(dir, "down/x")}); r.Errno != syscall.ECONNREFUSED {
		t.Errorf("stat: %v", r.Errno)
	}
	m.setFail("down", nil)
	if r := a.do(order{Do: "stat", Path: filepath.Join(dir, "down/x")}); r.Errno != syscall.ENOENT {
		t.Errorf("stat afterwards: %v", r.Errno)
	}
}

// Any case finds a file and its one inode; a directory has an inode per
// spelling, with one number, so that a shell in it stays where it is.
func TestCaseDoesNotMatter(t *testing.T) {
	m := newStandIn(t)
	m.ignoreCase = true
	m.relist("", nil)
	m.mkdir("", "Dados")
	m.file("Dados/POBR2020.DBC", []byte("content"), someTime)
	dir, s := mountIn(t, m)
	a, b := startAgent(t, "a"), startAgent(t, "b")
	if r := a.do(order{Do: "chdir", Path: filepath.Join(dir, "Dados")}); r.Errno != 0 {
		t.Fatal(r.Errno)
	}
	inos := map[uint64]bool{}
	for _, d := range []string{"Dados", "dados", "DADOS"} {
		st := b.do(order{Do: "stat", Path: filepath.Join(dir, d)}).Stat
		inos[st.Ino] = true
		for _, f := range []string{"POBR2020.DBC", "pobr2020.dbc"} {
			if got, errno := b.read(filepath.Join(dir, d, f)); got != "content" || errno != 0 {
				t.Errorf("%s/%s: %q %v", d, f, got, errno)
			}
		}
	}
	if len(inos) != 1 {
		t.Errorf("%d numbers for one directory", len(inos))
	}
	if cwd := a.do(order{Do: "getcwd"}); cwd.Names[0] != filepath.Join(dir, "Dados") {
		t.Errorf("the working directory became %q", cwd.Names)
	}
	s.m.nodes.mu.Lock()
	files, dirs := len(s.m.nodes.files), len(s.m.nodes.dirs)
	s.m.nodes.mu.Unlock()
	if files != 1 || dirs != 3 {
		t.Errorf("%d files and %d directories are live", files, dirs)
	}
	a.do(order{Do: "chdir", Path: "/"})
}

// Two look-ups of a directory at once, one by READDIRPLUS, make one node of it:
// another one would take it away under those who are in it.
func TestOneNodeForADirectory(t *testing.T) {
	m := &mount{nodes: newTable()}
	root := newDirNode(m, "", "")
	newKernel(root, m, nodeOptions(Options{Log: logTo(t)}))
	n := m.nodes.dir(root, "d", "d", someTime)
	if again := m.nodes.dir(root, "d", "d", someTime); again != n {
		t.Error("a second node")
	}
	if other := m.nodes.dir(root, "d", "D", someTime); other == n || other.StableAttr().Ino != n.StableAttr().Ino {
		t.Error("another spelling is not a node of its own with the same number")
	}
	// Forgotten here while go-fuse still has it.
	root.AddChild("d", n.EmbeddedInode(), true)
	m.nodes.forgetDir(n)
	if again := m.nodes.dir(root, "d", "d", someTime); again != n {
		t.Error("a second node after it was forgotten in between")
	}
}

// What the kernel forgets is forgotten.
func TestForgetting(t *testing.T) {
	m := newStandIn(t)
	m.fill("", "f", 2_000)
	m.mkdir("", "d")
	m.file("d/x", []byte("x"), someTime)
	dir, s := mountIn(t, m)
	if out, err := exec.Command("ls", "-lR", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	live := s.Nodes
	if n := live(); n != 2_002 {
		t.Fatalf("%d nodes are live", n)
	}
	// A remount makes the kernel drop what it does not use.
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); live() > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d nodes are still live", live())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A directory becomes a file, a symlink, and a directory again.
func TestNameChangesItsKind(t *testing.T) {
	m := newStandIn(t)
	m.setFresh(0)
	m.relist("", nil)
	m.mkdir("", "x")
	m.file("x/inside", []byte("in it"), someTime)
	dir, _ := mountIn(t, m)
	a := startAgent(t, "user")
	path := filepath.Join(dir, "x")
	for range 2 {
		if got, errno := a.read(path + "/inside"); got != "in it" || errno != 0 {
			t.Errorf("below the directory: %q, %v", got, errno)
		}
		fd := a.open(path)
		m.file("x", []byte("a file"), someTime)
		if got, errno := a.read(path); got != "a file" || errno != 0 {
			t.Errorf("the file: %q, %v", got, errno)
		}
		if r := a.do(order{Do: "stat", Path: path + "/inside"}); r.Errno != syscall.ENOTDIR {
			t.Errorf("below the file: %v", r.Errno)
		}
		a.close(fd)
		m.put("", listing.Entry{Name: "x", Type: listing.Symlink, Target: "nowhere", MTime: exactly(someTime)})
		if st := a.do(order{Do: "stat", Path: path}).Stat; st.Mode&syscall.S_IFMT != syscall.S_IFLNK {
			t.Errorf("the symlink has mode %o", st.Mode)
		}
		m.mkdir("", "x")
	}
}

// A name the kernel would not take does not spoil its directory.
func TestNameTooLong(t *testing.T) {
	m := newStandIn(t)
	m.file("ok", nil, someTime)
	m.file(strings.Repeat("n", 100_000), nil, someTime)
	m.file(strings.Repeat("m", maxName), nil, someTime)
	dir, _ := mountIn(t, m)
	a := startAgent(t, "lister")
	if got := a.list(dir); len(got) != 2 {
		t.Errorf("%d names", len(got))
	}
	if r := a.do(order{Do: "stat", Path: filepath.Join(dir, strings.Repeat("m", maxName))}); r.Errno != 0 {
		t.Error(r.Errno)
	}
}
