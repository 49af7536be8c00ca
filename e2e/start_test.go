package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A start with thousands of certificates in the folder: a node is ready without having read them, and the first handshake reads its own alone.
func TestFirstHandshakeOfALargeFolder(t *testing.T) {
	t.Parallel()
	b, ca := edgetest.NewBackend(t), edgetest.NewCA(t)
	count := scaled(1000, 10_000)
	host := func(i int) string { return fmt.Sprintf("www.customer%d.test", i) }
	var doc strings.Builder
	doc.WriteString("vhosts:\n")
	for i := range count {
		fmt.Fprintf(&doc, "  %s: {backends: [%q]}\n", host(i), b.URL)
	}
	n := prepare(t, "certificates: {issuer: acme, acme: {directory: \"https://127.0.0.1:1/dir\"}}\n", map[string]string{"many.yaml": doc.String()})
	n.start() // it makes the folder, and says where it is
	n.stop()
	folders, err := filepath.Glob(filepath.Join(n.dir, "data/certs/127.0.0.1-*"))
	if err != nil || len(folders) != 1 {
		t.Fatalf("folders of certificates: %v, %v", folders, err)
	}
	for i := range count {
		leaf := ca.IssueWith(t, edgetest.LeafOptions{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour)}, host(i))
		if err := os.WriteFile(filepath.Join(folders[0], host(i)+".pem"), append(append(leaf.KeyPEM, leaf.CertPEM...), ca.PEM...), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(folders[0], host(i)+".failed")); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	n.startOnly()
	// Two handshakes: of a client that has come before the node accepts, and waits in the listener's queue, and of one right behind readiness.
	var accepted, first, ready, second time.Duration
	edgetest.WaitForWithin(t, time.Minute, "the first connection", func() bool {
		conn, err := net.Dial("tcp", n.https)
		if err != nil {
			return false
		}
		defer conn.Close()
		accepted = time.Since(begin)
		client := tls.Client(conn, &tls.Config{ServerName: host(count - 1), RootCAs: ca.Pool()})
		if err := client.Handshake(); err != nil {
			return false // a name that the table does not have yet
		}
		first = time.Since(begin) - accepted
		return true
	})
	edgetest.WaitForWithin(t, time.Minute, "readiness", func() bool {
		resp, err := http.Get("http://" + n.admin + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		ready = time.Since(begin)
		return resp.StatusCode == http.StatusOK
	})
	conn, err := tls.Dial("tcp", n.https, &tls.Config{ServerName: host(count / 2), RootCAs: ca.Pool()})
	if err != nil {
		t.Fatalf("behind readiness: %v", err)
	}
	second = time.Since(begin) - ready
	conn.Close()
	in := func() bool {
		return n.metric(`gatehouse_certificates{source="acme"}`) == fmt.Sprint(count)
	}
	edgetest.WaitForWithin(t, time.Minute, "all to be in memory", in)
	t.Logf("%d certificates: a connection %v after the start waits %v for its handshake; ready after %v, a handshake done %v later; all in memory after %v",
		count, accepted, first, ready, second, time.Since(begin))
	if second > time.Second+slack {
		t.Errorf("the first handshake behind readiness takes %v, want 50 ms", second)
	}
}
