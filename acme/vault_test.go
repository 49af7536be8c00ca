package acme

import (
	"context"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A node that starts may learn that nothing is shared before it has read its folder: what is there is shared all the same, and nobody orders it.
func TestWhatIsOnlyInTheFolderIsSharedAgain(t *testing.T) {
	names := knows("www.shop.test", "api.shop.test")
	o := Options{
		Data: t.TempDir(), Known: names.has, Keys: keyring(t, oneKey), Issuer: IssuerACME, ACME: ACME{Directory: "https://127.0.0.1:1/dir"},
	}
	start := func() (*Manager, *memory) {
		shared := newMemory()
		o.Shared = shared
		m := newManager(t, o)
		m.Update(names.changes()) // it does not run: nothing is read by itself
		return m, shared
	}
	ca := edgetest.NewCA(t)
	issued, imported := ca.Issue(t, "www.shop.test"), ca.Issue(t, "api.shop.test")
	m, _ := start()
	r := record{PEM: string(issued.KeyPEM) + string(issued.CertPEM)}
	if _, err := m.issuer.vault.put(t.Context(), "www.shop.test", &r, issued.TLS.Leaf.NotAfter); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Import(t.Context(), imported.CertPEM, imported.KeyPEM); err != nil {
		t.Fatal(err)
	}

	m, shared := start()
	if !m.fleet.bring(t.Context(), "www.shop.test", "api.shop.test") {
		t.Fatal("what is shared could not be read")
	}
	for _, key := range []string{"cert:{www.shop.test}", "cert:{api.shop.test}:manual"} {
		if shared.ranked[key].Value == nil {
			t.Errorf("%s is not shared again", key)
		}
	}
	if m.store.issued("www.shop.test") == nil || m.store.imported("api.shop.test") == nil {
		t.Error("what is in the folder is not served")
	}
}

// What is ordered in the place of a certificate that is due counts for all nodes, though it ends earlier: its issuer gives another life now, or it is of
// another issuer.
func TestRenewalToAShorterLifeIsKept(t *testing.T) {
	t.Parallel()
	for _, other := range []bool{false, true} {
		const name = "www.shop.test"
		shared, keys, now := newMemory(), keyring(t, oneKey), time.Now()
		s := newSite(t, siteOptions{
			http: true, known: []string{name}, pebble: edgetest.PebbleOptions{Lifetime: 160 * time.Hour},
			adjust: func(o *Options) { o.Shared, o.Keys = shared, keys },
		})
		t.Cleanup(s.issuer.accounts[0].gate.close)
		until := now.Add(20 * 24 * time.Hour)
		old := edgetest.NewCA(t).IssueWith(t, edgetest.LeafOptions{NotBefore: until.Add(-90 * 24 * time.Hour), NotAfter: until}, name)
		r := &record{Directory: s.pebble.DirectoryURL, PEM: string(old.KeyPEM) + string(old.CertPEM)}
		if other {
			r.Directory = "https://old.test/dir"
		}
		planted := &vault{dir: t.TempDir(), event: eventCert, shared: shared, keys: keys}
		if _, err := planted.put(t.Context(), name, r, until); err != nil {
			t.Fatal(err)
		}
		s.Update(s.names.changes())
		s.issuer.process(t.Context(), name)
		found, err := s.issuer.vault.fetch(t.Context(), s.issuer.held, name)
		if err != nil || found[0] == nil || found[0].notAfter.After(now.Add(10*24*time.Hour)) {
			t.Errorf("of another issuer: %v; what is shared is not what was issued: %+v %v; %v", other, found, err, s.issuer.wanted[name].err)
		}
		if l := s.store.issued(name); l == nil || found[0] == nil || l.digest != found[0].digest {
			t.Errorf("of another issuer: %v; another certificate is served: %+v", other, l)
		}
		if wait := time.Until(s.issuer.plan.at(name)); wait < 24*time.Hour {
			t.Errorf("of another issuer: %v; it is ordered again in %v", other, wait)
		}
	}
}

// A certificate that gives way to another node's, which is due, is no success.
func TestStaleCertificateThatIsDueIsNoSuccess(t *testing.T) {
	shared := &unbeatable{newMemory()}
	m := newManager(t, Options{Issuer: IssuerACME, ACME: ACME{Directory: countingDirectory}, Shared: shared, Keys: keyring(t, oneKey)})
	m.Update([]Change{{Name: "a.test"}})
	t.Cleanup(m.issuer.accounts[0].gate.close)
	ca := edgetest.NewCA(t)
	made := func(until time.Time) *record {
		l := ca.IssueWith(t, edgetest.LeafOptions{NotBefore: until.Add(-90 * 24 * time.Hour), NotAfter: until}, "a.test")
		return &record{Directory: countingDirectory, PEM: string(l.KeyPEM) + string(l.CertPEM)}
	}
	due := made(time.Now().Add(20 * 24 * time.Hour))
	shared.ranked[m.issuer.vault.key("a.test")] = Ranked{Value: m.issuer.vault.pack("a.test", due), Rank: 1}
	if _, err := m.issuer.keep(t.Context(), &try{key: "a.test", names: []string{"a.test"}}, made(time.Now().Add(80*24*time.Hour))); err == nil {
		t.Error("it is said to be kept")
	}
}

// unbeatable is what is shared where somebody is always faster.
type unbeatable struct{ *memory }

func (*unbeatable) WriteRanked(context.Context, string, Ranked, time.Duration) (bool, error) {
	return false, nil
}

func (*unbeatable) Replace(context.Context, string, []byte, Ranked, time.Duration) (bool, error) {
	return false, nil
}

// Nodes whose seal keys differ do not take each other's certificates away: whoever is wrong is not known.
func TestNodesWithDifferentSealKeysDoNotOverwriteEachOther(t *testing.T) {
	shared := newMemory()
	o := Options{Data: t.TempDir(), Issuer: IssuerACME, ACME: ACME{Directory: countingDirectory}, Shared: shared, Keys: keyring(t, oneKey)}
	m := newManager(t, o)
	t.Cleanup(m.issuer.accounts[0].gate.close)
	m.Update([]Change{{Name: "a.test"}})
	issued := edgetest.NewCA(t).Issue(t, "a.test")
	r := &record{Directory: countingDirectory, PEM: string(issued.KeyPEM) + string(issued.CertPEM)}
	if _, err := m.issuer.vault.put(t.Context(), "a.test", r, issued.TLS.Leaf.NotAfter); err != nil {
		t.Fatal(err)
	}
	m.issuer.read("a.test")
	key := certKey("a.test")
	others := Ranked{keyring(t, otherKey).seal(key, r.encode()), shared.ranked[key].Rank + 1}
	shared.ranked[key] = others
	if !m.fleet.bring(t.Context(), "a.test") {
		t.Fatal("what is shared could not be read")
	}
	if string(shared.ranked[key].Value) != string(others.Value) {
		t.Error("what others have shared was overwritten")
	}
	if !m.Trusted("a.test") {
		t.Error("what this node has is not served")
	}
}
