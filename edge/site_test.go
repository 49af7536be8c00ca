package edge

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
	wafrules "gatehouse/waf-rules"
)

// A vhost adds under 20 KB of heap, its compiled site included (mean over 1,000).
func TestHeapOfAVhost(t *testing.T) {
	const vhosts = 1000
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL))
	n.get(t, "www.shop.test", "/")
	before := heap()
	var doc strings.Builder
	doc.WriteString("vhosts:\n")
	for i := range vhosts {
		fmt.Fprintf(&doc, "  v%d.test:\n    tenant: t%d\n    aliases: [w%d.test]\n    backends: [%s, http://127.0.0.1:%d]\n"+
			"    waf: {mode: block, paranoia: 2, allowed_methods: [GET, POST, PUT]}\n    cache: {enabled: true, ttl: 60s}\n", i, i%20, i, b.URL, 20000+i)
	}
	n.apply(t, doc.String())
	doc.Reset()
	for i := range vhosts {
		route := n.table.Match(fmt.Sprintf("v%d.test", i))
		site, err := n.siteOf(route)
		if err != nil {
			t.Fatal(err)
		}
		site.profile.Digest(wafrules.Embedded()) // made on first use, and kept
	}
	each := (heap() - before) / vhosts
	t.Logf("%d bytes of heap per vhost", each)
	if each > 20<<10 {
		t.Errorf("a vhost adds %d bytes of heap, want under 20 KB", each)
	}
	runtime.KeepAlive(n)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What did not change keeps its running state: the pool of connections, with
// the idle ones in it.
func TestUnchangedBackendKeepsItsConnections(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL))
	n.get(t, "www.shop.test", "/")
	first := n.table.Match("www.shop.test").Compiled().(*site)
	n.apply(t, shopSite(b.URL)) // the same document
	if n.table.Match("www.shop.test").Compiled() != first {
		t.Error("an unchanged vhost was compiled again")
	}
	n.apply(t, shopSite(b.URL, "cache: {enabled: true}")) // another setting
	n.get(t, "www.shop.test", "/")
	if accepted, _ := b.Connections(); accepted != 1 {
		t.Errorf("%d connections to the backend, want the first one kept", accepted)
	}
	table, replaced := n.table.With([]routes.Change{{Key: routes.Key{Kind: routes.KindVhost, Name: "www.shop.test"}}})
	n.Apply(table, replaced)
	edgetest.WaitFor(t, "a removed vhost's connections to close", func() bool { _, open := b.Connections(); return open == 0 })
}

// What the WAF remembers of a tenant's values is one share for all his vhosts, and nobody else's: not that of another tenant, of a
// vhost without one, or of a vhost that has a tenant's name.
func TestSharesOfTenantsInWhatTheWAFRemembers(t *testing.T) {
	b := edgetest.NewBackend(t)
	var doc strings.Builder
	doc.WriteString("vhosts:\n")
	for host, tenant := range map[string]string{"a.test": "shop", "b.test": "shop", "c.test": "blog", "d.test": "", "e.test": "", "shop": ""} {
		fmt.Fprintf(&doc, "  %s: {tenant: %q, backends: [%s]}\n", host, tenant, b.URL)
	}
	n := start(t, strings.ReplaceAll(doc.String(), `tenant: "", `, ""))
	of := func(host string) uint32 {
		st, err := n.siteOf(n.table.Match(host))
		if err != nil {
			t.Fatal(err)
		}
		return st.profile.Share
	}
	if of("a.test") != of("b.test") {
		t.Error("two vhosts of a tenant have a share each")
	}
	seen := map[uint32]string{}
	for _, host := range []string{"a.test", "c.test", "d.test", "e.test", "shop"} {
		if other, taken := seen[of(host)]; taken {
			t.Errorf("%s and %s have one share", host, other)
		}
		seen[of(host)] = host
	}
	before := of("a.test")
	n.apply(t, strings.ReplaceAll(doc.String(), `tenant: "", `, "")+"tenants: {shop: {waf: {paranoia: 2}}}\n")
	if of("a.test") != before {
		t.Error("a tenant's share changes with its settings")
	}
}

// Whoever has no vhost with a cache any more has no share of its memory either.
func TestShareOfTheCacheIsGivenBack(t *testing.T) {
	b := edgetest.NewBackend(t)
	vhost := func(host, tenant, further string) string {
		return "  " + host + ": {tenant: " + tenant + ", backends: [" + b.URL + "]" + further + "}\n"
	}
	const on, off = ", cache: {enabled: true}", ", cache: {enabled: false}"
	tenants := "tenants: {shop: {cache_share: 8MiB}, blog: {cache_share: 4MiB}}\n"
	n := start(t, tenants+"vhosts:\n"+vhost("a.test", "shop", on)+vhost("b.test", "shop", on)+vhost("c.test", "blog", on))
	want := func(when string, shop, blog int64) {
		t.Helper()
		for _, host := range []string{"a.test", "b.test", "c.test"} {
			if n.table.Match(host) != nil {
				n.get(t, host, "/bytes?n=1")
			}
		}
		if got := n.store.Vhost("shop", "a.test").Tenant().Share(); got != shop {
			t.Errorf("%s: shop's share is %d, want %d", when, got, shop)
		}
		if got := n.store.Vhost("blog", "c.test").Tenant().Share(); got != blog {
			t.Errorf("%s: blog's share is %d, want %d", when, got, blog)
		}
	}
	remove := func(hosts ...string) {
		var changes []routes.Change
		for _, host := range hosts {
			changes = append(changes, routes.Change{Key: routes.Key{Kind: routes.KindVhost, Name: host}})
		}
		table, replaced := n.table.With(changes)
		n.table = table
		n.Apply(table, replaced)
	}
	want("at first", 8<<20, 4<<20)
	gone := n.table.Match("a.test")
	remove("a.test")
	want("with one of two vhosts", 8<<20, 4<<20)
	n.apply(t, "vhosts:\n"+vhost("b.test", "shop", off))
	want("with the cache off", 0, 4<<20)
	n.apply(t, "vhosts:\n"+vhost("b.test", "shop", on))
	want("with the cache on again", 8<<20, 4<<20)
	n.apply(t, "vhosts:\n"+vhost("b.test", "blog", on))
	want("with the vhost of another tenant", 0, 4<<20)
	remove("b.test", "c.test")
	want("without vhosts", 0, 0)
	n.compile(gone, nil) // for a request that has begun with a table of before
	want("after a late request", 0, 0)
}

// Work is counted in allocations: settings of a vhost that is looked at cost some.
func TestRemovingACachedVhostWalksNoOthers(t *testing.T) {
	var doc strings.Builder
	doc.WriteString("tenants: {shop: {cache_share: 8MiB}}\nvhosts:\n  a.test: {tenant: shop, backends: [http://127.0.0.1:9], cache: {enabled: true}}\n")
	for i := range 3000 {
		fmt.Fprintf(&doc, "  b%d.test: {tenant: shop, backends: [http://127.0.0.1:9]}\n", i)
	}
	n := start(t, doc.String())
	table, replaced := n.table.With([]routes.Change{{Key: routes.Key{Kind: routes.KindVhost, Name: "a.test"}}})
	if len(replaced) != 1 {
		t.Fatalf("%d routes changed", len(replaced))
	}
	if allocs := testing.AllocsPerRun(1, func() { n.giveBack(table, replaced) }); allocs > 300 {
		t.Errorf("%v allocations with 3000 vhosts that did not change", allocs)
	}
}
