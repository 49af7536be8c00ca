package e2e

import (
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// Two nodes have one bucket between them; without Redis each goes on with what it has, and nobody waits.
func TestNodesShareARateLimit(t *testing.T) {
	b, redis := edgetest.NewBackend(t), edgetest.Redis(t)
	redis.CLI("rpush", "frontend:shop.test", "shop", b.URL)
	redis.CLI("set", "vhost:shop.test", `{"waf": {"mode": "off"}, "rate": {"requests": 40, "per": "1d", "key": "all"}}`)
	nodes := []*node{launch(t, "routes: "+redis.URL(), nil), launch(t, "routes: "+redis.URL(), nil)}
	for _, n := range nodes {
		n.within("shop.test", 200)
		edgetest.WaitFor(t, "the node to share limits", func() bool { return n.number("gatehouse_rate_limits_shared") == 1 })
	}
	for range 60 {
		nodes[0].get("shop.test", "/")
	}
	if got := nodes[0].get("shop.test", "/"); got.Status != 429 || got.Header.Get("Retry-After") == "" || got.Header.Get("RateLimit-Policy") != `"all";q=40;w=86400` {
		t.Errorf("beyond the limit: %d %v", got.Status, got.Header)
	}
	edgetest.WaitFor(t, "the other node to refuse what the first one let through", func() bool {
		return nodes[1].get("shop.test", "/").Status == 429
	})
	if seen := len(b.Requests()); seen >= 60 {
		t.Errorf("the backend got %d requests of 40", seen)
	}
	redis.Suspend()
	defer redis.Resume()
	for i, n := range nodes {
		if got := n.get("shop.test", "/").Status; got != 429 {
			t.Errorf("node %d, while Redis hangs: %d", i, got)
		}
	}
	edgetest.WaitFor(t, "the node to say that it counts alone", func() bool {
		return strings.Contains(nodes[1].stderr.String(), "rate limits are counted by this node alone")
	})
}
