package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// upload is a client's body that never ends by itself and notes who reads it when.
type upload struct {
	once    sync.Once
	aborted chan struct{}
	stuck   bool // Read blocks until Abort
	reading atomic.Int64
	reads   atomic.Int64
}

func newUpload(stuck bool) *upload { return &upload{aborted: make(chan struct{}), stuck: stuck} }

func (u *upload) Abort() { u.once.Do(func() { close(u.aborted) }) }

func (u *upload) Read(p []byte) (int, error) {
	u.reading.Add(1)
	defer u.reading.Add(-1)
	u.reads.Add(1)
	if u.stuck {
		<-u.aborted
	}
	select {
	case <-u.aborted:
		return 0, errors.New("aborted")
	default:
		return len(p), nil
	}
}

// untouched asserts that nobody reads the body any more.
func (u *upload) untouched(t *testing.T) {
	t.Helper()
	if n := u.reading.Load(); n != 0 {
		t.Errorf("%d reads still run", n)
	}
	before := u.reads.Load()
	time.Sleep(5 * time.Millisecond) // would a left-over goroutine go on?
	if n := u.reads.Load(); n != before {
		t.Errorf("%d reads after the end", n-before)
	}
}

func (u *upload) request() *Request {
	return &Request{Method: "POST", Target: "/", Host: "h", Body: u, ContentLength: 1 << 40}
}

// readHead reads a head only, as a server that refuses uploads does.
func (s *session) readHead() bool {
	for {
		line, err := s.br.ReadString('\n')
		if err != nil {
			return false
		}
		if line == "\r\n" {
			return true
		}
	}
}

const tooLarge = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"

func TestAnEarlyAnswerToALargeUploadIsDelivered(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		hold := make(chan struct{})
		b := serve(t, func(s *session) {
			if s.readHead() {
				s.say(tooLarge)
				<-hold
			}
		})
		t.Cleanup(func() { close(hold) })
		p := poolTo(t, b)
		up := newUpload(stuck)
		resp, body, err := fetch(t, p, up.request())
		if err != nil || resp.Status != 413 || body != "big" {
			t.Fatalf("stuck %v: %+v, %q, %v", stuck, resp, body, err)
		}
		up.untouched(t)
		if n := p.Stats().Idle; n != 0 {
			t.Error("a connection with half a request on it was kept")
		}
	}
}

func TestAnEarlyAnswerSurvivesTheResetThatFollows(t *testing.T) {
	b := serve(t, func(s *session) {
		if s.readHead() {
			s.say(tooLarge) // and close with megabytes unread: the kernel sends a reset
		}
	})
	for range 20 {
		resp, body, err := fetch(t, poolTo(t, b), newUpload(false).request())
		if err != nil || resp.Status != 413 || body != "big" {
			t.Fatalf("%+v, %q, %v", resp, body, err)
		}
	}
}

func TestCloseStopsTheUploadBeforeItReturns(t *testing.T) {
	hold := make(chan struct{})
	b := serve(t, func(s *session) {
		if s.readHead() {
			s.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
			<-hold
		}
	})
	t.Cleanup(func() { close(hold) })
	up := newUpload(true)
	resp, err := poolTo(t, b).RoundTrip(context.Background(), up.request())
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	up.untouched(t)
}

func TestTheContextStopsTheUpload(t *testing.T) {
	b := serve(t, func(s *session) { _, _ = io.Copy(io.Discard, s.br) })
	up := newUpload(false)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	_, err := poolTo(t, b).RoundTrip(ctx, up.request())
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) || !e.Timeout {
		t.Errorf("%v", err)
	}
	up.untouched(t)

	up = newUpload(true)
	small := up.request()
	small.ContentLength = 10 // read before a connection is taken
	ctx, cancel = context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	_, err = poolTo(t, b).RoundTrip(ctx, small)
	if e := wantError(t, err, OpBody); e.Sent || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v", e)
	}
	up.untouched(t)
}

func TestABackendThatDoesNotReadTimesOut(t *testing.T) {
	hold := make(chan struct{})
	b := serve(t, func(s *session) { <-hold })
	t.Cleanup(func() { close(hold) })
	p := newPool(t, Options{Address: b.url(), FirstByteTimeout: 50 * time.Millisecond})
	up := newUpload(false)
	_, _, err := fetch(t, p, up.request())
	if e := wantError(t, err, OpWrite); !e.Timeout || !e.Sent {
		t.Errorf("%+v", e)
	}
	up.untouched(t)
}

// failing is a client that goes away in the middle of its upload.
type failing struct{ after io.Reader }

var errGone = errors.New("client gone")

func (f failing) Read(p []byte) (int, error) {
	n, err := f.after.Read(p)
	if err == io.EOF {
		err = errGone
	}
	return n, err
}

func TestABrokenUploadNeverLooksComplete(t *testing.T) {
	type outcome struct {
		whole bool
	}
	for _, length := range []int64{100, 100_000, -1} {
		got := make(chan outcome, 1)
		b := serve(t, func(s *session) { got <- outcome{s.request() != nil} })
		p := poolTo(t, b)
		req := post("")
		req.Body, req.ContentLength = failing{strings.NewReader("first part")}, length
		_, _, err := fetch(t, p, req)
		e := wantError(t, err, OpBody)
		if !errors.Is(err, errGone) || e.Sent != (length != 100) {
			t.Errorf("length %d: %+v", length, e)
		}
		if length == 100 {
			if p.Stats().Dials != 0 {
				t.Error("a connection was taken for a small body that never came")
			}
			continue
		}
		if o := <-got; o.whole {
			t.Errorf("length %d: the backend read a whole request", length)
		}
	}
}

func TestABodyShorterThanItsLengthFails(t *testing.T) {
	b := answering(t, okAnswer)
	for _, length := range []int64{10, 100_000} {
		req := post("short")
		req.ContentLength = length
		_, _, err := fetch(t, poolTo(t, b), req)
		if wantError(t, err, OpBody); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("length %d: %v", length, err)
		}
	}
}

func TestABodyLongerThanItsLengthDoesNotBecomeARequest(t *testing.T) {
	b := answering(t, okAnswer)
	p := poolTo(t, b)
	p.trust()
	for _, length := range []int64{5, 10_000} {
		req := post(strings.Repeat("x", int(length)) + "GET /evil HTTP/1.1\r\nHost: h\r\n\r\n")
		req.ContentLength = length
		wantOK(t, p, req)
	}
	wantOK(t, p, get("/"))
	if s := p.Stats(); s.Dials != 1 || s.Stale != 0 {
		t.Errorf("%+v: an answer too many came", s)
	}
}

func TestABodyWithoutProgressFails(t *testing.T) {
	b := serve(t, func(s *session) { s.request() })
	req := post("")
	req.Body, req.ContentLength = idle{}, -1
	_, _, err := fetch(t, poolTo(t, b), req)
	if wantError(t, err, OpBody); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// The answer may end while the last bytes of a large request are still being written: that is a
// clean end, and the connection is kept.
func TestALargeUploadKeepsItsConnection(t *testing.T) {
	b := answering(t, okAnswer)
	p := poolTo(t, b)
	p.trust()
	for _, length := range []int64{300_000, -1} {
		for range 50 {
			req := post(strings.Repeat("x", 300_000))
			req.ContentLength = length
			wantOK(t, p, req)
		}
	}
	if n := b.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestNothingSentOnAClosedFreshConnection(t *testing.T) {
	p := newPool(t, Options{Address: "http://127.0.0.1:9", Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		far.Close()
		return near, nil
	}})
	for _, req := range []*Request{post("small"), newUpload(false).request()} {
		_, _, err := fetch(t, p, req)
		if e := wantError(t, err, OpWrite); e.Sent {
			t.Errorf("%+v", e)
		}
	}
}

// buggy is a body whose reader panics at its end.
type buggy struct{ before io.Reader }

func (b buggy) Read(p []byte) (int, error) {
	if n, err := b.before.Read(p); err == nil {
		return n, nil
	}
	panic("a bug in a body's reader")
}

// Nobody above the sender's goroutine would recover a panic of the caller's body: it
// would end the process. The backend never sees a whole request.
func TestAPanicOfAnUploadIsItsError(t *testing.T) {
	for _, length := range []int64{100_000, -1} {
		whole := make(chan bool, 1)
		b := serve(t, func(s *session) { whole <- s.request() != nil })
		req := post("")
		req.Body, req.ContentLength = buggy{strings.NewReader("first part")}, length
		_, _, err := fetch(t, poolTo(t, b), req)
		if <-whole {
			t.Errorf("length %d: the backend read a whole request", length)
		}
		e := wantError(t, err, OpBody)
		var p *PanicError
		if !errors.As(err, &p) || p.Value != "a bug in a body's reader" || !strings.Contains(string(p.Stack), "buggy") || !e.Sent || e.Repeatable {
			t.Errorf("length %d: %+v", length, e)
		}
	}
}
