package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/edgetest"
)

// Two nodes and a person change one document at the same time, again and again: nothing is lost.
func TestChangesOnTwoNodesAreAllKept(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	redis.CLI("rpush", "frontend:shop.test", "shop", "http://127.0.0.1:9")
	redis.CLI("set", "tenant:shop", `{"waf": {"mode": "detect"}}`)
	nodes := []*node{launch(t, "routes: "+redis.URL(), nil), launch(t, "routes: "+redis.URL(), nil)}
	for i := range 5 {
		redis.CLI("set", "tenant:shop", fmt.Sprintf(`{"waf": {"mode": "block", "outbound_threshold": %d}}`, 10+i))
		var both sync.WaitGroup
		for k, n := range nodes {
			field := []string{"waf.paranoia=2", "waf.inbound_threshold=" + fmt.Sprint(10+i)}[k]
			both.Go(func() {
				if out, code := n.run("tenant", "set", "shop", field); code != 0 {
					t.Errorf("%s: exit %d\n%s", field, code, out)
				}
			})
		}
		both.Wait()
		got := redis.CLI("get", "tenant:shop")
		for _, part := range []string{`"mode":"block"`, `"paranoia":2`, fmt.Sprintf(`"inbound_threshold":%d`, 10+i), fmt.Sprintf(`"outbound_threshold":%d`, 10+i)} {
			if !strings.Contains(got, part) {
				t.Errorf("round %d: %s is lost: %s", i, part, got)
			}
		}
	}
}
