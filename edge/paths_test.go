package edge

import (
	"net/http"
	"strings"
	"testing"

	"gatehouse/cache"
	"gatehouse/internal/edgetest"
)

// pathSites has a host with two path vhosts, one of which takes its path off.
func pathSites(own, blog, api string) string {
	return "vhosts:\n" +
		"  www.shop.test: {tenant: shop, aliases: [shop.test], backends: [" + own + "], cache: {enabled: true}}\n" +
		"  www.shop.test/blog: {tenant: shop, backends: [" + blog + "], cache: {enabled: true}}\n" +
		"  www.shop.test/api/v1: {tenant: shop, backends: [" + api + "/base], strip: true}\n"
}

func TestPathVhostsServeTheirPaths(t *testing.T) {
	t.Parallel()
	own, blog, api := edgetest.NewBackend(t), edgetest.NewBackend(t), edgetest.NewBackend(t)
	n := start(t, pathSites(own.URL, blog.URL, api.URL))
	for target, want := range map[string]struct {
		backend *edgetest.Backend
		target  string
	}{
		"/?a=/blog":           {own, "/?a=/blog"},
		"/blogs":              {own, "/blogs"},
		"/blog?a=1":           {blog, "/blog?a=1"},
		"/blog/x%20y?a=../..": {blog, "/blog/x%20y?a=../.."},
		"/api/v1":             {api, "/base/"},
		"/api/v1?a=1":         {api, "/base/?a=1"},
		"/api/v1/x?a=1":       {api, "/base/x?a=1"},
		"/api/v10":            {own, "/api/v10"},
	} {
		for _, host := range []string{"www.shop.test", "shop.test"} {
			before := len(want.backend.Requests())
			got := n.get(t, host, target, "X-Forwarded-Prefix: /forged")
			requests := want.backend.Requests()
			if got.Status != 200 || len(requests) != before+1 {
				t.Errorf("%s%s: %d, and its backend was not asked", host, target, got.Status)
				continue
			}
			seen, prefix := requests[before], ""
			if want.backend == api {
				prefix = "/api/v1"
			}
			if seen.Target != want.target || seen.Header.Get("X-Forwarded-Prefix") != prefix || seen.Host != host {
				t.Errorf("%s%s: the backend got %s of %s with prefix %q", host, target, seen.Target, seen.Host, seen.Header.Get("X-Forwarded-Prefix"))
			}
		}
	}
	n.waitFor(t, n.access, `"vhost":"www.shop.test/api/v1"`)
}

// A path that a backend may read as another vhost's is refused, whichever of the two it was meant for.
func TestHiddenTraversalReachesNoVhost(t *testing.T) {
	t.Parallel()
	own, blog := edgetest.NewBackend(t), edgetest.NewBackend(t)
	n := start(t, pathSites(own.URL, blog.URL, blog.URL)+"  other.test: {tenant: shop, backends: ["+own.URL+"]}\n")
	for _, target := range []string{"/a/..%2fblog", "/a/../blog", "/blog/..%2f..%2fx", "/%62log", `/a/..\blog`, "/blog/..;/x", "//blog"} {
		if got := n.get(t, "www.shop.test", target); got.Status != 400 || !strings.Contains(string(got.Body), "two ways") {
			t.Errorf("%s: %d", target, got.Status)
		}
		if got := n.get(t, "other.test", target); got.Status != 200 {
			t.Errorf("%s of a host without path vhosts: %d", target, got.Status)
		}
	}
	if len(blog.Requests()) != 0 {
		t.Error("a refused request reached a backend")
	}
	n.waitFor(t, n.access, `"vhost":"www.shop.test"`)
}

// What is stored of a path vhost is its own; a purge of a URL finds it there.
func TestPathVhostsAndTheCache(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
	})})
	n := start(t, pathSites(b.URL, b.URL, b.URL))
	status := func() string {
		t.Helper()
		return n.get(t, "shop.test", "/blog/x").Header.Get("Cache-Status")
	}
	for name, purge := range map[string]func() (cache.Purge, error){
		"URL":    func() (cache.Purge, error) { return n.PurgeURL("http://shop.test/blog/x") },
		"prefix": func() (cache.Purge, error) { return n.PurgePrefix("http://shop.test/blog/") },
		"name":   func() (cache.Purge, error) { return n.PurgeHost("www.shop.test/blog") },
	} {
		if first, second := status(), status(); !strings.Contains(first, "fwd=uri-miss; stored") || !strings.Contains(second, "hit") {
			t.Errorf("%s: %q, then %q", name, first, second)
		}
		p, err := purge()
		if err != nil || p.Vhost != "www.shop.test/blog" {
			t.Fatalf("%s: %+v, %v", name, p, err)
		}
		n.store.Purge(p)
	}
	if _, err := n.PurgeURL("http://www.shop.test/a/..%2fblog"); err == nil {
		t.Error("a purge of an ambiguous path")
	}
}

// Redirect to https and HSTS are the host's; the connection's terms too.
func TestPathVhostsHaveTheirHostsTLS(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	ca := edgetest.NewCA(t)
	c := &certs{leaves: map[string]*edgetest.Leaf{"www.shop.test": ca.Issue(t, "www.shop.test")}}
	const doc = "vhosts:\n  www.shop.test: {tenant: shop, backends: [URL], tls: {redirect_http: true, hsts: 1h}}\n" +
		"  www.shop.test/blog: {tenant: shop, backends: [URL]}\n"
	n := start(t, strings.ReplaceAll(doc, "URL", b.URL), func(o *Options) { o.Certificates = c })
	if got := n.get(t, "www.shop.test", "/blog/x"); got.Status != 301 || got.Header.Get("Location") != "https://www.shop.test/blog/x" {
		t.Errorf("plain: %d %v", got.Status, got.Header)
	}
	secure := edgetest.DialTLS(t, n.https, "www.shop.test", ca.Pool())
	if got := secure.Do("GET", head("GET", "www.shop.test", "/blog/x")+"\r\n"); got.Status != 200 || got.Header.Get("Strict-Transport-Security") != "max-age=3600" {
		t.Errorf("TLS: %d %v", got.Status, got.Header)
	}
	n.apply(t, strings.ReplaceAll(strings.ReplaceAll(doc, "hsts: 1h", "policy: modern"), "URL", b.URL)) // acts at once
	if got := secure.Do("GET", head("GET", "www.shop.test", "/blog/x")+"\r\n"); got.Status != 200 || got.Header.Get("Strict-Transport-Security") != "" {
		t.Errorf("after a change: %d %v", got.Status, got.Header)
	}
}

func TestProbeAsksThePathsVhost(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, pathSites(b.URL, b.URL, b.URL))
	if found, err := n.Probe(Probe{URL: "http://shop.test/blog/x"}); err != nil || found.Vhost != "www.shop.test/blog" {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err := n.Probe(Probe{URL: "http://shop.test/x/..%2fblog"}); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("an ambiguous path: %v", err)
	}
}
