package edge

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"gatehouse/internal/edgetest"
)

// https backends are verified, by the system's roots or by `ca`, under `server_name`; what is on this side is a
// client certificate, if they ask for one.
func TestBackendsOverTLS(t *testing.T) {
	t.Parallel()
	ca, other, dir := edgetest.NewCA(t), edgetest.NewCA(t), t.TempDir()
	caFile, _ := ca.Write(t, dir)
	otherFile, _ := other.Write(t, t.TempDir())
	leaf, mine := ca.Issue(t, "backend.test"), ca.Issue(t, "gatehouse.test")
	certFile, keyFile := mine.Write(t, dir, "mine")
	plain := edgetest.NewBackendWith(t, edgetest.BackendOptions{TLS: &tls.Config{Certificates: []tls.Certificate{leaf.TLS}, MinVersion: tls.VersionTLS12}})
	asking := edgetest.NewBackendWith(t, edgetest.BackendOptions{TLS: &tls.Config{
		Certificates: []tls.Certificate{leaf.TLS}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	}})
	for name, c := range map[string]struct {
		backend *edgetest.Backend
		tls     string
		status  int
	}{
		"system's roots":              {plain, "", 502},
		"own authority":               {plain, "ca: " + caFile + ", server_name: backend.test", 200},
		"another authority":           {plain, "ca: " + otherFile + ", server_name: backend.test", 502},
		"no file":                     {plain, "ca: " + filepath.Join(dir, "none.pem") + ", server_name: backend.test", 502},
		"name of the URL, an address": {plain, "ca: " + caFile, 502},
		"another name":                {plain, "ca: " + caFile + ", server_name: other.test", 502},
		"any certificate":             {plain, "verify: false", 200},
		"client certificate":          {asking, "ca: " + caFile + ", server_name: backend.test, client_cert: " + certFile + ", client_key: " + keyFile, 200},
		"none where one is due":       {asking, "ca: " + caFile + ", server_name: backend.test", 502},
	} {
		n := start(t, "vhosts:\n  a.test: {backends: [{url: \""+c.backend.URL+"\", tls: {"+c.tls+"}}]}\n")
		if got := n.get(t, "a.test", "/"); got.Status != c.status {
			t.Errorf("%s: %d, want %d", name, got.Status, c.status)
		}
	}
}

// Connections are shared by vhosts of a tenant that verify alike, and by nobody else: what one of them does not check
// must not carry the requests of one that does.
func TestBackendConnectionsAreSharedBySettingsOfTLS(t *testing.T) {
	t.Parallel()
	ca := edgetest.NewCA(t)
	leaf := ca.Issue(t, "backend.test")
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{TLS: &tls.Config{Certificates: []tls.Certificate{leaf.TLS}, MinVersion: tls.VersionTLS12}})
	site := func(host, settings string) string {
		return "  " + host + ": {tenant: shop, backends: [{url: \"" + b.URL + "\", tls: {" + settings + "}}]}\n"
	}
	n := start(t, "vhosts:\n"+site("a.test", "verify: false")+site("b.test", "verify: false")+site("c.test", "verify: true"))
	for _, c := range []struct {
		host   string
		status int
	}{{"a.test", 200}, {"b.test", 200}, {"c.test", 502}} { // with an idle connection of the others
		if got := n.get(t, c.host, "/"); got.Status != c.status {
			t.Errorf("%s: %d, want %d", c.host, got.Status, c.status)
		}
	}
	if accepted, _ := b.Connections(); accepted > 2 { // one that is used, one that is refused
		t.Errorf("%d connections: two vhosts with the same settings share none", accepted)
	}
}

// What is shown to a backend is what the files hold at each new connection: no session of an earlier one stands in for it.
func TestRenewedOrRemovedClientCertificateActsOnTheNextConnection(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca, dir := edgetest.NewCA(t), t.TempDir()
			caFile, _ := ca.Write(t, dir)
			certFile, keyFile := ca.Issue(t, "first.test").Write(t, dir, "mine")
			shown := make(chan *x509.Certificate, 1)
			b := edgetest.NewBackendWith(t, edgetest.BackendOptions{
				TLS: &tls.Config{
					Certificates: []tls.Certificate{ca.Issue(t, "backend.test").TLS}, MinVersion: version, MaxVersion: version,
					ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
				},
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					shown <- r.TLS.PeerCertificates[0]
					w.Header().Set("Connection", "close") // each request has a connection of its own
				}),
			})
			n := start(t, "vhosts:\n  a.test: {backends: [{url: \""+b.URL+"\", tls: {server_name: backend.test, ca: "+caFile+", client_cert: "+certFile+", client_key: "+keyFile+"}}]}\n")
			wants := func(host string) {
				t.Helper()
				if got := n.get(t, "a.test", "/"); got.Status != 200 {
					t.Fatalf("with the certificate of %s: %d", host, got.Status)
				}
				if err := (<-shown).VerifyHostname(host); err != nil {
					t.Error(err)
				}
			}
			wants("first.test")
			ca.Issue(t, "renewed.test").Write(t, dir, "mine")
			wants("renewed.test")
			if err := os.Remove(keyFile); err != nil {
				t.Fatal(err)
			}
			if got := n.get(t, "a.test", "/"); got.Status != 502 {
				t.Errorf("without its key: %d, want 502", got.Status)
			}
		})
	}
}
