package acme

import (
	"testing"

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
