package acme

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	xacme "golang.org/x/crypto/acme"

	"gatehouse/internal/edgetest"
)

// oneOf are changes that give names one certificate.
func oneOf(set string, names ...string) []Change {
	changes := make([]Change, len(names))
	for i, name := range names {
		changes[i] = Change{Name: name, Set: set}
	}
	return changes
}

func (s *site) orders() int { return strings.Count(s.pebble.Log(), "Issued certificate serial") }

// serveAll waits until the names have one certificate, other than old, for these alone.
func (s *site) serveAll(t *testing.T, old *x509.Certificate, names ...string) *x509.Certificate {
	t.Helper()
	x := s.issued(t, names[0], old)
	for _, name := range names {
		if strings.HasPrefix(name, "*.") {
			name = "any" + name[1:]
		}
		if !served(t, s.Manager, name).Equal(x) || !s.Trusted(name) {
			t.Errorf("%s has another certificate", name)
		}
	}
	slices.Sort(names)
	if got := slices.Sorted(slices.Values(x.DNSNames)); !slices.Equal(got, names) {
		t.Errorf("the certificate is for %v, want %v", got, names)
	}
	return x
}

// The names of a vhost come and go: one order each time that the certificate lacks one, none where it does not.
func TestSetIsOneOrderAndFollowsItsNames(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{http: true, known: []string{"shop.test", "www.shop.test", "blog.shop.test", "alone.test"}})
	stop := run(t, s.Manager)
	s.Update(append(oneOf("shop.test", "www.shop.test", "shop.test"), Change{Name: "alone.test"}))
	first := s.serveAll(t, nil, "shop.test", "www.shop.test")
	s.issued(t, "alone.test", nil)
	if s.store.issued("shop.test") != s.store.issued("www.shop.test") {
		t.Error("each name holds a copy of the certificate")
	}
	if a, b := statusOf(t, s.Manager, "www.shop.test"), statusOf(t, s.Manager, "alone.test"); a.Set != "shop.test" || b.Set != "" {
		t.Errorf("sets are %q and %q", a.Set, b.Set)
	}
	// A name joins: what is there is served until the next one has all names.
	s.Update(oneOf("shop.test", "blog.shop.test"))
	if !served(t, s.Manager, "www.shop.test").Equal(first) && s.orders() == 2 {
		t.Error("the old certificate is not served any more")
	}
	second := s.serveAll(t, first, "blog.shop.test", "shop.test", "www.shop.test")
	// The issuer knows what it replaces: it takes no second order that says so.
	a := s.issuer.accounts[0]
	end := a.gate.allow([]string{"shop.test"}, permit{replaces: certIDOf(first)}, nil)
	if _, err := a.client.AuthorizeOrder(t.Context(), xacme.DomainIDs("shop.test")); err == nil || !isAlreadyReplaced(err) {
		t.Errorf("an order that replaces the first one, too: %v", err)
	}
	end()
	// A name leaves the table: it is not served, and nothing is ordered for that.
	s.names.remove("blog.shop.test")
	s.Update([]Change{{Name: "blog.shop.test", Removed: true}})
	if served(t, s.Manager, "blog.shop.test") != nil || !served(t, s.Manager, "www.shop.test").Equal(second) {
		t.Error("a removed name is served, or the others are not")
	}
	// By any of its names the whole is renewed, without the one that has left.
	if err := s.Renew("www.shop.test"); err != nil {
		t.Fatal(err)
	}
	third := s.serveAll(t, second, "shop.test", "www.shop.test")
	if n := s.orders(); n != 4 { // alone.test's among them
		t.Errorf("%d orders, want 4", n)
	}
	stop()
	again := newSite(t, siteOptions{data: s.data, server: s.pebble, known: []string{"shop.test", "www.shop.test"}})
	again.Update(oneOf("shop.test", "shop.test", "www.shop.test"))
	if !served(t, again.Manager, "www.shop.test").Equal(third) || !served(t, again.Manager, "shop.test").Equal(third) {
		t.Error("after a restart it is not served for all names")
	}
	// The vhost does not want it any more: its own name keeps the certificate, the other one is ordered.
	run(t, again.Manager)
	again.Update([]Change{{Name: "shop.test"}, {Name: "www.shop.test"}})
	eventually(t, "www.shop.test to be tried alone", func() bool {
		st := statusOf(t, again.Manager, "www.shop.test")
		return st.Set == "" && st.LastError != "" // nobody answers the issuer here
	})
	if !again.Trusted("shop.test") || !again.Trusted("www.shop.test") || statusOf(t, again.Manager, "shop.test").LastError != "" {
		t.Error("what was there is not served any more")
	}
}

// A wildcard and its apex by DNS-01, another name by HTTP-01, in one order; a host that the wildcard covers is not in it.
func TestSetWithAWildcard(t *testing.T) {
	t.Parallel()
	zone := t.TempDir()
	hook := filepath.Join(t.TempDir(), "hook")
	script := "#!/bin/sh\ncd " + zone + "\ncase $1 in present) echo \"$3\" >>$2 ;; cleanup) grep -vxF \"$3\" $2 >$2.new; mv $2.new $2 ;; esac\n"
	if err := os.WriteFile(hook, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"http-01", "dns-01"} {
		s := newSite(t, siteOptions{
			http: true, known: []string{"wild.test", "*.wild.test"}, pebble: edgetest.PebbleOptions{DNS: edgetest.DNSWithTXT(t, zone)},
			adjust: func(o *Options) { o.DNSHook, o.ACME.Challenge = hook, kind },
		})
		stop := run(t, s.Manager)
		s.Update(oneOf("wild.test", "www.wild.test", "wild.test", "*.wild.test"))
		s.serveAll(t, nil, "wild.test", "*.wild.test")
		if !s.Trusted("www.wild.test") || s.orders() != 1 {
			t.Errorf("%s: %d orders", kind, s.orders())
		}
		stop()
	}
}

// One name fails each time: after three orders the others get their certificate without it, and keep it.
func TestSetIsNotHeldUpByANameForEver(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{http: true, known: []string{"shop.test", "nxdomain.shop.test", "www.shop.test"}, adjust: func(o *Options) { o.ACME.Challenge = challengeHTTP }})
	s.Update(oneOf("nxdomain.shop.test", "shop.test", "nxdomain.shop.test", "www.shop.test")) // not even its key's name has to work
	key := "nxdomain.shop.test"
	failed := func() failure {
		t.Helper()
		f, err := s.issuer.vault.failure(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	// The waits between attempts are cut short.
	again := func() {
		t.Helper()
		if f := failed(); f.Count > 0 {
			f.Next = time.Now()
			if err := s.issuer.vault.putFailure(t.Context(), key, &f); err != nil {
				t.Fatal(err)
			}
		}
		s.issuer.process(t.Context(), key)
	}
	for n := range leaveOutAfter {
		again()
		if f := failed(); f.Count != n+1 || !slices.Equal(f.Failed, []string{key}) || f.Rest {
			t.Fatalf("after %d attempts: %+v", n+1, f)
		}
	}
	if st := statusOf(t, s.Manager, key); !strings.HasPrefix(st.Problem, key+" is not in the DNS") && !strings.Contains(st.Problem, "name servers of "+key) {
		t.Errorf("its problem: %s", st.Problem)
	}
	st := statusOf(t, s.Manager, "www.shop.test")
	if !strings.HasPrefix(st.Problem, "waits for "+key+", which is in the same certificate: ") || time.Until(st.NextTry) > 2*minRenewWait {
		t.Errorf("the others: %s, next %v", st.Problem, st.NextTry)
	}
	again()
	first := s.serveAll(t, nil, "shop.test", "www.shop.test")
	if s.Trusted(key) || s.orders() != 1 {
		t.Errorf("%d orders", s.orders())
	}
	if st := statusOf(t, s.Manager, "www.shop.test"); st.Problem != "" {
		t.Errorf("the others: %s", st.Problem)
	}
	if st := statusOf(t, s.Manager, key); st.Problem == "" || time.Until(st.NextTry) < time.Hour {
		t.Errorf("its problem: %q, next %v", st.Problem, st.NextTry)
	}
	// All are tried together from then on, and the others are not ordered again for that.
	s.issuer.process(t.Context(), key)
	if f := failed(); f.Count != leaveOutAfter {
		t.Errorf("it was tried before its time: %+v", f)
	}
	f := failed()
	f.Blamed = nil // hours later
	if err := s.issuer.vault.putFailure(t.Context(), key, &f); err != nil {
		t.Fatal(err)
	}
	again()
	if f := failed(); f.Count != leaveOutAfter+1 || !f.Rest || s.orders() != 1 || !served(t, s.Manager, "shop.test").Equal(first) {
		t.Errorf("%d orders, %+v", s.orders(), f)
	}
	// A name that joins does not wait for it.
	s.names.names["blog.shop.test"] = true
	s.Update(oneOf(key, "blog.shop.test"))
	s.issuer.process(t.Context(), key)
	second := s.serveAll(t, first, "blog.shop.test", "shop.test", "www.shop.test")
	// Without it nothing is wrong.
	s.Update([]Change{{Name: key, Removed: true}})
	s.issuer.process(t.Context(), key)
	if st := statusOf(t, s.Manager, "shop.test"); st.Problem != "" || !served(t, s.Manager, "shop.test").Equal(second) {
		t.Errorf("the others: %s", st.Problem)
	}
}

// Each name that joins is an order, which counts for the tenant; the names that are there are not concerned. A renewal that is asked for does not count.
func TestNameThatJoinsASetCountsForTheTenant(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{
		http: true, known: []string{"shop.test", "www.shop.test", "blog.shop.test"},
		adjust: func(o *Options) { o.OrdersPerTenant, o.ACME.Challenge = 1, challengeHTTP },
	})
	run(t, s.Manager)
	s.Update(oneOf("shop.test", "shop.test", "www.shop.test"))
	first := s.serveAll(t, nil, "shop.test", "www.shop.test")
	s.Update(oneOf("shop.test", "blog.shop.test"))
	eventually(t, "it to be put off", func() bool {
		return strings.Contains(statusOf(t, s.Manager, "blog.shop.test").LastError, "orders_per_tenant")
	})
	if st := statusOf(t, s.Manager, "www.shop.test"); st.Problem != "" || !served(t, s.Manager, "www.shop.test").Equal(first) {
		t.Errorf("what is there: %s", st.Problem)
	}
	if err := s.Renew("www.shop.test"); err != nil {
		t.Fatal(err)
	}
	s.serveAll(t, first, "blog.shop.test", "shop.test", "www.shop.test")
}

// A set's certificate is held, and stapled, once.
func TestSetIsStapledOnce(t *testing.T) {
	ca := edgetest.NewCA(t)
	leaf := ca.IssueWith(t, edgetest.LeafOptions{OCSP: "http://127.0.0.1:1/"}, "a.test", "b.test")
	l, err := (&record{PEM: string(leaf.KeyPEM) + string(leaf.CertPEM) + string(ca.PEM), Names: []string{"a.test", "b.test"}}).leaf(SourceACME, "c.test")
	if err != nil {
		t.Fatal(err)
	}
	m := plannedIssuer(t, knows("a.test", "b.test", "c.test"))
	m.Update(oneOf("c.test", "a.test", "b.test", "c.test")) // its own name is not in it
	m.issuer.place("c.test", l)
	for n, name := range []string{"a.test", "b.test"} {
		if st := m.stapler.held[l]; len(m.stapler.held) != 1 || st == nil || st.refs != 2-n || m.store.issued(name) != l {
			t.Errorf("before %s leaves: %+v", name, st)
		}
		m.Update([]Change{{Name: name, Removed: true}})
	}
	if len(m.stapler.held) != 0 || m.store.issued("c.test") != nil {
		t.Error("it is still held")
	}
}

func TestNamesThatNeedACertificate(t *testing.T) {
	ca := edgetest.NewCA(t)
	m := plannedIssuer(t, knows("a.test", "b.test", "intranet"))
	leaf := ca.Issue(t, "b.test")
	if _, _, err := m.Import(t.Context(), append(leaf.CertPEM, ca.PEM...), leaf.KeyPEM); err != nil {
		t.Fatal(err)
	}
	m.Update(oneOf("a.test", "a.test", "b.test", "gone.test", "intranet", "*.a.test"))
	names := m.issuer.wanted["a.test"].names
	if want := []string{"a.test", "b.test", "gone.test", "intranet"}; !slices.Equal(names, want) { // there is no DNS-01
		t.Errorf("names are %v, want %v", names, want)
	}
	need, again := m.issuer.needed(names, false)
	if !slices.Equal(need, []string{"a.test"}) || again != unknownWait {
		t.Errorf("it is for %v, and looked at again after %v", need, again)
	}
	if got := compact([]string{"*.a.test", "a.test", "b.a.test", "c.b.a.test"}); !slices.Equal(got, []string{"*.a.test", "a.test", "c.b.a.test"}) {
		t.Errorf("compact: %v", got)
	}
	if st := statusOf(t, m, "intranet"); !strings.Contains(st.Problem, "no issuer certifies intranet") {
		t.Errorf("problem: %s", st.Problem)
	}
}

func TestRestOfASetIsOrderedAloneOnlyWhereItHasTo(t *testing.T) {
	now := time.Now()
	fresh := &leaf{names: []string{"a.test"}, notBefore: now, notAfter: now.Add(90 * 24 * time.Hour)}
	old := &leaf{names: []string{"a.test"}, notBefore: now.Add(-80 * 24 * time.Hour), notAfter: now.Add(10 * 24 * time.Hour)}
	for name, tc := range map[string]struct {
		f     failure
		l     *leaf
		names []string
		want  []string
	}{
		"two failures":            {failure{Count: 2, Failed: []string{"b.test"}}, nil, []string{"a.test", "b.test"}, nil},
		"three":                   {failure{Count: 3, Failed: []string{"b.test"}}, nil, []string{"a.test", "b.test"}, []string{"a.test"}},
		"no name was to blame":    {failure{Count: 3}, nil, []string{"a.test", "b.test"}, nil},
		"all of them were":        {failure{Count: 3, Failed: []string{"b.test", "a.test"}}, nil, []string{"a.test", "b.test"}, nil},
		"the others have theirs":  {failure{Count: 3, Failed: []string{"b.test"}}, fresh, []string{"a.test", "b.test"}, nil},
		"theirs is due":           {failure{Count: 3, Failed: []string{"b.test"}}, old, []string{"a.test", "b.test"}, []string{"a.test"}},
		"another one has joined":  {failure{Count: 3, Failed: []string{"b.test"}}, fresh, []string{"a.test", "b.test", "c.test"}, []string{"a.test", "c.test"}},
		"it is the only one left": {failure{Count: 3, Failed: []string{"b.test"}}, nil, []string{"b.test"}, nil},
	} {
		if got := tc.f.rest(tc.l, tc.names, time.Time{}); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	f := failure{Failed: []string{"b.test", "c.test"}}
	if f.isOver([]string{"a.test", "c.test"}) || !f.isOver([]string{"a.test"}) || new(failure).isOver([]string{"a.test"}) {
		t.Error("it is over when the last name that failed has left")
	}
}

func TestIssuerThatRefusesANameSaysWhich(t *testing.T) {
	problem := &xacme.Error{StatusCode: 400, ProblemType: "urn:ietf:params:acme:error:rejectedIdentifier", Detail: `Cannot issue for "b.test": forbidden by policy`}
	names := []string{"a.test", "b.test", "c.test"}
	if got := refusedNames(problem, names); !slices.Equal(got, []string{"b.test"}) {
		t.Errorf("it refuses %v", got)
	}
	if got := refusedNames(problem, names[1:2]); got != nil {
		t.Errorf("of an order for one it refuses %v", got)
	}
	problem.Subproblems = []xacme.Subproblem{{Identifier: &xacme.AuthzID{Type: "dns", Value: "c.test"}}}
	if got := refusedNames(errors.Join(errors.New("order"), problem), names); !slices.Equal(got, []string{"c.test"}) {
		t.Errorf("it refuses %v", got)
	}
	text := "order certificate of a.test: the issuer refuses c.test: " + problem.Error()
	if got := Explain("a.test", text, time.Time{}); !strings.HasPrefix(got, "waits for c.test, which is in the same certificate: the issuer does not certify c.test") {
		t.Error(got)
	}
}

func TestExplainNamesWhoHoldsASetUp(t *testing.T) {
	text := errors.Join(
		&validationError{name: "b.test", why: "http-01: dns: NXDOMAIN\nfor b.test"},
		&validationError{name: "c.test", why: "http-01: connection: Connection refused"},
	).Error()
	for name, want := range map[string]string{
		"a.test": "waits for b.test, which is in the same certificate: b.test is not in the DNS",
		"b.test": "b.test is not in the DNS",
		"c.test": "the issuer cannot reach http://c.test/",
	} {
		if got := Explain(name, "order certificate of a.test: "+text, time.Time{}); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}
