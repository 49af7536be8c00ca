package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for waits that end early when all is well.
const patience = 20 * time.Second

// session is one connection as the backend sees it.
type session struct {
	net.Conn
	t      testing.TB
	br     *bufio.Reader
	number int64 // of the connection, from 1
}

// request reads one request with its body; nil when the connection has ended.
func (s *session) request() *http.Request {
	req, err := http.ReadRequest(s.br)
	if err != nil {
		return nil
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil
	}
	req.Body = io.NopCloser(strings.NewReader(string(body)))
	return req
}

func (s *session) say(text string) bool {
	_, err := io.WriteString(s, text)
	return err == nil
}

// backend is a real listener whose connections are answered by a script.
type backend struct {
	net.Listener
	conns atomic.Int64
}

func (b *backend) url() string { return "http://" + b.Addr().String() }

func serve(t testing.TB, script func(*session)) *backend {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, ln, script)
}

func serveOn(t testing.TB, ln net.Listener, script func(*session)) *backend {
	b := &backend{Listener: ln}
	ctx, stop := context.WithCancel(context.Background())
	running := make(chan struct{}, 1000)
	t.Cleanup(func() {
		stop()
		ln.Close()
		for range b.conns.Load() {
			<-running
		}
	})
	accepting := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-accepting })
	go func() {
		defer close(accepting)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			number := b.conns.Add(1)
			go func() {
				defer func() { running <- struct{}{} }()
				end := context.AfterFunc(ctx, func() { c.Close() })
				defer end()
				defer c.Close()
				script(&session{Conn: c, t: t, br: bufio.NewReader(c), number: number})
			}()
		}
	}()
	return b
}

// answering serves each request with the next of the answers, the last one again and again.
func answering(t testing.TB, answers ...string) *backend {
	return serve(t, func(s *session) {
		for i := 0; s.request() != nil; i++ {
			if !s.say(answers[min(i, len(answers)-1)]) {
				return
			}
		}
	})
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func newPool(t testing.TB, o Options) *Pool {
	t.Helper()
	p, err := NewPool(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func poolTo(t testing.TB, b *backend) *Pool { return newPool(t, Options{Address: b.url()}) }

func get(target string) *Request { return &Request{Method: "GET", Target: target, Host: "shop.test"} }

func post(body string) *Request {
	return &Request{
		Method: "POST", Target: "/", Host: "shop.test",
		Body: strings.NewReader(body), ContentLength: int64(len(body)),
	}
}

// fetch makes a whole round trip.
func fetch(t testing.TB, p *Pool, req *Request) (*Response, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := p.RoundTrip(ctx, req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func wantOK(t testing.TB, p *Pool, req *Request) *Response {
	t.Helper()
	resp, body, err := fetch(t, p, req)
	if err != nil || resp.Status != 200 || body != "ok" {
		t.Fatalf("got %+v, body %q, error %v", resp, body, err)
	}
	return resp
}

// wantError asserts that err is an *Error of that phase.
func wantError(t testing.TB, err error, op string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Op != op {
		t.Fatalf("error %v (%T), want one of phase %s", err, err, op)
	}
	return e
}

func (r *Response) field(name string) (values []string) {
	for _, f := range r.Fields {
		if strings.EqualFold(string(f.Name), name) {
			values = append(values, string(f.Value))
		}
	}
	return values
}

// until polls for a state that is reached from outside.
func until(t testing.TB, what string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if reached() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
