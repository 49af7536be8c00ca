package acme

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// placeIssued puts a certificate in place as if it had been ordered.
func placeIssued(t *testing.T, m *Manager, o edgetest.LeafOptions, names ...string) *leaf {
	t.Helper()
	ca := edgetest.NewCA(t)
	pair := ca.IssueWith(t, o, names...)
	l, err := (&record{Directory: m.issuer.accounts[0].conf.Directory, PEM: string(pair.KeyPEM) + string(pair.CertPEM) + string(ca.PEM)}).leaf(SourceACME, names[0])
	if err != nil {
		t.Fatal(err)
	}
	m.issuer.place(names[0], l)
	return l
}

// Nobody is called for a certificate that ends, or an order that failed, where nothing is ordered on purpose.
func TestSuspendedNameIsNoConcernOfOperators(t *testing.T) {
	var h heard
	m := newManager(t, Options{
		Issuer: IssuerACME, Notify: h.tell, ACME: ACME{Directory: "https://127.0.0.1:1/dir"}, Known: knows("a.test", "none.test").has,
	})
	end := time.Now().Add(3 * day)
	m.Update([]Change{{Name: "a.test"}, {Name: "none.test", Suspended: true}})
	m.issuer.look("a.test", m.issuer.wanted["a.test"])
	placeIssued(t, m, edgetest.LeafOptions{NotBefore: end.Add(-90 * day), NotAfter: end}, "a.test")
	m.issuer.wanted["a.test"].err = errors.New("an order that failed")
	found := func() (told []string, week, failing, waiting int) {
		m.notices.expiring(t.Context(), m, time.Now())
		return h.take(), newExpiries(m).walk().week, m.issuer.failing(), m.issuer.waiting()
	}
	m.Update([]Change{{Name: "a.test", Suspended: true}})
	if told, week, failing, waiting := found(); told != nil || week+failing+waiting != 0 {
		t.Errorf("suspended: told %q, %d end, %d fail, %d wait", told, week, failing, waiting)
	}
	if again := m.issuer.askARI(t.Context(), "a.test"); again != 0 {
		t.Errorf("its issuer is asked in %v when to renew it", again)
	}
	if st := statusOf(t, m, "a.test"); !strings.Contains(st.Problem, "is suspended") || st.LastError != "" {
		t.Errorf("the list says %q, %q", st.Problem, st.LastError)
	}
	m.Update([]Change{{Name: "a.test"}, {Name: "none.test"}})
	if told, week, failing, waiting := found(); !slices.Equal(told, []string{"expiring a.test"}) || week != 1 || failing != 1 || waiting != 1 {
		t.Errorf("afterwards: told %q, %d end, %d fail, %d wait", told, week, failing, waiting)
	}
	if st := statusOf(t, m, "a.test"); strings.Contains(st.Problem, "is suspended") || st.LastError == "" {
		t.Errorf("afterwards the list says %q, %q", st.Problem, st.LastError)
	}
}

// A certificate that is revoked meanwhile is ordered anew as soon as anything is.
func TestCertificateRevokedWhileSuspendedIsReplacedAfterwards(t *testing.T) {
	m := plannedIssuer(t, knows("a.test"))
	m.Update([]Change{{Name: "a.test"}})
	o := m.issuer.wanted["a.test"]
	m.issuer.look("a.test", o)
	l := placeIssued(t, m, edgetest.LeafOptions{}, "a.test")
	m.Update([]Change{{Name: "a.test", Suspended: true}})
	m.issuer.revoked(l)
	if !m.issuer.plan.at("a.test").IsZero() {
		t.Error("it is ordered while it is suspended")
	}
	m.Update([]Change{{Name: "a.test"}})
	if at := m.issuer.plan.at("a.test"); at.IsZero() || time.Until(at) > 0 || !o.force || o.hand {
		t.Errorf("afterwards it is looked at %v, by force: %v", at, o.force)
	}
}
