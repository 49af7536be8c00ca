package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// mutated are good requests, of every framing, that are damaged in small ways.
var mutated = []string{
	ask("/a?x=1", "X-A: b", "Cookie: c=d") + ask("/b"),
	request("POST", "/a", "hello", "Content-Length: 5", "X-A: b") + ask("/b"),
	request("POST", "/a", "5;a=b\r\nhello\r\n3\r\nabc\r\n0\r\nX-T: u\r\n\r\n", "Transfer-Encoding: chunked") + ask("/b"),
	request("PUT", "/a", hidden, fmt.Sprintf("Content-Length: %d", len(hidden))) + ask("/b"),
	inChunks(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden)) + ask("/b"),
	"GET http://edge.test/a HTTP/1.1\r\nHost: edge.test\r\n\r\n" + ask("/b"),
	request("POST", "/a", "hello", "Expect: 100-continue", "Content-Length: 5") + ask("/b"),
	ask("/a", "Connection: Upgrade, X-A", "Upgrade: h2c", "X-A: b") + ask("/b"),
	"POST /a HTTP/1.0\r\nHost: edge.test\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello" + ask("/b"),
	"\r\nDELETE /a HTTP/1.1\r\nhost: EDGE.test.:80\r\ntransfer-encoding:CHUNKED\r\n\r\n1\r\nx\r\n0\r\n\r\n" + ask("/b"),
}

// oddBytes are those that parsers have disagreed about.
const oddBytes = "\r\n\t \v\f\x00\x01\x7f\x80\x85\xa0\xff:;,=\"'\\/?#%@[]()<>{}|0159afAFxX+-_."

// oddLines are what is pushed between two lines.
var oddLines = []string{
	"Content-Length: 5", "Content-Length: 0", "Content-Length: 44", "Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Host: other.test", "Host: edge.test", " folded", "\tfolded", "Connection: close",
	"Connection: content-length, transfer-encoding, host", "Expect: 100-continue", "X_A: b", "0", "", "5", "GET /hidden HTTP/1.1", ": x", "x", "Trailer: X-T", "Upgrade: websocket",
}

// mutate damages a request in one to three places.
func mutate(r *rand.Rand, raw string) string {
	b := []byte(raw)
	for range 1 + r.IntN(3) {
		at := r.IntN(len(b))
		switch r.IntN(7) {
		case 0:
			b = slices.Insert(b, at, oddBytes[r.IntN(len(oddBytes))])
		case 1:
			b[at] = oddBytes[r.IntN(len(oddBytes))]
		case 2:
			b = slices.Delete(b, at, min(at+1+r.IntN(3), len(b)))
		case 3: // a line end loses its CR or its LF
			if i := bytes.Index(b[at:], []byte("\r\n")); i >= 0 {
				i += at + r.IntN(2)
				b = slices.Delete(b, i, i+1)
			}
		case 4, 5: // a further line
			if i := bytes.Index(b[at:], []byte("\r\n")); i >= 0 {
				b = slices.Insert(b, at+i, []byte("\r\n"+oddLines[r.IntN(len(oddLines))])...)
			}
		case 6: // a line twice
			lines := bytes.SplitAfter(b, []byte("\r\n"))
			i := r.IntN(len(lines))
			b = bytes.Join(slices.Insert(lines, i, lines[i]), nil)
		}
		if len(b) == 0 {
			return raw
		}
	}
	return string(b)
}

var finalStatus = regexp.MustCompile(`(?m)^HTTP/1\.1 ([2-5]\d\d) `)

// Thousands of requests with small damage: what is forwarded has one reading,
// which is net/http's too, and each of the backend's answers goes to who asked.
func TestStrictAgainstMutations(t *testing.T) {
	t.Parallel()
	n := launchStrict(t)
	const rounds = 3000
	forwarded, refused := 0, 0
	for i := range rounds {
		r := rand.New(rand.NewPCG(3, uint64(i)))
		raw := mutate(r, mutated[r.IntN(len(mutated))])
		answers := n.all(t, raw)
		seen, faults := n.rec.Take()
		if len(faults) > 0 {
			t.Errorf("round %d: sent %q; a backend got bytes with two readings: %q", i, raw, faults)
		}
		statuses := finalStatus.FindAllStringSubmatch(answers, -1)
		ok := 0
		for _, s := range statuses {
			if s[1] == "200" {
				ok++
			}
		}
		if ok != len(seen) {
			t.Errorf("round %d: sent %q; the backends saw %d requests, the client got %d of their answers: %q", i, raw, len(seen), ok, answers)
		}
		if len(statuses) == 0 && strings.Trim(raw, "\r\n") != "" {
			t.Errorf("round %d: sent %q; no answer at all", i, raw)
		}
		if other := otherReading(raw); !inOrder(seen, other) && !inOrder(seen, otherReading(badBlank.ReplaceAllString(raw, "$1$2"))) {
			t.Errorf("round %d: sent %q; forwarded %q, net/http reads %q", i, raw, seen, other)
		}
		forwarded += len(seen)
		refused += len(statuses) - ok
		if t.Failed() {
			break // the rest would be more of the same
		}
	}
	t.Logf("%d forwarded, %d refused", forwarded, refused)
	if forwarded < rounds/4 || refused < rounds/4 {
		t.Errorf("%d rounds: %d forwarded, %d refused: the damage is of the wrong size", rounds, forwarded, refused)
	}
}

// all sends the bytes, then says that there are no more, and reads to the end.
func (n *strictNode) all(t *testing.T, raw string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", n.http, edgetest.Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(edgetest.Patience)); err != nil {
		t.Fatal(err)
	}
	// The peer may refuse and close before it has it all.
	_, _ = io.WriteString(conn, raw)
	_ = conn.(*net.TCPConn).CloseWrite()
	answers, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("sent %q: the connection stays open, after %q", raw, answers)
	}
	return string(answers)
}

// badBlank is white space that a chunk's size line may have and that net/http
// does not take (BWS, RFC 9112 §7.1.1).
var badBlank = regexp.MustCompile(`(?m)^([0-9a-fA-F]+)[ \t]+(;|\r$)`)

// inOrder reports whether what was seen is among the readings, in their order: a
// request for another host is read but not forwarded.
func inOrder(seen []edgetest.Recorded, readings []string) bool {
	for _, s := range seen {
		at := slices.Index(readings, s.Method+" "+s.Target+" "+s.Body)
		if at < 0 {
			return false
		}
		readings = readings[at+1:]
	}
	return true
}

// otherReading is what net/http makes of the bytes, up to where it gives up.
func otherReading(raw string) []string {
	var out []string
	r := bufio.NewReader(strings.NewReader(raw))
	for {
		// A server should pass over an empty line before a request (RFC 9112 §2.2); net/http's reader does not.
		if line, err := r.Peek(2); err == nil && string(line) == "\r\n" {
			_, _ = r.Discard(2)
		}
		req, err := http.ReadRequest(r)
		if err != nil {
			return out
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return out
		}
		target := req.RequestURI
		if req.URL.IsAbs() { // sent on in origin-form
			_, target, _ = strings.Cut(target, "://")
			target = target[min(len(target), max(0, strings.IndexAny(target+"/", "/?"))):]
			if !strings.HasPrefix(target, "/") {
				target = "/" + target
			}
		}
		out = append(out, req.Method+" "+target+" "+string(body))
	}
}

// mutatedAnswers are good answers that are damaged in the same ways.
var mutatedAnswers = []string{
	plainAnswer("X-A: b", "Connection: X-A"),
	chunkedAnswer("5;a=b\r\nhello\r\n3\r\nabc\r\n0\r\nX-T: u\r\n\r\n"),
	"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + plainAnswer(),
	"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
	plainAnswer() + poison,
	chunkedAnswer("2\r\nhi\r\n0\r\n\r\n") + poison,
}

// Hundreds of answers with small damage: the client sees a refusal, a cut, or
// what net/http reads there too, and the next client sees its own answer.
func TestCarefulAgainstMutations(t *testing.T) {
	t.Parallel()
	rec := edgetest.NewRecorder(t, "A")
	n := launch(t, "", map[string]string{"a.yaml": vhost("edge.test", rec.URL("A"), "waf: {mode: off}", "timeouts: {first_byte: 5s}")})
	n.within("edge.test", 200)
	const rounds = 1000
	whole := 0
	for i := range rounds {
		r := rand.New(rand.NewPCG(5, uint64(i)))
		raw := mutate(r, mutatedAnswers[r.IntN(len(mutatedAnswers))])
		target := fmt.Sprintf("/damaged/%d", i)
		rec.Play(target, func(c net.Conn) bool {
			_, _ = io.WriteString(c, raw) // whoever refuses it closes
			return false
		})
		conn := edgetest.Dial(t, n.http)
		conn.Send("GET " + target + " HTTP/1.1\r\nHost: edge.test\r\n\r\n")
		got, err := conn.TryReceive("GET")
		conn.Close()
		if err == nil && (got.Status != 502 || got.Header.Get("X-Request-Id") == "") {
			whole++
			if other := otherAnswer(raw); other != fmt.Sprintf("%d %s", got.Status, got.Body) {
				t.Errorf("round %d: the backend sent %q; the client got %d %q, net/http reads %q", i, raw, got.Status, got.Body, other)
			}
		}
		if next := n.next("/"); next.Status != 200 || string(next.Body) != "ok\n" {
			t.Fatalf("round %d: after %q the next client got %d %q", i, raw, next.Status, next.Body)
		}
	}
	t.Logf("%d of %d came whole", whole, rounds)
	if whole < rounds/20 || whole > rounds*9/10 {
		t.Errorf("%d of %d answers came whole: the damage is of the wrong size", whole, rounds)
	}
}

// otherAnswer is the final answer that net/http reads, as "STATUS BODY".
func otherAnswer(raw string) string {
	r := bufio.NewReader(strings.NewReader(badBlank.ReplaceAllString(raw, "$1$2")))
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: "GET"})
		if err != nil {
			return err.Error()
		}
		if resp.StatusCode/100 == 1 {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%d %s", resp.StatusCode, body)
	}
}
