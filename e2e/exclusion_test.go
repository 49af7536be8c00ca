package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// The story of a false alarm: an attack is blocked; so is a harmless upload of an
// icon, whose rule and target the log names; the tenant allows them for that
// parameter on that path, live; everything around it stays closed.
func TestFalseAlarmIsAllowedForItsParameterOnly(t *testing.T) {
	t.Parallel()
	const allowed = `{"waf": {"mode": "block", "exclusions": [{"rules": [%s], "target": "%s", "paths": ["/upload"], "note": "icon file names"}]}}`
	for name, source := range map[string]func(t *testing.T, backend string) (n *node, tenant func(doc string)){
		"files": func(t *testing.T, backend string) (*node, func(string)) {
			sites := vhost("shop.test", backend, "tenant: shop") + strings.TrimPrefix(vhost("blog.test", backend, "tenant: blog"), "vhosts:\n")
			n := launch(t, "", map[string]string{
				"sites.yaml": sites, "shop.yaml": "tenants: {shop: {waf: {mode: block}}}\n", "blog.yaml": "tenants: {blog: {waf: {mode: block}}}\n",
			})
			return n, func(doc string) { n.write("conf.d/shop.yaml", "tenants: {shop: "+doc+"}\n") }
		},
		"Redis": func(t *testing.T, backend string) (*node, func(string)) {
			redis := edgetest.Redis(t)
			for _, tenant := range []string{"shop", "blog"} {
				redis.CLI("rpush", "frontend:"+tenant+".test", tenant, backend)
				redis.CLI("set", "tenant:"+tenant, `{"waf": {"mode": "block"}}`)
			}
			n := launch(t, "routes: "+redis.URL(), nil)
			return n, func(doc string) { redis.CLI("set", "tenant:shop", doc) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := edgetest.NewBackend(t)
			n, tenant := source(t, b.URL)
			const icon, attack = "icon=format-list-bulleted-square.svg", "icon=1' OR '1'='1"
			want := func(what string, got *edgetest.RawAnswer, status int) {
				t.Helper()
				if got.Status != status {
					t.Errorf("%s: status %d, want %d", what, got.Status, status)
				}
			}
			want("an attack", n.get("shop.test", "/?q=<script>alert(1)</script>"), 403)
			blocked := n.postForm("shop.test", "/upload", icon)
			want("the false alarm", blocked, 403)

			// It is found by the id on the block page.
			id := blocked.Header.Get("X-Request-Id")
			if id == "" || !strings.Contains(string(blocked.Body), id) {
				t.Fatalf("no id %q on the block page: %s", id, blocked.Body)
			}
			line := regexp.MustCompile(`action=block id=` + regexp.QuoteMeta(id) + ` tenant=shop .* path=/upload .*rules=\[(\d+)\] .*target=(\S+)`)
			edgetest.WaitFor(t, "the event in the log", func() bool { return line.MatchString(n.stderr.String()) })
			found := line.FindStringSubmatch(n.stderr.String())
			if found[1] != "932120" || found[2] != "ARGS:icon" {
				t.Fatalf("found %v", found[1:])
			}

			begin := time.Now()
			tenant(fmt.Sprintf(allowed, found[1], found[2]))
			edgetest.WaitFor(t, "the upload to pass", func() bool { return n.postForm("shop.test", "/upload", icon).Status == 200 })
			if took := time.Since(begin); took > second {
				t.Logf("live after %v", took)
			}
			want("another path", n.postForm("shop.test", "/other", icon), 403)
			want("a path that leads elsewhere", n.postForm("shop.test", "/upload/../other", icon), 403)
			want("another parameter", n.postForm("shop.test", "/upload", "name"+strings.TrimPrefix(icon, "icon")), 403)
			want("another tenant", n.postForm("blog.test", "/upload", icon), 403)
			want("an attack in the same parameter", n.postForm("shop.test", "/upload", attack), 403)
			want("an attack elsewhere", n.get("shop.test", "/?q=<script>alert(1)</script>"), 403)
			if out, code := n.run("waf", "test", "-X", "POST", "-d", icon, "http://shop.test/upload"); code != 0 || !strings.Contains(out, "pass") {
				t.Errorf("waf test: exit %d\n%s", code, out)
			}

			// A mistake changes nothing, and is named.
			tenant(`{"waf": {"mode": "block", "exclusions": [{"target": "ARGS:icon"}]}}`)
			edgetest.WaitFor(t, "the mistake in the log", func() bool { return strings.Contains(n.stderr.String(), "a target alone would blind every rule") })
			want("after a mistake", n.postForm("shop.test", "/upload", icon), 200)

			// It survives a restart, and goes as it came.
			n.stop()
			n.start()
			want("after a restart", n.postForm("shop.test", "/upload", icon), 200)
			tenant(`{"waf": {"mode": "block"}}`)
			edgetest.WaitFor(t, "the upload to be blocked again", func() bool { return n.postForm("shop.test", "/upload", icon).Status == 403 })
		})
	}
}
