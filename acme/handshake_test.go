package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/edgetest"
)

func TestUnknownServerNameGetsAlert112AndNoCertificate(t *testing.T) {
	m := newManager(t, Options{Known: knows("a.test").has})
	addr := serveTLS(t, serverConfig(m))
	for label, config := range map[string]*tls.Config{
		"unknown":      {ServerName: "b.test"},
		"absent":       {},
		"TLS 1.2":      {ServerName: "b.test", MaxVersion: tls.VersionTLS12},
		"IP address":   {ServerName: "127.0.0.1"},
		"no challenge": {ServerName: "a.test", NextProtos: []string{ALPNProto}},
	} {
		t.Run(label, func(t *testing.T) {
			config.InsecureSkipVerify = true
			config.VerifyConnection = func(cs tls.ConnectionState) error {
				t.Errorf("a certificate was shown: %v", cs.PeerCertificates[0].DNSNames)
				return nil
			}
			if _, err := connect(t, addr, config); !isUnrecognizedName(err) {
				t.Errorf("error is %v, want alert 112", err)
			}
		})
	}
}

func TestInternalCertificateVerifiesAgainstCAFile(t *testing.T) {
	m := newManager(t, Options{Known: knows("a.test").has})
	text, err := os.ReadFile(m.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cs, err := connect(t, serveTLS(t, serverConfig(m)), &tls.Config{
			ServerName: "A.test", RootCAs: roots, MinVersion: version, MaxVersion: version,
		})
		if err != nil {
			t.Fatalf("version %x: %v", version, err)
		}
		leaf := cs.PeerCertificates[0]
		if life := leaf.NotAfter.Sub(leaf.NotBefore); life > mintedLife+2*backdate {
			t.Errorf("version %x: the certificate lives %v", version, life)
		}
	}
}

func TestPreferenceIsFileThenWildcardFileThenIssuedThenInternal(t *testing.T) {
	ca := edgetest.NewCA(t)
	_, exactCert, exactKey := pairFiles(t, ca, edgetest.LeafOptions{}, "www.shop.test")
	_, wildCert, wildKey := pairFiles(t, ca, edgetest.LeafOptions{}, "*.shop.test")
	m := newManager(t, Options{})
	issued := ca.Issue(t, "www.shop.test", "issued.marker")
	l, err := parsePair(SourceACME, issued.CertPEM, issued.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	is := func(step string, source Source, names ...string) {
		t.Helper()
		x := served(t, m, "www.shop.test")
		for _, name := range names {
			if x.VerifyHostname(name) != nil {
				t.Errorf("%s: certificate is for %v, want %v", step, x.DNSNames, names)
			}
		}
		if got := statusOf(t, m, "www.shop.test").Source; got != source {
			t.Errorf("%s: source is %s, want %s", step, got, source)
		}
		if m.Trusted("www.shop.test") != (source != SourceInternal) {
			t.Errorf("%s: Trusted is wrong", step)
		}
	}
	m.Update([]Change{{Name: "www.shop.test"}})
	is("start", SourceInternal, "www.shop.test")
	m.store.putIssued("www.shop.test", l)
	is("issued", SourceACME, "issued.marker")
	m.Update([]Change{{Name: "*.Shop.test", CertFile: wildCert, KeyFile: wildKey}})
	is("wildcard file", SourceFile, "other.shop.test")
	m.Update([]Change{{Name: "www.shop.test", CertFile: exactCert, KeyFile: exactKey}})
	is("exact file", SourceFile, "www.shop.test")
	if served(t, m, "www.shop.test").VerifyHostname("other.shop.test") == nil {
		t.Error("the wildcard's certificate went before the name's own")
	}
	m.Update([]Change{{Name: "www.shop.test"}, {Name: "*.shop.test", Removed: true}})
	is("files gone", SourceACME, "issued.marker")
}

func TestWildcardFileServesOneLabelOnly(t *testing.T) {
	ca := edgetest.NewCA(t)
	_, cert, key := pairFiles(t, ca, edgetest.LeafOptions{}, "*.shop.test")
	m := newManager(t, Options{})
	m.Update([]Change{{Name: "*.shop.test", CertFile: cert, KeyFile: key}})
	for name, fromFile := range map[string]bool{"a.shop.test": true, "a.b.shop.test": false, "shop.test": false} {
		if m.Trusted(name) != fromFile {
			t.Errorf("%s: from the file is %v, want %v", name, !fromFile, fromFile)
		}
		if err := served(t, m, name).VerifyHostname(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The certificate of "*" was served for every site without files, and made Trusted
// send their visitors to an https that no browser accepts.
func TestFileOfTheFallbackIsNotServedForAnotherVhostThatItDoesNotCover(t *testing.T) {
	ca := edgetest.NewCA(t)
	leaf, cert, key := pairFiles(t, ca, edgetest.LeafOptions{}, "fallback.test", "covered.test")
	m := newManager(t, Options{})
	m.Update([]Change{
		{Name: "*", CertFile: cert, KeyFile: key},
		{Name: "shop.test"},
		{Name: "covered.test"},
		{Name: "*.wild.test"},
	})
	for name, fromFile := range map[string]bool{
		"shop.test":      false, // a vhost of its own
		"covered.test":   true,
		"a.wild.test":    false, // selected by the wildcard's vhost
		"a.b.wild.test":  false,
		"stranger.test":  true, // selected by "*", whose operator chose this file
		"x.covered.test": true,
	} {
		x := served(t, m, name)
		if x.Equal(leaf.TLS.Leaf) != fromFile || m.Trusted(name) != fromFile {
			t.Errorf("%s: the certificate is for %v, trusted is %v, want the file's: %v", name, x.DNSNames, m.Trusted(name), fromFile)
		}
		if m.Covers(name, "fallback.test") != fromFile {
			t.Errorf("Covers(%q, fallback.test) is %v", name, !fromFile)
		}
	}
	if st := statusOf(t, m, "shop.test"); st.Source != SourceInternal || st.Warning != "" {
		t.Errorf("status is %+v", st)
	}
	m.Update([]Change{{Name: "shop.test", Removed: true}, {Name: "*.wild.test", Removed: true}})
	for _, name := range []string{"shop.test", "a.wild.test"} {
		if !served(t, m, name).Equal(leaf.TLS.Leaf) {
			t.Errorf("%s: removed, it belongs to * and does not get its file", name)
		}
	}
}

func TestFileOfAWildcardIsNotServedForAnotherVhostThatItDoesNotCover(t *testing.T) {
	ca := edgetest.NewCA(t)
	leaf, cert, key := pairFiles(t, ca, edgetest.LeafOptions{}, "other.test", "covered.shop.test")
	issued := ca.Issue(t, "www.shop.test")
	l, err := parsePair(SourceACME, issued.CertPEM, issued.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	m := newManager(t, Options{})
	m.Update([]Change{
		{Name: "*.shop.test", CertFile: cert, KeyFile: key},
		{Name: "www.shop.test"},
		{Name: "new.shop.test"},
		{Name: "covered.shop.test"},
	})
	m.store.putIssued("www.shop.test", l)
	for name, want := range map[string]*x509.Certificate{
		"www.shop.test":     issued.TLS.Leaf,
		"covered.shop.test": leaf.TLS.Leaf,
		"any.shop.test":     leaf.TLS.Leaf, // as told
	} {
		if x := served(t, m, name); !x.Equal(want) || !m.Trusted(name) {
			t.Errorf("%s: the certificate is for %v, want %v; trusted is %v", name, x.DNSNames, want.DNSNames, m.Trusted(name))
		}
	}
	if m.Trusted("new.shop.test") || served(t, m, "new.shop.test").VerifyHostname("new.shop.test") != nil {
		t.Error("new.shop.test: not served by the internal CA")
	}
}

func TestExpiredIssuedCertificateGivesWayToTheInternalOne(t *testing.T) {
	ca := edgetest.NewCA(t)
	old := ca.IssueWith(t, edgetest.LeafOptions{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}, "a.test")
	l, err := parsePair(SourceACME, old.CertPEM, old.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	m := newManager(t, Options{})
	m.store.putIssued("a.test", l)
	if m.Trusted("a.test") || time.Now().After(served(t, m, "a.test").NotAfter) {
		t.Error("the expired certificate is served")
	}
}

func TestCoversFollowsTheCertificateServed(t *testing.T) {
	ca := edgetest.NewCA(t)
	_, cert, key := pairFiles(t, ca, edgetest.LeafOptions{}, "shop.test", "*.shop.test")
	m := newManager(t, Options{})
	m.Update([]Change{{Name: "shop.test", CertFile: cert, KeyFile: key}})
	for _, tc := range []struct {
		sni, host string
		want      bool
	}{
		{"shop.test", "shop.test", true},
		{"shop.test", "www.shop.test", true},
		{"shop.test", "a.b.shop.test", false},
		{"shop.test", "other.test", false},
		{"www.shop.test", "shop.test", false}, // its own internal certificate
		{"minted.test", "minted.test", true},
		{"minted.test", "other.test", false},
		{"", "", false},
	} {
		if got := m.Covers(tc.sni, tc.host); got != tc.want {
			t.Errorf("Covers(%q, %q) is %v", tc.sni, tc.host, got)
		}
	}
}

func TestLoadedNameIsServedWithoutAllocationOrDisk(t *testing.T) {
	ca := edgetest.NewCA(t)
	_, cert, key := pairFiles(t, ca, edgetest.LeafOptions{}, "file.test")
	data := t.TempDir()
	m := newManager(t, Options{Data: data})
	m.Update([]Change{{Name: "file.test", CertFile: cert, KeyFile: key}, {Name: "minted.test"}})
	served(t, m, "minted.test")
	// What is not there any more cannot be read.
	for _, path := range []string{data, cert, key} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"file.test", "minted.test"} {
		h := hello(name)
		allocs := testing.AllocsPerRun(100, func() {
			if c, err := m.GetCertificate(h); c == nil || err != nil {
				t.Fatalf("%s: %v, %v", name, c, err)
			}
		})
		if allocs > 1 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

func TestMetricsAreRegistered(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := newManager(t, Options{Registerer: registry})
	served(t, m, "a.test")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]float64)
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			label := ""
			for _, pair := range metric.GetLabel() {
				label = pair.GetValue()
			}
			seen[f.GetName()+label] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{"gatehouse_certificates_minted_total": 1, "gatehouse_certificatesinternal": 1, "gatehouse_certificatesfile": 0} {
		if got, ok := seen[name]; !ok || got != want {
			t.Errorf("%s is %v (present %v), want %v", name, got, ok, want)
		}
	}
	if _, err := New(Options{Data: t.TempDir(), Known: m.known, Registerer: registry}); err == nil {
		t.Error("a second registration of the same metrics succeeded")
	}
}

func BenchmarkGetCertificateLoaded(b *testing.B) {
	ca := edgetest.NewCA(b)
	_, cert, key := pairFiles(b, ca, edgetest.LeafOptions{}, "file.test")
	m := newManager(b, Options{})
	m.Update([]Change{{Name: "file.test", CertFile: cert, KeyFile: key}})
	h := hello("file.test")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if c, _ := m.GetCertificate(h); c == nil {
				b.Fatal("no certificate")
			}
		}
	})
}

func BenchmarkGetCertificateMinted(b *testing.B) {
	m := newManager(b, Options{})
	h := hello("a.test")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if c, _ := m.GetCertificate(h); c == nil {
				b.Fatal("no certificate")
			}
		}
	})
}

func BenchmarkMint(b *testing.B) {
	m := newManager(b, Options{})
	for b.Loop() {
		m.minter.drop("a.test")
		if _, err := m.minter.get(context.Background(), "a.test", true); err != nil {
			b.Fatal(err)
		}
	}
}
