package edge

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
)

// What a vhost says of its cache acts on keys, on what the backend is asked, and on what is kept.
func TestCachePolicyActs(t *testing.T) {
	const phone = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605 Mobile/15E148"
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		control := "max-age=60"
		switch r.URL.Path {
		case "/silent.css", "/page":
			control = ""
		case "/private":
			control = "private"
		case "/nocache":
			control = "no-cache, must-revalidate, max-age=0"
		}
		if control != "" {
			w.Header().Set("Cache-Control", control)
		}
		if strings.HasSuffix(r.URL.Path, ".css") {
			w.Header().Set("Content-Type", "text/css")
		}
		fmt.Fprintf(w, "%s %s", r.URL.RequestURI(), r.Header.Get("X-Device-Class"))
	}, `, query: {ignore: ["utm_*"], sort: true}, key: {cookies: [lang], device: true}, ignore_client_no_cache: true,
      bypass: {paths: ["/admin/*"], cookies: ["login_*"]},
      rules: [{paths: ["/private", "/nocache"], ttl: 60s, override: true}, {paths: ["*.css"], ttl: 60s}]`)
	for _, c := range []struct {
		name          string
		first, second []string // target and fields
		hit           bool
		body          string // of the second
	}{
		{"an ignored parameter", []string{"/a?x=1&utm_source=a"}, []string{"/a?utm_source=b&x=1"}, true, "/a?x=1 desktop"},
		{"sorted parameters", []string{"/b?x=1&y=2"}, []string{"/b?y=2&x=1"}, true, "/b?x=1&y=2 desktop"},
		{"another parameter", []string{"/c?x=1"}, []string{"/c?x=2"}, false, "/c?x=2 desktop"},
		{"another device", []string{"/d"}, []string{"/d", phone}, false, "/d mobile"},
		{"a device that is claimed", []string{"/e"}, []string{"/e", "X-Device-Class: mobile"}, true, "/e desktop"},
		{"another cookie that counts", []string{"/f", "Cookie: lang=de"}, []string{"/f", "Cookie: lang=fr"}, false, "/f desktop"},
		{"another cookie that does not", []string{"/g", "Cookie: lang=de; a=1"}, []string{"/g", "Cookie: lang=de; a=2"}, true, "/g desktop"},
		{"a path that bypasses", []string{"/admin/x"}, []string{"/admin/x"}, false, "/admin/x desktop"},
		{"a cookie that bypasses", []string{"/h"}, []string{"/h", "Cookie: login_1=x"}, false, "/h desktop"},
		{"a client's no-cache", []string{"/i"}, []string{"/i", "Cache-Control: no-cache"}, true, "/i desktop"},
		{"a rule for what states nothing", []string{"/silent.css"}, []string{"/silent.css"}, true, "/silent.css desktop"},
		{"no rule", []string{"/page"}, []string{"/page"}, false, "/page desktop"},
		{"a rule never lifts private", []string{"/private"}, []string{"/private"}, false, "/private desktop"},
		{"a rule lifts no-cache", []string{"/nocache"}, []string{"/nocache"}, true, "/nocache desktop"},
	} {
		n.get(t, "www.shop.test", c.first[0], c.first[1:]...)
		got := n.get(t, "www.shop.test", c.second[0], c.second[1:]...)
		if hit := strings.Contains(got.Header.Get("Cache-Status"), "; hit"); hit != c.hit || string(got.Body) != c.body {
			t.Errorf("%s: %q, body %q, want hit %v, body %q", c.name, got.Header.Get("Cache-Status"), got.Body, c.hit, c.body)
		}
	}
}

// An unkeyed parameter that the backend acts on would let one client choose what others get.
func TestAttackUnkeyedParameterReachesNoBackend(t *testing.T) {
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, "script src="+r.URL.Query().Get("utm_content"))
	}, `, query: {ignore: ["utm_*"]}`)
	n.get(t, "www.shop.test", "/?utm_content=//evil.test/x.js")
	if got := n.get(t, "www.shop.test", "/"); strings.Contains(string(got.Body), "evil") {
		t.Errorf("%q", got.Body)
	}
}

// Web cache deception: a victim is sent to his own page under a name that looks like a file's.
func TestAttackWebCacheDeception(t *testing.T) {
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "account of "+r.Header.Get("Cookie"))
	}, `, rules: [{paths: ["*.css", "*.js", "/static/*"], ttl: 60s}]`)
	for _, target := range []string{"/account/x.css", "/account;x.css", "/account%2fx.css", "/account%3fx.css", "/account%23x.css", "/account/x.js", "/static/..%2faccount"} {
		n.get(t, "www.shop.test", target, "Cookie: victim")
		if got := n.get(t, "www.shop.test", target); strings.Contains(string(got.Body), "victim") {
			t.Errorf("%s: %q", target, got.Body)
		}
	}
}

// What a vhost does not want stored any more is not served any more, nor when it is wanted again.
func TestSettingsThatKeepAnswersOutDropThem(t *testing.T) {
	asked := atomic.Int32{}
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Set-Cookie", "a=b")
		fmt.Fprint(w, asked.Add(1))
	})})
	with := func(cache string) string { return shopSite(b.URL, "cache: {"+cache+"}") }
	const keeps = "enabled: true, set_cookie: store"
	for name, between := range map[string]string{
		"off": with("enabled: false"), "no cookies": with("enabled: true"),
		"gone":           "",
		"another tenant": strings.Replace(with(keeps), "tenant: shop", "tenant: blog", 1),
	} {
		n := start(t, with(keeps))
		first := n.get(t, "www.shop.test", "/").Body
		if again := n.get(t, "www.shop.test", "/").Body; string(again) != string(first) {
			t.Fatalf("%s: not stored", name)
		}
		n.apply(t, with(keeps+", ttl: 60s")) // another change drops nothing
		if again := n.get(t, "www.shop.test", "/").Body; string(again) != string(first) {
			t.Errorf("%s: a change of ttl has dropped it", name)
		}
		if name == "gone" {
			table, replaced := n.table.With([]routes.Change{{Key: routes.Key{Kind: routes.KindVhost, Name: "www.shop.test"}}})
			n.table = table
			n.Apply(table, replaced)
		} else {
			n.apply(t, between)
		}
		n.apply(t, with(keeps))
		if again := n.get(t, "www.shop.test", "/"); string(again.Body) == string(first) {
			t.Errorf("%s: %v", name, again.Header)
		}
	}
}

// What is larger than any entry may be is not collected in vain, and the answer says why.
func TestAnswersLargerThanAnEntryMayBe(t *testing.T) {
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Location", r.URL.Path)
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Content-Length", strings.TrimPrefix(r.URL.Path, "/"))
		size, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		_, _ = w.Write(make([]byte, size))
	}, ", max_body: 1GiB")
	target := fmt.Sprintf("/%d", n.store.MaxEntry()+1)
	for range 2 {
		if got := n.get(t, "www.shop.test", target); got.Status != 200 || got.Header.Get("Cache-Status") != "gatehouse; fwd=uri-miss; detail=too-large" {
			t.Errorf("%d %v", got.Status, got.Header)
		}
	}
	got := edgetest.Dial(t, n.http).Do("POST", head("POST", "www.shop.test", target, "Content-Length: 0")+"\r\n") // what a GET would get
	if got.Status != 200 || got.Header.Get("Cache-Status") != "gatehouse; fwd=method; detail=too-large" {
		t.Errorf("POST: %d %v", got.Status, got.Header)
	}
}
