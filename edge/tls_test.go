package edge

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// secured starts a node with certificates for two hosts of tenant shop (one
// certificate), one more of shop (its own) and one of blog.
func secured(t *testing.T, backend string, trusted bool) (*node, *edgetest.CA) {
	t.Helper()
	ca := edgetest.NewCA(t)
	both := ca.Issue(t, "www.shop.test", "img.shop.test", "blog.test")
	c := &certs{trusted: trusted, leaves: map[string]*edgetest.Leaf{
		"www.shop.test": both, "img.shop.test": both, "own.shop.test": ca.Issue(t, "own.shop.test"),
		"blog.test": ca.Issue(t, "blog.test"),
	}, answers: map[string]string{challengePath + "token": "token.thumbprint"}}
	doc := shopSite(backend, "tls: {hsts: 180d}") +
		"  img.shop.test: {tenant: shop, backends: [" + backend + "], tls: {min_version: \"1.3\"}}\n" +
		"  own.shop.test: {tenant: shop, backends: [" + backend + "]}\n" +
		"  blog.test: {tenant: blog, backends: [" + backend + "], tls: {redirect_http: true}}\n"
	return start(t, doc, func(o *Options) { o.Certificates = c; o.PublicHTTPS = 8443 }), ca
}

func TestUnknownSNIGetsAlert112AndNoCertificate(t *testing.T) {
	n, ca := secured(t, edgetest.NewBackend(t).URL, false)
	for _, sni := range []string{"nobody.test", ""} {
		config := &tls.Config{ServerName: sni, RootCAs: ca.Pool(), InsecureSkipVerify: true} //nolint:gosec // there is nothing to verify
		_, err := tls.Dial("tcp", n.https, config)
		if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("SNI %q: %v, want alert unrecognized_name", sni, err)
		}
	}
}

func TestSNIAndHostMustAgree(t *testing.T) {
	b := edgetest.NewBackend(t)
	n, ca := secured(t, b.URL, false)
	for _, c := range []struct {
		sni, host string
		status    int
	}{
		{"www.shop.test", "www.shop.test", 200},
		{"www.shop.test", "WWW.shop.test:8443", 200},
		{"www.shop.test", "img.shop.test", 200}, // one tenant, one certificate
		{"www.shop.test", "own.shop.test", 421}, // one tenant, but a certificate that does not cover it
		{"www.shop.test", "blog.test", 421},     // covered, but another tenant's
		{"www.shop.test", "nobody.test", 404},
	} {
		got := edgetest.DialTLS(t, n.https, c.sni, ca.Pool()).Do("GET", head("GET", c.host, "/")+"\r\n")
		if got.Status != c.status {
			t.Errorf("SNI %s, Host %s: status %d, want %d", c.sni, c.host, got.Status, c.status)
		}
	}
}

func TestRedirectToHTTPS(t *testing.T) {
	n, _ := secured(t, edgetest.NewBackend(t).URL, true)
	got := n.get(t, "www.shop.test", "/a?b=c")
	if got.Status != 301 || got.Header.Get("Location") != "https://www.shop.test:8443/a?b=c" {
		t.Errorf("GET: %d %s", got.Status, got.Header.Get("Location"))
	}
	post := edgetest.Dial(t, n.http).Do("POST", head("POST", "www.shop.test", "/", "Content-Length: 1")+"\r\nx")
	if post.Status != 308 {
		t.Errorf("POST: %d", post.Status)
	}
	internal, _ := secured(t, edgetest.NewBackend(t).URL, false)
	if got := internal.get(t, "www.shop.test", "/"); got.Status != 200 {
		t.Errorf("auto with the internal CA: %d, want no redirect", got.Status)
	}
	if got := internal.get(t, "blog.test", "/"); got.Status != 301 {
		t.Errorf("redirect_http: true: %d", got.Status)
	}
}

// Behind a proxy that ends TLS, what it says of the client's scheme decides: a redirect of what
// has come by https would lead to the same place for ever. From anybody else it is not believed.
func TestForcedHTTPSDoesNotLoopBehindATrustedProxy(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	for _, trusted := range []bool{true, false} {
		n := start(t, shopSite(b.URL, "tls: {redirect_http: true}"), func(o *Options) {
			if trusted {
				o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
		})
		for proto, redirected := range map[string]bool{"https": !trusted, "HTTPS": !trusted, "http": true, "": true, "ftp": true} {
			got := n.get(t, "www.shop.test", "/a?b", "X-Forwarded-Proto: "+proto)
			if redirected != (got.Status == 301 && got.Header.Get("Location") == "https://www.shop.test/a?b") || !redirected && got.Status != 200 {
				t.Errorf("trusted %v, X-Forwarded-Proto %q: %d %q", trusted, proto, got.Status, got.Header.Get("Location"))
			}
			if !redirected && edgetest.ParseSeen(t, got.Body).Header.Get("X-Forwarded-Proto") != "https" {
				t.Errorf("%q: the backend is told of another scheme", proto)
			}
		}
	}
}

func TestACMEChallengeIsAnsweredBeforeTheRedirect(t *testing.T) {
	n, _ := secured(t, edgetest.NewBackend(t).URL, true)
	got := n.get(t, "www.shop.test", challengePath+"token")
	if got.Status != 200 || string(got.Body) != "token.thumbprint" {
		t.Errorf("%d %q", got.Status, got.Body)
	}
	if got := n.get(t, "www.shop.test", challengePath+"other"); got.Status != 301 {
		t.Errorf("an unknown token: %d, want the site's own answer", got.Status)
	}
}

func TestMinVersionAndHSTSPerVhost(t *testing.T) {
	n, ca := secured(t, edgetest.NewBackend(t).URL, false)
	old := &tls.Config{RootCAs: ca.Pool(), MaxVersion: tls.VersionTLS12}
	old.ServerName = "img.shop.test"
	if c, err := tls.Dial("tcp", n.https, old); err == nil {
		c.Close()
		t.Error("a vhost with min_version 1.3 took TLS 1.2")
	}
	old.ServerName = "www.shop.test"
	got := edgetest.DialTLSConfig(t, n.https, old).Do("GET", head("GET", "www.shop.test", "/")+"\r\n")
	if got.Header.Get("Strict-Transport-Security") != "max-age=15552000" {
		t.Errorf("HSTS %q", got.Header.Get("Strict-Transport-Security"))
	}
}
