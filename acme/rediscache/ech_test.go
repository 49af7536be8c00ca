package rediscache

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"gatehouse/acme"
	"gatehouse/internal/edgetest"
)

func withECH(o *acme.Options) {
	alone(o)
	o.ECH.PublicName = "front.test"
}

// handshake makes one with a node that has the keys of ECH that it has, and returns the client's state.
func handshake(t *testing.T, n *fleetNode, list []byte) (tls.ConnectionState, error) {
	t.Helper()
	pem, err := os.ReadFile(n.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client, server := net.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- tls.Server(server, &tls.Config{
			GetCertificate: n.GetCertificate, GetEncryptedClientHelloKeys: n.EncryptedClientHelloKeys, SessionTicketsDisabled: true,
		}).HandshakeContext(t.Context())
	}()
	conn := tls.Client(client, &tls.Config{ServerName: "secret.test", RootCAs: roots, EncryptedClientHelloConfigList: list})
	err = conn.HandshakeContext(t.Context())
	return conn.ConnectionState(), errors.Join(err, <-done)
}

func TestECHKeysAreThoseOfAllNodes(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	a, b := f.join(t, "n1", t.TempDir(), withECH), f.join(t, "n2", t.TempDir(), withECH)
	published := func(n *fleetNode) []byte { return n.ECHState().ConfigList }
	for _, n := range []*fleetNode{a, b} {
		edgetest.WaitFor(t, n.name+" to have a key", func() bool { return published(n) != nil })
	}
	list := published(a)
	if !bytes.Equal(list, published(b)) {
		t.Fatal("two nodes publish different keys")
	}
	if cs, err := handshake(t, b, list); err != nil || !cs.ECHAccepted {
		t.Errorf("the record of one node on the other: %v", err)
	}
	keys := strings.Fields(f.redis.CLI("KEYS", "edge:ech:*"))
	if len(keys) != 2 { // of this epoch and the next
		t.Errorf("keys in Redis: %q", keys)
	}
	for _, key := range keys {
		if ttl := f.redis.CLI("PTTL", key); len(ttl) < 10 || len(ttl) > 11 {
			t.Errorf("%s ends in %s ms, want some 80 to 120 days", key, ttl)
		}
	}

	data := b.data
	b.stop()
	f.redis.Stop()
	b = f.join(t, "n2", data, withECH)
	if cs, err := handshake(t, b, list); err != nil || !cs.ECHAccepted {
		t.Errorf("after a restart without Redis: %v", err)
	}
	c := f.join(t, "n3", t.TempDir(), withECH)
	edgetest.WaitFor(t, "n3 to say that it has none", func() bool { return strings.Contains(c.ECHState().Problem, "keys: redis:") })
	if published(c) != nil {
		t.Error("a node that the others do not know offers a key of its own")
	}
}
