package wire

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

const chunkedHead = "POST /up HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"

// Each attack on the body's framing ends it with an error, never with a clean
// end, and nothing behind it becomes a request.
func TestBodiesWithTwoReadingsAreRefused(t *testing.T) {
	const next = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
	for name, tc := range map[string]struct {
		in     string
		status int
	}{
		"size minus":                         {"-5\r\nhello\r\n0\r\n\r\n", 400},
		"size 0x":                            {"0x5\r\nhello\r\n0\r\n\r\n", 400},
		"size behind space":                  {" 5\r\nhello\r\n0\r\n\r\n", 400},
		"size with underscore":               {"0_5\r\nhello\r\n0\r\n\r\n", 400},
		"size empty":                         {"\r\nhello\r\n0\r\n\r\n", 400},
		"size only an extension":             {";a=b\r\nhello\r\n0\r\n\r\n", 400},
		"size with vertical tab":             {"5\v\r\nhello\r\n0\r\n\r\n", 400},
		"size twice":                         {"5 5\r\nhello\r\n0\r\n\r\n", 400},
		"size of 2^64+5":                     {"10000000000000005\r\nhello\r\n0\r\n\r\n", 400},
		"size of 2^64-1":                     {"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", 400},
		"size with 1,000 leading zeros":      {strings.Repeat("0", 1000) + "5\r\nhello\r\n0\r\n\r\n", 400},
		"LF after the size":                  {"5\nhello\r\n0\r\n\r\n", 400},
		"CR after the size":                  {"5\rhello\r\n0\r\n\r\n", 400},
		"CR CR LF after the size":            {"5\r\r\nhello\r\n0\r\n\r\n", 400},
		"LF after the data":                  {"5\r\nhello\n0\r\n\r\n", 400},
		"junk after the data":                {"5\r\nhelloX0\r\n\r\n", 400},
		"two junk bytes after the data":      {"5\r\nhelloXY0\r\n\r\n", 400},
		"data longer than its size":          {"4\r\nhello\r\n0\r\n\r\n", 400},
		"LF in an extension hides a request": {"5;a\nb\r\nhello\r\n0\r\n\r\n", 400},
		"CR in an extension":                 {"5;a\rb\r\nhello\r\n0\r\n\r\n", 400},
		"extension of 64 KB":                 {"5;" + strings.Repeat("a", 64<<10) + "\r\nhello\r\n0\r\n\r\n", 400},
		"extension without semicolon":        {"5 a\r\nhello\r\n0\r\n\r\n", 400},
		"many small extensions":              {strings.Repeat("1;"+strings.Repeat("a", 60)+"\r\nx\r\n", 200) + "0\r\n\r\n", 400},
		"cut in the data":                    {"5\r\nhel", 400},
		"cut between chunks":                 {"5\r\nhello\r\n", 400},
		"cut behind the last chunk":          {"5\r\nhello\r\n0\r\n", 400},
		"trailer Content-Length":             {"0\r\nContent-Length: 5\r\n\r\n", 400},
		"trailer Transfer-Encoding":          {"0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"trailer Host":                       {"0\r\nhost: b.test\r\n\r\n", 400},
		"trailer with a bad name":            {"0\r\nX A: y\r\n\r\n", 400},
		"trailer without colon":              {"0\r\nnonsense\r\n\r\n", 400},
		"trailer folded":                     {"0\r\nX: y\r\n z\r\n\r\n", 400},
		"trailer with NUL":                   {"0\r\nX: \x00\r\n\r\n", 400},
		"trailer ended by LF":                {"0\r\nX: y\n\r\n", 400},
		"trailers ended by LF":               {"0\r\nX: y\r\n\n", 400},
		"trailers of 64 KB":                  {"0\r\nX: " + strings.Repeat("y", 64<<10) + "\r\n\r\n", 431},
		"1,000 trailers":                     {"0\r\n" + strings.Repeat("X: y\r\n", 1000) + "\r\n", 431},
	} {
		for _, piece := range []int{1, 64 << 10} {
			t.Run(fmt.Sprintf("%s/%d", name, piece), func(t *testing.T) {
				in := chunkedHead + tc.in
				if !strings.HasPrefix(name, "cut") {
					in += next
				}
				_, c := play([]byte(in), piece, Limits{})
				if h, err := nextHead(t, c); err != nil || h.Refused != nil {
					t.Fatal(err, h)
				}
				body, err := io.ReadAll(c.Body())
				var refusal *Refusal
				if !errors.As(err, &refusal) || refusal.Status != tc.status {
					t.Errorf("body %.20q ends with %v, want %d", body, err, tc.status)
				}
				if _, again := c.Body().Read(make([]byte, 1)); !errors.Is(again, err) {
					t.Errorf("read once more: %v", again)
				}
				if _, err := nextHead(t, c); !errors.Is(err, ErrUnread) {
					t.Errorf("the connection goes on: %v", err)
				}
			})
		}
	}
}

// Pipelined requests are delivered one by one, each with its own body.
func TestPipelinedRequests(t *testing.T) {
	in := "POST /1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\none" +
		"GET /2 HTTP/1.1\r\nHost: b.test\r\n\r\n" +
		"POST /3 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"2;x=\"y\"\r\nth\r\n003 ; z\r\nree\r\n00\r\nX-Sum: 1\r\n\r\n" +
		"\r\nPOST /4 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	for piece := 1; piece <= len(in); piece += 13 {
		_, c := play([]byte(in), piece, Limits{})
		for _, want := range []string{"a.test /1 one", "b.test /2 ", "a.test /3 three", "a.test /4 "} {
			h, err := nextHead(t, c)
			if err != nil || h.Refused != nil {
				t.Fatal(err, h)
			}
			body, err := io.ReadAll(c.Body())
			if got := fmt.Sprintf("%s %s %s", h.Host, h.Target, body); err != nil || got != want {
				t.Fatalf("pieces of %d: got %q, %v; want %q", piece, got, err, want)
			}
		}
		if !c.Head().Last {
			t.Error("Connection: close is not heard")
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	}
}

// A body that nobody has read is never taken for the next request.
func TestUnreadBodyIsNoRequest(t *testing.T) {
	for _, head := range []string{
		"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 40\r\n\r\n",
		chunkedHead,
	} {
		_, c := play([]byte(head+"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"), 64<<10, Limits{})
		if _, err := nextHead(t, c); err != nil {
			t.Fatal(err)
		}
		if _, err := nextHead(t, c); !errors.Is(err, ErrUnread) {
			t.Errorf("%v", err)
		}
	}
}

// A large body that comes in large pieces is delivered whole, in order.
func TestLargeBodies(t *testing.T) {
	data := strings.Repeat("0123456789abcdef", 20000)
	var chunks strings.Builder
	for at, size := 0, 1; at < len(data); at, size = at+size, size*3%9973+1 {
		piece := data[at:min(at+size, len(data))]
		fmt.Fprintf(&chunks, "%X\r\n%s\r\n", len(piece), piece)
	}
	for _, in := range []string{
		chunkedHead + chunks.String() + "0\r\n\r\n",
		fmt.Sprintf("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s", len(data), data),
	} {
		for _, piece := range []int{11, 1500, 1 << 20} {
			_, c := play([]byte(in+get+"\r\n"), piece, Limits{})
			if _, err := nextHead(t, c); err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(c.Body())
			if err != nil || string(body) != data {
				t.Fatalf("pieces of %d: %d bytes, %v", piece, len(body), err)
			}
			if h, err := nextHead(t, c); err != nil || h.Refused != nil || h.Target != "/" {
				t.Fatal(err, h)
			}
		}
	}
}

// The fields of a head stay as they are while a long chunked body passes, also
// behind a head that fills its buffer.
func TestFieldsOutliveTheBody(t *testing.T) {
	for pad := firstBuffer - 300; pad < firstBuffer+20; pad += 3 {
		value := strings.Repeat("v", pad)
		in := "POST /up HTTP/1.1\r\nHost: a.test\r\nX-Long: " + value + "\r\nTransfer-Encoding: chunked\r\n\r\n" +
			strings.Repeat("3;extension=of some length\r\nabc\r\n", 200) + "0\r\n\r\n"
		_, c := play([]byte(in), 97, Limits{})
		h, err := nextHead(t, c)
		if err != nil || h.Refused != nil {
			t.Fatal(err, h)
		}
		if body, err := io.ReadAll(c.Body()); err != nil || len(body) != 600 {
			t.Fatal(len(body), err)
		}
		if string(h.Fields[1].Value) != value || string(h.Fields[0].Value) != "a.test" {
			t.Fatalf("fields changed under a head of %d bytes", pad)
		}
	}
}

// 100 Continue is sent when the body is wanted, once, and only if the client
// waits for it; never once the answer has begun.
func TestContinueIsSentWhenTheBodyIsWanted(t *testing.T) {
	const leave = "HTTP/1.1 100 Continue\r\n\r\n"
	for name, tc := range map[string]struct {
		version, expect, early string
		answered               bool
		want                   string
	}{
		"asked for":             {"1.1", "Expect: 100-Continue\r\n", "", false, leave},
		"not asked for":         {"1.1", "", "", false, ""},
		"the body came unasked": {"1.1", "Expect: 100-continue\r\n", "abc", false, ""},
		"HTTP/1.0 knows it not": {"1.0", "Expect: 100-continue\r\n", "", false, ""},
		"the answer has begun":  {"1.1", "Expect: 100-continue\r\n", "", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			head := "POST / HTTP/" + tc.version + "\r\nHost: a.test\r\n" + tc.expect + "Content-Length: 3\r\n\r\n"
			source, c := play([]byte(head+tc.early), 64<<10, Limits{})
			if _, err := nextHead(t, c); err != nil {
				t.Fatal(err)
			}
			if source.out.Len() > 0 {
				t.Fatal("leave was given before the body was wanted")
			}
			source.in = append(source.in, "abc"[len(tc.early):]...)
			if tc.answered {
				c.Answering(true)
			}
			body, err := io.ReadAll(c.Body())
			if err != nil || string(body) != "abc" || source.out.String() != tc.want {
				t.Errorf("body %q, %v; sent %q, want %q", body, err, source.out.String(), tc.want)
			}
		})
	}
}

// Early hints reach a client of HTTP/1.1, and only before the answer.
func TestInform(t *testing.T) {
	source, c := play([]byte(get+"\r\n"), 64, Limits{})
	if _, err := nextHead(t, c); err != nil {
		t.Fatal(err)
	}
	if err := c.Inform(103, []byte("Link: </a.css>\r\n")); err != nil {
		t.Fatal(err)
	}
	c.Answering(true)
	if err := c.Inform(103, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := source.out.String(), "HTTP/1.1 103 \r\nLink: </a.css>\r\n\r\n"; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// The last request of a connection says so: by number and by age.
func TestConnectionEndsAfterItsRequests(t *testing.T) {
	_, c := play([]byte(strings.Repeat(get+"\r\n", 4)), 64, Limits{Requests: 3})
	for i := range 3 {
		h, err := nextHead(t, c)
		if err != nil {
			t.Fatal(err)
		}
		if h.Last != (i == 2) {
			t.Errorf("request %d: last is %v", i+1, h.Last)
		}
	}
}
