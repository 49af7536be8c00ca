package edge

import (
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatehouse/cache"
	"gatehouse/edge/waf"
	"gatehouse/internal/edgetest"
	"gatehouse/routes"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's clock, and what looks after its idle workers, outlive a server by
		// design. Its workers do not: each is a client's connection.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// engine is compiled once for all tests: that is how a process runs it, too. It has its gate from the beginning, so
// that no test depends on when that is made.
var engine = sync.OnceValues(func() (*waf.Engine, error) {
	e, err := waf.New(waf.Options{})
	if err == nil {
		e.MakeGate()
	}
	return e, err
})

// A node is a server with listeners, a table from a document, and what it logged.
type node struct {
	*Server
	http, https string // addresses
	log, access *edgetest.Output
	store       *cache.Store
	table       *routes.Table
}

// start serves the documents in yaml on loopback.
func start(t testing.TB, yaml string, adjust ...func(*Options)) *node {
	t.Helper()
	n := &node{log: &edgetest.Output{}, access: &edgetest.Output{}}
	rules, err := engine()
	if err != nil {
		t.Fatal(err)
	}
	if n.store, err = cache.New(cache.Options{MaxBytes: 64 << 20, Patience: time.Minute}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.store.Close)
	logger := slog.New(slog.NewTextHandler(n.log, nil))
	accessLog, err := NewAccessLog(n.access, FormatJSON, logger)
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{Node: "n1", WAF: rules, Cache: n.store, AccessLog: accessLog, Logger: logger}
	for _, f := range adjust {
		f(&opts)
	}
	if n.Server, err = New(opts); err != nil {
		t.Fatal(err)
	}
	n.apply(t, yaml)
	n.http = n.listen(t, n.Serve)
	if opts.Certificates != nil {
		n.https = n.listen(t, n.ServeTLS)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if err := accessLog.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *node) listen(t testing.TB, serve func(net.Listener) error) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serve(ln) }()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return ln.Addr().String()
}

// apply replaces the whole table by the documents in yaml.
func (n *node) apply(t testing.TB, yaml string) {
	t.Helper()
	docs, problems := routes.ParseFile("test.yaml", []byte(yaml))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	var changes []routes.Change
	for _, doc := range docs {
		if err := doc.Problems.Err(); err != nil {
			t.Fatal(err)
		}
		changes = append(changes, doc.Change())
	}
	if n.table == nil {
		n.table = &routes.Table{}
	}
	table, replaced := n.table.With(changes)
	n.table = table
	n.Apply(table, replaced)
}

// get sends one request on a connection of its own.
func (n *node) get(t testing.TB, host, target string, fields ...string) *edgetest.RawAnswer {
	t.Helper()
	return edgetest.Dial(t, n.http).Do("GET", head("GET", host, target, fields...)+"\r\n")
}

func head(method, host, target string, fields ...string) string {
	var b strings.Builder
	b.WriteString(method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n")
	for _, f := range fields {
		b.WriteString(f + "\r\n")
	}
	return b.String()
}

// shopSite is a document with one vhost of tenant shop and the given further lines.
func shopSite(backend string, further ...string) string {
	return "vhosts:\n  www.shop.test:\n    tenant: shop\n    backends: [" + backend + "]\n" + indent(further)
}

func indent(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString("    " + l + "\n")
	}
	return b.String()
}

func (n *node) waitFor(t testing.TB, where *edgetest.Output, text string) {
	t.Helper()
	edgetest.WaitFor(t, "the log to say "+text, func() bool { return strings.Contains(where.String(), text) })
}

// certs are Certificates over leaves that a test CA has issued.
type certs struct {
	leaves  map[string]*edgetest.Leaf // by SNI
	trusted bool
	answers map[string]string // challenge path → body
}

func (c *certs) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if leaf := c.leaves[hello.ServerName]; leaf != nil {
		return &leaf.TLS, nil
	}
	return nil, nil
}

func (c *certs) WrapSession(tls.ConnectionState, *tls.SessionState) ([]byte, error) { return nil, nil }

func (c *certs) UnwrapSession([]byte, tls.ConnectionState) (*tls.SessionState, error) {
	return nil, nil
}

func (c *certs) Challenge(_, path string) ([]byte, bool) {
	body, ok := c.answers[path]
	return []byte(body), ok
}

func (c *certs) Covers(sni, host string) bool {
	leaf := c.leaves[sni]
	return leaf != nil && leaf.TLS.Leaf.VerifyHostname(host) == nil
}

func (c *certs) Trusted(string) bool { return c.trusted }
