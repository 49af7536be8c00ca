package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/acme"
	"gatehouse/internal/edgetest"
)

// A guarded is a node whose certificates and tickets are those of package acme, as in
// the program.
type guarded struct {
	*node
	manager *acme.Manager
	metrics *prometheus.Registry
	roots   *x509.CertPool
	backend *edgetest.Backend
}

// guard serves yaml, in which BACKEND stands for a backend's URL.
func guard(t testing.TB, yaml string, adjust ...func(*Options)) *guarded {
	t.Helper()
	g := &guarded{metrics: prometheus.NewRegistry(), backend: edgetest.NewBackend(t)}
	var server *Server
	var err error
	g.manager, err = acme.New(acme.Options{
		Data:    t.TempDir(),
		Known:   func(host string) bool { return server.Table().Match(host) != nil },
		Binding: func(dst []byte, name string) []byte { return server.AppendBinding(dst, name) },
	})
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(g.manager.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	g.roots = x509.NewCertPool()
	g.roots.AppendCertsFromPEM(pem)
	adjust = append(adjust, func(o *Options) { o.Certificates, o.Registerer = g.manager, g.metrics })
	g.node = start(t, g.document(yaml), adjust...)
	server = g.Server
	return g
}

func (g *guarded) document(yaml string) string {
	return strings.ReplaceAll(yaml, "BACKEND", g.backend.URL)
}

// become has the table be that of yaml.
func (g *guarded) become(t testing.TB, yaml string) {
	t.Helper()
	g.apply(t, g.document(yaml))
}

// client is a client's configuration for a server name.
func (g *guarded) client(sni string, adjust ...func(*tls.Config)) *tls.Config {
	c := &tls.Config{ServerName: sni, RootCAs: g.roots}
	for _, f := range adjust {
		f(c)
	}
	return c
}

func showing(leaf *edgetest.Leaf) func(*tls.Config) {
	return func(c *tls.Config) { c.Certificates = []tls.Certificate{leaf.TLS} }
}

func speaking(version uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version }
}

// ask makes a connection and a request; the error is that of either.
func (g *guarded) ask(t testing.TB, config *tls.Config, host string, fields ...string) (*edgetest.RawAnswer, tls.ConnectionState, error) {
	t.Helper()
	conn, err := tls.Dial("tcp", g.https, config)
	if err != nil {
		return nil, tls.ConnectionState{}, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, head("GET", host, "/", append(fields, "Connection: close")...)+"\r\n"); err != nil {
		return nil, conn.ConnectionState(), err
	}
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, conn.ConnectionState(), err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	return &edgetest.RawAnswer{Status: got.StatusCode, Header: got.Header, Body: body}, conn.ConnectionState(), err
}

// status is that of an answer; 0: there was none.
func (g *guarded) status(t testing.TB, config *tls.Config, host string) int {
	t.Helper()
	answer, _, err := g.ask(t, config, host)
	if err != nil {
		return 0
	}
	return answer.Status
}

// seen is the last request that the backend got.
func (g *guarded) seen(t testing.TB) edgetest.Seen {
	t.Helper()
	all := g.backend.Requests()
	if len(all) == 0 {
		t.Fatal("the backend got nothing")
	}
	return all[len(all)-1]
}

const policies = `vhosts:
  modern.test: {backends: [BACKEND], tls: {policy: modern}}
  usual.test: {backends: [BACKEND]}
  raised.test: {backends: [BACKEND], tls: {min_version: "1.3"}}
  old.test: {backends: [BACKEND], tls: {policy: old}}
  old12.test: {backends: [BACKEND], tls: {policy: old, min_version: "1.2"}}
`

func TestPolicyPerVhost(t *testing.T) {
	g := guard(t, policies)
	cbc := []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	for _, c := range []struct {
		host    string
		version uint16
		suites  []uint16 // nil: all
		ok      bool
	}{
		{"modern.test", tls.VersionTLS13, nil, true},
		{"modern.test", tls.VersionTLS12, nil, false},
		{"raised.test", tls.VersionTLS13, nil, true},
		{"raised.test", tls.VersionTLS12, nil, false},
		{"usual.test", tls.VersionTLS13, nil, true},
		{"usual.test", tls.VersionTLS12, nil, true},
		{"usual.test", tls.VersionTLS12, cbc, false},
		{"usual.test", tls.VersionTLS11, nil, false},
		{"old.test", tls.VersionTLS13, nil, true},
		{"old.test", tls.VersionTLS12, cbc, true},
		{"old.test", tls.VersionTLS11, nil, true},
		{"old.test", tls.VersionTLS10, nil, true},
		{"old.test", tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}, false},
		{"old12.test", tls.VersionTLS12, cbc, true},
		{"old12.test", tls.VersionTLS11, nil, false},
	} {
		config := g.client(c.host, speaking(c.version))
		config.CipherSuites = c.suites
		answer, state, err := g.ask(t, config, c.host)
		if ok := err == nil && answer.Status == 200 && state.Version == c.version; ok != c.ok {
			t.Errorf("%s, %s, suites %v: %v", c.host, tls.VersionName(c.version), c.suites, err)
		}
	}
}

func TestHybridKeyExchangeIsNegotiated(t *testing.T) {
	g := guard(t, policies)
	for _, host := range []string{"modern.test", "usual.test", "old.test"} {
		_, state, err := g.ask(t, g.client(host), host)
		if err != nil || state.CurveID != tls.X25519MLKEM768 {
			t.Errorf("%s: group %v, %v", host, state.CurveID, err)
		}
	}
	name := `gatehouse_tls_handshakes_total{group="x25519mlkem768",resumed="false",version="1.3"}`
	if got := series(t, g.metrics, name); got != 3 {
		t.Errorf("%s is %v", name, got)
	}
}

func TestPolicyActsOnTheNextHandshake(t *testing.T) {
	g := guard(t, policies)
	old := g.client("usual.test", speaking(tls.VersionTLS12))
	if got := g.status(t, old, "usual.test"); got != 200 {
		t.Fatalf("before: %d", got)
	}
	g.become(t, strings.Replace(policies, "usual.test: {", "usual.test: {tls: {policy: modern}, ", 1))
	if got := g.status(t, old, "usual.test"); got != 0 {
		t.Errorf("a vhost that became modern took TLS 1.2: %d", got)
	}
}

// The terms of a handshake are found without an allocation, whatever the vhost's are.
func TestTermsOfAHandshakeCostNoAllocation(t *testing.T) {
	ca := edgetest.NewCA(t)
	g := guard(t, policies+"  mtls.test: {backends: [BACKEND], tls: {client_auth: {mode: required, ca: "+caFile(t, ca)+"}}}\n  \"*.wild.test\": {backends: [BACKEND]}\n")
	room := make([]byte, 0, 300)
	for _, sni := range []string{"usual.test", "modern.test", "mtls.test", "a.wild.test", "nobody.test", ""} {
		hello := &tls.ClientHelloInfo{ServerName: sni, SupportedProtos: []string{"h2", "http/1.1"}}
		if n := testing.AllocsPerRun(100, func() {
			if _, err := g.configFor(hello); err != nil {
				t.Error(err)
			}
			g.AppendBinding(room, sni)
		}); n != 0 {
			t.Errorf("%q: %v allocations", sni, n)
		}
	}
}

func caFile(t testing.TB, ca *edgetest.CA) string {
	t.Helper()
	path, _ := ca.Write(t, t.TempDir())
	return path
}

// An issuer that validates a name has no certificate to show, and what it gets cannot
// be used for anything else.
func TestValidationByALPNNeedsNoClientCertificate(t *testing.T) {
	ca := edgetest.NewCA(t)
	c := &certs{leaves: map[string]*edgetest.Leaf{"mtls.test": ca.Issue(t, "mtls.test")}}
	n := start(t, "vhosts:\n  mtls.test: {backends: [http://127.0.0.1:1], tls: {policy: modern, client_auth: {mode: required, ca: "+caFile(t, ca)+"}}}\n",
		func(o *Options) { o.Certificates = c })
	conn, err := tls.Dial("tcp", n.https, &tls.Config{ServerName: "mtls.test", RootCAs: ca.Pool(), NextProtos: []string{acmeALPN}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection goes on: %v", err)
	}
}

func TestFailedHandshakesByReason(t *testing.T) {
	ca, other := edgetest.NewCA(t), edgetest.NewCA(t)
	missing := filepath.Join(t.TempDir(), "missing.pem")
	g := guard(t, policies+
		"  mtls.test: {backends: [BACKEND], tls: {client_auth: {mode: required, ca: "+caFile(t, ca)+"}}}\n"+
		"  broken.test: {backends: [BACKEND], tls: {client_auth: {mode: optional, ca: "+missing+"}}}\n")
	for _, c := range []struct {
		config *tls.Config
		reason string
	}{
		{g.client("nobody.test"), handshakeUnknownName},
		{g.client("modern.test", speaking(tls.VersionTLS12)), handshakePolicy},
		{g.client("usual.test", speaking(tls.VersionTLS12), func(c *tls.Config) {
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}), handshakePolicy},
		{g.client("mtls.test"), handshakeCertificate},
		{g.client("mtls.test", speaking(tls.VersionTLS12)), handshakeCertificate},
		{g.client("mtls.test", showing(other.Issue(t, "c"))), handshakeCertificate},
		{g.client("broken.test"), handshakeAuthorities},
		{&tls.Config{ServerName: "usual.test", RootCAs: other.Pool()}, handshakeAlert},
	} {
		name := `gatehouse_tls_handshakes_failed_total{reason="` + c.reason + `"}`
		before := series(t, g.metrics, name)
		if got := g.status(t, c.config, c.config.ServerName); got != 0 {
			t.Errorf("%s: status %d", c.reason, got)
		}
		edgetest.WaitFor(t, name+" to grow", func() bool { return series(t, g.metrics, name) == before+1 })
	}
}

// sessions is a client's store that offers what it has under every name, as a hostile
// client may.
type sessions struct {
	mu   sync.Mutex
	last *tls.ClientSessionState
}

func (s *sessions) Get(string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.last != nil
}

func (s *sessions) Put(_ string, state *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = state
}

// Whatever changes of who may come in: a ticket of before leads to a full handshake.
func TestTicketsDoNotOutliveAChangeOfTerms(t *testing.T) {
	ca, second := edgetest.NewCA(t), edgetest.NewCA(t)
	file := caFile(t, ca)
	leaf := ca.Issue(t, "client")
	site := func(fields string) string {
		return "vhosts:\n  a.test: {backends: [BACKEND], " + fields + "}\n"
	}
	auth := func(mode, source string) string {
		return "tls: {client_auth: {mode: " + mode + ", ca: " + source + "}}"
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, c := range []struct {
			name, before, after string
			adopt               bool // the file gets a second authority
			resumed             bool
		}{
			{"nothing", site("balance: p2c"), site("balance: random"), false, true},
			{"nothing of client_auth", site(auth("required", file)), site(auth("required", file) + ", balance: random"), false, true},
			{"the tenant", site("tenant: one"), site("tenant: two"), false, false},
			{"a tenant comes", site("balance: p2c"), site("tenant: two"), false, false},
			{"the policy", site("balance: p2c"), site("tls: {policy: old}"), false, false},
			{"the mode", site(auth("optional", file)), site(auth("required", file)), false, false},
			{"the header", site(auth("required", file)), site("tls: {client_auth: {mode: required, ca: " + file + ", header: false}}"), false, false},
			{"client_auth comes", site("balance: p2c"), site(auth("optional", file)), false, false},
			{"the authorities", site(auth("required", file)), site(auth("required", file)), true, false},
			{"the vhost, by a wildcard's", site("tenant: one"), "", false, false},
		} {
			t.Run(tls.VersionName(version)+"/"+c.name, func(t *testing.T) {
				if err := os.WriteFile(file, ca.PEM, 0o600); err != nil {
					t.Fatal(err)
				}
				all := "  \"*.test\": {backends: [BACKEND], tenant: one}\n"
				g := guard(t, c.before+all)
				client := &sessions{}
				config := g.client("a.test", speaking(version), showing(leaf), func(c *tls.Config) { c.ClientSessionCache = client })
				again := func() bool {
					answer, state, err := g.ask(t, config, "a.test")
					if err != nil || answer.Status != 200 {
						t.Fatal(answer, err)
					}
					return state.DidResume
				}
				if again() || !again() {
					t.Fatal("the second handshake resumes, the first does not: not so")
				}
				switch {
				case c.adopt:
					if err := os.WriteFile(file, append(append([]byte{}, ca.PEM...), second.PEM...), 0o600); err != nil {
						t.Fatal(err)
					}
					g.authorities.poll(t.Context())
				case c.after == "":
					g.remove("a.test")
				default:
					g.become(t, c.after+all)
				}
				if got := again(); got != c.resumed {
					t.Errorf("resumed: %t", got)
				}
				if !again() {
					t.Error("the ticket of now does not resume")
				}
			})
		}
	}
}

func TestAttackTicketOfAnotherVhost(t *testing.T) {
	ca := edgetest.NewCA(t)
	auth := "tls: {client_auth: {mode: optional, ca: " + caFile(t, ca) + "}}"
	g := guard(t, "vhosts:\n  a.test: {backends: [BACKEND], tenant: one, "+auth+"}\n  b.test: {backends: [BACKEND], tenant: one, "+auth+"}\n")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := &sessions{}
		keep := func(c *tls.Config) { c.ClientSessionCache = client }
		for _, host := range []string{"a.test", "b.test"} {
			// Only the first handshake of a name could resume the other's session.
			_, state, err := g.ask(t, g.client(host, speaking(version), keep, showing(ca.Issue(t, "client"))), host)
			if err != nil || state.DidResume {
				t.Errorf("%s, %s: resumed %t, %v", tls.VersionName(version), host, state.DidResume, err)
			}
		}
	}
}

func TestFollowAuthoritiesEndsWithItsContext(t *testing.T) {
	g := guard(t, policies)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- g.FollowAuthorities(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
