package edge

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/edge/waf"
	"gatehouse/internal/edgetest"
	wafrules "gatehouse/waf-rules"
	"gatehouse/waf-rules/crstest"
)

// New rules judge stored answers anew where answers are inspected, and only there; what they do not know of
// exclusions is logged once more.
func TestNewRulesActOnStoredAnswersAndExclusions(t *testing.T) {
	rules, err := waf.New(waf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer rules.Close()
	b := edgetest.NewBackend(t)
	n := start(t, fmt.Sprintf(`tenants: {shop: {waf: {mode: block, exclusions: [{id: x, rules: [932999, 190001]}]}}}
vhosts:
  judged.test: {tenant: shop, backends: [%[1]s], cache: {enabled: true, ttl: 60s}, waf: {responses: true}}
  plain.test: {tenant: shop, backends: [%[1]s], cache: {enabled: true, ttl: 60s}}
`, b.URL), func(o *Options) { o.WAF = rules })
	cacheStatus := func(host string) string {
		return n.get(t, host, "/respond?Content-Type=text/html&body=welcome").Header.Get("Cache-Status")
	}
	hit := func(host string) {
		t.Helper()
		edgetest.WaitFor(t, "an answer of "+host+" from the cache", func() bool { return strings.Contains(cacheStatus(host), "hit") })
	}
	hit("judged.test")
	hit("plain.test")
	lines := func(rule string) int {
		return strings.Count(n.log.String(), `reason="there is no rule `+rule+`"`)
	}
	n.waitFor(t, n.log, "there is no rule 190001")
	n.waitFor(t, n.log, "there is no rule 932999")

	dir := t.TempDir()
	if err := crstest.WriteRelease(dir); err != nil {
		t.Fatal(err)
	}
	const rule = `SecRule REQUEST_METHOD "@rx ." "id:190001,phase:1,deny,status:403,msg:'all'"` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "rules/REQUEST-900-OURS.conf"), []byte(rule), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := rules.Reload(func() (*wafrules.Set, error) { return wafrules.FromDir(dir) }); err != nil || !changed {
		t.Fatal(changed, err)
	}
	n.RulesReplaced()
	if missing, found := lines("932999"), lines("190001"); missing != 2 || found != 1 {
		t.Errorf("%d and %d lines about the exclusion, want 2 and 1\n%s", missing, found, n.log)
	}
	if got := cacheStatus("judged.test"); strings.Contains(got, "hit") || !strings.Contains(got, "fwd=stale") {
		t.Errorf("an answer that other rules judged: %s", got)
	}
	hit("judged.test")
	if got := cacheStatus("plain.test"); !strings.Contains(got, "hit") {
		t.Errorf("an answer that nobody judges: %s", got)
	}
}
