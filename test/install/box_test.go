package install

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long anything that must end may take before it counts as hung.
const patience = 2 * time.Minute

// box is a copy of this machine, with namespaces and a systemd of its own. All
// that is changed in it is in memory, and gone when the test ends.
type box struct {
	t    *testing.T
	base string // where its parts are
	pid  int    // of its systemd
}

// outside makes the box: its files, over those of the machine, and a cgroup that
// its systemd takes for the root of all.
const outside = `
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$BASE"
mkdir "$BASE/upper" "$BASE/work" "$BASE/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$BASE/upper,workdir=$BASE/work" "$BASE/root"
mkdir "$CGROUP"
echo 0 >"$CGROUP/cgroup.procs"
exec unshare --cgroup sh -euc "$INSIDE"
`

// inside mounts what each machine has its own of, and becomes systemd. Settings of
// the kernel are shared with the machine, so they can't be written.
const inside = `
cd "$BASE/root"
mount -t proc proc proc
mount -o bind,ro proc/sys proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 none dev
mkdir dev/pts dev/shm
for d in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0" "fuse 10 229"; do
	set -- $d
	mknod -m 666 dev/$1 c $2 $3
done
mknod -m 600 dev/autofs c 10 "$(sed -n 's/ autofs$//p' /proc/misc)"
mount -t tmpfs -o mode=755 none run
mount -t tmpfs -o mode=1777 none tmp
mkdir -p etc/systemd/system
cat >etc/systemd/system/box.target <<EOT
[Unit]
DefaultDependencies=no
Wants=systemd-journald.service
EOT
: >etc/fstab
rm -f usr/sbin/policy-rc.d
exec env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /lib/systemd/systemd --unit=box.target --show-status=no
`

func boot(t *testing.T) *box {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test needs root")
	}
	b := &box{t: t, base: t.TempDir()}
	cgroup := "/sys/fs/cgroup"
	if _, err := os.Stat(cgroup + "/unified"); err == nil { // beside cgroups of version 1
		cgroup += "/unified"
	}
	cgroup = filepath.Join(cgroup, fmt.Sprintf("mirrorfs-box-%d", os.Getpid()))
	cmd := exec.Command("unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "sh", "-euc", outside)
	cmd.Env = append(os.Environ(), "BASE="+b.base, "CGROUP="+cgroup, "INSIDE="+inside)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it all that is in the box
		_ = cmd.Wait()
		removeCgroup(t, cgroup)
		if t.Failed() {
			t.Log(said.String())
		}
	})
	b.until("systemd runs", func() bool {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		b.pid, _ = strconv.Atoi(strings.TrimSpace(string(children)))
		if b.pid == 0 {
			return false
		}
		out, _ := b.command("systemctl is-active box.target").Output()
		return string(out) == "active\n"
	})
	return b
}

// removeCgroup takes the box's cgroups away once its processes are gone.
func removeCgroup(t *testing.T, dir string) {
	deadline := time.Now().Add(patience)
	for {
		err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error { return err })
		var dirs []string
		_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			err = unix.Rmdir(dirs[i])
		}
		if _, gone := os.Stat(dir); os.IsNotExist(gone) {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s is left: %v", dir, err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// command is a shell script in the box.
func (b *box) command(script string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	b.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "nsenter", "--target", strconv.Itoa(b.pid), "--mount", "--pid", "--uts", "--ipc", "--cgroup",
		"--root", "--wd", "sh", "-euc", script)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	return cmd
}

// try runs a shell script in the box.
func (b *box) try(script string) (out string, err error) {
	o, err := b.command(script).CombinedOutput()
	return string(o), err
}

// do runs a shell script that must succeed.
func (b *box) do(script string) string {
	b.t.Helper()
	out, err := b.try(script)
	if err != nil {
		journal, _ := b.try("journalctl --no-pager -n 40; systemctl --no-pager --failed; cat /proc/self/mounts | tail")
		b.t.Fatalf("%s: %v\n%s\n%s", script, err, out, journal)
	}
	return out
}

// want runs a shell script and compares what it prints.
func (b *box) want(script, want string) {
	b.t.Helper()
	if out := b.do(script); out != want {
		b.t.Errorf("%s: %q, want %q", script, out, want)
	}
}

// write makes a file in the box.
func (b *box) write(path, text string) {
	b.t.Helper()
	cmd := b.command("mkdir -p \"$(dirname '" + path + "')\"; cat >'" + path + "'")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("write %s: %v\n%s", path, err, out)
	}
}

// copy brings a file of the machine into the box, which has its own /tmp.
func (b *box) copy(from, to string) {
	b.t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		b.t.Fatal(err)
	}
	b.write(to, string(text))
}

// until waits for what nobody announces.
func (b *box) until(what string, cond func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// changed lists what differs from the machine and has a word in its path: what
// was added, and what was taken away.
func (b *box) changed(word string) []string {
	b.t.Helper()
	out := run(b.t, "/", "nsenter", "--target", strconv.Itoa(b.pid), "--mount",
		"find", b.base+"/upper", "-path", b.base+"/upper/*"+word+"*", "-printf", "/%P\n")
	return strings.Fields(out)
}
