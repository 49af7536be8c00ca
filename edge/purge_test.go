package edge

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gatehouse/cache"
	"gatehouse/internal/edgetest"
)

// stored asks twice and wants the second to be a hit.
func (n *node) stored(t *testing.T, host, target string, fields ...string) {
	t.Helper()
	n.get(t, host, target, fields...)
	if got := n.get(t, host, target, fields...).Header.Get("Cache-Status"); !strings.Contains(got, "; hit") {
		t.Fatalf("%s%s %v: not stored: %s", host, target, fields, got)
	}
}

func (n *node) wantHit(t *testing.T, host, target string, fields ...string) {
	t.Helper()
	if got := n.get(t, host, target, fields...).Header.Get("Cache-Status"); !strings.Contains(got, "; hit") {
		t.Errorf("%s%s %v: %s", host, target, fields, got)
	}
}

func (n *node) wantMiss(t *testing.T, host, target string, fields ...string) {
	t.Helper()
	if got := n.get(t, host, target, fields...).Header.Get("Cache-Status"); !strings.Contains(got, "-miss") {
		t.Errorf("%s%s %v: %s", host, target, fields, got)
	}
}

// keyed is a site whose cookie counts, and of whose query not all does.
const keyed = "cache: {enabled: true, ttl: 60s, key: {cookies: [lang], device: true}, query: {ignore: [utm_*], sort: true}}"

func TestPurgesAreMadeAsTheVhostCounts(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "aliases: [shop.test]", keyed)+"  \"*.wild.test\":\n    backends: ["+b.URL+"]\n")
	type made = func() (cache.Purge, error)
	first := func(purges []cache.Purge, err error) (cache.Purge, error) {
		if len(purges) != 1 {
			return cache.Purge{}, err
		}
		return purges[0], err
	}
	shop := cache.Purge{Tenant: "shop", Vhost: "www.shop.test"}
	with := func(p cache.Purge, kind cache.PurgeKind, arg string) cache.Purge {
		p.Kind, p.Arg = kind, arg
		return p
	}
	wild := cache.Purge{Vhost: "*.wild.test"}
	for name, tt := range map[string]struct {
		make made
		want cache.Purge
	}{
		"URL":      {func() (cache.Purge, error) { return n.PurgeURL("HTTPS://Www.Shop.Test:443/a?utm_x=1&b=2&a=1#f") }, with(shop, cache.PurgeURL, "www.shop.test/a?a=1&b=2")},
		"alias":    {func() (cache.Purge, error) { return n.PurgeURL("http://shop.test") }, with(shop, cache.PurgeURL, "shop.test/")},
		"encoded":  {func() (cache.Purge, error) { return n.PurgeURL("http://shop.test/ä b/%2f") }, with(shop, cache.PurgeURL, "shop.test/%C3%A4%20b/%2f")},
		"wildcard": {func() (cache.Purge, error) { return n.PurgeURL("http://a.b.wild.test/x") }, with(wild, cache.PurgeURL, "a.b.wild.test/x")},
		"prefix":   {func() (cache.Purge, error) { return first(n.PurgePrefix("http://shop.test/blog")) }, with(shop, cache.PurgePrefix, "shop.test/blog")},
		"host":     {func() (cache.Purge, error) { return first(n.PurgeHost("Shop.Test.")) }, with(shop, cache.PurgeHost, "shop.test")},
		"a host":   {func() (cache.Purge, error) { return first(n.PurgeHost("a.wild.test")) }, with(wild, cache.PurgeHost, "a.wild.test")},
		"vhost":    {func() (cache.Purge, error) { return first(n.PurgeHost("*.wild.test")) }, with(wild, cache.PurgeAll, "")},
		"aliases":  {func() (cache.Purge, error) { return first(n.PurgeHost("WWW.shop.test")) }, with(shop, cache.PurgeAll, "")},
		"tag":      {func() (cache.Purge, error) { return first(n.PurgeTag("shop.test", "A b")) }, with(shop, cache.PurgeTag, "A b")},
	} {
		if got, err := tt.make(); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tt.want)
		}
	}
	for name, make := range map[string]made{
		"URL":      func() (cache.Purge, error) { return n.PurgeURL("https://nobody.test/") },
		"host":     func() (cache.Purge, error) { return first(n.PurgeHost("nobody.test")) },
		"wildcard": func() (cache.Purge, error) { return first(n.PurgeHost("*.shop.test")) },
		"tag":      func() (cache.Purge, error) { return first(n.PurgeTag("nobody.test", "x")) },
	} {
		if _, err := make(); !errors.Is(err, ErrNoVhost) {
			t.Errorf("%s of no vhost: %v", name, err)
		}
	}
	for name, make := range map[string]made{
		"no URL":         func() (cache.Purge, error) { return n.PurgeURL("/a") },
		"prefix, query":  func() (cache.Purge, error) { return first(n.PurgePrefix("https://shop.test/a?b")) },
		"prefix, no URL": func() (cache.Purge, error) { return first(n.PurgePrefix("shop.test/a")) },
		"no host":        func() (cache.Purge, error) { return first(n.PurgeHost("a b")) },
	} {
		if _, err := make(); err == nil || errors.Is(err, ErrNoVhost) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPurgedURLIsAskedForAnewInAllItsForms(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, keyed))
	const target = "/respond?Cache-Control=max-age%3D60&Vary=X-Layout&body=a"
	forms := [][]string{
		nil, {"Cookie: lang=de"}, {"User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148"}, {"X-Layout: wide"},
	}
	for _, form := range forms {
		n.stored(t, "www.shop.test", target, form...)
	}
	p, err := n.PurgeURL("http://www.shop.test/respond?utm_source=x&Vary=X-Layout&Cache-Control=max-age%3D60&body=a")
	if err != nil {
		t.Fatal(err)
	}
	n.store.Purge(p)
	for _, form := range forms {
		n.wantMiss(t, "www.shop.test", target, form...)
		n.stored(t, "www.shop.test", target, form...)
	}
	// A visitor's own change: every form is of the same page.
	edgetest.Dial(t, n.http).Do("POST", head("POST", "www.shop.test", target+"&utm_x=1", "Content-Length: 1", "Cookie: lang=fr")+"\r\nx")
	for _, form := range forms {
		n.wantMiss(t, "www.shop.test", target, form...)
	}
}

func TestWhatIsForCachesDoesNotReachClients(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true}")+"  off.test:\n    backends: ["+b.URL+"]\n")
	fields := url.Values{
		"Surrogate-Key": {"a b"}, "Cache-Tag": {"c"}, "Xkey": {"d"}, "Surrogate-Control": {"max-age=5"}, "Gatehouse-Cache-Control": {"max-age=60"},
		"CDN-Cache-Control": {"max-age=30"}, "Cache-Groups": {`"g"`}, "Etag": {`"v1"`},
	}
	fresh := "/respond?body=a&" + fields.Encode()
	fields.Set("Gatehouse-Cache-Control", "no-store")
	never := "/respond?body=b&" + fields.Encode()
	for what, got := range map[string]*edgetest.RawAnswer{
		"miss": n.get(t, "www.shop.test", fresh), "hit": n.get(t, "www.shop.test", fresh), "not stored": n.get(t, "www.shop.test", never),
		"304":    n.get(t, "www.shop.test", fresh, `If-None-Match: "v1"`),
		"bypass": edgetest.Dial(t, n.http).Do("POST", head("POST", "www.shop.test", fresh, "Content-Length: 1")+"\r\nx"),
	} {
		for _, name := range []string{"Surrogate-Key", "Cache-Tag", "Xkey", "Surrogate-Control", "Gatehouse-Cache-Control"} {
			if got.Header.Get(name) != "" {
				t.Errorf("%s: %s: %q", what, name, got.Header.Get(name))
			}
		}
		if what != "304" && (got.Header.Get("Cdn-Cache-Control") == "" || got.Header.Get("Cache-Groups") == "") {
			t.Errorf("%s: what clients may have is gone: %v", what, got.Header)
		}
	}
	if got := n.get(t, "off.test", fresh).Header.Get("Surrogate-Key"); got != "a b" {
		t.Errorf("without the cache, what another one may want is gone: %q", got)
	}
}

// An answer that was validated has the tags that it came with, and those that the 304 brings in the place of others.
func TestTagsOutliveValidation(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true}"))
	fields := url.Values{"Surrogate-Key": {"red"}, "Cache-Tag": {"sky"}, "Gatehouse-Cache-Control": {"max-age=60"}, "Etag": {`"v1"`}, "body": {"a"}}
	target := "/respond?" + fields.Encode()
	purge := func(tag string, soft bool) {
		purges, err := n.PurgeTag("www.shop.test", tag)
		if err != nil || len(purges) != 1 {
			t.Fatal(purges, err)
		}
		purges[0].Soft = soft
		n.store.Purge(purges[0])
	}
	n.stored(t, "www.shop.test", target)
	for _, tag := range []string{"red", "sky", "red"} {
		purge(tag, true)
		if got := n.get(t, "www.shop.test", target).Header.Get("Cache-Status"); !strings.Contains(got, "fwd=stale") || !strings.Contains(got, "stored") {
			t.Fatalf("after a soft purge of %s: %s", tag, got)
		}
		n.stored(t, "www.shop.test", target)
	}
	purge("blue", false)
	n.wantHit(t, "www.shop.test", target)
	purge("sky", false)
	n.wantMiss(t, "www.shop.test", target)
}

// RFC 9875 §3: an unsafe method's answer names groups.
func TestUnsafeMethodInvalidatesGroups(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true, ttl: 60s}")+
		"  blog.test:\n    tenant: shop\n    backends: ["+b.URL+"]\n    cache: {enabled: true, ttl: 60s}\n")
	in := func(group, body string) string {
		return "/respond?" + url.Values{"Cache-Groups": {`"` + group + `"`}, "Surrogate-Key": {"tag"}, "body": {body}}.Encode()
	}
	for _, target := range []string{in("scripts", "a"), in("styles", "b")} {
		n.stored(t, "www.shop.test", target)
	}
	n.stored(t, "blog.test", in("scripts", "a"))
	post := func(method, code string) {
		target := "/respond?" + url.Values{"Cache-Group-Invalidation": {`"scripts", "tag"`}, "code": {code}, "body": {"done"}}.Encode()
		edgetest.Dial(t, n.http).Do(method, head(method, "www.shop.test", target, "Content-Length: 0")+"\r\n")
	}
	post("GET", "200")  // safe
	post("POST", "500") // failed
	n.wantHit(t, "www.shop.test", in("scripts", "a"))
	post("POST", "201")
	n.wantMiss(t, "www.shop.test", in("scripts", "a"))
	n.wantHit(t, "www.shop.test", in("styles", "b")) // it has the tag, which is no group
	n.wantHit(t, "blog.test", in("scripts", "a"))
}

// A request that began before a purge neither stores what it gets nor gives it to those who come after.
func TestPurgeOvertakesARequest(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true, ttl: 60s}"))
	const target = "/slow?for=1s"
	first := edgetest.Dial(t, n.http)
	first.Send(head("GET", "www.shop.test", target) + "\r\n")
	edgetest.WaitFor(t, "the backend to be asked", func() bool { return b.Deliveries("/slow") == 1 })
	n.store.Purge(cache.Purge{Kind: cache.PurgeAll})
	second := edgetest.Dial(t, n.http)
	second.Send(head("GET", "www.shop.test", target) + "\r\n")
	edgetest.WaitFor(t, "the backend to be asked anew", func() bool { return b.Deliveries("/slow") == 2 })
	if got := first.Receive("GET").Header.Get("Cache-Status"); !strings.Contains(got, "superseded") {
		t.Errorf("the first: %s", got)
	}
	if got := second.Receive("GET").Header.Get("Cache-Status"); !strings.Contains(got, "stored") {
		t.Errorf("the second: %s", got)
	}
}

// In a vhost with a wildcard or with aliases the answer to a POST reaches the groups of its own host alone (RFC 9875 §2).
func TestAttackAPostEmptiesNoGroupOfAnotherHost(t *testing.T) {
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Cache-Groups", `"x"`)
		if r.Method == "POST" {
			w.Header().Set("Cache-Group-Invalidation", `"x"`)
		}
		fmt.Fprint(w, r.Host)
	})})
	n := start(t, "vhosts:\n  \"*.users.test\": {tenant: shop, backends: ["+b.URL+"], cache: {enabled: true}}\n"+
		"  www.shop.test: {tenant: shop, aliases: [shop.test], backends: ["+b.URL+"], cache: {enabled: true}}\n")
	for own, other := range map[string]string{"eve.users.test": "bob.users.test", "shop.test": "www.shop.test"} {
		n.get(t, own, "/")
		n.get(t, other, "/")
		edgetest.Dial(t, n.http).Do("POST", head("POST", own, "/post", "Content-Length: 0")+"\r\n")
		for host, hit := range map[string]bool{own: false, other: true} {
			if got := n.get(t, host, "/").Header.Get("Cache-Status"); strings.Contains(got, "; hit") != hit {
				t.Errorf("after a POST to %s, %s: %q", own, host, got)
			}
		}
	}
}
