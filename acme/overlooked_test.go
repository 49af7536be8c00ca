package acme

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// What was imported while a node was alone is served once it shares, whether a handshake asks for the name or not, and is sealed then.
func TestImportsFromBeforeAnythingWasSharedAreLoaded(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), edgetest.NewCA(t)
	alone := newManager(t, Options{Data: dir})
	for _, name := range []string{"a.test", "*.b.test"} {
		l := ca.Issue(t, name)
		if _, _, err := alone.Import(t.Context(), append(l.CertPEM, ca.PEM...), l.KeyPEM); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"bad.test.pem", "bad.test.sealed"} {
		if err := os.WriteFile(filepath.Join(alone.imports.vault.dir, file), []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, said := newLog()
	m := newManager(t, Options{Data: dir, Shared: newMemory(), Keys: keyring(t, oneKey), Logger: log})
	m.imports.load(t.Context())
	if n := strings.Count(said.String(), "imported certificate not usable"); n != 1 {
		t.Errorf("what is wrong with a file is said %d times:\n%s", n, said)
	}
	for _, name := range []string{"a.test", "*.b.test"} {
		if m.store.imported(name) == nil {
			t.Error(name, "is not there")
		}
		if _, err := os.Stat(m.imports.vault.plainFile(name)); err == nil {
			t.Error(name, "is in plain still")
		}
	}
}

// A key of tickets that a full disk did not take is written when it can be: a restart would else refuse the tickets that it has sealed.
func TestTicketKeyThatCouldNotBeKeptIsWrittenLater(t *testing.T) {
	t.Parallel()
	for what, shared := range map[string]Shared{"alone": nil, "shared": newMemory()} {
		dir, now := t.TempDir(), time.Now()
		open := func() *tickets {
			return &tickets{
				dir: dir, known: func(string) bool { return true }, log: slog.New(slog.DiscardHandler), count: newMetrics().tickets,
				shared: shared, keys: keyring(t, oneKey), asks: shared != nil,
			}
		}
		n := open()
		if err := n.rotate(t.Context(), now); err != nil {
			t.Fatal(what, err)
		}
		if err := os.RemoveAll(dir); err != nil { // as if it were full
			t.Fatal(err)
		}
		now = now.Add(2 * ticketEpoch) // the keys that it has are old ones by then
		if err := n.rotate(t.Context(), now); err == nil || !n.ring.Load().unkept {
			t.Error(what, "nobody knows of it:", err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := n.rotate(t.Context(), now); err != nil || n.ring.Load().unkept {
			t.Error(what, err)
		}
		again := open()
		again.asks = false // it has the folder alone
		if err := again.rotate(t.Context(), now); err != nil {
			t.Fatal(what, err)
		}
		for _, epoch := range []uint32{epochAt(now), epochAt(now) + 1} {
			if got := again.ring.Load().key(epoch).key; !slices.Equal(got, n.ring.Load().key(epoch).key) {
				t.Error(what, "a restart has another key of", epoch)
			}
		}
	}
}

// A certificate that comes from the other nodes is the one that somebody wants replaced, if this node has had none.
func TestWishForAnotherCertificateOutlivesTheFirstSightOfTheOld(t *testing.T) {
	t.Parallel()
	m := plannedIssuer(t, knows("a.test"))
	m.Update([]Change{{Name: "a.test"}})
	o := m.issuer.wanted["a.test"]
	m.issuer.look("a.test", o)
	if err := m.Renew("a.test"); err != nil {
		t.Fatal(err)
	}
	made := func(end time.Time) *leaf {
		ca := edgetest.NewCA(t)
		pair := ca.IssueWith(t, edgetest.LeafOptions{NotBefore: end.Add(-90 * day), NotAfter: end}, "a.test")
		l, err := (&record{Directory: m.issuer.accounts[0].conf.Directory, PEM: string(pair.KeyPEM) + string(pair.CertPEM) + string(ca.PEM)}).leaf(SourceACME, "a.test")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	m.issuer.take("a.test", made(time.Now().Add(80*day)))
	if !o.force || !o.hand || time.Until(m.issuer.plan.at("a.test")) > 0 {
		t.Errorf("forgotten: %+v", o.leaf)
	}
	m.issuer.take("a.test", made(time.Now().Add(89*day)))
	if o.force || o.hand {
		t.Error("another node has renewed it, and it is ordered once more")
	}
}

// Nothing of the table is called like it, and * has its names served all the same.
func TestImportThatServesOnlyNamesOfAWildcardVhostIsToldWhenItEnds(t *testing.T) {
	t.Parallel()
	var h heard
	m := newManager(t, Options{Notify: h.tell, Known: func(name string) bool { return name != "gone.test" }})
	m.Update([]Change{{Name: "*"}})
	for _, name := range []string{"*.shop.test", "blog.test", "gone.test"} {
		importFor(t, m, 3*day, name)
	}
	m.notices.expiring(t.Context(), m, time.Now())
	got := h.take()
	slices.Sort(got)
	if !slices.Equal(got, []string{"expiring *.shop.test", "expiring blog.test"}) {
		t.Errorf("told of %q", got)
	}
	if found := (&expiries{m: m}).walk(); found.week != 2 || found.soonest[SourceImported].IsZero() {
		t.Errorf("%+v", found)
	}
}
