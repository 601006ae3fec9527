package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// mounter is a program that mounts a mirror.
type mounter struct {
	name    string
	command func(s *server, dir, cache string) []string
	env     []string
	alone   bool // as nobody, in a mount namespace where everybody may open /dev/fuse
}

// nobody is the user who may nothing.
const nobody = 65534

// asNobody is a shell script that runs its words, after the first, as nobody.
// The first is where to make a device that anybody may open, as on a desktop.
const asNobody = `set -e
test -e "$1" || mknod -m 666 "$1" c 10 229
mount --bind "$1" /dev/fuse
shift
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"`

func mirrorfs(bin string, connections int) mounter {
	return mounter{
		name: fmt.Sprintf("mirrorfs, %d connections", connections),
		command: func(s *server, dir, cache string) []string {
			return []string{bin, "-f", "--connections", strconv.Itoa(connections), "--cache-dir", cache,
				"--cache-size", "20G", "--log-file", filepath.Join(cache, "log"), s.url(), dir}
		},
	}
}

// unprivileged is m as a user who is not root runs it.
func unprivileged(m mounter) mounter {
	m.name += ", unprivileged"
	m.alone = os.Geteuid() == 0
	return m
}

func rclone(name string, flags ...string) mounter {
	return mounter{
		name: name,
		command: func(s *server, dir, cache string) []string {
			host, port, _ := strings.Cut(s.addr, ":")
			remote := fmt.Sprintf(":ftp,host=%s,port=%s,user=anonymous,pass=%s:", host, port, obscured)
			words := []string{"rclone", "mount", "--vfs-cache-mode", "full", "--cache-dir", cache, "--read-only"}
			return append(append(words, flags...), remote, dir)
		},
		env: []string{"RCLONE_CONFIG=" + os.DevNull},
	}
}

// obscured is the word "anonymous" as rclone wants passwords on a command line
// (rclone obscure anonymous).
const obscured = "pJcgX8x66fC7XoxbxqZdu44fWIIzgqh7vA"

// mount is one mounted mirror.
type mount struct {
	dir, cache string
	alone      bool // in a mount namespace of its own, for nobody's eyes
	cmd        *exec.Cmd
	exited     chan struct{}
	closing    sync.Once
}

// mountFresh mounts s by m below work with an empty cache and returns when the
// mount shows the mirror.
func (m mounter) mountFresh(ctx context.Context, work string, s *server) (*mount, error) {
	base, err := os.MkdirTemp(work, "mount-")
	if err != nil {
		return nil, err
	}
	mt := &mount{dir: filepath.Join(base, "dir"), cache: filepath.Join(base, "cache"), exited: make(chan struct{})}
	for _, d := range []string{mt.dir, mt.cache} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, err
		}
	}
	words := append(enter(s.ns), m.command(s, mt.dir, mt.cache)...)
	if m.alone {
		mt.alone = true
		words = append([]string{"unshare", "--mount", "sh", "-c", asNobody, "sh", filepath.Join(work, "fuse")}, words...)
	}
	mt.cmd = exec.Command(words[0], words[1:]...)
	mt.cmd.Env = append(os.Environ(), m.env...)
	mt.cmd.Stderr = os.Stderr
	if m.alone {
		mt.cmd.Env = append(mt.cmd.Env, "HOME="+base)
		for _, d := range []string{base, mt.dir, mt.cache} {
			if err := os.Chown(d, nobody, nobody); err != nil {
				return nil, err
			}
		}
	}
	if err := mt.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", m.name, err)
	}
	go func() { // joined by close, through exited
		_ = mt.cmd.Wait()
		close(mt.exited)
	}()
	for range 600 {
		if mt.mounted() {
			return mt, nil
		}
		select {
		case <-mt.exited:
			return nil, fmt.Errorf("%s ended before it mounted", m.name)
		case <-ctx.Done():
			mt.close()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	mt.close()
	return nil, fmt.Errorf("%s did not mount within 30 s", m.name)
}

// do runs load on the mount and returns how long that took. On a mount that
// only nobody may read, load is to read one file, and a process of nobody does.
func (mt *mount) do(load func(root string) error, file string) (float64, error) {
	if !mt.alone {
		return timed(func() error { return load(mt.dir) })
	}
	out, err := exec.Command("nsenter", "--mount", fmt.Sprintf("--target=%d", mt.cmd.Process.Pid), "--",
		"setpriv", "--reuid", strconv.Itoa(nobody), "--regid", strconv.Itoa(nobody), "--clear-groups", "--",
		filepath.Join(filepath.Dir(filepath.Dir(mt.dir)), "bench"), "-read", filepath.Join(mt.dir, file)).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}

// mounted asks the mount table, not the mount, so that nothing is warmed.
func (mt *mount) mounted() bool {
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", mt.cmd.Process.Pid))
	return err == nil && strings.Contains(string(table), " "+mt.dir+" ")
}

// peakMemory is the daemon's largest resident size so far, in bytes.
func (mt *mount) peakMemory() int64 { return mt.memory("VmHWM") }

// memory is a size from the daemon's status in /proc, in bytes.
func (mt *mount) memory(field string) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", mt.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, field+": %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}

// close unmounts, ends the daemon and removes its cache. It may be called more
// than once.
func (mt *mount) close() { mt.closing.Do(mt.end) }

func (mt *mount) end() {
	if mt.alone {
		_ = mt.cmd.Process.Signal(syscall.SIGTERM)
	} else {
		_ = exec.Command("fusermount3", "-u", "-z", mt.dir).Run()
	}
	select {
	case <-mt.exited:
	case <-time.After(20 * time.Second):
		_ = mt.cmd.Process.Kill()
		<-mt.exited
	}
	_ = os.RemoveAll(filepath.Dir(mt.dir))
}
