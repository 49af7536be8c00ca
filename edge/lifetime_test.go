package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/edgetest"
)

// Each test here is named after what was broken once: how connections, requests
// and the process end.

// briefly makes a drain as short as it can be, and its grace long.
func briefly(o *Options) {
	o.Limits.DrainAccept, o.Limits.DrainGrace = -1, edgetest.Patience
}

// ways are the two drains.
var ways = map[string]func(*node, context.Context) error{
	"shutdown": func(n *node, ctx context.Context) error { return n.Shutdown(ctx) },
	"handover": func(n *node, ctx context.Context) error { return n.Handover(ctx) },
}

// drain begins one and returns when nobody accepts any more, and a channel for its outcome.
func (n *node) drain(t *testing.T, way func(*node, context.Context) error) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- way(n, t.Context()) }()
	edgetest.WaitFor(t, "accepting to end", func() bool {
		conn, err := net.Dial("tcp", n.http)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	return ended
}

// halved is a backend whose answers wait in the middle, after "first", until more
// is closed; the rest is "second". /next is answered at once.
func halved(t *testing.T) (b *edgetest.Backend, more chan struct{}) {
	t.Helper()
	more = make(chan struct{})
	b = edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/next" {
			return
		}
		if r.URL.Path == "/known" {
			w.Header().Set("Content-Length", "11")
		}
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-more:
			_, _ = io.WriteString(w, "second")
		case <-r.Context().Done():
		}
	})})
	return b, more
}

// readUntil reads until the text has come.
func readUntil(t *testing.T, c *edgetest.RawConn, text string) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(edgetest.Patience)); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for b := make([]byte, 1); !strings.HasSuffix(got.String(), text); {
		if _, err := c.Read(b); err != nil {
			t.Fatalf("%v after %q", err, got.String())
		}
		got.Write(b)
	}
	return got.String()
}

// lineOf waits for an access line of a target and returns how many there are, and the
// last.
func (n *node) lineOf(t *testing.T, target string) (count int, line string) {
	t.Helper()
	target = `"target":"` + target + `"`
	n.waitFor(t, n.access, target)
	for l := range strings.Lines(n.access.String()) {
		if strings.Contains(l, target) {
			count++
			line = l
		}
	}
	return count, line
}

func wantStack(t *testing.T, n *node, parts ...string) {
	t.Helper()
	for _, part := range append(parts, "a bug", "stack=", "goroutine ") {
		n.waitFor(t, n.log, part)
	}
}

// brokenCerts panic for one name.
type brokenCerts struct{ *certs }

func (c brokenCerts) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello.ServerName == "broken.test" {
		panic("a bug in a callback of the handshake")
	}
	return c.certs.GetCertificate(hello)
}

func TestPanicInAHandshakeEndsTheProcess(t *testing.T) {
	b, ca := edgetest.NewBackend(t), edgetest.NewCA(t)
	leaves := &certs{leaves: map[string]*edgetest.Leaf{"www.shop.test": ca.Issue(t, "www.shop.test")}}
	n := start(t, shopSite(b.URL, "waf: {mode: off}"), func(o *Options) { o.Certificates = brokenCerts{leaves} })
	if _, err := tls.Dial("tcp", n.https, &tls.Config{ServerName: "broken.test", RootCAs: ca.Pool()}); err == nil {
		t.Error("the handshake succeeded")
	}
	wantStack(t, n, "panic in a TLS handshake")
	request := head("GET", "www.shop.test", "/") + "\r\n"
	if got := edgetest.DialTLS(t, n.https, "www.shop.test", ca.Pool()).Do("GET", request); got.Status != 200 {
		t.Errorf("status %d", got.Status)
	}
}

// A trap is a listener whose connections panic when more than fuse bytes are read.
type trap struct {
	net.Listener
	fuse int
}

func (l trap) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return &trapped{Conn: conn, left: l.fuse}, err
}

type trapped struct {
	net.Conn
	left int
}

func (c *trapped) Read(p []byte) (int, error) {
	if c.left == 0 {
		panic("a bug in a connection's reader")
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// trapping serves a listener of that kind and returns its address.
func (n *node) trapping(t *testing.T, fuse int) string {
	t.Helper()
	return n.alsoListen(t, func(ln net.Listener) error { return n.Serve(trap{ln, fuse}) })
}

// alsoListen is listen for a further listener, which is the server's to close.
func (n *node) alsoListen(t *testing.T, serve func(net.Listener) error) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serve(ln) }()
	t.Cleanup(func() {
		if err := errors.Join(n.Close(), <-done); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

func TestPanicWhileAHeadIsReadEndsTheProcess(t *testing.T) {
	n := start(t, shopSite("http://127.0.0.1:1", "waf: {mode: off}"))
	c := edgetest.Dial(t, n.trapping(t, 10))
	if got := c.Do("GET", "GET / HTTP/1.1\r\n"); got.Status != 500 || !got.Close {
		t.Errorf("status %d, close %v", got.Status, got.Close)
	}
	c.WantClosed()
	wantStack(t, n, "panic while reading a head")
	if n.waitFor(t, n.access, `"status":500`); strings.Count(n.access.String(), "\n") != 1 {
		t.Errorf("access lines: %s", n.access)
	}
}

// A large body is read by a goroutine that nobody's recover is above of.
func TestPanicInTheReaderOfAnUploadEndsTheProcess(t *testing.T) {
	for _, framing := range []string{"Content-Length: 100000", "Transfer-Encoding: chunked"} {
		b := edgetest.NewBackend(t)
		n := start(t, shopSite(b.URL, "waf: {mode: off}"))
		request := head("POST", "www.shop.test", "/sink", framing) + "\r\n"
		if strings.HasPrefix(framing, "T") {
			request += "186a0\r\n"
		}
		c := edgetest.Dial(t, n.trapping(t, len(request)+20000))
		c.Send(request + strings.Repeat("x", 20001))
		if got := c.Receive("POST"); got.Status != 500 || !got.Close {
			t.Errorf("%s: status %d, close %v", framing, got.Status, got.Close)
		}
		wantStack(t, n, "panic while forwarding a request", "a bug in a connection's reader")
		if count, line := n.lineOf(t, "/sink"); count != 1 || !strings.Contains(line, `"status":500`) {
			t.Errorf("%s: %d access lines, the last %s", framing, count, line)
		}
	}
}

// A brokenBody panics at its second read.
type brokenBody struct{ read bool }

func (b *brokenBody) Read(p []byte) (int, error) {
	if b.read {
		panic("a bug in a body's reader")
	}
	b.read = true
	return copy(p, "hello"), nil
}

func (b *brokenBody) Close() error { return nil }

// Whatever the framing, the client sees that the answer is not whole, and the
// panic does not vanish.
func TestPanicInTheReaderOfAnAnswerIsSilent(t *testing.T) {
	for _, proto := range []string{"1.1", "1.0"} {
		for name, length := range map[string]int64{"known": 10, "unknown": -1} {
			t.Run(proto+" "+name, func(t *testing.T) {
				n := start(t, shopSite("http://127.0.0.1:1", "waf: {mode: off}"))
				errs := make(chan error, 1)
				n.handle = n.observe(func(r *request) error {
					r.response = response{status: 200, length: length, stream: &brokenBody{}}
					r.onDone(func() { errs <- r.record.Err })
					return nil
				})
				c := edgetest.Dial(t, n.alsoListen(t, n.Serve)) // which sees the chain of now
				c.Send("GET / HTTP/" + proto + "\r\nHost: www.shop.test\r\n\r\n")
				if got, err := c.TryReceive("GET"); err == nil {
					t.Errorf("a whole answer: %q", got.Body)
				}
				wantStack(t, n, "panic while sending a response")
				if err := <-errs; err == nil || !strings.Contains(err.Error(), "a bug in a body's reader") {
					t.Errorf("the record has %v", err)
				}
				if count, line := n.lineOf(t, "/"); count != 1 {
					t.Errorf("%d access lines: %s", count, line)
				}
			})
		}
	}
}

// An HTTP/1.0 client knows the end of a body by the end of the connection: what the
// end of the server cuts must not end like that.
func TestAnswerWithoutLengthThatTheEndCutsLooksWhole(t *testing.T) {
	for name, end := range map[string]func(*node, context.Context) error{
		"grace":          func(n *node, ctx context.Context) error { return n.Shutdown(ctx) },
		"handover grace": func(n *node, ctx context.Context) error { return n.Handover(ctx) },
		"close":          func(n *node, _ context.Context) error { return n.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := halved(t)
			n := start(t, shopSite(b.URL, "waf: {mode: off}"), func(o *Options) {
				o.Limits.DrainAccept, o.Limits.DrainGrace = -1, 300*time.Millisecond
			})
			c := edgetest.Dial(t, n.http)
			c.Send("GET / HTTP/1.0\r\nHost: www.shop.test\r\n\r\n")
			readUntil(t, c, "first")
			if err := end(n, t.Context()); err != nil != (name != "close") {
				t.Error(err)
			}
			if err := n.Close(); err != nil { // as whoever shuts down and has requests left
				t.Error(err)
			}
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the cut answer ends with %v", err)
			}
		})
	}
}

// Half a head on a kept connection is a request under way.
func TestDrainCutsHalfAHead(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: off}"), func(o *Options) {
		o.Limits.DrainAccept = 500 * time.Millisecond // the halves come in this time
	})
	request := head("GET", "www.shop.test", "/half") + "\r\n"
	var conns []*edgetest.RawConn // the drain closes idle ones all at once, in no order
	for range 10 {
		c := edgetest.Dial(t, n.http)
		if got := c.Do("GET", head("GET", "www.shop.test", "/")+"\r\n"); got.Status != 200 {
			t.Fatalf("status %d", got.Status)
		}
		conns = append(conns, c)
	}
	halves, idle := conns[:5], conns[5:]
	for _, c := range halves {
		c.Send(request[:20])
	}
	ended := n.drain(t, ways["shutdown"])
	for _, c := range idle {
		c.WantClosed()
	}
	for _, c := range halves {
		c.Send(request[20:])
		if got, err := c.TryReceive("GET"); err != nil || got.Status != 200 || !got.Close {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Close cuts what is under way, and no access line is lost with it.
func TestCloseLeavesRequestsRunning(t *testing.T) {
	for name, first := range map[string]func(*node, context.Context) error{
		"at once":     func(*node, context.Context) error { return nil },
		"after grace": func(n *node, ctx context.Context) error { return n.Shutdown(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			b := edgetest.NewBackend(t)
			n := start(t, shopSite(b.URL, "waf: {mode: off}"), func(o *Options) {
				o.Limits.DrainAccept, o.Limits.DrainGrace = -1, 100*time.Millisecond
			})
			slow, ws := edgetest.Dial(t, n.http), edgetest.Dial(t, n.http)
			slow.Send(head("GET", "www.shop.test", "/slow?for=10m") + "\r\n")
			edgetest.WaitFor(t, "the request to arrive", func() bool { return b.Deliveries("/slow") == 1 })
			ws.UpgradeWebSocket("www.shop.test", "/ws")
			ws.WebSocketEcho("open")
			if got := n.InFlight(); got != 2 {
				t.Errorf("%d in flight", got)
			}
			if err := first(n, t.Context()); name != "at once" && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, want to hear that a request is left", err)
			}
			if err := n.Close(); err != nil {
				t.Error(err)
			}
			if got := n.InFlight(); got != 0 {
				t.Errorf("%d in flight after Close", got)
			}
			if got, err := slow.TryReceive("GET"); err == nil && got.Status != 503 {
				t.Errorf("status %d after Close", got.Status)
			}
			ws.WantClosed()
			for target, status := range map[string]string{"/slow?for=10m": "503", "/ws": "101"} {
				if count, line := n.lineOf(t, target); count != 1 || !strings.Contains(line, `"status":`+status) {
					t.Errorf("%d access lines of %s, the last: %s", count, target, line)
				}
			}
		})
	}
}

// A client that takes nothing of an answer is cut, too.
func TestCloseLeavesSlowReaders(t *testing.T) {
	n := start(t, shopSite("http://127.0.0.1:1", "waf: {mode: off}"))
	n.handle = n.observe(func(r *request) error {
		r.response = response{status: 200, length: 16 << 20, body: make([]byte, 16<<20)}
		return nil
	})
	c := edgetest.Dial(t, n.alsoListen(t, n.Serve))
	c.Send(head("GET", "www.shop.test", "/") + "\r\n")
	readUntil(t, c, "HTTP/1.1 200")
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	edgetest.WaitFor(t, "the connection to end", func() bool { return n.door.Open() == 0 })
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the cut answer ends with %v", err)
	}
}

// An answer that began without Connection: close promised that the connection goes
// on: the client's next request may be on its way when the drain comes to its end.
func TestDrainBreaksThePromiseOfAnAnswerUnderWay(t *testing.T) {
	for way, drain := range ways {
		for _, target := range []string{"/known", "/unknown"} {
			t.Run(way+target, func(t *testing.T) {
				t.Parallel()
				b, more := halved(t)
				n := start(t, shopSite(b.URL, "waf: {mode: off}"), briefly)
				c := edgetest.Dial(t, n.http)
				c.Send(head("GET", "www.shop.test", target) + "\r\n")
				if got := readUntil(t, c, "first"); strings.Contains(strings.ToLower(got), "connection: close") {
					t.Fatalf("%q", got)
				}
				ended := n.drain(t, drain)
				close(more)
				readUntil(t, c, "second")
				if target == "/unknown" {
					readUntil(t, c, "\r\n0\r\n\r\n")
				}
				wantLast(t, c)
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// wantLast asks once more on a connection of a server that drains.
func wantLast(t *testing.T, c *edgetest.RawConn) {
	t.Helper()
	c.Send(head("GET", "www.shop.test", "/next") + "\r\n")
	if got, err := c.TryReceive("GET"); err != nil || got.Status != 200 || !got.Close {
		t.Errorf("the next request: %+v, %v", got, err)
	}
}

// The same with an answer that is in memory.
func TestDrainBreaksThePromiseOfAHit(t *testing.T) {
	for way, drain := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			const size = 300_000
			b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/big" {
					w.Header().Set("Cache-Control", "max-age=60")
					_, _ = w.Write(make([]byte, size))
				}
			})})
			n := start(t, shopSite(b.URL, "waf: {mode: off}", "cache: {enabled: true}"), briefly)
			edgetest.WaitFor(t, "a hit", func() bool {
				return strings.Contains(n.get(t, "www.shop.test", "/big").Header.Get("Cache-Status"), "hit")
			})
			edgetest.WaitFor(t, "the end of these", func() bool { return n.door.Promised() == 0 })
			c := edgetest.Dial(t, n.http)
			c.Send(head("GET", "www.shop.test", "/big") + "\r\n")
			readUntil(t, c, "HTTP/1.1 200")
			if got := n.door.Promised(); got != 1 {
				t.Fatalf("%d promises: the answer is out already", got)
			}
			ended := n.drain(t, drain)
			if got := readUntil(t, c, "\r\n\r\n"); strings.Contains(strings.ToLower(got), "connection: close") {
				t.Fatalf("%q", got)
			}
			if got, err := io.CopyN(io.Discard, c, size); err != nil {
				t.Fatalf("%v after %d bytes", err, got)
			}
			wantLast(t, c)
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// A close with unread bytes of the client makes the kernel send a reset, which
// takes what the client has not read of the answer with it (RFC 9112 §9.6).
func TestLastAnswerLosesItsEndWhenTheClientHasPipelined(t *testing.T) {
	const size = 300_000
	b, ca := edgetest.NewBackend(t), edgetest.NewCA(t)
	leaves := &certs{leaves: map[string]*edgetest.Leaf{"www.shop.test": ca.Issue(t, "www.shop.test")}}
	n := start(t, shopSite(b.URL, "waf: {mode: off}"), func(o *Options) {
		o.Certificates, o.Limits.KeepAliveRequests = leaves, 1
	})
	requests := head("GET", "www.shop.test", "/bytes?n=300000") + "\r\n" +
		head("GET", "www.shop.test", "/next", "X-Pad: "+strings.Repeat("x", 16<<10)) + "\r\n"
	for _, secured := range []bool{false, true} {
		for range 3 {
			address := n.http
			if secured {
				address = n.https
			}
			conn := edgetest.Dial(t, address).Conn
			if secured {
				conn = tls.Client(conn, &tls.Config{ServerName: "www.shop.test", RootCAs: ca.Pool()})
			}
			if _, err := io.WriteString(conn, requests); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			read, err := readInPieces(resp.Body)
			if !resp.Close || err != nil || read != size {
				t.Errorf("TLS %v: close %v, %d bytes, %v", secured, resp.Close, read, err)
			}
			conn.Close()
		}
	}
	if b.Deliveries("/next") != 0 {
		t.Error("a request behind the last one was forwarded")
	}
}

// readInPieces reads as a slow client does.
func readInPieces(r io.Reader) (read int64, err error) {
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		n, err := io.CopyN(io.Discard, r, 8<<10)
		if read += n; err == io.EOF {
			return read, nil
		} else if err != nil {
			return read, err
		}
	}
}

// deafBackend takes an upgrade and then nothing more, until its connection ends.
func deafBackend(t *testing.T) *edgetest.Backend {
	t.Helper()
	over := make(chan struct{})
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn) // an end says nothing to it
		<-over
	})})
	t.Cleanup(func() { close(over) })
	return b
}

const upgrade = "GET /ws HTTP/1.1\r\nHost: www.shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// A client that is gone with a reset has not half closed its connection.
func TestResetOfAWebSocketIsTakenForAHalfClose(t *testing.T) {
	b := deafBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: off}"))
	var conns []*edgetest.RawConn
	for range 5 {
		c := edgetest.Dial(t, n.http)
		if got := c.Do("GET", upgrade); got.Status != 101 {
			t.Fatalf("status %d", got.Status)
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		edgetest.Reset(c.Conn)
		c.Close()
	}
	edgetest.WaitFor(t, "the tunnels to end", func() bool { return n.InFlight() == 0 })
	if count, _ := n.lineOf(t, "/ws"); count == 0 {
		t.Error("no access line")
	}
}

// A duplex is an end of a connection in memory whose halves close one by one.
type duplex struct {
	net.Conn          // what is written
	in       net.Conn // what is read
	once     sync.Once
	closed   chan struct{}
}

func duplexes() (a, b *duplex) {
	there, fromA := net.Pipe()
	fromB, back := net.Pipe()
	return &duplex{Conn: there, in: fromB, closed: make(chan struct{})}, &duplex{Conn: back, in: fromA, closed: make(chan struct{})}
}

func (d *duplex) Read(p []byte) (int, error)        { return d.in.Read(p) }
func (d *duplex) SetReadDeadline(t time.Time) error { return d.in.SetReadDeadline(t) }
func (d *duplex) CloseWrite() error                 { return d.Conn.Close() }

func (d *duplex) Close() error {
	d.once.Do(func() { close(d.closed) })
	return errors.Join(d.Conn.Close(), d.in.Close())
}

// A backend that ignores the client's end would hold the tunnel for ever; one that
// has something to say may say it.
func TestHalfClosedTunnelStaysWithADeafBackend(t *testing.T) {
	for _, says := range []int{0, 5} {
		synctest.Test(t, func(t *testing.T) {
			client, ourClient := duplexes()
			ourBackend, backend := duplexes()
			var ends sync.WaitGroup
			ends.Go(func() {
				_, _ = io.WriteString(client, "bye")
				_ = client.CloseWrite()
				_, _ = io.Copy(io.Discard, client)
			})
			ends.Go(func() {
				got, err := io.ReadAll(backend)
				if err != nil || string(got) != "bye" {
					t.Errorf("the backend has %q, %v", got, err)
				}
				for range says {
					time.Sleep(4 * time.Minute)
					_, _ = io.WriteString(backend, "wait")
				}
			})
			begin := time.Now()
			sent := join(ourClient, ourBackend)
			want := time.Duration(says)*4*time.Minute + halfOpenTime
			if took := time.Since(begin); took != want || sent != int64(4*says) {
				t.Errorf("%d words: ended after %v with %d bytes, want %v", says, took, sent, want)
			}
			ends.Wait()
			for _, d := range []*duplex{ourClient, ourBackend} {
				select {
				case <-d.closed:
				default:
					t.Error("a connection stays open")
				}
			}
			client.Close()
			backend.Close()
		})
	}
}

// Without a least rate, a client that takes nothing is cut all the same.
func TestStoppedReaderWithoutARateHoldsItsConnection(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: off}"), func(o *Options) {
		o.Limits.MinRate, o.Limits.Stall = -1, 500*time.Millisecond
	})
	c := edgetest.Dial(t, n.http)
	c.Send(head("GET", "www.shop.test", "/bytes?n=50000000") + "\r\n")
	n.waitFor(t, n.access, "/bytes")
	edgetest.WaitFor(t, "the connection to be cut", func() bool { return n.door.Open() == 0 })
}

// A head that came too slowly ends its connection although the client never closes.
func TestSlowHeadHoldsItsConnection(t *testing.T) {
	n := start(t, shopSite("http://127.0.0.1:1", "waf: {mode: off}"), func(o *Options) { o.Limits.HeaderTime = 200 * time.Millisecond })
	c := edgetest.Dial(t, n.http)
	c.Send("GET / HT")
	if got := c.Receive("GET"); got.Status != 408 || !got.Close {
		t.Errorf("status %d, close %v", got.Status, got.Close)
	}
	edgetest.WaitFor(t, "the connection to be closed", func() bool { return n.door.Open() == 0 })
}

// A client that ends its bodies with CRLF gets as many answers as it asked for, and
// does not hold the drain.
func TestStrayCRLFBehindABodyIsAnsweredOrHoldsTheDrain(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: off}"), briefly)
	const post = "POST /sink HTTP/1.1\r\nHost: www.shop.test\r\nContent-Length: 1\r\n\r\na\r\n"
	c, idle := edgetest.Dial(t, n.http), edgetest.Dial(t, n.http)
	for range 2 {
		if got := c.Do("POST", post); got.Status != 200 {
			t.Fatalf("status %d", got.Status)
		}
	}
	c.CloseWrite()
	c.WantClosed()
	if got := idle.Do("POST", post); got.Status != 200 {
		t.Fatalf("status %d", got.Status)
	}
	begin := time.Now()
	if err := n.Shutdown(t.Context()); err != nil {
		t.Errorf("%v after %v: an idle connection held the drain", err, time.Since(begin))
	}
	idle.WantClosed()
	if lines := strings.Count(waitLines(t, n, 3), "\n"); lines != 3 {
		t.Errorf("%d access lines:\n%s", lines, n.access)
	}
}

// Whoever has closed a listener himself may still close the server.
func TestCloseAfterItsListenersWereClosed(t *testing.T) {
	for range 20 { // the library forgets a listener some time after it was closed
		s, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- s.Serve(ln) }()
		if conn, err := net.Dial("tcp", ln.Addr().String()); err != nil {
			t.Fatal(err)
		} else {
			conn.Close()
		}
		ln.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-done
	}
}
