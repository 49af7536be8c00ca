package edge

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A path vhost's cookie is for its path: that of its host's vhost, of the same name, stays beside it.
func TestStickyCookiesOfPathVhosts(t *testing.T) {
	t.Parallel()
	_, own := named(t, 2)
	_, blog := named(t, 2)
	n := start(t, "vhosts:\n  www.shop.test: {tenant: shop, backends: ["+own+"], sticky: {cookie: node}}\n"+
		"  www.shop.test/blog: {tenant: shop, backends: ["+blog+"], sticky: {cookie: node}}\n")
	cookies := map[string]string{}
	for target, path := range map[string]string{"/": "Path=/;", "/blog/x": "Path=/blog;"} {
		got := n.get(t, "www.shop.test", target)
		if !strings.Contains(got.Header.Get("Set-Cookie"), path) {
			t.Errorf("%s: Set-Cookie %q, want %s", target, got.Header.Get("Set-Cookie"), path)
		}
		cookies[target], _, _ = strings.Cut(got.Header.Get("Set-Cookie"), ";")
	}
	for range 4 { // a browser sends both there, in whatever order
		if got := n.get(t, "www.shop.test", "/blog/x", "Cookie: "+cookies["/"]+"; "+cookies["/blog/x"]); got.Header.Get("Set-Cookie") != "" {
			t.Fatalf("the client was sent elsewhere: %q", got.Header.Get("Set-Cookie"))
		}
	}
}

// Edits that take the backend's cookies out of answers do not let clients go.
func TestHeaderEditsLeaveTheStickyCookie(t *testing.T) {
	t.Parallel()
	_, urls := named(t, 2)
	n := start(t, shopSite(urls, "sticky: {cookie: node}", "headers: {response: {remove: [Set-Cookie]}}"))
	if got := n.get(t, "www.shop.test", "/").Header.Values("Set-Cookie"); len(got) != 1 || !strings.HasPrefix(got[0], "node=") {
		t.Errorf("Set-Cookie %q", got)
	}
}

// The first segment is that of the path which the backend gets: else all of a path vhost would be one client's.
func TestHashOfAPathThatIsStripped(t *testing.T) {
	t.Parallel()
	_, urls := named(t, 4)
	n := start(t, "vhosts:\n  www.shop.test: {tenant: shop, backends: [http://127.0.0.1:1]}\n"+
		"  www.shop.test/api: {tenant: shop, backends: ["+urls+"], strip: true, balance: hash_path_segment}\n")
	seen := map[string]bool{}
	for i := range 40 {
		seen[n.who(t, "www.shop.test", fmt.Sprintf("/api/user%d/x", i))] = true
	}
	if len(seen) < 3 {
		t.Errorf("40 users are at %d of 4 backends", len(seen))
	}
}

// Checks of a path vhost's backends ask for its host, and speak TLS as its requests do.
func TestChecksOfAPathVhostOverTLS(t *testing.T) {
	t.Parallel()
	ca := edgetest.NewCA(t)
	file, _ := ca.Write(t, t.TempDir())
	leaf := ca.Issue(t, "backend.test")
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{TLS: &tls.Config{Certificates: []tls.Certificate{leaf.TLS}, MinVersion: tls.VersionTLS12}})
	for _, c := range []struct{ tls, says string }{
		{"{ca: " + file + ", server_name: backend.test}", ""},
		{"{ca: " + file + ", server_name: other.test}", "certificate is valid for backend.test"},
	} {
		n := start(t, "vhosts:\n  www.shop.test: {tenant: shop, backends: [http://127.0.0.1:1]}\n"+
			"  www.shop.test/api: {tenant: shop, backends: [{url: \""+b.URL+"\", tls: "+c.tls+"}], strip: true, health: {path: /healthz}}\n")
		targets := targetsOf(n.table.Vhost("www.shop.test/api"))
		if len(targets) != 1 {
			t.Fatalf("%d targets", len(targets))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := n.probeBackend(ctx, targets[0])
		cancel()
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.tls, err)
		}
	}
	if seen := b.Requests(); len(seen) != 1 || seen[0].Host != "www.shop.test" || seen[0].Target != "/healthz" {
		t.Errorf("the backend got %+v", seen)
	}
}

// A redirect takes no place, so it is given while all of its tenant's are taken.
func TestARedirectIsGivenUnderOverload(t *testing.T) {
	t.Parallel()
	b := newBusyBackend(t)
	n := start(t, shopSite(b.URL)+"  old.test: {tenant: shop, redirect: {to: \"https://www.shop.test\"}}\n", withPlaces(1, -1, time.Minute))
	n.send(t, "www.shop.test", "/")
	b.waitFor(t, 1)
	if got := n.get(t, "www.shop.test", "/"); got.Status != 503 {
		t.Errorf("status %d, want 503", got.Status)
	}
	if got := n.get(t, "old.test", "/"); got.Status != 301 {
		t.Errorf("status %d of the redirect", got.Status)
	}
}
