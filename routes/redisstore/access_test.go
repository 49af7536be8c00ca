package redisstore

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
	"gatehouse/internal/redisconn"
	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

// documentedACL is the command of docs/operations.md.
func documentedACL(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("<!-- acl: follow -->\n```\n(ACL SETUSER gatehouse .*)\n```").FindSubmatch(text)
	if m == nil {
		t.Fatal("the least ACL is not in docs/operations.md")
	}
	return strings.Fields(string(m[1]))
}

// TestDocumentedACLIsEnough follows as a user that may do nothing else.
func TestDocumentedACLIsEnough(t *testing.T) {
	t.Parallel()
	acl := documentedACL(t)
	server, cluster := edgetest.Redis(t), edgetest.StartRedisCluster(t, 3, 0)
	server.CLI(acl...)
	for _, node := range cluster.Nodes {
		node.CLI(acl...)
	}
	for name, test := range map[string]struct {
		url string
		cli func(...string) string
	}{
		"alone":   {"redis://gatehouse:PASSWORD@" + server.Addr() + "#edge:", server.CLI},
		"cluster": {strings.Replace(cluster.URL(), "://", "://gatehouse:PASSWORD@", 1) + "#edge:", cluster.CLI},
	} {
		t.Run(name, func(t *testing.T) {
			test.cli("RPUSH", "edge:frontend:a.test", "shop", "http://127.0.0.1:9000")
			s := openURL(t, test.url, Options{})
			w := routestest.Follow(t, s, "")
			w.UntilBackend("a.test", "http://127.0.0.1:9000")
			test.cli("SET", "edge:vhost:b.test", `{"backends":["http://127.0.0.1:9001"]}`)
			w.UntilBackend("b.test", "http://127.0.0.1:9001")
			test.cli("DEL", "edge:frontend:a.test")
			untilLen(w, 1)
			if warning := s.Warning(); warning != "" {
				t.Errorf("a warning of a server that evicts nothing: %s", warning)
			}
			test.cli("SET", "edge:gatehouse:accept-loss", "1")
			w.Until("it has a life", func(*routes.Table) bool { return test.cli("TTL", "edge:gatehouse:accept-loss") != "-1" })
			test.cli("SET", "edge:vhost:b.test", `{"backends":["http://127.0.0.1:9001"],"aliases":["alias.test"]}`)
			w.Until("the alias is there", func(t *routes.Table) bool { return t.Match("alias.test") != nil })
			test.cli("SET", "edge:vhost:a.test", `{"backends":["http://127.0.0.1:9001"],"aliases":["alias.test"]}`)
			w.Until("whose an alias is, is noted", func(*routes.Table) bool { return test.cli("HGET", "edge:gatehouse:aliases", "alias.test") == "b.test" })
			if err := s.Put(t.Context(), routes.ParseJSON(routestest.Vhost("c.test"), "", []byte(`{"backends":["http://b.test"]}`))); err == nil {
				t.Error("a user that may only read has written")
			}
		})
	}
}

// TestTLSWithAuthorityAndClientCertificate has a Redis that wants a certificate
// of its clients.
func TestTLSWithAuthorityAndClientCertificate(t *testing.T) {
	t.Parallel()
	ca, dir := edgetest.NewCA(t), t.TempDir()
	cert, key := ca.Issue(t, "127.0.0.1").Write(t, dir, "redis")
	ours, ourKey := ca.Issue(t, "gatehouse").Write(t, dir, "gatehouse")
	caFile, _ := ca.Write(t, dir)
	port := strconv.Itoa(edgetest.FreePort(t))
	server := edgetest.Redis(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", caFile)
	server.CLI("RPUSH", "frontend:a.test", "shop", "http://127.0.0.1:9000")
	follow := func(files redisconn.TLSFiles) *Store {
		client, err := redisconn.Open(redisconn.Options{Addrs: []string{"127.0.0.1:" + port}, TLS: true, Files: files})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		s, err := Open(client, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := follow(redisconn.TLSFiles{CA: caFile, Cert: ours, Key: ourKey})
	w := routestest.Follow(t, s, "")
	w.UntilBackend("a.test", "http://127.0.0.1:9000")
	if err := s.Put(t.Context(), routes.ParseJSON(routestest.Vhost("b.test"), "", []byte(`{"backends":["http://127.0.0.1:9001"]}`))); err != nil {
		t.Error(err)
	}
	w.UntilBackend("b.test", "http://127.0.0.1:9001")
	for what, files := range map[string]redisconn.TLSFiles{
		"no client certificate":         {CA: caFile},
		"nobody vouches for the server": {Cert: ours, Key: ourKey},
	} {
		if _, err := follow(files).Load(t.Context()); err == nil {
			t.Errorf("%s: it was read", what)
		}
	}
	for _, files := range []redisconn.TLSFiles{{CA: dir + "/none"}, {CA: ourKey}, {Cert: ours}, {Cert: ours, Key: key}} {
		if client, err := redisconn.Open(redisconn.Options{Addrs: []string{"127.0.0.1:1"}, TLS: true, Files: files}); err == nil {
			t.Errorf("%+v was taken", files)
			_ = client.Close()
		}
	}
}
