package edge

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// sendUpload posts size bytes of the pattern to /sink.
func sendUpload(t testing.TB, c *edgetest.RawConn, size int64, chunked bool) {
	t.Helper()
	if !chunked {
		c.Send(head("POST", "www.shop.test", "/sink", fmt.Sprintf("Content-Length: %d", size)) + "\r\n")
		if _, err := io.Copy(c, edgetest.PatternReader(size)); err != nil {
			t.Fatal(err)
		}
		return
	}
	c.Send(head("POST", "www.shop.test", "/sink", "Transfer-Encoding: chunked") + "\r\n")
	src, buf := edgetest.PatternReader(size), make([]byte, 40_000)
	for {
		got, err := src.Read(buf)
		if got > 0 {
			c.Send(fmt.Sprintf("%x\r\n%s\r\n", got, buf[:got]))
		}
		if err != nil {
			break
		}
	}
	c.Send("0\r\n\r\n")
}

// Smuggling by an early answer: what is left of a body must never be parsed as
// the next request, whoever answered early.
func TestSmugglingByEarlyAnswer(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL)+"tenants:\n  shop:\n    waf: {mode: block, inspect_body: 1KiB}\n")
	hidden := head("GET", "www.shop.test", "/smuggled") + "\r\n"
	for _, c := range []struct {
		name, host, target string
		padding            int
	}{
		{"404 of ours, small body", "nobody.test", "/", 9_000},
		{"404 of ours, body beyond the discard bound", "nobody.test", "/", 400_000},
		{"WAF refusal before the body", "www.shop.test", "/?q=<script>alert(1)</script>", 9_000},
		{"early answer of the backend", "www.shop.test", "/early?code=401", 300_000},
	} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, chunked %v", c.name, chunked), func(t *testing.T) {
				conn := edgetest.Dial(t, n.http)
				body := strings.Repeat("x", c.padding) + hidden
				go func() { // the peer may stop reading at any time
					target := strings.ReplaceAll(c.target, " ", "%20")
					if chunked {
						_, _ = io.WriteString(conn, head("POST", c.host, target, "Transfer-Encoding: chunked")+
							fmt.Sprintf("\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body))
						return
					}
					_, _ = io.WriteString(conn, head("POST", c.host, target, fmt.Sprintf("Content-Length: %d", len(body)))+"\r\n"+body)
				}()
				if _, err := conn.TryReceive("POST"); err != nil {
					t.Logf("no whole answer: %v", err) // allowed: the connection was given up
				}
				_ = conn.Conn.(*net.TCPConn).CloseWrite() // it may be closed already
				conn.ReadAll()
				if got := b.Deliveries("/smuggled"); got != 0 {
					t.Errorf("the hidden request reached the backend %d times", got)
				}
			})
		}
	}
}

// Requests with two readings are refused, and the connection closes.
func TestAmbiguousRequestsAreRefused(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL)+"  other.test:\n    backends: ["+b.URL+"]\n")
	for _, c := range []struct {
		name, raw string
		status    int
	}{
		{"Content-Length and Transfer-Encoding", "POST / HTTP/1.1\r\nHost: www.shop.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"Transfer-Encoding: identity", "POST / HTTP/1.1\r\nHost: www.shop.test\r\nTransfer-Encoding: identity\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: www.shop.test\r\n\r\n", 501},
		{"space in a field name", "GET / HTTP/1.1\r\nHost: www.shop.test\r\nX A: b\r\n\r\n", 400},
		{"folded field", "GET / HTTP/1.1\r\nHost: www.shop.test\r\nX-A: b\r\n c\r\n\r\n", 400},
		{"no Host", "GET / HTTP/1.1\r\nX-A: b\r\n\r\n", 400},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: www.shop.test\r\nHost: other.test\r\n\r\n", 400},
		{"userinfo in Host", "GET / HTTP/1.1\r\nHost: other.test@www.shop.test\r\n\r\n", 400},
		{"absolute-form that disagrees with Host", "GET http://other.test/ HTTP/1.1\r\nHost: www.shop.test\r\n\r\n", 400},
		{"CONNECT", "CONNECT www.shop.test:443 HTTP/1.1\r\nHost: www.shop.test\r\n\r\n", 405},
		{"TRACE", "TRACE / HTTP/1.1\r\nHost: www.shop.test\r\n\r\n", 405},
		{"fragment in the target", "GET /a#b HTTP/1.1\r\nHost: www.shop.test\r\n\r\n", 400},
		{"a target that is too long", "GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: www.shop.test\r\n\r\n", 414},
		{"too many fields", "GET / HTTP/1.1\r\nHost: www.shop.test\r\n" + strings.Repeat("A: b\r\n", 150) + "\r\n", 431},
		{"a head that is too large", "GET / HTTP/1.1\r\nHost: www.shop.test\r\nA: " + strings.Repeat("a", 40000) + "\r\n\r\n", 431},
		{"garbage", "\x16\x03\x01\x02\x00\x01\r\n\r\n", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := edgetest.Dial(t, n.http)
			conn.Send(c.raw)
			got := conn.Receive("GET")
			if got.Status != c.status || !got.Close {
				t.Errorf("status %d, close %v; want %d and close", got.Status, got.Close, c.status)
			}
			if got.Header.Get("X-Request-Id") == "" {
				t.Error("no request id")
			}
		})
	}
	if got := b.Deliveries(""); got != 0 {
		t.Errorf("%d requests reached the backend: %v", got, b.Requests())
	}
}

// GET //other.test/x://y must stay a path of its Host.
func TestHostIsNotTakenFromThePath(t *testing.T) {
	shop, other := edgetest.NewBackend(t), edgetest.NewBackend(t)
	n := start(t, shopSite(shop.URL)+"  other.test:\n    backends: ["+other.URL+"]\n")
	n.get(t, "www.shop.test", "//other.test/x://y")
	if shop.Deliveries("//other.test/x://y") != 1 || other.Deliveries("") != 0 {
		t.Errorf("shop %v, other %v", shop.Requests(), other.Requests())
	}
}

func TestBodyBeyondTheLimitIs413(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: off}"), func(o *Options) { o.Limits.Body = 1000 })
	for _, chunked := range []bool{false, true} {
		c := edgetest.Dial(t, n.http)
		sendUpload(t, c, 20_000, chunked)
		if got := c.Receive("POST"); got.Status != 413 {
			t.Errorf("chunked %v: status %d", chunked, got.Status)
		}
	}
}
