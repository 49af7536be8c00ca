package cache

import (
	"net/textproto"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fields is a Header that reuses its result as fasthttp does: a value kept
// beyond the next call would be overwritten.
type fields struct {
	names  []string
	values [][]byte
	result [][]byte
}

// head makes fields of name, value pairs.
func head(pairs ...string) *fields {
	f := &fields{}
	for i := 0; i < len(pairs); i += 2 {
		f.names = append(f.names, textproto.CanonicalMIMEHeaderKey(pairs[i]))
		f.values = append(f.values, []byte(pairs[i+1]))
	}
	return f
}

func (f *fields) PeekAll(name string) [][]byte {
	for i := range f.result {
		f.result[i] = nil
	}
	f.result = f.result[:0]
	for i, n := range f.names {
		if n == name {
			f.result = append(f.result, f.values[i])
		}
	}
	return f.result
}

// epoch is when responses of the tests arrive, and epochDate the Date then.
var epoch = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

const epochDate = "Wed, 04 Mar 2026 05:06:07 GMT"

// get is a plain GET for /path with more header fields.
func get(path string, pairs ...string) *Request {
	return &Request{
		Method: "GET",
		Header: head(pairs...),
		Key:    AppendKey(nil, "shop", "www.shop.test", "https", "www.shop.test", path),
	}
}

// answer is a response that arrived at epoch.
func answer(status int, pairs ...string) *Response {
	return &Response{Status: status, Header: head(pairs...), BodyLength: -1, Received: epoch}
}

// clock is a settable time.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

// newStore opens a store whose clock stands at epoch.
func newStore(t testing.TB, maxBytes int64) (*Store, *clock) {
	t.Helper()
	c := &clock{t: epoch}
	s, err := New(Options{MaxBytes: maxBytes, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, c
}

// fill looks req up, expects a miss, and stores body as its response.
func fill(t testing.TB, s *Store, req *Request, resp *Response, body string) bool {
	t.Helper()
	if l := s.Lookup(req, &Policy{}); l.Entry != nil {
		t.Fatalf("hit %q before the fill", l.Entry.Body)
	}
	return put(t, s, req, resp, body)
}

// put stores body as the response to req, which has been looked up.
func put(t testing.TB, s *Store, req *Request, resp *Response, body string) bool {
	t.Helper()
	d := Decide(req, resp, &Policy{})
	if !d.Store {
		t.Fatalf("not storable: %s", d.Reason)
	}
	return s.Put(NewEntry(req, resp, d, nil, 100, []byte(body), "")) == nil
}

// wantHit fails unless req hits body.
func wantHit(t testing.TB, s *Store, req *Request, body string) Lookup {
	t.Helper()
	l := s.Lookup(req, &Policy{})
	if l.Entry == nil {
		t.Fatalf("no hit: fwd=%s detail=%s, want %q", l.Forward, l.Detail, body)
	}
	if string(l.Entry.Body) != body {
		t.Fatalf("hit %q, want %q", l.Entry.Body, body)
	}
	return l
}

// wantForward fails unless req misses with that fwd value.
func wantForward(t testing.TB, s *Store, req *Request, forward string) Lookup {
	t.Helper()
	l := s.Lookup(req, &Policy{})
	if l.Entry != nil {
		t.Fatalf("hit %q, want fwd=%s", l.Entry.Body, forward)
	}
	if l.Forward != forward {
		t.Fatalf("fwd=%s, want %s", l.Forward, forward)
	}
	return l
}

// invalidate invalidates what is stored for req.
func invalidate(s *Store, req *Request) { s.Invalidate(req.Vhost, req.Key) }
