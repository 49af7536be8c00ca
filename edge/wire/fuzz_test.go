package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"gatehouse/internal/octets"
)

// A tape is a connection from which a client's bytes come in pieces.
type tape struct {
	net.Conn
	in    []byte
	at    int
	piece int // most bytes of one read
	out   bytes.Buffer
}

func (t *tape) Read(p []byte) (int, error) {
	if t.at == len(t.in) {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), t.piece)], t.in[t.at:])
	t.at += n
	return n, nil
}

func (t *tape) Write(p []byte) (int, error)      { return t.out.Write(p) }
func (t *tape) SetReadDeadline(time.Time) error  { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }
func (t *tape) Close() error                     { return nil }

func play(in []byte, piece int, limits Limits) (*tape, *Conn) {
	source := &tape{in: in, piece: max(piece, 1)}
	return source, newConn(newSocket(source, openDoor(limits)), nil).(*Conn)
}

// openDoor bounds the connections themselves and not their number.
func openDoor(limits Limits) *Door {
	return NewDoor(Options{PerIP: -1, Connections: -1, Limits: limits})
}

// nextHead reads a stand-in and returns the head behind it.
func nextHead(t testing.TB, c *Conn) (*Head, error) {
	t.Helper()
	seen, buf := 0, make([]byte, len(standIn))
	for seen < len(standIn) {
		n, err := c.Read(buf[seen:min(seen+7, len(buf))])
		if err != nil {
			return nil, err
		}
		seen += n
	}
	if string(buf) != standIn {
		t.Fatalf("the library is given %q", buf)
	}
	return c.Head(), nil
}

// consumed is how much of the tape belongs to the messages so far.
func consumed(source *tape, c *Conn) int { return source.at - (c.msg.w - c.msg.r) }

// A reading is what one parser says of a request.
type reading struct {
	method, target, host, body string
	minor                      int
	fields                     map[string][]string
	end                        int // where the next request begins
}

// seeds are requests that are let in, and attacks that are not; parts of them
// are what the fuzzer recombines.
var seeds = []string{
	"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"\r\nGET /a?b=%zz HTTP/1.1\r\nhOST: a.test\r\nX: \t y \t\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhelloGET /n HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"POST /c HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0a\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nGET /n HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"GET http://a.test/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	"GET //b.test/x://y HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: identity\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a.test\r\n folded: x\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a.test\r\nX : y\r\n\r\n",
	"GET / HTTP/1.1\nHost: a.test\n\n",
	"GET /#frag HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
	"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
}

// What is let in has one reading: net/http and fasthttp find the same request,
// the same body and the same beginning of the next request in the same bytes.
func FuzzConn(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), 7)
		f.Add([]byte(s), 4096)
	}
	for i, s := range furtherSeeds {
		f.Add([]byte(s), []int{7, 4096}[i%2])
	}
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		source, c := play(in, piece, Limits{Requests: -1})
		start := 0
		for {
			h, err := nextHead(t, c)
			if err != nil || h.Refused != nil {
				return
			}
			body, err := io.ReadAll(c.Body())
			if err != nil {
				var refusal *Refusal
				if !errors.As(err, &refusal) {
					t.Fatalf("a body ends with %v", err)
				}
				return
			}
			ours := reading{h.Method, h.Target, strings.ToLower(h.Host), string(body), h.Minor, fieldMap(h.Fields), consumed(source, c)}
			compare(t, "net/http", in[start:], start, &ours, byNetHTTP)
			compare(t, "fasthttp", in[start:], start, &ours, byFasthttp)
			if start = ours.end; h.Last || h.Upgrade != "" {
				return
			}
		}
	})
}

func compare(t *testing.T, name string, in []byte, offset int, ours *reading, by func([]byte, *reading) (*reading, string, error)) {
	t.Helper()
	other, excuse, err := by(in, ours)
	if excuse != "" {
		return
	}
	if err != nil {
		t.Fatalf("%s refuses what we let in: %v\n%q", name, err, in)
	}
	if other.end += offset; !reflect.DeepEqual(ours, other) {
		t.Fatalf("two readings of %q\nwire     %+v\n%-8s %+v", in, ours, name, other)
	}
}

func fieldMap(fields []Field) map[string][]string {
	out := map[string][]string{}
	for _, f := range fields {
		name := textproto.CanonicalMIMEHeaderKey(string(f.Name))
		out[name] = append(out[name], string(f.Value))
	}
	// What the two others take out of the map, and framing that both have judged.
	for _, name := range []string{"Host", "Transfer-Encoding", "Content-Length", "Trailer", "Connection"} {
		delete(out, name)
	}
	return out
}

// byNetHTTP reads with net/http. The excuses are its own strictness, where that
// cannot make two requests of one.
func byNetHTTP(in []byte, ours *reading) (*reading, string, error) {
	src := bytes.NewReader(bytes.TrimPrefix(in, []byte("\r\n")))
	br := bufio.NewReader(src)
	req, err := http.ReadRequest(br)
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "parse ") || strings.Contains(err.Error(), "invalid URI"):
		return nil, "it parses targets, which we keep raw", nil
	case strings.Contains(err.Error(), "malformed Host header"):
		return nil, "the edge refuses such hosts when it looks for the vhost", nil
	default:
		return nil, "", err
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		if strings.Contains(err.Error(), "trailer") || strings.Contains(err.Error(), "non-data") {
			return nil, "it refuses trailers that we drop", nil
		}
		return nil, "", err
	}
	target := req.RequestURI
	if !strings.HasPrefix(target, "/") && target != "*" {
		target = ours.target // the origin-form of an absolute-form: compared by TestAbsoluteForm
	}
	host := strings.ToLower(req.Host) // of an absolute-form it takes the target's spelling
	if ours.minor == 0 && ours.host == "" {
		host = ""
	}
	fields := map[string][]string{}
	for name, values := range req.Header {
		fields[textproto.CanonicalMIMEHeaderKey(name)] = values
	}
	for _, name := range []string{"Connection", "Content-Length"} {
		delete(fields, name)
	}
	if slices.Contains(fields["Pragma"], "no-cache") && ours.fields["Cache-Control"] == nil {
		delete(fields, "Cache-Control") // net/http adds it
	}
	return &reading{req.Method, target, host, string(body), req.ProtoMinor, fields, len(in) - src.Len() - br.Buffered()}, "", nil
}

// byFasthttp reads with the library that we serve with.
func byFasthttp(in []byte, ours *reading) (*reading, string, error) {
	src := bytes.NewReader(in)
	br := bufio.NewReaderSize(src, 64<<10)
	var req fasthttp.Request
	if err := req.Header.Read(br); err != nil {
		return nil, "", err
	}
	if req.MayContinue() {
		if err := req.ContinueReadBody(br, 1<<30); err != nil {
			return nil, "", err
		}
	} else if err := req.ContinueReadBody(br, 1<<30, false); err != nil {
		if strings.Contains(err.Error(), "railer") {
			return nil, "it refuses trailers that we drop", nil
		}
		if strings.Contains(err.Error(), "too large hex number") {
			return nil, "it takes 15 digits of a chunk's size at most, leading zeros included; we take 16 as net/http does", nil
		}
		return nil, "", err
	}
	target := string(req.Header.RequestURI())
	if !strings.HasPrefix(target, "/") && target != "*" {
		target = ours.target
	}
	minor := 0
	if req.Header.IsHTTP11() {
		minor = 1
	}
	var fields []Field
	for line := range bytes.SplitSeq(req.Header.RawHeaders(), []byte("\r\n")) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok {
			fields = append(fields, Field{name, octets.TrimOWS(value)})
		}
	}
	return &reading{
		string(req.Header.Method()), target, strings.ToLower(string(req.Header.Host())), string(req.Body()), minor,
		fieldMap(fields), len(in) - src.Len() - br.Buffered(),
	}, "", nil
}

// A target that is let in stays as it came, or is its absolute-form's path and
// query; net/url finds the same path in it.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/", "//b.test/x://y", "/a%2Fb?c=%zz#", "http://a.test", "http://a.test?q", "*", "/%00", "/a\tb", "http://u@a.test/", "/..;/", "/\xe9"} {
		f.Add("GET", s)
		f.Add("OPTIONS", s)
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		if checkTarget([]byte(target)) != nil {
			return
		}
		const host = "a.test"
		got, refusal := origin(method, []byte(target), []byte(host))
		if refusal != nil {
			return
		}
		whole, err := url.ParseRequestURI(target)
		if err != nil || target == "*" {
			return // what net/url cannot read is compared by nobody
		}
		ours, err := url.ParseRequestURI(string(got))
		switch {
		case string(got) == "*":
			if whole.Path != "" || whole.RawQuery != "" || method != "OPTIONS" {
				t.Fatalf("%q became *", target)
			}
		case strings.HasPrefix(target, "/"):
			if string(got) != target {
				t.Fatalf("%q became %q", target, got)
			}
		case err != nil:
			t.Fatalf("%q became %q: %v", target, got, err)
		case !strings.EqualFold(whole.Host, host):
			t.Fatalf("%q passed as one for %s", target, host)
		case !strings.HasPrefix(string(got), "//") && (ours.RawQuery != whole.RawQuery || strings.TrimPrefix(ours.EscapedPath(), "/") != strings.TrimPrefix(whole.EscapedPath(), "/")):
			t.Fatalf("%q became %q", target, got)
		}
	})
}
