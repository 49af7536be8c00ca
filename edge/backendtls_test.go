package edge

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"gatehouse/edge/health"
	"gatehouse/internal/edgetest"
	"gatehouse/routes"
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

// What is wrong in one vhost's settings of TLS ejects the backend for those that have the same, and for nobody else. The list of
// backends says so, and a drain is for all of them.
func TestAWrongAuthorityOfOneVhostEjectsForNoOther(t *testing.T) {
	t.Parallel()
	ca, other := edgetest.NewCA(t), edgetest.NewCA(t)
	caFile, _ := ca.Write(t, t.TempDir())
	otherFile, _ := other.Write(t, t.TempDir())
	leaf := ca.Issue(t, "backend.test")
	secure := edgetest.NewBackendWith(t, edgetest.BackendOptions{
		Name: "secure", TLS: &tls.Config{Certificates: []tls.Certificate{leaf.TLS}, MinVersion: tls.VersionTLS12},
	})
	_, plain := named(t, 1)
	vhost := func(host, authority, name string) string {
		return "  " + host + ": {tenant: shop, balance: round_robin, backends: [{url: \"" + secure.URL + "\", tls: {ca: " + authority + ", server_name: " + name + "}}, " + plain + "]}\n"
	}
	n := start(t, "vhosts:\n"+vhost("right.test", caFile, "backend.test")+vhost("other.test", otherFile, "backend.test")+vhost("name.test", caFile, "app.test"))
	ejected := func(host string) time.Duration {
		left, _ := n.table.Match(host).Compiled().(*site).pool.Members()[0].State().Ejected()
		return left
	}
	for range 4 {
		for _, host := range []string{"other.test", "name.test"} { // goes to the plain one, be it as a second try
			if who := n.who(t, host, "/"); who != "a" {
				t.Fatalf("%s got an answer of %s", host, who)
			}
		}
	}
	seen := map[string]int{}
	for range 4 {
		seen[n.who(t, "right.test", "/")]++
	}
	if seen["secure"] != 2 || ejected("right.test") != 0 || ejected("other.test") == 0 || ejected("name.test") == 0 {
		t.Errorf("right.test went to %v; ejected for %v, others for %v and %v", seen, ejected("right.test"), ejected("other.test"), ejected("name.test"))
	}
	if got := n.Backends("", secure.URL); len(got) != 1 || got[0].Ejected == 0 || got[0].Why != "unreachable" || len(got[0].Vhosts) != 3 {
		t.Errorf("listed: %+v", got)
	}
	if _, unwell := n.LeftBare(health.Drain{URL: plain}); !slices.Equal(unwell, []string{"name.test", "other.test"}) {
		t.Errorf("unwell without the plain one: %v", unwell)
	}
	n.SetDrains([]health.Drain{{URL: secure.URL}})
	for range 4 {
		if who := n.who(t, "right.test", "/"); who != "a" {
			t.Error("the drained one was asked")
		}
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

// A pipe or an endless device that a document names as client certificate neither hangs a handshake nor fills the memory.
func TestClientCertificateThatIsNoFileIsAnError(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, "/dev/zero"} {
		if pair, err := new(Server).clientPair("vhost a.test", &routes.BackendTLS{ClientCert: path, ClientKey: path}); pair != nil || !errors.Is(err, routes.ErrNotRegular) {
			t.Errorf("%s: %v, %v", path, pair, err)
		}
	}
}
