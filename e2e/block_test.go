package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A block by the verb acts on every node, on open keep-alive connections too, and ends by itself.
func TestBlockByTheVerbActsOnEveryNode(t *testing.T) {
	t.Parallel()
	b, redis := edgetest.NewBackend(t), edgetest.Redis(t)
	redis.CLI("rpush", "frontend:shop.test", "shop", b.URL)
	redis.CLI("set", "vhost:open.test", `{"backends": ["`+b.URL+`"], "addresses": {"allow": ["127.0.0.1"]}}`)
	nodes := make([]*node, 2)
	for i := range nodes {
		nodes[i] = prepare(t, "routes: "+redis.URL(), nil)
		nodes[i].environ = []string{fmt.Sprintf("GATEHOUSE_NODE=node-%c", 'a'+i)}
		nodes[i].start()
		nodes[i].within("shop.test", 200)
		nodes[i].within("open.test", 200)
		edgetest.WaitFor(t, "the node to follow blocks", func() bool { return strings.Contains(nodes[i].stderr.String(), "blocks in redis are followed") })
	}
	kept := edgetest.Dial(t, nodes[1].http)
	const request = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"
	if got := kept.Do("GET", request); got.Status != 200 {
		t.Fatal(got.Status)
	}
	if out := nodes[0].must("block", "add", "127.0.0.0/8", "--for", "1h", "--note", "test"); !strings.Contains(out, "blocked: 127.0.0.0/8 for everybody, until ") {
		t.Error(out)
	}
	if got := nodes[0].get("shop.test", "/"); got.Status != 403 {
		t.Errorf("%d where it was blocked", got.Status)
	}
	took := nodes[1].within("shop.test", 403)
	t.Logf("on the other node after %v", took)
	if got := kept.Do("GET", request); got.Status != 403 {
		t.Errorf("%d on a connection that was open", got.Status)
	}
	if got := nodes[1].get("open.test", "/"); got.Status != 200 {
		t.Errorf("%d of a vhost that allows the address", got.Status)
	}
	if out := nodes[1].must("block", "list"); !strings.Contains(out, "127.0.0.0/8") || !strings.Contains(out, "test") {
		t.Error(out)
	}
	nodes[1].must("block", "rm", "127.0.0.0/8")
	nodes[0].within("shop.test", 200)
	nodes[0].must("block", "add", "127.0.0.1", "--tenant", "shop", "--for", "1s")
	edgetest.WaitFor(t, "it to end", func() bool { return nodes[0].must("block", "list") == "none\n" })
	nodes[1].within("shop.test", 200)
}

// A node that is alone keeps blocks in its folder, over a restart too.
func TestBlocksOfANodeThatIsAlone(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "addresses: {deny: [\"file:drop.txt\"]}", map[string]string{"a.yaml": vhost("shop.test", b.URL), "../drop.txt": "192.0.2.0/24\n"})
	n.within("shop.test", 200)
	n.must("block", "add", "127.0.0.1", "--for", "1h")
	n.within("shop.test", 403)
	n.stop()
	n.start()
	n.within("shop.test", 403)
	n.must("block", "rm", "127.0.0.1")
	n.within("shop.test", 200)

	begin := time.Now()
	n.write("drop.txt", "127.0.0.0/8 # all of us\n")
	n.within("shop.test", 403)
	t.Logf("the file acts after %v", time.Since(begin))
	if out := n.must("health"); out != "ready\n" {
		t.Errorf("health with a good list: %s", out)
	}
	n.write("drop.txt", "oops\n")
	edgetest.WaitFor(t, "health to warn of the list", func() bool {
		out := n.must("health")
		return strings.Contains(out, "warning: addresses: ") && strings.Contains(out, "drop.txt: the last good one is in force: line 1")
	})
	edgetest.WaitFor(t, "the log", func() bool { return strings.Contains(n.stderr.String(), "list of addresses not usable") })
	if got := n.status("shop.test", "/"); got != 403 {
		t.Errorf("%d with a bad list", got)
	}
}

// What somebody has written by hand and does not act, or has put in the place of blocks, is said where he looks; and with the latter no block goes.
func TestBlocksInRedisThatDoNotActAreSaid(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	n := launch(t, "routes: "+redis.URL(), nil)
	edgetest.WaitFor(t, "the node to follow blocks", func() bool { return strings.Contains(n.stderr.String(), "blocks in redis are followed") })
	said := func(parts ...string) func() bool {
		return func() bool {
			for _, verb := range [][]string{{"block", "list"}, {"block", "list", "-o", "json"}, {"health"}} {
				out := n.must(verb...)
				for _, part := range parts {
					if !strings.Contains(out, part) {
						return false
					}
				}
			}
			return true
		}
	}
	n.must("block", "add", "192.0.2.0/24")
	redis.CLI("hset", "block:{*}", "10.0.0.1/8", "")
	edgetest.WaitFor(t, "the field to be said", said("10.0.0.1/8", "bits beyond its prefix"))
	redis.CLI("set", "block:{*}", "x")
	edgetest.WaitFor(t, "the key to be said", said("block:{*}", "WRONGTYPE", "delete it"))
	redis.CLI("del", "block:{*}")
	edgetest.WaitFor(t, "the block to be back", func() bool {
		return redis.CLI("hkeys", "block:{*}") == "192.0.2.0/24" && strings.HasSuffix(n.must("health"), "ready\n")
	})
	if out := n.must("block", "list"); !strings.Contains(out, "192.0.2.0/24") || strings.Contains(out, "gatehouse:") {
		t.Error(out)
	}
}
