package ftppool

import (
	"strings"
)

// A control connection is a Telnet connection by RFC 959 section 4.1, where the
// byte 255 begins a command and is doubled to stand for itself. Some servers
// (proftpd) obey that, most (vsftpd, pure-ftpd, Microsoft's) do not, so for a
// name with that byte in it, "ÿ" in latin-1, one has to know.

const iac = "\xff" // "interpret as command"

// telnet is whether a server obeys Telnet's rules.
type telnet uint8

const (
	telnetUnknown telnet = iota
	telnetObeyed
	telnetIgnored
)

// needsTelnet reports whether it must be found out before path can be used.
func (p *Pool) needsTelnet(path string) bool {
	return p.known().telnet == telnetUnknown && strings.Contains(path, iac)
}

// probeTelnet asks the server for something that Telnet knows and FTP does not
// (DO ECHO, RFC 854): who obeys declines it, beside the reply to NOOP.
func (s *session) probeTelnet() error {
	s.ctl.declined = false
	if _, err := s.ctl.exchange(false, "NOOP "+iac+"\xfd\x01"); err != nil {
		return err
	}
	found := telnetIgnored
	if s.ctl.declined {
		found = telnetObeyed
	}
	s.pool.learn(func(k *knowledge) { k.telnet = found })
	s.ctl.doubled = found == telnetObeyed
	return nil
}

// stripTelnet removes what a server says in Telnet at the beginning of a line.
func stripTelnet(line string) (rest string, said bool) {
	for len(line) >= 3 && line[0] == 0xff && line[1] >= 0xfb && line[1] <= 0xfe {
		line, said = line[3:], true
	}
	return line, said
}
