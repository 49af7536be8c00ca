package acme

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
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

// importFor imports a certificate of ninety days, of which so many are left.
func importFor(t *testing.T, m *Manager, left time.Duration, name string) *leaf {
	t.Helper()
	end := time.Now().Add(left)
	l := edgetest.NewCA(t).IssueWith(t, edgetest.LeafOptions{NotBefore: end.Add(-90 * day), NotAfter: end}, name)
	if _, _, err := m.Import(t.Context(), l.CertPEM, l.KeyPEM); err != nil {
		t.Fatal(err)
	}
	return m.store.imported(name)
}

// What nobody renews is succeeded by a certificate that is ordered before it ends, and until then the order behind it is not what is next.
func TestImportedCertificateHasASuccessorBeforeItEnds(t *testing.T) {
	for left, ordered := range map[time.Duration]bool{20 * day: false, 14 * day: true} {
		for _, name := range []string{"www.shop.test", "*.shop.test"} {
			m := plannedIssuer(t, knows("www.shop.test"))
			m.Update([]Change{{Name: "www.shop.test"}})
			l := importFor(t, m, left, name)
			m.issuer.process(context.Background(), "www.shop.test") // no issuer is there
			st := statusOf(t, m, "www.shop.test")
			if (st.LastError != "") != ordered {
				t.Errorf("%v of ninety days left, %s: the last error is %q, ordered should be %v", left, name, st.LastError, ordered)
			}
			if at := l.notAfter.Add(-15 * day); !ordered && !st.NextTry.Equal(at) {
				t.Errorf("%v left, %s: next is %v, want %v", left, name, st.NextTry, at)
			}
			if st.Source != SourceImported {
				t.Errorf("%v left, %s: served is what is %s", left, name, st.Source)
			}
		}
	}
}

func TestNameWhoseImportIsRemovedIsOrderedSoon(t *testing.T) {
	for _, name := range []string{"www.shop.test", "*.shop.test"} {
		m := plannedIssuer(t, knows("www.shop.test"))
		m.Update([]Change{{Name: "www.shop.test"}})
		importFor(t, m, 60*day, name)
		m.issuer.process(t.Context(), "www.shop.test")
		if wait := time.Until(m.issuer.plan.at("www.shop.test")); wait < time.Minute {
			t.Fatalf("%s: looked at again in %v", name, wait)
		}
		if err := m.RemoveImported(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if wait := time.Until(m.issuer.plan.at("www.shop.test")); wait > 0 {
			t.Errorf("%s: it is ordered in %v", name, wait)
		}
	}
}

// What a node with other keys has shared cannot be read, and is taken away all the same.
func TestImportThatCannotBeOpenedIsRemoved(t *testing.T) {
	shared := newMemory()
	o := Options{Shared: shared, Keys: keyring(t, otherKey)}
	importFor(t, newManager(t, o), 60*day, "www.shop.test")
	o.Keys = keyring(t, oneKey)
	m := newManager(t, o)
	if err := m.RemoveImported(t.Context(), "www.shop.test"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.imports.vault.unpack("www.shop.test", shared.ranked["cert:{www.shop.test}:manual"].Value); err != errRemoved {
		t.Errorf("what is shared: %v", err)
	}
	for _, name := range []string{"www.shop.test", "api.shop.test"} {
		if err := m.RemoveImported(t.Context(), name); err == nil || !strings.Contains(err.Error(), "nothing was imported for "+name) {
			t.Errorf("%s, where nothing is: %v", name, err)
		}
	}
}

// A node that has other keys than all others is the one that is wrong: it takes nothing of theirs away.
func TestNodeWithOtherSealKeysRemovesNoImport(t *testing.T) {
	shared := newMemory()
	o := Options{Shared: shared, Keys: keyring(t, oneKey)}
	importFor(t, newManager(t, o), 60*day, "www.shop.test")
	key := "cert:{www.shop.test}:manual"
	there := shared.ranked[key]
	o.Keys = keyring(t, otherKey)
	m := newManager(t, o)
	m.Update([]Change{{Name: "www.shop.test"}})
	m.fleet.look(t.Context())
	if err := m.RemoveImported(t.Context(), "www.shop.test"); !errors.Is(err, errStrange) {
		t.Errorf("it says: %v", err)
	}
	if now := shared.ranked[key]; !bytes.Equal(now.Value, there.Value) {
		t.Error("it took the place of what the others share")
	}
	// One that opens what others share knows who is wrong.
	o.Keys = keyring(t, oneKey)
	good := newManager(t, o)
	importFor(t, good, 60*day, "api.shop.test")
	o.Keys = keyring(t, otherKey)
	importFor(t, newManager(t, o), 60*day, "www.shop.test") // before it has looked
	good.Update([]Change{{Name: "www.shop.test"}, {Name: "api.shop.test"}})
	good.fleet.look(t.Context())
	if err := good.RemoveImported(t.Context(), "www.shop.test"); err != nil {
		t.Errorf("a good node: %v", err)
	}
}

// A wildcard without a certificate, and nobody who orders one, is no name that is well.
func TestWildcardThatIsNeverOrderedIsAProblem(t *testing.T) {
	names := knows("*.shop.test")
	m := plannedIssuer(t, names)
	m.Update(names.changes())
	if st := statusOf(t, m, "*.shop.test"); st.Problem != strings.TrimPrefix(m.Renew("*.shop.test").Error(), "acme: ") {
		t.Errorf("problem: %q", st.Problem)
	}
	importFor(t, m, 60*day, "*.shop.test")
	if st := statusOf(t, m, "*.shop.test"); strings.Contains(st.Problem, "dns_hook") {
		t.Errorf("it has a certificate: %q", st.Problem)
	}
	m = newManager(t, Options{Known: names.has})
	m.Update(names.changes())
	if st := statusOf(t, m, "*.shop.test"); st.Problem != "" {
		t.Errorf("nothing is ordered at all: %q", st.Problem)
	}
}
