package acme

import (
	"crypto/x509"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	xacme "golang.org/x/crypto/acme"

	"gatehouse/internal/edgetest"
)

// The issuer wants a certificate renewed at once, as after an incident: it is, and the order says which one it replaces.
func TestRenewalWhenTheIssuerSaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{http: true, known: []string{"www.shop.test"}, adjust: func(o *Options) { o.ARIEvery = 500 * time.Millisecond }})
	run(t, s.Manager)
	s.Update(s.names.changes())
	first := s.issued(t, "www.shop.test", nil)
	old := s.store.issued("www.shop.test")
	eventually(t, "the issuer is asked", func() bool { return strings.Contains(s.pebble.Log(), "renewalInfo") })
	if served := served(t, s.Manager, "www.shop.test"); !served.Equal(first) {
		t.Fatal("it was renewed before its time")
	}
	s.pebble.SetRenewalWindow(t, first, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	begin := time.Now()
	second := s.issued(t, "www.shop.test", first)
	t.Logf("renewed %v after the window had moved", time.Since(begin).Round(time.Millisecond))
	if samePublicKey(first.PublicKey, second.PublicKey) {
		t.Error("the renewal has the old key")
	}
	// Pebble knows that the first one was replaced: it takes no second order that says so.
	a := s.issuer.accounts[0]
	defer a.gate.allow([]string{"www.shop.test"}, permit{replaces: certID(old)}, nil)()
	_, err := a.client.AuthorizeOrder(t.Context(), xacme.DomainIDs("www.shop.test"))
	if err == nil || !isAlreadyReplaced(err) {
		t.Errorf("an order that replaces it, too: %v", err)
	}
	eventually(t, "the new one has a window of its own", func() bool {
		return time.Until(statusOf(t, s.Manager, "www.shop.test").NextTry) > 24*time.Hour
	})
}

// An issuer that was away when it was first asked is asked again; one that has nothing to say is not.
func TestIssuerIsAskedWhenToRenewAgainAfterAnOutage(t *testing.T) {
	ca := newCountingCA(t, asSoon)
	m := countingNode(t, ca, t.TempDir(), nil, nil)
	l := edgetest.NewCA(t).Issue(t, brokenHost)
	held, err := (&record{Directory: countingDirectory, PEM: string(l.KeyPEM) + string(l.CertPEM)}).leaf(SourceACME, brokenHost)
	if err != nil {
		t.Fatal(err)
	}
	m.issuer.place(brokenHost, held)
	m.issuer.accounts[0].gate.base.DialTLSContext = noRoute
	if wait := m.issuer.askARI(t.Context(), brokenHost); wait < ariRetry*79/100 || wait > ariRetry*121/100 {
		t.Errorf("after an outage it is asked again in %v", wait)
	}
	ca.serve(m)
	if wait := m.issuer.askARI(t.Context(), brokenHost); wait != 0 {
		t.Errorf("an issuer without renewalInfo is asked again in %v", wait)
	}
}

// Without a permit nothing is ordered, whoever asks.
func TestGateLetsNoOrderThroughWithoutAPermit(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{http: true, known: []string{"www.shop.test"}})
	a := s.issuer.accounts[0]
	if err := a.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{{"www.shop.test"}, {"a.shop.test", "www.shop.test"}} {
		end := a.gate.allow([]string{"a.shop.test"}, permit{}, nil)
		_, err := a.client.AuthorizeOrder(t.Context(), xacme.DomainIDs(names...))
		if !errors.Is(err, errNoPermit) {
			t.Errorf("%v: %v", names, err)
		}
		end()
	}
	if strings.Contains(s.pebble.Log(), "Added order") {
		t.Error("an order has left")
	}
}

// A profile is asked for by its name, also where autocert orders.
func TestOrdersAskForAProfile(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"http", "alpn"} {
		s := newSite(t, siteOptions{
			http: by == "http", alpn: by == "alpn", known: []string{"www.shop.test"},
			adjust: func(o *Options) { o.ACME.Profile = "no-such-profile" },
		})
		run(t, s.Manager)
		s.Update(s.names.changes())
		eventually(t, "the order to fail", func() bool { return statusOf(t, s.Manager, "www.shop.test").LastError != "" })
		if st := statusOf(t, s.Manager, "www.shop.test"); !strings.Contains(st.LastError, "profile") {
			t.Errorf("%s: %s", by, st.LastError)
		}
	}
}

func TestCertificateIDRFC9773Section4_1(t *testing.T) {
	cert := edgetest.NewCA(t).Issue(t, "a.test").TLS
	x, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	// The example of the RFC's Appendix A: a serial number whose first bit is set has a zero octet before it.
	x.AuthorityKeyId = []byte{0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4}
	x.SerialNumber = big.NewInt(0x87654321)
	if got := certIDOf(x); got != "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE" {
		t.Errorf("identifier %q", got)
	}
	if x.AuthorityKeyId = nil; certIDOf(x) != "" {
		t.Error("a certificate that does not say who signed it has an identifier")
	}
}

// The second issuer stands in while the first cannot be reached.
func TestSecondIssuerStandsInForTheFirst(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{http: true, known: []string{"www.shop.test"}, adjust: func(o *Options) {
		good := o.ACME
		o.ACME.Directory = "https://127.0.0.1:1/dir"
		o.Fallbacks = []ACME{good}
	}})
	run(t, s.Manager)
	s.Update(s.names.changes())
	s.issued(t, "www.shop.test", nil)
	if l := s.store.issued("www.shop.test"); l.directory != s.pebble.DirectoryURL {
		t.Errorf("it is said to be of %s", l.directory)
	}
	// After a restart it is known as that one's.
	again := newManager(t, Options{
		Data: s.data, Issuer: IssuerACME, ACME: ACME{Directory: "https://127.0.0.1:1/dir"}, Fallbacks: []ACME{{Directory: s.pebble.DirectoryURL}},
	})
	again.Update(s.names.changes())
	if !again.Trusted("www.shop.test") {
		t.Error("after a restart it is not served")
	}
}

// A wildcard is ordered by DNS-01, whose records a program publishes.
func TestWildcardByADNSHook(t *testing.T) {
	t.Parallel()
	zone := t.TempDir()
	hook := filepath.Join(t.TempDir(), "hook")
	script := "#!/bin/sh\ncd " + zone + "\ncase $1 in present) echo \"$3\" >>$2 ;; cleanup) rm $2 ;; esac\n"
	if err := os.WriteFile(hook, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, siteOptions{
		http: true, known: []string{"*.wild.test"}, pebble: edgetest.PebbleOptions{DNS: edgetest.DNSWithTXT(t, zone)},
		adjust: func(o *Options) { o.DNSHook = hook },
	})
	run(t, s.Manager)
	s.Update([]Change{{Name: "*.wild.test"}})
	eventually(t, "the wildcard's certificate", func() bool { return s.Trusted("any.wild.test") })
	if x := served(t, s.Manager, "any.wild.test"); x.VerifyHostname("other.wild.test") != nil {
		t.Errorf("it is for %v", x.DNSNames)
	}
	eventually(t, "the record to be taken away", func() bool {
		left, err := os.ReadDir(zone)
		return err == nil && len(left) == 0
	})
	if calls := s.pebble.Log(); !strings.Contains(calls, "_acme-challenge.wild.test") && !strings.Contains(calls, "DNS") {
		t.Error("pebble's log tells of no question")
	}
}

func TestDNSHookThatFailsSaysWhy(t *testing.T) {
	hook := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho no such zone >&2; exit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	h := &dnsHook{program: hook, limit: dnsHookTime}
	if _, err := h.present(t.Context(), "*.wild.test", "x"); err == nil || !strings.Contains(err.Error(), "no such zone") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("%v", err)
	}
}

// An issuer that takes no order for what the renewal replaces, here since another account has got that, takes one that says nothing of it.
func TestRenewalWhoseReplacesIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{http: true, known: []string{"www.shop.test"}})
	s.Update(s.names.changes())
	s.issuer.process(t.Context(), "www.shop.test")
	first := s.store.issued("www.shop.test")
	if first == nil {
		t.Fatal(s.issuer.wanted["www.shop.test"].err)
	}
	before := s.issuer.accounts[0]
	other, err := newAccount(before.conf, before.vault, false) // the key is in another file
	if err != nil {
		t.Fatal(err)
	}
	s.issuer.accounts[0] = other
	t.Cleanup(func() { before.gate.close(); other.gate.close() })
	if err := s.Renew("www.shop.test"); err != nil {
		t.Fatal(err)
	}
	s.issuer.process(t.Context(), "www.shop.test")
	if err := s.issuer.wanted["www.shop.test"].err; err != nil || s.store.issued("www.shop.test") == first {
		t.Errorf("it is not renewed: %v", err)
	}
	if !first.replacedBy.Load() {
		t.Error("it is said again the next time")
	}
}
