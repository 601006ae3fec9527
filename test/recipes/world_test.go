package recipes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/mountinfo"
	"golang.org/x/sys/unix"
)

// repository is the source tree, deps the folder of scripts/test-deps.sh.
var repository, deps string

// hosts are the servers that the texts name, by the addresses they have here.
var hosts = map[string]string{
	"ftp.datasus.gov.br":   "127.0.0.2",
	"ftp.ncbi.nlm.nih.gov": "127.0.0.3",
	"ftp.ibiblio.org":      "127.0.0.4",
}

// newcomer is who types.
const newcomer = "maria"

// enterWorld makes the namespaces this process is in the world of the tests. What
// is changed in it is kept in memory below dir and goes with the process.
func enterWorld(dir string) error {
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	repository = filepath.Join(here, "../..")
	if deps, err = filepath.EvalSymlinks(filepath.Join(repository, ".deps")); err != nil {
		return fmt.Errorf("%w: scripts/test-deps.sh brings it", err)
	}
	w := &world{dir: dir}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := leaveMirrors(); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, d := range []string{"/etc", "/home", "/mnt", "/root", "/srv", "/usr", "/var"} {
		if err := w.overlay(d); err != nil {
			return err
		}
	}
	for _, d := range []string{"/run", "/var/cache", "/home/" + newcomer} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", d, "tmpfs", 0, "mode=755"); err != nil {
			return err
		}
	}
	if err := w.network(); err != nil {
		return err
	}
	if err := w.device(); err != nil {
		return err
	}
	if err := w.people(); err != nil {
		return err
	}
	if err := w.toolchain(); err != nil {
		return err
	}
	return os.Chdir(here)
}

// leaveMirrors takes away this world's copies of mirrors that are mounted on the
// machine: they would keep those from ending.
func leaveMirrors() error {
	all, err := mountinfo.Read()
	if err != nil {
		return err
	}
	for _, m := range all {
		if strings.HasPrefix(m.Type, "fuse.") {
			if err := unix.Unmount(m.Point, unix.MNT_DETACH); err != nil {
				return fmt.Errorf("%s: %w", m.Point, err)
			}
		}
	}
	return nil
}

type world struct {
	dir      string
	overlays []string
}

// overlay makes a folder one whose changes nobody else sees.
func (w *world) overlay(dir string) error {
	n := strconv.Itoa(len(w.overlays))
	upper, work := filepath.Join(w.dir, n, "upper"), filepath.Join(w.dir, n, "work")
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if err := os.Chmod(upper, info.Mode().Perm()); err != nil {
		return err
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
	if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
		return fmt.Errorf("overlay on %s: %w", dir, err)
	}
	w.overlays = append(w.overlays, dir)
	return nil
}

// open lets everybody through to a path.
func (w *world) open(path string) error {
	for at := path; at != "/"; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		if info.Mode()&0o005 == 0o005 {
			continue
		}
		if err := w.changeable(at); err != nil {
			return err
		}
		if err := os.Chmod(at, info.Mode().Perm()|0o055); err != nil {
			return err
		}
	}
	return nil
}

// changeable sees to it that a folder is on an overlay.
func (w *world) changeable(dir string) error {
	for _, o := range w.overlays {
		if dir == o || strings.HasPrefix(dir, o+"/") {
			return nil
		}
	}
	return w.overlay(dir)
}

func (w *world) network() error {
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("ip link: %w: %s", err, out)
	}
	if err := unix.Sethostname([]byte("newcomer")); err != nil {
		return err
	}
	table := "127.0.0.1 localhost newcomer\n"
	for host, address := range hosts {
		table += address + " " + host + "\n"
	}
	return os.WriteFile("/etc/hosts", []byte(table), 0o644)
}

// device lets users open /dev/fuse, as udev does on their machines.
func (w *world) device() error {
	fuse := filepath.Join(w.dir, "fuse")
	if err := unix.Mknod(fuse, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))); err != nil {
		return fmt.Errorf("/dev/fuse: %w", err)
	}
	return errors.Join(os.Chmod(fuse, 0o666), unix.Mount(fuse, "/dev/fuse", "", unix.MS_BIND, ""))
}

// people makes the newcomer, who may use sudo, with a clone of the project.
func (w *world) people() error {
	home := "/home/" + newcomer
	if out, err := exec.Command("useradd", "--no-create-home", "--home-dir", home, "--shell", "/bin/bash", newcomer).CombinedOutput(); err != nil {
		return fmt.Errorf("useradd: %w: %s", err, out)
	}
	if err := os.MkdirAll("/etc/sudoers.d", 0o750); err != nil {
		return err
	}
	if err := os.WriteFile("/etc/sudoers.d/"+newcomer, []byte(newcomer+" ALL=(ALL) NOPASSWD: ALL\n"), 0o440); err != nil {
		return err
	}
	clone := filepath.Join(home, "mirrorfs")
	err := filepath.WalkDir(repository, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(repository, path)
		if rel == ".git" || rel == ".deps" || rel == "bin" || rel == "dist" {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		to := filepath.Join(clone, rel)
		if e.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, info.Mode().Perm())
	})
	if err != nil {
		return err
	}
	if out, err := exec.Command("chown", "-R", newcomer+":", home).CombinedOutput(); err != nil {
		return fmt.Errorf("chown: %w: %s", err, out)
	}
	return nil
}

// toolchain lets the newcomer use Go, with what has been downloaded and built, and
// the tests' Python, which is as if she had activated that environment.
func (w *world) toolchain() error {
	out, err := exec.Command("go", "env", "GOROOT", "GOMODCACHE", "GOCACHE").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	paths := strings.Fields(string(out))
	if len(paths) != 3 {
		return fmt.Errorf("go env: %q", out)
	}
	goroot, modules, builds := paths[0], paths[1], paths[2]
	python, err := filepath.EvalSymlinks(filepath.Join(deps, "venv/bin/python"))
	if err != nil {
		return err
	}
	for _, p := range []string{goroot, modules, builds, filepath.Join(deps, "venv/bin"), filepath.Dir(python)} {
		if err := w.open(p); err != nil {
			return err
		}
	}
	if err := w.changeable(builds); err != nil {
		return err
	}
	folders, err := filepath.Glob(filepath.Join(builds, "??"))
	if err != nil {
		return err
	}
	for _, f := range append(folders, builds) {
		if err := os.Chmod(f, 0o777); err != nil {
			return err
		}
	}
	typing = []string{
		"HOME=/home/" + newcomer, "USER=" + newcomer, "LOGNAME=" + newcomer, "SHELL=/bin/bash", "LANG=C.UTF-8", "TERM=dumb",
		"PATH=" + filepath.Join(deps, "venv/bin") + ":/usr/local/bin:/usr/bin:/bin:" + filepath.Join(goroot, "bin"),
		"GOMODCACHE=" + modules, "GOCACHE=" + builds, "GOFLAGS=-buildvcs=false", "GOPROXY=off", "GOTOOLCHAIN=local",
	}
	return nil
}

// typing is the environment of the newcomer's shell.
var typing []string

// as returns how to run a process as a user, with their groups.
func as(name string) (*syscall.SysProcAttr, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	number := func(s string) uint32 {
		n, _ := strconv.ParseUint(s, 10, 32)
		return uint32(n)
	}
	c := &syscall.Credential{Uid: number(u.Uid), Gid: number(u.Gid)}
	for _, id := range ids {
		c.Groups = append(c.Groups, number(id))
	}
	return &syscall.SysProcAttr{Credential: c}, nil
}

// leaveWorld names the processes that the tests left, and ends them.
func leaveWorld() string {
	var left []string
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left = left[:0]
		for pid := range inhabitants() {
			cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			left = append(left, fmt.Sprintf("%d %s", pid, strings.ReplaceAll(string(cmdline), "\x00", " ")))
		}
		if len(left) == 0 {
			return ""
		}
		if time.Now().After(deadline) {
			break
		}
	}
	for pid := range inhabitants() {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	return strings.Join(left, "; ")
}

// inhabitants are the other processes of this world.
func inhabitants() map[int]bool {
	own, _ := os.Readlink("/proc/self/ns/mnt")
	all := map[int]bool{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid)); err == nil && ns == own {
			all[pid] = true
		}
	}
	return all
}
