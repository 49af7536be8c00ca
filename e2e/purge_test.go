package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// A purge by the verb acts on every node, whichever is asked; one that is gone without a word is named.
func TestPurgeByTheVerbActsOnEveryNode(t *testing.T) {
	t.Parallel()
	b, redis := edgetest.NewBackend(t), edgetest.Redis(t)
	redis.CLI("rpush", "frontend:shop.test", "shop", b.URL)
	redis.CLI("set", "vhost:shop.test", `{"waf": {"mode": "off"}, "cache": {"enabled": true, "ttl": "1h", "query": {"ignore": ["utm_*"]}}}`)
	nodes := make([]*node, 3)
	for i := range nodes {
		nodes[i] = prepare(t, "routes: "+redis.URL(), nil)
		nodes[i].environ = []string{fmt.Sprintf("GATEHOUSE_NODE=node-%c", 'a'+i)}
		nodes[i].start()
		nodes[i].within("shop.test", 200)
		edgetest.WaitFor(t, "the node to follow purges", func() bool { return strings.Contains(nodes[i].stderr.String(), "purges of other nodes are followed") })
	}
	const page, other = "/respond?Surrogate-Key=news+all&body=a", "/respond?Surrogate-Key=all&body=b"
	status := func(n *node, target string) string { return n.get("shop.test", target).Header.Get("Cache-Status") }
	warm := func() {
		t.Helper()
		for _, n := range nodes {
			for _, target := range []string{page, other} {
				status(n, target)
				if got := status(n, target); !strings.Contains(got, "; hit") {
					t.Fatalf("%s is not stored: %s", target, got)
				}
			}
		}
	}
	wantPurged := func(how string, purged, kept string) {
		t.Helper()
		for i, n := range nodes {
			if purged != "" && strings.Contains(status(n, purged), "; hit") {
				t.Errorf("%s: node %d serves what was purged", how, i)
			}
			if kept != "" && !strings.Contains(status(n, kept), "; hit") {
				t.Errorf("%s: node %d has lost what was not purged", how, i)
			}
		}
	}
	answers := regexp.MustCompile(`^purged: [^\n]+\nnode-a: purged in (less than )?\d+ ms\nnode-b: purged in (less than )?\d+ ms\nnode-c: purged in (less than )?\d+ ms\n$`)
	for i, how := range []struct {
		args         string
		purged, kept string
	}{
		{"--tag news --host shop.test", page, other},
		{"--url https://shop.test/respond?utm_source=x&Surrogate-Key=news+all&body=a", page, other},
		{"--prefix http://shop.test/resp", page, ""},
		{"--host shop.test", other, ""},
		{"--tenant shop", page, ""},
		{"--all", other, ""},
	} {
		warm()
		out := nodes[i%3].must(append([]string{"cache", "purge"}, strings.Fields(how.args)...)...)
		if !answers.MatchString(out) {
			t.Errorf("%s:\n%s", how.args, out)
		}
		wantPurged(how.args, how.purged, how.kept)
	}
	warm()
	nodes[2].must("cache", "purge", "--tag", "all", "--host", "shop.test", "--soft")
	for i, n := range nodes {
		if got := status(n, page); !strings.Contains(got, "fwd=stale") {
			t.Errorf("soft: node %d: %s", i, got)
		}
	}
	if out := nodes[0].must("cache", "stats", "shop.test"); !strings.Contains(out, "HIT-FOR-MISS") || !strings.Contains(out, " %") {
		t.Errorf("stats:\n%s", out)
	}
	if !strings.Contains(nodes[2].stderr.String(), `msg="cache purged" what="tag \"all\" of vhost shop.test" soft=true`) {
		t.Error("the node's log does not say who purged what")
	}
	if out, code := nodes[0].run("cache", "purge", "--url", "https://nobody.test/"); code != 1 || !strings.Contains(out, "no vhost answers for nobody.test") {
		t.Errorf("exit %d: %s", code, out)
	}
	// One that was stopped is not waited for; one that was killed is.
	nodes[1].stop()
	if out := nodes[0].must("cache", "purge", "--all"); strings.Contains(out, "node-b") {
		t.Errorf("a node that has left is waited for:\n%s", out)
	}
	nodes[2].kill()
	if out, code := nodes[0].run("cache", "purge", "--all", "--wait", "300ms"); code != 1 || !strings.Contains(out, "node-c: no answer within 300ms") {
		t.Errorf("exit %d: %s", code, out)
	}
	// Without Redis the node says that it is alone.
	redis.Stop()
	out, code := nodes[0].run("cache", "purge", "--all")
	if code != 1 || !strings.Contains(out, "node-a: purged in") || !strings.Contains(out, "on this node alone") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// With routes in files a node purges for itself.
func TestPurgeWithoutRedis(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{"shop.yaml": vhost("shop.test", b.URL, quick, "cache: {enabled: true, ttl: 1h}")})
	n.within("shop.test", 200)
	n.within("shop.test", 200)
	if got := n.get("shop.test", "/").Header.Get("Cache-Status"); !strings.Contains(got, "; hit") {
		t.Fatal(got)
	}
	if out := n.must("cache", "purge", "--url", "http://shop.test"); !strings.Contains(out, "n1: purged in") {
		t.Error(out)
	}
	if got := n.get("shop.test", "/").Header.Get("Cache-Status"); !strings.Contains(got, "fwd=uri-miss") {
		t.Error(got)
	}
}
