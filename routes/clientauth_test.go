package routes

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authorityPEM makes a certificate for a name.
func authorityPEM(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestParseAuthorities(t *testing.T) {
	one, two := string(authorityPEM(t, "one")), string(authorityPEM(t, "two"))
	for _, c := range []struct {
		name, text string
		count      int
		err        string
	}{
		{"one", one, 1, ""},
		{"with text around", "# ours\n" + one + "theirs:\n" + two + "end\n", 2, ""},
		{"one twice", one + two + one, 2, ""},
		{"nothing", "", 0, "it holds no PEM certificate"},
		{"cut short", one + two[:len(two)/2], 0, "its PEM text is damaged"},
		{"a key", one + "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", 0, "it holds a private key"},
		{"no certificate inside", one + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0, "certificate 2: "},
		{"too long a name", string(authorityPEM(t, strings.Repeat("x", maxSubjects))), 0, "their names are more than 32 KiB"},
		{"too long", strings.Repeat("x", maxAuthorities+1), 0, "more than 1024 KiB"},
	} {
		list, err := ParseAuthorities([]byte(c.text))
		if len(list) != c.count || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %d certificates, %v", c.name, len(list), err)
		}
	}
}

func TestAuthoritiesOfAFileBelongToTheFileThatNamesThem(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), authorityPEM(t, "one"), 0o600); err != nil {
		t.Fatal(err)
	}
	docs, problems := ParseFile(filepath.Join(dir, "a.yaml"), []byte("vhosts:\n  a.test: {backends: [http://b], tls: {client_auth: {mode: required, ca: ca.pem}}}\n"))
	if len(problems) > 0 || docs[0].Vhost == nil {
		t.Fatal(problems, docs)
	}
	c := docs[0].Vhost.TLS.ClientAuth
	if list, err := c.Authorities(); len(list) != 1 || err != nil || c.Inline() || !c.Tells() {
		t.Errorf("%+v: %v, %v", c, list, err)
	}
}

func TestAuthoritiesInRedisAreAPathOrText(t *testing.T) {
	read := func(ca string) (*Vhost, Problems) {
		text, err := json.Marshal(map[string]any{"tls": map[string]any{"client_auth": map[string]any{"mode": "optional", "ca": ca}}})
		if err != nil {
			t.Fatal(err)
		}
		doc := ParseJSON(Key{KindVhost, "a.test"}, "vhost:a.test", text)
		return doc.Vhost, doc.Problems
	}
	if _, problems := read("ca.pem"); !strings.Contains(problems.Error(), "want an absolute path here, or the PEM text itself") {
		t.Errorf("a relative path: %v", problems)
	}
	if v, problems := read("/etc/ca.pem"); v == nil || v.TLS.ClientAuth.Inline() {
		t.Errorf("a path: %v", problems)
	}
	v, problems := read(string(authorityPEM(t, "one")))
	if v == nil || !v.TLS.ClientAuth.Inline() {
		t.Fatalf("text: %v", problems)
	}
	if list, err := v.TLS.ClientAuth.Authorities(); len(list) != 1 || err != nil {
		t.Errorf("text: %v, %v", list, err)
	}
}

func TestSettingsOfTLS(t *testing.T) {
	for _, c := range []struct {
		tls         *TLS
		policy, min string
	}{
		{nil, "intermediate", "1.2"},
		{&TLS{}, "intermediate", "1.2"},
		{&TLS{MinVersion: "1.3"}, "intermediate", "1.3"},
		{&TLS{Policy: "modern"}, "modern", "1.3"},
		{&TLS{Policy: "old"}, "old", "1.0"},
		{&TLS{Policy: "old", MinVersion: "1.2"}, "old", "1.2"},
	} {
		s := (&Route{Vhost: &Vhost{TLS: c.tls}}).Settings(nil)
		if s.TLSPolicy != c.policy || s.MinTLS != c.min {
			t.Errorf("%+v: %s, %s", c.tls, s.TLSPolicy, s.MinTLS)
		}
	}
}

func FuzzParseAuthorities(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN "))
	f.Fuzz(func(t *testing.T, text []byte) {
		if list, err := ParseAuthorities(text); (err == nil) != (len(list) > 0) {
			t.Errorf("%d certificates, %v", len(list), err)
		}
	})
}
