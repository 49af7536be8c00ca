package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatehouse/admin"
	"gatehouse/internal/edgetest"
)

// The story of users who solve a false alarm by themselves: an attack is blocked; so is a
// harmless upload of an icon, which is found by its id and allowed for that parameter
// alone, on all nodes; everything around it stays closed; undo closes it again.
func TestFalseAlarmIsAllowedByItsID(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]func(t *testing.T, backend string) (first, second *node){
		"files": func(t *testing.T, backend string) (*node, *node) {
			n := launch(t, "", map[string]string{
				"sites.yaml":   "# sites\n" + vhost("shop.test", backend, "tenant: shop # its owner") + strings.TrimPrefix(vhost("blog.test", backend, "tenant: blog"), "vhosts:\n"),
				"tenants.yaml": "tenants: {shop: {waf: {mode: block}}, blog: {waf: {mode: block}}}\n",
			})
			return n, n
		},
		"Redis": func(t *testing.T, backend string) (*node, *node) {
			redis := edgetest.Redis(t)
			for _, tenant := range []string{"shop", "blog"} {
				redis.CLI("rpush", "frontend:"+tenant+".test", tenant, backend)
				redis.CLI("set", "tenant:"+tenant, `{"waf": {"mode": "block"}}`)
			}
			return launch(t, "routes: "+redis.URL(), nil), launch(t, "routes: "+redis.URL(), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := edgetest.NewBackend(t)
			n1, n2 := source(t, b.URL)
			const icon, attack = "icon=format-list-bulleted-square.svg", "icon=1' OR '1'='1"
			want := func(what string, got *edgetest.RawAnswer, status int) {
				t.Helper()
				if got.Status != status {
					t.Errorf("%s: status %d, want %d", what, got.Status, status)
				}
			}
			verb := func(code int, says []string, args ...string) string {
				t.Helper()
				out, got := n1.run(args...)
				if got != code {
					t.Fatalf("%v: exit %d\n%s", args, got, out)
				}
				for _, s := range says {
					if !strings.Contains(out, s) {
						t.Errorf("%v: no %q in\n%s", args, s, out)
					}
				}
				return out
			}
			want("an attack", n1.get("shop.test", "/?q=<script>alert(1)</script>"), 403)
			want("another false alarm, elsewhere", n1.postForm("shop.test", "/other", icon), 403)
			want("an attack in the same parameter", n1.postForm("shop.test", "/upload", attack), 403)
			blocked := n1.postForm("shop.test", "/upload", icon)
			want("the false alarm", blocked, 403)
			id := blocked.Header.Get("X-Request-Id")
			edgetest.WaitFor(t, "the event", func() bool {
				_, code := n1.run("waf", "events", "--id", id)
				return code == 0
			})

			verb(1, []string{"cannot be excluded: it adds the score up"}, "waf", "allow", id, "--rule", "949110")
			verb(0, []string{"would be added to vhost shop.test: rules 932120 at ARGS:icon in POST /upload", "and 0 of 3 other refused requests of tenant shop"},
				"waf", "allow", id, "--dry-run")
			want("after a dry run", n1.postForm("shop.test", "/upload", icon), 403)
			verb(0, []string{"would be added to tenant shop: rules 932120\n", "and 2 of 4 other refused requests of tenant shop on node "}, "waf", "allow", id, "--scope", "tenant", "--dry-run")

			out := verb(0, []string{
				"added to vhost shop.test: rules 932120 at ARGS:icon in POST /upload (icon file names)",
				"lets through this request, and 1 of 4 other refused requests of tenant shop", "active on this node after", "undo: gatehouse waf undo ex-",
			}, "waf", "allow", id, "--note", "icon file names")
			exclusion := regexp.MustCompile(`ex-[0-9a-f]+`).FindString(out)
			want("the upload", n1.postForm("shop.test", "/upload", icon), 200)
			begin := time.Now()
			edgetest.WaitFor(t, "the upload to pass on every node", func() bool { return n2.postForm("shop.test", "/upload", icon).Status == 200 })
			t.Logf("live on the other node %v after the verb", time.Since(begin))
			for _, n := range []*node{n1, n2} {
				want("another path", n.postForm("shop.test", "/other", icon), 403)
				want("another parameter", n.postForm("shop.test", "/upload", "name"+strings.TrimPrefix(icon, "icon")), 403)
				want("another tenant", n.postForm("blog.test", "/upload", icon), 403)
				want("an attack in the same parameter", n.postForm("shop.test", "/upload", attack), 403)
				want("an attack elsewhere", n.get("shop.test", "/?q=<script>alert(1)</script>"), 403)
			}
			verb(1, []string{"has this exclusion already"}, "waf", "allow", id)

			// What is excluded is told, by rule and for whom.
			verb(0, []string{"vhost shop.test", "icon file names", exclusion, "last"}, "waf", "rules", "932120")
			verb(0, []string{exclusion, "ARGS:icon", "/upload"}, "waf", "rules", "--excluded", "-t", "shop")
			var list admin.RuleList
			if err := json.Unmarshal([]byte(verb(0, nil, "waf", "rules", "--excluded", "-t", "blog", "-o", "json")), &list); err != nil || len(list.Rules) != 0 {
				t.Errorf("excluded for blog: %+v, %v", list.Rules, err)
			}
			// It survives a restart, and goes as it came.
			n1.stop()
			n1.start()
			want("after a restart", n1.postForm("shop.test", "/upload", icon), 200)
			verb(0, []string{exclusion + " removed from vhost shop.test"}, "waf", "undo", exclusion)
			want("undone", n1.postForm("shop.test", "/upload", icon), 403)
			edgetest.WaitFor(t, "the upload to be blocked on every node", func() bool { return n2.postForm("shop.test", "/upload", icon).Status == 403 })
			verb(1, []string{"there is no exclusion " + exclusion}, "waf", "undo", exclusion)
			want("the site", n1.get("shop.test", "/"), 200)
			if name == "files" {
				doc, err := os.ReadFile(filepath.Join(n1.dir, "conf.d/sites.yaml"))
				if err != nil || !strings.Contains(string(doc), "# its owner") || strings.Contains(string(doc), exclusion) {
					t.Errorf("the document after undo (%v):\n%s", err, doc)
				}
			}
		})
	}
}
