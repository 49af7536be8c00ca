package edge

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// tellsOf answers a POST as if it were what a GET of the same gets, with what of the request it may depend on.
func tellsOf(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=60")
	w.Header().Set("Content-Location", r.URL.RequestURI())
	fmt.Fprintf(w, "%s %s cookie=%s override=%s host=%s user=%s", r.Method, r.URL.RequestURI(), r.Header.Get("Cookie"), r.Header.Get("X-Http-Method-Override"),
		r.Header.Get("X-Forwarded-Host"), r.Header.Get("X-Remote-User"))
}

// posts sends a POST and returns what a GET of another target gets behind it.
func (n *node) posts(t *testing.T, target, then string, fields ...string) *edgetest.RawAnswer {
	t.Helper()
	edgetest.Dial(t, n.http).Do("POST", head("POST", "www.shop.test", target, append(fields, "Content-Length: 1")...)+"\r\nx")
	return n.get(t, "www.shop.test", then)
}

// A request that goes past the cache leaves nothing there, be it a POST whose answer says that it is what a GET gets.
func TestAttackAPostPastTheCacheIsNotStored(t *testing.T) {
	for name, field := range map[string]string{"a cookie": "Cookie: session=S3", "a field": "X-Preview: 1", "nothing": "X-A: 1"} {
		t.Run(name, func(t *testing.T) {
			n, _ := handled(t, tellsOf, ", bypass: {cookies: [session], headers: [X-Preview], query: [draft], paths: [/admin/*]}")
			got := n.posts(t, "/prof", "/prof", field)
			if stored := strings.HasPrefix(string(got.Body), "POST"); stored != (name == "nothing") {
				t.Errorf("the next visitor gets %q, %s", got.Body, got.Header.Get("Cache-Status"))
			}
		})
	}
	n, _ := handled(t, tellsOf, ", bypass: {query: [draft], paths: [/admin/*]}")
	for _, target := range []string{"/p?draft=1", "/admin/p"} {
		n.posts(t, target, target)
	}
	if n := n.store.Stats().Entries; n != 0 {
		t.Errorf("%d answers are stored", n)
	}
}

// A POST is sent with all its parameters in the client's order: what the backend made of them is not what the key says.
func TestAttackAPostWithParametersThatDoNotCount(t *testing.T) {
	n, _ := handled(t, tellsOf, ", query: {ignore: [utm_x], sort: true}")
	for target, then := range map[string]string{"/post?utm_x=EVIL": "/post", "/post?b=EVIL&a=1": "/post?a=1&b=EVIL"} {
		if got := n.posts(t, target, then); strings.HasPrefix(string(got.Body), "POST") {
			t.Errorf("behind a POST of %s a visitor of %s gets %q", target, then, got.Body)
		}
	}
	if got := n.posts(t, "/post?a=1", "/post?utm_x=2&a=1"); !strings.HasPrefix(string(got.Body), "POST /post?a=1 ") {
		t.Errorf("a POST as the key has it is not stored: %q", got.Body)
	}
}

// A POST is sent with fields that change for the backend what is asked for, and by whom.
func TestAttackAPostWithUnkeyedFields(t *testing.T) {
	for _, field := range []string{"X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X.Method.Override: DELETE"} {
		n, _ := handled(t, tellsOf, "")
		if got := n.posts(t, "/po", "/po", field); strings.HasPrefix(string(got.Body), "POST") {
			t.Errorf("%s: a visitor gets %q", field, got.Body)
		}
	}
	n, _ := handled(t, tellsOf, "")
	if got := n.posts(t, "/po", "/po", "X-Remote-User: evil", "X-Forwarded-Host: evil.test"); !strings.HasPrefix(string(got.Body), "POST") || strings.Contains(string(got.Body), "evil") {
		t.Errorf("claims that end here keep the answer out, or do not end here: %q", got.Body)
	}
}

// The same through a trusted proxy, whose claims go on to the backend.
func TestAttackAPostWithClaimsThroughATrustedProxy(t *testing.T) {
	for _, field := range []string{"X-Remote-User: evil", "X-Forwarded-Host: evil.test", "X-Original-URL: /evil"} {
		b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(tellsOf)})
		n := start(t, shopSite(b.URL, "cache: {enabled: true}"), func(o *Options) {
			o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		})
		if got := n.posts(t, "/po", "/po", field); strings.HasPrefix(string(got.Body), "POST") {
			t.Errorf("%s: a visitor gets %q", field, got.Body)
		}
	}
}

// A part of a stored answer says which part it is, once, whatever the backend had said of the whole (RFC 9110 §14.4).
func TestAPartHasOneContentRange(t *testing.T) {
	n, _ := handled(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Range", "bytes 0-9/1000")
		fmt.Fprint(w, "0123456789")
	}, "")
	n.get(t, "www.shop.test", "/")
	for fields, want := range map[string][]string{"Range: bytes=2-4": {"bytes 2-4/10"}, "Range: bytes=50-": {"bytes */10"}, "X-A: 1": {"bytes 0-9/1000"}} {
		got := n.get(t, "www.shop.test", "/", fields)
		if ranges := got.Header.Values("Content-Range"); fmt.Sprint(ranges) != fmt.Sprint(want) || !strings.Contains(got.Header.Get("Cache-Status"), "; hit") {
			t.Errorf("%s: %d, Content-Range %q, %s", fields, got.Status, ranges, got.Header.Get("Cache-Status"))
		}
	}
}
