package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
	"github.com/mirrorfs/mirrorfs/internal/realftp"
)

const nobody = 65534

// as runs a program as another user.
func as(uid uint32, words ...string) *exec.Cmd {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// TestAllowOther: other users read a mount only with --allow-other, and then as
// the modes say.
func TestAllowOther(t *testing.T) {
	s := smallServer(t)
	for _, c := range []struct {
		options []string
		reads   bool
	}{{nil, false}, {[]string{"--allow-other"}, true}, {[]string{"--allow-other", "--umask", "077"}, false}} {
		p := newPlace(t, plain)
		if err := os.Chmod(p.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		m := p.mount(s.url(""), c.options...)
		out, err := as(nobody, "cat", m.path("dir/file.txt")).CombinedOutput()
		if (err == nil) != c.reads || c.reads && string(out) != "content\n" || !c.reads && !strings.Contains(string(out), "denied") {
			t.Errorf("%v: another user: %v, %s", c.options, err, out)
		}
		reads(t, m.dir)
		m.unmount()
	}
}

// unprivilegedScript runs its words as an ordinary user, in a mount namespace where
// everybody may open /dev/fuse, as on a desktop.
const unprivilegedScript = `
set -eu
mount --make-rprivate /
user="setpriv --reuid 65534 --regid 65534 --clear-groups"
if ! $user test -w /dev/fuse; then
	test -e "$BASE/fuse" || mknod -m 666 "$BASE/fuse" c 10 229
	mount --bind "$BASE/fuse" /dev/fuse
fi
$user sh -euc "$SCRIPT" sh "$@"
if mountpoint -q "$DIR"; then echo still mounted; fi
`

// unprivileged runs a shell script as nobody, who owns the place, with the words
// of a mount as its arguments.
func unprivileged(t *testing.T, p *place, script string, words []string) (out, errs string, err error) {
	t.Helper()
	for _, d := range []string{p.base, p.dir, p.cache, filepath.Join(p.base, "home")} {
		if err := os.Chown(d, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	words = append([]string{"-m", "sh", "-c", unprivilegedScript, "sh", p.prog.build(t)}, words...)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", words...)
	cmd.Env = append(p.environ(), "DIR="+p.dir, "BASE="+p.base, "SCRIPT="+script)
	cmd.Dir = "/"
	var stderr strings.Builder
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	return string(b), stderr.String(), err
}

// TestUnprivileged: a user who is not root mounts through fusermount3, reads,
// warms, refreshes, asks how it is doing and unmounts.
func TestUnprivileged(t *testing.T) {
	f := &fixture{}
	f.text("dir/file.txt", "content\n")
	f.add("file.bin", ftptest.Generated(5_000_000, 4))
	s := serve(t, "vsftpd", f, options{})
	p := newPlace(t, plain)
	out, errs, err := unprivileged(t, p, `
		"$@"
		sha256sum <"$DIR/file.bin"
		sha256sum <"$DIR/file.bin"
		"$1" warm --pin "$DIR/dir" | tr -s " " | cut -d " " -f 1-2
		cat "$DIR/dir/file.txt"
		"$1" status "$DIR" | grep -c "no passthrough: .*CAP_SYS_ADMIN"
		"$1" refresh -r "$DIR" 2>&1 | sed "s/.*: //"
		"$1" cache clear "$DIR" | sed "s/.* given up, //"
		stat -c %U "$("$1" cache path "$DIR")/control/socket"
		"$1" unmount "$DIR"`, p.words(s.url("")))
	sum := sum(t, f.files[1].content) + "  -\n"
	want := sum + sum + "OK 8\nOK 1\ncontent\n1\n0 changes in 2 directories\n0 files of 0 are held\nnobody\n"
	if err != nil || errs != "" || out != want {
		t.Errorf("%v\n%s%swant:\n%s%s", err, out, errs, want, p.logTail())
	}
	until(t, patience, "the process ended", func() bool { return daemon(p.dir) == 0 })
}

// TestUnprivilegedErrors: what an ordinary user may not do is said in a line.
func TestUnprivilegedErrors(t *testing.T) {
	s := smallServer(t)
	p := newPlace(t, plain)
	words := p.words(s.url(""))
	words[len(words)-1] = filepath.Join(sandbox(t), "of root")
	if err := os.Mkdir(words[len(words)-1], 0o755); err != nil {
		t.Fatal(err)
	}
	out, errs, err := unprivileged(t, p, `"$@" || echo "exit code $?"`, words)
	if err != nil || out != "exit code 3\n" || strings.Count(errs, "\n") != 1 {
		t.Errorf("a folder that is not the user's: %v, %q, %q, want code 3 and one line", err, out, errs)
	}
	out, errs, err = unprivileged(t, p, `"$@" --allow-other || echo "exit code $?"`, p.words(s.url("")))
	if b, _ := os.ReadFile("/etc/fuse.conf"); !regexp.MustCompile(`(?m)^user_allow_other`).Match(b) &&
		(err != nil || out != "exit code 3\n" && out != "exit code 4\n" || !strings.Contains(errs, "user_allow_other") || strings.Count(errs, "\n") != 1) {
		t.Errorf("--allow-other without user_allow_other: %v, %q, %q, want one line that names it", err, out, errs)
	}
}

// TestIPv6: a server is reached by its IPv6 address.
func TestIPv6(t *testing.T) {
	tree := ftptest.NewTree()
	tree.WriteFile("dir/file.txt", []byte("content\n"), epoch)
	s := ftptest.New(t, ftptest.Options{Tree: tree, Listen: "[::1]:0"})
	m := newPlace(t, plain).mount(fmt.Sprintf("ftp://[::1]:%d/", s.Port()))
	reads(t, m.dir)
}

// TestPathForms: a URL's path is below the login folder, or from the root where
// it begins with %2F.
func TestPathForms(t *testing.T) {
	tree := ftptest.NewTree()
	tree.WriteFile("dir/file.txt", []byte("content\n"), epoch)
	tree.WriteFile("home/maria/inner/dir/file.txt", []byte("content\n"), epoch)
	s := ftptest.New(t, ftptest.Options{Tree: tree, LoginDir: "home/maria"})
	for _, path := range []string{"inner", "inner/", "/home/maria/inner", "%2Fhome/maria/inner", "%2F", "/"} {
		m := newPlace(t, plain).mount("ftp://" + s.Addr() + "/" + path)
		reads(t, m.dir)
		m.unmount()
	}
}

// TestCharset: names in the charset told are shown in UTF-8 and open.
func TestCharset(t *testing.T) {
	tree := ftptest.NewTree()
	tree.WriteFile("r\x82sum\x82.txt", []byte("content\n"), epoch) // é in code page 850
	s := serveTree(t, ftptest.DATASUS(), tree, options{})
	m := newPlace(t, plain).mount(s.url(""), "--charset", "ibm850")
	if b, err := os.ReadFile(m.path("résumé.txt")); err != nil || string(b) != "content\n" {
		t.Errorf("%q, %v; ls shows %q", b, err, names(t, m.dir))
	}
}

// certificate makes a self-signed certificate for 127.0.0.1, as files in PEM.
func certificate(t *testing.T) (cert tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mirror"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := sandbox(t)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	if err := os.WriteFile(certFile, certPEM, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, keyPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	if cert, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return cert, certFile, keyFile
}

// TestTLS: ftps and ftpes encrypt, on servers that want the session reused on
// data connections; a certificate nobody vouches for is refused.
func TestTLS(t *testing.T) {
	cert, certFile, keyFile := certificate(t)
	f := &fixture{}
	f.text("dir/file.txt", "content\n")
	f.add("dir/file.bin", ftptest.Generated(3_000_000, 7))
	root := f.disk(t)
	check := func(t *testing.T, url string) {
		t.Helper()
		p := newPlace(t, raced)
		code, _, errs := p.run(p.words(url)...)
		if code != 9 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "--tls-ca") {
			t.Errorf("an unknown certificate: exit code %d, %q, want 9", code, errs)
		}
		if code == 0 {
			p.adopt()
			return
		}
		for _, option := range [][]string{{"--tls-ca", certFile}, {"--tls-skip-verify"}} {
			m := newPlace(t, raced).mount(url, option...)
			for _, file := range f.files {
				same(t, m.path(file.path), file.content)
			}
			m.unmount()
		}
	}
	for scheme, mode := range map[string]ftptest.TLSMode{"ftps": ftptest.ImplicitTLS, "ftpes": ftptest.RequireTLS} {
		t.Run(scheme+" datasus", func(t *testing.T) {
			s := ftptest.New(t, ftptest.Options{Profile: ftptest.DATASUS(), Tree: f.tree(), TLSMode: mode,
				TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, RequireReuse: true})
			check(t, scheme+"://"+s.Addr()+"/")
			if clear := s.Unencrypted(); len(clear) > 0 {
				t.Errorf("in the clear: %v", clear)
			}
		})
	}
	for _, c := range []struct {
		scheme string
		kind   realftp.Kind
		mode   realftp.TLSMode
		reuse  bool
	}{
		{"ftpes", realftp.Vsftpd, realftp.ExplicitTLS, true}, {"ftps", realftp.Vsftpd, realftp.ImplicitTLS, true},
		{"ftpes", realftp.ProFTPD, realftp.ExplicitTLS, true}, {"ftps", realftp.ProFTPD, realftp.ImplicitTLS, true},
		{"ftpes", realftp.PureFTPd, realftp.ExplicitTLS, false},
	} {
		t.Run(c.scheme+" "+string(c.kind), func(t *testing.T) {
			s := realftp.Start(t, c.kind, realftp.Options{Root: root, TLS: c.mode, RequireReuse: c.reuse, CertFile: certFile, KeyFile: keyFile})
			check(t, c.scheme+"://"+s.Addr()+"/")
		})
	}
}
