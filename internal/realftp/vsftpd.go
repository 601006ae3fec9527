package realftp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

type vsftpd struct{}

func (vsftpd) logs() []string { return []string{"vsftpd.log"} }

func (vsftpd) command(s *Server) (*exec.Cmd, error) {
	o := &s.opts
	// The processes that face the network are locked into this one.
	empty := filepath.Join(s.dir, "empty")
	if err := os.MkdirAll(empty, 0o755); err != nil {
		return nil, err
	}
	conf := []string{
		"listen=YES",
		"background=NO",
		"listen_address=" + o.Host,
		fmt.Sprintf("listen_port=%d", s.port.number),
		"anonymous_enable=YES",
		"local_enable=NO",
		"write_enable=NO",
		"ftp_username=ftp",
		"nopriv_user=nobody",
		"anon_root=" + o.Root,
		"secure_chroot_dir=" + empty,
		"hide_ids=YES",
		"xferlog_enable=YES",
		"log_ftp_protocol=YES",
		"vsftpd_log_file=" + filepath.Join(s.dir, "vsftpd.log"),
		"max_clients=" + strconv.Itoa(o.MaxClients),
		"max_per_ip=" + strconv.Itoa(o.MaxPerIP),
		"anon_max_rate=" + strconv.FormatInt(o.Rate, 10),
		// What these need is often forbidden in containers.
		"seccomp_sandbox=NO",
		"isolate=NO",
		"isolate_network=NO",
	}
	if o.IdleTimeout > 0 {
		conf = append(conf, fmt.Sprintf("idle_session_timeout=%.0f", o.IdleTimeout.Seconds()))
	}
	if !o.UTF8Off {
		conf = append(conf, "utf8_filesystem=YES")
	}
	if o.TLS != NoTLS {
		conf = append(conf,
			"ssl_enable=YES",
			"allow_anon_ssl=YES",
			"force_anon_logins_ssl=YES",
			"force_anon_data_ssl=YES",
			"rsa_cert_file="+o.CertFile,
			"rsa_private_key_file="+o.KeyFile,
			"ssl_ciphers=HIGH",
			"debug_ssl=YES",
			"require_ssl_reuse="+yes(o.RequireReuse),
			"implicit_ssl="+yes(o.TLS == ImplicitTLS),
		)
	}
	file, err := s.writeConf("vsftpd.conf", append(conf, o.Extra...))
	if err != nil {
		return nil, err
	}
	return exec.Command(s.binary, file), nil
}

func yes(b bool) string {
	if b {
		return "YES"
	}
	return "NO"
}

// Mon Nov 23 19:50:00 2026 [pid 7] [ftp] OK DOWNLOAD: Client "127.0.0.1", "/a b", 3 bytes, 1.00Kbyte/sec
var vsftpdTransfer = regexp.MustCompile(`^.{24} \[pid (\d+)\] \[[^]]*\] (OK|FAIL) DOWNLOAD: Client "[^"]*", "(.*)", (?:(\d+) bytes, )?[0-9.]+Kbyte/sec$`)

// ... [pid 2] [ftp] FTP response: Client "127.0.0.1", "150 Opening BINARY mode data connection for /a b (3 bytes)."
var vsftpdReply = regexp.MustCompile(`^.{24} \[pid (\d+)\] (?:\[[^]]*\] )?FTP response: Client "[^"]*", "(\d{3})`)

func (vsftpd) transfers(s *Server) (out []Transfer, err error) {
	last := make(map[string]string) // by pid, the last reply
	err = s.logLines("vsftpd.log", func(line string) error {
		if m := vsftpdReply.FindStringSubmatch(line); m != nil {
			last[m[1]] = m[2]
			return nil
		}
		if !strings.Contains(line, "] OK DOWNLOAD: ") && !strings.Contains(line, "] FAIL DOWNLOAD: ") {
			return nil
		}
		m := vsftpdTransfer.FindStringSubmatch(line)
		if m == nil {
			return fmt.Errorf("realftp: vsftpd logged a transfer as %q", line)
		}
		if m[2] == "FAIL" && (last[m[1]] == "550" || last[m[1]] == "425") {
			return nil // refused before it began
		}
		n, _ := strconv.ParseInt(m[4], 10, 64) // left out when nothing was sent
		out = append(out, Transfer{
			Session: m[1], Path: strings.TrimPrefix(m[3], "/"), Bytes: n, Complete: m[2] == "OK",
		})
		return nil
	})
	return out, err
}

// writeConf writes a configuration file and returns its path.
func (s *Server) writeConf(name string, lines []string) (string, error) {
	file := filepath.Join(s.dir, name)
	return file, os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}
