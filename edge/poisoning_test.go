package edge

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// echo answers for a minute with what of the request a backend may act on.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=60")
	body, _ := io.ReadAll(r.Body)
	_, _ = fmt.Fprintf(w, "method=%s host=%s uri=%s body=%s", r.Method, r.Host, r.RequestURI, body)
	for _, name := range []string{
		"X.HTTP.Method.Override", "X-HTTP-Method.Override", "X-Forwarded-Host", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Host", "X-Original-URL", "X-Rewrite-URL", "Forwarded", "X-Forwarded-Port",
		"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Forwarded-Prefix", "Authorization",
	} {
		if v := r.Header.Get(name); v != "" {
			_, _ = fmt.Fprintf(w, " %s=%s", name, v)
		}
	}
	for name, v := range r.Header {
		if strings.Contains(name, ".") { // a hyphen to PHP
			_, _ = fmt.Fprintf(w, " %s=%s", name, v)
		}
	}
}

// poisoned has an attacker ask first and a visitor second, and fails if what the attacker said is in the visitor's page.
func poisoned(t *testing.T, target string, attack ...string) {
	t.Helper()
	n, _ := handled(t, echo, "")
	n.get(t, "www.shop.test", target, attack...)
	if got := n.get(t, "www.shop.test", target); strings.Contains(string(got.Body), "evil") {
		t.Errorf("%v: the visitor gets %q (%s)", attack, got.Body, got.Header.Get("Cache-Status"))
	}
}

// Fields that backends act on and no key has.
func TestAttackUnkeyedHeaders(t *testing.T) {
	for _, name := range []string{
		"X-Forwarded-Host", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Prefix", "X-Forwarded-Port", "X-Host", "X-Original-URL",
		"X-Rewrite-URL", "Forwarded", "x_forwarded_host", "X.Forwarded.Host",
	} {
		poisoned(t, "/", name+": evil.test")
	}
}

// CPDoS by method override: the answer to a DELETE stored as the page.
func TestAttackMethodOverride(t *testing.T) {
	for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "x_http_method_override", "X.HTTP.Method.Override", "X-HTTP-Method.Override"} {
		poisoned(t, "/", name+": evil")
	}
}

// A GET with a body: frameworks read parameters from it, and no key has it.
func TestAttackFatGet(t *testing.T) {
	n, _ := handled(t, echo, "")
	edgetest.Dial(t, n.http).Do("GET", head("GET", "www.shop.test", "/?a=1", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 6")+"\r\na=evil")
	edgetest.Dial(t, n.http).Do("GET", head("GET", "www.shop.test", "/?a=1", "Transfer-Encoding: chunked")+"\r\n6\r\na=evil\r\n0\r\n\r\n")
	if got := n.get(t, "www.shop.test", "/?a=1"); strings.Contains(string(got.Body), "evil") || strings.Contains(got.Header.Get("Cache-Status"), "; hit") {
		t.Errorf("%q, %s", got.Body, got.Header.Get("Cache-Status"))
	}
}

// An absolute-form target, whose authority counts and whose Host field does not (RFC 9112 §3.2.2).
func TestAttackAbsoluteForm(t *testing.T) {
	n, _ := handled(t, echo, "")
	for _, first := range []string{
		"GET http://www.shop.test/p HTTP/1.1\r\nHost: evil.test\r\n\r\n",
		"GET http://evil.test/p HTTP/1.1\r\nHost: www.shop.test\r\n\r\n",
		"GET http://www.shop.test/p HTTP/1.1\r\nHost: www.shop.test\r\nX-A: 1\r\n\r\n",
	} {
		edgetest.Dial(t, n.http).Do("GET", first)
		if got := n.get(t, "www.shop.test", "/p"); strings.Contains(string(got.Body), "evil") || !strings.Contains(string(got.Body), "host=www.shop.test uri=/p ") {
			t.Errorf("after %q: %q", first, got.Body)
		}
	}
}

// Spellings of the host that the backend might print.
func TestAttackHostTricks(t *testing.T) {
	n, _ := handled(t, echo, "")
	for _, host := range []string{"WWW.shop.test", "www.shop.test:1337", "www.shop.test.", "www.shop.test:evil", "www.shop.test@evil.test", "evil.test#www.shop.test", "www.shop.test evil"} {
		n.get(t, host, "/h")
		if got := n.get(t, "www.shop.test", "/h"); !strings.Contains(string(got.Body), "host=www.shop.test uri") {
			t.Errorf("after Host %q: %q", host, got.Body)
		}
	}
	edgetest.Dial(t, n.http).Do("GET", head("GET", "www.shop.test", "/two", "Host: evil.test")+"\r\n")
	if got := n.get(t, "www.shop.test", "/two"); strings.Contains(got.Header.Get("Cache-Status"), "; hit") {
		t.Errorf("after two Host fields: %q", got.Body)
	}
}

// Two spellings of a path are two keys, as they may be two pages to the backend.
func TestAttackEncodedPaths(t *testing.T) {
	n, _ := handled(t, echo, "")
	targets := []string{"/a/b", "/a%2fb", "/a/./b", "/a/../a/b", "/A/b", "/a/b/", "//a/b", "/a\\b", "/a/b?", "/a/b#evil", "/a/b%00", "/a/%62", "/a/b;x"}
	for _, target := range targets {
		n.get(t, "www.shop.test", target)
	}
	for _, target := range targets {
		got := n.get(t, "www.shop.test", target)
		if got.Status == 200 && !strings.Contains(string(got.Body), "uri="+target+" ") {
			t.Errorf("%s: %q", target, got.Body)
		}
	}
}

// What a user gets by his credentials is nobody else's, unless the answer says that it may be (RFC 9111 §3.5); and a public
// page is given to him only then.
func TestAttackAuthorization(t *testing.T) {
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		control := "max-age=60"
		if r.URL.Path == "/public" {
			control += ", public"
		}
		w.Header().Set("Cache-Control", control)
		_, _ = fmt.Fprint(w, "page of ", r.Header.Get("Authorization"))
	}, "")
	for target, hit := range map[string]bool{"/own": false, "/public": true} {
		n.get(t, "www.shop.test", target, "Authorization: Basic evil")
		got := n.get(t, "www.shop.test", target)
		if strings.Contains(got.Header.Get("Cache-Status"), "; hit") != hit || strings.Contains(string(got.Body), "evil") != hit {
			t.Errorf("%s: %q, %s", target, got.Body, got.Header.Get("Cache-Status"))
		}
	}
	if got := n.get(t, "www.shop.test", "/own", "Authorization: Basic mine"); !strings.Contains(string(got.Body), "mine") {
		t.Errorf("with credentials: %q", got.Body)
	}
}

// Fields that Connection names end here: whoever names one that is in the key, or that answers vary by, would have those who send
// it get the answer for those who do not (hop-by-hop header abuse).
func TestAttackHopByHop(t *testing.T) {
	n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept-Language, Origin")
		fmt.Fprintf(w, "%s %s %s %s", r.Header.Get("Accept-Language"), r.Header.Get("Origin"), r.Header.Get("Cookie"), r.Header.Get("X-Country"))
	}, ", key: {cookies: [lang], headers: [X-Country]}")
	fields := []string{"Accept-Language: de", "Origin: https://app.test", "Cookie: lang=de", "X-Country: DE"}
	const want = "de https://app.test lang=de DE"
	for i, listed := range []string{
		"Accept-Language", "keep-alive, accept-language", "close,ORIGIN", "cookie, x-country", "Keep-Alive,\tCookie ,close",
		"x-forwarded-for, origin", // which has a rule of its own
	} {
		target := fmt.Sprint("/", i)
		n.get(t, "www.shop.test", target, append(fields, "Connection: "+listed)...)
		if got := n.get(t, "www.shop.test", target, fields...); string(got.Body) != want {
			t.Errorf("Connection: %s: the visitor gets %q, %s", listed, got.Body, got.Header.Get("Cache-Status"))
		}
	}
	n.get(t, "www.shop.test", "/two", append(fields, "Connection: close", "Connection: origin")...)
	if got := n.get(t, "www.shop.test", "/two", fields...); string(got.Body) != want {
		t.Errorf("two Connection fields: the visitor gets %q", got.Body)
	}
}

// What a trusted proxy passes on from its clients is in no key either.
func TestAttackClaimsThroughATrustedProxy(t *testing.T) {
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(echo)})
	n := start(t, shopSite(b.URL, "cache: {enabled: true, bypass: {paths: [/own/*]}}"), func(o *Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	for i, name := range []string{
		"X-Forwarded-Host", "X-Original-URL", "X-Rewrite-URL", "X-Host", "Forwarded", "X-Forwarded-Prefix", "X-Forwarded-Port", "X-Forwarded-Server",
	} {
		target := fmt.Sprint("/", i)
		n.get(t, "www.shop.test", target, "X-Forwarded-For: 192.0.2.1", name+": evil.test")
		if got := n.get(t, "www.shop.test", target, "X-Forwarded-For: 192.0.2.2"); strings.Contains(string(got.Body), "evil") {
			t.Errorf("%s: the visitor gets %q (%s)", name, got.Body, got.Header.Get("Cache-Status"))
		}
	}
	// What nobody else gets may be as the proxy says.
	if got := n.get(t, "www.shop.test", "/own/", "X-Forwarded-Host: front.test"); !strings.Contains(string(got.Body), "X-Forwarded-Host=front.test") {
		t.Errorf("bypassed: %q", got.Body)
	}
}
