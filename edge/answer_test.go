package edge

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/edge/upstream"
	"gatehouse/edge/wire"
)

// A sheet is a client's connection that takes what is sent to it.
type sheet struct {
	http1Conn
	text  bytes.Buffer
	sends int
	room  int // bytes until a send fails; 0: never
}

func (s *sheet) Send(p []byte) (int, error) {
	s.sends++
	if s.room > 0 && s.text.Len()+len(p) > s.room {
		return 0, errors.New("the client has gone")
	}
	return s.text.Write(p)
}

// A pieced stream is a body that comes in pieces, of which some are at hand.
type pieced struct {
	pieces  []string
	waits   int // reads that would have waited
	err     error
	eager   bool // more pieces are at hand at a time
	touched bool
	closed  int
}

func (p *pieced) Read(b []byte) (int, error) {
	if len(p.pieces) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		return 0, io.EOF
	}
	if !p.eager && !p.touched {
		p.waits++
	}
	n := copy(b, p.pieces[0])
	if p.pieces[0] = p.pieces[0][n:]; p.pieces[0] == "" {
		p.pieces, p.touched = p.pieces[1:], false
	} else {
		p.touched = true
	}
	return n, nil
}

func (p *pieced) Buffered() int {
	switch {
	case len(p.pieces) == 0:
		return 1
	case p.eager || p.touched:
		return len(p.pieces[0])
	}
	return 0
}

func (p *pieced) Close() error { p.closed++; return nil }

// answered writes a response of so many fields and returns the connection.
func answered(method, proto string, status int, length int64, body *pieced, fields int) (*request, *sheet) {
	r := &request{Method: method, Proto: proto, log: slog.New(slog.DiscardHandler)}
	p := &r.response
	p.status, p.length, p.stream = status, length, body
	for i := range fields {
		p.fields = append(p.fields, upstream.Field{Name: fmt.Appendf(nil, "X-Field-%d", i), Value: []byte(strings.Repeat("v", 50))})
	}
	s := &sheet{}
	r.write(s)
	return r, s
}

// Whatever the pieces, sizes and framing: net/http reads what the backend has sent.
func TestAnswersAreReadAsTheyWereSent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 2000 {
		body := &pieced{eager: rng.IntN(2) == 0}
		var want strings.Builder
		for range rng.IntN(6) {
			piece := strings.Repeat(string(rune('a'+rng.IntN(26))), 1+rng.IntN([]int{5, 300, 70_000}[rng.IntN(3)]))
			body.pieces = append(body.pieces, piece)
			want.WriteString(piece)
		}
		length := int64(-1)
		if rng.IntN(2) == 0 {
			length = int64(want.Len())
		}
		proto := []string{"HTTP/1.1", "HTTP/1.0"}[rng.IntN(2)]
		r, s := answered("GET", proto, 200, length, body, rng.IntN(120))
		sent := s.text.String()
		resp, err := http.ReadResponse(bufio.NewReader(&s.text), nil)
		if err != nil {
			t.Fatalf("round %d: %v in %.200q", round, err, sent)
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil || string(got) != want.String() || resp.ContentLength != length {
			t.Fatalf("round %d: %d bytes, %v, length %d; want %d, length %d", round, len(got), err, resp.ContentLength, want.Len(), length)
		}
		if r.response.sent != int64(want.Len()) || r.response.cut || body.closed != 1 {
			t.Fatalf("round %d: %d bytes counted of %d, cut %v, closed %d times", round, r.response.sent, want.Len(), r.response.cut, body.closed)
		}
		if chunked := length < 0 && proto == "HTTP/1.1"; chunked != strings.HasSuffix(sent, "0\r\n\r\n") && want.Len() > 0 {
			t.Fatalf("round %d: %s, length %d, ends with %q", round, proto, length, sent[len(sent)-10:])
		}
	}
}

func TestWhatIsAtHandLeavesInOneWrite(t *testing.T) {
	for name, length := range map[string]int64{"length": 6, "chunks": -1} {
		if _, s := answered("GET", "HTTP/1.1", 200, length, &pieced{pieces: []string{"one", "two"}, eager: true}, 3); s.sends != 1 {
			t.Errorf("%s: %d writes: %q", name, s.sends, s.text.String())
		}
	}
	// A head does not wait for a body of unknown length, nor one piece for the next.
	if _, s := answered("GET", "HTTP/1.1", 200, -1, &pieced{pieces: []string{"one", "two"}}, 3); s.sends != 3 {
		t.Errorf("slow: %d writes: %q", s.sends, s.text.String())
	}
}

func TestACutAnswerNeverLooksWhole(t *testing.T) {
	gone := errors.New("connection reset")
	for _, c := range []struct {
		name   string
		length int64
		body   *pieced
	}{
		{"length, error", 10, &pieced{pieces: []string{"five!"}, err: gone}},
		{"length, early end", 10, &pieced{pieces: []string{"five!"}}},
		{"length, nothing", 10, &pieced{}},
		{"chunks, error", -1, &pieced{pieces: []string{"five!"}, err: gone, eager: true}},
		{"chunks, error at once", -1, &pieced{err: gone}},
	} {
		r, s := answered("GET", "HTTP/1.1", 200, c.length, c.body, 1)
		if !r.response.cut || r.record.Err == nil {
			t.Errorf("%s: no cut noted", c.name)
		}
		resp, err := http.ReadResponse(bufio.NewReader(&s.text), nil)
		if err != nil {
			continue // not even a head: a cut that everybody sees
		}
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: looks whole: %q", c.name, body)
		}
	}
	// A body that is longer than it should be is not sent beyond its length.
	r, s := answered("GET", "HTTP/1.1", 200, 3, &pieced{pieces: []string{"threeandmore"}, eager: true}, 1)
	if _, body, _ := strings.Cut(s.text.String(), "\r\n\r\n"); len(body) > 3 {
		t.Errorf("%q was sent of 3 bytes (cut: %v)", body, r.response.cut)
	}
}

func TestClientThatLeavesIsBlamed(t *testing.T) {
	body := &pieced{pieces: []string{strings.Repeat("x", 100_000)}, eager: true}
	r := &request{Method: "GET", Proto: "HTTP/1.1", log: slog.New(slog.DiscardHandler)}
	r.response.status, r.response.length, r.response.stream = 200, 100_000, body
	r.write(&sheet{room: 50_000})
	if !r.response.cut || !byClient(r.record.Err) || r.response.sent == 0 || r.response.sent >= 100_000 || body.closed != 1 {
		t.Errorf("cut %v by %v after %d bytes, closed %d times", r.response.cut, r.record.Err, r.response.sent, body.closed)
	}
}

// A head of whatever size leaves room for the framing behind it.
func TestHeadsOfEverySizeAroundTheBuffersRoom(t *testing.T) {
	for size := headRoom - 200; size < headRoom+100; size++ {
		for _, length := range []int64{-1, 50_000} {
			r := &request{Method: "GET", Proto: "HTTP/1.1", log: slog.New(slog.DiscardHandler)}
			body := &pieced{pieces: []string{strings.Repeat("x", 50_000)}, eager: true}
			r.response = response{status: 200, length: length, stream: body}
			r.response.set("X-Long", strings.Repeat("v", size))
			s := &sheet{}
			r.write(s)
			resp, err := http.ReadResponse(bufio.NewReader(&s.text), nil)
			if err != nil {
				t.Fatal(size, err)
			}
			if got, err := io.ReadAll(resp.Body); err != nil || len(got) != 50_000 || r.response.cut {
				t.Errorf("field of %d bytes, length %d: %d bytes, %v, cut %v", size, length, len(got), err, r.response.cut)
			}
		}
	}
}

// A client that has gone before the body's first byte is not waited for.
func TestNobodyWaitsForTheBodyOfAClientThatHasGone(t *testing.T) {
	body := &pieced{pieces: []string{"late"}}
	r := &request{Method: "GET", Proto: "HTTP/1.1", log: slog.New(slog.DiscardHandler)}
	r.response = response{status: 200, length: -1, stream: body}
	r.write(&sheet{room: 5})
	if !r.response.cut || body.waits > 0 || body.closed != 1 {
		t.Errorf("cut %v, %d waits, closed %d times", r.response.cut, body.waits, body.closed)
	}
}

// The vhost's Strict-Transport-Security takes the place of the backend's in hits, too
// (RFC 6797 §8.1: a browser goes by the first).
func TestHitsHaveOneStrictTransportSecurity(t *testing.T) {
	p := &response{status: 200}
	p.set("Strict-Transport-Security", "max-age=0")
	p.set("ETag", "\"1\"")
	for _, c := range []struct {
		name string
		r    *request
		want string
	}{
		{"the vhost's over TLS", &request{TLS: &tls.ConnectionState{}, site: &site{hsts: time.Hour}}, "max-age=3600"},
		{"with more", &request{TLS: &tls.ConnectionState{}, site: &site{hsts: time.Hour, hstsMore: "; includeSubDomains; preload"}}, "max-age=3600; includeSubDomains; preload"},
		{"the backend's otherwise", &request{TLS: &tls.ConnectionState{}, site: &site{}}, "max-age=0"},
	} {
		c.r.response = response{status: 200, template: storeHead(p)}
		c.r.complete()
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(c.r.appendHead(nil, false))), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header["Strict-Transport-Security"]; len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// A request that panicked is no other request's memory: something may still hold it.
func TestMemoryOfARequestThatPanickedIsNotUsedAgain(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &request{ID: "x", body: &requestBody{}, log: s.log, srv: s}
	r.body.reset(nil, 0, 0, nil)
	r.newOutbound()
	if err := chain(s.links()[:1], func(*request) error { panic("boom") })(r); err != nil {
		t.Fatal(err)
	}
	r.done()
	if !r.tainted || !wasCut(t, r) {
		t.Errorf("tainted %v: what waits goes on", r.tainted)
	}
	for range 100 {
		if got := requests.Get().(*request); got == r {
			t.Fatal("it came back")
		}
	}
}

// What has no body gets none, whatever stream came along (RFC 9110 §6.4.1).
func TestBodylessAnswers(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
		length int64
		want   string // framing fields
	}{
		{"HEAD", 200, 1234, "Content-Length: 1234"},
		{"HEAD", 200, -1, ""},
		{"GET", 204, 0, ""},
		{"GET", 304, 1234, ""},
		{"GET", 200, 0, "Content-Length: 0"},
	} {
		body := &pieced{}
		if c.status != 200 || c.method == "HEAD" {
			body.pieces = []string{"surplus"}
		}
		_, s := answered(c.method, "HTTP/1.1", c.status, c.length, body, 0)
		_, fields, _ := strings.Cut(strings.TrimSuffix(s.text.String(), "\r\n\r\n"), "\r\n")
		if fields != c.want || body.closed != 1 {
			t.Errorf("%s %d: %q, want framing %q (closed %d times)", c.method, c.status, s.text.String(), c.want, body.closed)
		}
	}
}

func TestStoredHeadRepeatsInA304WhatItShould(t *testing.T) {
	p := &response{status: 200}
	for _, f := range []string{"ETag: \"1\"", "Age: 5", "X-Request-Id: theirs", "cache-control: max-age=5", "Set-Cookie: a=b", "Vary: Accept", "Cache-Status: x"} {
		name, value, _ := strings.Cut(f, ": ")
		p.set(name, value)
	}
	h := storeHead(p)
	if got := string(h.lines); strings.Contains(got, "Age:") || strings.Contains(got, "theirs") || strings.Contains(got, "Cache-Status") || !strings.Contains(got, "\r\nDate: ") {
		t.Errorf("stored %q", got)
	}
	var names []string
	for _, f := range h.notModified() {
		names = append(names, string(f.Name))
	}
	if got := strings.Join(names, " "); got != "ETag cache-control Vary Date" {
		t.Errorf("a 304 has %s", got)
	}
}

var _ http1Conn = (*wire.Conn)(nil)
