package ftptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// CA is a certificate authority that lives as long as a test.
type CA struct {
	Cert
	x509 *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Cert is a certificate with its key.
type Cert struct {
	TLS             tls.Certificate
	CertPEM, KeyPEM []byte
}

// NewCA makes an authority.
func NewCA() *CA {
	now := time.Now()
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "ftptest authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	cert, key := sign(t, nil, nil)
	parsed, err := x509.ParseCertificate(cert.TLS.Certificate[0])
	check(err)
	return &CA{Cert: cert, x509: parsed, key: key}
}

// Pool holds the authority alone, for a client's RootCAs.
func (ca *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.x509)
	return p
}

// Issue makes a good certificate for host names and addresses. For other hosts
// than the server's it is the wrong-host one.
func (ca *CA) Issue(hosts ...string) Cert {
	now := time.Now()
	c, _ := sign(leaf(hosts, now.Add(-time.Hour), now.Add(24*time.Hour)), ca.x509, ca.key)
	return c
}

// Expired makes a certificate that ended yesterday.
func (ca *CA) Expired(hosts ...string) Cert {
	now := time.Now()
	c, _ := sign(leaf(hosts, now.Add(-72*time.Hour), now.Add(-24*time.Hour)), ca.x509, ca.key)
	return c
}

// SelfSigned makes a certificate that no authority stands for.
func SelfSigned(hosts ...string) Cert {
	now := time.Now()
	c, _ := sign(leaf(hosts, now.Add(-time.Hour), now.Add(24*time.Hour)), nil, nil)
	return c
}

// Config is a server's TLS config with this certificate.
func (c Cert) Config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.TLS}}
}

// Files writes cert.pem and key.pem into a folder and returns their paths.
func (c Cert) Files(dir string) (cert, key string, err error) {
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := os.WriteFile(cert, c.CertPEM, 0o644); err != nil {
		return "", "", err
	}
	return cert, key, os.WriteFile(key, c.KeyPEM, 0o600)
}

func leaf(hosts []string, from, to time.Time) *x509.Certificate {
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: hosts[0]},
		NotBefore: from, NotAfter: to,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return t
}

// sign makes a key and its certificate, signed by itself without a parent.
func sign(t, parent *x509.Certificate, signer *ecdsa.PrivateKey) (Cert, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	if parent == nil {
		parent, signer = t, key
	}
	t.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	check(err)
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, signer)
	check(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	c := Cert{
		CertPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}
	c.TLS, err = tls.X509KeyPair(c.CertPEM, c.KeyPEM)
	check(err)
	return c, key
}

// check panics: making certificates fails only without a source of randomness.
func check(err error) {
	if err != nil {
		panic("ftptest: making a certificate: " + err.Error())
	}
}
