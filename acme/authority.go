package acme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	mintedLife    = 7 * 24 * time.Hour
	// backdate makes a fresh certificate valid for clients whose clock is slow.
	backdate = time.Hour
)

// authority is the node's own CA. Its key never leaves the node.
type authority struct {
	certFile string
	cert     *x509.Certificate
	key      crypto.Signer
}

// openAuthority loads the CA from dir or creates it: ECDSA P-256, ten years. A
// certificate without its key is an error and is left as it is, since clients may
// trust it. A key without certificate is what a crash between the two writes
// leaves: it gets its certificate.
func openAuthority(dir string) (*authority, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("acme: internal CA: %w", err)
	}
	a := &authority{certFile: filepath.Join(dir, "ca.pem")}
	keyFile := filepath.Join(dir, "ca.key")
	certPEM, certErr := os.ReadFile(a.certFile)
	if ignoreAbsent(certErr) != nil {
		return nil, fmt.Errorf("acme: internal CA: %w", certErr)
	}
	keyPEM, keyErr := os.ReadFile(keyFile)
	var err error
	switch {
	case keyErr == nil:
		a.key, err = parseKey(keyPEM)
	case !errors.Is(keyErr, os.ErrNotExist):
		err = keyErr
	case certErr == nil:
		err = fmt.Errorf("%s is there, but its key %s is not", a.certFile, keyFile)
	default:
		a.key, err = createKey(keyFile)
	}
	if err == nil && certErr == nil {
		err = a.load(certPEM)
	} else if err == nil {
		err = a.create()
	}
	if err != nil {
		return nil, fmt.Errorf("acme: internal CA: %w", err)
	}
	return a, nil
}

func createKey(path string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return key, writeFile(path, text, 0o600)
}

func (a *authority) load(text []byte) error {
	all, err := parseCertificates(text)
	if err != nil {
		return fmt.Errorf("%s: %w", a.certFile, err)
	}
	a.cert = all[0]
	switch {
	case !samePublicKey(a.cert.PublicKey, a.key.Public()):
		return fmt.Errorf("%s and the key beside it do not belong together", a.certFile)
	case !a.cert.IsCA:
		return fmt.Errorf("%s is not a CA certificate", a.certFile)
	case time.Now().After(a.cert.NotAfter):
		return fmt.Errorf("%s expired on %s: remove it to get a new one", a.certFile, a.cert.NotAfter.Format(time.DateOnly))
	}
	return nil
}

func (a *authority) create() error {
	serial, err := newSerial()
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		// The suffix tells the CAs of several nodes apart in a client's trust store.
		Subject:               pkix.Name{CommonName: "Gatehouse internal CA " + hex.EncodeToString(serial.Bytes()[:4])},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return writeFile(a.certFile, text, 0o644)
}

// mint issues a certificate for one name: ECDSA P-256, seven days, without the CA
// in the chain, since whoever can verify it has the CA already.
func (a *authority) mint(name string) (*tls.Certificate, time.Time, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("mint certificate of %s: %w", name, err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("mint certificate of %s: %w", name, err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		DNSNames:              []string{name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(mintedLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if len(name) <= 64 { // ub-common-name, RFC 5280 appendix A.1
		template.Subject.CommonName = name
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("mint certificate of %s: %w", name, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, template.NotAfter, nil
}

// issued reports whether the CA signed the certificate.
func (a *authority) issued(cert *tls.Certificate) bool {
	x, err := x509.ParseCertificate(cert.Certificate[0])
	return err == nil && x.CheckSignatureFrom(a.cert) == nil
}

// newSerial returns a positive number of 127 random bits; RFC 5280 section
// 4.1.2.2 allows 20 octets, the CA/Browser Forum wants at least 64 random bits.
func newSerial() (*big.Int, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:]), nil
}
