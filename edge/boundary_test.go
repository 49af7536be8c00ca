package edge

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/edge/overload"
	"gatehouse/internal/edgetest"
)

// What package wire refuses is an answer like any other: in its turn among
// pipelined requests, with an id, a page, an access line and a count.
func TestRefusalIsAnsweredInItsTurn(t *testing.T) {
	b := edgetest.NewBackend(t)
	metrics := prometheus.NewRegistry()
	n := start(t, shopSite(b.URL, "waf: {mode: off}"), func(o *Options) { o.Registerer = metrics })
	c := edgetest.Dial(t, n.http)
	c.Send(head("GET", "www.shop.test", "/one") + "\r\n" + head("GET", "www.shop.test", "/two") + "\r\n" +
		"GET /three HTTP/1.1\r\nHost: www.shop.test\r\nUser-Agent: smuggler\r\nX A: b\r\n\r\n" + head("GET", "www.shop.test", "/four") + "\r\n")
	for _, want := range []int{200, 200, 400} {
		got := c.Receive("GET")
		if got.Status != want || got.Header.Get("X-Request-Id") == "" || got.Close != (want == 400) {
			t.Errorf("status %d, close %v, id %q; want %d", got.Status, got.Close, got.Header.Get("X-Request-Id"), want)
		}
		if want == 400 {
			n.waitFor(t, n.access, got.Header.Get("X-Request-Id"))
		}
	}
	c.WantClosed()
	if b.Deliveries("/four") != 0 || b.Deliveries("/two") != 1 {
		t.Errorf("delivered: %v", b.Requests())
	}
	n.waitFor(t, n.access, `"target":"/three"`)
	for name, want := range map[string]float64{
		`gatehouse_requests_unrouted_total{code_class="4xx"}`:     1,
		`gatehouse_requests_refused_total{reason="field_name"}`:   1,
		`gatehouse_requests_refused_total{reason="request_line"}`: 0,
		`gatehouse_request_duration_seconds_count{tenant="shop"}`: 2,
	} {
		if got := series(t, metrics, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// 100 Continue is the chain's decision: who is refused by route or limit is told
// so at once, and has not sent the body for nothing (RFC 9110 §10.1.1).
func TestContinueIsTheChainsDecision(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL)+"tenants:\n  shop:\n    waf: {mode: block}\n", func(o *Options) { o.Limits.Body = 1000 })
	for name, c := range map[string]struct {
		host, target string
		length       int
		status       int
	}{
		"unknown host":   {"nobody.test", "/", 5, 404},
		"body too large": {"www.shop.test", "/", 1001, 413},
	} {
		t.Run(name, func(t *testing.T) {
			conn := edgetest.Dial(t, n.http)
			conn.Send(head("POST", c.host, c.target, "Expect: 100-continue", fmt.Sprint("Content-Length: ", c.length)) + "\r\n")
			first, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.HasPrefix(first, fmt.Sprint("HTTP/1.1 ", c.status)) {
				t.Errorf("first comes %q, %v; want %d", first, err, c.status)
			}
		})
	}
	conn := edgetest.Dial(t, n.http)
	for range 2 { // the connection goes on
		conn.Send(head("POST", "www.shop.test", "/echo", "Expect: 100-continue", "Content-Length: 5", "Content-Type: application/x-www-form-urlencoded") + "\r\n")
		r := bufio.NewReader(conn)
		if first, err := r.ReadString('\n'); err != nil || first != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("first comes %q, %v", first, err)
		}
		if blank, err := r.ReadString('\n'); err != nil || blank != "\r\n" {
			t.Fatalf("then %q, %v", blank, err)
		}
		conn.Send("a=b&c")
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
	}
	conn.Send(head("GET", "www.shop.test", "/", "Expect: 200-ok") + "\r\n")
	if got := conn.Receive("GET"); got.Status != 417 || !got.Close {
		t.Errorf("another expectation: %d, close %v", got.Status, got.Close)
	}
}

// A client of HTTP/1.0 that wants to stay is told that it may.
func TestKeepAliveOfHTTP10(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: off}"))
	c := edgetest.Dial(t, n.http)
	for range 2 {
		got := c.Do("GET", "GET / HTTP/1.0\r\nHost: www.shop.test\r\nConnection: keep-alive\r\n\r\n")
		if got.Status != 200 || got.Header.Get("Connection") != "keep-alive" {
			t.Fatalf("status %d, Connection %q", got.Status, got.Header.Get("Connection"))
		}
	}
	got := c.Do("GET", "GET / HTTP/1.0\r\nHost: www.shop.test\r\n\r\n")
	if got.Status != 200 || !got.Close {
		t.Fatalf("status %d, close %v", got.Status, got.Close)
	}
	c.WantClosed()
}

// A connection serves limits.keepalive_requests requests and says so at the last.
func TestKeepAliveRequestsAreBounded(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: off}"), func(o *Options) { o.Limits.KeepAliveRequests = 3 })
	c := edgetest.Dial(t, n.http)
	for i := range 3 {
		if got := c.Do("GET", head("GET", "www.shop.test", "/")+"\r\n"); got.Close != (i == 2) {
			t.Errorf("answer %d: close %v", i+1, got.Close)
		}
	}
	c.WantClosed()
}

// A body whose framing breaks off is refused with a clean answer, and the backend
// never sees a complete request.
func TestBrokenBodyNeverReachesTheBackendWhole(t *testing.T) {
	for name, body := range map[string]string{
		"junk after a chunk":   "5\r\nhelloX0\r\n\r\n",
		"LF after the size":    "5\nhello\r\n0\r\n\r\n",
		"bad trailer":          "5\r\nhello\r\n0\r\nX A: y\r\n\r\n",
		"Host in the trailers": "5\r\nhello\r\n0\r\nHost: other.test\r\n\r\n",
	} {
		for _, pad := range []int{0, 100_000} { // small bodies are read whole first, larger ones stream
			t.Run(fmt.Sprintf("%s behind %d bytes", name, pad), func(t *testing.T) {
				b := edgetest.NewBackend(t)
				n := start(t, shopSite(b.URL, "waf: {mode: off}"))
				c := edgetest.Dial(t, n.http)
				raw := head("POST", "www.shop.test", "/sink", "Transfer-Encoding: chunked") + "\r\n"
				if pad > 0 {
					raw += fmt.Sprintf("%x\r\n%s\r\n", pad, strings.Repeat("x", pad))
				}
				c.Send(raw + body)
				if got := c.Receive("POST"); got.Status != 400 || !got.Close {
					t.Errorf("status %d, close %v", got.Status, got.Close)
				}
				for _, r := range b.Requests() {
					t.Logf("the backend had %+v", r)
				}
				n.waitFor(t, n.access, `"status":400`)
			})
		}
	}
}

// Memory pressure first costs keep-alive, then new connections, then requests, and
// nothing else.
func TestOverloadCostsKeepAliveThenConnectionsThenRequests(t *testing.T) {
	b := edgetest.NewBackend(t)
	var level atomic.Int32
	n := start(t, shopSite(b.URL, "waf: {mode: off}"), func(o *Options) {
		o.Overload = func() overload.Level { return overload.Level(level.Load()) }
	})
	for _, c := range []struct {
		level  overload.Level
		status int
		close  bool
	}{
		{overload.Normal, 200, false},
		{overload.NoKeepAlive, 200, true},
		{overload.NoConnections, 200, true},
		{overload.Shed, 503, true},
		{overload.Normal, 200, false},
	} {
		level.Store(int32(overload.Normal))
		conn := edgetest.Dial(t, n.http)
		conn.Do("GET", head("GET", "www.shop.test", "/")+"\r\n")
		level.Store(int32(c.level))
		got := conn.Do("GET", head("GET", "www.shop.test", "/")+"\r\n")
		if got.Status != c.status || got.Close != c.close || (c.status == 503) != (got.Header.Get("Retry-After") != "") {
			t.Errorf("%v: status %d, close %v, Retry-After %q", c.level, got.Status, got.Close, got.Header.Get("Retry-After"))
		}
	}
	level.Store(int32(overload.NoConnections))
	if late, err := net.Dial("tcp", n.http); err == nil {
		defer late.Close()
		if _, err := late.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a new connection: %v", err)
		}
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
}
