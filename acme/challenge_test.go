package acme

import (
	"context"
	"crypto/tls"
	"testing"

	"gatehouse/internal/edgetest"
)

func TestChallengesAreAnsweredOnlyWhilePendingAndOnlyForTheirHost(t *testing.T) {
	m := newManager(t, Options{})
	pair := edgetest.NewCA(t).Issue(t, "a.test")
	s := &solver{challenges: m.challenges}
	a := &attempt{ctx: t.Context(), name: "a.test", solver: s}
	put := func(key string, value []byte) {
		t.Helper()
		if err := a.Put(context.Background(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.presentAnswer(t.Context(), "a.test", "tok", "tok.print"); err != nil {
		t.Fatal(err)
	}
	if a.Put(t.Context(), "tok+http-01", []byte("x")) == nil {
		t.Error("autocert goes on to HTTP-01")
	}
	put("a.test+token", append(pair.KeyPEM, pair.CertPEM...))
	asked := func(host, path string) string {
		body, ok := m.Challenge(host, path)
		if ok != (body != nil) {
			t.Errorf("%s%s: body %q, ok %v", host, path, body, ok)
		}
		return string(body)
	}
	const good = "/.well-known/acme-challenge/tok"
	for _, host := range []string{"a.test", "A.test:80"} {
		if got := asked(host, good); got != "tok.print" {
			t.Errorf("%s: answer is %q", host, got)
		}
	}
	for host, path := range map[string]string{"b.test": good, "a.test": good + "/", "": good, "a.test:80": "/.well-known/acme-challenge/"} {
		if got := asked(host, path); got != "" {
			t.Errorf("%s%s: answer is %q", host, path, got)
		}
	}
	alpn := func(name string) *tls.Certificate {
		cert, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: name, SupportedProtos: []string{ALPNProto}})
		if err != nil {
			t.Error(err)
		}
		return cert
	}
	if alpn("a.test") == nil || alpn("b.test") != nil {
		t.Error("TLS-ALPN-01 is answered for the wrong names")
	}
	if !served(t, m, "a.test").IsCA && served(t, m, "a.test").Equal(pair.TLS.Leaf) {
		t.Error("an ordinary client got the challenge certificate")
	}
	a.retire()
	put("a.test+token", append(pair.KeyPEM, pair.CertPEM...))
	if asked("a.test", good) != "" || alpn("a.test") != nil {
		t.Error("a challenge is answered after its order ended")
	}
}

func FuzzChallenge(f *testing.F) {
	m := newManager(f, Options{})
	m.challenges.putToken("a.test", "tok", []byte("body"))
	f.Add("a.test", "/.well-known/acme-challenge/tok")
	f.Add("a.test:80", "/.well-known/acme-challenge/../tok")
	f.Add("[::1]:80", "/")
	f.Fuzz(func(t *testing.T, host, path string) {
		body, ok := m.Challenge(host, path)
		if ok && (path != challengePath+"tok" || string(body) != "body") {
			t.Errorf("%s%s is answered with %q", host, path, body)
		}
	})
}
