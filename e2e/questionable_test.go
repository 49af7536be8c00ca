package e2e

import (
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// check cannot see routes that stand in Redis: the node says of them what check says of files.
func TestVhostsInRedisAreWarnedOf(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	redis.CLI("rpush", "frontend:den.test", "shop", "http://10.9.9.9")
	n := launch(t, "backends: {deny: [loopback, private, unix]}\nroutes: "+redis.URL(), nil)
	for _, c := range []struct{ vhost, add, set, says string }{
		{"den2.test", "http://127.0.0.1:21101", "", "backends[0]: backends.deny has loopback: requests that come here are answered 502"},
		{"own.test", "http://" + n.http, "", "backends[0]: it is this node's own listener"},
		{"open.test", "http://192.0.2.1", `addresses={"allow": ["192.0.2.7"]}`, "addresses.allow: keeps nobody out"},
		{"header.test", "http://192.0.2.1", `headers.request={"set": {"X-A": "$host"}}`, "headers.request.set.X-A: sent as it stands, $host"},
		{"verify.test", "http://192.0.2.1", `backends=[{"url": "https://192.0.2.1", "tls": {"verify": false}}]`, "backends[0].tls.verify: any certificate is taken"},
	} {
		out := n.must("vhost", "add", c.vhost, c.add)
		if c.set != "" {
			if strings.Contains(out, "warning") {
				t.Errorf("add %s: %s", c.vhost, out)
			}
			out = n.must("vhost", "set", c.vhost, c.set)
		}
		for what, out := range map[string]string{"change": out, "show": n.must("vhost", "show", c.vhost), "list": n.must("vhost", "list")} {
			if !strings.Contains(out, c.says) {
				t.Errorf("%s: the %s does not say %q:\n%s", c.vhost, what, c.says, out)
			}
		}
	}
	if out := n.must("vhost", "list"); !strings.Contains(out, "warning: backends[0]: backends.deny has private") {
		t.Errorf("den.test:\n%s", out)
	}
}
