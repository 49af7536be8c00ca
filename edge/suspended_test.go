package edge

import (
	"crypto/tls"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"gatehouse/edge/health"
	"gatehouse/internal/edgetest"
	"gatehouse/routes"
)

// A suspended vhost answers 503 on every way, asks no backend, and resumes no session; when it is back, all is as before.
func TestSuspendedVhostAnswers503AndResumesNothing(t *testing.T) {
	const settings = "backends: [BACKEND], cache: {enabled: true, ttl: 1h}, tls: {redirect_http: true}}\n"
	for name, c := range map[string]struct {
		version  uint16
		up, down string
	}{
		"1.2": {tls.VersionTLS12, "vhosts:\n  shop.test: {" + settings, "vhosts:\n  shop.test: {suspended: true, " + settings},
		"1.3": {tls.VersionTLS13, "vhosts:\n  shop.test: {" + settings, "vhosts:\n  shop.test: {suspended: true, " + settings},
		"1.3, by the tenant": {
			tls.VersionTLS13, "tenants: {shop: {suspended: false}}\nvhosts:\n  shop.test: {tenant: shop, suspended: false, " + settings,
			"tenants: {shop: {suspended: true}}\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			version, up, down := c.version, c.up, c.down
			g := guard(t, up)
			client := g.client("shop.test", speaking(version))
			client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for _, resumed := range []bool{false, true} {
				answer, state, err := g.ask(t, client, "shop.test")
				if err != nil || answer.Status != 200 || state.DidResume != resumed {
					t.Fatalf("before: %v, %+v, resumed: %v", err, answer, state.DidResume)
				}
			}
			open := edgetest.DialTLSConfig(t, g.https, g.client("shop.test"))
			if got := open.Do("GET", head("GET", "shop.test", "/")+"\r\n"); got.Status != 200 {
				t.Fatalf("on a connection that stays: %d", got.Status)
			}
			asked := len(g.backend.Requests())
			g.become(t, down)
			for range 2 {
				answer, state, err := g.ask(t, client, "shop.test")
				if err != nil || answer.Status != 503 || !strings.Contains(string(answer.Body), "this site is suspended") {
					t.Errorf("suspended: %v, %+v", err, answer)
				}
				if state.DidResume {
					t.Error("a session was resumed")
				}
			}
			if got := open.Do("GET", head("GET", "shop.test", "/")+"\r\n"); got.Status != 503 {
				t.Errorf("on a connection that was open: %d", got.Status)
			}
			if got := g.get(t, "shop.test", "/"); got.Status != 503 {
				t.Errorf("plain: %d", got.Status)
			}
			if n := len(g.backend.Requests()); n != asked {
				t.Errorf("the backend was asked %d times", n-asked)
			}
			g.become(t, up)
			if got := g.status(t, client, "shop.test"); got != 200 {
				t.Errorf("afterwards: %d", got)
			}
		})
	}
}

// Where no request goes no check does, and nobody who drains the backend has to think of it.
func TestBackendsOfASuspendedVhostAreNeitherCheckedNorNeeded(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	const check = "health: {path: /healthz, interval: 1s}"
	n := start(t, shopSite(b.URL, check))
	drain := health.Drain{URL: b.URL}
	for _, tc := range []struct {
		further string
		needed  bool
	}{{"suspended: false", true}, {"suspended: true", false}, {"compress: off", true}} {
		n.apply(t, shopSite(b.URL, check, tc.further))
		if checked := n.Prober().Digest() != ""; checked != tc.needed {
			t.Errorf("%s: checked: %v", tc.further, checked)
		}
		if bare, _ := n.LeftBare(drain); (len(bare) == 1) != tc.needed {
			t.Errorf("%s: bare with a drain: %q", tc.further, bare)
		}
	}
}

// That is so for the paths of a host, whichever of the two is suspended: checks end and begin with the host's document, and act on
// the path's requests afterwards.
func TestBackendsOfASuspendedHostsPathsAreNeitherCheckedNorNeeded(t *testing.T) {
	t.Parallel()
	sick := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})})
	own, well := edgetest.NewBackend(t), edgetest.NewBackendWith(t, edgetest.BackendOptions{Name: "well"})
	host := func(settings string) string {
		return "  www.shop.test: {tenant: shop, backends: [" + own.URL + "]" + settings + "}\n"
	}
	path := func(settings string) string {
		return "  www.shop.test/blog: {tenant: shop, backends: [" + sick.URL + ", " + well.URL + "], health: {path: /healthz, interval: 1s, fall: 1}" + settings + "}\n"
	}
	n := start(t, "vhosts:\n"+host("")+path(""))
	n.checkAll(t)
	n.SetDrains([]health.Drain{{URL: sick.URL}})
	for _, tc := range []struct {
		change string
		needed bool
	}{
		{host(""), true},
		{host(", suspended: true"), false},
		{path(", compress: off"), false},
		{path(", suspended: true") + host(""), false},
		{path(""), true},
		{path(", compress: off") + host(", suspended: true"), false},
		{host(", suspended: true, compress: off"), false},
		{host(""), true},
	} {
		n.apply(t, "vhosts:\n"+tc.change)
		if checked := n.Prober().Digest() != ""; checked != tc.needed {
			t.Errorf("after %schecked: %v", tc.change, checked)
		}
		if bare, _ := n.LeftBare(health.Drain{URL: well.URL}); (len(bare) == 1) != tc.needed {
			t.Errorf("after %sbare with a drain: %q", tc.change, bare)
		}
		if got := n.get(t, "www.shop.test", "/blog").Status; (got == 200) != tc.needed { // makes the site, also where it is suspended
			t.Errorf("after %sthe path answers %d", tc.change, got)
		}
	}
	n.SetDrains(nil)
	edgetest.WaitFor(t, "the sick one to be down", func() bool { return n.Prober().Down() == 1 })
	for range 10 {
		if who := n.who(t, "www.shop.test", "/blog"); who != "well" {
			t.Fatal("what the checks find says nothing to requests")
		}
	}
	n.apply(t, "vhosts:\n"+host(", suspended: true"))
	n.remove("www.shop.test")
	n.remove("www.shop.test/blog")
	if n.Prober().Digest() != "" {
		t.Error("what is gone is checked")
	}
}

// What has been upgraded ends, too, and is served again once the site is open.
func TestSuspensionCutsOpenWebSockets(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL))
	n.followAddresses(t)
	for range 2 {
		ws := edgetest.Dial(t, n.http)
		ws.UpgradeWebSocket("www.shop.test", "/ws")
		ws.WebSocketEcho("before")
		n.apply(t, shopSite(b.URL, "compress: on"))
		ws.WebSocketEcho("still")
		n.apply(t, shopSite(b.URL, "suspended: true"))
		ws.WantClosed()
		n.apply(t, shopSite(b.URL))
	}
}

// What has been upgraded ends with its vhost, though another one answers for its host from then on: that of a wildcard, or of a path's host. It goes on
// while the vhost is there, without the alias that it came by, or with a document that is bad.
func TestRemovalCutsOpenWebSockets(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, "vhosts:\n  www.shop.test: {tenant: shop, aliases: [alias.test], backends: ["+b.URL+"]}\n  www.shop.test/blog: {tenant: shop, strip: true, backends: ["+b.URL+"]}\n  \"*.shop.test\": {backends: ["+b.URL+"]}\n")
	n.followAddresses(t)
	open := func(host, target string) *edgetest.RawConn {
		ws := edgetest.Dial(t, n.http)
		ws.UpgradeWebSocket(host, target)
		ws.WebSocketEcho("before")
		return ws
	}
	change := func(changes ...routes.Change) {
		table, replaced := n.table.With(changes)
		n.table = table
		n.Apply(table, replaced)
	}
	at := func(name string) routes.Key { return routes.Key{Kind: routes.KindVhost, Name: name} }
	alias, path, other := open("alias.test", "/ws"), open("www.shop.test", "/blog/ws"), open("other.shop.test", "/ws")
	n.apply(t, shopSite(b.URL, "compress: on")) // without the alias
	change(routes.Change{Key: at("www.shop.test"), Problems: routes.Problems{{Reason: "bad"}}}, routes.Change{Key: at("nobody.test"), Problems: routes.Problems{{Reason: "bad"}}})
	n.cutRefused(t.Context())
	for _, ws := range []*edgetest.RawConn{alias, path, other} {
		ws.WebSocketEcho("still")
	}
	change(routes.Change{Key: at("www.shop.test/blog")})
	path.WantClosed()
	alias.WebSocketEcho("still")
	n.apply(t, "vhosts:\n  www.shop.test/blog: {tenant: shop, strip: true, backends: ["+b.URL+"]}\n")
	path = open("www.shop.test", "/blog/ws")
	change(routes.Change{Key: at("www.shop.test")})
	alias.WantClosed()
	path.WantClosed() // which answers for nothing without its host's vhost
	other.WebSocketEcho("still")
}

// A host's vhost is suspended with the paths that have vhosts of their own; a path is suspended alone.
func TestSuspendedHostClosesItsPaths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		host, path     string // is suspended
		onHost, onPath int
	}{{"false", "true", 200, 503}, {"true", "false", 503, 503}, {"false", "false", 200, 200}} {
		_, urls := named(t, 1)
		n := start(t, "vhosts:\n  www.shop.test: {tenant: shop, backends: ["+urls+"], suspended: "+c.host+"}\n"+
			"  www.shop.test/blog: {tenant: shop, backends: ["+urls+"], suspended: "+c.path+"}\n")
		for target, want := range map[string]int{"/": c.onHost, "/blog/x": c.onPath} {
			if got := n.get(t, "www.shop.test", target).Status; got != want {
				t.Errorf("host suspended: %s, path: %s: %s got %d, want %d", c.host, c.path, target, got, want)
			}
		}
	}
}

// A tenant is suspended with all of its vhosts: their backends are neither asked nor checked nor needed, what is upgraded ends, and a vhost that comes later is closed, too.
func TestSuspendedTenantClosesAllItsVhosts(t *testing.T) {
	t.Parallel()
	backends, urls := named(t, 1)
	n := start(t, "vhosts:\n  www.shop.test: {tenant: shop, suspended: false, backends: ["+urls+"], health: {path: /healthz}}\n"+
		"  www.shop.test/blog: {tenant: shop, backends: ["+urls+"]}\n  other.test: {tenant: other, backends: ["+urls+"]}\n")
	n.followAddresses(t)
	ws := edgetest.Dial(t, n.http)
	ws.UpgradeWebSocket("www.shop.test", "/ws")
	ws.WebSocketEcho("before")
	for i, status := range []int{200, 503, 200} {
		n.apply(t, "tenants: {shop: {suspended: "+strconv.FormatBool(status == 503)+"}}\n")
		if i == 1 {
			ws.WantClosed()
			n.apply(t, "vhosts:\n  late.shop.test: {tenant: shop, backends: ["+urls+"]}\n")
		}
		for url, want := range map[string]int{"www.shop.test/": status, "www.shop.test/blog": status, "other.test/": 200} {
			host, target, _ := strings.Cut(url, "/")
			if got := n.get(t, host, "/"+target).Status; got != want {
				t.Errorf("step %d: %s got %d, want %d", i, url, got, want)
			}
		}
		if got := n.get(t, "late.shop.test", "/").Status; i > 0 && got != status {
			t.Errorf("step %d: the one that came later got %d, want %d", i, got, status)
		}
		if checked := n.Prober().Digest() != ""; checked != (status == 200) {
			t.Errorf("step %d: checked: %v", i, checked)
		}
		if bare, _ := n.LeftBare(health.Drain{URL: backends[0].URL, Tenant: "shop"}); (len(bare) > 0) != (status == 200) {
			t.Errorf("step %d: bare with a drain: %q", i, bare)
		}
	}
}

// Crawlers go on asking for a site that is suspended: that is no news, and the access line says it.
func TestRequestsOfASuspendedSiteAreNoFailedRequests(t *testing.T) {
	t.Parallel()
	n := start(t, "vhosts:\n  a.test: {suspended: true, backends: [http://127.0.0.1:1]}\n  b.test: {backends: [http://127.0.0.1:1]}\n")
	conn := edgetest.Dial(t, n.http) // one for both: the first is accounted for before the second is read
	for _, c := range []struct {
		host   string
		status int
	}{{"a.test", 503}, {"b.test", 502}} {
		if got := conn.Do("GET", head("GET", c.host, "/")+"\r\n"); got.Status != c.status {
			t.Fatalf("%s: %d, want %d", c.host, got.Status, c.status)
		}
	}
	n.waitFor(t, n.log, "request failed")
	if log := n.log.String(); strings.Contains(log, "a.test") {
		t.Errorf("the log:\n%s", log)
	}
	n.waitFor(t, n.access, `"error":"this site is suspended"`)
}
