package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// Each test here is named after what was broken once.

func TestTunnelThatTheBackendEndsStaysOpenAtTheClient(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL))
	ws := edgetest.Dial(t, n.http)
	ws.UpgradeWebSocket("www.shop.test", "/ws")
	ws.WebSocketEcho("open")
	b.CloseConnections()
	ws.WantClosed()
	n.waitFor(t, n.access, `"target":"/ws"`)
}

func TestShutdownHangsOnAnIdleTunnel(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL))
	ws := edgetest.Dial(t, n.http)
	ws.UpgradeWebSocket("www.shop.test", "/ws")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil || ctx.Err() != nil {
		t.Errorf("Shutdown: %v, %v", err, ctx.Err())
	}
	ws.WantClosed()
}

func TestUpgradeWithConnectionCloseLeaksTheBackendsConnection(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL))
	for range 5 {
		c := edgetest.Dial(t, n.http)
		c.Send(head("GET", "www.shop.test", "/ws", "Connection: Upgrade", "Connection: close", "Upgrade: websocket",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==") + "\r\n")
		if _, err := c.Read(make([]byte, 12)); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	edgetest.WaitFor(t, "five access lines", func() bool { return strings.Count(n.access.String(), `"/ws"`) == 5 })
	edgetest.WaitFor(t, "the backend's connections to close", func() bool { _, open := b.Connections(); return open == 0 })
}

func TestCachePoisoningByThePortInHost(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true, ttl: 60s}"))
	n.get(t, "WWW.shop.test.:1337", "/")
	seen := b.Requests()[0]
	if seen.Host != "www.shop.test" || seen.Header.Get("X-Forwarded-Host") != "www.shop.test" {
		t.Errorf("the backend saw Host %q, X-Forwarded-Host %q: what the key does not have could be stored", seen.Host, seen.Header.Get("X-Forwarded-Host"))
	}
}

func TestVaryOnAFieldThatWeWriteServesOneClientsPageToAnother(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true, ttl: 60s}"))
	for _, name := range []string{"X-Real-IP", "x-forwarded-for", "Accept, X-Forwarded-Host", "CF-Connecting-IP"} {
		target := "/respond?body=hello&Vary=" + strings.ReplaceAll(name, " ", "%20")
		n.get(t, "www.shop.test", target)
		if got := n.get(t, "www.shop.test", target).Header.Get("Cache-Status"); strings.Contains(got, "hit") {
			t.Errorf("Vary: %s: %s", name, got)
		}
	}
}

func TestBackendThatIsOurselvesLoopsUntilTheNodeIsDown(t *testing.T) {
	n := start(t, "")
	n.apply(t, shopSite("http://"+n.http, "waf: {mode: off}"))
	if got := n.get(t, "www.shop.test", "/"); got.Status != 508 {
		t.Errorf("status %d, want 508", got.Status)
	}
	if lines := strings.Count(waitLines(t, n, 2), "\n"); lines != 2 {
		t.Errorf("%d requests were made of one", lines)
	}
}

func waitLines(t *testing.T, n *node, lines int) string {
	t.Helper()
	edgetest.WaitFor(t, "the access lines", func() bool { return strings.Count(n.access.String(), "\n") >= lines })
	return n.access.String()
}

func TestNotModifiedWithALengthIsA502WhereResponsesAreInspected(t *testing.T) {
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 304 Not Modified\r\nContent-Type: text/html\r\nContent-Length: 500\r\n\r\n")
	})})
	n := start(t, shopSite(b.URL, "waf: {mode: block, responses: true}"))
	if got := n.get(t, "www.shop.test", "/"); got.Status != 304 {
		t.Errorf("status %d", got.Status)
	}
}

func TestAnnouncedBodyBeyondTheLimitReachesTheBackend(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL), func(o *Options) { o.Limits.Body = 1000 })
	c := edgetest.Dial(t, n.http)
	c.Send(head("POST", "www.shop.test", "/sink", "Content-Length: 1001") + "\r\nx")
	if got := c.Receive("POST"); got.Status != 413 || b.Deliveries("") != 0 {
		t.Errorf("status %d, %d deliveries", got.Status, b.Deliveries(""))
	}
}

// failing is a writer that fails while broken is set.
type failing struct {
	edgetest.Output
	broken atomic.Bool
}

func (f *failing) Write(p []byte) (int, error) {
	if f.broken.Load() {
		return 0, errors.New("no space left on device")
	}
	return f.Output.Write(p)
}

func TestAccessLogStaysSilentAfterOneFailedWrite(t *testing.T) {
	out := &failing{}
	log, err := NewAccessLog(out, FormatCombined, nil)
	if err != nil {
		t.Fatal(err)
	}
	line := func(target string) {
		log.write(&request{Method: "GET", Target: target, Proto: "HTTP/1.1"}, 0)
	}
	out.broken.Store(true)
	line("/lost")
	edgetest.WaitFor(t, "the loss to be noticed", func() bool { return log.Lost() > 0 })
	out.broken.Store(false)
	line("/kept")
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "/kept") || strings.Contains(got, "/lost") {
		t.Errorf("the log has %q", got)
	}
}

func TestCutSmallAnswerOfACachedVhostIsA200WithoutItsBody(t *testing.T) {
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\nfirst")
	})})
	n := start(t, shopSite(b.URL, "cache: {enabled: true}"))
	if got := n.get(t, "www.shop.test", "/"); got.Status != 502 {
		t.Errorf("status %d", got.Status)
	}
}

// One tenant's large bodies take the other tenants' turns.
func TestHeavyBodiesOfOneTenantBlockAnothers(t *testing.T) {
	var h turns
	var releases []func()
	for range 64 { // all that tenant a may have at a time
		done := make(chan struct{})
		var release func()
		go func() { release, _ = h.take("a", 0); close(done) }()
		select {
		case <-done:
			releases = append(releases, release)
			continue
		case <-time.After(200 * time.Millisecond): // it waits: a is full
		}
		entered := make(chan struct{})
		go func() {
			if release, ok := h.take("b", 0); ok {
				release()
			}
			close(entered)
		}()
		select {
		case <-entered:
		case <-time.After(edgetest.Patience):
			t.Error("tenant b waits for tenant a")
		}
		for _, r := range releases {
			r()
		}
		<-done
		release()
		return
	}
	t.Errorf("tenant a has %d slots", len(releases))
}

func TestRetryLosesASmallBodyAndBlamesTheClient(t *testing.T) {
	b := edgetest.NewBackend(t)
	for _, mode := range []string{"off", "detect, inspect_body: 10B"} {
		for i := range 12 { // each vhost is new: its balancer knows of no dead backend
			dead := fmt.Sprintf("http://127.0.0.1:%d", edgetest.FreePort(t))
			n := start(t, shopSite(dead+", "+b.URL, "waf: {mode: "+mode+"}"))
			body := "a=1&b=2&c=3&d=4"
			got := edgetest.Dial(t, n.http).Do("POST", head("POST", "www.shop.test", "/sink", fmt.Sprintf("Content-Length: %d", len(body)))+"\r\n"+body)
			if got.Status != 200 || !strings.Contains(string(got.Body), sumOf([]byte(body))) {
				t.Fatalf("%s, vhost %d: status %d %s", mode, i, got.Status, got.Body)
			}
		}
	}
}

func TestDepartedClientHoldsASilentBackend(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL))
	for _, target := range []string{"/stall?n=3", "/slow?for=10m"} {
		c := edgetest.Dial(t, n.http)
		c.Send(head("GET", "www.shop.test", target) + "\r\n")
		edgetest.WaitFor(t, "the request to arrive", func() bool { return b.Deliveries(target) == 1 })
		c.Close()
	}
	edgetest.WaitFor(t, "both requests to be given up", func() bool {
		return strings.Contains(n.access.String(), "/stall") && strings.Contains(n.access.String(), "/slow")
	})
}

// What is left of an aborted body must not be waited for: that took a processor
// for ever.
func TestAbortedChunkedUploadSpins(t *testing.T) {
	reached, release := make(chan struct{}), make(chan struct{})
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(reached)
		<-release // it takes nothing of the body
	})})
	t.Cleanup(func() { close(release) })
	n := start(t, shopSite(b.URL, "waf: {mode: off}"))
	c := edgetest.Dial(t, n.http)
	c.Send(head("POST", "www.shop.test", "/stuck", "Transfer-Encoding: chunked") + "\r\n")
	<-reached
	var sent atomic.Int64
	go func() { // until the reset
		chunk := "4000\r\n" + strings.Repeat("x", 0x4000) + "\r\n"
		for {
			if _, err := io.WriteString(c.Conn, chunk); err != nil {
				return
			}
			sent.Add(1)
		}
	}()
	edgetest.WaitFor(t, "the upload to be stuck", func() bool { return stalled(&sent) })
	edgetest.Reset(c.Conn)
	c.Close()
	n.waitFor(t, n.access, `"/stuck"`)
}

// stalled reports whether a writer has stopped: the buffers on the way are full.
func stalled(sent *atomic.Int64) bool {
	before := sent.Load()
	<-time.After(200 * time.Millisecond)
	return before > 0 && sent.Load() == before
}

// An HTTP/1.0 client knows the end of a body by the end of the connection: one
// that was cut must not end like that.
func TestCutAnswerToAnHTTP10ClientLooksWhole(t *testing.T) {
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
	})})
	n := start(t, shopSite(b.URL))
	c, err := net.Dial("tcp", n.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\nHost: www.shop.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err == nil {
		t.Errorf("a clean end after %q", got)
	}
}

func TestShutdownCutsAnHTTP10Download(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL))
	c := edgetest.Dial(t, n.http)
	more := make(chan struct{})
	chunked := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = io.WriteString(w, "whole")
	})})
	n.apply(t, shopSite(chunked.URL))
	c.Send("GET / HTTP/1.0\r\nHost: www.shop.test\r\n\r\n")
	var got strings.Builder
	buf := make([]byte, 1)
	for !strings.HasSuffix(got.String(), "\r\n\r\n") { // the head does not wait for the body
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
		got.Write(buf)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- n.Shutdown(ctx) }()
	edgetest.WaitFor(t, "the drain to begin", n.Draining)
	select {
	case err := <-ended:
		t.Fatalf("Shutdown ended with a download under way: %v", err)
	case <-time.After(5 * time.Second): // past the grace of tunnels
	}
	close(more)
	if body := string(c.ReadAll()); body != "whole" {
		t.Errorf("the rest was %q", body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
