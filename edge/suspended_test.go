package edge

import (
	"crypto/tls"
	"strings"
	"testing"

	"gatehouse/edge/health"
	"gatehouse/internal/edgetest"
)

// A suspended vhost answers 503 on every way, asks no backend, and resumes no session; when it is back, all is as before.
func TestSuspendedVhostAnswers503AndResumesNothing(t *testing.T) {
	const (
		up   = "vhosts:\n  shop.test: {backends: [BACKEND], cache: {enabled: true, ttl: 1h}, tls: {redirect_http: true}}\n"
		down = "vhosts:\n  shop.test: {suspended: true, backends: [BACKEND], cache: {enabled: true, ttl: 1h}, tls: {redirect_http: true}}\n"
	)
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
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
