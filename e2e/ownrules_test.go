package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

const officeRule = `SecRule REQUEST_FILENAME "@beginsWith /office" "id:1000,phase:1,deny,status:404,msg:'back office'"`

// A tenant's own rule acts on its sites, a bad one leaves the good one and says where
// and why, and another tenant notices nothing; with files and with Redis.
func TestOwnRulesOfATenant(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, n *node) {
		b := edgetest.NewBackend(t)
		n.must("vhost", "add", "www.shop.test", b.URL, "--tenant", "shop")
		n.must("vhost", "add", "blog.test", b.URL, "--tenant", "blog", "--waf", "block")
		n.must("tenant", "set", "shop", "waf.mode=block", "waf.rules="+officeRule)
		n.must("vhost", "set", "www.shop.test", `waf.rules=SecRule ARGS:q "@streq x" "id:1001,`+"\\\n"+`  deny"`)
		check := func(when string) {
			t.Helper()
			for _, test := range []struct {
				host, target string
				status       int
			}{{"www.shop.test", "/office", 404}, {"www.shop.test", "/?q=x", 403}, {"www.shop.test", "/", 200}, {"blog.test", "/office?q=x", 200}} {
				if got := n.get(test.host, test.target).Status; got != test.status {
					t.Errorf("%s: %s%s: %d, want %d", when, test.host, test.target, got, test.status)
				}
			}
		}
		check("set")
		for bad, says := range map[string]string{
			`SecRule ARGS "@inspectFile /tmp/x.sh" "id:1"`:  "line 1, column 15: the operator @inspectFile is not taken: it runs a program",
			officeRule + "\nSecDebugLog /tmp/x":             "line 2, column 1:",
			`SecRule ARGS "@rx (a{900}){900}" "id:1"`:       "bad regular expression",
			`SecAction "id:1,phase:1,ctl:ruleEngine=Off"`:   "of ctl, ruleRemoveById",
			`SecRule REMOTE_ADDR "@rbl x.test" "id:1,deny"`: "name servers",
			`SecRule ARGS "x" "id:942100,deny"`:             "1 to 99999",
			`SecRule REQUEST_HEADERS:X-Me "1" "id:1,allow"`: "would pass the core rules unseen",
			`SecRule ARGS "@pmFromFile /etc/passwd" "id:1"`: "it reads a file",
			`SecRule ARGS "x" "id:1,exec:/tmp/x.sh"`:        "it runs a program",
			"Include /etc/passwd":                           "it reads a file",
			"SecArgumentsLimit 100000":                      "is not taken",
		} {
			if out, code := n.run("tenant", "set", "shop", "waf.rules="+bad); code != 1 || !strings.Contains(out, says) {
				t.Errorf("%s: exit %d, without %q:\n%s", bad, code, says, out)
			}
		}
		check("after bad ones")
		out, code := n.run("waf", "test", "http://www.shop.test/office")
		if code != 1 || !strings.Contains(out, "1000") || !strings.Contains(out, "back office") {
			t.Errorf("waf test: exit %d\n%s", code, out)
		}
		if out := n.must("vhost", "show", "www.shop.test", "--effective"); strings.Count(out, "waf.rules") != 2 {
			t.Errorf("vhost show --effective:\n%s", out)
		}
		n.must("tenant", "set", "shop", "waf.rules=")
		if got := n.get("www.shop.test", "/office").Status; got != 200 {
			t.Errorf("removed: %d", got)
		}
	})
}

// A mistake in a file that somebody saves is told with its line of the file, and changes nothing.
func TestBadOwnRuleInAFileKeepsTheGoodOnes(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	file := func(rule string) string {
		return "tenants:\n  shop:\n    waf:\n      mode: block\n      rules: |\n        # ours\n        " + rule + "\n" + vhost("a.test", b.URL, "tenant: shop")
	}
	n := launch(t, "", map[string]string{"a.yaml": file(officeRule)})
	n.within("a.test", 200)
	if got := n.get("a.test", "/office").Status; got != 404 {
		t.Fatalf("status %d", got)
	}
	n.write("conf.d/a.yaml", file(strings.Replace(officeRule, "deny", "exec:/tmp/x", 1)))
	var out string
	edgetest.WaitFor(t, "tenant list to show shop as broken", func() bool {
		out, _ = n.run("tenant", "list")
		return strings.Contains(out, "broken")
	})
	if !strings.Contains(out, "a.yaml:7:") || !strings.Contains(out, "runs a program") {
		t.Errorf("tenant list does not say where and why:\n%s", out)
	}
	for range 2 {
		if got := n.get("a.test", "/office").Status; got != 404 {
			t.Errorf("the good rule is gone: %d", got)
		}
		n.stop()
		n.start() // the last good form is on disk
	}
	// Setting another field leaves the block as it stands.
	n.write("conf.d/a.yaml", file(officeRule))
	edgetest.WaitFor(t, "shop to be mended", func() bool { out, _ := n.run("tenant", "list"); return !strings.Contains(out, "broken") })
	n.must("tenant", "set", "shop", "waf.paranoia=2")
	saved, err := os.ReadFile(filepath.Join(n.dir, "conf.d/a.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(saved), "      rules: |\n        # ours\n        SecRule") || !strings.Contains(string(saved), "paranoia: 2") {
		t.Errorf("saved:\n%s", saved)
	}
}
