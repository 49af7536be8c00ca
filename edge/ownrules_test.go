package edge

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
)

// ownSite is a tenant's vhost with rules of the tenant and of the vhost.
func ownSite(backend, mode, tenant, vhost string) string {
	return fmt.Sprintf("tenants:\n  shop: {waf: {mode: %s, rules: %q}}\nvhosts:\n  www.shop.test: {tenant: shop, backends: [%s], waf: {rules: %q}}\n  other.test: {backends: [%s], waf: {mode: block}}\n",
		mode, tenant, backend, vhost, backend)
}

const (
	tenantsRule = `SecRule REQUEST_FILENAME "@beginsWith /internal" "id:1000,phase:1,deny,status:404,msg:'internal'"`
	vhostsRule  = `SecRule ARGS:coupon "@rx ^[A-Z]{9}$" "id:1001,deny,msg:'coupon'"`
)

func TestOwnRulesOfTenantAndVhostActOnTheirSitesOnly(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, ownSite(b.URL, "block", tenantsRule, vhostsRule))
	for _, test := range []struct {
		host, target string
		status       int
	}{
		{"www.shop.test", "/internal/x", 404},
		{"www.shop.test", "/?coupon=ABCDEFGHI", 403},
		{"www.shop.test", "/?coupon=x", 200},
		{"www.shop.test", attack, 403},
		{"other.test", "/internal/x", 200},
		{"other.test", "/?coupon=ABCDEFGHI", 200},
	} {
		got := n.get(t, test.host, test.target)
		if got.Status != test.status {
			t.Errorf("%s%s: status %d, want %d", test.host, test.target, got.Status, test.status)
		}
		if got.Status >= 400 && (strings.Contains(string(got.Body), "1000") || !strings.Contains(string(got.Body), got.Header.Get("X-Request-Id"))) {
			t.Errorf("%s%s: %s", test.host, test.target, got.Body)
		}
	}
	n.waitFor(t, n.access, `"waf":"block","rules":[1000]`)
	n.waitFor(t, n.log, `message=coupon target=ARGS:coupon`)
}

func TestOwnRulesNeverRefuseInDetectMode(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, ownSite(b.URL, "detect", tenantsRule, vhostsRule))
	if got := n.get(t, "www.shop.test", "/internal/x?coupon=ABCDEFGHI"); got.Status != 200 {
		t.Errorf("status %d", got.Status)
	}
	n.waitFor(t, n.access, `"waf":"detect","rules":[1000,1001]`)
}

// Where a text comes by that no check has seen, the rules before stay.
func TestOwnRulesThatDoNotCompileLeaveThoseBefore(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, ownSite(b.URL, "block", tenantsRule, vhostsRule))
	if got := n.get(t, "www.shop.test", "/internal"); got.Status != 404 {
		t.Fatalf("status %d", got.Status)
	}
	n.apply(t, ownSite(b.URL, "block", "SecDebugLog /tmp/x", vhostsRule))
	if got := n.get(t, "www.shop.test", "/internal"); got.Status != 404 {
		t.Errorf("status %d", got.Status)
	}
	n.waitFor(t, n.log, "own rules cannot be used")
	n.waitFor(t, n.log, "SecDebugLog")
	n.apply(t, ownSite(b.URL, "block", "", vhostsRule))
	if got := n.get(t, "www.shop.test", "/internal"); got.Status != 200 {
		t.Errorf("rules that are gone: status %d", got.Status)
	}
}

// Rules that take long on a request have to wait for their tenant's turn; others are not held up.
func TestHeavyOwnRulesTakeTheirTenantsTurn(t *testing.T) {
	b := edgetest.NewBackend(t)
	var text strings.Builder
	for i := range 90 {
		fmt.Fprintf(&text, "SecRule REQUEST_HEADERS|REQUEST_COOKIES \"@rx a{100}$\" \"id:%d,phase:1,nolog\"\n", i+1)
	}
	n := start(t, ownSite(b.URL, "block", text.String(), ""))
	held := make(chan func())
	go func() {
		release, _ := n.turns.take("tenant shop", bigWeight+1)
		held <- release
	}()
	release := <-held
	if got := n.get(t, "www.shop.test", "/"); got.Status != 200 {
		t.Errorf("a small request: status %d", got.Status)
	}
	// What may take long does not have to: no b begins a match.
	answered := make(chan int, 1)
	go func() {
		defer close(answered) // also when get gives up
		answered <- n.get(t, "www.shop.test", "/", "X-Long: "+strings.Repeat("b", 8000)).Status
	}()
	if got := n.get(t, "other.test", "/"); got.Status != 200 {
		t.Errorf("another tenant: status %d", got.Status)
	}
	release()
	if got := <-answered; got != 200 {
		t.Errorf("after its turn: status %d", got)
	}
}

func TestHeavyCountsHeadAndBody(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, ownSite(b.URL, "block", tenantsRule, ""))
	st, err := n.siteOf(n.Table().Vhost("www.shop.test"))
	if err != nil {
		t.Fatal(err)
	}
	r := &request{site: st, Target: "/"}
	if r.ownHeavy(0) || !r.ownHeavy(1<<30) {
		t.Error("body")
	}
	if other, _ := n.siteOf(n.Table().Vhost("other.test")); (&request{site: other}).ownHeavy(1 << 40) {
		t.Error("no rules of its own")
	}
	if n.Table().Vhost("www.shop.test").Settings(&routes.Tenant{}).Rules == nil {
		t.Error("no rules")
	}
}
