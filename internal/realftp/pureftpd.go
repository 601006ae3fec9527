package realftp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

type pureftpd struct{}

func (pureftpd) logs() []string { return []string{"stats.log"} }

func (pureftpd) command(s *Server) (*exec.Cmd, error) {
	o := &s.opts
	if o.TLS == ImplicitTLS || o.RequireReuse {
		return nil, errors.New("pure-ftpd has neither implicit TLS nor a demand for session reuse")
	}
	clients := o.MaxClients
	if clients == 0 {
		clients = 1000
	}
	args := []string{
		s.binary,
		"--anonymousonly", "--anonymouscantupload", "--dontresolve", "--displaydotfiles",
		"--limitrecursion", "10000000:50",
		"--bind", o.Host + "," + strconv.Itoa(s.port.number),
		"--maxclientsnumber", strconv.Itoa(clients),
		"--altlog", "stats:" + filepath.Join(s.dir, "stats.log"),
		"--pidfile", filepath.Join(s.dir, "pure-ftpd.pid"),
	}
	if net.ParseIP(o.Host).To4() != nil {
		args = append(args, "--ipv4only")
	}
	if o.MaxPerIP > 0 {
		args = append(args, "--maxclientsperip", strconv.Itoa(o.MaxPerIP))
	}
	if o.Rate > 0 {
		args = append(args, "--anonymousbandwidth", fmt.Sprintf(":%d", max(1, o.Rate/1024)))
	}
	if o.IdleTimeout > 0 {
		args = append(args, "--maxidletime", fmt.Sprintf("%.0f", max(1, o.IdleTimeout.Minutes())))
	}
	if o.TLS == ExplicitTLS {
		// 3: nothing at all, data included, without TLS.
		args = append(args, "--tls", "3", "--certfile", o.CertFile+","+o.KeyFile)
	}
	args = append(args, o.Extra...)

	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "FTP_ANON_DIR="+o.Root)
	return cmd, nil
}

// 1795463415 6b0498f7.178 ftp 127.0.0.1 D 3000000 0 /srv/root/a b
func (pureftpd) transfers(s *Server) (out []Transfer, err error) {
	err = s.logLines("stats.log", func(line string) error {
		f := strings.SplitN(line, " ", 8)
		if len(f) != 8 {
			return fmt.Errorf("realftp: pure-ftpd logged a transfer as %q", line)
		}
		n, err := strconv.ParseInt(f[5], 10, 64)
		if err != nil {
			return fmt.Errorf("realftp: pure-ftpd logged a transfer as %q", line)
		}
		path := strings.TrimPrefix(strings.TrimPrefix(f[7], s.opts.Root), "/")
		out = append(out, Transfer{Session: f[1], Path: path, Bytes: n, Complete: true})
		return nil
	})
	return out, err
}
