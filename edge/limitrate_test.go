package edge

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
)

// answers are the statuses of n requests one after the other, each on a connection of its own.
func (n *node) answers(t testing.TB, count int, host, target string, fields ...string) string {
	t.Helper()
	var out []string
	for range count {
		out = append(out, fmt.Sprint(n.get(t, host, target, fields...).Status))
	}
	return strings.Join(out, " ")
}

func wantAnswers(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// Rates in tests are so slow that nothing comes back before a test has ended.

func TestRateIsAnswered429ThatSaysWhenToComeBack(t *testing.T) {
	t.Parallel()
	backend := edgetest.NewBackend(t)
	registry := prometheus.NewRegistry()
	n := start(t, shopSite(backend.URL, "rate: {requests: 30, per: 1h, burst: 2}"), func(o *Options) { o.Registerer = registry })
	wantAnswers(t, "at once", n.answers(t, 2, "www.shop.test", "/"), "200 200")
	got := n.get(t, "www.shop.test", "/", "Accept: application/json")
	if got.Status != 429 || !strings.Contains(string(got.Body), `"title":"Too Many Requests"`) || !strings.Contains(string(got.Body), "try again in 120 s") {
		t.Errorf("status %d: %s", got.Status, got.Body)
	}
	for name, want := range map[string]string{"Retry-After": "120", "RateLimit-Policy": `"ip";q=30;w=3600`, "RateLimit": `"ip";r=0;t=120`, "Cache-Control": "no-store"} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	if seen := len(backend.Requests()); seen != 2 {
		t.Errorf("the backend got %d requests", seen)
	}
	n.waitFor(t, n.access, `"error":"too many requests: try again in 120 s: rate of vhost www.shop.test, 30 per 1h by ip, burst 2"`)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := false
	for _, f := range families {
		if f.GetName() == "gatehouse_rate_limited_total" {
			counted = f.GetMetric()[0].GetCounter().GetValue() == 1 && f.GetMetric()[0].GetLabel()[0].GetValue() == "shop"
		}
	}
	if !counted {
		t.Error("gatehouse_rate_limited_total does not count it for the tenant")
	}
}

// What is refused by one bucket is not taken from the other.
func TestRatesOfTenantAndVhostMustBothSayYes(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t).URL
	n := start(t, `
tenants: {shop: {rate: {requests: 4, per: 1h}}}
vhosts:
  a.test: {tenant: shop, backends: [`+b+`], rate: [{requests: 2, per: 1h}, {requests: 100, per: 1h, key: path}]}
  b.test: {tenant: shop, backends: [`+b+`]}
  c.test: {tenant: blog, backends: [`+b+`]}
`)
	wantAnswers(t, "the vhost's", n.answers(t, 5, "a.test", "/"), "200 200 429 429 429")
	wantAnswers(t, "what is left of the tenant's", n.answers(t, 3, "b.test", "/"), "200 200 429")
	wantAnswers(t, "another tenant's", n.answers(t, 3, "c.test", "/"), "200 200 200")
}

func TestRatesOfDefaultsAreForEachOwner(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t).URL
	n := start(t, `
tenants: {shop: {waf: {mode: off}}}
vhosts:
  a.test: {backends: [`+b+`]}
  b.test: {backends: [`+b+`]}
  c.test: {tenant: blog, backends: [`+b+`]}
  d.test: {tenant: blog, backends: [`+b+`]}
  e.test: {tenant: shop, backends: [`+b+`]}
  f.test: {backends: [`+b+`], rate: {requests: 3, per: 1h}}
`, func(o *Options) {
		o.Defaults = &routes.Tenant{Rate: routes.Rates{{Requests: 2, Per: routes.Duration(3600e9)}}}
	})
	for _, test := range [][2]string{
		{"a.test", "200 200 429"}, {"b.test", "200 200 429"}, {"c.test", "200 200 429"}, {"d.test", "429 429 429"}, {"e.test", "200 200 200"}, {"f.test", "200 200 429"},
	} {
		wantAnswers(t, test[0], n.answers(t, 3, test[0], "/"), test[1])
	}
}

func TestRateKeys(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t).URL
	vhost := func(key string) string {
		return "{backends: [" + b + "], rate: {requests: 1, per: 1h, key: '" + key + "'}}\n"
	}
	n := start(t, "vhosts:\n  ip.test: "+vhost("ip")+"  header.test: "+vhost("header:X-Api-Key")+"  cookie.test: "+vhost("cookie:sid")+
		"  path.test: "+vhost("path")+"  all.test: "+vhost("all"), func(o *Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	from := func(a string) string { return "X-Forwarded-For: " + a }
	for _, step := range []struct {
		host, target, field, client string
		want                        int
	}{
		{"ip.test", "/", "", "192.0.2.1", 200},
		{"ip.test", "/other", "X-Api-Key: k", "192.0.2.1", 429},
		{"ip.test", "/", "", "192.0.2.2", 200},
		{"ip.test", "/", "", "2001:db8:1:2::1", 200},
		{"ip.test", "/", "", "2001:db8:1:2:ffff::9", 429}, // one /64
		{"ip.test", "/", "", "2001:db8:1:3::1", 200},
		{"ip.test", "/", "", "::ffff:192.0.2.1", 429},

		{"header.test", "/", "x-api-key: one", "192.0.2.1", 200},
		{"header.test", "/", "X-API-KEY: one", "192.0.2.2", 429},
		{"header.test", "/", "X-Api-Key: two", "192.0.2.2", 200},
		{"header.test", "/", "", "192.0.2.1", 200}, // by ip
		{"header.test", "/", "X-Api-Key:", "192.0.2.1", 429},
		{"header.test", "/", "", "192.0.2.2", 200},
		{"header.test", "/", "X-Api-Key: " + strings.Repeat("long", 500) + "1", "192.0.2.2", 200},
		{"header.test", "/", "X-Api-Key: " + strings.Repeat("long", 500) + "2", "192.0.2.2", 200},

		{"cookie.test", "/", "Cookie: a=b; sid=one", "192.0.2.1", 200},
		{"cookie.test", "/", "Cookie: sid=one ;a=c", "192.0.2.2", 429},
		{"cookie.test", "/", "Cookie: sid=two", "192.0.2.2", 200},
		{"cookie.test", "/", "Cookie: xsid=one; SID=one; sid", "192.0.2.2", 200}, // by ip
		{"cookie.test", "/", "", "192.0.2.2", 429},

		{"path.test", "/login?a=1", "", "192.0.2.1", 200},
		{"path.test", "/login?a=2", "", "192.0.2.2", 429},
		{"path.test", "/%6Cogin", "", "192.0.2.2", 429},
		{"path.test", "//./login", "", "192.0.2.2", 429},
		{"path.test", "/Login", "", "192.0.2.2", 200},
		{"path.test", "/", "", "192.0.2.2", 200},

		{"all.test", "/", "", "192.0.2.1", 200},
		{"all.test", "/x", "Cookie: sid=two", "192.0.2.2", 429},
	} {
		fields := []string{from(step.client)}
		if step.field != "" {
			fields = append(fields, step.field)
		}
		if got := n.get(t, step.host, step.target, fields...).Status; got != step.want {
			t.Errorf("%s%s %q from %s: %d, want %d", step.host, step.target, step.field, step.client, got, step.want)
		}
	}
}

func TestRatesOutlastAChangeOfOtherSettings(t *testing.T) {
	t.Parallel()
	b, other := edgetest.NewBackend(t).URL, edgetest.NewBackend(t).URL
	n := start(t, shopSite(b, "rate: {requests: 4, per: 1h}"))
	wantAnswers(t, "first", n.answers(t, 3, "www.shop.test", "/"), "200 200 200")
	n.apply(t, shopSite(other, "rate: {requests: 4, per: 1h}", "compress: on"))
	wantAnswers(t, "with another backend", n.answers(t, 2, "www.shop.test", "/"), "200 429")
	n.apply(t, shopSite(other, "rate: {requests: 4, per: 1h, burst: 6}"))
	wantAnswers(t, "with a larger burst", n.answers(t, 3, "www.shop.test", "/"), "200 200 429")
	n.apply(t, shopSite(other))
	wantAnswers(t, "without", n.answers(t, 2, "www.shop.test", "/"), "200 200")
	if left := len(n.limits.owners); left != 0 {
		t.Errorf("%d owners have buckets, and there is no limit", left)
	}
	n.apply(t, shopSite(other, "rate: {requests: 1, per: 1h, key: all}"))
	wantAnswers(t, "with another key", n.answers(t, 2, "www.shop.test", "/"), "200 429")
}

func TestBucketsOfRemovedVhostsAreGivenBack(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t).URL
	docs := `
tenants: {shop: {rate: {requests: 4, per: 1h}}}
vhosts:
  a.test: {tenant: shop, backends: [` + b + `]}
  b.test: {tenant: shop, backends: [` + b + `], rate: {requests: 1, per: 1h}}
`
	n := start(t, docs)
	n.answers(t, 1, "a.test", "/")
	n.answers(t, 1, "b.test", "/")
	remove := func(names ...string) {
		var changes []routes.Change
		for _, name := range names {
			changes = append(changes, routes.Change{Key: routes.Key{Kind: routes.KindVhost, Name: name}})
		}
		table, replaced := n.table.With(changes)
		n.table = table
		n.Apply(table, replaced)
	}
	remove("b.test")
	if held := len(n.limits.owners["tenant shop"].limiters); held != 1 {
		t.Errorf("%d limiters, want the tenant's", held)
	}
	wantAnswers(t, "the tenant's bucket is as it was", n.answers(t, 3, "a.test", "/"), "200 200 429")
	remove("a.test")
	if left := len(n.limits.owners); left != 0 {
		t.Errorf("%d owners have buckets, and there is no vhost", left)
	}
}

// A WebSocket is one request, and a refused body does not end the connection.
func TestRateOfUpgradesAndBodies(t *testing.T) {
	t.Parallel()
	n := start(t, shopSite(edgetest.NewBackend(t).URL, "rate: {requests: 2, per: 1h}"))
	edgetest.Dial(t, n.http).UpgradeWebSocket("www.shop.test", "/ws")
	c := edgetest.Dial(t, n.http)
	post := head("POST", "www.shop.test", "/", "Content-Length: 5") + "\r\nhello"
	for i, want := range []int{200, 429, 429} {
		if got := c.Do("POST", post); got.Status != want {
			t.Errorf("POST %d on one connection: %d, want %d", i+1, got.Status, want)
		}
	}
}

// The limit stands before the cache and the WAF: hits count, and what is refused is not inspected.
func TestRateComesBeforeCacheAndWAF(t *testing.T) {
	t.Parallel()
	n := start(t, shopSite(edgetest.NewBackend(t).URL, "rate: {requests: 2, per: 1h}", "cache: {enabled: true, ttl: 1h}", "waf: {mode: block}"))
	wantAnswers(t, "of a stored page", n.answers(t, 2, "www.shop.test", "/"), "200 200")
	wantAnswers(t, "an attack beyond it", n.answers(t, 1, "www.shop.test", "/?q=1'+OR+'1'='1'--"), "429")
}

func TestQuotaIsWhole(t *testing.T) {
	t.Parallel()
	for text, rate := range map[string]routes.Rate{
		";q=100;w=1":         {Requests: 100, Per: routes.Duration(1e9)},
		";q=1000;w=1":        {Requests: 10, Per: routes.Duration(10e6)},
		";q=4;w=2":           {Requests: 3, Per: routes.Duration(1500e6)},
		";q=1000000;w=86400": {Requests: 1000000, Per: routes.Duration(24 * 3600e9)},
		";q=1000000000;w=1":  {Requests: 1000000, Per: routes.Duration(1e6)},
	} {
		if got := quota(rate); got != text {
			t.Errorf("%v: %s, want %s", rate, got, text)
		}
	}
}

// Whoever was refused at /login came in by /a/../login.
func TestRateByPathResolvesDotSegments(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/a/../login": "/login", "/../login": "/login", "/a/b/../../login": "/login", "/a/%2e%2e/login": "/login", "/a/..%2flogin": "/login", "/a//..//./login": "/login",
		"/a/../../../login": "/login", "/login/x/..": "/login/", "/login/.": "/login/", "/..": "/", "/.": "/", "/": "/", "/a/..": "/",
		"/...": "/...", "/a../login": "/a../login", "/..a/login": "/..a/login", "/a/.b": "/a/.b", "/login/": "/login/",
		"*": "*", "": "", "..": "..",
	} {
		if got := string(appendPath([]byte("a/b/"), path)); got != "a/b/"+want {
			t.Errorf("%s counts as %s, want %s", path, got, want)
		}
	}
	n := start(t, shopSite(edgetest.NewBackend(t).URL, "rate: {requests: 1, per: 1h, key: path}"))
	wantAnswers(t, "the path", n.answers(t, 2, "www.shop.test", "/login"), "200 429")
	wantAnswers(t, "another spelling of it", n.answers(t, 1, "www.shop.test", "/a/../login"), "429")
	wantAnswers(t, "another path", n.answers(t, 1, "www.shop.test", "/login/../a"), "200")
}

func FuzzAppendPath(f *testing.F) {
	for _, seed := range []string{"/", "/a//b/./c", "/%2e%2F%", "/..;/x", "%", "/a/../..", "/a/%2e%2e/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		once := appendPath([]byte("before"), path)
		if len(once) > len("before")+len(path) || !strings.HasPrefix(string(once), "before") || strings.Contains(string(once), "//") || strings.Contains(string(once)+"/", "/../") {
			t.Errorf("%q: %q", path, once)
		}
	})
}
