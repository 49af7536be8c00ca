package edge

import (
	"net/http"
	"slices"
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

// A backend's prefix, and a path that is taken off, hold whatever is sent: nothing above them is asked for.
func TestATargetDoesNotLeaveTheBackendsPrefix(t *testing.T) {
	t.Parallel()
	own, api := edgetest.NewBackend(t), edgetest.NewBackend(t)
	n := start(t, "vhosts:\n  www.shop.test: {backends: ["+own.URL+"/app]}\n  www.shop.test/api: {backends: ["+api.URL+"], strip: true}\n"+
		"  free.test: {backends: ["+own.URL+"]}\n")
	for _, target := range []string{
		"/../admin", "/x/..%2f..%2fadmin", "/%2e%2e/admin", `/..\admin`, "/..;/admin", "/%252e%252e/admin", "/x//../../admin", "/api/../../api/x",
	} {
		if got := n.get(t, "www.shop.test", target); got.Status != 400 {
			t.Errorf("%s: %d", target, got.Status)
		}
		if got := n.get(t, "free.test", target); got.Status != 200 {
			t.Errorf("%s of a vhost whose backend has no prefix: %d", target, got.Status)
		}
	}
	for _, r := range append(own.Requests(), api.Requests()...) {
		if r.Host == "www.shop.test" {
			t.Errorf("the backend got %s", r.Target)
		}
	}
	if got := n.get(t, "www.shop.test", "/x/../y"); got.Status != 200 || edgetest.ParseSeen(t, got.Body).Target != "/app/x/../y" {
		t.Errorf("what stays below the prefix: %d %s", got.Status, got.Body)
	}
}

// A backend that adds a slash, or takes one off, would send clients to another host.
func TestAStrippedTargetNamesNoHost(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, "vhosts:\n  www.shop.test: {backends: ["+b.URL+"]}\n  www.shop.test/api: {backends: ["+b.URL+"], strip: true}\n")
	for target, want := range map[string]string{
		"/api//evil.test/x": "/evil.test/x", "/api///evil.test": "/evil.test", `/api/\evil.test`: "/evil.test", `/api//\//evil.test?a=//b`: "/evil.test?a=//b",
		"/api/": "/", "/api//": "/", "/api?a=//b": "/?a=//b", "/api/x//y": "/x//y",
	} {
		if got := n.get(t, "www.shop.test", target); got.Status != 200 || edgetest.ParseSeen(t, got.Body).Target != want {
			t.Errorf("%s: %d %s, want %s", target, got.Status, got.Body, want)
		}
	}
}

// What is stored of a path vhost is its own; the purges of what its host has reach it, too.
func TestPathVhostsAndTheCache(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Surrogate-Key", "news")
	})})
	n := start(t, pathSites(b.URL, b.URL, b.URL))
	status := func(target string) string {
		t.Helper()
		return n.get(t, "shop.test", target).Header.Get("Cache-Status")
	}
	type purges = []cache.Purge
	for name, c := range map[string]struct {
		purge     func() (purges, error)
		own, blog bool // whether /x of the host, and /blog/x, are purged
	}{
		"URL": {func() (purges, error) {
			p, err := n.PurgeURL("http://shop.test/blog/x")
			return purges{p}, err
		}, false, true},
		"prefix of the path":  {func() (purges, error) { return n.PurgePrefix("http://shop.test/blog/") }, false, true},
		"prefix above it":     {func() (purges, error) { return n.PurgePrefix("http://shop.test/bl") }, false, true},
		"prefix of all":       {func() (purges, error) { return n.PurgePrefix("http://shop.test/") }, true, true},
		"prefix beside it":    {func() (purges, error) { return n.PurgePrefix("http://shop.test/x") }, true, false},
		"the path vhost":      {func() (purges, error) { return n.PurgeHost("www.shop.test/blog") }, false, true},
		"a host":              {func() (purges, error) { return n.PurgeHost("shop.test") }, true, true},
		"another host":        {func() (purges, error) { return n.PurgeHost("www.shop.test") }, true, true}, // the vhost's name: all of it
		"tag of the host":     {func() (purges, error) { return n.PurgeTag("shop.test", "news") }, true, true},
		"tag of the path":     {func() (purges, error) { return n.PurgeTag("www.shop.test/blog", "news") }, false, true},
		"a tag that none has": {func() (purges, error) { return n.PurgeTag("shop.test", "sport") }, false, false},
	} {
		for _, target := range []string{"/x", "/blog/x"} {
			if status(target); !strings.Contains(status(target), "hit") {
				t.Fatalf("%s: %s is not stored", name, target)
			}
		}
		made, err := c.purge()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, p := range made {
			n.store.Purge(p)
		}
		for target, purged := range map[string]bool{"/x": c.own, "/blog/x": c.blog} {
			if got := status(target); strings.Contains(got, "hit") == purged {
				t.Errorf("%s: %s: %q", name, target, got)
			}
		}
	}
	if _, err := n.PurgeURL("http://www.shop.test/a/..%2fblog"); err == nil {
		t.Error("a purge of an ambiguous path")
	}
}

// With path vhost /blog, a purge of prefix /blog left /blogx and /blog-y of the host.
func TestPurgeOfAPrefixReachesAllWhoseURLsBeginSo(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, pathSites(b.URL, b.URL, b.URL)+"  www.shop.test/blog/news: {tenant: shop, backends: ["+b.URL+"], cache: {enabled: true}}\n")
	const host, blog, news = "www.shop.test", "www.shop.test/blog", "www.shop.test/blog/news"
	for path, want := range map[string][]string{
		"/": {host, blog, news}, "/bl": {host, blog, news}, "/blog": {host, blog, news}, "/blogs": {host}, "/blog/": {blog, news}, "/blog/news": {blog, news},
		"/blog/newspaper": {blog}, "/blog/news/": {news}, "/blog/x/y": {blog}, "/api/v1": {host},
	} {
		made, err := n.PurgePrefix("http://shop.test" + path)
		if err != nil {
			t.Fatal(err)
		}
		var vhosts []string
		for _, p := range made {
			vhosts = append(vhosts, p.Vhost)
			if p.Kind != cache.PurgePrefix || p.Arg != "shop.test"+path || p.Tenant != "shop" {
				t.Errorf("%s: %+v", path, p)
			}
		}
		if !slices.Equal(vhosts, want) {
			t.Errorf("%s: purged of %v, want %v", path, vhosts, want)
		}
	}
}

// While a path vhost has the URL, a purge of it goes there: what the host had stored of it before must not come back.
func TestWhatAPathVhostHidDoesNotComeBack(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
	})})
	site := func(name string) string {
		return "  '" + name + "': {tenant: shop, aliases: [ALIAS], backends: [" + b.URL + "], cache: {enabled: true}}\n"
	}
	for name, host := range map[string]string{"www.shop.test": "alias.test", "*.shop.test": "a.shop.test"} {
		own := "vhosts:\n" + strings.Replace(site(name), "ALIAS", "alias.test", 1)
		n := start(t, own)
		n.stored(t, host, "/blog/x")
		n.stored(t, host, "/x")
		n.apply(t, own+strings.Replace(site(name+"/blog"), "aliases: [ALIAS], ", "", 1))
		p, err := n.PurgeURL("http://" + host + "/blog/x")
		if err != nil {
			t.Fatal(err)
		}
		n.store.Purge(p)
		n.remove(name + "/blog")
		if got := n.get(t, host, "/blog/x").Header.Get("Cache-Status"); strings.Contains(got, "hit") {
			t.Errorf("%s: %s", name, got)
		}
		if got := n.get(t, host, "/x").Header.Get("Cache-Status"); strings.Contains(got, "hit") != (name == "www.shop.test") {
			t.Errorf("%s: /x: %s", name, got)
		}
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
	if _, err := n.Probe(Probe{URL: "http://shop.test/api/v1/../../../api/v1/x"}); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("a path that climbs: %v", err)
	}
}

// The access line says once why a path was refused.
func TestAccessLineOfAnAmbiguousPathSaysTheReasonOnce(t *testing.T) {
	t.Parallel()
	n := start(t, "vhosts:\n  a.test: {respond: {status: 204}}\n  a.test/admin: {respond: {status: 204}}\n")
	if got := n.get(t, "a.test", "/x/..%2fadmin"); got.Status != 400 {
		t.Errorf("status %d", got.Status)
	}
	n.waitFor(t, n.access, "}\n")
	if line := n.access.String(); !strings.Contains(line, `"error":"this path can be read in two ways"`) {
		t.Error(line)
	}
}
