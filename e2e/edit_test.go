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

// A site of hipache's list is made a redirect and a proxy again by verbs, and what somebody has broken with redis-cli is mended by one.
func TestSiteOfAListIsARedirectAndIsMendedByVerbs(t *testing.T) {
	t.Parallel()
	redis, b := edgetest.Redis(t), edgetest.NewBackend(t)
	redis.CLI("rpush", "frontend:shop.test", "shop", b.URL)
	n := launch(t, "routes: "+redis.URL(), nil)
	run := func(code int, says string, args ...string) {
		t.Helper()
		if out, got := n.run(args...); got != code || !strings.Contains(out, says) {
			t.Errorf("%v: exit %d, want %d and %q\n%s", args, got, code, says, out)
		}
	}
	run(0, "", "vhost", "set", "shop.test", "backends=", "redirect.to=https://x.test")
	if got := n.get("shop.test", "/a"); got.Status != 301 || got.Header.Get("Location") != "https://x.test/a" {
		t.Errorf("the redirect: %d %v", got.Status, got.Header)
	}
	run(0, "", "vhost", "set", "shop.test", "redirect=", "backends="+b.URL)
	if got := n.get("shop.test", "/a"); got.Status != 200 {
		t.Errorf("a proxy again: %d", got.Status)
	}

	// What is unset is as the list says again.
	run(0, "", "vhost", "set", "shop.test", "tenant=other", "backends=http://127.0.0.1:9")
	run(0, "", "vhost", "set", "shop.test", "tenant=", "backends=", "balance=random")
	if got := redis.CLI("get", "vhost:shop.test"); got != `{"balance":"random"}` {
		t.Error("unset:", got)
	}

	redis.CLI("set", "vhost:shop.test", `{"balanc": "random", "cache": {"ttl": "x"}}`)
	edgetest.WaitFor(t, "the broken document to be seen", func() bool {
		out, _ := n.run("vhost", "list")
		return strings.Contains(out, "broken")
	})
	run(1, `this does not mend it: set what is wrong in the same call, or mend it where it stands: unknown key "balanc"`, "vhost", "set", "shop.test", "cache.ttl=1m")
	run(0, "", "vhost", "set", "shop.test", "cache.ttl=1m", "balanc=")
	if got := redis.CLI("get", "vhost:shop.test"); got != `{"cache":{"ttl":"1m"}}` {
		t.Error("mended:", got)
	}
	redis.CLI("set", "tenant:shop", `{"waf": {"mode": "blok"}}`)
	edgetest.WaitFor(t, "the broken tenant to be seen", func() bool {
		out, _ := n.run("tenant", "list")
		return strings.Contains(out, "broken")
	})
	run(0, "", "tenant", "set", "shop", "waf.mode=block")
}
