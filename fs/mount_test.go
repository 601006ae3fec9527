package fs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMountTable(t *testing.T) {
	m := newStandIn(t)
	dir, s := mountIn(t, m, func(o *Options) {
		o.AllowOther = true
		o.KernelOptions = []string{"noexec", "noatime"}
		o.ReadAhead = 2 << 20
	})
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var line string
	for l := range strings.Lines(string(b)) {
		if strings.Contains(l, " "+dir+" ") {
			line = l
		}
	}
	for _, want := range []string{
		" ro,nosuid,nodev,noexec,noatime", " - fuse.mirrorfs ftp://ftp.example.org/pub ro,",
		"default_permissions", "allow_other", "max_read=1048576",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in %q", want, line)
		}
	}
	ahead, err := os.ReadFile("/sys/class/bdi/" + s.device + "/read_ahead_kb")
	if err != nil || strings.TrimSpace(string(ahead)) != "2048" {
		t.Errorf("read-ahead %q, %v", ahead, err)
	}
	control := t.TempDir()
	if err := unix.Mount("fusectl", control, "fusectl", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(control, unix.MNT_DETACH)
	background, err := os.ReadFile(filepath.Join(control, minorOf(s.device), "max_background"))
	if n, _ := strconv.Atoi(strings.TrimSpace(string(background))); err != nil || n < 512 {
		t.Errorf("%q reads may be under way, %v; want 512 or more", background, err)
	}
	if s.Dir() != dir {
		t.Errorf("mounted at %q, want %q", s.Dir(), dir)
	}
}

func TestRefusedMounts(t *testing.T) {
	m := newStandIn(t)
	mounted, _ := mountIn(t, m)
	tmp := t.TempDir()
	file, full := filepath.Join(tmp, "file"), filepath.Join(tmp, "full")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.MkdirAll(filepath.Join(full, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir     string
		options []string
		reason  Reason
		is      error
	}{
		{filepath.Join(tmp, "missing"), nil, Missing, iofs.ErrNotExist},
		{file, nil, NotADirectory, unix.ENOTDIR},
		{full, nil, NotEmpty, nil},
		{mounted, nil, AlreadyMounted, nil},
		{t.TempDir(), []string{"nonsense=1"}, BadOption, unix.EINVAL},
	} {
		s, err := Mount(c.dir, m, Options{URL: "ftp://h/", Log: logTo(t), KernelOptions: c.options})
		if err == nil {
			s.Unmount()
			t.Errorf("mounted on %s", c.dir)
			continue
		}
		var e *MountError
		if !errors.As(err, &e) || e.Reason != c.reason || e.Advice == "" || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: reason %v, %v; %#v", c.dir, c.reason, err, e)
		}
	}
	s, err := Mount(full, m, Options{URL: "ftp://h/", Log: logTo(t), AllowNonEmpty: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unmount(); err != nil {
		t.Error(err)
	}
}

// mountCommand runs a command that ends up as a process that mounts an empty
// mirror on dir.
func mountCommand(t *testing.T, cmd *exec.Cmd, dir string, env ...string) (said func() string, stdin io.Closer, _ *exec.Cmd) {
	t.Helper()
	cmd.Env = append(append(os.Environ(), agentEnv+"=mount", agentEnv+"_DIR="+dir, "GORACE=atexit_sleep_ms=0"), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	return func() string { lines.Scan(); return lines.Text() }, in, cmd
}

// A mount whose process was killed is taken over by the next.
func TestDeadMountIsTakenOver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	said, _, cmd := mountCommand(t, exec.Command(self), dir)
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	if s := said(); s != "mounted" {
		t.Fatal(s)
	}
	cmd.Process.Kill()
	cmd.Wait()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != unix.ENOTCONN {
		t.Fatalf("the dead mount says %v", err)
	}
	s, err := Mount(dir, newStandIn(t), Options{URL: "ftp://h/", Log: logTo(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unmount(); err != nil {
		t.Error(err)
	}
	if err := unix.Stat(dir, &st); err != nil {
		t.Error(err)
	}
}

// Without root, fusermount3 mounts; what it says is told. The process lives in
// a mount namespace of its own in which everybody may open /dev/fuse, as on
// most machines.
func TestMountWithoutRoot(t *testing.T) {
	const nobody = 65534
	dir, err := os.MkdirTemp("/tmp", "mirrorfs-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	own, other, program := filepath.Join(dir, "own, with space"), filepath.Join(dir, "other"), filepath.Join(dir, "program")
	if out, err := exec.Command("cp", self, program).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	err = errors.Join(os.Chmod(dir, 0o755), os.Mkdir(own, 0o755), os.Chown(own, nobody, nobody), os.Mkdir(other, 0o755), os.Chmod(program, 0o755))
	if err != nil {
		t.Fatal(err)
	}
	script := `set -e; cd "$0"
		[ -e fuse ] || mknod fuse c 10 229; chmod 666 fuse; mount --make-rprivate /; mount --bind fuse /dev/fuse
		[ -z "$NO_PATH" ] || unset PATH
		exec /usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups ./program`
	start := func(at string, env ...string) (func() string, io.Closer, *exec.Cmd) {
		return mountCommand(t, exec.Command("unshare", "-m", "sh", "-c", script, dir), at, env...)
	}

	said, stdin, cmd := start(own)
	if s := said(); s != "mounted" {
		t.Fatal(s)
	}
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", cmd.Process.Pid))
	if err != nil || !strings.Contains(string(table), `/own,\040with\040space ro,nosuid,nodev,relatime`) ||
		!strings.Contains(string(table), "- fuse.mirrorfs ftp://ftp.example.org/pub ro,user_id=65534,group_id=65534,default_permissions") {
		t.Errorf("%v, mount table:\n%s", err, table)
	}
	stdin.Close()
	if s := said(); s != "unmounted" {
		t.Error(s)
	}

	for _, c := range []struct {
		dir, env string
		want     string
	}{
		{other, "", fmt.Sprintf("refused %d ", NotOwner)},
		{own, agentEnv + "_OTHER=1", fmt.Sprintf("refused %d ", NoAllowOther)},
		{own, agentEnv + "_OPTIONS=nonsense=1", fmt.Sprintf("refused %d ", BadOption)},
		{own, agentEnv + "_OPTIONS=noexec;noatime", "mounted"},
		{own, "NO_PATH=1", "mounted"},
	} {
		said, stdin, _ := start(c.dir, c.env)
		if s := said(); !strings.HasPrefix(s, c.want) || c.want != "mounted" && strings.HasSuffix(s, "| ") {
			t.Errorf("%v: %s", c, s)
		}
		stdin.Close()
	}
}

func TestUnmountOfABusyMount(t *testing.T) {
	m := newStandIn(t)
	m.file("f", []byte("in use"), someTime)
	release := m.stuck("stuck", "never comes")
	defer release()
	dir, s := mountIn(t, m)
	a, b := startAgent(t, "user"), startAgent(t, "waiter")
	fd := a.open(filepath.Join(dir, "f"))
	waiting := make(chan report, 1)
	go func() { waiting <- b.do(order{Do: "read", Path: filepath.Join(dir, "stuck")}) }()
	waitFor(t, "the read", func() bool { return m.counted("read") > 0 })

	err := s.Unmount()
	var e *MountError
	if !errors.As(err, &e) || e.Reason != Busy || !errors.Is(err, unix.EBUSY) || e.Advice == "" {
		t.Fatalf("unmount of a busy mount: %v", err)
	}
	if got, errno := a.pread(fd, 0, 6); string(got) != "in use" || errno != 0 {
		t.Errorf("the refused unmount broke a handle: %q, %v", got, errno)
	}
	if err := s.Abandon(); err != nil {
		t.Fatal(err)
	}
	s.Wait() // although files are open and a read waits
	if r := <-waiting; r.Errno == 0 {
		t.Error("the waiting read was answered")
	}
	if got, errno := a.pread(fd, 4096, 6); errno == 0 && len(got) > 0 {
		t.Errorf("an abandoned handle reads %q", got)
	}
	if s.Dir() != "" {
		t.Errorf("still mounted at %s", s.Dir())
	}
	if err := errors.Join(s.Abandon(), s.Unmount()); err != nil {
		t.Errorf("again: %v", err)
	}
}

// Somebody else unmounts: umount, umount -l with a file open, fusermount3 -u.
func TestUnmountedFromOutside(t *testing.T) {
	for _, how := range [][]string{{"umount"}, {"umount", "-l"}, {"fusermount3", "-u"}, {"umount", "-f"}} {
		m := newStandIn(t)
		m.file("f", []byte("in use"), someTime)
		dir, s := mountIn(t, m)
		a := startAgent(t, "user")
		fd := a.open(filepath.Join(dir, "f"))
		lazy := len(how) > 1 && how[1] == "-l"
		if !lazy {
			a.close(fd)
		}
		// The kernel closes asynchronously, so a moment may pass.
		waitFor(t, strings.Join(how, " "), func() bool {
			return exec.Command(how[0], append(how[1:], dir)...).Run() == nil
		})
		if lazy {
			if got, errno := a.pread(fd, 0, 6); string(got) != "in use" || errno != 0 {
				t.Errorf("after umount -l: %q, %v", got, errno)
			}
			select {
			case <-s.Done():
				t.Error("the server ended under an open file")
			default:
			}
			a.close(fd)
		}
		select {
		case <-s.Done():
		case <-time.After(60 * time.Second):
			t.Fatalf("%v: the server goes on", how)
		}
	}
}

// A mount that has left the tree while something uses it does not keep its
// server from ending: Unmount says that it is busy, Abandon breaks it off. The
// process lives in a mount namespace of its own that has the kernel's control
// files.
func TestDetachedMountIsAbandoned(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const script = `mount -t fusectl none /sys/fs/fuse/connections && exec "$0"`
	for name, detach := range map[string]func(t *testing.T, pid, dir string){
		"umount -l": func(t *testing.T, pid, dir string) {
			fd, err := unix.Open("/proc/"+pid+"/root"+dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			if out, err := exec.Command("nsenter", "-t", pid, "-m", "umount", "-l", dir).CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
		},
		"a copy elsewhere": func(t *testing.T, pid, _ string) {
			cmd := exec.Command("nsenter", "-t", pid, "-m", "unshare", "-m", "sh", "-c", "echo copied; exec cat")
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { in.Close(); cmd.Wait() })
			if _, err := io.ReadFull(out, make([]byte, len("copied\n"))); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "mnt")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			said, stdin, cmd := mountCommand(t, exec.Command("unshare", "-m", "sh", "-c", script, self), dir)
			if s := said(); s != "mounted" {
				t.Fatal(s)
			}
			killer := time.AfterFunc(60*time.Second, func() { cmd.Process.Kill() }) // a server that hangs says nothing
			defer killer.Stop()
			detach(t, fmt.Sprint(cmd.Process.Pid), dir)
			stdin.Close()
			if s := said(); !strings.HasPrefix(s, "unmount ") || !strings.Contains(s, "busy") {
				t.Fatalf("unmount: %q", s)
			}
			if s := said(); s != "abandon <nil>" {
				t.Errorf("abandon: %q", s)
			}
			if s := said(); s != "ended" {
				t.Errorf("after abandon: %q", s)
			}
		})
	}
}

// The kernel gives the number of a mount that is gone to the next one. The
// server of the first must leave that alone.
func TestServerLeavesOtherMountsAlone(t *testing.T) {
	m := newStandIn(t)
	_, first := mountIn(t, m)
	device := first.device
	if err := first.Unmount(); err != nil {
		t.Fatal(err)
	}
	var second *Server
	waitFor(t, "the number to be given again", func() bool {
		_, second = mountIn(t, m)
		if second.device == device {
			return true
		}
		// The lowest that is free is given: one below stays taken until the end.
		if minor(t, second.device) > minor(t, device) {
			if err := second.Unmount(); err != nil {
				t.Fatal(err)
			}
		}
		return false
	})
	if dir := first.Dir(); dir != "" {
		t.Errorf("the first one believes it is mounted on %s", dir)
	}
	if err := errors.Join(first.Unmount(), first.Abandon()); err != nil {
		t.Error(err)
	}
	if second.Dir() == "" {
		t.Error("the second one was unmounted")
	}
}

// minor is the second part of a device as the mount table has it.
func minor(t *testing.T, device string) int {
	t.Helper()
	_, part, _ := strings.Cut(device, ":")
	n, err := strconv.Atoi(part)
	if err != nil {
		t.Fatalf("device %q: %v", device, err)
	}
	return n
}

// An aborted connection leaves no dead mount.
func TestAbortedConnection(t *testing.T) {
	dir, s := mountIn(t, newStandIn(t))
	fd, err := unix.Open(dir, unix.O_RDONLY, 0) // keeps umount -f from unmounting
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Unmount(dir, unix.MNT_FORCE); err != unix.EBUSY {
		t.Fatalf("umount -f: %v", err)
	}
	s.Wait()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || s.Dir() != "" {
		t.Errorf("left behind at %q: %v", s.Dir(), err)
	}
}
