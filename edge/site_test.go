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
