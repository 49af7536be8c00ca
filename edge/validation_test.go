package edge

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"gatehouse/cache"
	"gatehouse/internal/edgetest"
)

// A 200 to a question about what is stored takes its place (RFC 9111 §4.3.3), and is what is asked about from then on.
func TestA200ToAValidationReplacesWhatIsStored(t *testing.T) {
	version := atomic.Int32{}
	n, b := handled(t, func(w http.ResponseWriter, r *http.Request) {
		tag := fmt.Sprintf(`"%d"`, version.Load())
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", tag)
		w.Header().Set("X-Asked", r.Header.Get("If-None-Match"))
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(304)
			return
		}
		fmt.Fprint(w, "version ", version.Load())
	}, "")
	for i, want := range []struct {
		version     int32
		asked, body string
	}{{1, "", "version 1"}, {1, `"1"`, "version 1"}, {2, `"1"`, "version 2"}, {2, `"2"`, "version 2"}} {
		version.Store(want.version)
		if got := n.get(t, "www.shop.test", "/"); got.Status != 200 || string(got.Body) != want.body || got.Header.Get("X-Asked") != want.asked {
			t.Errorf("request %d: %d %q, asked %q", i, got.Status, got.Body, got.Header.Get("X-Asked"))
		}
	}
	_ = b
}

// What only the backend can tell goes to it (RFC 9110 §13.1.1, §13.1.4), and "*" is any stored answer (§13.1.2).
func TestPreconditionsOfRequests(t *testing.T) {
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-Match") != "" || r.Header.Get("If-Unmodified-Since") != "" {
			w.WriteHeader(412)
			return
		}
		fmt.Fprint(w, "page")
	}, "")
	n.get(t, "www.shop.test", "/")
	for _, c := range []struct {
		field  string
		status int
		way    string
	}{
		{`If-Match: "2"`, 412, "fwd=bypass"},
		{"If-Unmodified-Since: Mon, 01 Jan 2024 00:00:00 GMT", 412, "fwd=bypass"},
		{"If-None-Match: *", 304, "; hit"},
		{`If-None-Match: W/"1"`, 304, "; hit"},
		{`If-None-Match: "2", "1"`, 304, "; hit"},
		{`If-None-Match: "2"`, 200, "; hit"},
		{"If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT", 304, "; hit"},
		{"If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT", 200, "; hit"},
	} {
		if got := n.get(t, "www.shop.test", "/", c.field); got.Status != c.status || !strings.Contains(got.Header.Get("Cache-Status"), c.way) {
			t.Errorf("%s: %d, %q", c.field, got.Status, got.Header.Get("Cache-Status"))
		}
	}
	// Nothing of that has changed what is stored.
	if got := n.get(t, "www.shop.test", "/"); got.Status != 200 || string(got.Body) != "page" || !strings.Contains(got.Header.Get("Cache-Status"), "; hit") {
		t.Errorf("afterwards: %d %q, %q", got.Status, got.Body, got.Header.Get("Cache-Status"))
	}
}

// Safe methods invalidate nothing, whatever they are answered (RFC 9111 §4.4); unsafe ones do, if they succeed.
func TestMethodsThatInvalidate(t *testing.T) {
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case "GET":
			w.Header().Set("Cache-Control", "max-age=60")
		case "HEAD":
			w.Header().Set("Cache-Control", "no-store")
		}
		if r.Header.Get("X-Fail") != "" {
			w.WriteHeader(500)
		}
		fmt.Fprint(w, "page")
	}, "")
	for _, c := range []struct {
		method string
		fields []string
		hit    bool
	}{
		{"GET", []string{"Authorization: x"}, true},
		{"HEAD", []string{"Cache-Control: no-cache"}, true},
		{"OPTIONS", nil, true},
		{"PROPFIND", nil, true},
		{"REPORT", nil, true},
		{"SEARCH", nil, true},
		{"QUERY", nil, true},
		{"propfind", nil, false}, // another method
		{"PROPPATCH", nil, false},
		{"MKCOL", nil, false},
		{"POST", []string{"X-Fail: 1"}, true},
		{"POST", nil, false},
		{"PUT", nil, false},
		{"DELETE", nil, false},
		{"PATCH", nil, false},
		{"M-SEARCH", nil, false},
	} {
		n.get(t, "www.shop.test", "/")
		edgetest.Dial(t, n.http).Do(c.method, head(c.method, "www.shop.test", "/", append(c.fields, "Content-Length: 0")...)+"\r\n")
		if got := n.get(t, "www.shop.test", "/").Header.Get("Cache-Status"); strings.Contains(got, "; hit") != c.hit {
			t.Errorf("after %s %v: %q, want a hit: %v", c.method, c.fields, got, c.hit)
		}
	}
}

// An answer to a POST that says that it is what a GET gets is that, for the time that it states (RFC 9110 §9.3.3).
func TestPostedAnswers(t *testing.T) {
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			switch r.URL.Query().Get("at") {
			case "self":
				w.Header().Set("Content-Location", r.URL.RequestURI())
			case "absolute":
				w.Header().Set("Content-Location", "http://www.shop.test"+r.URL.RequestURI())
			case "elsewhere":
				w.Header().Set("Content-Location", "http://evil.test"+r.URL.RequestURI())
			case "other":
				w.Header().Set("Content-Location", "/other")
			}
			if r.URL.Query().Get("fresh") != "" {
				w.Header().Set("Cache-Control", "max-age=60")
			}
		}
		fmt.Fprint(w, r.Method)
	}, ", ttl: 60s")
	for target, hit := range map[string]bool{
		"/?at=self&fresh=1": true, "/?at=absolute&fresh=1": true, "/?at=self": false, "/?at=elsewhere&fresh=1": false, "/?at=other&fresh=1": false, "/?fresh=1": false,
	} {
		edgetest.Dial(t, n.http).Do("POST", head("POST", "www.shop.test", target, "Content-Length: 1")+"\r\nx")
		got := n.get(t, "www.shop.test", target)
		if strings.Contains(got.Header.Get("Cache-Status"), "; hit") != hit || (string(got.Body) == "POST") != hit {
			t.Errorf("%s: %q, %q", target, got.Body, got.Header.Get("Cache-Status"))
		}
	}
}

// What a vhost has set gives an answer to a POST no freshness (RFC 9110 §9.3.3), whichever way it gives it; what keeps answers
// out keeps it out, too.
func TestSettingsGivePostedAnswersNoFreshness(t *testing.T) {
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			w.Header().Set("Content-Location", r.URL.RequestURI())
			w.Header().Set("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
			if control := r.URL.Query().Get("control"); control != "" {
				w.Header().Set("Cache-Control", control)
			}
		}
		fmt.Fprint(w, r.Method)
	}, `, ttl: 60s, heuristic: true, rules: [{paths: ["/rule/*"], ttl: 1h}, {paths: ["/override/*"], ttl: 1h, override: true},
      {paths: ["/silent/*"], ttl: 0s}, {paths: ["/never/*"], ttl: 0s, override: true}, {paths: ["/rule/*", "/override/*"], ttl: 0s, override: true}]`)
	for target, stored := range map[string]bool{
		"/":                                false,
		"/?control=max-age%3D60":           true,
		"/?control=no-cache":               false,
		"/rule/a":                          false,
		"/rule/a?control=max-age%3D60":     true,
		"/override/a":                      false,
		"/override/a?control=max-age%3D60": true,
		"/override/a?control=no-cache":     false,
		"/override/a?control=max-age%3D0":  false, // what it states counts
		"/silent/a":                        false,
		"/silent/a?control=max-age%3D60":   true, // as for a GET
		"/never/a?control=max-age%3D60":    false,
		"/override/a?control=private":      false,
		"/rule/a?control=s-maxage%3D60":    true,
		"/rule/a?control=must-revalidate":  false,
		"/rule/a?control=public":           false,
		"/rule/a?control=no-cache,private": false,
	} {
		edgetest.Dial(t, n.http).Do("POST", head("POST", "www.shop.test", target, "Content-Length: 1")+"\r\nx")
		got := n.get(t, "www.shop.test", target)
		if hit := strings.Contains(got.Header.Get("Cache-Status"), "; hit"); hit != stored || (string(got.Body) == "POST") != stored {
			t.Errorf("%s: %q, %q", target, got.Body, got.Header.Get("Cache-Status"))
		}
	}
}

// The answer to a POST that was under way when a purge came is not stored: it may be of before.
func TestPurgeOvertakesAPost(t *testing.T) {
	for name, settings := range map[string]string{"one key": "", "many keys": ", key: {cookies: [lang]}"} {
		for kind, arg := range map[cache.PurgeKind]string{cache.PurgeAll: "", cache.PurgeURL: "www.shop.test/p", cache.PurgeTag: "red", "": ""} {
			t.Run(name+" "+string(kind), func(t *testing.T) {
				var n *node
				n, _ = handled(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Location", r.URL.RequestURI())
					w.Header().Set("Cache-Control", "max-age=60")
					w.Header().Set("Surrogate-Key", "red")
					if r.Method == "POST" && kind != "" {
						n.store.Purge(cache.Purge{Tenant: "shop", Vhost: "www.shop.test", Kind: kind, Arg: arg})
					}
					fmt.Fprint(w, r.Method)
				}, settings)
				edgetest.Dial(t, n.http).Do("POST", head("POST", "www.shop.test", "/p", "Content-Length: 1")+"\r\nx")
				want := "GET"
				if kind == "" {
					want = "POST"
				}
				if got := n.get(t, "www.shop.test", "/p"); string(got.Body) != want {
					t.Errorf("%q, %q, want %q", got.Body, got.Header.Get("Cache-Status"), want)
				}
			})
		}
	}
}

// A HEAD whose answer may not be stored says so of what is stored, too (RFC 9111 §4.3.5); one that is not to be stored for the
// client's sake says nothing.
func TestAHeadThatForbidsStoringEndsWhatIsStored(t *testing.T) {
	for name, tt := range map[string]struct {
		control string // of the answer to HEAD
		field   string // of the HEAD
		kept    bool
	}{
		"no-store":                            {"no-store", "X-A: 1", false},
		"private":                             {"private", "X-A: 1", false},
		"fresh":                               {"max-age=1000, stale-if-error=6000", "X-A: 1", true},
		"stale":                               {"max-age=1, stale-if-error=6000", "X-A: 1", true},
		"a client's no-store":                 {"max-age=1, stale-if-error=6000", "Cache-Control: no-store", true},
		"a client's no-store, and a no-store": {"no-store", "Cache-Control: no-store", true},
	} {
		t.Run(name, func(t *testing.T) {
			fails := atomic.Bool{}
			n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
				if fails.Load() {
					w.WriteHeader(500)
					return
				}
				w.Header().Set("ETag", `"1"`)
				w.Header().Set("Content-Length", "4")
				if r.Method == "HEAD" {
					w.Header().Set("Cache-Control", tt.control)
					return
				}
				w.Header().Set("Cache-Control", "max-age=1000, stale-if-error=6000")
				w.Header().Set("Age", "1005")
				fmt.Fprint(w, "page")
			}, "")
			n.get(t, "www.shop.test", "/")
			edgetest.Dial(t, n.http).Do("HEAD", head("HEAD", "www.shop.test", "/", tt.field)+"\r\n")
			fails.Store(true)
			got := n.get(t, "www.shop.test", "/")
			if kept := got.Status == 200; kept != tt.kept {
				t.Errorf("%d, %q", got.Status, got.Header.Get("Cache-Status"))
			}
		})
	}
}
