package admin_test

import (
	"testing"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
	"gatehouse/routes"
)

const toBeLost = `
tenants:
  shop: {waf: {mode: block, paranoia: 2}}
vhosts:
  one.test: {tenant: shop, backends: [http://127.0.0.1:9001]}
  two.test: {tenant: shop, backends: [http://127.0.0.1:9002], waf: {mode: detect}}
`

// What the source has lost at once is shown as held, is not replaced unasked, and comes back whole with a change of it.
func TestHeldDocumentsAreShownAndWrittenBack(t *testing.T) {
	t.Parallel()
	n := admintest.Start(t, toBeLost, admin.Options{})
	c := onSocket(t, n)
	n.Store.Lose()
	const path = "/vhosts/two.test"
	var v admin.VhostDetail
	var f admin.Failure
	want(t, "shown", c.call("GET", path, "", &v), 200)
	want(t, "status", v.Status, admin.StatusHeld)
	contains(t, "reason", v.Reason, "its source has lost it")
	var tenant admin.TenantDetail
	want(t, "tenant", c.call("GET", "/tenants/shop", "", &tenant), 200)
	want(t, "tenant", tenant.Status, admin.StatusHeld)

	want(t, "added", c.call("PUT", path, `{"backends": ["http://127.0.0.1:9"]}`, &f, "If-None-Match", "*"), 412)
	contains(t, "added", f.Error, "vhost two.test is there already (its source has lost it, which is not believed: the last good form is served; a change by set writes it back)")
	want(t, "removed", c.call("DELETE", path, "", &f), 409)
	contains(t, "removed", f.Error, "vhost two.test is not removed: its source has lost it")

	want(t, "changed", c.call("PATCH", path, `{"set": {"cache.enabled": true}}`, &v), 200)
	want(t, "changed", v.Restored, true)
	want(t, "changed", v.Status, admin.StatusOK)
	doc, there := n.Store.Document(routes.Key{Kind: routes.KindVhost, Name: "two.test"})
	want(t, "written back", there && doc.Vhost.WAF.Mode == "detect" && len(doc.Vhost.Backends) == 1 && doc.Vhost.Tenant == "shop", true)
	want(t, "tenant changed", c.call("PATCH", "/tenants/shop", `{"set": {"waf.mode": "detect"}}`, &tenant), 200)
	want(t, "tenant changed", tenant.Document.WAF.Paranoia, 2)
	want(t, "the other", c.call("GET", "/vhosts/one.test", "", &v), 200)
	want(t, "the other", v.Status, admin.StatusHeld)
}
