//go:build !race

package edge

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"gatehouse/edge/waf"
)

// manyTenants has a tenant and a vhost each; with tuned, each has settings and exclusions
// of its own, as tenants have them after some months, and one in ten a pattern of his own.
func manyTenants(n int, tuned bool) string {
	var tenants, vhosts strings.Builder
	for i := range n {
		fmt.Fprintf(&vhosts, "  t%d.test: {tenant: t%d, backends: [http://127.0.0.1:9000]}\n", i, i)
		if !tuned {
			fmt.Fprintf(&tenants, "  t%d: {waf: {mode: \"off\"}}\n", i)
			continue
		}
		comment := fmt.Sprintf("comment_%d", i)
		if i%10 == 0 {
			comment = "/^" + comment + "_(text|html)$/"
		}
		fmt.Fprintf(&tenants, `  t%[1]d:
    waf:
      mode: block
      paranoia: %[2]d
      inbound_threshold: %[3]d
      allowed_methods: [GET, HEAD, POST, OPTIONS, PUT, DELETE]
      exclusions:
        - {rules: [942100], target: "ARGS:q%[1]d", paths: [/search/t%[1]d, /api/*], note: "names of products of shop %[1]d"}
        - {tags: [attack-xss], target: "ARGS:%[4]s", paths: [/admin/*], methods: [POST]}
        - {rules: [920420, 932120], note: "uploads of icons"}
`, i, 1+i%2, 5+i%4, comment)
	}
	return "tenants:\n" + tenants.String() + "vhosts:\n" + vhosts.String()
}

// What ten thousand tenants without own rules make the firewall take, with the rule set, what
// their documents say of it, and their sites, all of them made. docs/operations.md states it.
func TestTenThousandTenantsTakeAtMost80MBOfWAF(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: ten thousand tenants are left out")
	}
	const tenants, most = 10_000, 80_000_000
	plain := heapOfTenants(t, nil, tenants)
	before := heapInUse()
	rules, err := waf.New(waf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	alone := heapInUse() - before
	tuned := heapOfTenants(t, rules, tenants)
	if err := rules.Close(); err != nil {
		t.Error(err)
	}
	all := alone + tuned - plain
	t.Logf("%d tenants: %.1f MB in all; the rule set %.1f MB, each tenant %d bytes", tenants, float64(all)/1e6, float64(alone)/1e6, (tuned-plain)/tenants)
	if all > most {
		t.Errorf("%d bytes, at most %d", all, most)
	}
}

// heapOfTenants is what a server takes with so many tenants, their sites made and what
// their first transaction compiles; without rules they are not tuned.
func heapOfTenants(t *testing.T, rules *waf.Engine, tenants int) int {
	t.Helper()
	before := heapInUse()
	n := &node{}
	var err error
	if n.Server, err = New(Options{WAF: rules}); err != nil {
		t.Fatal(err)
	}
	n.apply(t, manyTenants(tenants, rules != nil))
	for i := range tenants {
		st, err := n.siteOf(n.Table().Match(fmt.Sprintf("t%d.test", i)))
		if err != nil {
			t.Fatal(err)
		}
		if rules == nil {
			continue
		}
		tx := rules.Begin(&st.profile, "first")
		if tx.Err() != nil || st.profile.Mode != waf.Block || len(st.profile.Exclusions.All()) != 3 {
			t.Fatalf("tenant %d: mode %s, %d exclusions, %v", i, st.profile.Mode, len(st.profile.Exclusions.All()), tx.Err())
		}
		tx.Close()
	}
	took := heapInUse() - before
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	return took
}

func heapInUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
