package acme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// selfSigned is a pair of a key for www.shop.test.
func selfSigned(t *testing.T, key crypto.Signer) (cert, keyPEM []byte) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"www.shop.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func p224(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Whoever brings a key that takes seconds to sign with makes the node spend them for each handshake that anybody begins.
func TestKeysThatTakeTooLongToSignWithAreRefused(t *testing.T) {
	for bits, says := range map[int]string{512: "512 bits", 2048: "", 4096: "", 4097: "more than 4096", 8192: "more than 4096", 16384: "more than 4096"} {
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), uint(bits-1))}, Primes: make([]*big.Int, 2)}
		if err := checkKey(key); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%d bits: %v, want %q", bits, err, says)
		}
	}
	key, err := rsa.GenerateMultiPrimeKey(rand.Reader, 4, 1024) //nolint:staticcheck // what nobody should use is refused
	if err != nil {
		t.Fatal(err)
	}
	cert, keyPEM := selfSigned(t, key)
	if _, err := CheckPair(cert, keyPEM, time.Now()); err == nil || !strings.Contains(err.Error(), "RSA key of 4 primes") {
		t.Errorf("four primes: %v", err)
	}
	m := newManager(t, Options{})
	if _, _, err := m.Import(t.Context(), cert, keyPEM); err == nil {
		t.Error("four primes are imported")
	}
}

func TestWeakRSAKeyIsAWarning(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	cert, keyPEM := selfSigned(t, key)
	warnings, err := CheckPair(cert, keyPEM, time.Now())
	if err != nil || !strings.Contains(strings.Join(warnings, "\n"), "RSA key of 1024 bits: browsers refuse less than 2048") {
		t.Errorf("%q %v", warnings, err)
	}
}

// A certificate that no client can use does not take the place of one that works.
func TestUnusableCertificateDoesNotReplaceAWorkingOne(t *testing.T) {
	ca := edgetest.NewCA(t)
	many := make([]string, 9000)
	for n := range many {
		many[n] = fmt.Sprintf("host-%d.shop.test", n)
	}
	long := ca.Issue(t, append([]string{"www.shop.test"}, many...)...)
	curveCert, curveKey := selfSigned(t, p224(t))
	for label, tc := range map[string]struct {
		cert, key []byte
		says      string
	}{
		"P-224":      {curveCert, curveKey, "curve P-224"},
		"9000 names": {long.CertPEM, long.KeyPEM, "too long for clients, "},
	} {
		t.Run(label, func(t *testing.T) {
			good, certFile, keyFile := pairFiles(t, ca, edgetest.LeafOptions{}, "www.shop.test")
			m := newManager(t, Options{})
			m.Update([]Change{{Name: "www.shop.test", CertFile: certFile, KeyFile: keyFile}})
			for path, text := range map[string][]byte{certFile: tc.cert, keyFile: tc.key} {
				if err := os.WriteFile(path, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			m.files.poll(t.Context())
			if got := served(t, m, "www.shop.test"); !got.Equal(good.TLS.Leaf) {
				t.Error("the one that works is not served any more")
			}
			if st := statusOf(t, m, "www.shop.test"); !strings.Contains(st.Problem, tc.says) {
				t.Errorf("the problem is %q, want %q", st.Problem, tc.says)
			}
			if _, _, err := m.Import(t.Context(), tc.cert, tc.key, "www.shop.test"); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("import: %v", err)
			}
		})
	}
}
