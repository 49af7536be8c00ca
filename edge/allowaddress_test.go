package edge

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"gatehouse/edge/iplist"
	"gatehouse/internal/edgetest"
	"gatehouse/routes"
)

func openBlocks(t testing.TB) *iplist.Blocks {
	t.Helper()
	b, err := iplist.OpenBlocks(iplist.BlocksOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func block(t testing.TB, b *iplist.Blocks, network, tenant string) {
	t.Helper()
	if err := b.Add(t.Context(), iplist.Block{Network: netip.MustParsePrefix(network), Tenant: tenant}); err != nil {
		t.Fatal(err)
	}
}

// proxied has the test's own address be that of a trusted proxy, so that a request can come from any client.
func proxied(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} }

func fromClient(client string) string { return "X-Forwarded-For: " + client }

// follow runs FollowAddresses until the test ends.
func (n *node) followAddresses(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.FollowAddresses(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// The nearest document that knows an address decides; of one document allow wins; a block never reaches whom any document allows.
func TestWhoDecidesAboutAnAddress(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	blocks := openBlocks(t)
	n := start(t, `
tenants:
  shop: {addresses: {allow: [10.1.1.0/24], deny: [10.1.0.0/16, 10.2.2.2]}}
vhosts:
  plain.test: {backends: [`+b.URL+`]}
  shop.test: {tenant: shop, backends: [`+b.URL+`]}
  own.test: {tenant: shop, backends: [`+b.URL+`], addresses: {allow: [10.1.9.9, 10.0.0.0/24], deny: [10.1.1.1, 10.3.0.0/16]}}
  staff.test: {backends: [`+b.URL+`], addresses: {allow: [10.9.0.0/16], deny: [all]}}
`, proxied, func(o *Options) {
		o.Blocks = blocks
		o.Addresses = &routes.Addresses{Allow: []string{"10.2.2.0/24", "10.3.3.3"}, Deny: []string{"10.0.0.0/16", "10.2.0.0/16", "2001:db8::/32"}}
	})
	for _, network := range []string{"10.7.0.0/16", "10.2.2.0/24", "10.1.1.0/24"} {
		block(t, blocks, network, "")
	}
	block(t, blocks, "10.8.0.0/16", "shop")
	for _, c := range []struct {
		host, client string
		want         int
		why          string
	}{
		{"plain.test", "10.5.0.1", 200, "in no list"},
		{"plain.test", "10.0.0.1", 403, "process denies"},
		{"plain.test", "10.2.2.2", 200, "process allows, which wins over its deny and over a block"},
		{"plain.test", "10.2.3.1", 403, "process denies"},
		{"plain.test", "10.1.0.1", 200, "only another tenant denies"},
		{"plain.test", "2001:db8::1", 403, "IPv6"},
		{"plain.test", "::ffff:10.0.0.1", 403, "IPv4 in the form of IPv6"},
		{"plain.test", "10.7.0.1", 403, "blocked"},
		{"plain.test", "10.8.0.1", 200, "blocked for a tenant that is another"},
		{"shop.test", "10.1.0.1", 403, "tenant denies"},
		{"shop.test", "10.1.1.1", 200, "tenant allows, also over a block"},
		{"shop.test", "10.2.2.2", 403, "tenant denies whom the process allows"},
		{"shop.test", "10.8.0.1", 403, "blocked for the tenant"},
		{"shop.test", "10.0.0.1", 403, "process denies whom the tenant does not know"},
		{"own.test", "10.1.1.1", 403, "vhost denies whom the tenant allows"},
		{"own.test", "10.1.9.9", 200, "vhost allows whom the tenant denies"},
		{"own.test", "10.0.0.1", 200, "vhost allows whom the process denies"},
		{"own.test", "10.3.3.3", 403, "vhost denies whom the process allows"},
		{"staff.test", "10.9.0.1", 200, "vhost allows"},
		{"staff.test", "10.5.0.1", 403, "deny: [all]"},
		{"staff.test", "2001:db9::1", 403, "deny: [all] is of IPv6, too"},
	} {
		if got := n.get(t, c.host, "/", fromClient(c.client)); got.Status != c.want {
			t.Errorf("%s from %s: %d, want %d (%s)", c.host, c.client, got.Status, c.want, c.why)
		}
	}
	if got := b.Deliveries("/"); got != 8 {
		t.Errorf("the backend got %d requests, want the 8 that were allowed", got)
	}
}

func TestAVisitorIsToldNothingAndTheOperatorWhoRefused(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	blocks := openBlocks(t)
	n := start(t, shopSite(b.URL, "addresses: {deny: [10.1.0.0/16]}"), proxied, func(o *Options) { o.Blocks = blocks })
	block(t, blocks, "10.2.0.0/16", "")
	for client, by := range map[string]string{"10.1.0.1": byVhost, "10.2.0.1": byBlock} {
		got := n.get(t, "www.shop.test", "/", fromClient(client), "Accept: application/json")
		page := string(got.Body)
		if got.Status != 403 || got.Header.Get("X-Request-Id") == "" || strings.Contains(page, "10.") || strings.Contains(page, "address") || strings.Contains(page, "block") {
			t.Errorf("%d %s", got.Status, page)
		}
		n.waitFor(t, n.access, `"client":"`+client+`"`)
		var m dto.Metric
		if err := n.metrics.denied.WithLabelValues("shop", by).Write(&m); err != nil || m.GetCounter().GetValue() != 1 {
			t.Errorf("requests denied by %s: %v %v", by, &m, err)
		}
	}
	n.waitFor(t, n.access, "addresses.deny of the vhost")
	n.waitFor(t, n.access, "is blocked")
	// The tenant has no document, so nothing but its vhosts' going ends its series: forget is called by the next table.
	n.metrics.forget("shop")
	series := make(chan prometheus.Metric, 9)
	if n.metrics.denied.Collect(series); len(series) != 0 {
		t.Errorf("%d series of a tenant that is gone", len(series))
	}
}

// X-Forwarded-For of somebody who is no proxy of ours moves nobody out of a block, nor another into it.
func TestAClientCannotChooseItsAddress(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	blocks := openBlocks(t)
	n := start(t, shopSite(b.URL), func(o *Options) { o.Blocks = blocks })
	block(t, blocks, "10.2.0.0/16", "")
	if got := n.get(t, "www.shop.test", "/", fromClient("10.2.0.1")); got.Status != 200 {
		t.Errorf("%d", got.Status)
	}
	block(t, blocks, "127.0.0.0/8", "")
	if got := n.get(t, "www.shop.test", "/", fromClient("10.9.0.1"), "X-Real-IP: 10.9.0.1"); got.Status != 403 {
		t.Errorf("%d", got.Status)
	}
}

func TestABlockActsOnOpenConnections(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	blocks := openBlocks(t)
	n := start(t, shopSite(b.URL), func(o *Options) { o.Blocks = blocks })
	n.followAddresses(t)

	kept := edgetest.Dial(t, n.http)
	request := head("GET", "www.shop.test", "/") + "\r\n"
	if got := kept.Do("GET", request); got.Status != 200 {
		t.Fatal(got.Status)
	}
	ws := edgetest.Dial(t, n.http)
	ws.UpgradeWebSocket("www.shop.test", "/ws")
	ws.WebSocketEcho("before")

	block(t, blocks, "127.0.0.1/32", "other") // another tenant's
	if got := kept.Do("GET", request); got.Status != 200 {
		t.Fatal(got.Status)
	}
	ws.WebSocketEcho("still")
	block(t, blocks, "127.0.0.1/32", "shop")
	if got := kept.Do("GET", request); got.Status != 403 {
		t.Errorf("%d on a connection that was open", got.Status)
	}
	ws.WantClosed()
	n.waitFor(t, n.log, "upgraded connections cut")

	if was, err := blocks.Remove(t.Context(), netip.MustParsePrefix("127.0.0.1/32"), "shop"); err != nil || !was {
		t.Fatal(was, err)
	}
	if got := kept.Do("GET", request); got.Status != 200 {
		t.Errorf("%d after the block", got.Status)
	}
	ws = edgetest.Dial(t, n.http)
	ws.UpgradeWebSocket("www.shop.test", "/ws")
	ws.WebSocketEcho("again")
	n.apply(t, shopSite(b.URL, "addresses: {deny: [all]}"))
	ws.WantClosed()
}

// Who was served by a vhost's word alone is not, once that is taken out of the document.
func TestAddressesThatAreRemovedActOnOpenConnections(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "addresses: {allow: [127.0.0.1]}"), func(o *Options) {
		o.Addresses = &routes.Addresses{Deny: []string{"127.0.0.0/8"}}
	})
	n.followAddresses(t)
	ws := edgetest.Dial(t, n.http)
	ws.UpgradeWebSocket("www.shop.test", "/ws")
	ws.WebSocketEcho("before")
	n.apply(t, shopSite(b.URL))
	ws.WantClosed()
}

// A silent server of a tenant's list holds up that tenant's site, which nobody has asked for yet, and nobody else's tunnels.
func TestASilentListDelaysNobodyElsesCut(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked, end := make(chan net.Conn, 1), make(chan struct{})
	go func() {
		defer close(end)
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			asked <- c
		}
	}()
	defer func() { silent.Close(); <-end }()
	site := func(name, further string) string {
		return fmt.Sprintf("vhosts:\n  %[1]s.test: {tenant: %[1]s, backends: [%[2]s]%[3]s}\n", name, b.URL, further)
	}
	n := start(t, site("slow", ""))
	n.apply(t, site("quick", ""))
	n.followAddresses(t)
	tunnel := func(host string) *edgetest.RawConn {
		ws := edgetest.Dial(t, n.http)
		ws.UpgradeWebSocket(host, "/ws")
		ws.WebSocketEcho("before")
		return ws
	}
	slow, quick := tunnel("slow.test"), tunnel("quick.test")
	n.apply(t, site("slow", `, addresses: {deny: [all, "https://`+silent.Addr().String()+`/drop.txt"]}`))
	fetch := <-asked // the site of now is being made
	n.apply(t, site("quick", ", addresses: {deny: [all]}"))
	quick.WantClosed()
	slow.WebSocketEcho("still")
	fetch.Close() // which is the answer
	slow.WantClosed()
}

// A hit is answered without a backend, and is no way around a list.
func TestAddressesAreAskedBeforeTheCache(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true, ttl: 1h}", "addresses: {deny: [10.1.0.0/16]}"), proxied)
	n.get(t, "www.shop.test", "/cached", fromClient("10.2.0.1"))
	edgetest.WaitFor(t, "a hit", func() bool {
		return strings.Contains(n.get(t, "www.shop.test", "/cached", fromClient("10.2.0.1")).Header.Get("Cache-Status"), "hit")
	})
	if got := n.get(t, "www.shop.test", "/cached", fromClient("10.1.0.1")); got.Status != 403 {
		t.Errorf("%d", got.Status)
	}
}

func TestAListOfADocumentIsFollowedAndItsProblemKnown(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	file := filepath.Join(t.TempDir(), "drop.txt")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("10.1.0.0/16\n")
	site := "tenants:\n  shop: {addresses: {deny: [\"file:" + file + "\"]}}\n" + shopSite(b.URL)
	n := start(t, site, proxied, func(o *Options) { o.AddressLists = filepath.Join(t.TempDir(), "lists") })
	n.followAddresses(t)
	status := func(client string) int { return n.get(t, "www.shop.test", "/", fromClient(client)).Status }
	if got := n.AddressProblems("www.shop.test"); got != nil {
		t.Error(got) // nobody has asked yet
	}
	if got := [2]int{status("10.1.0.1"), status("10.2.0.1")}; got != [2]int{403, 200} {
		t.Error(got)
	}
	write("10.2.0.0/16\n10.3.0.0/16\n")
	edgetest.WaitFor(t, "the new list", func() bool { return status("10.2.0.1") == 403 && status("10.1.0.1") == 200 })
	write("10.2.0.0/16\noops\n")
	edgetest.WaitFor(t, "the problem", func() bool { return n.AddressProblems("www.shop.test") != nil })
	if err := n.AddressProblems("www.shop.test")[0].Error(); !strings.Contains(err, file) || !strings.Contains(err, "line 2") {
		t.Error(err)
	}
	// A vhost that changes goes on with the list that its tenant had: it is not read anew as bad, and so empty.
	n.apply(t, strings.Replace(site, "tenant: shop", "tenant: shop\n    balance: random", 1))
	if got := status("10.3.0.1"); got != 403 {
		t.Error(got)
	}
	if n.AddressProblems("absent.test") != nil {
		t.Error("a problem of nobody")
	}
}

// A vhost that was changed and then removed before anybody asked for it: nobody retires the site that it had.
func TestAddressesOfASiteThatNobodyRetiresAreGivenBack(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	file := filepath.Join(t.TempDir(), "drop.txt")
	if err := os.WriteFile(file, []byte("10.1.0.0/16\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept := t.TempDir()
	n := start(t, shopSite(b.URL, `addresses: {deny: ["file:`+file+`"]}`), proxied, func(o *Options) { o.AddressLists = kept })
	left := func() int {
		files, err := os.ReadDir(kept)
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	if got := n.get(t, "www.shop.test", "/", fromClient("10.1.0.1")); got.Status != 403 || left() != 1 {
		t.Fatal(got.Status, left())
	}
	n.apply(t, shopSite(b.URL))
	n.remove("www.shop.test")
	edgetest.WaitFor(t, "the list to be given back", func() bool { runtime.GC(); return left() == 0 })
}

// A list whose server is one of our own is not fetched, whatever the document says.
func TestListsAreNotFetchedFromWhatIsOurs(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, `addresses: {deny: ["https://127.0.0.1:1/x", "https://169.254.169.254/latest", 10.1.0.0/16]}`), proxied, func(o *Options) {
		o.Denied = func(_, address string) string {
			if address == "127.0.0.1:1" {
				return "ours"
			}
			return ""
		}
	})
	if got := n.get(t, "www.shop.test", "/", fromClient("10.1.0.1")); got.Status != 403 {
		t.Error(got.Status)
	}
	got := n.AddressProblems("www.shop.test")
	if len(got) != 2 {
		t.Fatal(got)
	}
	for i, says := range []string{
		"no list is fetched from 127.0.0.1:1, where no backend may be: ours", "no list is fetched from 169.254.169.254:443, where no backend may be: " + ruleNever,
	} {
		if err := got[i].Error(); !strings.HasSuffix(err, says) || strings.ContainsAny(err, "\n") {
			t.Errorf("%q, want %q", err, says)
		}
	}
}

func BenchmarkAllowAddress(b *testing.B) {
	blocks := openBlocks(b)
	var entries []string
	for i := range 10_000 {
		entries = append(entries, fmt.Sprintf("10.%d.%d.0/24", i>>8, i&255))
	}
	block(b, blocks, "10.200.0.0/16", "")
	block(b, blocks, "10.201.0.0/16", "shop")
	n := start(b, "tenants:\n  shop: {addresses: {allow: ["+strings.Join(entries[:100], ", ")+"]}}\n"+
		shopSite("http://127.0.0.1:1", "addresses: {deny: ["+strings.Join(entries[100:], ", ")+"]}"), func(o *Options) {
		o.Blocks, o.Addresses = blocks, &routes.Addresses{Deny: []string{"10.100.0.0/16"}}
	})
	st, err := n.siteOf(n.Table().Match("www.shop.test"))
	if err != nil {
		b.Fatal(err)
	}
	client := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if refusal, _ := n.judgeAddress(st, client); refusal != nil {
			b.Fatal("refused")
		}
	}
}

// Empty elements of X-Forwarded-For hide nobody behind the proxy's own address.
func TestEmptyElementsOfForwardedForHideNobody(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	blocks := openBlocks(t)
	n := start(t, "vhosts:\n  shop.test: {backends: ["+b.URL+"]}\n", proxied, func(o *Options) { o.Blocks = blocks })
	block(t, blocks, "10.7.0.0/16", "")
	for _, client := range []string{"10.7.7.7", "10.7.7.7,", "10.7.7.7, ,\t,", ",10.7.7.7"} {
		if got := n.get(t, "shop.test", "/", fromClient(client)).Status; got != 403 {
			t.Errorf("%q: status %d", client, got)
		}
	}
	for _, client := range []string{"", ",", "10.8.8.8,"} {
		if got := n.get(t, "shop.test", "/", fromClient(client)).Status; got != 200 {
			t.Errorf("%q: status %d", client, got)
		}
	}
}
