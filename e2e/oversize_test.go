package e2e

import (
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// A tenant who wants nothing to pass uninspected has bodies refused that are longer than what is inspected, live,
// and reads why.
func TestTenantRefusesWhatIsNotInspected(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{
		"shop.yaml": "tenants:\n  shop:\n    waf:\n      mode: block\n      inspect_body: 1KiB\n", "site.yaml": vhost("shop.test", b.URL, "tenant: shop"),
	})
	body := "a=" + strings.Repeat("x", 2000)
	post := func() *edgetest.RawAnswer { return n.postForm("shop.test", "/sink", body) }
	n.within("shop.test", 200)
	if got := post(); got.Status != 200 {
		t.Errorf("by default: status %d", got.Status)
	}
	n.must("tenant", "set", "shop", "waf.on_oversize=block")
	var got *edgetest.RawAnswer
	edgetest.WaitFor(t, "long bodies to be refused", func() bool { got = post(); return got.Status == 413 })
	for _, args := range [][]string{
		{"waf", "events", "--id", got.Header.Get("X-Request-Id")},
		{"waf", "report", "-t", "shop"},
	} {
		if out := n.must(args...); !strings.Contains(out, "200100") {
			t.Errorf("%v:\n%s", args, out)
		}
	}
	if out := n.must("vhost", "show", "shop.test", "--effective"); !strings.Contains(out, "waf.on_oversize") {
		t.Errorf("vhost show --effective:\n%s", out)
	}
	if out := n.must("tenant", "show", "shop"); !strings.Contains(out, "on_oversize") {
		t.Errorf("tenant show:\n%s", out)
	}
}
