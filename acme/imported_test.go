package acme

import (
	"slices"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A wildcard is imported for the names below it, which need no vhost of the wildcard's name.
func TestImportWarnsOfNamesThatNobodyAnswersFor(t *testing.T) {
	ca := edgetest.NewCA(t)
	names := knows("www.shop.test", "deep.in.blog.test")
	m := newManager(t, Options{Known: names.has})
	m.Update(names.changes())
	for name, warned := range map[string]bool{"www.shop.test": false, "*.shop.test": false, "api.shop.test": true, "*.blog.test": true, "*.www.shop.test": true} {
		l := ca.Issue(t, name)
		_, warnings, err := m.Import(t.Context(), append(l.CertPEM, ca.PEM...), l.KeyPEM)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(warnings, "no vhost answers for "+name+" yet") != warned {
			t.Errorf("%s: warnings are %q", name, warnings)
		}
	}
}

// What was imported for a wildcard without a vhost of that name is not renewed by itself either.
func TestImportedWildcardThatEndsIsTold(t *testing.T) {
	var h heard
	m := newManager(t, Options{Notify: h.tell})
	names := knows("www.shop.test", "api.shop.test", "own.shop.test", "deep.www.shop.test")
	m.Update(names.changes())
	ca := edgetest.NewCA(t)
	for left, name := range map[time.Duration]string{3 * day: "*.shop.test", 80 * day: "own.shop.test"} {
		end := time.Now().Add(left)
		l := ca.IssueWith(t, edgetest.LeafOptions{NotBefore: end.Add(-90 * day), NotAfter: end}, name)
		if _, _, err := m.Import(t.Context(), l.CertPEM, l.KeyPEM); err != nil {
			t.Fatal(err)
		}
	}
	m.notices.expiring(t.Context(), m, time.Now())
	if got := h.take(); !slices.Equal(got, []string{"expiring api.shop.test"}) {
		t.Errorf("told of %q", got)
	}
	var ending []string
	m.store.eachOwn(func(name string, l *leaf) {
		if l.ends(time.Now()) {
			ending = append(ending, name)
		}
	})
	slices.Sort(ending)
	if !slices.Equal(ending, []string{"api.shop.test", "www.shop.test"}) {
		t.Errorf("names whose certificate ends: %q", ending)
	}
	m.Update([]Change{{Name: "*.shop.test"}})
	m.notices.expiring(t.Context(), m, time.Now())
	if got := h.take(); !slices.Equal(got, []string{"expiring *.shop.test"}) {
		t.Errorf("the wildcard is in the table: told of %q", got)
	}
}
