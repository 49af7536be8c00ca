package rediscache

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"gatehouse/acme"
	"gatehouse/internal/edgetest"
)

// shown is the certificate that a handshake gets, whoever it is of.
func (n *fleetNode) shown(t testing.TB, host string) *x509.Certificate {
	t.Helper()
	cert, err := n.GetCertificate(&tls.ClientHelloInfo{ServerName: host, SupportedProtos: []string{"http/1.1"}})
	if err != nil || cert == nil {
		t.Fatalf("%s: %s: %v", n.name, host, err)
	}
	x, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// alone has nodes order nothing.
func alone(o *acme.Options) { o.Issuer = acme.IssuerInternal }

// What is imported on one node is served by all, over wildcards and restarts, until it is removed; whoever is away meanwhile learns of that.
func TestImportedCertificatesAreServedByAllNodes(t *testing.T) {
	f := newFleet(t)
	hosts := []string{"www.shop.test", "api.shop.test"}
	a, b := f.join(t, "n1", t.TempDir(), alone, hosts...), f.join(t, "n2", t.TempDir(), alone, hosts...)
	ca := edgetest.NewCA(t)
	exact, wild := ca.Issue(t, "www.shop.test"), ca.Issue(t, "*.shop.test")
	serial := func(l *edgetest.Leaf) string {
		x, err := x509.ParseCertificate(l.TLS.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return x.SerialNumber.String()
	}
	serves := func(n *fleetNode, host string, l *edgetest.Leaf) func() bool {
		return func() bool { return n.shown(t, host).SerialNumber.String() == serial(l) }
	}
	if _, _, err := a.Import(t.Context(), wild.CertPEM, wild.KeyPEM); err != nil {
		t.Fatal(err)
	}
	for _, host := range hosts {
		edgetest.WaitFor(t, "n2 to serve the wildcard for "+host, serves(b, host, wild))
	}
	names, warnings, err := b.Import(t.Context(), append(exact.CertPEM, ca.PEM...), exact.KeyPEM)
	if err != nil || len(names) != 1 || names[0] != "www.shop.test" || len(warnings) > 0 {
		t.Errorf("%v %v %v", names, warnings, err)
	}
	edgetest.WaitFor(t, "n1 to prefer the exact one", serves(a, "www.shop.test", exact))
	if !serves(a, "api.shop.test", wild)() {
		t.Error("the wildcard does not serve the other name")
	}
	// A later one takes its place though it ends sooner.
	sooner := ca.IssueWith(t, edgetest.LeafOptions{NotAfter: time.Now().Add(time.Hour)}, "www.shop.test")
	if _, _, err := a.Import(t.Context(), sooner.CertPEM, sooner.KeyPEM); err != nil {
		t.Fatal(err)
	}
	edgetest.WaitFor(t, "n2 to serve the later one", serves(b, "www.shop.test", sooner))

	data := b.data
	b.stop()
	f.redis.CLI("FLUSHALL")
	b = f.join(t, "n2", data, alone, hosts...) // it has them, and shares them again
	if !serves(b, "www.shop.test", sooner)() || !serves(b, "api.shop.test", wild)() {
		t.Error("after a restart they are not served at once")
	}
	c := f.join(t, "n3", t.TempDir(), alone, hosts...)
	edgetest.WaitFor(t, "n3 to have what was lost in Redis", serves(c, "www.shop.test", sooner))

	data = b.data
	b.stop()
	if err := a.RemoveImported(t.Context(), "www.shop.test"); err != nil {
		t.Fatal(err)
	}
	b = f.join(t, "n2", data, alone, hosts...)
	for _, n := range []*fleetNode{a, b, c} {
		edgetest.WaitFor(t, n.name+" to serve the wildcard again", serves(n, "www.shop.test", wild))
	}
	if err := a.RemoveImported(t.Context(), "www.shop.test"); err == nil || !strings.Contains(err.Error(), "nothing was imported for www.shop.test") {
		t.Errorf("removed twice: %v", err)
	}
}

func TestImportsThatAreRefused(t *testing.T) {
	f := newFleet(t)
	n := f.join(t, "n1", t.TempDir(), alone, "www.shop.test")
	ca := edgetest.NewCA(t)
	good, other := ca.Issue(t, "www.shop.test"), ca.Issue(t, "www.shop.test")
	expired := ca.IssueWith(t, edgetest.LeafOptions{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)}, "www.shop.test")
	before := n.shown(t, "www.shop.test")
	for name, tt := range map[string]struct {
		cert, key []byte
		names     []string
		says      string
	}{
		"wrong key":      {good.CertPEM, other.KeyPEM, nil, "key does not match"},
		"no key":         {good.CertPEM, good.CertPEM, nil, "no private key"},
		"no certificate": {good.KeyPEM, good.KeyPEM, nil, "no certificate"},
		"another name":   {good.CertPEM, good.KeyPEM, []string{"api.shop.test"}, "does not cover api.shop.test"},
		"no name":        {good.CertPEM, good.KeyPEM, []string{"a b"}, "neither a host name"},
		"everything":     {good.CertPEM, good.KeyPEM, []string{"*"}, "neither a host name"},
	} {
		if _, _, err := n.Import(t.Context(), tt.cert, tt.key, tt.names...); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !n.shown(t, "www.shop.test").Equal(before) {
		t.Error("what was refused is served")
	}
	_, warnings, err := n.Import(t.Context(), expired.CertPEM, expired.KeyPEM)
	if err != nil || !strings.Contains(strings.Join(warnings, "; "), "expired on") {
		t.Errorf("expired: %v %v", warnings, err)
	}
	f.redis.Stop()
	if _, _, err := n.Import(t.Context(), good.CertPEM, good.KeyPEM); err == nil {
		t.Error("an import that no other node has is no error")
	}
}
