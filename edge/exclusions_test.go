package edge

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"gatehouse/edge/waf"
	"gatehouse/internal/edgetest"
	"gatehouse/routes"
)

const falseAlarm = "icon=format-list-bulleted-square.svg" // matches rule 932120, a PowerShell command

func (n *node) post(t *testing.T, host, target, body string, lines ...string) int {
	t.Helper()
	lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)))
	if !strings.Contains(strings.Join(lines, "\n"), "Content-Type") {
		lines = append(lines, "Content-Type: application/x-www-form-urlencoded")
	}
	return edgetest.Dial(t, n.http).Do("POST", head("POST", host, target, lines...)+"\r\n"+body).Status
}

// An exclusion is for what it names and nobody else: the tenants share one engine.
func TestExclusionIsForItsTenantTargetPathAndMethodOnly(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, fmt.Sprintf(`tenants:
  shop: {waf: {mode: block, exclusions: [{rules: [932120], target: "ARGS:icon", paths: ["/upload", "/files/*"], methods: [POST]}]}}
  blog: {waf: {mode: block}}
vhosts:
  shop.test: {tenant: shop, backends: [%[1]s]}
  own.test: {tenant: shop, backends: [%[1]s], waf: {exclusions: [{tags: [attack-rce], target: "ARGS:sign"}]}}
  blog.test: {tenant: blog, backends: [%[1]s]}
`, b.URL))
	for _, c := range []struct {
		name, host, target, body string
		status                   int
	}{
		{"as excluded", "shop.test", "/upload", falseAlarm, 200},
		{"with a query", "shop.test", "/upload?a=b", falseAlarm, 200},
		{"in another spelling", "shop.test", "/uploa%64", falseAlarm, 200},
		{"another vhost of the tenant", "own.test", "/files/a/b", falseAlarm, 200},
		{"the vhost's own", "own.test", "/x", "sign=format-list-bulleted-square.svg", 200},
		{"which its tenant has not", "shop.test", "/x", "sign=format-list-bulleted-square.svg", 403},
		{"another tenant", "blog.test", "/upload", falseAlarm, 403},
		{"another path", "shop.test", "/other", falseAlarm, 403},
		{"another parameter", "shop.test", "/upload", "name=format-list-bulleted-square.svg", 403},
		{"an attack in the same parameter", "shop.test", "/upload", "icon=1' OR '1'='1", 403},
		{"both at once", "shop.test", "/upload", falseAlarm + "&q=<script>alert(1)</script>", 403},
		{"another method", "shop.test", "/upload?" + falseAlarm, "", 403},
		{"the path in a query", "shop.test", "/other?/upload", falseAlarm, 403},
		// What a backend takes for another path gets nothing of it.
		{"up and away", "shop.test", "/files/../other", falseAlarm, 403},
		{"up and away, encoded", "shop.test", "/files/%2e%2e/other", falseAlarm, 403},
		{"an encoded slash", "shop.test", "/files/..%2fother", falseAlarm, 403},
		{"a parameter of the path", "shop.test", "/files/..;/other", falseAlarm, 403},
		{"encoded twice", "shop.test", "/files/%252e%252e/other", falseAlarm, 403},
		{"two slashes", "shop.test", "/files//other", falseAlarm, 403},
		{"NUL", "shop.test", "/upload%00", falseAlarm, 403},
	} {
		method := n.post
		if c.body == "" {
			method = func(t *testing.T, host, target, _ string, _ ...string) int {
				t.Helper()
				return n.get(t, host, target).Status
			}
		}
		if got := method(t, c.host, c.target, c.body); got != c.status && (c.status != 403 || got != 400) {
			t.Errorf("%s: status %d, want %d", c.name, got, c.status)
		}
	}
}

// A tenant's change is the next request's, and touches nobody else.
func TestExclusionsComeAndGoWithTheTable(t *testing.T) {
	b := edgetest.NewBackend(t)
	doc := func(exclusions string) string {
		return fmt.Sprintf("tenants: {shop: {waf: {mode: block, exclusions: [%s]}}}\nvhosts: {shop.test: {tenant: shop, backends: [%[2]s]}, blog.test: {backends: [%[2]s], waf: {mode: block}}}\n", exclusions, b.URL)
	}
	n := start(t, doc(""))
	want := func(status int) {
		t.Helper()
		if got := n.post(t, "shop.test", "/upload", falseAlarm); got != status {
			t.Errorf("status %d, want %d", got, status)
		}
		if got := n.post(t, "blog.test", "/upload", falseAlarm); got != 403 {
			t.Errorf("another tenant: status %d", got)
		}
	}
	want(403)
	n.apply(t, doc("{rules: [932120]}"))
	want(200)
	n.apply(t, doc("{rules: [932120], until: 2020-01-01}")) // it ended
	want(403)
	n.apply(t, doc("{rules: [932120], until: 2120-01-01}"))
	want(200)
	n.apply(t, doc(""))
	want(403)
	if got := n.opts.WAF.Compiles(); got != 1 {
		t.Errorf("%d rule sets were compiled", got)
	}
}

// What the rules do not know is one line for a tenant, however many vhosts it has, and breaks nothing.
func TestExclusionWithoutEffectIsLoggedOnce(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, fmt.Sprintf(`tenants: {shop: {waf: {mode: block, exclusions: [{id: old, rules: [932120, 932999]}]}}}
vhosts:
  a.test: {tenant: shop, backends: [%[1]s]}
  b.test: {tenant: shop, backends: [%[1]s], waf: {exclusions: [{tags: [rce]}]}}
`, b.URL))
	for _, host := range []string{"a.test", "b.test", "a.test"} {
		if got := n.post(t, host, "/upload", falseAlarm); got != 200 {
			t.Errorf("%s: status %d", host, got)
		}
	}
	n.waitFor(t, n.log, `msg="waf exclusion without effect" document="tenant shop" tenant=shop exclusion=old field=rules reason="there is no rule 932999"`)
	n.waitFor(t, n.log, `document="vhost b.test" tenant=shop exclusion=`+(&routes.Exclusion{Tags: []string{"rce"}}).Key())
	if got := strings.Count(n.log.String(), "without effect"); got != 2 {
		t.Errorf("%d lines, want 2:\n%s", got, n.log.String())
	}
}

// Block mode refuses types that rules do not know; a tenant may allow them.
func TestContentTypesAreAllowedPerTenant(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, fmt.Sprintf(`vhosts:
  a.test: {backends: [%[1]s], waf: {mode: block, allowed_types: [text/plain, application/octet-stream]}}
  b.test: {backends: [%[1]s], waf: {mode: block}}
`, b.URL))
	for _, kind := range []string{"text/plain", "application/octet-stream", "text/plain; charset=utf-8"} {
		if got := n.post(t, "a.test", "/", "hello", "Content-Type: "+kind); got != 200 {
			t.Errorf("%s where it is allowed: status %d", kind, got)
		}
		if got := n.post(t, "b.test", "/", "hello", "Content-Type: "+kind); got != 403 {
			t.Errorf("%s where it is not allowed: status %d", kind, got)
		}
	}
	if got := n.post(t, "a.test", "/", "<script>alert(1)</script>", "Content-Type: text/plain"); got != 403 {
		t.Errorf("an attack in a text: status %d", got)
	}
}

// An exclusion of rules for requests leaves stored answers fit, also where answers are inspected.
func TestExclusionDoesNotEmptyTheCache(t *testing.T) {
	b := edgetest.NewBackend(t)
	doc := func(further string) string {
		return shopSite(b.URL, "cache: {enabled: true, ttl: 60s}", "waf: {mode: block, responses: true"+further+"}")
	}
	n := start(t, doc(""))
	get := func() string {
		return n.get(t, "www.shop.test", "/respond?Content-Type=text/html&body=welcome").Header.Get("Cache-Status")
	}
	get()
	hit := func(further string, want bool) {
		t.Helper()
		if further != "-" {
			n.apply(t, doc(further))
		}
		if got := get(); strings.Contains(got, "hit") != want {
			t.Errorf("%s: %s, want a hit: %t", further, got, want)
		}
	}
	edgetest.WaitFor(t, "the answer to be stored", func() bool { return strings.Contains(get(), "hit") })
	hit(", exclusions: [{rules: [942100]}, {tags: [attack-xss], target: ARGS}]", true)
	hit(", exclusions: [{rules: [951100]}]", false) // these judge answers
}

// The vhosts of a tenant share what is compiled of its exclusions, and nothing of it is kept for nobody.
func TestVhostsOfATenantShareItsExclusions(t *testing.T) {
	b := edgetest.NewBackend(t)
	doc := "tenants:\n"
	for _, tenant := range []string{"shop", "blog"} {
		doc += "  " + tenant + ": {waf: {exclusions: [{rules: [932120]}]}}\n"
	}
	doc += "vhosts:\n"
	for i := range 4 {
		doc += fmt.Sprintf("  a%d.test: {tenant: shop, backends: [%s]}\n", i, b.URL)
	}
	doc += fmt.Sprintf("  b.test: {tenant: blog, backends: [%[1]s]}\n  own.test: {tenant: shop, backends: [%[1]s], waf: {exclusions: [{rules: [942100]}]}}\n", b.URL)
	n := start(t, doc)
	sets := map[any][]string{}
	for _, host := range []string{"a0.test", "a1.test", "a2.test", "a3.test", "b.test", "own.test"} {
		st, err := n.siteOf(n.Table().Match(host))
		if err != nil {
			t.Fatal(err)
		}
		sets[st.profile.Exclusions] = append(sets[st.profile.Exclusions], host)
		if want := map[bool]int{true: 2, false: 1}[host == "own.test"]; len(st.profile.Exclusions.All()) != want {
			t.Errorf("%s has %d exclusions, want %d", host, len(st.profile.Exclusions.All()), want)
		}
	}
	if len(sets) != 3 {
		t.Errorf("%d sets, want one for each tenant and one for the vhost with its own: %v", len(sets), sets)
	}
	clear(sets)
	gone := []routes.Change{{Key: routes.Key{Kind: routes.KindTenant, Name: "shop"}}, {Key: routes.Key{Kind: routes.KindTenant, Name: "blog"}}}
	for r := range n.table.Vhosts() {
		gone = append(gone, routes.Change{Key: routes.Key{Kind: routes.KindVhost, Name: r.Name}})
	}
	table, replaced := n.table.With(gone)
	n.table = table
	n.Apply(table, replaced)
	edgetest.WaitFor(t, "the sets to be forgotten", func() bool {
		runtime.GC()
		n.exclusions.mu.Lock()
		defer n.exclusions.mu.Unlock()
		return len(n.exclusions.bySrc) == 0
	})
}

// What a document is refused for and what the WAF refuses is the same.
func TestPatternsHaveOneBound(t *testing.T) {
	for _, pattern := range []string{"a", "^a[0-9]{1,9}$", `\pL+(x|y)?`, "(", `((a{9}){9}){9}`, "[a-z]{197}", "[a-z]{198}", "[a-z]{199}"} {
		tenant := routes.Tenant{Name: "shop", WAF: &routes.WAF{Exclusions: []routes.Exclusion{{Rules: []routes.RuleRange{{First: 942100, Last: 942100}}, Target: "ARGS:/" + pattern + "/"}}}}
		profile := waf.Profile{Exclusions: waf.NewExclusions(Exclusions(tenant.WAF.Exclusions))}
		if refused, invalid := tenant.Check("shop").Err() != nil, profile.Validate() != nil; refused != invalid {
			t.Errorf("%s: refused %v, invalid %v", pattern, refused, invalid)
		}
	}
}
