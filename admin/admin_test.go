package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
	"gatehouse/routes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const twoTenants = `
tenants:
  shop: {waf: {mode: block, paranoia: 2}}
vhosts:
  www.shop.test:
    tenant: shop
    aliases: [shop.test]
    backends: [http://127.0.0.1:9000]
    cache: {enabled: true, ttl: 30s}
  blog.test: {tenant: blog, backends: [http://127.0.0.1:9001]}
`

// caller speaks JSON to a node's socket.
type caller struct {
	t    *testing.T
	http *http.Client
	base string
}

func onSocket(t *testing.T, n *admintest.Node) *caller {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", n.Socket)
		},
		DisableKeepAlives: true,
	}
	return &caller{t, &http.Client{Transport: transport}, "http://gatehouse"}
}

func onTCP(t *testing.T, base string) *caller {
	return &caller{t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, base}
}

// call sends a request and decodes the JSON answer into out; it returns the status.
func (c *caller) call(method, path, body string, out any, header ...string) int {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if text, ok := out.(*string); ok {
		*text = string(raw)
	} else if out != nil {
		if err := json.Unmarshal(raw, out); err != nil {
			c.t.Fatalf("%s %s: %d %q: %v", method, path, resp.StatusCode, raw, err)
		}
	}
	return resp.StatusCode
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s: %q is not in %q", what, part, text)
		}
	}
}

func TestListTellsStatusOfEveryVhost(t *testing.T) {
	n := admintest.Start(t, twoTenants+`
  broken.test: {backends: [ftp://10.0.0.1]}
  thief.test: {backends: [http://127.0.0.1:9002], aliases: [blog.test]}
`, admin.Options{})
	var list admin.VhostList
	want(t, "status", onSocket(t, n).call("GET", "/vhosts", "", &list), 200)
	var got []string
	for _, v := range list.Vhosts {
		got = append(got, v.Name+" "+v.Status+" "+v.WAF)
	}
	want(t, "list", strings.Join(got, ", "), "blog.test ok detect, broken.test broken , thief.test conflict detect, www.shop.test ok block")
	contains(t, "why broken", list.Vhosts[1].Reason, "routes.yaml:", "bad backend")
	contains(t, "why conflict", list.Vhosts[2].Reason, "blog.test belongs to vhost blog.test already")
	shop := list.Vhosts[3]
	want(t, "cache", shop.Cache, true)
	want(t, "where", shop.Where, "memory:vhost:www.shop.test")
	want(t, "aliases", strings.Join(shop.Aliases, " "), "shop.test")
}

func TestVhostWithUnusableAuthoritiesIsNotShownAsOK(t *testing.T) {
	n := admintest.Start(t, `
vhosts:
  a.test: {backends: [http://127.0.0.1:9000], tls: {policy: modern, client_auth: {mode: required, ca: /absent/ca.pem}}}
  b.test: {backends: [http://127.0.0.1:9000]}
  c.test: {suspended: true, backends: [http://127.0.0.1:9000], tls: {key_type: rsa}}
`, admin.Options{ClientAuthProblem: func(string) error { return errors.New("connections are refused: no such file") }})
	c := onSocket(t, n)
	var list admin.VhostList
	want(t, "status", c.call("GET", "/vhosts", "", &list), 200)
	want(t, "a", list.Vhosts[0].Status+" "+list.Vhosts[0].Reason, "warning tls.client_auth.ca: connections are refused: no such file")
	want(t, "b", list.Vhosts[1].Status, "ok")
	want(t, "c", list.Vhosts[2].Status+list.Vhosts[2].Reason, "suspended")
	var detail admin.VhostDetail
	want(t, "status", c.call("GET", "/vhosts/a.test", "", &detail), 200)
	effective := map[string]string{}
	for _, e := range detail.Effective {
		effective[e.Path] = e.Value + ", " + e.From
	}
	want(t, "policy", effective["tls.policy"], "modern, vhost")
	want(t, "least version", effective["tls.min_version"], "1.3, built in")
	want(t, "mode", effective["tls.client_auth.mode"], "required, vhost")
	want(t, "authorities", effective["tls.client_auth.ca"], "/absent/ca.pem, vhost")
	want(t, "header", effective["tls.client_auth.header"], "true, built in")
	want(t, "suspended", effective["suspended"], "false, built in")
	want(t, "type of key", effective["tls.key_type"], "ecdsa, built in")
	want(t, "status", c.call("GET", "/vhosts/c.test", "", &detail), 200)
	for _, e := range detail.Effective {
		effective[e.Path] = e.Value + ", " + e.From
	}
	want(t, "suspended", effective["suspended"], "true, vhost")
	want(t, "type of key", effective["tls.key_type"], "rsa, vhost")
}

func TestVhostWithUnusableCertificateFilesIsNotShownAsOK(t *testing.T) {
	const files = "{certificate: {cert: /absent/site.pem, key: /absent/site.key}}"
	n := admintest.Start(t, `
vhosts:
  absent.test: {backends: [http://127.0.0.1:9000], tls: `+files+`}
  both.test: {backends: [http://127.0.0.1:9000], aliases: [absent.test], tls: `+files+`}
  good.test: {backends: [http://127.0.0.1:9000], tls: `+files+`}
  plain.test: {backends: [http://127.0.0.1:9000]}
`, admin.Options{CertificateProblem: func(name string) error {
		if name == "good.test" {
			return nil
		}
		return errors.New("certificate file: no such file")
	}})
	c := onSocket(t, n)
	var list admin.VhostList
	want(t, "status", c.call("GET", "/vhosts", "", &list), 200)
	var got []string
	for _, v := range list.Vhosts {
		got = append(got, v.Name+" "+v.Status)
	}
	want(t, "list", strings.Join(got, ", "), "absent.test warning, both.test conflict, good.test ok, plain.test ok")
	want(t, "reason", list.Vhosts[0].Reason, "tls.certificate: not served: certificate file: no such file")
	var v admin.VhostDetail
	want(t, "status", c.call("GET", "/vhosts/both.test", "", &v), 200)
	want(t, "problems of both kinds", len(v.Problems), 2)
	want(t, "field", v.Problems[1].Field, "tls.certificate")
	want(t, "it can be mended", c.call("PATCH", "/vhosts/absent.test", `{"set": {"tls.certificate": null}}`, &v), 200)
	want(t, "after", v.Status, "ok")
}

// A vhost's own rules are added to its tenant's, so both are shown; and what is wrong between them.
func TestOwnRulesAreShownWithWhoHasThem(t *testing.T) {
	n := admintest.Start(t, `
tenants:
  shop: {waf: {rules: "SecAction \"id:1\"\nSecAction \"id:2\"\n"}}
vhosts:
  a.test: {tenant: shop, backends: [http://127.0.0.1:9000], waf: {rules: "SecAction \"id:1\""}}
  b.test: {tenant: shop, backends: [http://127.0.0.1:9000]}
  c.test: {backends: [http://127.0.0.1:9000], waf: {rules: "SecAction \"id:1\""}}
`, admin.Options{RulesProblem: func(tenants, vhosts string) error {
		return fmt.Errorf("%d and %d bytes", len(tenants), len(vhosts))
	}})
	c := onSocket(t, n)
	for host, shown := range map[string]string{
		"a.test": "2 lines tenant shop, 1 line vhost", "b.test": "2 lines tenant shop", "c.test": "1 line vhost",
	} {
		var v admin.VhostDetail
		want(t, "status", c.call("GET", "/vhosts/"+host, "", &v), 200)
		var got []string
		for _, e := range v.Effective {
			if e.Path == "waf.rules" {
				got = append(got, e.Value+" "+e.From)
			}
		}
		want(t, host, strings.Join(got, ", "), shown)
		if host != "a.test" {
			want(t, host, v.Status, "ok")
			continue
		}
		want(t, host, v.Status, "warning")
		want(t, host, v.Reason, "waf.rules: 34 and 16 bytes")
	}
}

func TestHeldDocumentsNameTheKeyThatAcceptsTheirLoss(t *testing.T) {
	for key, says := range map[string]string{"": "accept with a restart, or put them back", "edge-1:gatehouse:accept-loss": "SET edge-1:gatehouse:accept-loss 1"} {
		api := admin.New(admin.Options{Status: func() routes.FollowerStatus { return routes.FollowerStatus{Held: 3, AcceptLoss: key} }})
		var r admin.Readiness
		onTCP(t, "http://"+admintest.ServeTCP(t, api.Public())).call("GET", "/readyz", "", &r)
		contains(t, "warning", strings.Join(r.Warnings, "\n"), says)
	}
}

func TestShowTellsWhoSaysWhatIsInForce(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{Defaults: &routes.Tenant{WAF: &routes.WAF{OnError: "block"}}})
	from := func(host, path string) string {
		var v admin.VhostDetail
		want(t, "status", onSocket(t, n).call("GET", "/vhosts/"+host, "", &v), 200)
		for _, e := range v.Effective {
			if e.Path == path {
				return e.Value + " from " + e.From
			}
		}
		return ""
	}
	want(t, "vhost", from("www.shop.test", "cache.ttl"), "30s from vhost")
	want(t, "tenant", from("www.shop.test", "waf.paranoia"), "2 from tenant shop")
	want(t, "built in", from("www.shop.test", "waf.on_error"), "pass from built in")
	want(t, "defaults", from("blog.test", "waf.on_error"), "block from defaults")
}

func TestUnknownVhostNamesWhoAnswersForTheHost(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	var f admin.Failure
	want(t, "status", onSocket(t, n).call("GET", "/vhosts/shop.test", "", &f), 404)
	contains(t, "error", f.Error, "there is no vhost shop.test", "vhost www.shop.test answers")
}

func TestPatchActsBeforeItIsAnswered(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	c := onSocket(t, n)
	for _, mode := range []string{"off", "block", "detect", "block"} {
		var v admin.VhostDetail
		want(t, "status", c.call("PATCH", "/vhosts/WWW.shop.test.", `{"set": {"waf.mode": "`+mode+`", "cache.ttl": null}}`, &v), 200)
		want(t, "applied", *v.Applied, true)
		want(t, "answer", v.WAF, mode)
		want(t, "switch kept", *v.Document.Cache.Enabled, true)
		want(t, "ttl unset", v.Document.Cache.TTL, 0)
		var again admin.VhostDetail
		c.call("GET", "/vhosts/www.shop.test", "", &again)
		want(t, "in the table", again.WAF, mode)
	}
}

func TestPatchReadsTextAsWhatTheFieldHolds(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	var v admin.VhostDetail
	status := onSocket(t, n).call("PATCH", "/vhosts/blog.test", `{"set": {
		"waf.paranoia": "3", "waf.responses": "true", "waf.allowed_methods": "GET, PUT", "tls.hsts": "180d",
		"backends": "http://10.0.0.1:1,http://10.0.0.2:2", "aliases": ["Weblog.test"], "tls.redirect_http": "true"}}`, &v)
	want(t, "status", status, 200)
	raw, err := json.Marshal(v.Document)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "document", string(raw), `{"tenant":"blog","aliases":["weblog.test"],"backends":["http://10.0.0.1:1","http://10.0.0.2:2"],`+
		`"waf":{"paranoia":3,"responses":true,"allowed_methods":["GET","PUT"]},"tls":{"redirect_http":"true","hsts":"180d"}}`)
}

// A mapping is written as JSON, and replaces the one that was there.
func TestPatchSetsMappings(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	c := onSocket(t, n)
	for _, step := range []struct{ path, text, document string }{
		{"headers.response", `{"set": {"X-Frame-Options": "DENY"}, "remove": ["Server"]}`, `"headers":{"response":{"set":{"X-Frame-Options":"DENY"},"remove":["Server"]}}`},
		{"headers.response.set", ` {"X-A": "{b}"}`, `"headers":{"response":{"set":{"X-A":"{b}"},"remove":["Server"]}}`},
		{"headers", `{"request": {"add": {"X-B": "c"}}}`, `"headers":{"request":{"add":{"X-B":"c"}}}`},
		{"headers", `{}`, `"headers":{}`},
		{"cache", `{"enabled": true, "ttl": "1m", "rules": [{"paths": ["/a"], "ttl": "1h"}]}`, `"cache":{"enabled":true,"ttl":"1m","rules":[{"paths":["/a"],"ttl":"1h"}]}`},
		{"tls.hsts", `{"max_age": "1h", "subdomains": true}`, `"tls":{"hsts":{"max_age":"1h","subdomains":true}}`},
		{"tls.hsts", "2h", `"tls":{"hsts":"2h"}`},
	} {
		body, err := json.Marshal(admin.Patch{Set: map[string]any{step.path: step.text}})
		if err != nil {
			t.Fatal(err)
		}
		var v admin.VhostDetail
		want(t, step.path, c.call("PATCH", "/vhosts/blog.test", string(body), &v), 200)
		raw, err := json.Marshal(v.Document)
		if err != nil {
			t.Fatal(err)
		}
		contains(t, step.path, string(raw), step.document)
	}
	var v admin.TenantDetail
	want(t, "tenant", c.call("PATCH", "/tenants/shop", `{"set": {"addresses": "{\"deny\": [\"all\"]}"}}`, &v), 200)
	want(t, "tenant", strings.Join(v.Document.Addresses.Deny, " "), "all")
}

// A list of mappings is written as JSON, and shows under its ids.
func TestPatchSetsExclusions(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	var v admin.VhostDetail
	status := onSocket(t, n).call("PATCH", "/vhosts/blog.test", `{"set": {
		"waf.exclusions": "[{\"id\": \"ex-1\", \"rules\": [942100, \"941100-941199\"], \"target\": \"ARGS:q\"}]", "waf.allowed_types": "text/plain, text/csv"}}`, &v)
	want(t, "status", status, 200)
	raw, err := json.Marshal(v.Document.WAF)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "document", string(raw), `{"allowed_types":["text/plain","text/csv"],"exclusions":[{"id":"ex-1","rules":[942100,"941100-941199"],"target":"ARGS:q"}]}`)
	inForce := map[string]string{}
	for _, e := range v.Effective {
		inForce[e.Path] = e.Value + " by " + e.From
	}
	want(t, "exclusions in force", inForce["waf.exclusions"], "ex-1 by vhost")
	want(t, "types in force", inForce["waf.allowed_types"], "text/plain, text/csv by vhost")
	want(t, "not JSON", onSocket(t, n).call("PATCH", "/vhosts/blog.test", `{"set": {"waf.exclusions": "[942100"}}`, nil), 422)
}

// What the rules do not know is shown where it stands; the document is served all the same.
func TestExclusionsWithoutEffectAreWarnings(t *testing.T) {
	n := admintest.Start(t, `
tenants: {shop: {waf: {exclusions: [{rules: [942100]}, {rules: [942999]}]}}}
vhosts:
  a.test: {tenant: shop, backends: [http://10.0.0.1]}
  b.test: {tenant: shop, backends: [http://10.0.0.1], waf: {exclusions: [{rules: [942999]}]}}
`, admin.Options{ExclusionProblems: func(list []routes.Exclusion) (out routes.Problems) {
		for i, x := range list {
			if x.Rules[0].First == 942999 {
				out = append(out, &routes.Problem{Field: fmt.Sprintf("[%d].rules", i), Reason: "without effect"})
			}
		}
		return out
	}})
	c := onSocket(t, n)
	var tenant admin.TenantDetail
	want(t, "status", c.call("GET", "/tenants/shop", "", &tenant), 200)
	want(t, "tenant", tenant.Status+": "+tenant.Reason, "warning: waf.exclusions[1].rules: without effect")
	want(t, "tenant's problems", len(tenant.Problems), 1)
	for name, says := range map[string]string{"a.test": "ok: ", "b.test": "warning: waf.exclusions[0].rules: without effect"} {
		var v admin.VhostDetail
		want(t, "status", c.call("GET", "/vhosts/"+name, "", &v), 200)
		want(t, name, v.Status+": "+v.Reason, says)
	}
}

func TestPatchThatUnsetsTheLastFieldRemovesTheMapping(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	var v admin.VhostDetail
	onSocket(t, n).call("PATCH", "/vhosts/www.shop.test", `{"set": {"cache.ttl": null, "cache.enabled": null, "waf.mode": null}}`, &v)
	if v.Document.Cache != nil || v.Document.WAF != nil {
		t.Errorf("empty mappings are left: %+v", v.Document)
	}
}

// Redis may hang, or hold a million: one question for each line of a list would be too many.
func TestListsAskTheStoreForNoPlace(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	c := onSocket(t, n)
	var vhosts admin.VhostList
	var tenants admin.TenantList
	want(t, "vhosts", c.call("GET", "/vhosts", "", &vhosts), 200)
	want(t, "tenants", c.call("GET", "/tenants", "", &tenants), 200)
	want(t, "questions", n.Store.Asked(), 0)
	for _, tenant := range tenants.Tenants {
		want(t, "place of tenant "+tenant.Name, tenant.Where != "", tenant.HasDocument)
	}
	var v admin.VhostDetail
	want(t, "show", c.call("GET", "/vhosts/www.shop.test", "", &v), 200)
	want(t, "place", v.Where, "memory:vhost:www.shop.test")
}

func TestRefusedPatchesChangeNothing(t *testing.T) {
	n := admintest.Start(t, twoTenants+"\n  broken.test: {backends: [ftp://10.0.0.1]}\n", admin.Options{})
	before, _ := n.Store.Document(routes.Key{Kind: routes.KindVhost, Name: "www.shop.test"})
	for _, tc := range []struct {
		name, path, body string
		status           int
		says             []string
	}{
		{"unknown field", "/vhosts/www.shop.test", `{"set": {"cache.tll": "60s"}}`, 422, []string{`unknown key "tll" in cache`, `did you mean "ttl"?`}},
		{"bad word", "/vhosts/www.shop.test", `{"set": {"waf.mode": "blok"}}`, 422, []string{"waf.mode: bad value", `"block"`}},
		{"bad number", "/vhosts/www.shop.test", `{"set": {"waf.paranoia": "two"}}`, 422, []string{"waf.paranoia: want a whole number"}},
		{"bad switch", "/vhosts/www.shop.test", `{"set": {"cache.enabled": "yes"}}`, 422, []string{"cache.enabled: want true or false"}},
		{"bad duration", "/vhosts/www.shop.test", `{"set": {"cache.ttl": "60"}}`, 422, []string{"cache.ttl: bad duration"}},
		{"bad policy", "/vhosts/www.shop.test", `{"set": {"balance": "least_con"}}`, 422, []string{"balance: bad value"}},
		{"below a value", "/vhosts/www.shop.test", `{"set": {"tenant.name": "x"}}`, 422, []string{"tenant: has no fields below it"}},
		{"mapping for a list", "/tenants/shop", `{"set": {"waf.exclusions": "{rules: [942100]}"}}`, 422, []string{`waf.exclusions: want a list, written as JSON, such as [{"rules": [942100]}], not a mapping`}},
		{"mapping that is no JSON", "/vhosts/www.shop.test", `{"set": {"headers.response": "{set: {X-A: b}}"}}`, 422, []string{`headers.response: want a mapping, written as JSON, such as {"name": "value"}: invalid character`}},
		{"mapping with an unknown key", "/vhosts/www.shop.test", `{"set": {"headers.response": "{\"sett\": {}}"}}`, 422, []string{`unknown key "sett" in headers.response`, `did you mean "set"?`}},
		{"list for a mapping", "/vhosts/www.shop.test", `{"set": {"headers.response": "[1]"}}`, 422, []string{"headers.response: want a mapping"}},
		{"word for a list of mappings", "/tenants/shop", `{"set": {"waf.exclusions": "942100"}}`, 422, []string{`waf.exclusions: want a list, written as JSON`}},
		{"list that is no JSON", "/tenants/shop", `{"set": {"waf.apps": "[wordpress]"}}`, 422, []string{`waf.apps: want a list, written as JSON, such as ["a", "b"]: invalid character`}},
		{"no backend left", "/vhosts/www.shop.test", `{"set": {"backends": null}}`, 422, []string{"at least one backend"}},
		{"foreign host", "/vhosts/www.shop.test", `{"set": {"aliases": "shop.test,blog.test"}}`, 409, []string{"host blog.test belongs to vhost blog.test"}},
		{"bad path", "/vhosts/www.shop.test", `{"set": {"cache..ttl": "1s"}}`, 400, []string{"bad path"}},
		{"nothing to set", "/vhosts/www.shop.test", `{"set": {}}`, 400, []string{"nothing to set"}},
		{"no JSON", "/vhosts/www.shop.test", `waf.mode=block`, 400, []string{"bad JSON"}},
		{"unknown member", "/vhosts/www.shop.test", `{"unset": ["cache"]}`, 400, []string{"unset"}},
		{"too large", "/vhosts/www.shop.test", `{"set": {"tenant": "` + strings.Repeat("x", 1<<20) + `"}}`, 413, []string{"larger than"}},
		{"unknown vhost", "/vhosts/none.test", `{"set": {"waf.mode": "off"}}`, 404, []string{"there is no vhost none.test"}},
		{"broken document", "/vhosts/broken.test", `{"set": {"waf.mode": "off"}}`, 409, []string{"is broken, mend it first where it stands", "routes.yaml"}},
		{"bad name", "/vhosts/a%20b", `{"set": {"waf.mode": "off"}}`, 400, []string{"bad vhost name"}},
		{"bad tenant name", "/tenants/a%20b", `{"set": {"waf.mode": "off"}}`, 400, []string{"bad tenant name"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var f admin.Failure
			want(t, "status", onSocket(t, n).call("PATCH", tc.path, tc.body, &f), tc.status)
			contains(t, "error", f.Error, tc.says...)
		})
	}
	after, _ := n.Store.Document(routes.Key{Kind: routes.KindVhost, Name: "www.shop.test"})
	if after.Vhost != before.Vhost {
		t.Errorf("the document was changed: %+v", after.Vhost)
	}
}

func TestPutAddsAndIfNoneMatchNeverReplaces(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	c := onSocket(t, n)
	var v admin.VhostDetail
	want(t, "wildcard added", c.call("PUT", "/vhosts/*.new.test", `{"backends": ["http://10.0.0.9"]}`, &v, "If-None-Match", "*"), 200)
	want(t, "applied", *v.Applied, true)
	var f admin.Failure
	want(t, "second", c.call("PUT", "/vhosts/*.new.test", `{"backends": ["http://10.0.0.8"]}`, &f, "If-None-Match", "*"), 412)
	contains(t, "second", f.Error, "there already", "memory:vhost:*.new.test")
	want(t, "replaced", c.call("PUT", "/vhosts/*.new.test", `{"backends": ["http://10.0.0.8"]}`, &v), 200)
	want(t, "backend", v.Backends[0], "http://10.0.0.8")
	want(t, "another's alias", c.call("PUT", "/vhosts/shop.test", `{"backends": ["http://10.0.0.8"]}`, &f), 409)
	contains(t, "another's alias", f.Error, "belongs to vhost www.shop.test")
	want(t, "incomplete", c.call("PUT", "/vhosts/x.test", `{}`, &f), 422)
}

func TestDeleteActsBeforeItIsAnswered(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	c := onSocket(t, n)
	var gone admin.Removed
	want(t, "status", c.call("DELETE", "/vhosts/blog.test", "", &gone), 200)
	want(t, "applied", gone.Applied, true)
	want(t, "where it stood", gone.Where, "memory:vhost:blog.test")
	var f admin.Failure
	want(t, "afterwards", c.call("GET", "/vhosts/blog.test", "", &f), 404)
	want(t, "again", c.call("DELETE", "/vhosts/blog.test", "", &f), 404)
	want(t, "tenant", c.call("DELETE", "/tenants/shop", "", &gone), 200)
	var v admin.VhostDetail
	c.call("GET", "/vhosts/www.shop.test", "", &v)
	want(t, "mode without the tenant's document", v.WAF, "detect")
}

func TestTenantPatchMakesATenant(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	c := onSocket(t, n)
	var list admin.TenantList
	c.call("GET", "/tenants", "", &list)
	want(t, "tenants", len(list.Tenants), 2)
	want(t, "named by a vhost only", list.Tenants[0].HasDocument, false)
	var d admin.TenantDetail
	want(t, "status", c.call("PATCH", "/tenants/blog", `{"set": {"waf.mode": "block"}}`, &d), 200)
	want(t, "applied", *d.Applied, true)
	want(t, "members", d.Vhosts, 1)
	var v admin.VhostDetail
	c.call("GET", "/vhosts/blog.test", "", &v)
	want(t, "vhost follows", v.WAF, "block")
	var f admin.Failure
	want(t, "unknown tenant", c.call("GET", "/tenants/none", "", &f), 404)
}

func TestChangeThatDoesNotComeBackIsToldAsSuch(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	n.Store.Deafen()
	var v admin.VhostDetail
	want(t, "status", onSocket(t, n).call("PATCH", "/vhosts/blog.test", `{"set": {"waf.mode": "block"}}`, &v), 200)
	want(t, "applied", *v.Applied, false)
}

func TestStoreFailureIsNotSwallowed(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	n.Store.FailPuts(errors.New("disk full"))
	var f admin.Failure
	want(t, "status", onSocket(t, n).call("PATCH", "/vhosts/blog.test", `{"set": {"waf.mode": "block"}}`, &f), 500)
	contains(t, "error", f.Error, "write vhost blog.test: disk full")
}

func TestPublicChangesAndShowsNothingOfTheRoutes(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{})
	c := onTCP(t, n.Public)
	for _, r := range [][2]string{
		{"GET", "/vhosts"}, {"PATCH", "/vhosts/blog.test"}, {"DELETE", "/vhosts/blog.test"}, {"PUT", "/tenants/x"}, {"POST", "/waf/test"},
	} {
		var text string
		want(t, r[0]+" "+r[1], c.call(r[0], r[1], "{}", &text), 404)
	}
	var text string
	want(t, "write to an endpoint", c.call("POST", "/readyz", "", &text), 405)
}

func TestHostCheckStopsDNSRebinding(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{Node: "edge1.example.net"})
	c := onTCP(t, n.Public)
	for host, status := range map[string]int{
		"evil.example.com": 421, "evil.example.com:9180": 421, "127.0.0.1.evil.test": 421, "": 200,
		"localhost:9180": 200, "127.0.0.1": 200, "[::1]:9180": 200, "gatehouse:9180": 200, "edge1.example.net": 200, "10.1.2.3": 200,
	} {
		if host == "" {
			continue // the client fills in the address
		}
		var text string
		want(t, host, c.call("GET", "/healthz", "", &text, "Host", host), status)
	}
	// The same over a private API that somebody serves on TCP, and a page's form.
	private := onTCP(t, "http://"+admintest.ServeTCP(t, admin.New(admin.Options{}).Private()))
	var text string
	want(t, "private, rebound", private.call("GET", "/vhosts", "", &text, "Host", "evil.example.com"), 421)
	want(t, "private, cross-origin", private.call("DELETE", "/vhosts/x.test", "", &text, "Origin", "https://evil.example.com"), 403)
}

// A vhost of another Gatehouse on this machine, with backend unix:/…/gatehouse.sock, is no way to the private API.
func TestTheSocketTakesNothingThatComesThroughAProxy(t *testing.T) {
	t.Parallel()
	c := onSocket(t, admintest.Start(t, twoTenants, admin.Options{Node: "edge1.example.net"}))
	var text string
	for _, header := range [][]string{
		{"Via", "1.1 gatehouse-0123"}, {"CDN-Loop", "gatehouse-0123"}, {"X-Forwarded-For", "192.0.2.1"}, {"Forwarded", "for=192.0.2.1"}, {"Via", ""},
	} {
		want(t, header[0], c.call("GET", "/vhosts", "", &text, header...), 403)
		contains(t, header[0], text, "through a proxy")
		want(t, "PATCH, "+header[0], c.call("PATCH", "/vhosts/blog.test", `{"set": {"tenant": "shop"}}`, &text, header...), 403)
	}
	for host, status := range map[string]int{"www.shop.test": 421, "gatehouse": 200, "localhost": 200, "edge1.example.net": 200} {
		want(t, host, c.call("GET", "/vhosts", "", &text, "Host", host), status)
	}
}

// A vhost localhost of another Gatehouse on this machine, with our admin listener as its backend, is no way to metrics and profiles; other proxies may
// stand before the metrics.
func TestThePublicListenerTakesNothingThatComesThroughAGatehouse(t *testing.T) {
	t.Parallel()
	c := onTCP(t, admintest.Start(t, twoTenants, admin.Options{}).Public)
	for _, row := range []struct {
		field, value      string
		metrics, profiles int
	}{
		{"Via", "1.1 gatehouse-0123", 403, 403},
		{"Via", "2.0 other, 1.1 Gatehouse-0123 (comment)", 403, 403},
		{"CDN-Loop", "other; a=b,gatehouse-0123", 403, 403},
		{"Via", "1.1 nginx", 200, 403},
		{"X-Forwarded-For", "192.0.2.1", 200, 403},
		{"Accept", "*/*", 200, 200},
	} {
		for path, status := range map[string]int{"/metrics": row.metrics, "/readyz": row.metrics, "/debug/pprof/goroutine?debug=1": row.profiles} {
			var text string
			want(t, path+", "+row.field+": "+row.value, c.call("GET", path, "", &text, row.field, row.value, "Host", "localhost"), status)
		}
	}
}

// gated is the gate of rules that nobody asks for anything else.
type gated struct {
	admin.Ruleset
	problem string
}

func (g gated) Gate() admin.Gate { return admin.Gate{Mode: "on", Problem: g.problem} }

// A gate that was switched off costs time and keeps no traffic away.
func TestReadyWarnsOfAGateThatWasSwitchedOff(t *testing.T) {
	for problem, warning := range map[string]string{"": "", "the gate was switched off": "waf: the gate was switched off"} {
		api := admin.New(admin.Options{Ruleset: gated{problem: problem}})
		var r admin.Readiness
		want(t, "ready", onTCP(t, "http://"+admintest.ServeTCP(t, api.Public())).call("GET", "/readyz", "", &r), 200)
		want(t, "warnings", strings.Join(r.Warnings, ";"), warning)
	}
}

func TestReadyTellsReasonsAndWarnings(t *testing.T) {
	reasons := []string{"draining"}
	api := admin.New(admin.Options{
		Node: "n1", NotReady: func() []string { return reasons }, Warnings: func() []string { return []string{"seal_keys: others"} },
		Status: func() routes.FollowerStatus {
			return routes.FollowerStatus{Up: errors.New("redis is away"), Held: 3, Problems: routes.Problems{{File: "a.yaml", Reason: "not YAML"}}}
		},
	})
	c := onTCP(t, "http://"+admintest.ServeTCP(t, api.Public()))
	var r admin.Readiness
	want(t, "not ready", c.call("GET", "/readyz", "", &r), 503)
	want(t, "reason", strings.Join(r.Reasons, ";"), "draining")
	contains(t, "warnings", strings.Join(r.Warnings, "\n"), "redis is away", "3 documents", "seal_keys: others", "a.yaml: not YAML")
	var alive map[string]bool
	want(t, "alive all the same", c.call("GET", "/healthz", "", &alive), 200)
	reasons = nil
	want(t, "ready", c.call("GET", "/readyz", "", &r), 200)
}

func TestMetricsAreServed(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "gatehouse_test_total", Help: "A counter."})
	registry.MustRegister(counter)
	counter.Add(7)
	c := onTCP(t, "http://"+admintest.ServeTCP(t, admin.New(admin.Options{Gatherer: registry}).Public()))
	var text string
	want(t, "status", c.call("GET", "/metrics", "", &text), 200)
	contains(t, "metrics", text, "gatehouse_test_total 7")
}

func TestWAFTestReachesInspectUnchanged(t *testing.T) {
	var got admin.InspectRequest
	api := admin.New(admin.Options{Inspect: func(_ context.Context, r admin.InspectRequest) (admin.InspectResult, error) {
		if got = r; strings.Contains(r.URL, "none.test") {
			return admin.InspectResult{}, errors.New("no vhost answers for none.test")
		}
		return admin.InspectResult{Vhost: "www.shop.test", Verdict: admin.VerdictBlock, Score: 5, Threshold: 5}, nil
	}})
	c := onTCP(t, "http://"+admintest.ServeTCP(t, api.Private()))
	body, err := json.Marshal(admin.InspectRequest{URL: "https://www.shop.test/?q=<b>%27", Headers: [][2]string{{"A", "b"}}, Body: []byte("\x00\xff")})
	if err != nil {
		t.Fatal(err)
	}
	var out admin.InspectResult
	want(t, "status", c.call("POST", "/waf/test", string(body), &out), 200)
	want(t, "verdict", out.Verdict, "block")
	want(t, "method", got.Method, "GET")
	want(t, "url", got.URL, "https://www.shop.test/?q=<b>%27")
	want(t, "client", got.Client, "127.0.0.1")
	want(t, "body", bytes.Equal(got.Body, []byte("\x00\xff")), true)
	for _, tc := range []struct {
		body   string
		status int
		says   string
	}{
		{`{"url": "/path"}`, 400, "want http://host"},
		{`{"url": "http://a.test", "method": "GE T"}`, 400, "bad method"},
		{`{"url": "http://a.test", "headers": [["A", "b\r\nEvil: c"]]}`, 400, "bad header field"},
		{`{"url": "http://a.test", "headers": [["host", "b.test"]]}`, 400, "made from the URL"},
		{`{"url": "http://a.test", "client": "nobody"}`, 400, "bad client address"},
		{`{"url": "http://none.test"}`, 422, "no vhost answers for none.test"},
		{`{"colour": "http://none.test"}`, 400, "colour"},
	} {
		var f admin.Failure
		want(t, tc.body, c.call("POST", "/waf/test", tc.body, &f), tc.status)
		contains(t, tc.body, f.Error, tc.says)
	}
}

func TestZeroOptionsShowNothingAndRefuseChanges(t *testing.T) {
	c := onTCP(t, "http://"+admintest.ServeTCP(t, admin.New(admin.Options{}).Private()))
	var list admin.VhostList
	want(t, "list", c.call("GET", "/vhosts", "", &list), 200)
	var f admin.Failure
	want(t, "put", c.call("PUT", "/vhosts/a.test", `{"backends": ["http://10.0.0.1"]}`, &f), 501)
	want(t, "delete", c.call("DELETE", "/vhosts/a.test", "", &f), 501)
	want(t, "waf test", c.call("POST", "/waf/test", `{"url": "http://a.test"}`, &f), 501)
}

func TestSocketIsForItsOwnerAndOneNode(t *testing.T) {
	dir, err := os.MkdirTemp("", "gh") //nolint:usetesting // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "gatehouse.sock")
	first, err := admin.ListenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "mode", info.Mode(), os.ModeSocket|0o600)
	if _, err := admin.ListenSocket(path); err == nil || !strings.Contains(err.Error(), "another gatehouse") {
		t.Errorf("a second node took the socket: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	leftBehind, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	leftBehind.SetUnlinkOnClose(false)
	if err := leftBehind.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := admin.ListenSocket(path)
	if err != nil {
		t.Fatalf("a socket left behind by a killed process: %v", err)
	}
	_ = first.Close() // again: must not remove the other node's socket
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("dial: %v", err)
	} else {
		_ = conn.Close()
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.ListenSocket(path); err == nil {
		t.Error("a plain file was replaced")
	}
	if _, err := admin.ListenSocket("/tmp/" + strings.Repeat("x", 120)); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("a path that does not fit: %v", err)
	}
}
