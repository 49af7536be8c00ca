package edge

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/edge/waf/events"
	"gatehouse/internal/edgetest"
)

// echoing answers each line of a request's body with the same line, as it comes.
func echoing(t *testing.T) *edgetest.Backend {
	return edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if err := control.EnableFullDuplex(); err != nil {
			panic(err)
		}
		for lines := bufio.NewReader(r.Body); ; {
			line, err := lines.ReadString('\n')
			if _, werr := io.WriteString(w, line); err != nil || werr != nil || control.Flush() != nil {
				return
			}
		}
	})})
}

// converse sends a body line by line, each after the answer to the one before, and returns the end of the answer.
func converse(t *testing.T, n *node, host string, lines ...string) {
	t.Helper()
	c := edgetest.Dial(t, n.http)
	if err := c.SetDeadline(time.Now().Add(edgetest.Patience)); err != nil {
		t.Fatal(err)
	}
	c.Send(head("POST", host, "/talk", "Transfer-Encoding: chunked", "Content-Type: "+formType, "User-Agent: test", "Accept: */*") + "\r\n")
	from := bufio.NewReader(c)
	answered := false
	for _, line := range lines {
		c.Send(chunkOf(line + "\n"))
		for {
			got, err := from.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: after %q: %v", host, line, err)
			}
			answered = answered || strings.HasPrefix(got, "HTTP/1.1 200")
			if answered && got == line+"\n" {
				break
			}
		}
	}
	c.Send("0\r\n\r\n")
	if rest, err := io.ReadAll(io.LimitReader(from, int64(len("\r\n0\r\n\r\n")))); err != nil || !strings.HasSuffix(string(rest), "0\r\n\r\n") {
		t.Errorf("%s: the answer ends with %q, %v", host, rest, err)
	}
}

func chunkOf(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

// A conversation over one request waits for nobody's inspection in detect mode, and is inspected all the same.
func TestStreamOfUnknownLengthIsNotHeldInDetectMode(t *testing.T) {
	b := echoing(t)
	k := &kept{}
	n := start(t, threeTenants(b.URL)+"  responses.test: {tenant: r, backends: ["+b.URL+"], waf: {mode: detect, responses: true}}\n", keeping(k))
	for _, host := range []string{"off.test", "detect.test", "responses.test"} {
		converse(t, n, host, "a=1&b=%3Cscript%3Ealert(1)%3C/script%3E", "c", "d")
	}
	for _, host := range []string{"detect.test", "responses.test"} {
		edgetest.WaitFor(t, "the event of "+host, func() bool { return len(k.of(host)) > 0 })
		if e := k.of(host)[0]; e.Verdict != events.Detect || e.Phase != events.Request || e.Score < 5 {
			t.Errorf("%s: %+v", host, e)
		}
	}
	n.waitFor(t, n.access, `"vhost":"detect.test","waf":"detect","rules":[941100`)
}

// In block mode no byte may pass that was not inspected, so such a conversation cannot begin: it ends as a body
// that stalls, before its backend has heard of it.
func TestStreamOfUnknownLengthIsHeldInBlockModeAndBounded(t *testing.T) {
	b := echoing(t)
	n := start(t, threeTenants(b.URL), func(o *Options) { o.Limits.Stall = time.Second })
	c := edgetest.Dial(t, n.http)
	got := c.Do("POST", head("POST", "block.test", "/talk", "Transfer-Encoding: chunked", "Content-Type: "+formType)+"\r\n"+chunkOf("a=1\n"))
	if got.Status != 408 || b.Deliveries("") != 0 {
		t.Errorf("status %d, %d deliveries", got.Status, b.Deliveries(""))
	}
}

// An event stream and a body of unknown length pass as they come, also where responses are inspected.
func TestEventStreamIsNeverHeld(t *testing.T) {
	more := make(chan struct{})
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		if r.URL.Query().Has("length") {
			w.Header().Set("Content-Length", "26")
		}
		_, _ = io.WriteString(w, "data: first\n\n")
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = io.WriteString(w, "data: later\n\n")
	})})
	n := start(t, shopSite(b.URL, "waf: {mode: block, responses: true}"))
	for _, query := range []string{"type=text/event-stream", "type=text/event-stream&length", "type=text/html"} {
		c := edgetest.Dial(t, n.http)
		c.Send(head("GET", "www.shop.test", "/?"+query, "User-Agent: test", "Accept: */*") + "\r\n")
		until(t, c, "first")
		more <- struct{}{}
		until(t, c, "later")
	}
}

// until reads up to a text.
func until(t *testing.T, c *edgetest.RawConn, text string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(edgetest.Patience)); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for one := make([]byte, 1); !strings.HasSuffix(got.String(), text); {
		if _, err := c.Read(one); err != nil {
			t.Fatalf("%v after %q, waiting for %q", err, got.String(), text)
		}
		got.Write(one)
	}
}

// What an upgraded connection carries is never held.
func TestUpgradeIsNeverHeldWhereResponsesAreInspected(t *testing.T) {
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, both, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello")
		_, _ = io.Copy(conn, both)
	})})
	n := start(t, shopSite(b.URL, "waf: {mode: block, responses: true, on_oversize: block, inspect_body: 10B}"))
	c := edgetest.Dial(t, n.http)
	c.Send(head("GET", "www.shop.test", "/ws", "User-Agent: test", "Accept: */*", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==") + "\r\n")
	until(t, c, "hello")
	c.Send("a text of more than ten bytes")
	until(t, c, "a text of more than ten bytes")
}
