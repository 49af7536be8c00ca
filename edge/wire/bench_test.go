package wire

import (
	"io"
	"net"
	"testing"

	"github.com/valyala/fasthttp"
)

// browser is what a browser sends: 13 fields, 700 bytes.
const browser = "GET /blog/2026/11/hello-world?utm_source=feed HTTP/1.1\r\n" +
	"Host: www.shop.test\r\n" +
	"Connection: keep-alive\r\n" +
	"sec-ch-ua: \"Chromium\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n" +
	"sec-ch-ua-mobile: ?0\r\n" +
	"sec-ch-ua-platform: \"Linux\"\r\n" +
	"Upgrade-Insecure-Requests: 1\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
	"Sec-Fetch-Site: same-origin\r\n" +
	"Referer: https://www.shop.test/blog/\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n" +
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\r\n"

const form = "POST /search HTTP/1.1\r\nHost: www.shop.test\r\nContent-Type: application/x-www-form-urlencoded\r\n" +
	"Content-Length: 26\r\n\r\nq=boots&size=42&colour=red"

const chunkedForm = "POST /search HTTP/1.1\r\nHost: www.shop.test\r\nContent-Type: application/x-www-form-urlencoded\r\n" +
	"Transfer-Encoding: chunked\r\n\r\n1a\r\nq=boots&size=42&colour=red\r\n0\r\n\r\n"

// An endless client sends one request over and over; each is there as a whole.
type endless struct {
	net.Conn
	request string
	at      int
	left    int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, e.request[e.at:])
	if e.at += n; e.at == len(e.request) {
		e.at = 0
		e.left--
	}
	return n, nil
}

func (e *endless) Write(p []byte) (int, error) { return len(p), nil }

// newEndless has its deadlines kept by a real connection: they are part of the cost.
func newEndless(b *testing.B, request string) *endless {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return &endless{Conn: conn, request: request, left: b.N}
}

var requestKinds = []struct{ name, request string }{{"get", browser}, {"form", form}, {"chunked", chunkedForm}}

// BenchmarkRequest is a request from its first byte to the handler's return and
// the written answer: once by the library alone, with the buffers that our limits
// need, once behind a Conn. The difference is what the checks cost.
func BenchmarkRequest(b *testing.B) {
	for _, kind := range requestKinds {
		b.Run(kind.name+"/by=bare", func(b *testing.B) {
			server := &fasthttp.Server{
				ReadBufferSize: 33 << 10, StreamRequestBody: true, ReduceMemoryUsage: true,
				NoDefaultServerHeader: true, NoDefaultDate: true, NoDefaultContentType: true,
				Handler: func(ctx *fasthttp.RequestCtx) {
					if body := ctx.RequestBodyStream(); body != nil {
						_, _ = io.Copy(io.Discard, body)
					}
				},
			}
			client := newEndless(b, kind.request)
			b.ReportAllocs()
			b.ResetTimer()
			if err := server.ServeConn(client); err != nil {
				b.Fatal(err)
			}
		})
		b.Run(kind.name+"/by=wire", func(b *testing.B) {
			server := &fasthttp.Server{
				ReadBufferSize: 256, ReduceMemoryUsage: true,
				NoDefaultServerHeader: true, NoDefaultDate: true, NoDefaultContentType: true,
				Handler: func(ctx *fasthttp.RequestCtx) {
					c := ctx.Conn().(*Conn)
					if h := c.Head(); h.Refused != nil {
						b.Error(h.Refused)
					} else if h.Length != 0 {
						_, _ = io.Copy(io.Discard, c.Body())
					}
				},
			}
			client := newEndless(b, kind.request)
			b.ReportAllocs()
			b.ResetTimer()
			if err := server.ServeConn(newConn(newSocket(client, openDoor(Limits{Requests: -1})), nil)); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkParse is the check of a head alone.
func BenchmarkParse(b *testing.B) {
	limits := Limits{}.withDefaults()
	var h Head
	in := []byte(browser)
	b.ReportAllocs()
	for b.Loop() {
		h = Head{Fields: h.Fields[:0]}
		p := parser{limits: &limits}
		if n, refusal := p.parse(&h, in); n != len(in) || refusal != nil {
			b.Fatal(n, refusal)
		}
	}
}
