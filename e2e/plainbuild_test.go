package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever builds without the tag gets a binary that serves nobody, and says why: its WAF
// would mix the patterns of tenants.
func TestPlainBuildRefusesToServeAndSaysWhy(t *testing.T) {
	t.Parallel()
	n := prepare(t, "", map[string]string{"site.yaml": "tenants: {shop: {waf: {rules: 'SecRule ARGS:a \"@contains b\" \"id:1,phase:2,deny\"', exclusions: [{rules: [942100]}]}}}\n" +
		vhost("shop.test", "http://127.0.0.1:9000", "tenant: shop")})
	plain := filepath.Join(n.dir, "gatehouse-plain")
	if out, err := exec.Command("go", "build", "-o", plain, "../cmd/gatehouse").CombinedOutput(); err != nil {
		t.Fatalf("a build without the tag: %v\n%s", err, out)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"serve", 1, "go build -tags coraza.no_memoize"},
		{"demo --check", 1, "go build -tags coraza.no_memoize"},
		{"waf test --offline http://shop.test/", 1, "go build -tags coraza.no_memoize"},
		{"check", 0, "note: this binary cannot serve: built without the tag coraza.no_memoize"},
		{"version", 0, "tags       none"},
	} {
		cmd := exec.Command(plain, strings.Fields(c.args)...)
		cmd.Dir = n.dir
		out, _ := cmd.CombinedOutput() // its status is compared below
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.says) {
			t.Errorf("gatehouse %s: exit %d, want %d and %q:\n%s", c.args, code, c.code, c.says, out)
		}
	}
	// With the tag, the same settings are good.
	if out := n.must("check"); strings.Contains(out, "cannot serve") {
		t.Error(out)
	}
}
