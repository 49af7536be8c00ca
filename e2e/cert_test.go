package e2e

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/edgetest"
)

// hook is a webhook that keeps what it is sent.
type hook struct {
	*httptest.Server
	mu   sync.Mutex
	sent []map[string]string
}

func newHook(t *testing.T) *hook {
	h := &hook{}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var event map[string]string
		if err := json.Unmarshal(body, &event); err != nil {
			t.Errorf("the webhook got %q: %v", body, err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.sent = append(h.sent, event)
	}))
	t.Cleanup(h.Close)
	return h
}

// has reports whether an event of a name was sent, with that text in its error.
func (h *hook) has(event, name, text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.sent {
		if e["event"] == event && e["name"] == name && e["node"] == "n1" && strings.Contains(e["error"], text) {
			return true
		}
	}
	return false
}

// What the operator sees and does about certificates: the list with a problem in plain words, an order that fails and one that works
// again, the metrics and the webhook.
func TestCertificatesAreListedRenewedAndTold(t *testing.T) {
	t.Parallel()
	b, ca, told := edgetest.NewBackend(t), edgetest.NewCA(t), newHook(t)
	n := prepare(t, "", map[string]string{
		"a.yaml":   vhost("a.test", b.URL),
		"one.yaml": vhost("intranet", b.URL),
		"f.yaml":   vhost("f.test", b.URL, "tls: {certificate: {cert: f.pem, key: f.key}}"),
	})
	ca.Issue(t, "f.test").Write(t, filepath.Join(n.dir, "conf.d"), "f")
	pebble := edgetest.Pebble(t, port(t, n.http), port(t, n.https))
	n.write("gatehouse.yaml", fmt.Sprintf("node: n1\nlisten: {http: %q, https: %q, admin: %q}\n"+
		"certificates: {issuer: acme, webhook: %q, acme: {directory: %q, trust: %q}}\n",
		n.http, n.https, n.admin, told.URL+"/hunter2", pebble.DirectoryURL, pebble.TrustFile))
	roots := filepath.Join(n.dir, "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: told.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	n.environ = append(n.environ, "SSL_CERT_FILE="+roots)
	n.start()
	edgetest.WaitFor(t, "a certificate from Pebble", func() bool { return strings.Contains(n.issuer("a.test"), "Pebble") })
	edgetest.WaitFor(t, "the name of one label to be refused", func() bool {
		return strings.Contains(n.must("cert", "list", "intranet"), "no issuer certifies intranet, a name without a dot")
	})
	out := n.must("cert", "list")
	for _, line := range strings.Split(strings.TrimSpace(out), "\n")[1:] {
		for name, source := range map[string]string{"a.test": " acme ", "f.test": " file ", "intranet": " internal "} {
			if strings.HasPrefix(line, name+" ") && !strings.Contains(line, source) {
				t.Errorf("%s is not%sin %q", name, source, line)
			}
		}
	}
	if out := n.must("cert", "list", "--issuer", "pebble", "-o", "csv"); strings.Count(out, "\n") != 2 || !strings.Contains(out, "\na.test,Pebble") {
		t.Errorf("the issuer's list is\n%s", out)
	}

	before := n.must("cert", "list", "a.test", "-o", "json")
	if out := n.must("cert", "renew", "a.test", "--wait", "25s"); !strings.Contains(out, "a.test: served, by Pebble") {
		t.Errorf("renew says %q", out)
	}
	if after := n.must("cert", "list", "a.test", "-o", "json"); fingerprint(t, after) == fingerprint(t, before) {
		t.Error("the certificate is the same")
	}
	edgetest.WaitFor(t, "the webhook to be told of it", func() bool { return told.has("renewed", "a.test", "") })
	if out, code := n.run("cert", "renew", "f.test"); code != 1 || !strings.Contains(out, "replace the file instead") {
		t.Errorf("renew of a file: exit %d, %q", code, out)
	}

	resp, err := http.Get("http://" + n.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, _ := io.ReadAll(resp.Body)
	for _, want := range []string{
		"\ngatehouse_certificates_failing 1\n", `gatehouse_certificate_expiry_seconds{source="acme"} 1`, `gatehouse_certificate_expiry_seconds{source="file"} 1`,
		`gatehouse_certificates_expiring{within="7d"} `, "gatehouse_webhook_events_total{result=\"failed\"} 0",
	} {
		if !strings.Contains(string(metrics), want) {
			t.Errorf("the metrics lack %q", want)
		}
	}

	// A vhost whose hosts share one certificate.
	n.write("conf.d/set.yaml", vhost("set.test", b.URL, "aliases: [www.set.test]", "tls: {one_certificate: true}"))
	edgetest.WaitFor(t, "a certificate from Pebble", func() bool { return strings.Contains(n.issuer("www.set.test"), "Pebble") })
	if out := n.must("cert", "renew", "www.set.test", "--wait", "25s"); !strings.Contains(out, "www.set.test: served, by Pebble") {
		t.Errorf("renew says %q", out)
	}
	one, other := n.must("cert", "list", "set.test", "-o", "json"), n.must("cert", "list", "www.set.test", "-o", "json")
	if fingerprint(t, one) != fingerprint(t, other) || !strings.Contains(other, `"set": "set.test"`) {
		t.Errorf("they share no certificate: %s %s", one, other)
	}

	// Pebble asks at the ports of the first listeners: a node without them cannot be reached, and what that means is said.
	n.stop()
	n.http = fmt.Sprintf("127.0.0.1:%d", edgetest.FreePort(t))
	n.https = fmt.Sprintf("127.0.0.1:%d", edgetest.FreePort(t))
	n.environ = append(n.environ, "GATEHOUSE_LISTEN_HTTP="+n.http, "GATEHOUSE_LISTEN_HTTPS="+n.https)
	n.start()
	out, code := n.run("cert", "renew", "a.test", "--wait", "25s")
	if code != 1 || !strings.Contains(out, "a.test: the order failed: the issuer cannot reach http://a.test/: does its DNS lead here, is port 80 open?") {
		t.Errorf("renew without a way: exit %d, %q", code, out)
	}
	edgetest.WaitFor(t, "the webhook to be told of the failure", func() bool { return told.has("failed", "a.test", "is port 80 open?") })

	ca.Issue(t, "a.test").Write(t, n.dir, "mine")
	ca.Issue(t, "other.test").Write(t, n.dir, "other")
	if out, code := n.run("cert", "import", "--cert", "mine.pem", "--key", "other.key"); code != 1 || !strings.Contains(out, "key does not match") {
		t.Errorf("import of a wrong key: exit %d, %q", code, out)
	}
	if out, code := n.run("cert", "import", "--cert", "other.pem", "--key", "other.key", "a.test"); code != 1 || !strings.Contains(out, "does not cover a.test") {
		t.Errorf("import for another name: exit %d, %q", code, out)
	}
	if out := n.must("cert", "import", "--cert", "mine.pem", "--key", "mine.key"); !strings.Contains(out, "imported for a.test\n") {
		t.Errorf("import says %q", out)
	}
	if out := n.must("cert", "list", "a.test"); !strings.Contains(out, " imported ") || n.issuer("a.test") != ca.Cert.Subject.CommonName {
		t.Errorf("after the import %s is served, and the list is\n%s", n.issuer("a.test"), out)
	}
	if out, code := n.run("cert", "renew", "a.test"); code != 1 || !strings.Contains(out, "import its successor") {
		t.Errorf("renew of an imported one: exit %d, %q", code, out)
	}
	n.must("cert", "remove", "a.test")
	if got := n.issuer("a.test"); !strings.Contains(got, "Pebble") {
		t.Errorf("after the removal %s is served", got)
	}
	if strings.Contains(n.stderr.String(), "hunter2") {
		t.Error("the webhook's URL is in the log")
	}
}

func fingerprint(t *testing.T, list string) string {
	t.Helper()
	var l struct {
		Certificates []struct{ Fingerprint string }
	}
	if err := json.Unmarshal([]byte(list), &l); err != nil || len(l.Certificates) != 1 || len(l.Certificates[0].Fingerprint) != 64 {
		t.Fatalf("%v: %s", err, list)
	}
	return l.Certificates[0].Fingerprint
}
