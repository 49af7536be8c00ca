package edge

import (
	"net/http"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

const editsOfShop = `headers:
      request: {set: {X-Env: prod, Authorization: Basic abc}, add: {X-Tag: ours}, remove: [X-Debug]}
      response: {set: {X-Frame-Options: DENY}, add: {X-Served-By: edge, Vary: Origin}, remove: [Server, x-powered-by]}`

func TestHeaderEditsTowardsTheBackend(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, editsOfShop, "waf: {mode: off}"))
	got := n.get(t, "www.shop.test", "/x", "x-env: forged", "AUTHORIZATION: mine", "X-Tag: theirs", "X-DEBUG: 1", "X-Other: kept")
	h := edgetest.ParseSeen(t, got.Body).Header
	for name, want := range map[string]string{"X-Env": "prod", "Authorization": "Basic abc", "X-Tag": "theirs,ours", "X-Debug": "", "X-Other": "kept"} {
		if got := strings.Join(h.Values(name), ","); got != want {
			t.Errorf("the backend got %s: %q, want %q", name, got, want)
		}
	}
}

// PHP takes X.Env for X-Env: a client's would stand beside ours, or in its place. So with what cache and compression say.
func TestHeaderEditsAreNotGotRoundByADot(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, editsOfShop, "cache: {enabled: true, key: {device: true}}", "compress: \"on\"", "waf: {mode: off}"))
	got := n.get(t, "www.shop.test", "/x", "x.env: forged", "X.DEBUG: 1", "X.Tag: theirs", "Accept.Encoding: br", "X.Device.Class: mobile", "X.Other: kept")
	h := edgetest.ParseSeen(t, got.Body).Header
	for name, want := range map[string]string{
		"X-Env": "prod", "X.Env": "", "X.Debug": "", "X.Tag": "theirs", "Accept.Encoding": "", "X.Device.Class": "", "X.Other": "kept",
	} {
		if got := strings.Join(h.Values(name), ","); got != want {
			t.Errorf("the backend got %s: %q, want %q", name, got, want)
		}
	}
}

// Edits act on what the backend answers, on what the cache does, on error pages and on redirects, and a change of them at once.
func TestHeaderEditsOfEveryAnswer(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			panic(http.ErrAbortHandler)
		}
		for _, f := range []string{"Server", "X-Powered-By", "X-Frame-Options"} {
			w.Header().Set(f, "theirs")
		}
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Etag", `"1"`)
	})})
	n := start(t, shopSite(b.URL, "cache: {enabled: true}", editsOfShop)+
		"  old.test:\n    redirect: {to: \"https://www.shop.test\"}\n    headers:\n"+strings.SplitAfterN(editsOfShop, "\n", 3)[2]+"\n"+
		"  secure.test:\n    backends: ["+b.URL+"]\n    tls: {redirect_http: true}\n    "+editsOfShop+"\n")
	for _, c := range []struct {
		name, host, target string
		status             int
		fields             []string
	}{
		{"miss", "www.shop.test", "/a", 200, nil},
		{"hit", "www.shop.test", "/a", 200, nil},
		{"validated by the client", "www.shop.test", "/a", 304, []string{`If-None-Match: "1"`}},
		{"error page", "www.shop.test", "/away", 502, nil},
		{"redirect", "old.test", "/a", 301, nil},
		{"redirect to https", "secure.test", "/a", 301, nil},
	} {
		got := n.get(t, c.host, c.target, c.fields...)
		h := got.Header
		if got.Status != c.status || strings.Join(h.Values("X-Frame-Options"), ",") != "DENY" || h.Get("X-Served-By") != "edge" ||
			h.Get("Server") != "" || h.Get("X-Powered-By") != "" || !strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin") {
			t.Errorf("%s: %d %v", c.name, got.Status, h)
		}
	}
	n.apply(t, shopSite(b.URL, "cache: {enabled: true}")) // what is stored is what the backend said
	if h := n.get(t, "www.shop.test", "/a").Header; !strings.Contains(h.Get("Cache-Status"), "hit") || h.Get("X-Frame-Options") != "theirs" || h.Get("Server") != "theirs" || h.Get("X-Served-By") != "" {
		t.Errorf("after a change: %v", h)
	}
	if h := n.get(t, "nobody.test", "/").Header; h.Get("X-Served-By") != "" {
		t.Errorf("without a vhost: %v", h)
	}
}

func TestHeaderEditsOfAHitDoNotAllocate(t *testing.T) {
	e := &headerEdits{gone: map[string]bool{"server": true, "x-a": true}, lines: []byte("X-B: c\r\n")}
	lines, dst := []byte("Server: x\r\nContent-Type: text/html\r\nX-A: b\r\n"), make([]byte, 0, 256)
	if allocs := testing.AllocsPerRun(100, func() { dst = e.appendOwn(e.appendKept(dst[:0], lines)) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if string(dst) != "Content-Type: text/html\r\nX-B: c\r\n" {
		t.Errorf("%q", dst)
	}
}
