package realftp

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

type proftpd struct{}

func (proftpd) logs() []string { return []string{"proftpd.log", "tls.log", "commands.log"} }

func (proftpd) command(s *Server) (*exec.Cmd, error) {
	o := &s.opts
	file := func(name string) string { return strconv.Quote(filepath.Join(s.dir, name)) }
	conf := []string{
		"ServerType standalone",
		"ServerName test",
		"DefaultAddress " + o.Host,
		fmt.Sprintf("Port %d", s.port.number),
		"UseIPv6 off",
		"UseReverseDNS off",
		"User nobody",
		"Group nogroup",
		"AuthPAM off",
		"AuthOrder mod_auth_unix.c",
		"RequireValidShell off",
		"WtmpLog off",
		"DelayEngine off", // it slows down logins on purpose
		"MaxInstances none",
		"PidFile " + file("proftpd.pid"),
		"ScoreboardFile " + file("scoreboard"),
		"DelayTable none",
		"ControlsEngine off",
		"SystemLog " + file("proftpd.log"),
		"TransferLog none",
		`LogFormat transfer "%P %s %b %{transfer-status} %f"`,
		`LogFormat command "%P %s %r"`,
		"ExtendedLog " + file("transfers.log") + " READ transfer",
		"ExtendedLog " + file("commands.log") + " ALL command",
		"UseSendfile on",
		"AllowRetrieveRestart on",
	}
	if s.unpacked != "" {
		conf = append([]string{"ModulePath " + strconv.Quote(filepath.Join(s.unpacked, "usr", "lib", "proftpd"))}, conf...)
	}
	if o.UTF8Off {
		conf = append(conf, "UseEncoding off")
	}
	if o.Slink {
		conf = append(conf, "FactsOptions UseSlink")
	}
	if o.IdleTimeout > 0 {
		conf = append(conf, fmt.Sprintf("TimeoutIdle %.0f", o.IdleTimeout.Seconds()))
	}
	if o.TLS != NoTLS {
		var options []string
		if !o.RequireReuse {
			options = append(options, "NoSessionReuseRequired")
		}
		if o.TLS == ImplicitTLS {
			options = append(options, "UseImplicitSSL")
		}
		conf = append(conf,
			"LoadModule mod_tls.c",
			"TLSEngine on",
			"TLSRequired on",
			"TLSLog "+file("tls.log"),
			"TLSRSACertificateFile "+strconv.Quote(o.CertFile),
			"TLSRSACertificateKeyFile "+strconv.Quote(o.KeyFile),
			"TLSVerifyClient off",
		)
		if options != nil {
			conf = append(conf, "TLSOptions "+strings.Join(options, " "))
		}
	}
	conf = append(conf,
		"<Anonymous "+strconv.Quote(o.Root)+">",
		"  User ftp",
		"  Group nogroup",
		"  UserAlias anonymous ftp",
		"  RequireValidShell off",
	)
	if o.MaxClients > 0 {
		conf = append(conf, fmt.Sprintf("  MaxClients %d", o.MaxClients))
	}
	if o.MaxPerIP > 0 {
		conf = append(conf, fmt.Sprintf("  MaxClientsPerHost %d", o.MaxPerIP))
	}
	if o.Rate > 0 {
		conf = append(conf, fmt.Sprintf("  TransferRate RETR %.3f", float64(o.Rate)/1024))
	}
	conf = append(conf, "  <Limit WRITE>", "    DenyAll", "  </Limit>", "</Anonymous>")
	name, err := s.writeConf("proftpd.conf", append(conf, o.Extra...))
	if err != nil {
		return nil, err
	}
	return exec.Command(s.binary, "-n", "-q", "-c", name), nil
}

func (proftpd) transfers(s *Server) (out []Transfer, err error) {
	err = s.logLines("transfers.log", func(line string) error {
		f := strings.SplitN(line, " ", 5)
		if len(f) != 5 {
			return fmt.Errorf("realftp: proftpd logged a transfer as %q", line)
		}
		if f[1] == "550" || f[1] == "425" { // refused before it began
			return nil
		}
		n, _ := strconv.ParseInt(f[2], 10, 64) // "-" when nothing was sent
		path := strings.TrimPrefix(strings.TrimPrefix(f[4], s.opts.Root), "/")
		out = append(out, Transfer{Session: f[0], Path: path, Bytes: n, Complete: f[3] == "success"})
		return nil
	})
	return out, err
}
