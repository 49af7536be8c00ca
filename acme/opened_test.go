package acme

import (
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// A node whose keys open nothing of what the others share would serve the internal CA to all, and share what nobody else can open.
func TestNodeWithOtherSealKeysSaysSoAndImportsNothing(t *testing.T) {
	shared, names := newMemory(), knows("www.shop.test", "api.shop.test")
	node := func(data, key string) *Manager {
		m := newManager(t, Options{
			Data: data, Known: names.has, Shared: shared, Keys: keyring(t, key), Issuer: IssuerACME, ACME: ACME{Directory: "https://127.0.0.1:1/dir"},
		})
		m.Update(names.changes())
		m.fleet.look(t.Context())
		return m
	}
	good, stranger := node(t.TempDir(), oneKey), node(t.TempDir(), otherKey)
	internal := newManager(t, Options{Known: names.has, Shared: shared, Keys: keyring(t, otherKey)})
	internal.Update(names.changes())
	for _, m := range []*Manager{good, stranger} {
		if problem, serving := m.SealProblem(); problem != "" || !serving {
			t.Errorf("nothing is shared yet: %q, %v", problem, serving)
		}
	}
	ca := edgetest.NewCA(t)
	www, api := ca.Issue(t, "www.shop.test"), ca.Issue(t, "api.shop.test")
	if _, _, err := good.Import(t.Context(), www.CertPEM, www.KeyPEM); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Manager{good, stranger, internal} {
		m.fleet.look(t.Context())
	}
	if problem, serving := internal.SealProblem(); problem == "" || !serving {
		t.Errorf("one that orders nothing, and serves its internal CA anyway: %q, %v", problem, serving)
	}
	if problem, serving := good.SealProblem(); problem != "" || !serving {
		t.Errorf("the good one: %q, %v", problem, serving)
	}
	if problem, serving := stranger.SealProblem(); !strings.Contains(problem, "seal_keys") || serving {
		t.Errorf("the stranger: %q, %v", problem, serving)
	}
	_, _, err := stranger.Import(t.Context(), api.CertPEM, api.KeyPEM)
	if err == nil || !strings.Contains(err.Error(), "seal_keys") || shared.ranked["cert:{api.shop.test}:manual"].Value != nil {
		t.Errorf("an import there: %v", err)
	}

	// One value that a stranger has left does not make a node one.
	if err := stranger.imports.keep(t.Context(), "api.shop.test", record{PEM: string(api.KeyPEM) + string(api.CertPEM)}, api.TLS.Leaf.NotAfter); err != nil {
		t.Fatal(err)
	}
	good.fleet.look(t.Context())
	if problem, _ := good.SealProblem(); problem != "" {
		t.Errorf("the good one, beside a stranger: %q", problem)
	}
	// The others have other keys now: what this node holds it serves on.
	after := node(t.TempDir(), otherKey)
	if err := after.imports.keep(t.Context(), "www.shop.test", record{PEM: string(www.KeyPEM) + string(www.CertPEM)}, www.TLS.Leaf.NotAfter); err != nil {
		t.Fatal(err)
	}
	good.fleet.look(t.Context())
	if problem, serving := good.SealProblem(); problem == "" || !serving {
		t.Errorf("after the others have changed keys: %q, %v", problem, serving)
	}
}
