package e2e

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// shake makes a connection as the client with a certificate and says whether it stood,
// and whether a session was resumed.
func (n *node) shake(sni string, leaf *edgetest.Leaf, sessions tls.ClientSessionCache) (stood, resumed bool) {
	n.t.Helper()
	config := &tls.Config{ServerName: sni, RootCAs: n.roots(), ClientSessionCache: sessions}
	if leaf != nil {
		config.Certificates = []tls.Certificate{leaf.TLS}
	}
	conn, err := tls.Dial("tcp", n.https, config)
	if err != nil {
		return false, false
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: " + sni + "\r\nConnection: close\r\n\r\n")); err != nil {
		return false, false
	}
	answer := make([]byte, len("HTTP/1.1 200"))
	_, err = conn.Read(answer)
	return err == nil && string(answer) == "HTTP/1.1 200", conn.ConnectionState().DidResume
}

// Who may come in follows the file of authorities and the documents while the node runs,
// sessions of before included, and what the backend is told follows the certificate.
func TestClientCertificatesFollowFilesAndDocuments(t *testing.T) {
	t.Parallel()
	b, first, second := edgetest.NewBackend(t), edgetest.NewCA(t), edgetest.NewCA(t)
	site := func(tenant string) string {
		return vhost("a.test", b.URL, "tenant: "+tenant, "tls: {client_auth: {mode: required, ca: clients.pem}}")
	}
	n := prepare(t, "", map[string]string{"a.yaml": site("one")})
	file := filepath.Join(n.dir, "conf.d", "clients.pem")
	if err := os.WriteFile(file, first.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	alice, sessions := first.Issue(t, "alice"), tls.NewLRUClientSessionCache(4)
	edgetest.WaitFor(t, "alice to come in", func() bool { stood, _ := n.shake("a.test", alice, sessions); return stood })
	if got := b.Requests(); got[len(got)-1].Header.Get("X-Ssl-Client-Dn") != "CN=alice" {
		t.Errorf("the backend is told %v", got[len(got)-1].Header)
	}
	if stood, _ := n.shake("a.test", nil, nil); stood {
		t.Error("a client without a certificate came in")
	}
	if stood, resumed := n.shake("a.test", alice, sessions); !stood || !resumed {
		t.Error("the session is not resumed")
	}
	n.write("conf.d/a.yaml", site("two"))
	edgetest.WaitFor(t, "the tenant to change", func() bool { _, resumed := n.shake("a.test", alice, sessions); return !resumed })
	if err := os.WriteFile(file, second.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	edgetest.WaitFor(t, "alice's authority to be out", func() bool { stood, _ := n.shake("a.test", alice, sessions); return !stood })
	if stood, _ := n.shake("a.test", second.Issue(t, "bob"), nil); !stood {
		t.Error("bob is not in")
	}
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	edgetest.WaitFor(t, "vhost list to show it", func() bool {
		return strings.Contains(n.must("vhost", "list"), "tls.client_auth.ca: the last good ones are in use: it holds no PEM certificate")
	})
	if stood, _ := n.shake("a.test", second.Issue(t, "bob"), nil); !stood {
		t.Error("a bad file shut bob out")
	}
}

func TestPolicyIsAsOpenSSLSeesIt(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{
		"a.yaml": vhost("old.test", b.URL, "tls: {policy: old}"), "b.yaml": vhost("usual.test", b.URL), "c.yaml": vhost("modern.test", b.URL, "tls: {policy: modern}"),
	})
	n.within("modern.test", 200)
	for _, c := range []struct {
		host, version string
		ok            bool
	}{
		{"old.test", "-tls1", true},
		{"old.test", "-tls1_1", true},
		{"old.test", "-tls1_3", true},
		{"usual.test", "-tls1_1", false},
		{"usual.test", "-tls1_2", true},
		{"usual.test", "-tls1_3", true},
		{"modern.test", "-tls1_2", false},
		{"modern.test", "-tls1_3", true},
	} {
		out := sClient(t, n.https, "-servername", c.host, c.version, "-cipher", "ALL:@SECLEVEL=0")
		if ok := strings.Contains(out, "\nNew, TLSv1"); ok != c.ok {
			t.Errorf("%s %s: %s", c.host, c.version, out)
		}
	}
}

func TestHandshakesOfOneAddressAreBounded(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "limits: {handshakes_per_ip: 1}\n", map[string]string{"a.yaml": vhost("a.test", b.URL)})
	edgetest.WaitFor(t, "a handshake to be refused", func() bool { stood, _ := n.shake("a.test", nil, nil); return !stood })
	edgetest.WaitFor(t, "one to be let in again", func() bool { stood, _ := n.shake("a.test", nil, nil); return stood })
	if got := n.status("a.test", "/"); got != 200 {
		t.Errorf("plain HTTP: %d", got)
	}
}
