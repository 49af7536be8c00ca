package acme

import (
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// What was imported for a name that no vhost has is served, ends and has to be taken away all the same.
func TestImportedNamesThatNoVhostHasAreListed(t *testing.T) {
	t.Parallel()
	names := knows("d.test", "deep.in.blog.test")
	m := newManager(t, Options{Known: func(name string) bool { return names.has(name) || parent(name) == "d.test" }}) // a vhost * for these
	m.Update(names.changes())
	ca := edgetest.NewCA(t)
	l := ca.Issue(t, "d.test", "*.d.test", "nix.example", "*.in.blog.test")
	if _, _, err := m.Import(t.Context(), append(l.CertPEM, ca.PEM...), l.KeyPEM); err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, st := range m.List() {
		listed = append(listed, st.Name)
		one, ok := m.StatusOf(st.Name)
		if !ok || one != st {
			t.Errorf("%s alone is %+v, and %+v in the list", st.Name, one, st)
		}
		if st.Name == "deep.in.blog.test" { // the wildcard's, as before
			continue
		}
		if st.Source != SourceImported || st.NotAfter.IsZero() || st.Fingerprint == "" || st.Stray == (st.Name == "d.test") {
			t.Errorf("%+v", st)
		}
		if nobody := strings.Contains(st.Problem, "no vhost answers for it"); nobody != (st.Name == "nix.example") {
			t.Errorf("%s: problem %q", st.Name, st.Problem)
		}
	}
	if want := []string{"*.d.test", "*.in.blog.test", "d.test", "deep.in.blog.test", "nix.example"}; !slices.Equal(listed, want) {
		t.Errorf("listed are %q, want %q", listed, want)
	}
	if err := m.Renew("nix.example"); err == nil || !strings.Contains(err.Error(), "import its successor, or remove it") {
		t.Errorf("renewal: %v", err)
	}
	if err := m.RemoveImported(t.Context(), "nix.example", "*.d.test"); err != nil {
		t.Fatal(err)
	}
	if _, ok := m.StatusOf("*.d.test"); ok || len(m.List()) != 3 {
		t.Error("what was removed is listed")
	}
}
