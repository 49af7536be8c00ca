package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sentBy gives the raw bytes of the head that reaches the backend for req.
func sentBy(t *testing.T, prefix string, req *Request) string {
	t.Helper()
	got := make(chan string, 1)
	b := serve(t, func(s *session) {
		var head strings.Builder
		for !strings.HasSuffix(head.String(), "\r\n\r\n") {
			c, err := s.br.ReadByte()
			if err != nil {
				return
			}
			head.WriteByte(c)
		}
		got <- head.String()
		s.say(okAnswer)
	})
	wantOK(t, newPool(t, Options{Address: b.url() + prefix}), req)
	return <-got
}

func TestTheRequestIsWrittenVerbatim(t *testing.T) {
	for _, c := range []struct {
		name, prefix string
		req          *Request
		want         string
	}{
		{"raw target", "", get("//other.test/x://y?a=%2F&b=%252e"), "GET //other.test/x://y?a=%2F&b=%252e HTTP/1.1\r\nHost: shop.test\r\n\r\n"},
		{"empty query stays", "", get("/q?"), "GET /q? HTTP/1.1\r\nHost: shop.test\r\n\r\n"},
		{"prefix", "/app/", get("/x?y"), "GET /app/x?y HTTP/1.1\r\nHost: shop.test\r\n\r\n"},
		{"prefix and dots", "/app", get("/../x"), "GET /app/../x HTTP/1.1\r\nHost: shop.test\r\n\r\n"},
		{
			"OPTIONS *", "/app",
			&Request{Method: "OPTIONS", Target: "*", Host: "h"},
			"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
		},
		{
			"fields", "",
			&Request{Method: "GET", Target: "/", Host: "h", Head: []byte("Accept: */*\r\nx-a:\tb\r\n")},
			"GET / HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nx-a:\tb\r\n\r\n",
		},
		{"POST without content", "", &Request{Method: "POST", Target: "/", Host: "h"}, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"},
		{"POST", "", post("abc"), "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\n"},
		{
			"unknown length", "",
			&Request{Method: "PUT", Target: "/", Host: "h", Body: strings.NewReader(""), ContentLength: -1},
			"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := sentBy(t, c.prefix, c.req); got != c.want {
				t.Errorf("sent %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestRequestSplittingIsRefused(t *testing.T) {
	p := newPool(t, Options{Address: "http://127.0.0.1:9", Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("dialled for a request that cannot be sent")
		return nil, errors.New("no")
	}})
	head := func(text string) *Request { r := get("/"); r.Head = []byte(text); return r }
	for name, req := range map[string]*Request{
		"space in target":       get("/a b"),
		"CRLF in target":        get("/ HTTP/1.1\r\nX: y"),
		"tab in target":         get("/a\tb"),
		"DEL in target":         get("/a\x7f"),
		"absolute target":       get("http://x/"),
		"empty target":          get(""),
		"GET *":                 get("*"),
		"method with space":     {Method: "GET /x", Target: "/", Host: "h"},
		"no method":             {Target: "/", Host: "h"},
		"CONNECT":               {Method: "CONNECT", Target: "/", Host: "h"},
		"no host":               {Method: "GET", Target: "/"},
		"LF in host":            {Method: "GET", Target: "/", Host: "h\nX: y"},
		"empty line in head":    head("A: b\r\n\r\nGET /evil HTTP/1.1\r\n"),
		"head without CRLF":     head("A: b"),
		"bare LF":               head("A: b\nC: d\r\n"),
		"bare CR":               head("A: b\rC: d\r\n"),
		"NUL":                   head("A: long enough value \x00 here\r\n"),
		"fold":                  head("A: b\r\n c\r\n"),
		"space before colon":    head("A : b\r\n"),
		"no colon":              head("nonsense\r\n"),
		"own Content-Length":    head("content-LENGTH: 3\r\n"),
		"own Transfer-Encoding": head("Transfer-Encoding: chunked\r\n"),
		"own Host":              head("HOST: other.test\r\n"),
		"own Connection":        head("Connection: x\r\n"),
		"own Upgrade":           head("Upgrade: h2c\r\n"),
		"upgrade to h2c":        {Method: "GET", Target: "/", Host: "h", Upgrade: "h2c"},
		"length without body":   {Method: "POST", Target: "/", Host: "h", ContentLength: 3},
		"negative length":       {Method: "POST", Target: "/", Host: "h", ContentLength: -2, Body: strings.NewReader("")},
	} {
		_, err := p.RoundTrip(context.Background(), req)
		if !errors.Is(err, ErrBadRequest) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if e := wantError(t, err, OpWrite); e.Sent {
			t.Errorf("%s: said to be sent", name)
		}
	}
}

func TestBodiesOfAllKindsArrive(t *testing.T) {
	b := serve(t, func(s *session) {
		for {
			req := s.request()
			if req == nil {
				return
			}
			body, _ := io.ReadAll(req.Body)
			if len(body) > 0 && body[0] == 'c' { // answer chunked, in pieces
				s.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				for part := range slices.Chunk(body, 1000) {
					s.say(fmt.Sprintf("%x;x=y\r\n%s\r\n", len(part), part))
				}
				s.say("0\r\nX-Trailer: t\r\n\r\n")
				continue
			}
			s.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		}
	})
	p := poolTo(t, b)
	p.trust()
	for _, kind := range []string{"l", "c"} {
		for _, size := range []int{1, 100, smallBody, smallBody + 1, 100_000, 1_000_000} {
			for _, known := range []bool{true, false} {
				want := strings.Repeat(kind, size)
				req := post(want)
				if !known {
					req.ContentLength = -1
				}
				resp, got, err := fetch(t, p, req)
				if err != nil || got != want {
					t.Fatalf("%s, %d bytes, length known %v: %d bytes back, %v", kind, size, known, len(got), err)
				}
				if kind == "l" && resp.ContentLength != int64(size) || kind == "c" && resp.ContentLength != -1 {
					t.Errorf("%s: content length %d for %d", kind, resp.ContentLength, size)
				}
				if len(resp.field("x-trailer")) != 0 {
					t.Error("a trailer became a field")
				}
			}
		}
	}
	if n := b.conns.Load(); n != 1 {
		t.Errorf("%d connections for clean sequential round trips, want 1", n)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	b := serveOn(t, ln, func(s *session) {
		for s.request() != nil {
			s.say(okAnswer)
		}
	})
	p := newPool(t, Options{Address: "unix:" + path})
	wantOK(t, p, get("/"))
	wantOK(t, p, get("/"))
	if n := b.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1 used twice", n)
	}
}

func TestNobodyListening(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	_, _, err = fetch(t, newPool(t, Options{Address: "http://" + ln.Addr().String()}), get("/"))
	if e := wantError(t, err, OpConnect); e.Sent || e.Timeout || !e.Refused {
		t.Errorf("%+v", e)
	}
}

// A handshake is work for the backend, whatever comes of it.
func TestAFailedHandshakeIsNoRefusal(t *testing.T) {
	b := serve(t, func(s *session) { s.say("HTTP/1.1 400 Bad Request\r\n\r\n") })
	_, _, err := fetch(t, newPool(t, Options{Address: "https://" + b.Addr().String()}), get("/"))
	if e := wantError(t, err, OpConnect); e.Sent || e.Refused || !e.Repeatable {
		t.Errorf("%+v", e)
	}
}

func TestConnectTimeout(t *testing.T) {
	p := newPool(t, Options{
		Address: "http://127.0.0.1:9", ConnectTimeout: 20 * time.Millisecond,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { // a black hole
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	_, _, err := fetch(t, p, get("/"))
	if e := wantError(t, err, OpConnect); !e.Timeout || e.Sent || e.Refused {
		t.Errorf("%+v", e)
	}
}

func TestFirstByteTimeoutDeliversOnce(t *testing.T) {
	for _, before := range []string{"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 102 Processing\r\n\r\n"} {
		b := serve(t, func(s *session) {
			s.request()
			s.say(before)
			_, _ = s.br.ReadByte() // until it gives up
		})
		p := newPool(t, Options{Address: b.url(), FirstByteTimeout: 50 * time.Millisecond})
		for _, req := range []*Request{get("/"), post("abc"), post(strings.Repeat("x", 100_000))} {
			was := b.conns.Load()
			_, _, err := fetch(t, p, req)
			if e := wantError(t, err, OpHead); !e.Timeout || !e.Sent {
				t.Errorf("after %q: %+v", before, e)
			}
			if n := b.conns.Load() - was; n != 1 {
				t.Errorf("after %q: delivered %d times", before, n)
			}
		}
	}
}

func TestASlowUploadIsNotCutByTheFirstByteTimeout(t *testing.T) {
	t.Parallel()
	b := answering(t, okAnswer)
	p := newPool(t, Options{Address: b.url(), FirstByteTimeout: 1500 * time.Millisecond})
	body, w := io.Pipe()
	go func() {
		for range 9 { // 1.8 s in all
			time.Sleep(200 * time.Millisecond)
			_, _ = io.WriteString(w, "part")
		}
		w.Close()
	}()
	req := &Request{Method: "POST", Target: "/", Host: "h", Body: body, ContentLength: -1}
	wantOK(t, p, req)
}

func TestAStalledBodyTimesOut(t *testing.T) {
	b := serve(t, func(s *session) {
		s.request()
		s.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		_, _ = s.br.ReadByte()
	})
	p := newPool(t, Options{Address: b.url(), StallTimeout: 30 * time.Millisecond})
	_, body, err := fetch(t, p, get("/"))
	if e := wantError(t, err, OpBody); !e.Timeout || body != "half" {
		t.Errorf("%q, %+v", body, e)
	}
}

func TestTheContextAbortsAtOnce(t *testing.T) {
	hang := make(chan struct{})
	reached := make(chan struct{}, 10)
	b := serve(t, func(s *session) {
		req := s.request()
		if req == nil {
			return
		}
		if req.URL.Path == "/body" {
			s.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		}
		reached <- struct{}{}
		<-hang
	})
	t.Cleanup(func() { close(hang) })
	p := poolTo(t, b)

	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-reached; cancel() }()
	_, err := p.RoundTrip(ctx, get("/head"))
	if e := wantError(t, err, OpHead); !errors.Is(err, context.Canceled) || !e.Sent || e.Timeout {
		t.Errorf("while waiting for the head: %+v", e)
	}

	ctx, cancel = context.WithCancel(context.Background())
	resp, err := p.RoundTrip(ctx, get("/body"))
	if err != nil {
		t.Fatal(err)
	}
	<-reached
	cancel()
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("while reading the body: %v", err)
	}
	resp.Body.Close()

	_, err = p.RoundTrip(ctx, get("/"))
	if e := wantError(t, err, OpConnect); !errors.Is(err, context.Canceled) || e.Sent {
		t.Errorf("before the start: %+v", e)
	}

	ctx, cancel = context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	_, err = p.RoundTrip(ctx, get("/head"))
	var e *Error
	if !errors.As(err, &e) || !e.Timeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the context's deadline: %v", err)
	}
	if s := p.Stats(); s.Idle != 0 {
		t.Errorf("%d connections kept of aborted round trips", s.Idle)
	}
}

func TestBackPressureReachesTheBackend(t *testing.T) {
	stalled := make(chan int, 1)
	b := serve(t, func(s *session) {
		_ = s.Conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
		if s.request() == nil {
			return
		}
		s.say("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
		block, sent := make([]byte, 16<<10), 0
		for sent < 64<<20 {
			_ = s.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			n, err := s.Write(block)
			if sent += n; err != nil {
				break
			}
		}
		stalled <- sent
	})
	p := newPool(t, Options{Address: b.url(), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			err = c.(*net.TCPConn).SetReadBuffer(16 << 10)
		}
		return c, err
	}})
	resp, err := p.RoundTrip(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
		t.Fatal(n, err)
	}
	if sent := <-stalled; sent > 4<<20 {
		t.Errorf("the backend could send %d bytes to a client that reads nothing", sent)
	}
}

func TestWebsocketUpgrade(t *testing.T) {
	b := serve(t, func(s *session) {
		req := s.request()
		if req == nil {
			return
		}
		if req.Header.Get("Connection") != "Upgrade" || req.Header.Get("Upgrade") != "websocket" || req.Header.Get("Sec-Websocket-Key") != "k" {
			s.say("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
			return
		}
		s.say("HTTP/1.1 101 Switching Protocols\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: a\r\n\r\nearly")
		_, _ = io.Copy(s, s.br)
	})
	p := poolTo(t, b)
	ctx, cancel := context.WithCancel(context.Background())
	req := get("/ws")
	req.Upgrade, req.Head = "websocket", []byte("Sec-WebSocket-Key: k\r\n")
	resp, err := p.RoundTrip(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Status != 101 || resp.Upgraded == nil || len(resp.field("sec-websocket-accept")) != 1 || len(resp.Fields) != 1 {
		t.Fatalf("%+v", resp)
	}
	cancel() // no longer ours to end
	if _, err := io.WriteString(resp.Upgraded, " bird"); err != nil {
		t.Fatal(err)
	}
	if err := resp.Upgraded.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Upgraded)
	if err != nil || string(got) != "early bird" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := resp.Upgraded.Close(); err != nil {
		t.Error(err)
	}
}

func TestAnUpgradeThatWasRefusedIsAnOrdinaryAnswer(t *testing.T) {
	p := poolTo(t, answering(t, okAnswer))
	req := get("/ws")
	req.Upgrade = "websocket"
	if resp := wantOK(t, p, req); resp.Upgraded != nil {
		t.Error("a connection was handed over")
	}
}

// The limit on the head must not go on ticking while the body comes.
func TestAPauseInTheBodyIsNotCutByTheFirstByteTimeout(t *testing.T) {
	for _, stall := range []time.Duration{0, -1} {
		t.Run(stall.String(), func(t *testing.T) {
			t.Parallel()
			b := serve(t, func(s *session) {
				if s.request() != nil {
					s.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
					time.Sleep(1200 * time.Millisecond) // part of the script
					s.say("k")
				}
			})
			wantOK(t, newPool(t, Options{Address: b.url(), FirstByteTimeout: time.Second, StallTimeout: stall}), get("/"))
		})
	}
}

func TestATimeoutOnAKeptConnectionIsNotRepeated(t *testing.T) {
	hold := make(chan struct{})
	b := serve(t, func(s *session) {
		s.request()
		s.say(okAnswer)
		s.request()
		<-hold
	})
	t.Cleanup(func() { close(hold) })
	p := newPool(t, Options{Address: b.url(), FirstByteTimeout: 500 * time.Millisecond})
	wantOK(t, p, get("/"))
	_, _, err := fetch(t, p, get("/"))
	if e := wantError(t, err, OpHead); !e.Timeout || e.Repeatable || e.Error() != "backend head: "+e.Err.Error() {
		t.Errorf("%+v", e)
	}
	if s := p.Stats(); s.Dials != 1 || s.Reused != 1 {
		t.Errorf("%+v", s)
	}
}
