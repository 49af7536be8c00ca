package acme

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// chainOf builds root → intermediate → leaf and returns their PEM blocks and the
// leaf's key.
func chainOf(t *testing.T) (leaf, intermediate, root, key []byte) {
	t.Helper()
	ca := edgetest.NewCA(t)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "intermediate"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Cert, public, ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	middle, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	site := ca.Issue(t, "a.test")
	x := *site.TLS.Leaf
	x.SignatureAlgorithm = x509.UnknownSignatureAlgorithm
	leafDER, err := x509.CreateCertificate(rand.Reader, &x, middle, x.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	return block(leafDER), block(der), ca.PEM, site.KeyPEM
}

func TestChainIsPutInOrder(t *testing.T) {
	leaf, middle, root, key := chainOf(t)
	stranger, stranger2 := edgetest.NewCA(t).PEM, edgetest.NewCA(t).PEM
	for label, tc := range map[string]struct {
		parts   [][]byte
		length  int
		warning string
	}{
		"in order":        {[][]byte{leaf, middle}, 2, ""},
		"with root":       {[][]byte{leaf, middle, root}, 3, ""},
		"reversed":        {[][]byte{root, middle, leaf}, 3, ""},
		"repeated":        {[][]byte{leaf, leaf, middle, middle}, 2, ""},
		"with a stranger": {[][]byte{leaf, stranger, middle}, 2, "a certificate outside the chain left out"},
		"two strangers":   {[][]byte{leaf, stranger, middle, stranger2}, 2, "2 certificates outside the chain left out"},
		"leaf alone":      {[][]byte{leaf}, 1, `no intermediate certificate in the file: append that of "intermediate"`},
		"wrong chain":     {[][]byte{leaf, stranger}, 1, `append that of "intermediate", unless clients have it as a root; a certificate outside the chain left out`},
		"key in the file": {[][]byte{key, leaf, middle}, 2, ""},
	} {
		t.Run(label, func(t *testing.T) {
			l, err := parsePair(SourceFile, bytes.Join(tc.parts, nil), key)
			if err != nil {
				t.Fatal(err)
			}
			chain := l.served.Load().Certificate
			if len(chain) != tc.length || !l.covers("a.test") {
				t.Errorf("chain has %d certificates for %v, want %d", len(chain), l.names, tc.length)
			}
			if (tc.warning == "") != (l.warning == "") || !strings.Contains(l.warning, tc.warning) {
				t.Errorf("warning is %q, want %q", l.warning, tc.warning)
			}
		})
	}
}

func TestBadPairsAreRefusedWithAReason(t *testing.T) {
	leaf, middle, _, key := chainOf(t)
	other := edgetest.NewCA(t).Issue(t, "a.test")
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}})
	legacy := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte{1}})
	for label, tc := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"foreign key":      {leaf, other.KeyPEM, "key does not match"},
		"leaf missing":     {middle, key, "key does not match"},
		"encrypted key":    {leaf, encrypted, "encrypted with a passphrase"},
		"encrypted PKCS#1": {leaf, legacy, "encrypted with a passphrase"},
		"no key":           {leaf, leaf, "no private key"},
		"no certificate":   {key, key, "no certificate"},
		"empty":            {nil, nil, "no private key"},
		"broken":           {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), key, "certificate 1"},
		"endless":          {bytes.Repeat(leaf, maxChainLength+1), key, "more than 16"},
	} {
		t.Run(label, func(t *testing.T) {
			_, err := parsePair(SourceFile, tc.cert, tc.key)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestKeysThatOpenSSLWritesAreRead(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		needTool(t, "openssl")
	}
	for label, args := range map[string][]string{
		"RSA PKCS #8": {"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"},
		"RSA PKCS #1": {"genrsa", "-traditional", "2048"},
		"EC SEC 1":    {"ecparam", "-name", "prime256v1", "-genkey"},
		"Ed25519":     {"genpkey", "-algorithm", "ed25519"},
	} {
		out, err := exec.Command("openssl", args...).Output()
		if err != nil {
			t.Fatalf("%s: %v", label, err)
		}
		if _, err := parseKey(out); err != nil {
			t.Errorf("%s: %v", label, err)
		}
	}
}

// An operator sees what is odd about a certificate that is served all the same.
func TestOdditiesAreNamed(t *testing.T) {
	ca := edgetest.NewCA(t)
	for label, tc := range map[string]struct {
		options edgetest.LeafOptions
		name    string
		want    string
	}{
		"self-signed":     {edgetest.LeafOptions{SelfSigned: true}, "a.test", "self-signed"},
		"expired":         {edgetest.LeafOptions{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}, "a.test", "expired on"},
		"early":           {edgetest.LeafOptions{NotBefore: time.Now().Add(time.Hour)}, "a.test", "not valid before"},
		"another name":    {edgetest.LeafOptions{}, "b.test", "does not cover b.test"},
		"wildcard absent": {edgetest.LeafOptions{}, "*.a.test", "does not cover *.a.test"},
		"fine":            {edgetest.LeafOptions{}, "a.test", ""},
		"default":         {edgetest.LeafOptions{}, "*", ""},
	} {
		leaf := ca.IssueWith(t, tc.options, "a.test")
		l, err := parsePair(SourceFile, append(leaf.CertPEM, ca.PEM...), leaf.KeyPEM)
		if err != nil {
			t.Fatal(err)
		}
		l.warning = ""
		if got := l.oddities(tc.name, time.Now()); !strings.Contains(got, tc.want) || (tc.want == "") != (got == "") {
			t.Errorf("%s: %q, want %q", label, got, tc.want)
		}
	}
}

func FuzzParsePair(f *testing.F) {
	ca := edgetest.NewCA(f)
	leaf := ca.Issue(f, "a.test")
	f.Add(append(leaf.CertPEM, ca.PEM...), leaf.KeyPEM)
	f.Add(leaf.KeyPEM, leaf.CertPEM)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		l, err := parsePair(SourceFile, cert, key)
		if (l == nil) == (err == nil) {
			t.Errorf("leaf %v with error %v", l, err)
		}
		if l != nil && len(l.served.Load().Certificate) == 0 {
			t.Error("a leaf without certificate")
		}
	})
}

func TestCheckPairSaysWhatServingItWould(t *testing.T) {
	leaf, middle, _, key := chainOf(t)
	now := time.Now()
	if warnings, err := CheckPair(bytes.Join([][]byte{middle, leaf}, nil), key, now, "A.test", "*"); err != nil || warnings != nil {
		t.Errorf("a good pair, whose chain serving puts in order: %q %v", warnings, err)
	}
	warnings, err := CheckPair(leaf, key, now.Add(20*365*24*time.Hour), "a.test", "*.a.test", "b.test")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"no intermediate", "expired on", "does not cover *.a.test", "does not cover b.test"} {
		if !strings.Contains(strings.Join(warnings, "\n"), want) {
			t.Errorf("warnings are %q, want one with %q", warnings, want)
		}
	}
	if len(warnings) != 4 {
		t.Errorf("%d warnings: %q", len(warnings), warnings)
	}
	if _, err := CheckPair(leaf, leaf, now); err == nil {
		t.Error("no key is no error")
	}
}
