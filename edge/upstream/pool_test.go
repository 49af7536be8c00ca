package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAConnectionIsUsedAgainAfterACleanEnd(t *testing.T) {
	for name, answer := range map[string]string{
		"length":  okAnswer,
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	} {
		b := answering(t, answer)
		p := poolTo(t, b)
		for range 20 {
			wantOK(t, p, get("/"))
		}
		if n := b.conns.Load(); n != 1 {
			t.Errorf("%s: %d connections, want 1", name, n)
		}
	}
}

func TestAConnectionIsNotUsedAgain(t *testing.T) {
	head := func() *Request { r := get("/"); r.Method = "HEAD"; return r }
	for _, c := range []struct {
		name, answer string
		req          func() *Request
		status       int
	}{
		{"Connection: close that stays open", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", nil, 200},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", nil, 200},
		{"surplus after a length", okAnswer + "H", nil, 200},
		{"surplus after chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nH", nil, 200},
		{"204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", nil, 204},
		{"304 with chunks", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", nil, 304},
		{"HEAD with a length", okAnswer[:len(okAnswer)-2], head, 200},
		{"interim answer with a length", "HTTP/1.1 103 Hints\r\nContent-Length: 3\r\n\r\n" + okAnswer, nil, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := answering(t, c.answer)
			p := poolTo(t, b)
			for range 3 {
				req := get("/")
				if c.req != nil {
					req = c.req()
				}
				resp, _, err := fetch(t, p, req)
				if err != nil || resp.Status != c.status {
					t.Fatalf("%+v, %v", resp, err)
				}
			}
			if n := b.conns.Load(); n != 3 {
				t.Errorf("%d connections for 3 requests", n)
			}
		})
	}
}

func TestHEADKeepsTheAnnouncedLength(t *testing.T) {
	p := poolTo(t, answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"))
	req := get("/")
	req.Method = "HEAD"
	resp, body, err := fetch(t, p, req)
	if err != nil || resp.ContentLength != 77 || body != "" {
		t.Errorf("%+v, %q, %v", resp, body, err)
	}
}

func TestABodyNotReadToItsEndClosesTheConnection(t *testing.T) {
	b := answering(t, okAnswer)
	p := poolTo(t, b)
	resp, err := p.RoundTrip(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, err := resp.Body.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	wantOK(t, p, get("/"))
	if n := b.conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestALateAnswerDoesNotReachTheNextClient(t *testing.T) {
	late := make(chan struct{})
	b := serve(t, func(s *session) {
		if s.request() == nil {
			return
		}
		s.say(okAnswer)
		if s.number == 1 {
			<-late
			s.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			late <- struct{}{}
		}
		_ = s.request()
	})
	p := poolTo(t, b)
	wantOK(t, p, get("/"))
	late <- struct{}{}
	<-late // it lies in our socket now
	wantOK(t, p, get("/"))
	if s := p.Stats(); s.Stale != 1 || s.Dials != 2 {
		t.Errorf("%+v", s)
	}
}

// The backend closes each connection after its answer without saying so. Nothing may be lost,
// although a POST must never be repeated.
func TestNoPOSTIsLostOnConnectionsThatTheBackendClosed(t *testing.T) {
	var posts atomic.Int64
	closed := make(chan struct{}, 1)
	b := serve(t, func(s *session) {
		if s.request() != nil {
			posts.Add(1)
			s.say(okAnswer)
			s.Close()
			closed <- struct{}{}
		}
	})
	p := poolTo(t, b)
	for i := range 200 {
		wantOK(t, p, post(fmt.Sprint("order ", i)))
		<-closed
	}
	if n := posts.Load(); n != 200 {
		t.Errorf("%d POSTs arrived, want 200", n)
	}
}

// resetting answers the first request of a connection, and closes it without a word at the second.
func resetting(t *testing.T, seen *atomic.Int64) *backend {
	return serve(t, func(s *session) {
		if s.request() == nil {
			return
		}
		s.say(okAnswer)
		if s.request() != nil {
			seen.Add(1)
		}
	})
}

// trust makes the pool use kept connections for any request, as if the backend had left one open for an hour.
func (p *Pool) trust() { p.lifetime.saw(true, time.Hour, time.Now()) }

func TestOnlySafeRequestsMayBeRepeatedAfterTheyWereSent(t *testing.T) {
	var seen atomic.Int64
	p := poolTo(t, resetting(t, &seen))
	for i, c := range []struct {
		method     string
		body       int
		repeatable bool
	}{
		{"GET", 0, true},
		{"HEAD", 0, true},
		{"OPTIONS", 0, true},
		{"GET", 5, true},
		{"GET", 100_000, false}, // its body is gone
		{"PUT", 5, false},       // idempotent, but not safe
		{"DELETE", 0, false},
		{"POST", 5, false},
		{"X-OWN", 0, false},
	} {
		wantOK(t, p, get("/"))
		p.trust()
		req := post(strings.Repeat("x", c.body))
		req.Method = c.method
		_, _, err := fetch(t, p, req) // dies under it
		var e *Error
		if !errors.As(err, &e) || !e.Sent || !e.Stale || e.Repeatable != c.repeatable {
			t.Errorf("%s with %d bytes: %+v, want repeatable %v", c.method, c.body, e, c.repeatable)
		}
		if n := p.Stats().Reused; n != uint64(i+1) {
			t.Errorf("%s: not on the kept connection", c.method)
		}
		if n := seen.Load(); n > int64(i+1) {
			t.Errorf("%s: delivered twice", c.method)
		}
	}
}

func TestAFreshConnectionIsUsedForARepetition(t *testing.T) {
	b := answering(t, okAnswer)
	p := poolTo(t, b)
	wantOK(t, p, get("/"))
	req := get("/")
	req.Fresh = true
	wantOK(t, p, req)
	if n := b.conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// broken is a connection whose other end is gone before the first byte is written.
type broken struct{ *net.TCPConn }

func (b broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestWhatWasNotSentMayBeRepeatedWhateverTheMethod(t *testing.T) {
	p := poolTo(t, answering(t, okAnswer))
	for _, size := range []int{0, 5, 100_000} {
		wantOK(t, p, get("/"))
		p.trust()
		c := p.idle[0]
		c.nc = broken{c.nc.(*net.TCPConn)}
		_, _, err := fetch(t, p, post(strings.Repeat("x", size)))
		if e := wantError(t, err, OpWrite); e.Sent || !e.Repeatable {
			t.Errorf("POST of %d bytes: %+v", size, e)
		}
	}
}

func TestAFailedConnectMayBeRepeated(t *testing.T) {
	b := answering(t, okAnswer)
	p := poolTo(t, b)
	b.Listener.Close()
	_, _, err := fetch(t, p, post("money"))
	if e := wantError(t, err, OpConnect); e.Sent || e.Stale || !e.Repeatable {
		t.Errorf("%+v", e)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = p.RoundTrip(ctx, get("/"))
	if e := wantError(t, err, OpConnect); e.Repeatable {
		t.Errorf("to be repeated for a client that has left: %+v", e)
	}
}

func TestAFreshConnectionThatFailsIsTheBackendsDoing(t *testing.T) {
	b := serve(t, func(s *session) { s.request() })
	_, _, err := fetch(t, poolTo(t, b), get("/"))
	if e := wantError(t, err, OpHead); !e.Sent || e.Stale || !e.Repeatable || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%+v", e)
	}
	if n := b.conns.Load(); n != 1 {
		t.Errorf("delivered %d times", n)
	}
}

func TestIdleConnectionsAreBoundedInNumberAndTime(t *testing.T) {
	var ready sync.WaitGroup
	ready.Add(6)
	b := serve(t, func(s *session) {
		for first := true; s.request() != nil; first = false {
			if first { // six at once
				ready.Done()
				ready.Wait()
			}
			s.say(okAnswer)
		}
	})
	p := newPool(t, Options{Address: b.url(), MaxIdle: 2, IdleTimeout: 300 * time.Millisecond})
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() { wantOK(t, p, get("/")) })
	}
	wg.Wait()
	if n := p.Stats().Idle; n > 2 {
		t.Errorf("%d idle, want at most 2", n)
	}
	until(t, "idle connections expire", func() bool { return p.Stats().Idle == 0 })
}

func TestMaxIdleNegativeKeepsNone(t *testing.T) {
	b := answering(t, okAnswer)
	p := newPool(t, Options{Address: b.url(), MaxIdle: -1})
	wantOK(t, p, get("/"))
	wantOK(t, p, get("/"))
	if n := b.conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestCloseLetsBusyRoundTripsEnd(t *testing.T) {
	b := answering(t, okAnswer)
	p := poolTo(t, b)
	wantOK(t, p, get("/"))
	resp, err := p.RoundTrip(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	p.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "ok" {
		t.Errorf("body %q, %v", body, err)
	}
	resp.Body.Close()
	wantOK(t, p, get("/")) // a request that still holds the old pool
	if s := p.Stats(); s.Idle != 0 {
		t.Errorf("%d idle after Close", s.Idle)
	}
}

// opaque hides the socket, as a connection of a hook may.
type opaque struct{ net.Conn }

func TestAConnectionThatCannotBeLookedAtServesOnce(t *testing.T) {
	b := answering(t, okAnswer)
	p := newPool(t, Options{Address: b.url(), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return opaque{c}, err
	}})
	wantOK(t, p, get("/"))
	wantOK(t, p, get("/"))
	if n := b.conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestManyAtOnce(t *testing.T) {
	b := serve(t, func(s *session) {
		for {
			req := s.request()
			if req == nil {
				return
			}
			body, _ := io.ReadAll(req.Body)
			s.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		}
	})
	p := poolTo(t, b)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				want := strings.Repeat(fmt.Sprint(g, i, " "), 1+i*100)
				if _, got, err := fetch(t, p, post(want)); err != nil || got != want {
					t.Errorf("%d bytes, %v", len(got), err)
					return
				}
			}
		})
	}
	wg.Wait()
	if s := p.Stats(); s.Dials > 8+s.Stale+s.Spared {
		t.Errorf("%+v for 8 clients", s)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{
		{},
		{Address: "ftp://h"},
		{Address: "http://h", ConnectTimeout: -1},
		{Address: "http://h", FirstByteTimeout: -1},
		{Address: "http://h", IdleTimeout: -1},
		{Address: "http://h", ResponseHeader: -1},
		{Address: "http://h", ResponseFields: -1},
	} {
		if _, err := NewPool(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}
