package acme

import (
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
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
	eventually(t, "a key of the other type, until its renewal", func() bool {
		st := statusOf(t, s.Manager, name)
		return st.KeyType == "ECDSA P-256" && time.Until(st.NextTry) > 24*time.Hour
	})
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

// What was changed while the node was away is ordered when it is back. The issuer does not reach it here: that it tries is enough. Now and then Pebble takes
// the name for validated still.
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
	var st Status
	eventually(t, "an order", func() bool {
		st = statusOf(t, again, name)
		return ordersOf(s) == before+1 && (st.LastError != "" || st.KeyType == "RSA 2048")
	})
	if now := served(t, again, name); st.LastError != "" && !now.Equal(first) {
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

// A set is ordered with its vhost's type of key: another one is one order for all its names, and nothing is ordered while it is suspended, whoever joins.
func TestSetHasTheTypeOfKeyOfItsVhost(t *testing.T) {
	t.Parallel()
	names := []string{"shop.test", "www.shop.test"}
	s := newSite(t, siteOptions{http: true, known: append([]string{"blog.shop.test"}, names...)})
	run(t, s.Manager)
	wants := func(c Change, names ...string) (changes []Change) {
		for _, name := range names {
			c.Name, c.Set = name, "shop.test"
			changes = append(changes, c)
		}
		return changes
	}
	types := func(want string, names ...string) {
		t.Helper()
		for _, name := range names {
			if st := statusOf(t, s.Manager, name); st.KeyType != want || st.Set != "shop.test" {
				t.Errorf("%s has a key of type %s, in the set %q", name, st.KeyType, st.Set)
			}
		}
	}
	s.Update(wants(Change{RSA: true}, names...))
	first := s.serveAll(t, nil, names...)
	types("RSA 2048", names...)
	s.Update(wants(Change{}, names...))
	second := s.serveAll(t, first, names...)
	types("ECDSA P-256", names...)
	s.Update(wants(Change{Suspended: true}, "shop.test", "www.shop.test", "blog.shop.test"))
	if err := s.Renew("www.shop.test"); err == nil || !strings.Contains(err.Error(), "is suspended") {
		t.Errorf("its renewal: %v", err)
	}
	if s.issuer.isPlanned("shop.test") || !served(t, s.Manager, "www.shop.test").Equal(second) || ordersOf(s) != 2 {
		t.Errorf("%d orders, or one is to come, or it is not served", ordersOf(s))
	}
	s.Update(wants(Change{RSA: true}, "shop.test", "www.shop.test", "blog.shop.test"))
	s.serveAll(t, second, "shop.test", "www.shop.test", "blog.shop.test")
	types("RSA 2048", "shop.test", "www.shop.test", "blog.shop.test")
	if n := ordersOf(s); n != 3 {
		t.Errorf("%d orders, want 3", n)
	}
}

// Where a wish for another type changes once more during the order for it, that order is not the last one; and no name that fails holds it up.
func TestWishForAKeyOutlivesTheOrderForAnother(t *testing.T) {
	m := plannedIssuer(t, knows("a.test", "b.test"))
	m.Update(oneOf("a.test", "a.test", "b.test"))
	o := m.issuer.wanted["a.test"]
	o.leaf = &leaf{names: o.names, keyType: "ECDSA P-256", notBefore: time.Now(), notAfter: time.Now().Add(90 * 24 * time.Hour)}
	o.rsa, o.rekey = true, true
	try := &try{key: "a.test", order: o, all: o.names, names: o.names}
	m.issuer.finish(try, nil, time.Hour) // of an ECDSA key: it was wished for when the order began
	if !o.mismatched(o.leaf) {
		t.Error("the wish for an RSA key is forgotten")
	}
	f := failure{Count: leaveOutAfter, Next: time.Now().Add(time.Hour), Failed: []string{"b.test"}, Rest: true}
	if wait, why := m.issuer.choose(try, &f); wait > 0 || len(try.names) != 1 {
		t.Errorf("%v wait %v: %v", try.names, wait, why)
	}
	o.leaf.keyType = "RSA 2048"
	if m.issuer.finish(try, nil, time.Hour); o.rekey {
		t.Error("it is ordered without end")
	}
}

// Who wants another type of key again and again takes no more of the issuer's limits than who adds names. Each host of a set says why it has the old one.
func TestAnotherTypeOfKeyCountsForTheTenant(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{
		http: true, known: []string{"shop.test", "www.shop.test"},
		adjust: func(o *Options) { o.OrdersPerTenant, o.ACME.Challenge = 1, challengeHTTP },
	})
	run(t, s.Manager)
	changes := oneOf("shop.test", "shop.test", "www.shop.test")
	s.Update(changes)
	first := s.serveAll(t, nil, "shop.test", "www.shop.test")
	for n := range changes {
		changes[n].RSA = true
	}
	s.Update(changes)
	for _, name := range []string{"shop.test", "www.shop.test"} {
		eventually(t, "it to be put off", func() bool {
			return strings.Contains(statusOf(t, s.Manager, name).LastError, "orders_per_tenant")
		})
		if !served(t, s.Manager, name).Equal(first) {
			t.Errorf("the certificate of %s is not served any more", name)
		}
	}
	if n := ordersOf(s); n != 1 {
		t.Errorf("%d orders, want that of the first certificate", n)
	}
}

// What another node has may come behind what is here: the wish is for what is served.
func TestWishForAKeyIsNotMetByACertificateThatIsNotServed(t *testing.T) {
	m := plannedIssuer(t, knows("a.test"))
	m.Update([]Change{{Name: "a.test"}})
	o := m.issuer.wanted["a.test"]
	m.issuer.look("a.test", o)
	mine := placeIssued(t, m, edgetest.LeafOptions{}, "a.test")
	m.Update([]Change{{Name: "a.test", RSA: true}})
	m.issuer.take("a.test", &leaf{names: mine.names, keyType: "RSA 2048", notBefore: mine.notBefore, notAfter: mine.notAfter.Add(-time.Hour)})
	if o.leaf != mine || !o.mismatched(mine) || time.Until(m.issuer.plan.at("a.test")) > 0 {
		t.Errorf("the one that is served is ours: %v, another is wanted: %v, at %v", o.leaf == mine, o.rekey, m.issuer.plan.at("a.test"))
	}
}
