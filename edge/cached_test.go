package edge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

func TestCacheHitMissAndBypass(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true}")+"  off.test:\n    backends: ["+b.URL+"]\n")
	fresh := "/respond?Cache-Control=max-age%3D60&Etag=%22v1%22&body=hello"
	first := n.get(t, "www.shop.test", fresh)
	second := n.get(t, "www.shop.test", fresh)
	if got := first.Header.Get("Cache-Status"); got != "gatehouse; fwd=uri-miss; stored" {
		t.Errorf("first: Cache-Status %q", got)
	}
	if got := second.Header.Get("Cache-Status"); !strings.HasPrefix(got, "gatehouse; hit; ttl=") {
		t.Errorf("second: Cache-Status %q", got)
	}
	if second.Header.Get("Age") == "" || second.Header.Get("X-Count") != first.Header.Get("X-Count") || string(second.Body) != "hello" {
		t.Errorf("second: %v %q", second.Header, second.Body)
	}
	if second.Header.Get("Date") != first.Header.Get("Date") {
		t.Errorf("the hit's Date is %q, the origin's %q", second.Header.Get("Date"), first.Header.Get("Date"))
	}
	if first.Header.Get("X-Request-Id") == second.Header.Get("X-Request-Id") {
		t.Error("the hit carries the id of the first request")
	}
	not := n.get(t, "www.shop.test", fresh, `If-None-Match: "v1"`)
	if not.Status != 304 || not.Header.Get("Etag") != `"v1"` || not.Header.Get("Content-Length") != "" {
		t.Errorf("If-None-Match: %d %v", not.Status, not.Header)
	}
	headed := edgetest.Dial(t, n.http).Do("HEAD", head("HEAD", "www.shop.test", fresh)+"\r\n")
	if headed.Header.Get("Content-Length") != "5" || !strings.Contains(headed.Header.Get("Cache-Status"), "hit") {
		t.Errorf("HEAD: %v", headed.Header)
	}
	for target, detail := range map[string]string{
		"/respond?Cache-Control=no-store&body=a":                    "no-store",
		"/respond?Cache-Control=private&body=a":                     "private",
		"/respond?Cache-Control=max-age%3D60&Set-Cookie=a%3Db&body": "set-cookie",
		"/respond?body=a": "no-freshness",
	} {
		n.get(t, "www.shop.test", target)
		got := n.get(t, "www.shop.test", target).Header.Get("Cache-Status")
		if !strings.Contains(got, "fwd=uri-miss") || !strings.Contains(got, "detail="+detail) {
			t.Errorf("%s: Cache-Status %q", target, got)
		}
	}
	if got := n.get(t, "off.test", fresh).Header.Get("Cache-Status"); got != "" {
		t.Errorf("a vhost without cache says %q", got)
	}
}

func TestLargeBodyIsStoredWhileItStreams(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true, ttl: 60s, max_body: 300KiB}"))
	for _, c := range []struct {
		size    int
		chunked string
		hit     bool
	}{{200_000, "", true}, {200_001, "&chunked=1", true}, {400_000, "", false}, {400_001, "&chunked=1", false}} {
		target := fmt.Sprintf("/bytes?n=%d%s", c.size, c.chunked)
		n.get(t, "www.shop.test", target)
		n.waitFor(t, n.access, fmt.Sprintf("n=%d", c.size))
		got := n.get(t, "www.shop.test", target)
		if hit := strings.Contains(got.Header.Get("Cache-Status"), "hit"); hit != c.hit || sumOf(got.Body) != edgetest.PatternSum(int64(c.size)) {
			t.Errorf("%s: hit %v, want %v; %d bytes; %s", target, hit, c.hit, len(got.Body), got.Header.Get("Cache-Status"))
		}
	}
}

// One tenant's page is never another's, although path and query are equal.
func TestTenantsDoNotShareEntries(t *testing.T) {
	a, b := edgetest.NewBackend(t), edgetest.NewBackend(t)
	n := start(t, shopSite(a.URL, "cache: {enabled: true, ttl: 60s}")+
		"  blog.test:\n    tenant: blog\n    backends: ["+b.URL+"]\n    cache: {enabled: true, ttl: 60s}\n")
	for range 2 {
		n.get(t, "www.shop.test", "/bytes?n=10")
		n.get(t, "blog.test", "/bytes?n=10")
	}
	if a.Deliveries("") != 1 || b.Deliveries("") != 1 {
		t.Errorf("deliveries %d and %d, want 1 and 1", a.Deliveries(""), b.Deliveries(""))
	}
}

func TestAttackOnACachedPageIsStillBlocked(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: block}", "cache: {enabled: true, ttl: 60s}"))
	n.get(t, "www.shop.test", "/bytes?n=10")
	if got := n.get(t, "www.shop.test", "/bytes?n=10", "User-Agent: <script>alert(1)</script>"); got.Status != 403 {
		t.Errorf("status %d", got.Status)
	}
}

func TestUnsafeMethodInvalidates(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true, ttl: 60s}"))
	n.get(t, "www.shop.test", "/bytes?n=10")
	edgetest.Dial(t, n.http).Do("POST", head("POST", "www.shop.test", "/bytes?n=10", "Content-Length: 1")+"\r\nx")
	if got := n.get(t, "www.shop.test", "/bytes?n=10").Header.Get("Cache-Status"); strings.Contains(got, "hit") {
		t.Errorf("after a POST: %q", got)
	}
}

// What a vhost's document says of the cache reaches it.
func TestCacheIsAsTheVhostSays(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true, heuristic: true, set_cookie: store}")+
		"  plain.test:\n    backends: ["+b.URL+"]\n    cache: {enabled: true}\n")
	old := "Last-Modified=Mon%2C+01+Jan+2024+00%3A00%3A00+GMT"
	for target, want := range map[string][2]string{
		"/respond?" + old + "&body=a":                                               {"hit", "no-freshness"},
		"/respond?Cache-Control=max-age%3D60&Set-Cookie=a%3Db&body=a":               {"hit", "set-cookie"},
		"/respond?Cache-Control=no-store&CDN-Cache-Control=max-age%3D60&body=a":     {"hit", "hit"},
		"/respond?Cache-Control=max-age%3D60&Gatehouse-Cache-Control=private&body=": {"private", "private"},
	} {
		for i, host := range []string{"www.shop.test", "plain.test"} {
			n.get(t, host, target)
			if got := n.get(t, host, target).Header.Get("Cache-Status"); !strings.Contains(got, want[i]) {
				t.Errorf("%s%s: Cache-Status %q, want %s", host, target, got, want[i])
			}
		}
	}
}

// A refusal that a large head may have caused is nobody else's page (CPDoS).
func TestAttackOversizedHeadIsNotStored(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true}"))
	const refusal = "/respond?code=400&Cache-Control=max-age%3D60&body=no"
	for range 2 {
		if got := n.get(t, "www.shop.test", refusal, "X-Long: "+strings.Repeat("a", 5000)); !strings.Contains(got.Header.Get("Cache-Status"), "detail=request-fault") {
			t.Errorf("Cache-Status %q", got.Header.Get("Cache-Status"))
		}
	}
	n.get(t, "www.shop.test", refusal)
	if got := n.get(t, "www.shop.test", refusal); got.Status != 400 || !strings.Contains(got.Header.Get("Cache-Status"), "hit") {
		t.Errorf("without it: %d, %q", got.Status, got.Header.Get("Cache-Status"))
	}
}

// What ends as an error says what the cache had to do with it.
func TestErrorsHaveACacheStatus(t *testing.T) {
	n, b := handled(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, "")
	for want, fields := range map[string][]string{
		"gatehouse; detail=only-if-cached": {"Cache-Control: only-if-cached"},
		"gatehouse; fwd=uri-miss":          nil,
	} {
		if got := n.get(t, "www.shop.test", "/", fields...); got.Status < 500 || got.Header.Get("Cache-Status") != want {
			t.Errorf("%v: %d %q, want %q", fields, got.Status, got.Header.Get("Cache-Status"), want)
		}
	}
	if b.Deliveries("/") == 0 {
		t.Error("the backend was never asked")
	}
	n.waitFor(t, n.log, "request failed") // behind the answer
	if log := n.log.String(); strings.Count(log, "request failed") != 1 || strings.Contains(log, "only-if-cached") {
		t.Errorf("log: %s", log)
	}
}
