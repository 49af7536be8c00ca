package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// An answerCase is what a backend sends for one request, and what the client must see.
type answerCase struct {
	name   string
	method string // default GET
	answer string
	closes bool   // the backend closes behind it; so it does where reset is set
	reset  bool   // with RST
	slow   bool   // one byte at a time
	late   string // sent after the client has the answer, on the connection that was kept
	// want is what the client sees: a status, then a blank and the body; "cut" for
	// an answer whose end is visibly missing; "|" between those that are equally good.
	want    string
	has     []string // field lines that the client must get
	lacks   []string // what the answer must not hold, in any case
	interim []int    // informational answers that must arrive
}

// poison is a whole answer that belongs to nobody.
const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

// plainAnswer is a good answer with these further fields.
func plainAnswer(fields ...string) string {
	return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\nhi"
}

func chunkedAnswer(body string) string {
	return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
}

// bad502 makes cases of answers that nobody may see.
func bad502(rows ...[2]string) []answerCase {
	var out []answerCase
	for _, r := range rows {
		out = append(out, answerCase{name: r[0], answer: r[1], want: "502", closes: true})
	}
	return out
}

func statusLineAnswers() []answerCase {
	var out []answerCase
	for _, first := range []string{
		"HTTP/1.1 000 No", "HTTP/1.1 20 OK", "HTTP/1.1 0200 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 +20 OK", "HTTP/1.1 -20 OK", "HTTP/1.1 200OK", "HTTP/1.1200 OK", "HTTP/1.1  200 OK", "HTTP/1.1\t200 OK",
		" HTTP/1.1 200 OK", "http/1.1 200 OK", "HTTP/1.10 200 OK", "HTTP/3.0 200 OK", "HTTP/0.9 200 OK", "HTTP/1.x 200 OK", "ICY 200 OK", "HTTP 200 OK", "200 OK", "HTTP/1.1 200 O\x00K", "HTTP/1.1 200 O\rK", "HTTP/1.1 200 O\x1bK",
		"HTTP/1.1 101 Switching Protocols", "GET /x HTTP/1.1",
	} {
		out = append(out, bad502([2]string{fmt.Sprintf("status line %q", first), first + "\r\nContent-Length: 2\r\n\r\nhi"})...)
	}
	return append(out,
		answerCase{name: "status line without a reason", answer: "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi", want: "200 hi"},
		answerCase{name: "status line with obs-text in the reason", answer: "HTTP/1.1 200 \xc3\xa9\r\nContent-Length: 2\r\n\r\nhi", want: "200 hi|502"},
		answerCase{name: "status 599", answer: "HTTP/1.1 599 X\r\nContent-Length: 2\r\n\r\nhi", want: "599 hi"},
		answerCase{name: "status 999", answer: "HTTP/1.1 999 X\r\nContent-Length: 2\r\n\r\nhi", want: "502|999 hi"},
	)
}

func framingAnswers() []answerCase {
	var out []answerCase
	for _, f := range []string{
		"Content-Length: +2", "Content-Length: 0x2", "Content-Length: 2 2", "Content-Length: 2, 3", "Content-Length: 2.0", "Content-Length:", "Content-Length: 18446744073709551618", "Content-Length: 2\r\nContent-Length: 3",
		"Content-Length: 2;", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: identity", "Transfer-Encoding:", "Transfer-Encoding: chunked\v", "Transfer-Encoding: \"chunked\"",
		"Transfer-Encoding: chunked\r\nContent-Length: 2", "Transfer-Encoding: x\r\nContent-Length: 2", "Content-Length : 2\r\nContent-Length: 3",
	} {
		out = append(out, bad502([2]string{"framed by " + f, "HTTP/1.1 200 OK\r\n" + f + "\r\n\r\n2\r\nhi\r\n0\r\n\r\n"})...)
	}
	for _, body := range []string{
		"+2\r\nhi\r\n0\r\n\r\n", "0x2\r\nhi\r\n0\r\n\r\n", " 2\r\nhi\r\n0\r\n\r\n", "10000000000000002\r\nhi\r\n0\r\n\r\n", "2\r\nhiX\r\n0\r\n\r\n", "2\r\nhi0\r\n\r\n", "2\nhi\n0\n\n", "2;a\nb\r\nhi\r\n0\r\n\r\n", "2;a=\x00\r\nhi\r\n0\r\n\r\n",
		"", "2\r\n", "2\r\nhi\r\n", "2\r\nhi\r\n0", "2\r\nhi\r\n0\r\nX-A: b\r\n",
	} {
		out = append(out, answerCase{name: fmt.Sprintf("chunks %q", body), answer: chunkedAnswer(body), closes: true, want: "502|cut"})
	}
	return append(out,
		answerCase{name: "no framing, closed", answer: "HTTP/1.1 200 OK\r\n\r\nhi", closes: true, want: "200 hi"},
		answerCase{name: "no framing, keep-alive claimed, closed", answer: "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nhi", closes: true, want: "200 hi"},
		answerCase{name: "no framing, reset", answer: "HTTP/1.1 200 OK\r\n\r\nhi", reset: true, want: "502|cut"},
		answerCase{name: "a length, reset in the body", answer: "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi", reset: true, want: "502|cut"},
		answerCase{name: "reset in the head", answer: "HTTP/1.1 200 OK\r\nContent-Le", reset: true, want: "502"},
		answerCase{name: "closed in the head", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", closes: true, want: "502"},
		answerCase{name: "closed in the status line", answer: "HTTP/1.", closes: true, want: "502"},
		answerCase{name: "chunked in other case, byte by byte", answer: "HTTP/1.1 200 OK\r\ntransfer-ENCODING: Chunked\r\n\r\n1;a=b\r\nh\r\n1\r\ni\r\n0\r\n\r\n", slow: true, want: "200 hi"},
		answerCase{name: "trailers do not reach the client", answer: chunkedAnswer("2\r\nhi\r\n0\r\nX-Secret: poison\r\n\r\n"), want: "200 hi", lacks: []string{"poison"}},
		answerCase{name: "a trailer that is no field", answer: chunkedAnswer("2\r\nhi\r\n0\r\nX A\x00poison\r\n\r\n"), closes: true, want: "502|cut|200 hi", lacks: []string{"poison"}},
		answerCase{name: "HEAD with a length", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", want: "200", has: []string{"Content-Length: 2000"}},
		answerCase{name: "HEAD with chunked", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", want: "200"},
		answerCase{name: "304 with a length and no body", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 2000\r\nETag: \"a\"\r\n\r\n", want: "304"},
		answerCase{name: "205 with a body", answer: "HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nhi", want: "205 hi|205|502"},
	)
}

func surplusAnswers() []answerCase {
	timeout := "HTTP/1.1 408 Request Timeout\r\nContent-Length: 6\r\nConnection: close\r\n\r\npoison"
	return []answerCase{
		{name: "another answer behind it", answer: plainAnswer() + poison, want: "200 hi"},
		{name: "another answer behind chunks", answer: chunkedAnswer("2\r\nhi\r\n0\r\n\r\n") + poison, want: "200 hi"},
		{name: "half of another answer behind it", answer: plainAnswer() + poison[:20], late: poison[20:], want: "200 hi"},
		{name: "one byte behind it", answer: plainAnswer() + "\n", want: "200 hi"},
		{name: "a blank line behind it, then another answer", answer: plainAnswer() + "\r\n", late: poison, want: "200 hi"},
		{name: "another answer, later", answer: plainAnswer(), late: poison, want: "200 hi"},
		{name: "another answer behind chunks, later", answer: chunkedAnswer("2\r\nhi\r\n0\r\n\r\n"), late: poison, want: "200 hi"},
		{name: "408 on an idle connection", answer: plainAnswer(), late: timeout, want: "200 hi"},
		{name: "an informational answer on an idle connection", answer: plainAnswer(), late: "HTTP/1.1 103 Early Hints\r\nLink: poison\r\n\r\n", want: "200 hi"},
		{name: "a body behind the answer to HEAD", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 63\r\n\r\n" + poison, want: "200"},
		{name: "a body behind the answer to HEAD, later", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 63\r\n\r\n", late: poison, want: "200"},
		{name: "chunks behind 204", answer: "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n" + poison, want: "204|502"},
		{name: "chunks behind 304, later", answer: "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", late: poison, want: "304|502"},
		{name: "204, then another answer later", answer: "HTTP/1.1 204 No Content\r\n\r\n", late: poison, want: "204"},
		{name: "another answer behind Connection: close", answer: plainAnswer("Connection: close") + poison, want: "200 hi"},
		{name: "another answer behind a length that is too short", answer: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nhi" + poison, want: "200 h"},
	}
}

func fieldAnswers() []answerCase {
	var out []answerCase
	for _, f := range []string{
		"X-A\x00: b", ": b", "X\xc3\xa9: b", "X-A: b\x01", "X-A: b\x7f", "X-A: b\rc", "X-A: b\nX-B: c", "X(A): b", "\"X-A\": b", "HTTP/1.1 200 OK", " X-A: first",
	} {
		out = append(out, bad502([2]string{fmt.Sprintf("field %q", f), "HTTP/1.1 200 OK\r\n" + f + "\r\nContent-Length: 2\r\n\r\nhi"})...)
	}
	out = append(out, bad502(
		[2]string{"201 fields", plainAnswer(slices.Repeat([]string{"X-A: b"}, 200)...)},
		[2]string{"a head of 65 KiB", plainAnswer("X-A: " + strings.Repeat("b", 65<<10))},
		[2]string{"a status line of 70 KiB", "HTTP/1.1 200 " + strings.Repeat("b", 70<<10) + "\r\nContent-Length: 2\r\n\r\nhi"},
		[2]string{"LF for every line end", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi"},
		[2]string{"CR for every line end", "HTTP/1.1 200 OK\rContent-Length: 2\r\rhi"},
		[2]string{"a thousand informational answers", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1000) + plainAnswer()},
		[2]string{"an informational answer with a bad field", "HTTP/1.1 103 Early Hints\r\nX A: b\r\n\r\n" + plainAnswer()},
		[2]string{"an answer of TLS", "\x15\x03\x01\x00\x02\x02\x28"},
		[2]string{"an answer of SSH", "SSH-2.0-OpenSSH_9.2\r\n"},
	)...)
	return append(out,
		answerCase{name: "60 KiB of fields", answer: plainAnswer("X-A: " + strings.Repeat("b", 60<<10)), want: "200 hi"},
		answerCase{name: "190 fields", answer: plainAnswer(slices.Repeat([]string{"X-A: b"}, 190)...), want: "200 hi"},
		answerCase{name: "fields that Connection lists end here", answer: plainAnswer("Connection: X-Secret, keep-alive", "X-Secret: poison", "Keep-Alive: timeout=5"), want: "200 hi", lacks: []string{"poison", "timeout=5"}},
		answerCase{name: "Proxy-Connection and Upgrade end here", answer: plainAnswer("Proxy-Connection: keep-alive", "Upgrade: h2c"), want: "200 hi", lacks: []string{"proxy-connection", "h2c"}},
		answerCase{name: "a request id of the backend's", answer: plainAnswer("X-Request-Id: forged"), want: "200 hi", lacks: []string{"forged"}},
		answerCase{name: "an empty value", answer: plainAnswer("X-A:"), want: "200 hi"},
		answerCase{name: "obs-text in a value", answer: plainAnswer("X-A: \xe9"), want: "200 hi", has: []string{"X-A: \xe9"}},
		answerCase{name: "100, 102 and 103 before the answer", answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + plainAnswer(), want: "200 hi", interim: []int{102, 103}},
		answerCase{name: "an informational answer with a length has no body", answer: "HTTP/1.1 103 Early Hints\r\nContent-Length: 63\r\n\r\n" + plainAnswer(), want: "200 hi|502"},
		answerCase{name: "101 for a request that did not ask, then bytes", answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x06poison", want: "502", lacks: []string{"poison"}},
	)
}

// Hostile answers: each is refused, cut visibly or made clean, and never meets
// the next client, who gets what is theirs on every connection.
func TestCarefulAtTheBack(t *testing.T) {
	t.Parallel()
	rec := edgetest.NewRecorder(t, "A")
	n := launch(t, "", map[string]string{"a.yaml": vhost("edge.test", rec.URL("A"), "waf: {mode: off}", "timeouts: {first_byte: 5s}")})
	n.within("edge.test", 200)
	rec.Play("/canary", func(c net.Conn) bool {
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncanary")
		return err == nil
	})
	cases := slices.Concat(statusLineAnswers(), framingAnswers(), surplusAnswers(), fieldAnswers())
	for i, c := range cases {
		a := playAnswer(rec, fmt.Sprintf("/answer/%d", i), c)
		fault, head := a.exchange(t, n)
		if fault != "" {
			t.Errorf("%s: %s\n  sent %.200q, then %.80q\n  want %s\n  got  %.600q", c.name, fault, c.answer, c.late, c.want, head)
		}
		for range 2 {
			if got := n.next("/canary"); got.Status != 200 || string(got.Body) != "canary" {
				t.Errorf("%s: the next client got %d %.100q", c.name, got.Status, got.Body)
			}
		}
	}
	if _, faults := rec.Take(); len(faults) > 0 {
		t.Errorf("the backend got bytes with two readings: %q", faults)
	}
}

// A played answer waits between its two parts until the client has the first.
type played struct {
	answerCase
	target    string
	delivered chan struct{} // the client has the answer
	over      chan struct{} // all is sent
}

func playAnswer(rec *edgetest.Recorder, target string, c answerCase) *played {
	p := &played{answerCase: c, target: target, delivered: make(chan struct{}), over: make(chan struct{})}
	if p.method == "" {
		p.method = "GET"
	}
	var first sync.Once // a retry gets the same answer; only the first is waited for
	rec.Play(target, func(conn net.Conn) bool {
		defer first.Do(func() { close(p.over) })
		return p.send(conn)
	})
	return p
}

// send writes the answer; the peer may hang up in the midst of it, and mostly must.
func (p *played) send(conn net.Conn) (keep bool) {
	step := len(p.answer)
	if p.slow {
		step = 1
	}
	for piece := range slices.Chunk([]byte(p.answer), max(step, 1)) {
		if _, err := conn.Write(piece); err != nil {
			return false
		}
	}
	if p.reset {
		edgetest.Reset(conn)
		return false
	}
	if p.late != "" {
		<-p.delivered
		_, _ = io.WriteString(conn, p.late)
	}
	return !p.closes
}

// exchange asks once and says what is wrong with what came.
func (p *played) exchange(t *testing.T, n *node) (fault, got string) {
	t.Helper()
	conn := edgetest.Dial(t, n.http)
	conn.Send(p.method + " " + p.target + " HTTP/1.1\r\nHost: edge.test\r\n\r\n")
	if err := conn.SetReadDeadline(time.Now().Add(edgetest.Patience)); err != nil {
		t.Fatal(err)
	}
	var raw strings.Builder
	r := bufio.NewReader(io.TeeReader(conn.Conn, &raw))
	var interim []int
	outcome := "cut"
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: p.method})
		if err != nil {
			break
		}
		if resp.StatusCode < 200 && resp.StatusCode != 101 {
			interim = append(interim, resp.StatusCode)
			continue
		}
		if body, err := io.ReadAll(resp.Body); err == nil {
			outcome = strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, body))
			if resp.StatusCode == 502 && resp.Header.Get("X-Request-Id") != "" {
				outcome = "502" // our own page
			}
		}
		break
	}
	close(p.delivered)
	select {
	case <-p.over:
	case <-time.After(edgetest.Patience):
		return "the backend never got the request", raw.String()
	}
	conn.Close()
	return p.judge(outcome, raw.String(), interim), raw.String()
}

func (p *played) judge(outcome, raw string, interim []int) string {
	if !slices.Contains(strings.Split(p.want, "|"), outcome) {
		return "the client sees " + outcome
	}
	for _, line := range p.has {
		if !strings.Contains(raw, "\r\n"+line+"\r\n") {
			return "not passed on: " + line
		}
	}
	for _, bad := range append(p.lacks, "poison") {
		if strings.Contains(strings.ToLower(raw), bad) {
			return "passed on: " + bad
		}
	}
	for _, status := range p.interim {
		if !slices.Contains(interim, status) {
			return fmt.Sprintf("no %d came", status)
		}
	}
	return ""
}

// next asks as another client does, on a connection that ends with the answer:
// hundreds of open ones would meet the limit of connections per address.
func (n *node) next(target string) *edgetest.RawAnswer {
	n.t.Helper()
	conn := edgetest.Dial(n.t, n.http)
	defer conn.Close()
	return conn.Do("GET", "GET "+target+" HTTP/1.1\r\nHost: edge.test\r\nConnection: close\r\n\r\n")
}
