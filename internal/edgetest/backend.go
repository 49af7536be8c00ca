package edgetest

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Backend is a real HTTP/1.1 server on a free loopback port (or a unix
// socket) that answers every request with a description of it (Seen, as JSON),
// except on the paths of faults.go, where it misbehaves as asked.
// Safe for concurrent use.
type Backend struct {
	// URL is the address as a vhost names it: http://127.0.0.1:port,
	// https://127.0.0.1:port or unix:/path.
	URL string
	// Addr is host:port, or the socket's path.
	Addr string

	t        testing.TB
	opts     BackendOptions
	server   *http.Server
	handlers sync.WaitGroup
	sent     atomic.Int64

	mu       sync.Mutex
	stopped  bool // no handler begins any more
	conns    map[net.Conn]struct{}
	accepted int
	seen     []Seen
}

// BackendOptions say what to start; the zero value is a plain HTTP backend on loopback.
type BackendOptions struct {
	// Name is in every description; default "backend".
	Name string
	// TLS makes it an https backend.
	TLS *tls.Config
	// Unix makes it listen on a socket at this path.
	Unix string
	// Handler answers instead of the described behaviour; deliveries are counted all the same.
	Handler http.Handler
	// KeepAlive is how long an idle connection stays open; 0: until the backend stops.
	KeepAlive time.Duration
}

// Seen describes a request as it reached the backend.
type Seen struct {
	Backend  string      `json:"backend"`
	Method   string      `json:"method"`
	Target   string      `json:"target"` // raw, as it stood in the request line
	Proto    string      `json:"proto"`
	Host     string      `json:"host"`
	Header   http.Header `json:"header"` // without Host; Transfer-Encoding is in Encoding
	Length   int64       `json:"length"` // Content-Length, -1 if there was none
	Encoding []string    `json:"encoding,omitempty"`
	Body     int64       `json:"body"`   // bytes that were read of it
	SHA256   string      `json:"sha256"` // of these, in hex
	Peer     string      `json:"peer"`   // the address of the connection's other end
}

// NewBackend starts a plain HTTP backend; it stops when the test ends.
func NewBackend(t testing.TB) *Backend {
	t.Helper()
	return NewBackendWith(t, BackendOptions{})
}

// NewBackendWith is NewBackend with a choice of what to start.
func NewBackendWith(t testing.TB, opts BackendOptions) *Backend {
	t.Helper()
	if opts.Name == "" {
		opts.Name = "backend"
	}
	b := &Backend{t: t, opts: opts, conns: map[net.Conn]struct{}{}, Addr: "127.0.0.1:0"}
	if opts.Unix != "" {
		b.Addr = opts.Unix
	}
	b.Start()
	t.Cleanup(b.Stop)
	return b
}

// Start listens again on the address of before, after Stop.
func (b *Backend) Start() {
	b.t.Helper()
	network, scheme := "tcp", "http://"
	if b.opts.Unix != "" {
		network, scheme = "unix", "unix:"
		_ = os.Remove(b.opts.Unix)
	}
	ln, err := net.Listen(network, b.Addr)
	must(b.t, "listen for a backend", err)
	b.Addr = ln.Addr().String()
	if b.opts.TLS != nil {
		scheme = "https://"
	}
	b.URL = scheme + b.Addr
	ln = countingListener{ln, b}
	if b.opts.TLS != nil {
		ln = tls.NewListener(ln, b.opts.TLS)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(b.serve), IdleTimeout: b.opts.KeepAlive,
		ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: Patience,
	}
	b.mu.Lock()
	b.server, b.stopped = server, false
	b.mu.Unlock()
	b.handlers.Go(func() {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			b.t.Errorf("edgetest: the backend on %s ended: %v", b.Addr, err)
		}
	})
}

// Stop closes the listener and every connection, at once, and waits for what
// still runs. A stopped backend refuses connections.
func (b *Backend) Stop() {
	b.mu.Lock()
	server := b.server
	b.server, b.stopped = nil, true
	b.mu.Unlock()
	if server == nil {
		return
	}
	_ = server.Close()
	b.CloseConnections()
	b.handlers.Wait()
}

// CloseConnections closes every connection that is open, hijacked ones too, and goes on listening.
func (b *Backend) CloseConnections() {
	b.mu.Lock()
	conns := maps.Clone(b.conns)
	b.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
}

// Deliveries tells how many requests have reached the backend whose target
// begins with prefix ("" counts all). A request that was delivered twice counts twice.
func (b *Backend) Deliveries(prefix string) int {
	n := 0
	for _, s := range b.Requests() {
		if strings.HasPrefix(s.Target, prefix) {
			n++
		}
	}
	return n
}

// Requests returns what has been seen so far, oldest first. A request is in it
// from its head on; Body and SHA256 are set once its body has been read.
func (b *Backend) Requests() []Seen {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Seen(nil), b.seen...)
}

// Connections tells how many connections were accepted so far and how many are open now.
func (b *Backend) Connections() (accepted, open int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accepted, len(b.conns)
}

// Sent is how many bytes the kernel has taken from the backend so far: with a
// reader who does not read, it stops growing at what is buffered on the way.
func (b *Backend) Sent() int64 { return b.sent.Load() }

func (b *Backend) serve(w http.ResponseWriter, r *http.Request) {
	seen := Seen{
		Backend: b.opts.Name, Method: r.Method, Target: r.RequestURI, Proto: r.Proto, Host: r.Host,
		Header: r.Header.Clone(), Length: r.ContentLength, Encoding: r.TransferEncoding, Peer: r.RemoteAddr,
	}
	b.mu.Lock()
	if b.stopped {
		b.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	b.handlers.Add(1)
	index := len(b.seen)
	b.seen = append(b.seen, seen)
	b.mu.Unlock()
	defer b.handlers.Done()
	if b.opts.Handler != nil {
		b.opts.Handler.ServeHTTP(w, r)
		return
	}
	if fault, ok := faults[r.URL.Path]; ok {
		fault(b, w, r)
		return
	}
	hash := sha256.New()
	n, err := io.Copy(hash, r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the request was cut: whoever cut it hears nothing more
	}
	seen.Body, seen.SHA256 = n, hex.EncodeToString(hash.Sum(nil))
	b.mu.Lock()
	b.seen[index] = seen
	b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Backend", b.opts.Name)
	_ = json.NewEncoder(w).Encode(seen)
}

// ParseSeen reads the description out of a backend's answer.
func ParseSeen(t testing.TB, body []byte) Seen {
	t.Helper()
	var s Seen
	must(t, "read the backend's description", json.Unmarshal(body, &s))
	return s
}

// countingListener keeps book of connections and of what was written to them.
type countingListener struct {
	net.Listener
	b *Backend
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	conn := &countingConn{Conn: c, b: l.b}
	l.b.mu.Lock()
	l.b.conns[conn] = struct{}{}
	l.b.accepted++
	l.b.mu.Unlock()
	return conn, nil
}

type countingConn struct {
	net.Conn
	b *Backend
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.b.sent.Add(int64(n))
	return n, err
}

func (c *countingConn) Close() error {
	c.b.mu.Lock()
	delete(c.b.conns, c)
	c.b.mu.Unlock()
	return c.Conn.Close()
}

// WaitFor polls until the condition holds and fails the test if it never does.
// It is for a state that nothing announces; a channel is better where there is one.
func WaitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	WaitForWithin(t, Patience, what, condition)
}

// WaitForWithin is WaitFor for what takes its time, such as the end of a lease: limit takes the place of Patience.
func WaitForWithin(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	begin := time.Now()
	for !condition() {
		// Who waits for seconds need not ask every other millisecond: what is waited for has use for the processor.
		pause := min(max(time.Since(begin)/20, 2*time.Millisecond), 50*time.Millisecond)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			t.Fatalf("edgetest: waited %v in vain for: %s", limit, what)
		}
	}
}
