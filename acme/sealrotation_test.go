package acme

import (
	"crypto/ecdsa"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// The documented change of a seal key: the new one behind the old, then in front of it, then the old one taken away. What was sealed long before, and is
// neither used nor renewed meanwhile, opens to the last, where it is shared and in the folder.
func TestSealKeyRotationLosesNothing(t *testing.T) {
	shared, data := newMemory(), t.TempDir()
	ca, edge := newCountingCA(t, func() time.Duration { return time.Hour }), edgetest.NewCA(t)
	issued, imported := edge.Issue(t, "www.shop.test"), edge.Issue(t, "api.shop.test")
	node := func(data string, keys ...string) *Manager {
		m := newManager(t, Options{
			Data: data, Issuer: IssuerACME, ACME: ACME{Directory: countingDirectory, Challenge: "http-01"}, Shared: shared, Keys: keyring(t, keys...),
		})
		ca.serve(m)
		m.Update([]Change{{Name: "www.shop.test"}, {Name: "api.shop.test"}, {Name: "gone.shop.test"}})
		return m
	}
	m := node(data, oneKey)
	if err := m.issuer.accounts[0].prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := record{Directory: countingDirectory, PEM: string(issued.KeyPEM) + string(issued.CertPEM)}
	if _, err := m.issuer.vault.put(t.Context(), "www.shop.test", &r, issued.TLS.Leaf.NotAfter); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Import(t.Context(), imported.CertPEM, imported.KeyPEM); err != nil {
		t.Fatal(err)
	}
	if err := m.imports.keep(t.Context(), "gone.shop.test", record{Removed: true}, time.Now().Add(removedLife)); err != nil {
		t.Fatal(err)
	}
	account := m.issuer.accounts[0].client.Key
	for _, keys := range [][]string{{oneKey, otherKey}, {otherKey, oneKey}} {
		if !node(data, keys...).fleet.look(t.Context()) { // as a start does
			t.Fatal("what is shared could not be read")
		}
	}

	opens := func(m *Manager, where string) {
		t.Helper()
		if m.issuer.demand(t.Context(), "www.shop.test", false) == nil {
			t.Errorf("%s: the issued certificate is lost", where)
		}
		if m.imports.demand("api.shop.test"); m.store.imported("api.shop.test") == nil {
			t.Errorf("%s: the imported certificate is lost", where)
		}
		if err := m.issuer.accounts[0].prepare(t.Context()); err != nil || !account.(*ecdsa.PrivateKey).Equal(m.issuer.accounts[0].client.Key) {
			t.Errorf("%s: the account is lost: %v", where, err)
		}
	}
	fresh := node(t.TempDir(), otherKey)
	fresh.fleet.look(t.Context())
	opens(fresh, "shared")
	if found, err := fresh.imports.vault.fetch(t.Context(), func(string) *leaf { return nil }, "gone.shop.test"); err != nil || found[0] != removedLeaf {
		t.Errorf("what was removed is not known to be: %v %v", found, err)
	}
	shared = newMemory()
	opens(node(data, otherKey), "folder")
}
