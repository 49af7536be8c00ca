package edgetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A CA is a throw-away certificate authority. Safe for concurrent use.
type CA struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
	PEM  []byte // the CA's certificate
}

// LeafOptions say what kind of leaf to issue. The zero value is an ECDSA P-256
// leaf that has been valid for an hour and will be for a day.
type LeafOptions struct {
	RSA                 bool      // RSA 2048 instead of ECDSA P-256
	SelfSigned          bool      // signed by its own key instead of the CA's
	NotBefore, NotAfter time.Time // zero: an hour ago, in a day
	OCSP                string    // the responder's URL; empty: none, as most CAs today
	MustStaple          bool      // the TLS feature extension of RFC 7633
	KeyUsage            []x509.ExtKeyUsage
}

// A Leaf is an issued certificate with its key.
type Leaf struct {
	TLS     tls.Certificate // chain: the leaf alone; Leaf is parsed
	CertPEM []byte
	KeyPEM  []byte // PKCS #8
}

// NewCA makes a certificate authority that is valid for a week.
func NewCA(t testing.TB) *CA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, "generate the CA's key", err)
	template := &x509.Certificate{
		SerialNumber: serial(t),
		Subject:      pkix.Name{CommonName: "edgetest CA"},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(7 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, "sign the CA's certificate", err)
	cert, err := x509.ParseCertificate(der)
	must(t, "parse the CA's certificate", err)
	return &CA{Cert: cert, Key: key, PEM: encode("CERTIFICATE", der)}
}

// Pool returns a pool that trusts only this CA.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.Cert)
	return pool
}

// Issue issues a leaf for host names (wildcards too) and IP addresses.
func (c *CA) Issue(t testing.TB, names ...string) *Leaf {
	t.Helper()
	return c.IssueWith(t, LeafOptions{}, names...)
}

// IssueWith is Issue with a choice of what to issue.
func (c *CA) IssueWith(t testing.TB, opts LeafOptions, names ...string) *Leaf {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(t),
		NotBefore:    opts.NotBefore, NotAfter: opts.NotAfter,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           opts.KeyUsage,
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	if template.ExtKeyUsage == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	if opts.OCSP != "" {
		template.OCSPServer = []string{opts.OCSP}
	}
	if opts.MustStaple {
		template.ExtraExtensions = []pkix.Extension{{
			Id: []int{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 0x03, 0x02, 0x01, 0x05},
		}}
	}
	for i, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		if i == 0 {
			template.Subject.CommonName = name
		}
		template.DNSNames = append(template.DNSNames, name)
	}
	key := newKey(t, opts.RSA)
	parent, signer := c.Cert, crypto.Signer(c.Key)
	if opts.SelfSigned {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must(t, "sign a leaf", err)
	cert, err := x509.ParseCertificate(der)
	must(t, "parse a leaf", err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, "encode a leaf's key", err)
	return &Leaf{
		TLS:     tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert},
		CertPEM: encode("CERTIFICATE", der), KeyPEM: encode("PRIVATE KEY", keyDER),
	}
}

// Write writes the pair as name.pem and name.key (mode 0600) into dir and returns their paths.
func (l *Leaf) Write(t testing.TB, dir, name string) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	must(t, "write a certificate", os.WriteFile(certFile, l.CertPEM, 0o644))
	must(t, "write a key", os.WriteFile(keyFile, l.KeyPEM, 0o600))
	return certFile, keyFile
}

// Write writes the CA's certificate as ca.pem and its key as ca.key into dir, as
// `openssl ocsp` wants them, and returns their paths.
func (c *CA) Write(t testing.TB, dir string) (certFile, keyFile string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.Key)
	must(t, "encode the CA's key", err)
	l := &Leaf{CertPEM: c.PEM, KeyPEM: encode("PRIVATE KEY", der)}
	return l.Write(t, dir, "ca")
}

func newKey(t testing.TB, useRSA bool) crypto.Signer {
	t.Helper()
	if useRSA {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		must(t, "generate an RSA key", err)
		return key
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, "generate an ECDSA key", err)
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	must(t, "draw a serial number", err)
	return n.Add(n, big.NewInt(1))
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func must(t testing.TB, doing string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("edgetest: %s: %v", doing, err)
	}
}
