package edge

import (
	"fmt"
	"net"
	"testing"

	"gatehouse/internal/edgetest"
)

// A backend's name is looked up by the server's resolver, whose failures a tenant sees in the log once, and not as failed requests.
func TestABackendIsReachedByName(t *testing.T) {
	t.Parallel()
	b, dns := edgetest.NewBackend(t), edgetest.StartNameServer(t)
	dns.Set("app.internal.test", "127.0.0.1")
	_, port, err := net.SplitHostPort(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, shopSite(fmt.Sprintf("http://app.internal.test:%s", port))+"  gone.test:\n    tenant: rival\n    backends: [http://gone.internal.test]\n",
		func(o *Options) { o.LookupHost = dns.Lookup })
	for range 3 {
		if got := n.get(t, "www.shop.test", "/"); got.Status != 200 {
			t.Fatalf("status %d", got.Status)
		}
		if got := n.get(t, "gone.test", "/"); got.Status != 502 {
			t.Fatalf("status %d of a name that does not exist", got.Status)
		}
	}
	n.waitFor(t, n.log, `backend name could not be looked up" of="tenant rival" name=gone.internal.test`)
	if accepted, _ := b.Connections(); accepted != 1 || dns.Asked("app.internal.test") != 1 {
		t.Errorf("%d connections, %d questions, want one of each", accepted, dns.Asked("app.internal.test"))
	}
}
