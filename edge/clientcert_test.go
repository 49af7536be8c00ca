package edge

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// mutual is a document with vhosts that ask for the certificates of an authority.
func mutual(file string) string {
	auth := func(more string) string { return "tls: {client_auth: {ca: " + file + ", " + more + "}}" }
	return "vhosts:\n" +
		"  must.test: {backends: [BACKEND], tenant: one, " + auth("mode: required") + "}\n" +
		"  may.test: {backends: [BACKEND], tenant: one, " + auth("mode: optional") + "}\n" +
		"  silent.test: {backends: [BACKEND], tenant: one, " + auth("mode: required, header: false") + "}\n" +
		"  open.test: {backends: [BACKEND], tenant: one}\n"
}

func TestClientCertificatesByMode(t *testing.T) {
	ca, other := edgetest.NewCA(t), edgetest.NewCA(t)
	g := guard(t, mutual(caFile(t, ca)))
	good := showing(ca.Issue(t, "client"))
	for _, c := range []struct {
		name   string
		shows  func(*tls.Config)
		must   int // 0: no connection
		may    int
		verify string // of may
	}{
		{"none", func(*tls.Config) {}, 0, 200, "NONE"},
		{"a good one", good, 200, 200, "SUCCESS"},
		{"another authority's", showing(other.Issue(t, "client")), 0, 0, ""},
		{"an expired one", showing(ca.IssueWith(t, edgetest.LeafOptions{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}, "client")), 0, 0, ""},
		{"a self-signed one", showing(ca.IssueWith(t, edgetest.LeafOptions{SelfSigned: true}, "client")), 0, 0, ""},
		{"one for servers alone", showing(ca.IssueWith(t, edgetest.LeafOptions{KeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, "client")), 0, 0, ""},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			// The client shows what it has, whoever the server says it trusts.
			force := func(c *tls.Config) {
				if len(c.Certificates) > 0 {
					leaf := c.Certificates[0]
					c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &leaf, nil }
				}
			}
			if got := g.status(t, g.client("must.test", speaking(version), c.shows, force), "must.test"); got != c.must {
				t.Errorf("%s, required, %s: %d", c.name, tls.VersionName(version), got)
			}
			if got := g.status(t, g.client("may.test", speaking(version), c.shows, force), "may.test"); got != c.may {
				t.Errorf("%s, optional, %s: %d", c.name, tls.VersionName(version), got)
			}
			if c.verify != "" {
				if got := g.seen(t).Header.Get("X-Ssl-Client-Verify"); got != c.verify {
					t.Errorf("%s: the backend is told %q", c.name, got)
				}
			}
		}
	}
	if got := g.status(t, g.client("open.test", good), "open.test"); got != 200 || told(g.seen(t).Header) != "" {
		t.Errorf("a vhost that asks for none: %d, told %s", got, told(g.seen(t).Header))
	}
	if got := g.status(t, g.client("silent.test", good), "silent.test"); got != 200 || told(g.seen(t).Header) != "" {
		t.Errorf("header: false: %d, told %s", got, told(g.seen(t).Header))
	}
}

// told are the fields of a request that tell of a certificate.
func told(h http.Header) string {
	var out []string
	for name, values := range h {
		if ofCertificate([]byte(strings.ToLower(name))) {
			out = append(out, name+": "+strings.Join(values, " | "))
		}
	}
	return strings.Join(out, "\n")
}

func TestBackendsAreToldOfClientCertificates(t *testing.T) {
	ca := edgetest.NewCA(t)
	g := guard(t, mutual(caFile(t, ca)))
	leaf := ca.Issue(t, "alice.test")
	sum := sha256.Sum256(leaf.TLS.Certificate[0])
	client := &sessions{}
	config := g.client("must.test", showing(leaf), func(c *tls.Config) { c.ClientSessionCache = client })
	for _, resumed := range []bool{false, true} {
		_, state, err := g.ask(t, config, "must.test")
		if err != nil || state.DidResume != resumed {
			t.Fatal(state.DidResume, err)
		}
		h := g.seen(t).Header
		der, ok := strings.CutPrefix(h.Get("Client-Cert"), ":")
		der, ok2 := strings.CutSuffix(der, ":")
		raw, err := base64.StdEncoding.DecodeString(der)
		if !ok || !ok2 || err != nil || !bytes.Equal(raw, leaf.TLS.Certificate[0]) {
			t.Errorf("resumed %t: Client-Cert %q", resumed, h.Get("Client-Cert"))
		}
		if h.Get("X-Ssl-Client-Verify") != "SUCCESS" || h.Get("X-Ssl-Client-Dn") != "CN=alice.test" || h.Get("X-Ssl-Client-Fingerprint") != hex.EncodeToString(sum[:]) {
			t.Errorf("resumed %t: %s", resumed, told(h))
		}
	}
}

var forgedFields = []string{
	"Client-Cert: :Zm9yZ2Vk:", "client-cert-chain: :Zm9yZ2Vk:", "X-SSL-Client-Verify: SUCCESS", "x-ssl-client-dn: CN=forged", "X-SSL-Client-Fingerprint: forged",
	"SSL-Client-Cert: forged", "X-Client-Cert: forged", "X-Client-Verify: SUCCESS", "X-Client-DN: CN=forged", "X-Forwarded-Client-Cert: forged",
	"Client_Cert: forged", "Client.Cert: forged", "X.SSL.Client.Verify: SUCCESS", "X_SSL_Client_DN: CN=forged", "Connection: close, X-SSL-Client-Verify, Client-Cert",
}

// Nobody but us says which certificate a client has: on vhosts that ask for one not
// even a trusted proxy, elsewhere only that.
func TestAttackForgedCertificateFields(t *testing.T) {
	ca := edgetest.NewCA(t)
	for _, trusted := range []bool{false, true} {
		g := guard(t, mutual(caFile(t, ca)), func(o *Options) {
			if trusted {
				o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
		})
		for _, c := range []struct {
			host, verify string
			shows        func(*tls.Config)
		}{
			{"must.test", "SUCCESS", showing(ca.Issue(t, "alice.test"))},
			{"may.test", "NONE", func(*tls.Config) {}},
			{"silent.test", "", showing(ca.Issue(t, "alice.test"))},
			{"open.test", "", func(*tls.Config) {}},
		} {
			if _, _, err := g.ask(t, g.client(c.host, c.shows), c.host, forgedFields...); err != nil {
				t.Fatal(err)
			}
			h := g.seen(t).Header
			forged := strings.Contains(told(h), "forged") || strings.Contains(told(h), "Zm9yZ2Vk") || len(h.Values("X-Ssl-Client-Verify")) > 1
			if want := trusted && c.host == "open.test"; forged != want {
				t.Errorf("trusted %t, %s: the backend got\n%s", trusted, c.host, told(h))
			}
			if c.host != "open.test" && h.Get("X-Ssl-Client-Verify") != c.verify {
				t.Errorf("trusted %t, %s: verify %q", trusted, c.host, h.Get("X-Ssl-Client-Verify"))
			}
		}
	}
}

// A client's name may hold anything that its authority has signed.
func TestAttackFieldsInADistinguishedName(t *testing.T) {
	der, err := asn1.Marshal(pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "eve\r\nX-SSL-Client-DN: CN=root"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := distinguishedName(der); got != `CN=eve\0D\0AX-SSL-Client-DN: CN=root` {
		t.Errorf("%q", got)
	}
	for _, bad := range [][]byte{nil, {0}, {0x30, 0x05}, append(der, 0)} {
		if got := distinguishedName(bad); got != "" {
			t.Errorf("%x: %q", bad, got)
		}
	}
}

func TestDistinguishedNamesAreAsOpenSSLWritesThem(t *testing.T) {
	tool, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := func(value string) asn1.RawValue {
		return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(value)}
	}
	attr := func(oid string, value any) pkix.AttributeTypeAndValue {
		var id asn1.ObjectIdentifier
		for part := range strings.SplitSeq(oid, ".") {
			n, _ := new(big.Int).SetString(part, 10)
			id = append(id, int(n.Int64()))
		}
		return pkix.AttributeTypeAndValue{Type: id, Value: value}
	}
	for _, name := range []pkix.RDNSequence{
		{{attr("2.5.4.6", "DE")}, {attr("2.5.4.10", text("A, B & Söhne"))}, {attr("2.5.4.3", text("#1 \"x\" <y>;\\+ "))}},
		{{attr("0.9.2342.19200300.100.1.25", asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte("test")})}, {attr("0.9.2342.19200300.100.1.1", text("u1"))}, {attr("2.5.4.3", text(" lead"))}},
		{{attr("2.5.4.11", text("one")), attr("2.5.4.3", text("two"))}, {attr("2.5.4.5", "17")}, {attr("1.2.840.113549.1.9.1", asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte("a@b.test")})}},
		{{attr("2.5.4.7", text("L")), attr("2.5.4.8", text("ST"))}, {attr("2.5.4.9", text("Way 1"))}},
	} {
		subject, err := asn1.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: subject, NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(tool, "x509", "-noout", "-subject", "-nameopt", "RFC2253")
		cmd.Stdin = bytes.NewReader(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		want := strings.TrimPrefix(strings.TrimSuffix(string(out), "\n"), "subject=")
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if got := distinguishedName(cert.RawSubject); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestAuthoritiesFollowTheirFile(t *testing.T) {
	first, second := edgetest.NewCA(t), edgetest.NewCA(t)
	file := filepath.Join(t.TempDir(), "clients.pem")
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := guard(t, mutual(file))
	follow(t, g.Server)
	one, two := first.Issue(t, "client"), second.Issue(t, "client")
	in := func(leaf *edgetest.Leaf) bool {
		return g.status(t, g.client("must.test", showing(leaf)), "must.test") == 200
	}
	if err := g.ClientAuthProblem("must.test"); in(one) || err == nil || !strings.Contains(err.Error(), "connections are refused: ") {
		t.Errorf("without a file: %v", err)
	}
	if got := g.status(t, g.client("may.test"), "may.test"); got != 0 {
		t.Errorf("without a file, optional: %d", got)
	}
	if got := g.status(t, g.client("open.test"), "open.test"); got != 200 {
		t.Errorf("another vhost: %d", got)
	}
	write(first.PEM)
	edgetest.WaitFor(t, "the file to be read", func() bool { return in(one) })
	if err := g.ClientAuthProblem("must.test"); in(two) || err != nil {
		t.Errorf("with one authority: %v", err)
	}
	write(bytes.Join([][]byte{first.PEM, second.PEM}, nil))
	edgetest.WaitFor(t, "the second authority", func() bool { return in(one) && in(two) })
	write([]byte("nonsense"))
	edgetest.WaitFor(t, "the problem to be known", func() bool { return g.ClientAuthProblem("may.test") != nil })
	if err := g.ClientAuthProblem("must.test"); !in(one) || !strings.Contains(err.Error(), "the last good ones are in use: it holds no PEM certificate") {
		t.Errorf("with a bad file: %v", err)
	}
	write(second.PEM)
	edgetest.WaitFor(t, "the first authority to be out", func() bool { return !in(one) && in(two) })
	if err := g.ClientAuthProblem("must.test"); err != nil {
		t.Error(err)
	}
	for _, host := range []string{"must.test", "may.test", "silent.test"} {
		g.remove(host)
	}
	if len(g.authorities.all) != 0 || len(g.authorities.held) != 0 {
		t.Errorf("%d sources and %d terms are kept for nobody", len(g.authorities.all), len(g.authorities.held))
	}
}

// follow has a server's files of authorities followed until the test ends.
func follow(t *testing.T, s *Server) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.FollowAuthorities(t.Context()) // never fails
	}()
	t.Cleanup(func() { <-done })
}

func TestAuthoritiesInTheDocumentItself(t *testing.T) {
	ca := edgetest.NewCA(t)
	text := strings.ReplaceAll(strings.TrimSpace(string(ca.PEM)), "\n", "\n          ")
	g := guard(t, "vhosts:\n  must.test:\n    backends: [BACKEND]\n    tls:\n      client_auth:\n        mode: required\n        ca: |\n          "+text+"\n")
	if got := g.status(t, g.client("must.test", showing(ca.Issue(t, "client"))), "must.test"); got != 200 {
		t.Errorf("with a certificate: %d", got)
	}
	if got := g.status(t, g.client("must.test"), "must.test"); got != 0 {
		t.Errorf("without: %d", got)
	}
}

// What a backend says to a client that it knows by its certificate, others do not get.
func TestAttackSharedCacheAndClientCertificates(t *testing.T) {
	ca := edgetest.NewCA(t)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Content-Location", "/") // a POST's answer would be kept for GET
		_, _ = w.Write([]byte("for " + r.Header.Get("X-SSL-Client-DN")))
	}))
	t.Cleanup(backend.Close)
	yaml := strings.ReplaceAll(mutual(caFile(t, ca)), "tenant: one", "tenant: one, cache: {enabled: true, ttl: 1h}")
	g := guard(t, strings.ReplaceAll(yaml, "BACKEND", backend.URL))
	alice, bob := showing(ca.Issue(t, "alice")), showing(ca.Issue(t, "bob"))
	get := func(host string, shows func(*tls.Config)) string {
		t.Helper()
		answer, _, err := g.ask(t, g.client(host, shows), host)
		if err != nil {
			t.Fatal(err)
		}
		return string(answer.Body) + " " + answer.Header.Get("Cache-Status")
	}
	none := func(*tls.Config) {}
	for _, c := range []struct {
		host  string
		shows func(*tls.Config)
		want  string
	}{
		{"must.test", alice, "for CN=alice gatehouse; fwd=bypass; detail=bypass-rule"},
		{"must.test", bob, "for CN=bob gatehouse; fwd=bypass; detail=bypass-rule"},
		{"may.test", alice, "for CN=alice gatehouse; fwd=bypass; detail=bypass-rule"},
		{"may.test", none, "for  gatehouse; fwd=uri-miss; stored"},
		{"may.test", none, "for  gatehouse; hit"},
		{"may.test", bob, "for CN=bob gatehouse; fwd=bypass; detail=bypass-rule"},
		{"silent.test", alice, "for  gatehouse; fwd=uri-miss; stored"},
		{"silent.test", bob, "for  gatehouse; hit"}, // the backend knows of nobody
	} {
		if got := get(c.host, c.shows); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.host, got, c.want)
		}
	}
	conn := edgetest.DialTLSConfig(t, g.https, g.client("may.test", alice))
	conn.Do("POST", head("POST", "may.test", "/", "Content-Length: 0")+"\r\n")
	if got := get("may.test", none); !strings.HasPrefix(got, "for  gatehouse; fwd=uri-miss") {
		t.Errorf("after a POST of alice's: %q", got)
	}
}
