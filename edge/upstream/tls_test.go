package upstream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// authority makes a CA and a certificate for backend.test that it signed.
func authority(t testing.TB) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(err)
	ca, err = x509.ParseCertificate(caDER)
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"backend.test"}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	must(err)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return roots, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secureBackend serves script over TLS and gives a pool whose dialler reaches it as https://name.
func secureBackend(t testing.TB, name string, config *tls.Config, script func(*session)) *Pool {
	t.Helper()
	roots, cert := authority(t)
	server := &tls.Config{Certificates: []tls.Certificate{cert}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := serveOn(t, tls.NewListener(ln, server), script)
	if config == nil {
		config = &tls.Config{RootCAs: roots}
	}
	return newPool(t, Options{
		Address: "https://" + name, TLS: config,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, b.Addr().String())
		},
	})
}

func TestHTTPS(t *testing.T) {
	var name string
	p := secureBackend(t, "backend.test", nil, func(s *session) {
		for {
			req := s.request()
			if req == nil {
				return
			}
			name = s.Conn.(*tls.Conn).ConnectionState().ServerName
			body, _ := io.ReadAll(req.Body)
			s.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for len(body) > 0 {
				n := min(len(body), 3333)
				s.say("d05\r\n"[map[bool]int{true: 0, false: 5}[n == 3333]:])
				if n != 3333 {
					s.say(strings.ToLower(big.NewInt(int64(n)).Text(16)) + "\r\n")
				}
				s.say(string(body[:n]) + "\r\n")
				body = body[n:]
			}
			s.say("0\r\n\r\n")
		}
	})
	p.trust()
	for _, size := range []int{1, 5000, 1 << 20} {
		want := strings.Repeat("s", size)
		if _, got, err := fetch(t, p, post(want)); err != nil || got != want {
			t.Fatalf("%d bytes: %d back, %v", size, len(got), err)
		}
	}
	if s := p.Stats(); s.Dials != 1 || s.Reused != 2 {
		t.Errorf("%+v", s)
	}
	if name != "backend.test" {
		t.Errorf("SNI %q", name)
	}
}

func TestHTTPSVerifiesTheName(t *testing.T) {
	p := secureBackend(t, "other.test", nil, func(s *session) {
		if s.request() != nil {
			t.Error("a request reached a backend with the wrong name")
		}
	})
	_, _, err := fetch(t, p, get("/"))
	e := wantError(t, err, OpConnect)
	var invalid x509.HostnameError
	if !errors.As(err, &invalid) || e.Sent {
		t.Errorf("%+v", e)
	}
}

func TestHTTPSVerifiesTheIssuer(t *testing.T) {
	p := secureBackend(t, "backend.test", &tls.Config{RootCAs: x509.NewCertPool()}, func(s *session) { s.request() })
	_, _, err := fetch(t, p, get("/"))
	var unknown x509.UnknownAuthorityError
	if wantError(t, err, OpConnect); !errors.As(err, &unknown) {
		t.Error(err)
	}
}

func TestAnUnboundedBodyUnderTLSNeedsACloseNotify(t *testing.T) {
	for _, polite := range []bool{true, false} {
		p := secureBackend(t, "backend.test", nil, func(s *session) {
			if s.request() == nil {
				return
			}
			s.say("HTTP/1.1 200 OK\r\n\r\nok")
			if !polite {
				s.Conn.(*tls.Conn).NetConn().Close()
			}
		})
		_, body, err := fetch(t, p, get("/"))
		if body != "ok" || polite && err != nil || !polite && err != io.ErrUnexpectedEOF {
			t.Errorf("close_notify %v: %q, %v", polite, body, err)
		}
	}
}

func TestAnEarlyAnswerUnderTLS(t *testing.T) {
	hold := make(chan struct{})
	p := secureBackend(t, "backend.test", nil, func(s *session) {
		if s.readHead() {
			s.say(tooLarge)
			<-hold
		}
	})
	t.Cleanup(func() { close(hold) })
	up := newUpload(false)
	resp, body, err := fetch(t, p, up.request())
	if err != nil || resp.Status != 413 || body != "big" {
		t.Fatalf("%+v, %q, %v", resp, body, err)
	}
	up.untouched(t)
}
