package upstream

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// recording is a connection whose other side has said all it will say, in pieces of one size.
type recording struct {
	net.Conn
	rest  []byte
	piece int
}

func (r *recording) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), max(r.piece, 1))], r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
func (r *recording) Write(p []byte) (int, error)      { return len(p), nil }
func (r *recording) Close() error                     { return nil }
func (r *recording) SetDeadline(time.Time) error      { return nil }
func (r *recording) SetReadDeadline(time.Time) error  { return nil }
func (r *recording) SetWriteDeadline(time.Time) error { return nil }

// replay gives what RoundTrip makes of the bytes: the answer, its body, and whether it ended cleanly.
func replay(t testing.TB, raw []byte, piece int, method string) (resp *Response, body []byte, fit bool, err error) {
	c := newConn(&recording{rest: raw, piece: piece})
	c.open()
	x := &exchange{pool: &Pool{opts: Options{FirstByteTimeout: time.Hour, StallTimeout: time.Hour}}, c: c}
	req := get("/")
	req.Method = method
	if err := x.receive(req); err != nil {
		return nil, nil, false, err
	}
	resp = &x.Response
	for p := make([]byte, 7); err == nil; { // small reads, so that every phase meets the end of p
		var n int
		n, err = x.Read(p)
		body = append(body, p[:n]...)
	}
	if err == io.EOF {
		err = nil
	}
	fit = err == nil && x.keep
	if cerr := x.Close(); cerr != nil {
		t.Error(cerr)
	}
	return resp, body, fit, err
}

// FuzzAnswer checks that every answer that is accepted means the same to net/http, that the way
// it is cut into segments does not matter, and that nothing beyond its end is swallowed.
func FuzzAnswer(f *testing.F) {
	for _, row := range answers(f) {
		var raw []byte
		for _, s := range row.Segments {
			raw = append(raw, s.B64...)
		}
		if len(raw) < 4096 {
			f.Add(raw, 3)
		}
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX: y\r\n\r\nH"), 1)
	f.Add([]byte("HTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 304 N\r\n\r\n"), 100)
	f.Fuzz(func(t *testing.T, raw []byte, piece int) {
		resp, body, fit, err := replay(t, raw, piece, "GET")
		again, againBody, againFit, againErr := replay(t, raw, 1<<20, "GET")
		if (err == nil) != (againErr == nil) || fit != againFit || !bytes.Equal(body, againBody) || (resp == nil) != (again == nil) {
			t.Fatalf("pieces of %d: %q %v %v; whole: %q %v %v", piece, body, fit, err, againBody, againFit, againErr)
		}
		if err != nil {
			return
		}
		theirs, err := finalAnswer(raw)
		if err != nil {
			t.Fatalf("accepted what net/http refuses: %v", err)
		}
		defer theirs.Body.Close()
		theirBody, err := io.ReadAll(theirs.Body)
		if err != nil || !bytes.Equal(body, theirBody) {
			t.Fatalf("body %q, theirs %q, %v", body, theirBody, err)
		}
		if resp.Status != theirs.StatusCode {
			t.Fatalf("status %d, theirs %d", resp.Status, theirs.StatusCode)
		}
		compareFields(t, resp, theirs.Header)
		if fit && theirs.Close {
			t.Fatal("net/http would close where we keep")
		}
	})
}

// finalAnswer reads past interim answers with net/http.
func finalAnswer(raw []byte) (*http.Response, error) {
	br := bufio.NewReader(bytes.NewReader(raw))
	for {
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode >= 200 {
			return resp, err
		}
	}
}

func compareFields(t *testing.T, resp *Response, theirs http.Header) {
	t.Helper()
	seen := map[string]int{}
	for _, f := range resp.Fields {
		name := http.CanonicalHeaderKey(string(f.Name))
		values := theirs[name]
		if seen[name] >= len(values) || values[seen[name]] != string(f.Value) {
			t.Fatalf("field %q: %q, theirs %q", name, f.Value, values)
		}
		seen[name]++
	}
}

// FuzzChunked checks the chunk decoder alone, with a tail that must stay untouched.
func FuzzChunked(f *testing.F) {
	for _, seed := range []string{
		"2\r\nok\r\n0\r\n\r\n", "0\r\n\r\n", "A;x=\"y\"\r\n0123456789\r\n0\r\nX: y\r\n\r\n", "5\r\nhelloX0\r\n\r\n",
		"5\nhello\n0\n\n", "00000000000000005\r\nhello\r\n0\r\n\r\n", "fffffffffffffff\r\n", "1\r\na\r\n1\r\nb\r\n0\r\n",
	} {
		f.Add([]byte(seed), 2)
	}
	f.Fuzz(func(t *testing.T, raw []byte, piece int) {
		const tail = "\r\nTAIL"
		c := newConn(&recording{rest: append(bytes.Clone(raw), tail...), piece: piece})
		c.open()
		defer c.release()
		var k chunked
		var body []byte
		var err error
		for p := make([]byte, 5); err == nil; {
			var n int
			n, err = k.next(c, p)
			body = append(body, p[:n]...)
		}
		if err != io.EOF {
			return
		}
		rest, rerr := io.ReadAll(io.MultiReader(bytes.NewReader(bytes.Clone(c.buffered())), c.nc))
		if rerr != nil {
			t.Fatal(rerr)
		}
		head := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		br := bufio.NewReader(strings.NewReader(head + string(raw) + tail))
		theirs, terr := http.ReadResponse(br, nil)
		if terr != nil {
			t.Fatal(terr)
		}
		defer theirs.Body.Close()
		theirBody, terr := io.ReadAll(theirs.Body)
		if terr != nil || !bytes.Equal(theirBody, body) {
			t.Fatalf("body %q, theirs %q, %v", body, theirBody, terr)
		}
		if theirRest, _ := io.ReadAll(br); !bytes.Equal(theirRest, rest) {
			t.Fatalf("left over %q, theirs %q", rest, theirRest)
		}
	})
}

// FuzzRequestHead checks that whatever passes check is one request to a second parser.
func FuzzRequestHead(f *testing.F) {
	f.Add("GET", "/x?y", "h.test", []byte("Accept: */*\r\nX-A: b\r\n"))
	f.Add("GET", "/ HTTP/1.1\r\nX: y", "h", []byte("A: b\r\n\r\nGET /evil HTTP/1.1\r\n"))
	f.Add("OPTIONS", "*", "[::1]:80", []byte("Cookie: a=b; c=d\r\n"))
	f.Fuzz(func(t *testing.T, method, target, host string, head []byte) {
		req := &Request{Method: method, Target: target, Host: host, Head: head}
		if req.check() != nil {
			return
		}
		raw := req.appendHead(nil, "/app")
		br := bufio.NewReader(bytes.NewReader(raw))
		theirs, err := http.ReadRequest(br)
		if err != nil {
			// What net/http refuses beyond framing: hosts and targets that are no URL. Not our question.
			if strings.Contains(err.Error(), "parse ") || strings.Contains(err.Error(), "malformed Host") {
				return
			}
			t.Fatalf("%q: %v", raw, err)
		}
		if theirs.Method != method || theirs.ContentLength > 0 || len(theirs.TransferEncoding) > 0 {
			t.Fatalf("%q became %+v", raw, theirs)
		}
		if rest, _ := io.ReadAll(br); len(rest) > 0 {
			t.Fatalf("%q leaves %q", raw, rest)
		}
	})
}
