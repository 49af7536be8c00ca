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

// outcome is what RoundTrip made of an answer.
type outcome struct {
	resp *Response
	body []byte
	fit  bool   // the connection may be used again
	rest []byte // what the connection still held, beyond what had been read ahead
	err  error  // nil: the answer ended cleanly
}

// replay gives what RoundTrip makes of the bytes when they come in pieces of that size. With pieces
// of one byte nothing is read ahead.
func replay(t testing.TB, raw []byte, piece int, method string) (o outcome) {
	from := &recording{rest: raw, piece: piece}
	c := newConn(from)
	c.open()
	x := &exchange{line: &Lifeline{}, pool: &Pool{opts: Options{FirstByteTimeout: time.Hour, StallTimeout: time.Hour}}, c: c}
	req := get("/")
	req.Method = method
	if o.err = x.receive(req); o.err != nil {
		return o
	}
	o.resp = &x.Response
	for p := make([]byte, 7); o.err == nil; { // small reads, so that every phase meets the end of p
		var n int
		n, o.err = x.Read(p)
		o.body = append(o.body, p[:n]...)
	}
	if o.err == io.EOF {
		o.err = nil
	}
	o.fit = o.err == nil && x.keep
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	o.rest = from.rest
	return o
}

// FuzzAnswer checks that every answer that is accepted means the same to net/http: the same
// status, fields, body and leftover; that the way it is cut into segments does not matter; and that
// nothing is accepted that net/http refuses.
func FuzzAnswer(f *testing.F) {
	for _, row := range answers(f) {
		var raw []byte
		for _, s := range row.Segments {
			raw = append(raw, s.B64...)
		}
		if len(raw) < 4096 {
			f.Add(raw, 3, false)
		}
	}
	for _, seed := range answerSeeds {
		f.Add([]byte(seed), 5, false)
		f.Add([]byte(seed), 1, true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, piece int, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		cut, whole, ours := replay(t, raw, piece, method), replay(t, raw, 1<<20, method), replay(t, raw, 1, method)
		for _, o := range []outcome{cut, whole} {
			if (o.err == nil) != (ours.err == nil) || o.fit != ours.fit || !bytes.Equal(o.body, ours.body) || (o.resp == nil) != (ours.resp == nil) {
				t.Fatalf("%q in pieces of %d: %q %v %v; in bytes: %q %v %v", raw, piece, o.body, o.fit, o.err, ours.body, ours.fit, ours.err)
			}
		}
		if ours.err != nil {
			return
		}
		br := bufio.NewReaderSize(bytes.NewReader(raw), lookahead)
		theirs, err := finalAnswer(br, method)
		if err != nil {
			t.Fatalf("accepted what net/http refuses: %v", err)
		}
		defer theirs.Body.Close()
		theirBody, err := io.ReadAll(theirs.Body)
		if stricter(err) {
			return
		}
		if err != nil || !bytes.Equal(ours.body, theirBody) {
			t.Fatalf("body %q, theirs %q, %v", ours.body, theirBody, err)
		}
		if rest, _ := io.ReadAll(br); !bytes.Equal(ours.rest, rest) {
			t.Fatalf("left over %q, theirs %q", ours.rest, rest)
		}
		if ours.resp.Status != theirs.StatusCode {
			t.Fatalf("status %d, theirs %d", ours.resp.Status, theirs.StatusCode)
		}
		compareFields(t, ours.resp, theirs.Header, raw)
		if ours.fit && theirs.Close {
			t.Fatal("net/http would close where we keep")
		}
	})
}

// finalAnswer reads past interim answers with net/http.
func finalAnswer(br *bufio.Reader, method string) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil || resp.StatusCode >= 200 {
			return resp, err
		}
	}
}

// compareFields checks that we have every end-to-end field that net/http has, and no other.
func compareFields(t *testing.T, resp *Response, theirs http.Header, raw []byte) {
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
	ends := map[string]bool{}
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length",
	} {
		ends[name] = true
	}
	for line := range strings.SplitSeq(string(raw), "\r\n") { // net/http does not show a Connection: close
		field, listed, _ := strings.Cut(line, ":")
		if !strings.EqualFold(field, "connection") {
			continue
		}
		for name := range strings.SplitSeq(listed, ",") {
			if name = http.CanonicalHeaderKey(strings.Trim(name, " \t")); name != "Cache-Control" {
				ends[name] = true
			}
		}
	}
	for name, values := range theirs {
		added := name == "Cache-Control" && len(theirs["Pragma"]) > 0 // net/http makes one out of a Pragma
		if seen[name] != len(values) && !ends[name] && !added {
			t.Fatalf("field %q: %d of %q", name, seen[name], values)
		}
	}
}

// lookahead is how far net/http can look for the end of trailers: farther than ours may be long.
const lookahead = 128 << 10

// stricter reports whether net/http minds the size of what stands around chunks, of which it counts
// the sum. That makes no second reading.
func stricter(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "non-data") || strings.Contains(err.Error(), "suspiciously long trailer"))
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
		br := bufio.NewReaderSize(strings.NewReader(head+string(raw)+tail), lookahead)
		theirs, terr := http.ReadResponse(br, nil)
		if terr != nil {
			t.Fatal(terr)
		}
		defer theirs.Body.Close()
		theirBody, terr := io.ReadAll(theirs.Body)
		if stricter(terr) {
			return
		}
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
		br := bufio.NewReaderSize(bytes.NewReader(raw), lookahead)
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
