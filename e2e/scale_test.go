package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// 20 tenants with 50 vhosts each in one process: one compiled CRS, RSS under
// 150 MB, and the thousandth vhost costs what the others did.
func TestTwentyTenantsWithFiftyVhostsEach(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	files := map[string]string{"base.yaml": vhost("base.test", b.URL)}
	for tenant := range 20 {
		var doc strings.Builder
		fmt.Fprintf(&doc, "tenants:\n  t%d:\n    waf: {mode: block, paranoia: %d}\nvhosts:\n", tenant, tenant%4+1)
		for v := range 50 {
			fmt.Fprintf(&doc, "  v%d.t%d.test:\n    tenant: t%d\n    backends: [%s]\n    cache: {enabled: true, ttl: 60s}\n", v, tenant, tenant, b.URL)
		}
		files[fmt.Sprintf("t%02d.yaml", tenant)] = doc.String()
	}
	n := launch(t, "", files)
	n.within("v49.t19.test", 200)
	c := keepAliveHosts{t: t, n: n}
	for tenant := range 20 {
		for v := range 50 { // every site is compiled and serves
			c.get(fmt.Sprintf("v%d.t%d.test", v, tenant))
		}
		if got := n.get(fmt.Sprintf("v0.t%d.test", tenant), attack).Status; got != 403 {
			t.Errorf("tenant t%d: the attack got %d", tenant, got)
		}
	}
	rss := n.rss()
	t.Logf("RSS with 1,001 vhosts, all used: %.1f MB", float64(rss)/(1<<20))
	if rss > 150<<20 {
		t.Errorf("RSS %d MB, want under 150", rss>>20)
	}
	if got := n.metric("gatehouse_waf_compiles_total"); got != "1" {
		t.Errorf("%s rule sets were compiled, want 1", got)
	}
}

// metric returns the value of a metric without labels.
func (n *node) metric(name string) string {
	n.t.Helper()
	resp, err := http.Get("http://" + n.admin + "/metrics")
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

type keepAliveHosts struct {
	t    testing.TB
	n    *node
	conn *edgetest.RawConn
}

func (c *keepAliveHosts) get(host string) {
	c.t.Helper()
	if c.conn == nil {
		c.conn = edgetest.Dial(c.t, c.n.http)
	}
	got := c.conn.Do("GET", "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
	if got.Status != 200 {
		c.t.Fatalf("%s: status %d", host, got.Status)
	}
	if got.Close {
		c.conn = nil
	}
}
