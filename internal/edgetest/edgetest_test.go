package edgetest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func get(t *testing.T, b *Backend, path string) (*RawAnswer, error) {
	t.Helper()
	c := Dial(t, b.Addr)
	c.Send("GET " + path + " HTTP/1.1\r\nHost: backend.test\r\n\r\n")
	return c.TryReceive(http.MethodGet)
}

func TestBackendDescribesTheRequestItGot(t *testing.T) {
	b := NewBackendWith(t, BackendOptions{Name: "one"})
	a := Dial(t, b.Addr).Do("POST", "POST //a%2Fb?x=1 HTTP/1.1\r\nHost: www.shop.test\r\nX-A: 1\r\nContent-Length: 3\r\n\r\nabc")
	s := ParseSeen(t, a.Body)
	if s.Backend != "one" || s.Target != "//a%2Fb?x=1" || s.Host != "www.shop.test" || s.Header.Get("X-A") != "1" || s.Body != 3 || s.Length != 3 {
		t.Errorf("got %+v", s)
	}
	if n := b.Deliveries("//a"); n != 1 {
		t.Errorf("%d deliveries counted, want 1", n)
	}
}

func TestBackendFaults(t *testing.T) {
	b := NewBackend(t)
	for _, path := range []string{"/close", "/garbage", "/reset?n=100", "/cut?n=100"} {
		if a, err := get(t, b, path); err == nil {
			t.Errorf("%s answered %d with %d bytes and no error", path, a.Status, len(a.Body))
		}
	}
	for path, want := range map[string]int{
		"/status?code=418": 418, "/early?code=401": 401, "/continue": 200, "/slow?for=1ms": 200, "/drip?n=3&every=1ms": 200,
	} {
		if a, err := get(t, b, path); err != nil || a.Status != want {
			t.Errorf("%s: %+v, %v, want status %d", path, a, err, want)
		}
	}
	for _, path := range []string{"/bytes?n=300000", "/bytes?n=300000&chunked=1"} {
		a, err := get(t, b, path)
		want, _ := io.ReadAll(PatternReader(300000))
		if err != nil || string(a.Body) != string(want) {
			t.Errorf("%s: %v, or not the pattern", path, err)
		}
	}
	a, err := get(t, b, "/respond?Cache-Control=max-age%3D60&body=x")
	if err != nil || a.Header.Get("Cache-Control") != "max-age=60" || string(a.Body) != "x" || a.Header.Get("X-Count") == "" {
		t.Errorf("/respond: %+v, %v", a, err)
	}
	answer := "HTTP/1.1 299 Own\r\nContent-Length: 0\r\n\r\n"
	raw := Dial(t, b.Addr).Do("POST", fmt.Sprintf("POST /raw HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer))
	if raw.Status != 299 {
		t.Errorf("/raw answered %d", raw.Status)
	}
	sunk := Dial(t, b.Addr).Do("POST", "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
	var sum struct{ Bytes int64 }
	if err := json.Unmarshal(sunk.Body, &sum); err != nil || sum.Bytes != 2 {
		t.Errorf("/sink answered %q", sunk.Body)
	}
}

func TestBackendStallsAndReportsWhatTheKernelTook(t *testing.T) {
	b := NewBackend(t)
	c := Dial(t, b.Addr)
	c.Send("GET /bytes?n=67108864 HTTP/1.1\r\nHost: a\r\n\r\n")
	last, same := int64(0), 0
	WaitFor(t, "the backend to stop sending", func() bool {
		now := b.Sent()
		if now == 0 || now != last {
			last, same = now, 0
		}
		same++
		return same > 50 // polls
	})
	if last >= 64<<20 {
		t.Errorf("all %d bytes went out to a client that does not read", last)
	}
}

func TestBackendOverTLSAndUnix(t *testing.T) {
	ca := NewCA(t)
	b := NewBackendWith(t, BackendOptions{TLS: &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "backend.test").TLS}}})
	if a := DialTLS(t, b.Addr, "backend.test", ca.Pool()).Do("GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); a.Status != 200 || !strings.HasPrefix(b.URL, "https://") {
		t.Errorf("%s answered %d", b.URL, a.Status)
	}
	path := filepath.Join(t.TempDir(), "b.sock")
	u := NewBackendWith(t, BackendOptions{Unix: path})
	if u.URL != "unix:"+path {
		t.Errorf("URL is %q", u.URL)
	}
}

func TestBackendComesBackOnItsPort(t *testing.T) {
	b := NewBackend(t)
	open := Dial(t, b.Addr)
	open.Do("GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	before := b.URL
	b.Stop()
	open.WantClosed()
	b.Start()
	if a, err := get(t, b, "/"); err != nil || a.Status != 200 || b.URL != before {
		t.Errorf("after the restart: %+v, %v at %s, before at %s", a, err, b.URL, before)
	}
	if accepted, _ := b.Connections(); accepted != 2 {
		t.Errorf("%d connections accepted, want 2", accepted)
	}
}

func TestWebSocketEcho(t *testing.T) {
	b := NewBackend(t)
	c := Dial(t, b.Addr)
	c.UpgradeWebSocket("a.test", "/ws")
	for _, text := range []string{"", "hello", strings.Repeat("x", 200), strings.Repeat("y", 70000)} {
		c.WebSocketEcho(text)
	}
	c.CloseWebSocket()
	c.WantClosed()
}

func TestCAIssues(t *testing.T) {
	ca := NewCA(t)
	for _, opts := range []LeafOptions{{}, {RSA: true}, {OCSP: "http://127.0.0.1:1/"}, {SelfSigned: true}} {
		leaf := ca.IssueWith(t, opts, "www.shop.test", "*.shop.test", "127.0.0.1")
		_, err := leaf.TLS.Leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: "a.shop.test"})
		if (err != nil) != opts.SelfSigned {
			t.Errorf("%+v: verify: %v", opts, err)
		}
		certFile, keyFile := leaf.Write(t, t.TempDir(), "leaf")
		if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
			t.Errorf("%+v: the files do not load: %v", opts, err)
		}
	}
}
