package upstream

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// fixed answers every request on a connection with the same bytes and looks at nothing but where
// a head ends.
func fixed(b *testing.B, answer string) *Pool {
	be := serve(b, func(s *session) {
		for s.readHead() && s.say(answer) {
		}
	})
	return poolTo(b, be)
}

func run(b *testing.B, p *Pool, ctx context.Context, req *Request, scratch []byte) {
	resp, err := p.RoundTrip(ctx, req)
	if err != nil {
		b.Fatal(err)
	}
	for err == nil {
		_, err = resp.Body.Read(scratch)
	}
	if err != io.EOF {
		b.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		b.Fatal(err)
	}
}

const typical = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 22 Nov 2026 00:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\n" +
	"Cache-Control: private, max-age=0\r\nSet-Cookie: session=0123456789abcdef; Path=/; HttpOnly\r\nX-Frame-Options: DENY\r\n"

func typicalRequest() *Request {
	req := get("/some/page?with=query")
	req.Head = []byte("User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept: text/html,application/xhtml+xml\r\n" +
		"Accept-Language: en\r\nX-Forwarded-For: 192.0.2.1\r\nX-Request-Id: 01234567-89ab-cdef\r\n")
	return req
}

func BenchmarkRoundTrip(b *testing.B) {
	small := strings.Repeat("x", 1000)
	large := strings.Repeat("x", 1<<20)
	for name, answer := range map[string]string{
		"1KB":        typical + "Content-Length: 1000\r\n\r\n" + small,
		"1KBchunked": typical + "Transfer-Encoding: chunked\r\n\r\n3e8\r\n" + small + "\r\n0\r\n\r\n",
		"1MB":        typical + "Content-Length: 1048576\r\n\r\n" + large,
	} {
		b.Run(name, func(b *testing.B) {
			p, scratch, req := fixed(b, answer), make([]byte, 32<<10), typicalRequest()
			b.ReportAllocs()
			for b.Loop() {
				run(b, p, context.Background(), req, scratch)
			}
		})
	}
	b.Run("1KBcancellable", func(b *testing.B) {
		p, scratch, req := fixed(b, typical+"Content-Length: 1000\r\n\r\n"+small), make([]byte, 32<<10), typicalRequest()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		b.ReportAllocs()
		for b.Loop() {
			run(b, p, ctx, req, scratch)
		}
	})
}

// BenchmarkTransport is net/http's client on the same backend, for comparison.
func BenchmarkTransport(b *testing.B) {
	p := fixed(b, typical+"Content-Length: 1000\r\n\r\n"+strings.Repeat("x", 1000))
	tr := &http.Transport{}
	b.Cleanup(tr.CloseIdleConnections)
	req, err := http.NewRequest("GET", p.Address().String()+"/some/page?with=query", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		resp, err := tr.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
}

func BenchmarkParseHead(b *testing.B) {
	raw := []byte(typical + "Content-Length: 1000\r\n\r\n")
	var h head
	b.ReportAllocs()
	for b.Loop() {
		if err := h.parse(raw, 8); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAllocationsPerRoundTrip(t *testing.T) {
	p := poolTo(t, serve(t, func(s *session) {
		for {
			if _, err := s.br.ReadSlice('\n'); err != nil { // no allocations on this side
				return
			}
			if b, _ := s.br.Peek(2); string(b) == "\r\n" {
				_, _ = s.br.Discard(2)
				_, _ = s.Write(okBytes)
			}
		}
	}))
	p.trust()
	req, scratch := typicalRequest(), make([]byte, 100)
	req.Method = "DELETE" // the longest way to a kept connection
	n := testing.AllocsPerRun(200, func() {
		resp, err := p.RoundTrip(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := resp.Body.Read(scratch); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		resp.Body.Close()
	})
	if n > 5 { // exchange, head bytes, fields, and what the race detector adds
		t.Errorf("%v allocations per round trip", n)
	}
}

var okBytes = []byte(typical + "Content-Length: 2\r\n\r\nok")

func BenchmarkBudgetCount(b *testing.B) {
	var budget Budget
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		now := time.Now()
		for pb.Next() {
			budget.Count(now)
		}
	})
}
