package dnsupdate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"gatehouse/acme"
	"gatehouse/internal/edgetest"
)

var _ acme.DNSPublisher = (*Updater)(nil)

// A name and its wildcard are ordered at the same time, each by itself or as one, with records in a zone that the name is delegated to, and Pebble asks
// the server that was updated.
func TestNameAndWildcardAreOrderedByUpdates(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]string{"alone": "", "as a set": "shop.test"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testNameAndWildcard(t, set)
		})
	}
}

func testNameAndWildcard(t *testing.T, set string) {
	const place = "shop.acme.test."
	s := serve(t, []string{challenge + " 60 IN CNAME " + place}, "shop.test.", "acme.test.")
	p := edgetest.PebbleWith(t, edgetest.PebbleOptions{DNS: s.Addr})
	m := managerOf(t, p, newUpdater(t, optionsFor(s)))
	m.Update([]acme.Change{{Name: "shop.test", Set: set}, {Name: "*.shop.test", Set: set}})
	serials := map[string]bool{}
	for _, name := range []string{"shop.test", "any.shop.test"} {
		edgetest.WaitFor(t, "the certificate of "+name, func() bool { return m.Trusted(name) })
		cert, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		x, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil || x.VerifyHostname(name) != nil {
			t.Errorf("the certificate of %s: %v, %v", name, x.DNSNames, err)
		}
		serials[x.SerialNumber.String()] = true
	}
	if one := len(serials) == 1; one != (set != "") {
		t.Errorf("%d certificates", len(serials))
	}
	edgetest.WaitFor(t, "the records to be taken away", func() bool { return s.Updates() == 4 })
	if left := slices.Concat(s.TXT(place), s.TXT(challenge)); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// What an operator reads of an update that fails is what to do.
func TestListSaysWhyAnUpdateFails(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "shop.test.")
	o := optionsFor(s)
	o.Key.Secret = []byte("no")
	m := managerOf(t, edgetest.PebbleWith(t, edgetest.PebbleOptions{DNS: s.Addr}), newUpdater(t, o))
	m.Update([]acme.Change{{Name: "*.shop.test"}})
	var problem string
	edgetest.WaitFor(t, "the order to fail", func() bool {
		if st, ok := m.StatusOf("*.shop.test"); ok {
			problem = acme.Explain(st.Name, st.LastError, st.NextTry)
		}
		return problem != ""
	})
	if want := "the update by certificates.acme.dns_update failed: " + s.Addr + ` has another secret for the key "acme": set key to the server's`; !strings.HasPrefix(problem, want) {
		t.Errorf("it says %q", problem)
	}
}

// managerOf runs a manager that orders from Pebble, by DNS-01 alone, until the test ends.
func managerOf(t *testing.T, p *edgetest.PebbleServer, u *Updater) *acme.Manager {
	t.Helper()
	m, err := acme.New(acme.Options{
		Data: t.TempDir(), Issuer: acme.IssuerACME, DNS: u, Known: func(string) bool { return true }, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		ACME: acme.ACME{Directory: p.DirectoryURL, Trust: p.TrustFile, Challenge: "dns-01"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return m
}
