package redisstore

import (
	"testing"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

const (
	shopSite  = `{"tenant":"shop","backends":["http://127.0.0.1:9000"],"aliases":["shop.test"]}`
	shopAlone = `{"tenant":"shop","backends":["http://127.0.0.1:9000"]}`
	evilSite  = `{"tenant":"evil","backends":["http://127.0.0.1:9666"],"aliases":["shop.test"]}`
)

// has reports whether a vhost answers for shop.test.
func has(vhost string) func(*routes.Table) bool {
	return func(t *routes.Table) bool { r := t.Match("shop.test"); return r != nil && r.Name == vhost }
}

// disputed starts two nodes, has the shop's site come and then one that sorts before it and claims its alias, and
// waits until both know it.
func disputed(t *testing.T, server *edgetest.RedisServer, stores ...*Store) (nodes []*routestest.Followed) {
	t.Helper()
	for _, s := range stores {
		nodes = append(nodes, routestest.Follow(t, s, ""))
	}
	server.CLI("SET", "edge:vhost:www.shop.test", shopSite)
	for _, n := range nodes {
		n.Until("the shop has its alias", has("www.shop.test"))
	}
	server.CLI("SET", "edge:vhost:aaa.test", evilSite)
	for _, n := range nodes {
		n.Until("the claim is seen", func(t *routes.Table) bool { return t.Vhost("aaa.test") != nil })
	}
	return nodes
}

func remembers(t *testing.T, server *edgetest.RedisServer, owner string) {
	t.Helper()
	edgetest.WaitFor(t, "Redis to remember "+owner, func() bool { return server.CLI("HGET", "edge:gatehouse:aliases", "shop.test") == owner })
}

func TestAttackAnAliasIsTakenOverOnNodesThatStartAfresh(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(*testing.T) (*edgetest.RedisServer, string){
		"told":   func(t *testing.T) (*edgetest.RedisServer, string) { s := edgetest.Redis(t); return s, s.URL() },
		"polled": func(t *testing.T) (*edgetest.RedisServer, string) { s := edgetest.Redis(t); return s, noTracking(s) },
	} {
		t.Run(name, func(t *testing.T) {
			server, url := serve(t)
			store := func() *Store { return openURL(t, url+"#edge:", Options{}) }
			nodes := disputed(t, server, store(), store())
			remembers(t, server, "www.shop.test")
			for i, n := range append(nodes, routestest.Follow(t, store(), "")) {
				if !has("www.shop.test")(n.Table()) {
					t.Errorf("node %d sends the shop's requests to %s", i, n.Table().Match("shop.test").Name)
				}
			}
		})
	}
}

// What Redis remembers is the same for all: who follows is told when it changes.
func TestNodesAreToldToWhomADisputedAliasBelongs(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	store := func() *Store { return open(t, server, "#edge:") }
	nodes := disputed(t, server, store(), store())
	remembers(t, server, "www.shop.test")
	server.CLI("HSET", "edge:gatehouse:aliases", "shop.test", "aaa.test")
	for _, n := range nodes {
		n.Until("it was given to the other one by hand", has("aaa.test"))
	}
	server.CLI("HSET", "edge:gatehouse:aliases", "shop.test", "www.shop.test")
	for _, n := range nodes {
		n.Until("and back", has("www.shop.test"))
	}
	// Nobody of whom it says nothing, and nothing at all: who has it keeps it.
	server.CLI("HSET", "edge:gatehouse:aliases", "shop.test", "nobody.test")
	server.CLI("DEL", "edge:gatehouse:aliases")
	remembers(t, server, "www.shop.test")
	for i, n := range nodes {
		if !has("www.shop.test")(n.Table()) {
			t.Errorf("node %d: %s", i, n.Table().Match("shop.test").Name)
		}
	}
}

// Who gives an alias up does not get it back from whoever has it then because it once was his.
func TestAnAliasThatWasGivenUpIsForgotten(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	store := func() *Store { return open(t, server, "#edge:") }
	nodes := disputed(t, server, store(), store())
	remembers(t, server, "www.shop.test")
	server.CLI("SET", "edge:vhost:www.shop.test", shopAlone)
	for _, n := range nodes {
		n.Until("it is the other one's", has("aaa.test"))
	}
	remembers(t, server, "")
	server.CLI("SET", "edge:vhost:www.shop.test", shopSite)
	remembers(t, server, "aaa.test")
	for i, n := range append(nodes, routestest.Follow(t, store(), "")) {
		if !has("aaa.test")(n.Table()) {
			t.Errorf("node %d: %s", i, n.Table().Match("shop.test").Name)
		}
	}
}

func TestAnOwnerThatClaimsNoMoreIsWrittenOver(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	server.CLI("HSET", "edge:gatehouse:aliases", "shop.test", "gone.test")
	disputed(t, server, open(t, server, "#edge:"))
	remembers(t, server, "www.shop.test")
}

// Without a dispute nothing is asked or written, and an unfit Redis changes nothing.
func TestAliasesWithoutADisputeCostNothing(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	server.CLI("SET", "edge:vhost:www.shop.test", shopSite)
	w := routestest.Follow(t, open(t, server, "#edge:"), "")
	server.CLI("SET", "edge:vhost:aaa.test", shopAlone)
	w.Until("it is seen", func(t *routes.Table) bool { return t.Vhost("aaa.test") != nil })
	if n := calls(server)["hmget"]; n != 0 || server.CLI("EXISTS", "edge:gatehouse:aliases") != "0" {
		t.Errorf("%d HMGET", n)
	}
	server.CLI("SET", "edge:gatehouse:aliases", "of another type")
	server.CLI("SET", "edge:vhost:aaa.test", evilSite)
	w.Until("the claim is seen", func(t *routes.Table) bool { return len(t.Vhost("aaa.test").Vhost.Aliases) == 1 })
	if !has("www.shop.test")(w.Table()) {
		t.Error(w.Table().Match("shop.test").Name)
	}
}
