package edge

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

func TestForwardingFieldsComeFromUsNotFromTheClient(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL))
	n.get(t, "www.shop.test:80", "/a%2Fb//c?x=1&", "x-FORWARDED-for: 6.6.6.6", "X-Real-IP: 6.6.6.6", "X_Forwarded_For: 6.6.6.6",
		"Forwarded: for=6.6.6.6", "X-Forwarded-Proto: https", "CF-Connecting-IP: 6.6.6.6", "X-Original-URL: /admin",
		"X-SSL-Client: yes", "Proxy: http://evil", "X-Request-Id: mine", "Connection: close, X-Hop", "X-Hop: 1", "Te: trailers", "X-Mine: kept")
	seen := b.Requests()[0]
	if seen.Target != "/a%2Fb//c?x=1&" {
		t.Errorf("target %q is not the raw one", seen.Target)
	}
	want := map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Proto": "http",
		"X-Forwarded-Host": "www.shop.test", "X-Mine": "kept",
	}
	for name, value := range want {
		if got := strings.Join(seen.Header[name], "|"); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	for _, name := range []string{"X_forwarded_for", "Forwarded", "Cf-Connecting-Ip", "X-Original-Url", "X-Ssl-Client", "Proxy", "X-Hop", "Te", "Connection"} {
		if v, there := seen.Header[name]; there && name != "Connection" {
			t.Errorf("%s: %q reached the backend", name, v)
		}
	}
	if id := seen.Header.Get("X-Request-Id"); !strings.HasPrefix(id, "n1-") {
		t.Errorf("X-Request-Id %q is not ours", id)
	}
}

// Whoever is not a trusted proxy cannot say who the client is, in whatever field
// and spelling a backend might believe.
func TestNoClaimOfAnUntrustedPeerReachesABackend(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: off}"))
	names := []string{"x-forwarded-port", "x-forwarded-anything", "x-ssl-client-verify", "ssl-client-cert", "x-real-host"}
	for name, rule := range rules {
		if rule == claim {
			names = append(names, name)
		}
	}
	if len(names) < 25 {
		t.Fatalf("only %d names", len(names))
	}
	for _, name := range names {
		for _, spelled := range []string{name, strings.ToUpper(name), strings.ReplaceAll(name, "-", "_")} {
			n.get(t, "www.shop.test", "/", spelled+": 6.6.6.6")
			seen := b.Requests()
			for got, values := range seen[len(seen)-1].Header {
				if slices.Contains(values, "6.6.6.6") {
					t.Errorf("%s reached the backend as %s", spelled, got)
				}
			}
		}
	}
}

func TestTrustedProxyIsBelieved(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL), func(o *Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	n.get(t, "www.shop.test", "/", "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.1.1", "X-Forwarded-Proto: https", "X-Request-Id: theirs-1")
	h := b.Requests()[0].Header
	if h.Get("X-Forwarded-For") != "6.6.6.6, 203.0.113.9, 10.1.1.1, 127.0.0.1" || h.Get("X-Real-Ip") != "203.0.113.9" ||
		h.Get("X-Forwarded-Proto") != "https" || h.Get("X-Request-Id") != "theirs-1" {
		t.Errorf("fields: %v", h)
	}
}

func TestFailedConnectIsRetriedOnAnotherBackend(t *testing.T) {
	good := edgetest.NewBackend(t)
	dead := fmt.Sprintf("http://127.0.0.1:%d", edgetest.FreePort(t))
	n := start(t, shopSite(dead+", "+good.URL))
	for i := range 20 {
		if got := n.get(t, "www.shop.test", "/"); got.Status != 200 {
			t.Fatalf("request %d: status %d", i, got.Status)
		}
	}
	if n := good.Deliveries(""); n != 20 {
		t.Errorf("%d deliveries, want 20", n)
	}
}

func TestStatusesOfFailingBackends(t *testing.T) {
	b := edgetest.NewBackend(t)
	dead := fmt.Sprintf("http://127.0.0.1:%d", edgetest.FreePort(t))
	n := start(t, shopSite(b.URL, "timeouts: {first_byte: 200ms}")+"  dead.test:\n    backends: ["+dead+"]\n")
	for _, c := range []struct {
		host, target string
		status       int
	}{
		{"dead.test", "/", 502},
		{"www.shop.test", "/garbage", 502},
		{"www.shop.test", "/close", 502},
		{"www.shop.test", "/slow?for=10s", 504},
		{"www.shop.test", "/status?code=503", 503},
	} {
		got := n.get(t, c.host, c.target)
		if got.Status != c.status {
			t.Errorf("%s%s: status %d, want %d", c.host, c.target, got.Status, c.status)
		}
		if strings.Contains(string(got.Body), "127.0.0.1") || strings.Contains(string(got.Body), "169.254") {
			t.Errorf("%s%s: the page shows a backend: %s", c.host, c.target, got.Body)
		}
	}
}

func TestCutBackendIsNeverACleanEnd(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true, ttl: 60s}"))
	c := edgetest.Dial(t, n.http)
	c.Send(head("GET", "www.shop.test", "/cut?n=1000") + "\r\n")
	if got, err := c.TryReceive("GET"); err == nil {
		t.Errorf("a cut answer arrived whole: %d bytes", len(got.Body))
	}
	n.waitFor(t, n.access, "/cut")
	if entries := n.store.Stats().Entries; entries != 0 {
		t.Errorf("%d entries stored of a cut answer", entries)
	}
}

func TestElevenMegabytesUpAndDownAreByteIdentical(t *testing.T) {
	const size = 11 << 20
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {inspect_body: 1KiB}"))
	for _, kind := range []string{"", "&chunked=1"} {
		got := n.get(t, "www.shop.test", fmt.Sprintf("/bytes?n=%d%s", size, kind))
		if sum := sumOf(got.Body); sum != edgetest.PatternSum(size) {
			t.Errorf("download%s: %d bytes with another sum", kind, len(got.Body))
		}
	}
	for _, chunked := range []bool{false, true} {
		c := edgetest.Dial(t, n.http)
		sendUpload(t, c, size, chunked)
		got := c.Receive("POST")
		if !strings.Contains(string(got.Body), edgetest.PatternSum(size)) {
			t.Errorf("upload, chunked %v: status %d %s", chunked, got.Status, got.Body)
		}
	}
}

func TestHeadAndEmptyStatuses(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL))
	c := edgetest.Dial(t, n.http)
	for _, target := range []string{"/bytes?n=5000", "/bytes?n=5000&chunked=1", "/status?code=204", "/status?code=304"} {
		got := c.Do("HEAD", head("HEAD", "www.shop.test", target)+"\r\n")
		if len(got.Body) != 0 || got.Close {
			t.Errorf("HEAD %s: %d bytes, close %v", target, len(got.Body), got.Close)
		}
		if strings.Contains(target, "n=5000") && !strings.Contains(target, "chunked") && got.Header.Get("Content-Length") != "5000" {
			t.Errorf("HEAD %s: Content-Length %q", target, got.Header.Get("Content-Length"))
		}
		if strings.Contains(target, "204") && got.Header.Get("Content-Length") != "" {
			t.Errorf("204 has Content-Length %q (RFC 9110 §8.6)", got.Header.Get("Content-Length"))
		}
	}
	if got := c.Do("GET", head("GET", "www.shop.test", "/bytes?n=10")+"\r\n"); len(got.Body) != 10 {
		t.Errorf("after them the connection gave %d bytes, want 10", len(got.Body))
	}
}

func TestHTTP10ClientGetsABodyWithoutChunks(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL))
	c := edgetest.Dial(t, n.http)
	c.Send("GET /bytes?n=70000&chunked=1 HTTP/1.0\r\nHost: www.shop.test\r\n\r\n")
	headText, body, _ := strings.Cut(string(c.ReadAll()), "\r\n\r\n")
	if strings.Contains(strings.ToLower(headText), "transfer-encoding") || sumOf([]byte(body)) != edgetest.PatternSum(70000) {
		t.Errorf("%d bytes after %s", len(body), headText)
	}
}

func TestWebSocketPassesAndSurvivesAThousandChanges(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL))
	ws := edgetest.Dial(t, n.http)
	ws.UpgradeWebSocket("www.shop.test", "/ws")
	ws.WebSocketEcho("before")
	for i := range 1000 {
		n.apply(t, shopSite(b.URL, fmt.Sprintf("timeouts: {first_byte: %ds}", i+1)))
	}
	ws.WebSocketEcho("after")
	if got := n.get(t, "www.shop.test", "/"); got.Status != 200 {
		t.Errorf("status %d", got.Status)
	}
}

func TestOtherUpgradesAreDropped(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL))
	n.get(t, "www.shop.test", "/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
	h := b.Requests()[0].Header
	if h.Get("Upgrade") != "" || h.Get("Http2-Settings") != "" {
		t.Errorf("fields of an h2c upgrade reached the backend: %v", h)
	}
}

// What a backend has sent reaches the client at once, whatever comes later:
// event streams, long polls, slow downloads of known length.
func TestFirstBytesDoNotWaitForTheRest(t *testing.T) {
	arrived := make(chan struct{})
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("length") {
			w.Header().Set("Content-Length", "10")
		} else {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-arrived
		_, _ = io.WriteString(w, "after")
	})})
	n := start(t, shopSite(b.URL, "waf: {mode: block, responses: true}", "cache: {enabled: true}")+
		"  plain.test:\n    backends: ["+b.URL+"]\n")
	for _, c := range []struct{ host, target string }{
		{"www.shop.test", "/events"}, // although responses are inspected
		{"plain.test", "/events"},
		{"plain.test", "/file?length"},
	} {
		target := c.target
		conn := edgetest.Dial(t, n.http)
		conn.Send(head("GET", c.host, target) + "\r\n")
		var got strings.Builder
		buf := make([]byte, 1)
		for !strings.HasSuffix(got.String(), "first") { // the connection's deadline ends a wait in vain
			if _, err := conn.Read(buf); err != nil {
				t.Fatalf("%s: %v after %q", target, err, got.String())
			}
			got.Write(buf)
		}
		arrived <- struct{}{}
		for !strings.Contains(got.String(), "after") {
			if _, err := conn.Read(buf); err != nil {
				t.Fatalf("%s: %v after %q", target, err, got.String())
			}
			got.Write(buf)
		}
	}
}
