package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/edge/upstream"
	"gatehouse/edge/waf"
	"gatehouse/internal/edgetest"
)

// hinted is a client's connection that takes interim answers.
type hinted struct {
	clientConn
	seen []string
	err  error
}

func (h *hinted) Inform(status int, lines []byte) error {
	h.seen = append(h.seen, fmt.Sprintf("%d %s", status, lines))
	return h.err
}

func TestWhoGetsInterimAnswers(t *testing.T) {
	for _, c := range []struct {
		name      string
		conn      clientConn
		proto     string
		responses bool // are inspected
		mode      waf.Mode
		want      bool
	}{
		{"HTTP/1.1", &hinted{}, "HTTP/1.1", false, waf.Detect, true},
		{"HTTP/1.0 knows no 1xx (RFC 9110 section 15.2)", &hinted{}, "HTTP/1.0", false, waf.Detect, false},
		{"answers are inspected before they leave", &hinted{}, "HTTP/1.1", true, waf.Block, false},
		{"answers are inspected and leave anyway", &hinted{}, "HTTP/1.1", true, waf.Detect, true},
	} {
		r := &request{conn: c.conn, Proto: c.proto, site: &site{}}
		r.site.profile.Responses, r.site.profile.Mode = c.responses, c.mode
		if got := r.informational() != nil; got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestAnInterimAnswerKeepsOurIDToTheFinalOne(t *testing.T) {
	conn := &hinted{}
	r := &request{conn: conn, Proto: "HTTP/1.1", site: &site{}, srv: &Server{}}
	r.newOutbound()
	inform := r.informational()
	field := func(name, value string) upstream.Field {
		return upstream.Field{Name: []byte(name), Value: []byte(value)}
	}
	inform(103, []upstream.Field{field("Link", "</a>"), field("X-REQUEST-ID", "theirs"), field("Set-Cookie", "a=b")})
	if len(conn.seen) != 1 || conn.seen[0] != "103 Link: </a>\r\nSet-Cookie: a=b\r\n" {
		t.Errorf("sent %q", conn.seen)
	}
	p, err := upstream.NewPool(upstream.Options{Address: "http://127.0.0.1:1"}) // where nobody is
	if err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		_, err := p.RoundTrip(t.Context(), &upstream.Request{Method: "GET", Target: "/", Host: "a.test", Lifeline: &r.outbound.line})
		return err
	}
	if err := ask(); errors.Is(err, context.Canceled) {
		t.Error("cancelled although the client is there")
	}
	conn.err = errors.New("gone")
	if inform(102, nil); !errors.Is(ask(), context.Canceled) {
		t.Error("the round trip goes on for a client that has gone")
	}
}

func TestEarlyHintsReachTheClientBeforeTheAnswer(t *testing.T) {
	hinted := make(chan struct{})
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		<-hinted
		_, _ = io.WriteString(w, "after")
	})})
	n := start(t, shopSite(b.URL))
	c := edgetest.Dial(t, n.http)
	for range 2 { // the connection goes on
		c.Send(head("GET", "www.shop.test", "/") + "\r\n")
		var got strings.Builder
		one := make([]byte, 1)
		for !strings.HasSuffix(got.String(), "\r\n\r\n") {
			if _, err := c.Read(one); err != nil {
				t.Fatalf("%v after %q", err, got.String())
			}
			got.Write(one)
		}
		if !strings.HasPrefix(got.String(), "HTTP/1.1 103 ") || !strings.Contains(got.String(), "Link: </style.css>; rel=preload\r\n") {
			t.Fatalf("first came %q", got.String())
		}
		hinted <- struct{}{}
		if final := c.Receive("GET"); final.Status != 200 || string(final.Body) != "after" {
			t.Errorf("%d %q", final.Status, final.Body)
		}
	}
	old := edgetest.Dial(t, n.http)
	old.Send("GET / HTTP/1.0\r\nHost: www.shop.test\r\n\r\n")
	hinted <- struct{}{}
	if got := string(old.ReadAll()); strings.Contains(got, " 103 ") || !strings.HasSuffix(got, "after") {
		t.Errorf("an HTTP/1.0 client got %q", got)
	}
}

// A backend that closes idle connections after 100 ms, and POSTs that come just then.
func TestNoPOSTIsLostOnABackendThatClosesIdleConnections(t *testing.T) {
	const clients, each, limit = 20, 10, 100 * time.Millisecond
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{KeepAlive: limit})
	n := start(t, shopSite(b.URL, "waf: {mode: off}"))
	var wg sync.WaitGroup
	for range clients {
		c := edgetest.Dial(t, n.http)
		wg.Go(func() {
			for i := range each {
				c.Send(head("POST", "www.shop.test", "/sink", "Content-Length: 5") + "\r\norder")
				if got, err := c.TryReceive("POST"); err != nil || got.Status != 200 {
					t.Errorf("POST %d is lost: %v", i, err)
					return
				}
				time.Sleep(limit + time.Duration(i-each/2)*50*time.Microsecond) // the attack
			}
		})
	}
	wg.Wait()
	if d := b.Deliveries("/sink"); d != clients*each {
		t.Errorf("%d POSTs arrived, want %d", d, clients*each)
	}
}

// Wherever a chunked answer is cut or broken, the client can tell, and nothing is stored.
func TestABrokenChunkedAnswerIsNeverACleanEndNorStored(t *testing.T) {
	const start200 = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=60\r\n\r\n"
	for name, rest := range map[string]string{
		"between chunks":      "5\r\nhello\r\n",
		"inside a chunk":      "a\r\nhello",
		"before the CRLF":     "5\r\nhello",
		"in the last chunk":   "5\r\nhello\r\n0\r\n",
		"junk after a chunk":  "5\r\nhelloX\r\n0\r\n\r\n",
		"a size of no number": "5\r\nhello\r\nzz\r\n0\r\n\r\n",
		"a bad trailer":       "5\r\nhello\r\n0\r\nX Y: z\r\n\r\n",
	} {
		url := scripted(t, func(_ int, _ *http.Request, conn net.Conn) bool {
			_, _ = io.WriteString(conn, start200+rest)
			return false
		})
		n := start(t, shopSite(url, "cache: {enabled: true}"))
		for range 2 {
			c := edgetest.Dial(t, n.http)
			c.Send(head("GET", "www.shop.test", "/") + "\r\n")
			if got, err := c.TryReceive("GET"); err == nil && got.Status == 200 {
				t.Errorf("cut %s: a clean end after %q", name, got.Body)
			}
		}
		if entries := n.store.Stats().Entries; entries != 0 {
			t.Errorf("cut %s: stored", name)
		}
	}
}
