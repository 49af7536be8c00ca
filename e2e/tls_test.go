package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// roots trusts the node's internal CA.
func (n *node) roots() *x509.CertPool {
	n.t.Helper()
	pem, err := os.ReadFile(filepath.Join(n.dir, "data/ca/ca.pem"))
	if err != nil {
		n.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool
}

// Unknown SNI gets alert 112 and no certificate, as openssl sees it.
func TestOpenSSLSeesAlert112ForAnUnknownName(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{"a.yaml": vhost("a.test", b.URL)})
	for _, args := range [][]string{{"-servername", "nobody.test"}, {"-noservername"}} {
		out := sClient(t, n.https, args...)
		if !strings.Contains(out, "alert number 112") || !strings.Contains(out, "no peer certificate available") {
			t.Errorf("%v:\n%s", args, out)
		}
	}
	ca := filepath.Join(n.dir, "data/ca/ca.pem")
	out := sClient(t, n.https, "-servername", "a.test", "-CAfile", ca, "-verify_hostname", "a.test")
	if !strings.Contains(out, "Verify return code: 0 (ok)") {
		t.Errorf("a.test:\n%s", out)
	}
}

func sClient(t *testing.T, address string, args ...string) string {
	t.Helper()
	cmd := exec.Command("openssl", append([]string{"s_client", "-connect", address}, args...)...)
	cmd.Stdin = strings.NewReader("")
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatalf("openssl: %v", err)
	}
	return string(out)
}

// A restarted node resumes the sessions that it sealed before, and a ticket of
// one site is worth nothing at another.
func TestTicketsSurviveARestartAndAreBoundToTheName(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{"a.yaml": vhost("a.test", b.URL), "b.yaml": vhost("b.test", b.URL)})
	n.within("b.test", 200)
	sessions := tls.NewLRUClientSessionCache(4)
	resumed := func(sni string) bool {
		config := &tls.Config{ServerName: sni, RootCAs: n.roots(), ClientSessionCache: oneSession{sessions}, InsecureSkipVerify: sni != "a.test"} //nolint:gosec // b.test is only asked whether it resumes
		c := edgetest.DialTLSConfig(t, n.https, config)
		c.Do("GET", "GET / HTTP/1.1\r\nHost: "+sni+"\r\n\r\n")
		return c.Conn.(*tls.Conn).ConnectionState().DidResume
	}
	if resumed("a.test") {
		t.Error("the first handshake was resumed")
	}
	if !resumed("a.test") {
		t.Error("the second handshake was not resumed")
	}
	n.stop()
	n.start()
	if !resumed("a.test") {
		t.Error("a ticket from before the restart was not taken")
	}
	if resumed("b.test") {
		t.Error("a ticket of a.test was taken for b.test")
	}
}

// oneSession offers whatever session there is to every name.
type oneSession struct{ cache tls.ClientSessionCache }

func (o oneSession) Get(string) (*tls.ClientSessionState, bool) { return o.cache.Get("any") }

func (o oneSession) Put(_ string, s *tls.ClientSessionState) { o.cache.Put("any", s) }

// A vhost's own certificate files act, and a bad pair changes nothing.
func TestCertificateFilesOfAVhost(t *testing.T) {
	t.Parallel()
	b, ca := edgetest.NewBackend(t), edgetest.NewCA(t)
	n := prepare(t, "", map[string]string{
		"a.yaml": vhost("a.test", b.URL, "tls: {certificate: {cert: a.pem, key: a.key}}"),
	})
	ca.Issue(t, "a.test").Write(t, filepath.Join(n.dir, "conf.d"), "a")
	n.start()
	edgetest.WaitFor(t, "the uploaded certificate", func() bool { return n.issuer("a.test") == ca.Cert.Subject.CommonName })
	if got := edgetest.DialTLS(t, n.https, "a.test", ca.Pool()).Do("GET", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); got.Status != 200 {
		t.Errorf("status %d", got.Status)
	}
	if got := n.get("a.test", "/x"); got.Status != 301 || !strings.HasPrefix(got.Header.Get("Location"), "https://a.test") {
		t.Errorf("plain HTTP: %d %s, want a redirect", got.Status, got.Header.Get("Location"))
	}
}

func (n *node) issuer(sni string) string {
	config := &tls.Config{ServerName: sni, InsecureSkipVerify: true} //nolint:gosec // the question is who issued it
	conn, err := tls.Dial("tcp", n.https, config)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Issuer.CommonName
}

// A name that appears in the table is ordered from the ACME issuer; until then
// the internal certificate is served.
func TestACMECertificateFromPebble(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			b := edgetest.NewBackend(t)
			n := prepare(t, "", map[string]string{"a.yaml": vhost("a.test", b.URL)})
			httpPort, tlsPort := port(t, n.http), port(t, n.https)
			if challenge == "http-01" {
				tlsPort = edgetest.FreePort(t)
			} else {
				httpPort = edgetest.FreePort(t)
			}
			pebble := edgetest.Pebble(t, httpPort, tlsPort)
			n.write("gatehouse.yaml", fmt.Sprintf("listen: {http: %q, https: %q, admin: %q}\n"+
				"certificates: {issuer: acme, acme: {directory: %q, trust: %q, email: ops@shop.test, challenge: %s}}\n",
				n.http, n.https, n.admin, pebble.DirectoryURL, pebble.TrustFile, challenge))
			n.start()
			if got := n.issuer("a.test"); got == "" {
				t.Error("no certificate while the order is under way")
			}
			edgetest.WaitFor(t, "a certificate from Pebble", func() bool { return strings.Contains(n.issuer("a.test"), "Pebble") })
			got := edgetest.DialTLS(t, n.https, "a.test", pebble.Roots(t)).Do("GET", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
			if got.Status != 200 {
				t.Errorf("status %d", got.Status)
			}
			if got := n.get("a.test", "/"); got.Status != 301 {
				t.Errorf("plain HTTP answers %d, want the redirect that `auto` makes now", got.Status)
			}
			n.stop() // the certificate survives a restart without a new order
			n.start()
			if got := n.issuer("a.test"); !strings.Contains(got, "Pebble") {
				t.Errorf("after a restart the issuer is %q", got)
			}
		})
	}
}

func port(t *testing.T, address string) int {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(p)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
