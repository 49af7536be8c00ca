package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A fleet is nodes that share a Redis, and so certificates and ticket keys, and that order from a Pebble, which asks the first one.
type fleet struct {
	t      *testing.T
	redis  *edgetest.RedisServer
	pebble *edgetest.PebbleServer
	nodes  []*node
}

// prepareFleet is nodes that share a Redis, not yet started.
func prepareFleet(t *testing.T, count int) *fleet {
	t.Helper()
	f := &fleet{t: t, redis: edgetest.Redis(t)}
	dir := t.TempDir()
	key := filepath.Join(dir, "seal")
	if err := os.WriteFile(key, []byte(strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range count {
		n := prepare(t, "routes: "+f.redis.URL()+"\nseal_keys: [file:"+key+"]\n", nil)
		n.environ = []string{fmt.Sprintf("GATEHOUSE_NODE=n%d", i+1)}
		f.nodes = append(f.nodes, n)
	}
	return f
}

func startFleet(t *testing.T, count int) *fleet {
	t.Helper()
	f := prepareFleet(t, count)
	f.pebble = edgetest.PebbleWith(t, edgetest.PebbleOptions{HTTPPort: port(t, f.nodes[0].http)})
	for _, n := range f.nodes {
		n.environ = append(n.environ, "GATEHOUSE_CERTIFICATES_ISSUER=acme", "GATEHOUSE_CERTIFICATES_ACME_DIRECTORY="+f.pebble.DirectoryURL,
			"GATEHOUSE_CERTIFICATES_ACME_TRUST="+f.pebble.TrustFile, "GATEHOUSE_CERTIFICATES_ACME_CHALLENGE=http-01")
		n.start()
	}
	return f
}

// issued reports whether a node serves the issuer's certificate for a host.
func (f *fleet) issued(n *node, host string) bool {
	conn, err := tls.Dial("tcp", n.https, &tls.Config{ServerName: host, RootCAs: f.roots()})
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func (f *fleet) roots() *x509.CertPool { return f.pebble.Roots(f.t) }

func (f *fleet) orders() int { return strings.Count(f.pebble.Log(), "Issued certificate serial") }

var accountsMade = regexp.MustCompile(`There are now \d+ accounts`)

// Several processes: each name is ordered once; a node that is killed while it orders is stood in for; what one node's tickets hold resumes on all
// others, with Redis away, too.
func TestFleetOrdersOnceAndResumesEverywhere(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	f := startFleet(t, 3)
	hosts := []string{"a.shop.test", "b.shop.test", "c.shop.test", "d.shop.test"}
	for _, host := range hosts {
		f.redis.CLI("rpush", "frontend:"+host, "shop", b.URL)
	}
	for _, host := range hosts {
		for _, n := range f.nodes {
			edgetest.WaitFor(t, "a certificate of "+host, func() bool { return f.issued(n, host) })
		}
	}
	if n := f.orders(); n != len(hosts) || len(accountsMade.FindAllString(f.pebble.Log(), -1)) != 1 || strings.Contains(f.pebble.Log(), "set INVALID") {
		t.Errorf("%d orders of %d names", n, len(hosts))
	}

	// Sessions.
	client := &tls.Config{ServerName: "a.shop.test", RootCAs: f.roots(), ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	resumed := func(n *node, config *tls.Config) bool {
		t.Helper()
		conn, err := tls.Dial("tcp", n.https, config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", config.ServerName)
		if _, err := conn.Read(make([]byte, 1)); err != nil { // the ticket comes before it
			t.Fatal(err)
		}
		return conn.ConnectionState().DidResume
	}
	resumed(f.nodes[0], client)
	for round := range 6 {
		if !resumed(f.nodes[round%3], client) {
			t.Errorf("round %d: not resumed on node %d", round, round%3+1)
		}
	}
	f.redis.Suspend()
	for round := range 3 {
		if !resumed(f.nodes[round], client) {
			t.Errorf("not resumed on node %d while Redis hangs", round+1)
		}
	}
	f.redis.Resume()

	// Whoever orders is killed, unless it is the first node, which answers the issuer.
	owner, late, names := "", []string(nil), len(hosts)
	for victim := 0; victim == 0; {
		late = late[:0]
		for range 4 {
			late = append(late, fmt.Sprintf("late%d.shop.test", names))
			names++
		}
		for _, host := range late {
			f.redis.CLI("rpush", "frontend:"+host, "shop", b.URL)
		}
		edgetest.WaitFor(t, "somebody to order", func() bool {
			owner = f.redis.CLI("get", "cert:{"+late[0]+"}:lock")
			return strings.HasPrefix(owner, "n")
		})
		victim = strings.Index("23", owner[1:2]) + 1
		if victim > 0 {
			f.nodes[victim].kill()
			f.nodes = append(f.nodes[:victim], f.nodes[victim+1:]...)
			break
		}
		for _, host := range late {
			edgetest.WaitFor(t, "the first node to have it", func() bool { return f.issued(f.nodes[0], host) })
		}
	}
	begin := time.Now()
	for _, n := range f.nodes {
		for _, host := range late {
			edgetest.WaitForWithin(t, time.Minute, "somebody to stand in for "+owner, func() bool { return f.issued(n, host) }) // after a lease of 30 s
		}
	}
	placed := strings.Count(f.pebble.Log(), "Added order")
	t.Logf("killed %s: certificates after %v, %d orders placed and %d issued for %d names", owner, time.Since(begin).Round(time.Second), placed, f.orders(), names)
	if extra := placed - names; extra < 0 || extra > 1 {
		t.Errorf("%d orders of %d names with one kill", placed, names)
	}
}
