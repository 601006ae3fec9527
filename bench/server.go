package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// server is one vsftpd over the generated mirror, in a process of its own.
type server struct {
	cmd  *exec.Cmd
	addr string // host:port as clients reach it
	ns   string // namespace its clients run in, "" for this one
	link *wan   // what it is behind, nil for nothing; the server owns it
	log  string // its own, with every command it got
}

// network says how a server is reached.
type network string

const (
	loopback network = "loopback"
	capped   network = "8 MB/s a connection" // anon_max_rate on loopback
	distant  network = "100 ms"              // behind the WAN
)

const cappedRate = 8_000_000 // bytes per second and connection

// startServer starts vsftpd over root, behind link unless that is nil, and
// returns once it answers.
func startServer(ctx context.Context, dir, root string, n network, ip string, link *wan) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "vsftpd-"+strconv.Itoa(port))
	empty := filepath.Join(dir, "empty")
	if err := os.MkdirAll(empty, 0o755); err != nil {
		return nil, err
	}
	s := &server{addr: net.JoinHostPort(ip, strconv.Itoa(port)), link: link, log: filepath.Join(dir, "log")}
	serverNS := ""
	if link != nil {
		serverNS, s.ns = link.server, link.client
	}
	conf := fmt.Sprintf(`listen=YES
background=NO
listen_port=%d
listen_address=%s
anonymous_enable=YES
local_enable=NO
anon_root=%s
isolate=NO
isolate_network=NO
nopriv_user=nobody
ftp_username=daemon
secure_chroot_dir=%s
seccomp_sandbox=NO
max_per_ip=0
max_clients=0
xferlog_enable=YES
log_ftp_protocol=YES
vsftpd_log_file=%s
use_localtime=NO
`, port, ip, root, empty, s.log)
	if os.Geteuid() != 0 {
		conf += "run_as_launching_user=YES\n"
	}
	if n == capped {
		conf += fmt.Sprintf("anon_max_rate=%d\n", cappedRate)
	}
	name := filepath.Join(dir, "vsftpd.conf")
	if err := os.WriteFile(name, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	binary, err := findServer()
	if err != nil {
		return nil, err
	}
	words := append(enter(serverNS), binary, name)
	s.cmd = exec.Command(words[0], words[1:]...)
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		probe := append(enter(s.ns), "curl", "-s", "-o", os.DevNull, "ftp://"+s.addr+"/")
		if exec.CommandContext(ctx, probe[0], probe[1:]...).Run() == nil {
			return s, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.link = nil // the caller still owns it
	s.stop()
	return nil, fmt.Errorf("vsftpd with %s did not answer at %s", name, s.addr)
}

func (s *server) url() string { return "ftp://" + s.addr }

func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	if s.link != nil {
		s.link.close()
	}
}

// commands is how many commands the server has got so far, those of logins
// included, from all clients.
func (s *server) commands() int {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return 0
	}
	return bytes.Count(text, []byte("FTP command:"))
}

func findServer() (string, error) {
	if p, err := exec.LookPath("vsftpd"); err == nil {
		return p, nil
	}
	dir := os.Getenv("MIRRORFS_FTPD_DIR")
	if dir == "" {
		dir = ".deps/ftpd"
	}
	p, err := filepath.Abs(filepath.Join(dir, "usr/sbin/vsftpd"))
	if err == nil {
		_, err = os.Stat(p)
	}
	if err != nil {
		return "", fmt.Errorf("no vsftpd (scripts/test-deps.sh brings it): %w", err)
	}
	return p, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
