package main

import (
	"testing"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

// shopPaths is a host with two path vhosts.
const shopPaths = `
vhosts:
  www.shop.test: {tenant: shop, backends: [http://127.0.0.1:9000]}
  www.shop.test/a: {tenant: shop, backends: [http://127.0.0.1:9001]}
  www.shop.test/b: {tenant: shop, backends: [http://127.0.0.1:9002]}
`

// atNode makes an invocation speak to a node wherever the test runs.
func atNode(n *admintest.Node, args ...string) []string { return append(args, "--admin", n.Socket) }

func TestVhostVerbsAskBeforePathVhostsAreOutOfService(t *testing.T) {
	t.Parallel()
	n := admintest.Start(t, shopPaths, admin.Options{})
	for _, args := range [][]string{{"vhost", "rm", "www.shop.test"}, {"vhost", "set", "www.shop.test", "tenant=other"}} {
		code, out, errOut := invoke(t, atNode(n, args...)...)
		want(t, out, code, exitFailed)
		contains(t, args[1], errOut, "its path vhosts www.shop.test/a, www.shop.test/b would answer for no request any more; --yes ")
	}
	code, _, errOut := invoke(t, atNode(n, "vhost", "set", "www.shop.test", "tenant=other", "--yes")...)
	want(t, errOut, code, exitOK)
	contains(t, "set", errOut, "warning: vhost www.shop.test: path vhosts that answer for no request any more: www.shop.test/a, www.shop.test/b")
	_, _, _ = invoke(t, atNode(n, "vhost", "set", "www.shop.test", "tenant=shop")...)
	code, out, errOut := invoke(t, atNode(n, "vhost", "rm", "www.shop.test", "--yes")...)
	want(t, errOut, code, exitOK)
	contains(t, "rm", out, "vhost www.shop.test removed")
	contains(t, "rm", errOut, "path vhosts that answer for no request any more: www.shop.test/a, www.shop.test/b")
}
