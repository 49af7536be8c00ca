package edge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// What benchmarks and budgets of allocations use. Client and backend of it do not
// allocate for a request: what is counted is the server's.

// benchFields are those of a usual browser.
const benchFields = "Connection: keep-alive\r\n" +
	"Upgrade-Insecure-Requests: 1\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
	"Sec-Fetch-Site: same-origin\r\n" +
	"Referer: https://www.shop.test/blog/\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n" +
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\r\n"

func benchRequest(host, target string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + benchFields
}

// A fixedBackend answers each path with the same bytes, and looks at nothing else of
// a request.
type fixedBackend struct {
	url     string
	answers map[string][]byte // whole, by path
}

// newFixedBackend has /1k and /100k, which may be stored, and /none, which may not.
func newFixedBackend(t testing.TB) *fixedBackend {
	t.Helper()
	lines := "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: " + time.Now().UTC().Format(dateLayout) + "\r\n" +
		"Content-Type: text/html; charset=utf-8\r\nETag: \"0123456789\"\r\nX-Frame-Options: DENY\r\n"
	answer := func(field string, size int) []byte {
		return fmt.Appendf(nil, "%s%sContent-Length: %d\r\n\r\n%s", lines, field, size, strings.Repeat("x", size))
	}
	b := &fixedBackend{answers: map[string][]byte{
		"/1k": answer("Cache-Control: max-age=86400\r\n", 1<<10), "/100k": answer("Cache-Control: max-age=86400\r\n", 100<<10),
		"/none": answer("Cache-Control: no-store\r\n", 1<<10),
	}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.url = "http://" + ln.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { c.Close() })
			all.Go(func() { b.serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		stop()
		all.Wait()
	})
	return b
}

func (b *fixedBackend) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 8<<10)
	var answer []byte
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		if _, rest, ok := bytes.Cut(line, []byte("GET ")); ok && len(rest) > 0 && rest[0] == '/' {
			answer = b.answers[string(rest[:bytes.IndexAny(rest, " ?")])]
		}
		if len(line) > len("\r\n") {
			continue
		}
		if _, err := c.Write(answer); err != nil || answer == nil {
			return
		}
	}
}

// A benchClient sends one request again and again on one connection.
type benchClient struct {
	net.Conn
	request []byte
	buffer  []byte
}

// dialBench connects to a node: with TLS if there is a CA, for the given name.
func dialBench(t testing.TB, n *node, ca *edgetest.CA, sni, raw string) *benchClient {
	t.Helper()
	c := &benchClient{request: []byte(raw), buffer: make([]byte, 256<<10)}
	var err error
	if ca == nil {
		c.Conn, err = net.Dial("tcp", n.http)
	} else {
		c.Conn, err = tls.Dial("tcp", n.https, &tls.Config{ServerName: sni, RootCAs: ca.Pool()})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

var (
	headEnd    = []byte("\r\n\r\n")
	lengthName = []byte("\r\nContent-Length: ")
	errNoSize  = errors.New("an answer without Content-Length")
)

// do sends the request and takes the whole answer, which is valid until the next call.
func (c *benchClient) do() ([]byte, error) {
	if _, err := c.Write(c.request); err != nil {
		return nil, err
	}
	have, whole := 0, -1
	for whole < 0 || have < whole {
		n, err := c.Read(c.buffer[have:])
		if err != nil {
			return nil, err
		}
		have += n
		if whole >= 0 {
			continue
		}
		if end := bytes.Index(c.buffer[:have], headEnd); end >= 0 {
			at := bytes.Index(c.buffer[:end+2], lengthName)
			if at < 0 {
				return nil, errNoSize
			}
			whole = end + len(headEnd)
			size := 0
			for _, digit := range c.buffer[at+len(lengthName) : end] {
				if digit < '0' || digit > '9' {
					break
				}
				size = 10*size + int(digit-'0')
			}
			whole += size
		}
	}
	if have != whole {
		return nil, io.ErrShortBuffer
	}
	return c.buffer[:whole], nil
}

// expect sends the request, and fails unless the answer has the status and, in its
// head, the text.
func (c *benchClient) expect(t testing.TB, status int, text string) {
	t.Helper()
	got, err := c.do()
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := bytes.Cut(got, headEnd)
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 "+strconv.Itoa(status)+" ")) || !bytes.Contains(head, []byte(text)) {
		t.Fatalf("want %d and %q:\n%s", status, text, head)
	}
}

// startBench serves pass.test, hit.test and waf.test from the backend, as a node does
// in production: with access log and metrics, and connections without end.
func startBench(t testing.TB, backend string, adjust ...func(*Options)) *node {
	t.Helper()
	log, err := NewAccessLog(io.Discard, FormatCombined, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	doc := "vhosts:\n"
	for host, further := range map[string]string{
		"pass.test":   "waf: {mode: off}",
		"hit.test":    "waf: {mode: off}, cache: {enabled: true}",
		"waf.test":    "waf: {mode: block}",
		"detect.test": "waf: {mode: detect}",
		"coded.test":  "waf: {mode: off}, compress: on",
		"both.test":   "waf: {mode: detect, responses: true}",
		"limited.test": `waf: {mode: off}, rate: [{requests: 1000000, per: 1ms}, {requests: 1000000, per: 1ms, key: "cookie:session"},
			{requests: 1000000, per: 1ms, key: path}, {requests: 1000000, per: 1ms, key: all}]`,
	} {
		doc += "  " + host + ": {tenant: shop, backends: [" + backend + "], " + further + "}\n"
	}
	return start(t, doc, append([]func(*Options){func(o *Options) {
		o.AccessLog, o.Limits.KeepAliveRequests = log, -1
	}}, adjust...)...)
}

// startBenchTLS is startBench with certificates.
func startBenchTLS(t testing.TB, backend string) (*node, *edgetest.CA) {
	t.Helper()
	ca := edgetest.NewCA(t)
	leaf := ca.Issue(t, "pass.test", "hit.test", "waf.test")
	c := &certs{leaves: map[string]*edgetest.Leaf{"pass.test": leaf, "hit.test": leaf, "waf.test": leaf}}
	return startBench(t, backend, func(o *Options) { o.Certificates = c }), ca
}

// hold sends a request and stops it in front of the link of that name ("forward": the
// chain's end), so that a link can be tried on a request that the server itself has
// made. The request goes on when the test ends.
func (n *node) hold(t testing.TB, link, raw string) *request {
	t.Helper()
	arrived, leave := make(chan *request), make(chan struct{})
	links := n.links()
	for i, l := range links {
		if l.name == link {
			links = links[:i]
			break
		}
	}
	n.handle = chain(links, func(r *request) error {
		arrived <- r
		<-leave
		r.response = response{status: 204}
		return nil
	})
	conn, err := net.Dial("tcp", n.http)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(leave); conn.Close() })
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	return <-arrived
}

// link returns the middleware of that name.
func (n *node) link(t testing.TB, name string) middleware {
	t.Helper()
	for _, l := range n.links() {
		if l.name == name {
			return l.wrap
		}
	}
	t.Fatalf("there is no link %s", name)
	return nil
}
