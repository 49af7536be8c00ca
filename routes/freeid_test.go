package routes

import (
	"strings"
	"testing"
)

// Whatever ids hipache's users have given, two of them are two tenants, and each is a name that a tenant can have.
func TestFreeIDsAreTenantsOfTheirOwn(t *testing.T) {
	made := TenantOfID("owner a", "p.test")
	seen := map[string]string{}
	for _, id := range []string{
		"shop", "Shop", "owner a", "owner b", "owner-a", "owner_a", "owner  a", "a/b", "a:b", "user@example.com", "Mein-Büro", "Büro", " ", "日本", "\xff", "\x00",
		strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("x", 3000), made, strings.ToUpper(made),
	} {
		name := TenantOfID(id, "p.test")
		if err := CheckTenantName(name); err != nil {
			t.Errorf("%.20q: %v", id, err)
		}
		if other, taken := seen[name]; taken {
			t.Errorf("%.20q and %.20q are one tenant, %s", id, other, name)
		}
		seen[name] = id
		if name != TenantOfID(id, "other.test") {
			t.Errorf("%.20q is another tenant with another host", id)
		}
		if plain := CheckTenantName(id) == nil && id != made; plain != (name == id) {
			t.Errorf("%.20q is tenant %s", id, name)
		}
	}
	if a, b := TenantOfID("", "a.test"), TenantOfID("", "b.test"); a == b || a != TenantOfID("", "a.test/x") || CheckTenantName(a) != nil {
		t.Errorf("without an id a.test is tenant %q, b.test %q", a, b)
	}
}
