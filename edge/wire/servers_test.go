package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// A served request is one as a handler saw it. end says why nothing may follow it.
type served struct{ method, target, host, body, end string }

// A record is a tape with what handlers saw of the requests on it.
type record struct {
	tape
	mu   sync.Mutex
	seen []served
	last bool          // we said that it ends with the last of them
	over chan struct{} // the server has come to its end
	once sync.Once
}

func newRecord(in []byte, piece int) *record {
	return &record{tape: tape{in: in, piece: max(piece, 1)}, over: make(chan struct{})}
}

func (r *record) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tape.Read(p)
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tape.Write(p)
}

// CloseWrite is what net/http does before it waits for a client to read a refusal.
func (r *record) CloseWrite() error           { return r.Close() }
func (r *record) Close() error                { r.once.Do(func() { close(r.over) }); return nil }
func (r *record) SetDeadline(time.Time) error { return nil }
func (r *record) RemoteAddr() net.Addr        { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func (r *record) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 2} }

func (r *record) add(s served) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, s)
}

// said is what the server answered.
func (r *record) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// A hall is a listener that is given its connections.
type hall struct {
	fails
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (h *hall) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *hall) Close() error { h.once.Do(func() { close(h.closed) }); return nil }

type connKey struct{}

// serveNetHTTP runs net/http's server until the test ends. It serves what is put
// into the hall.
func serveNetHTTP(f *testing.F) *hall {
	h := &hall{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(io.Discard, "", 0),
		ReadHeaderTimeout:            patience,
		ConnContext:                  func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			s := served{method: r.Method, target: r.RequestURI, host: strings.ToLower(r.Host), body: string(body)}
			if err != nil {
				s.end = "body: " + err.Error()
			}
			r.Context().Value(connKey{}).(*record).add(s)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
		}),
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(h); !errors.Is(err, http.ErrServerClosed) {
			f.Error(err)
		}
	})
	f.Cleanup(func() {
		if err := server.Close(); err != nil {
			f.Error(err)
		}
		serving.Wait()
	})
	return h
}

// ourServer is the HTTP library as the edge configures it.
func ourServer() *fasthttp.Server {
	return &fasthttp.Server{
		ReadBufferSize: 256, NoDefaultServerHeader: true, NoDefaultDate: true, NoDefaultContentType: true,
		ReduceMemoryUsage: true, CloseOnShutdown: true, Logger: log.New(io.Discard, "", 0),
		Handler: func(ctx *fasthttp.RequestCtx) {
			c := ctx.Conn().(*Conn)
			h := c.Head()
			s := served{method: h.Method, target: h.Target, host: strings.ToLower(h.Host)}
			switch {
			case h.Refused != nil:
				s.end = fmt.Sprint("refused ", h.Refused.Status, h.Refused.Reason)
			case h.Upgrade != "":
				s.end = "upgrade"
			default:
				body, err := io.ReadAll(c.Body())
				s.body = string(body)
				if err != nil {
					s.end = "body: " + err.Error()
				}
			}
			goesOn := s.end == "" && !h.Last
			c.Answering(goesOn)
			r := c.raw.Conn.(*record)
			r.add(s)
			if r.last = h.Last; !goesOn {
				ctx.SetConnectionClose()
			}
		},
	}
}

// The same pipelined bytes make the same requests for our whole server and for
// net/http's. What one of them refuses is compared by FuzzConn; here it is the end.
func FuzzServers(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), 7)
		f.Add([]byte(s), 4096)
		f.Add([]byte(s+s), 33)
	}
	const head = "POST /big HTTP/1.1\r\nHost: a.test\r\nX: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
	big := fmt.Sprintf(head, strings.Repeat("v", 4000))
	f.Add([]byte(big+strings.Repeat("3;e=f\r\nabc\r\n", 100)+"0\r\n\r\n"+big+"0\r\n\r\nGET /n HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"), 97)
	f.Add([]byte("GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive, close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n"), 99)
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc\r\nGET /2 HTTP/1.1\r\nHost: b.test\r\n\r\n"), 99)
	f.Add([]byte("HEAD / HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 3\r\n\r\nabcM-SEARCH * HTTP/1.1\r\nHost: b.test\r\n\r\n"), 99)
	f.Add([]byte(crlfBehind), 1)
	theirServer, our := serveNetHTTP(f), ourServer()
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		ours, theirs := newRecord(in, piece), newRecord(in, piece)
		// Why a connection ended is in what it was answered.
		_ = our.ServeConn(newConn(newSocket(ours, openDoor(Limits{Requests: -1})), nil))
		theirServer.conns <- theirs
		select {
		case <-theirs.over:
		case <-time.After(patience):
			t.Fatalf("net/http hangs on %q", in)
		}
		compareServers(t, in, ours, theirs)
	})
}

func compareServers(t *testing.T, in []byte, ours, theirs *record) {
	t.Helper()
	for i, a := range ours.seen {
		switch {
		case a.end != "":
			return // refused or cut: whatever the other thinks of it, nothing follows
		case i < len(theirs.seen):
		case refusing(theirs.said()):
			return
		default:
			t.Fatalf("net/http does not serve request %d of %q\nours %+v\nit said %q", i, in, a, theirs.said())
		}
		b := theirs.seen[i]
		if strings.Contains(b.end, "railer") {
			return // it refuses trailers that we drop
		}
		if !strings.HasPrefix(b.target, "/") && b.target != "*" {
			b.target = a.target // the origin-form of an absolute-form: compared by TestAbsoluteForm
		}
		if a != b {
			t.Fatalf("request %d of %q\nours   %+v\ntheirs %+v", i, in, a, b)
		}
	}
	if len(ours.seen) < len(theirs.seen) && !ours.last {
		t.Fatalf("net/http serves more of %q and we did not refuse it\nours   %+v\ntheirs %+v\nwe said %q", in, ours.seen, theirs.seen, ours.said())
	}
}

// refusing reports whether net/http's last answer is one of its own.
func refusing(answers string) bool {
	last := answers[max(strings.LastIndex(answers, "HTTP/1.1 "), 0):]
	return strings.HasPrefix(last, "HTTP/1.1 4") || strings.HasPrefix(last, "HTTP/1.1 5")
}
