package e2e

import (
	"net/http"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// What the operator says of backends acts: where none may be, and how many requests a tenant has there at a time.
func TestSettingsOfBackendsAct(t *testing.T) {
	t.Parallel()
	arrived, let := make(chan struct{}), make(chan struct{})
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-let
	})})
	t.Cleanup(func() { close(let) })
	n := launch(t, "backends: {deny: [loopback, unix], allow: [127.0.0.1]}\nlimits: {tenant_concurrency: 5, tenant_queue: 0}", map[string]string{
		"shop.yaml": "tenants: {shop: {concurrency: 1}}\nvhosts:\n  open.test: {tenant: shop, backends: ['" + b.URL + "']}\n" +
			"  loopback.test: {backends: ['http://127.0.0.2:9']}\n  socket.test: {backends: ['unix:/run/none.sock']}\n",
	})
	for host, rule := range map[string]string{"loopback.test": "127.0.0.2:9 is never used as a backend: backends.deny has loopback", "socket.test": "backends.deny has unix"} {
		if got := n.get(host, "/"); got.Status != 502 || strings.Contains(string(got.Body), "deny") {
			t.Errorf("%s: status %d: %s", host, got.Status, got.Body)
		}
		edgetest.WaitFor(t, "the log to say "+rule, func() bool { return strings.Contains(n.stderr.String(), rule) })
	}
	c := edgetest.Dial(t, n.http)
	c.Send("GET / HTTP/1.1\r\nHost: open.test\r\n\r\n")
	<-arrived
	if got := n.get("open.test", "/"); got.Status != 503 || got.Header.Get("Retry-After") == "" {
		t.Errorf("status %d beside the one request that the tenant may have", got.Status)
	}
}
