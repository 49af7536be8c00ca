package rediscache

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/acme"
	"gatehouse/internal/edgetest"
)

// set are changes that give names one certificate, under the first.
func set(names ...string) []acme.Change {
	changes := make([]acme.Change, len(names))
	for i, name := range names {
		changes[i] = acme.Change{Name: name, Set: names[0]}
	}
	return changes
}

// one waits until all nodes serve one certificate for all names, another than old.
func (f *fleet) one(t *testing.T, old *x509.Certificate, names ...string) *x509.Certificate {
	t.Helper()
	var x *x509.Certificate
	for _, n := range f.nodes {
		for _, name := range names {
			edgetest.WaitForWithin(t, pastLease, n.name+" to have "+name, func() bool {
				now := n.serves(t, name)
				return now != nil && !now.Equal(old)
			})
			if now := n.serves(t, name); x == nil {
				x = now
			} else if !now.Equal(x) {
				t.Errorf("%s serves another certificate of %s", n.name, name)
			}
		}
	}
	if got := slices.Sorted(slices.Values(x.DNSNames)); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
		t.Errorf("the certificate is for %v, want %v", got, names)
	}
	return x
}

// Two nodes share sets: as many orders as there are, again where a name joins, whichever node hears of it first; and one that is new orders nothing.
func TestSetsAreOrderedOnceByAllNodes(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.join(t, "n1", t.TempDir(), nil)
	f.join(t, "n2", t.TempDir(), nil)
	shop, blog := []string{"shop.test", "a.shop.test", "www.shop.test"}, []string{"blog.test", "www.blog.test"}
	for _, n := range f.nodes {
		n.Update(append(set(shop...), set(blog...)...))
	}
	first := f.one(t, nil, shop...)
	other := f.one(t, nil, blog...)
	if f.orders() != 2 || f.accounts() != 1 || f.invalid() != 0 {
		t.Fatalf("%d orders of two sets, %d accounts, %d failed validations", f.orders(), f.accounts(), f.invalid())
	}
	shop = append(shop, "new.shop.test")
	for _, n := range f.nodes {
		n.Update(set(shop...))
	}
	second := f.one(t, first, shop...)
	if f.orders() != 3 {
		t.Errorf("%d orders, want 3", f.orders())
	}
	if keys := f.redis.CLI("KEYS", "*cert:{*}"); strings.Count(keys, "cert:{") != 2 {
		t.Errorf("certificates are kept under %s", keys)
	}
	late := f.join(t, "n3", t.TempDir(), nil)
	late.Update(append(set(shop...), set(blog...)...))
	has := func(name string, want *x509.Certificate) { // the first handshake asks for it, by any of its names, and waits 250 ms at most
		t.Helper()
		var x *x509.Certificate
		edgetest.WaitFor(t, "n3 to have a certificate of "+name, func() bool {
			x = late.serves(t, name)
			return x != nil
		})
		if !x.Equal(want) {
			t.Errorf("n3 has another certificate of %s", name)
		}
	}
	for _, name := range shop[1:] {
		has(name, second)
	}
	has(blog[1], other)
	// A name has left on one node and not yet on the others: that is no reason to order, and a renewal is everybody's.
	f.nodes[0].Update([]acme.Change{{Name: "new.shop.test", Removed: true}})
	if err := late.Renew("a.shop.test"); err != nil {
		t.Fatal(err)
	}
	for _, n := range f.nodes {
		for _, name := range shop[:3] {
			edgetest.WaitFor(t, n.name+" to have the renewed one of "+name, func() bool { return !n.serves(t, name).Equal(second) })
		}
	}
	if f.orders() != 4 {
		t.Errorf("%d orders, want 4", f.orders())
	}
}

// What fails of a set is known to all nodes: one order, and no node tries the names apart.
func TestFailureOfASetIsSharedByAllNodes(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.pebble = edgetest.PebbleWith(t, edgetest.PebbleOptions{HTTPPort: f.httpPort})
	for _, name := range []string{"n1", "n2"} {
		f.join(t, name, t.TempDir(), nil)
	}
	for _, n := range f.nodes {
		n.Update(set("shop.test", "nxdomain.shop.test"))
	}
	for _, n := range f.nodes {
		edgetest.WaitFor(t, n.name+" to know that it failed", func() bool {
			st, _ := n.StatusOf("shop.test")
			return strings.HasPrefix(st.Problem, "waits for nxdomain.shop.test") && time.Until(st.NextTry) > 5*time.Minute
		})
	}
	if f.invalid() != 1 || f.orders() != 0 {
		t.Errorf("%d failed validations, %d orders", f.invalid(), f.orders())
	}
}
