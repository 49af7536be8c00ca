package acme

import (
	"strings"
	"testing"
	"time"
)

// ordersOf counts the orders that Pebble took.
func ordersOf(s *site) int { return strings.Count(s.pebble.Log(), "Added order") }

// Another type of key is another certificate, at once; what is there is served until it has come. After a restart likewise, and renewals keep it.
func TestAnotherTypeOfKeyIsOrderedAnew(t *testing.T) {
	t.Parallel()
	const name = "www.shop.test"
	s := newSite(t, siteOptions{http: true, known: []string{name}})
	stop := run(t, s.Manager)
	s.Update([]Change{{Name: name, RSA: true}})
	first := s.issued(t, name, nil)
	if st := statusOf(t, s.Manager, name); st.KeyType != "RSA 2048" {
		t.Errorf("the first order has a key of type %s", st.KeyType)
	}
	s.Update([]Change{{Name: name, RSA: true}}) // nothing new
	if err := s.Renew(name); err != nil {
		t.Fatal(err)
	}
	second := s.issued(t, name, first)
	if st := statusOf(t, s.Manager, name); st.KeyType != "RSA 2048" {
		t.Errorf("the renewal has a key of type %s", st.KeyType)
	}
	s.Update([]Change{{Name: name}})
	if !s.Trusted(name) {
		t.Error("meanwhile the internal CA's certificate is served")
	}
	s.issued(t, name, second)
	if st := statusOf(t, s.Manager, name); st.KeyType != "ECDSA P-256" || time.Until(st.NextTry) < 24*time.Hour {
		t.Errorf("after the change: a key of type %s, next try %v", st.KeyType, st.NextTry)
	}
	stop()
	again := newSite(t, siteOptions{http: true, known: []string{name}, data: s.data, server: s.pebble, adjust: func(o *Options) { o.ACME = ACME{Directory: s.pebble.DirectoryURL, Trust: s.pebble.TrustFile} }})
	stop = run(t, again.Manager)
	before := ordersOf(s)
	again.Update([]Change{{Name: name}})
	eventually(t, "the folder to be read", func() bool { return time.Until(statusOf(t, again.Manager, name).NextTry) > 24*time.Hour })
	if n := ordersOf(s); n != before {
		t.Errorf("%d orders after a restart that changes nothing", n-before)
	}
	stop()
}

// What was changed while the node was away is ordered when it is back. The issuer does not reach it here: that it tries is enough.
func TestTypeOfKeyChangedWhileAway(t *testing.T) {
	t.Parallel()
	const name = "www.shop.test"
	s := newSite(t, siteOptions{http: true, known: []string{name}})
	stop := run(t, s.Manager)
	s.Update([]Change{{Name: name}})
	first := s.issued(t, name, nil)
	stop()
	before := ordersOf(s)
	again := newManager(t, Options{Data: s.data, Issuer: IssuerACME, ACME: ACME{Directory: s.pebble.DirectoryURL, Trust: s.pebble.TrustFile, Challenge: challengeHTTP}})
	run(t, again)
	again.Update([]Change{{Name: name, RSA: true}})
	eventually(t, "an order", func() bool { return ordersOf(s) == before+1 && statusOf(t, again, name).LastError != "" })
	if now := served(t, again, name); !now.Equal(first) {
		t.Error("the certificate that is there is not served any more")
	}
}

// For a suspended name nothing is ordered, and what it has is served.
func TestSuspendedNameIsNotOrdered(t *testing.T) {
	t.Parallel()
	const name, other = "www.shop.test", "blog.test"
	s := newSite(t, siteOptions{http: true, known: []string{name, other}})
	stop := run(t, s.Manager)
	s.Update([]Change{{Name: name, Suspended: true}, {Name: other}})
	first := s.issued(t, other, nil)
	if n := ordersOf(s); n != 1 {
		t.Errorf("%d orders, want that of the other name", n)
	}
	if err := s.Renew(name); err == nil || !strings.Contains(err.Error(), "is suspended") {
		t.Errorf("its renewal: %v", err)
	}
	s.Update([]Change{{Name: name}, {Name: other, Suspended: true}})
	s.issued(t, name, nil)
	if !statusOf(t, s.Manager, other).NextTry.IsZero() || !served(t, s.Manager, other).Equal(first) {
		t.Error("the one that is suspended now is to be renewed, or is not served")
	}
	stop()
	again := newManager(t, Options{Data: s.data, Issuer: IssuerACME, ACME: ACME{Directory: s.pebble.DirectoryURL, Trust: s.pebble.TrustFile}})
	run(t, again)
	again.Update([]Change{{Name: other, Suspended: true, RSA: true}})
	if !served(t, again, other).Equal(first) {
		t.Error("after a restart it is not served")
	}
	eventually(t, "nothing to be planned", func() bool { return !again.issuer.isPlanned(other) })
	if n := ordersOf(s); n != 2 {
		t.Errorf("%d orders, want one of each name", n)
	}
}
