package edge

import (
	"crypto/tls"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// shared is two vhosts of one tenant and one certificate, as a wildcard's or one with
// many names is.
func shared(t *testing.T, first, second string, adjust ...func(*Options)) *guarded {
	t.Helper()
	g := &guarded{backend: edgetest.NewBackend(t)}
	ca := edgetest.NewCA(t)
	leaf := ca.Issue(t, "a.shop.test", "b.shop.test")
	c := &certs{leaves: map[string]*edgetest.Leaf{"a.shop.test": leaf, "b.shop.test": leaf}}
	adjust = append(adjust, func(o *Options) { o.Certificates = c })
	g.node = start(t, g.document(pair(first, second)), adjust...)
	g.roots = ca.Pool()
	return g
}

func pair(first, second string) string {
	return "vhosts:\n  a.shop.test: {backends: [BACKEND], tenant: shop, tls: " + first + "}\n" +
		"  b.shop.test: {backends: [BACKEND], tenant: shop, tls: " + second + "}\n"
}

// The SNI of a vhost of the same tenant opens no vhost that asks for certificates, or for
// others, or by another mode.
func TestAttackMTLSByAnotherSNI(t *testing.T) {
	ca, other := edgetest.NewCA(t), edgetest.NewCA(t)
	file := caFile(t, ca)
	auth := func(mode, file, more string) string {
		return "{client_auth: {mode: " + mode + ", ca: " + file + more + "}}"
	}
	copied := caFile(t, ca)
	for _, c := range []struct {
		name, sni, host string
		shows           bool
		want            int
	}{
		{"none to required", "{}", auth("required", file, ""), true, 421},
		{"none to optional", "{}", auth("optional", file, ""), false, 421},
		{"optional to required", auth("optional", file, ""), auth("required", file, ""), false, 421},
		{"optional with a certificate to required", auth("optional", file, ""), auth("required", file, ""), true, 421},
		{"another authority's", auth("required", file, ""), auth("required", caFile(t, other), ""), true, 421},
		{"to none", auth("required", file, ""), "{}", true, 421},
		{"the same", auth("required", file, ""), auth("required", file, ""), true, 200},
		{"the same in another file", auth("required", file, ""), auth("required", copied, ""), true, 200},
		{"the same but for what the backend is told", auth("required", file, ""), auth("required", file, ", header: false"), true, 421},
	} {
		g := shared(t, c.sni, c.host)
		shows := func(*tls.Config) {}
		if c.shows {
			shows = showing(ca.Issue(t, "client"))
		}
		conn := edgetest.DialTLSConfig(t, g.https, g.client("a.shop.test", shows))
		got := conn.Do("GET", head("GET", "b.shop.test", "/")+"\r\n")
		if got.Status != c.want || got.Status == 421 && !got.Close {
			t.Errorf("%s: status %d, closes %t, want %d", c.name, got.Status, got.Close, c.want)
		}
		if c.want == 421 && len(g.backend.Requests()) != 0 {
			t.Errorf("%s: the backend got it", c.name)
		}
	}
}

// Nor is one that demands a better connection opened by the SNI of one that does not.
func TestAttackPolicyByAnotherSNI(t *testing.T) {
	cbc := func(c *tls.Config) { c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA} }
	for _, c := range []struct {
		sni, host string
		adjust    []func(*tls.Config)
		want      int
	}{
		{"{}", "{policy: modern}", []func(*tls.Config){speaking(tls.VersionTLS12)}, 421},
		{"{}", "{min_version: \"1.3\"}", []func(*tls.Config){speaking(tls.VersionTLS12)}, 421},
		{"{}", "{policy: modern}", nil, 200}, // it is what modern takes
		{"{policy: old}", "{}", []func(*tls.Config){speaking(tls.VersionTLS11)}, 421},
		{"{policy: old}", "{}", []func(*tls.Config){speaking(tls.VersionTLS12), cbc}, 421},
		{"{policy: old}", "{}", []func(*tls.Config){speaking(tls.VersionTLS12)}, 200},
		{"{policy: modern}", "{}", nil, 200},
		{"{policy: modern}", "{policy: old}", nil, 200},
	} {
		g := shared(t, c.sni, c.host)
		got := edgetest.DialTLSConfig(t, g.https, g.client("a.shop.test", c.adjust...)).Do("GET", head("GET", "b.shop.test", "/")+"\r\n")
		if got.Status != c.want {
			t.Errorf("%s to %s: status %d, want %d", c.sni, c.host, got.Status, c.want)
		}
	}
}

// Plain HTTP has no client certificates, whatever a proxy says of its own client.
func TestAttackMTLSByPlainHTTP(t *testing.T) {
	ca := edgetest.NewCA(t)
	g := guard(t, mutual(caFile(t, ca)), func(o *Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	if got := g.get(t, "must.test", "/"); got.Status != 301 || got.Header.Get("Location") != "https://must.test/" {
		t.Errorf("plain: %d %s", got.Status, got.Header.Get("Location"))
	}
	if got := g.get(t, "must.test", "/", "X-Forwarded-Proto: https", "X-SSL-Client-Verify: SUCCESS"); got.Status != 421 {
		t.Errorf("by a proxy's word: %d", got.Status)
	}
	if n := len(g.backend.Requests()); n != 0 {
		t.Errorf("the backend got %d requests", n)
	}
	if got := g.get(t, "may.test", "/", "X-SSL-Client-Verify: SUCCESS"); got.Status != 200 || g.seen(t).Header.Get("X-Ssl-Client-Verify") != "NONE" {
		t.Errorf("optional: %d, verify %q", got.Status, g.seen(t).Header.Get("X-Ssl-Client-Verify"))
	}
}

// A connection that was made before a change serves on only if it is such as would be
// made now.
func TestChangesActOnOpenConnections(t *testing.T) {
	first, second := edgetest.NewCA(t), edgetest.NewCA(t)
	file := filepath.Join(t.TempDir(), "clients.pem")
	write := func(cas ...*edgetest.CA) {
		t.Helper()
		var text []byte
		for _, ca := range cas {
			text = append(text, ca.PEM...)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first)
	site := func(fields string) string { return "vhosts:\n  a.test: {backends: [BACKEND], tls: " + fields + "}\n" }
	required, optional := "{client_auth: {mode: required, ca: "+file+"}}", "{client_auth: {mode: optional, ca: "+file+"}}"
	leaf := first.Issue(t, "client")
	for _, c := range []struct {
		name, before, after string
		cas                 []*edgetest.CA
		shows               bool
		version             uint16
		want                int
	}{
		{"required comes", "{}", required, nil, true, 0, 421},
		{"optional comes", "{}", optional, nil, true, 0, 200},
		{"optional becomes required", optional, required, nil, true, 0, 200},
		{"optional becomes required, and there is none", optional, required, nil, false, 0, 421},
		{"an authority more", required, required, []*edgetest.CA{first, second}, true, 0, 200},
		{"the authority goes", required, required, []*edgetest.CA{second}, true, 0, 421},
		{"client_auth goes", required, "{}", nil, true, 0, 200},
		{"modern comes", "{}", "{policy: modern}", nil, false, tls.VersionTLS12, 421},
		{"modern comes, and it is", "{}", "{policy: modern}", nil, false, tls.VersionTLS13, 200},
	} {
		write(first)
		g := guard(t, site(c.before))
		config := g.client("a.test")
		if c.shows {
			showing(leaf)(config)
		}
		config.MaxVersion = c.version
		conn := edgetest.DialTLSConfig(t, g.https, config)
		ask := head("GET", "a.test", "/") + "\r\n"
		if got := conn.Do("GET", ask); got.Status != 200 {
			t.Errorf("%s: before: %d", c.name, got.Status)
			continue
		}
		if len(c.cas) > 0 {
			write(c.cas...)
			g.authorities.poll(t.Context())
		} else {
			g.become(t, site(c.after))
		}
		for range 2 {
			got := conn.Do("GET", ask)
			if got.Status != c.want {
				t.Errorf("%s: after: %d, want %d", c.name, got.Status, c.want)
			}
			if got.Close {
				break
			}
		}
		if c.want == 200 && c.after == "{}" && strings.Contains(told(g.seen(t).Header), "alice") {
			t.Errorf("%s: the backend is told", c.name)
		}
	}
}
