package realftp

import (
	"bytes"
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

// process is a server's main process, and the head of a process group that its
// sessions belong to.
type process struct {
	pid  int
	done chan struct{} // closed when it has ended
	hold *os.File      // closed when this process ends, however that happens
	out  output
}

// output collects what a process prints.
type output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// wrap makes a server see a passwd in which the user ftp has the served folder
// for a home, as vsftpd and pure-ftpd want for anonymous access: in a mount
// namespace of its own, so that the machine's passwd stays as it is. Mirrors that
// are mounted meanwhile are not taken along: a copy would keep them from ending.
func wrap(dir, root string, cmd *exec.Cmd) (*exec.Cmd, error) {
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for line := range strings.Lines(string(passwd)) {
		if !strings.HasPrefix(line, "ftp:") {
			b.WriteString(line)
		}
	}
	fmt.Fprintf(&b, "ftp:x:65533:65534::%s:/usr/sbin/nologin\n", root)
	file := filepath.Join(dir, "passwd")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		return nil, err
	}
	// The watcher ends the group should this process die without doing so: it reads
	// from a pipe whose other end is held here. It is nobody's child, since the
	// server's children are its sessions.
	const script = `( { read -r _ <&3; kill -s KILL -- -$$; } >/dev/null 2>&1 & )
		exec 3<&-; ulimit -n 1024
		umount --all --lazy --types fuse.mirrorfs
		mount --bind "$1" /etc/passwd && shift && exec "$@"`
	out := exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, "sh", file}, cmd.Args...)...)
	out.Env = cmd.Env
	return out, nil
}

// run starts what wrap made, in a group of its own.
func run(cmd *exec.Cmd) (*process, error) {
	watched, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer watched.Close()
	p := &process{done: make(chan struct{}), hold: hold}
	cmd.ExtraFiles = []*os.File{watched}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.WaitDelay = time.Second // a stray child does not keep Wait from returning
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		hold.Close()
		return nil, err
	}
	p.pid = cmd.Process.Pid
	go func() {
		cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// kill ends the process and its sessions at once and waits until they are gone.
func (p *process) kill() {
	all := descendants(p.pid)
	syscall.Kill(-p.pid, syscall.SIGKILL)
	<-p.done
	p.hold.Close()
	for _, pid := range all { // those that left the group
		syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, pid := range append(all, group(p.pid)...) {
		for alive(pid) {
			time.Sleep(time.Millisecond)
		}
	}
}

// group are the processes of a group, which need not be anybody's children.
func group(id int) []int {
	var out []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if alive, of := status(pid); alive && of == id {
				out = append(out, pid)
			}
		}
	}
	return out
}

func alive(pid int) bool {
	ok, _ := status(pid)
	return ok
}

// status tells whether a process runs, zombies not counted, and its group.
func status(pid int) (alive bool, group int) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false, 0
	}
	// "PID (NAME) STATE PPID PGRP ...", where the name may have anything in it.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 3 {
		return false, 0
	}
	group, _ = strconv.Atoi(fields[2])
	return fields[0] != "Z" && fields[0] != "X", group
}

// children are the processes that a process started and has not yet buried: a
// server counts a session until then.
func children(pid int) []int {
	var out []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		for _, f := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

func descendants(pid int) []int {
	var out []int
	for _, c := range children(pid) {
		out = append(append(out, c), descendants(c)...)
	}
	return out
}
