package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
	"github.com/mirrorfs/mirrorfs/internal/realftp"
)

// shows are the words that a capture holds.
func shows(packets [][]byte, words ...string) (found []string) {
	for _, w := range words {
		for _, p := range packets {
			if bytes.Contains(p, []byte(w)) {
				found = append(found, w)
				break
			}
		}
	}
	return found
}

// TestEncryption: over ftps and ftpes no name and no content can be seen on the
// wire, where over ftp all of it can.
func TestEncryption(t *testing.T) {
	const name, content = "a-name-to-be-kept", "what nobody may read "
	f := &fixture{}
	f.text("folder-"+name+"/file-"+name+".txt", strings.Repeat(content, 20_000))
	root := f.disk(t)
	for _, c := range []struct {
		scheme string
		kind   realftp.Kind
		mode   realftp.TLSMode
	}{
		{"ftp", realftp.Vsftpd, realftp.NoTLS},
		{"ftpes", realftp.Vsftpd, realftp.ExplicitTLS}, {"ftps", realftp.Vsftpd, realftp.ImplicitTLS},
		{"ftpes", realftp.ProFTPD, realftp.ExplicitTLS}, {"ftps", realftp.ProFTPD, realftp.ImplicitTLS},
		{"ftpes", realftp.PureFTPd, realftp.ExplicitTLS},
	} {
		t.Run(c.scheme+" "+string(c.kind), func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			card := n.plug()
			ca := ftptest.NewCA()
			cert, key, err := ca.Issue(card.addr).Files(sandbox(t))
			if err != nil {
				t.Fatal(err)
			}
			s := realftp.Start(t, c.kind, realftp.Options{Root: root, Host: card.addr, TLS: c.mode, CertFile: cert, KeyFile: key, RequireReuse: c.kind != realftp.PureFTPd, NoRelay: true})
			p := newPlace(t, raced)
			p.via = n.enter()
			wire := card.listen(t)
			var options []string
			if c.mode != realftp.NoTLS {
				options = []string{"--tls-skip-verify"}
			}
			m := p.mount(c.scheme+"://"+s.Addr()+"/", options...)
			for _, file := range f.files {
				same(t, m.path(file.path), file.content)
			}
			m.unmount()
			packets := wire.stop()
			// Words of four letters would be there by chance, once in some hundred captures.
			words := []string{name, content, "PASS ", "RETR /", "MLSD\r\n", "LIST\r\n", "EPSV\r\n", "229 Entering", "229 Extended"}
			found := shows(packets, words...)
			if c.mode == realftp.NoTLS {
				if len(found) < 6 {
					t.Errorf("the capture misses what is sent in the clear: of %q it has only %q", words, found)
				}
			} else if len(found) > 0 {
				t.Errorf("in the clear, in %d packets: %q", len(packets), found)
			}
		})
	}
}

// TestCertificates: a certificate that does not fit refuses the mount in words,
// with a code of its own.
func TestCertificates(t *testing.T) {
	ca := ftptest.NewCA()
	dir := sandbox(t)
	authority := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(authority, ca.CertPEM, 0o644); err != nil {
		t.Fatal(err)
	}
	f := &fixture{}
	f.text("dir/file.txt", "content\n")
	root := f.disk(t)
	for name, c := range map[string]struct {
		cert    ftptest.Cert
		refusal string // words of it; "": it is accepted
	}{
		"right":       {ca.Issue("127.0.0.1"), ""},
		"other host":  {ca.Issue("ftp.example.org"), "for another host"},
		"expired":     {ca.Expired("127.0.0.1"), "expired"},
		"self-signed": {ftptest.SelfSigned("127.0.0.1"), "--tls-ca"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := sandbox(t)
			cert, key, err := c.cert.Files(folder)
			if err != nil {
				t.Fatal(err)
			}
			s := realftp.Start(t, realftp.Vsftpd, realftp.Options{Root: root, TLS: realftp.ExplicitTLS, CertFile: cert, KeyFile: key, RequireReuse: true})
			url := "ftpes://" + s.Addr() + "/"
			if c.refusal == "" {
				m := newPlace(t, raced).mount(url, "--tls-ca", authority)
				reads(t, m.dir)
				return
			}
			p := newPlace(t, raced)
			code, _, errs := p.run(p.words(url, "--tls-ca", authority)...)
			if code == 0 {
				p.adopt()
			}
			if code != 9 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, c.refusal) || !strings.Contains(errs, "--tls-skip-verify") {
				t.Errorf("exit code %d, %q, want 9 and words with %q", code, errs, c.refusal)
			}
			m := newPlace(t, raced).mount(url, "--tls-skip-verify")
			reads(t, m.dir)
		})
	}
}

// proxies are programs that make connections for others.
var proxies = map[string]func(dir, host string, port int) ([]string, error){
	"socks5h": func(_, host string, port int) ([]string, error) {
		return []string{"microsocks", "-i", host, "-p", strconv.Itoa(port)}, nil
	},
	"http": func(dir, host string, port int) ([]string, error) {
		conf := filepath.Join(dir, "tinyproxy.conf")
		return []string{"tinyproxy", "-d", "-c", conf}, os.WriteFile(conf, fmt.Appendf(nil, "Listen %s\nPort %d\nMaxClients 100\n", host, port), 0o644)
	},
}

// startProxy runs a proxy at an address. It alone knows the name, as that of this
// machine.
func startProxy(t *testing.T, kind, host, name string) (url string, port int) {
	t.Helper()
	dir := sandbox(t)
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	words, err := proxies[kind](dir, host, port)
	if err != nil {
		t.Fatal(err)
	}
	hosts := filepath.Join(dir, "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost "+name+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// A copy of another test's mount would live on here after that has unmounted it.
	const script = `mount --make-rprivate /; umount --all --lazy --types fuse.mirrorfs || :; mount --bind "$1" /etc/hosts; shift; exec "$@"`
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-euc", script, "sh", hosts}, words...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the proxy said:\n%s", &said)
		}
	})
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	until(t, patience, "the proxy listens", func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return kind + "://" + addr, port
}

// direct are the packets that did not go to or from the proxy. What a network card
// says of itself (ARP, ICMPv6) is not counted.
func direct(packets [][]byte, host string, port int) (stray []string) {
	proxy := netip.AddrPortFrom(netip.MustParseAddr(host), uint16(port))
	for _, p := range packets {
		switch {
		case p[0]>>4 == 4 && len(p) >= 40 && p[9] == unix.IPPROTO_TCP:
			head := int(p[0]&15) * 4
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[12:16])), binary.BigEndian.Uint16(p[head:]))
			to := netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[16:20])), binary.BigEndian.Uint16(p[head+2:]))
			if from != proxy && to != proxy {
				stray = append(stray, fmt.Sprintf("TCP from %v to %v", from, to))
			}
		case p[0]>>4 == 4:
			stray = append(stray, fmt.Sprintf("protocol %d to %v", p[9], netip.AddrFrom4([4]byte(p[16:20]))))
		case p[0]>>4 == 6 && p[6] != unix.IPPROTO_ICMPV6 && p[6] != unix.IPPROTO_HOPOPTS:
			stray = append(stray, fmt.Sprintf("IPv6 protocol %d", p[6]))
		}
	}
	return stray
}

// TestProxy: a server that only the proxy can reach, by a name that only the proxy
// knows, is mounted through it, and no packet goes anywhere else, to name servers
// neither.
func TestProxy(t *testing.T) {
	f := &fixture{}
	f.text("dir/file.txt", "content\n")
	f.add("dir/file.bin", ftptest.Generated(3_000_000, 7))
	for kind := range proxies {
		for _, by := range []string{"--proxy", "ALL_PROXY"} {
			t.Run(kind+" by "+by, func(t *testing.T) {
				t.Parallel()
				n := newNetwork(t)
				card := n.plug()
				n.ip("route add default via " + card.addr) // all that goes astray is seen
				profile := ftptest.Vsftpd()
				profile.PASVHost, profile.Replies = card.addr, map[string]string{"EPSV": "502 No."} // the proxy's own
				s := ftptest.New(t, ftptest.Options{Tree: f.tree(), Profile: profile})
				proxy, port := startProxy(t, kind, card.addr, "mirror.test")
				p := newPlace(t, raced)
				p.via = n.enter()
				var options []string
				if by == "--proxy" {
					options = []string{by, proxy}
				} else {
					p.env = append(p.env, by+"="+proxy)
				}
				wire := card.listen(t)
				m := p.mount(fmt.Sprintf("ftp://mirror.test:%d/", s.Port()), options...)
				for _, file := range f.files {
					same(t, m.path(file.path), file.content)
				}
				m.unmount()
				packets := wire.stop()
				if stray := direct(packets, card.addr, port); len(packets) < 10 || len(stray) > 0 {
					t.Errorf("of %d packets these did not go through the proxy: %q", len(packets), stray)
				}
				// Without the proxy they would have been seen.
				wire = card.listen(t)
				code, _, _ := p.run(p.words("ftp://192.0.2.1/", "--proxy", "none", "--timeout", "1s")...)
				if stray := direct(wire.stop(), card.addr, port); code != 5 || len(stray) == 0 {
					t.Errorf("without the proxy: exit code %d, packets %q", code, stray)
				}
			})
		}
	}
}
