package admin_test

import (
	"strings"
	"testing"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

// A path vhost is named in the URL as any other, with its slash escaped, and cannot
// be another tenant's than its host.
func TestPathVhostOverTheAPI(t *testing.T) {
	t.Parallel()
	n := admintest.Start(t, twoTenants, admin.Options{})
	c := onSocket(t, n)
	var v admin.VhostDetail
	var f admin.Failure
	const path, body = "/vhosts/www.shop.test%2Fblog", `{"tenant": "shop", "backends": ["http://127.0.0.1:9002"], "strip": true}`
	want(t, "added", c.call("PUT", path, body, &v), 200)
	want(t, "name", v.Name, "www.shop.test/blog")
	want(t, "status", v.Status, admin.StatusOK)
	want(t, "shown", c.call("GET", path, "", &v), 200)
	want(t, "unknown", c.call("GET", "/vhosts/www.shop.test%2Fnone", "", &f), 404)
	want(t, "unknown", f.Error, "there is no vhost www.shop.test/none")
	want(t, "another tenant's", c.call("PUT", path, `{"tenant": "blog", "backends": ["http://127.0.0.1:9002"]}`, &f), 409)
	contains(t, "another tenant's", f.Error, "vhost www.shop.test is tenant shop's")
	want(t, "host to come", c.call("PUT", "/vhosts/new.test%2Fx", body, &v), 200)
	want(t, "host to come", v.Status, admin.StatusConflict)
	contains(t, "host to come", v.Reason, "there is no vhost new.test")
	want(t, "a header", c.call("PATCH", path, `{"set": {"headers.response.set.X-Frame-Options": "DENY"}}`, &v), 200)
	want(t, "a header", v.Document.Headers().Response.Set["X-Frame-Options"], "DENY")
	want(t, "a header that is ours", c.call("PATCH", path, `{"set": {"headers.response.set.Content-Length": "1"}}`, &f), 422)
	want(t, "removed", c.call("DELETE", path, "", nil), 200)
}

// What a vhost without backends does is seen in the list, and that no connection can be made to one with a wrong file.
func TestVhostListTellsOfRedirectsAndOfFilesOfBackends(t *testing.T) {
	t.Parallel()
	n := admintest.Start(t, twoTenants, admin.Options{})
	c := onSocket(t, n)
	for name, tt := range map[string]struct{ body, answer, status, reason string }{
		"old.test":  {`{"redirect": {"to": "https://www.shop.test"}}`, "redirect to https://www.shop.test", admin.StatusOK, ""},
		"page.test": {`{"respond": {"status": 410, "body": "gone"}}`, "respond 410", admin.StatusOK, ""},
		"ok.test":   {`{"respond": {"body": "ok"}}`, "respond 200", admin.StatusOK, ""},
		"tls.test":  {`{"backends": [{"url": "https://127.0.0.1:9", "tls": {"ca": "/nowhere/ca.pem"}}]}`, "", admin.StatusWarning, "backends[0].tls.ca: new connections fail"},
		"free.test": {`{"tenant": "owner-a.id-0123456789abcdef01234567", "respond": {"body": "ok"}}`, "respond 200", admin.StatusWarning, "tenant: the id of its list is no tenant's name"},
	} {
		var v admin.VhostDetail
		want(t, name, c.call("PUT", "/vhosts/"+name, tt.body, &v), 200)
		want(t, name, v.Answer, tt.answer)
		want(t, name, v.Status, tt.status)
		contains(t, name, v.Reason, tt.reason)
	}
}

// What is in force of a path vhost says whose settings of TLS these are; a redirect has none of backends.
func TestEffectiveSettingsOfPathVhostsAndRedirects(t *testing.T) {
	t.Parallel()
	n := admintest.Start(t, twoTenants, admin.Options{})
	c := onSocket(t, n)
	want(t, "host", c.call("PUT", "/vhosts/host.test", `{"backends": ["http://127.0.0.1:9"], "tls": {"hsts": "1h"}}`, nil), 200)
	from := func(name, body, field string) string {
		t.Helper()
		var v admin.VhostDetail
		want(t, name, c.call("PUT", "/vhosts/"+name, body, &v), 200)
		for _, e := range v.Effective {
			if e.Path == field {
				return e.From
			}
		}
		return "absent"
	}
	want(t, "hsts", from("host.test%2Fx", `{"backends": ["http://127.0.0.1:9"]}`, "tls.hsts"), "vhost host.test")
	want(t, "policy", from("host.test%2Fx", `{"backends": ["http://127.0.0.1:9"]}`, "tls.policy"), "built in")
	want(t, "balance", from("host.test%2Fold", `{"redirect": {"to": "https://b.test"}}`, "balance"), "absent")
	want(t, "WAF", from("host.test%2Fold", `{"redirect": {"to": "https://b.test"}}`, "waf.mode"), "built in")
}

// Whoever takes a host away from its path vhosts is asked first, and told of them.
func TestPathVhostsAreNotLeftWithoutTheirHostUnasked(t *testing.T) {
	t.Parallel()
	n := admintest.Start(t, twoTenants, admin.Options{})
	c := onSocket(t, n)
	const host, body = "/vhosts/www.shop.test", `{"tenant": "shop", "backends": ["http://127.0.0.1:9002"]}`
	for _, path := range []string{"%2Fb", "%2Fa"} {
		want(t, "path", c.call("PUT", host+path, body, nil), 200)
	}
	var f admin.Failure
	want(t, "removed", c.call("DELETE", host, "", &f), 409)
	contains(t, "removed", f.Error, "vhost www.shop.test is not removed: its path vhosts www.shop.test/a, www.shop.test/b would answer for no request any more; --yes removes it all the same")
	want(t, "another tenant", c.call("PATCH", host, `{"set": {"tenant": "blog"}}`, &f), 409)
	contains(t, "another tenant", f.Error, "is not changed: its path vhosts www.shop.test/a, www.shop.test/b")
	want(t, "replaced", c.call("PUT", host, `{"backends": ["http://127.0.0.1:9002"]}`, &f), 409)
	want(t, "something else", c.call("PATCH", host, `{"set": {"compress": "on"}}`, nil), 200)

	var v admin.VhostDetail
	want(t, "another tenant, meant", c.call("PATCH", host+"?yes=true", `{"set": {"tenant": "blog"}}`, &v), 200)
	want(t, "left", len(v.Left), 2)
	want(t, "back", c.call("PATCH", host, `{"set": {"tenant": "shop"}}`, nil), 200) // nobody is left out by it
	var r admin.Removed
	want(t, "removed, meant", c.call("DELETE", host+"?yes=true", "", &r), 200)
	want(t, "left", admin.Some(r.Left), "www.shop.test/a, www.shop.test/b")
	want(t, "a path", c.call("DELETE", host+"%2Fa", "", nil), 200)
}

// A host that is suspended closes its path vhosts, and a tenant all of its vhosts, which is to be seen at these.
func TestVhostsThatOthersSuspendAreShownSuspended(t *testing.T) {
	t.Parallel()
	n := admintest.Start(t, `
tenants: {shop: {suspended: true}, blog: {suspended: false}}
vhosts:
  s.test: {tenant: shop, backends: [http://127.0.0.1:9]}
  s.test/p: {tenant: shop, suspended: false, backends: [http://127.0.0.1:9]}
  s2.test: {tenant: shop, suspended: true, backends: [http://127.0.0.1:9]}
  b.test: {tenant: blog, backends: [http://127.0.0.1:9]}
  m.test: {suspended: true, backends: [http://127.0.0.1:9]}
  m.test/p: {backends: [http://127.0.0.1:9]}
  m.test/own: {suspended: true, backends: [http://127.0.0.1:9]}
  o.test: {backends: [http://127.0.0.1:9]}
  o.test/p: {backends: [http://127.0.0.1:9]}
`, admin.Options{})
	c := onSocket(t, n)
	for name, says := range map[string][4]string{
		"m.test%2Fp":   {admin.StatusSuspended, "by vhost m.test", "true", "vhost m.test"},
		"m.test%2Fown": {admin.StatusSuspended, "", "true", "vhost"},
		"o.test%2Fp":   {admin.StatusOK, "", "false", "built in"},
		"s.test":       {admin.StatusSuspended, "by tenant shop", "true", "tenant shop"},
		"s.test%2Fp":   {admin.StatusSuspended, "by tenant shop", "true", "tenant shop"},
		"s2.test":      {admin.StatusSuspended, "", "true", "vhost"},
		"b.test":       {admin.StatusOK, "", "false", "tenant blog"},
	} {
		var v admin.VhostDetail
		want(t, name, c.call("GET", "/vhosts/"+name, "", &v), 200)
		e := v.Effective[0]
		want(t, name, [4]string{v.Status, v.Reason, e.Value, e.From}, says)
		want(t, name, e.Path, "suspended")
	}
	for name, status := range map[string]string{"shop": admin.StatusSuspended, "blog": admin.StatusOK} {
		var v admin.TenantDetail
		want(t, name, c.call("GET", "/tenants/"+name, "", &v), 200)
		want(t, name, v.Status, status)
	}
	var v admin.TenantDetail
	want(t, "opened", c.call("PATCH", "/tenants/shop", `{"set": {"suspended": null}}`, &v), 200)
	want(t, "opened", v.Status, admin.StatusOK)
}

// A vhost all of whose backends are drained answers 503, which its document does not show.
func TestVhostListTellsOfVhostsWithoutBackendsLeft(t *testing.T) {
	t.Parallel()
	n := admintest.Start(t, twoTenants, admin.Options{Backends: admin.Backends{
		Drained: func(url, tenant string) bool { return url == "http://127.0.0.1:9001" && tenant == "blog" },
	}})
	c := onSocket(t, n)
	for name, status := range map[string]string{"blog.test": admin.StatusWarning, "www.shop.test": admin.StatusOK} {
		var v admin.VhostDetail
		want(t, name, c.call("GET", "/vhosts/"+name, "", &v), 200)
		want(t, name, v.Status, status)
		want(t, name, strings.Contains(v.Reason, "backends: all are drained, and requests get 503"), status == admin.StatusWarning)
	}
}
