package edge

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/edge/health"
	"gatehouse/internal/edgetest"
)

// Limits and addresses of a path vhost are its own; its tenant's and the process's are for all paths.
func TestLimitsAndAddressesOfPathVhosts(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, strings.ReplaceAll(`tenants:
  shop: {addresses: {deny: [10.6.0.0/16]}, rate: {requests: 5, per: 1h, key: all}}
vhosts:
  www.shop.test: {tenant: shop, backends: [URL]}
  www.shop.test/api: {tenant: shop, backends: [URL], rate: {requests: 1, per: 1h}}
  www.shop.test/staff: {tenant: shop, backends: [URL], addresses: {deny: [all], allow: [10.5.0.0/16]}}
`, "URL", b.URL), proxied)
	for _, c := range []struct {
		client, target string
		status         int
	}{
		{"10.1.1.1", "/api/a", 200},
		{"10.1.1.1", "/api/b?x", 429},
		{"10.1.1.1", "/apis", 200},
		{"10.1.1.1", "/staff/x", 403},
		{"10.1.1.1", "/x/..%2fstaff", 400},
		{"10.5.0.1", "/staff", 200},
		{"10.6.0.1", "/api", 403},
		{"10.6.0.1", "/", 403},
		{"10.2.2.2", "/", 200},
		{"10.2.2.2", "/", 200},
		{"10.2.2.2", "/", 429}, // all that the tenant has: five have passed
		{"10.7.7.7", "/api", 429},
	} {
		if got := n.get(t, "www.shop.test", c.target, fromClient(c.client)); got.Status != c.status {
			t.Errorf("%s asks for %s: %d, want %d", c.client, c.target, got.Status, c.status)
		}
	}
}

// A path vhost's backends are drained, listed and counted as any others.
func TestDrainOfAPathVhostsBackends(t *testing.T) {
	t.Parallel()
	_, own := named(t, 1)
	blog, urls := named(t, 2)
	n := start(t, "vhosts:\n  www.shop.test: {tenant: shop, backends: ["+own+"]}\n  www.shop.test/blog: {tenant: shop, strip: true, backends: ["+urls+"]}\n")
	first, second := health.Drain{URL: blog[0].URL, Tenant: "shop"}, health.Drain{URL: blog[1].URL, Tenant: "shop"}
	n.SetDrains([]health.Drain{first})
	for range 10 {
		if got := n.who(t, "www.shop.test", "/blog/x"); got != "b" {
			t.Fatalf("the drained one was asked: %q", got)
		}
	}
	if bare, _ := n.LeftBare(second); !slices.Equal(bare, []string{"www.shop.test/blog"}) {
		t.Errorf("left bare: %v", bare)
	}
	rows := n.Backends("www.shop.test/blog", "")
	if len(rows) != 2 || !slices.ContainsFunc(rows, func(r BackendStatus) bool { return r.URL == blog[0].URL && r.Drain != nil }) {
		t.Errorf("of the path vhost: %+v", rows)
	}
	if rows = n.Backends("www.shop.test", ""); len(rows) != 1 || rows[0].URL != own {
		t.Errorf("of the host's own: %+v", rows)
	}
}

// Checks reach a backend by its socket, as requests do, and take it out.
func TestChecksOfAPathVhostOverASocket(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Unix: filepath.Join(t.TempDir(), "s")})
	n := start(t, "vhosts:\n  www.shop.test: {backends: [http://127.0.0.1:1]}\n  www.shop.test/api: {backends: ['"+b.URL+"'], strip: true, health: {path: /healthz}}\n")
	if got := n.get(t, "www.shop.test", "/api/x"); got.Status != 200 || edgetest.ParseSeen(t, got.Body).Target != "/x" {
		t.Errorf("a request: %d %s", got.Status, got.Body)
	}
	target := targetsOf(n.table.Vhost("www.shop.test/api"))[0]
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := n.probeBackend(ctx, target); err != nil {
		t.Error(err)
	}
	if seen := b.Requests(); len(seen) != 2 || seen[1].Host != "www.shop.test" || seen[1].Target != "/healthz" {
		t.Errorf("the backend got %+v", seen)
	}
}

// A path vhost that answers for no request has no backends to lose, until its host is there; draining them ahead is possible.
func TestBackendsOfPathVhostsInConflictAreNotConfigured(t *testing.T) {
	t.Parallel()
	_, own := named(t, 1)
	blog, url := named(t, 1)
	path := func(tenant string) string {
		return "  www.shop.test/blog: {tenant: " + tenant + ", backends: [" + url + "]}\n"
	}
	host := "  www.shop.test: {tenant: shop, backends: [" + own + "]}\n"
	drain := health.Drain{URL: blog[0].URL}
	for _, c := range []struct {
		name, vhosts string
		answers      bool
	}{
		{"without its host", path("shop"), false},
		{"of another tenant's host", host + path("rival"), false},
		{"beneath its host", host + path("shop"), true},
	} {
		n := start(t, "vhosts:\n"+c.vhosts)
		if bare, unwell := n.LeftBare(drain); slices.Contains(bare, "www.shop.test/blog") != c.answers || len(unwell) > 0 {
			t.Errorf("%s: left bare: %q, unwell: %q", c.name, bare, unwell)
		}
		if rows := n.Backends("", drain.URL); len(rows) > 0 != c.answers {
			t.Errorf("%s: configured: %+v", c.name, rows)
		}
		if !n.IsBackend(drain.URL, "") {
			t.Errorf("%s: it cannot be drained ahead", c.name)
		}
	}
}
