package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// mounter is a program that mounts a mirror.
type mounter struct {
	name    string
	command func(s *server, dir, cache string) []string
	env     []string
	uid     int // 0, or the user it runs as: without CAP_SYS_ADMIN
}

func mirrorfs(bin string, connections int) mounter {
	return mounter{
		name: fmt.Sprintf("mirrorfs, %d connections", connections),
		command: func(s *server, dir, cache string) []string {
			return []string{bin, "-f", "--connections", strconv.Itoa(connections), "--cache-dir", cache,
				"--cache-size", "20G", "--log-file", filepath.Join(cache, "log"), s.url(), dir}
		},
	}
}

func unprivileged(m mounter) mounter {
	m.name += ", unprivileged"
	m.uid = 65534
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
	cmd        *exec.Cmd
	exited     chan struct{}
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
	mt.cmd = exec.Command(words[0], words[1:]...)
	mt.cmd.Env = append(os.Environ(), m.env...)
	mt.cmd.Stderr = os.Stderr
	if m.uid != 0 {
		for _, d := range []string{base, mt.dir, mt.cache} {
			if err := os.Chown(d, m.uid, m.uid); err != nil {
				return nil, err
			}
		}
		mt.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(m.uid), Gid: uint32(m.uid)}}
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

// mounted asks the mount table, not the mount, so that nothing is warmed.
func (mt *mount) mounted() bool {
	table, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && strings.Contains(string(table), " "+mt.dir+" ")
}

// peakMemory is the daemon's largest resident size so far, in bytes.
func (mt *mount) peakMemory() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", mt.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}

// close unmounts, ends the daemon and removes its cache.
func (mt *mount) close() {
	_ = exec.Command("fusermount3", "-u", "-z", mt.dir).Run()
	select {
	case <-mt.exited:
	case <-time.After(20 * time.Second):
		_ = mt.cmd.Process.Kill()
		<-mt.exited
	}
	_ = os.RemoveAll(filepath.Dir(mt.dir))
}
