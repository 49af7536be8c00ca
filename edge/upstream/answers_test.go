package upstream

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// answer is a row of testdata/answers.jsonl: what a backend sends, and what a proxy must make of it.
type answer struct {
	ID       string
	Segments []struct {
		B64     []byte
		DelayMS int `json:"delay_ms"`
		Repeat  int
	}
	Close, Early bool
	Expect       string // pass, 5xx, abort or normalise:…
	Alt          []string
	Body         string
	Status       []int
	Absent       []string
	RawNot       []string `json:"raw_not"`
	ReqB64       []byte   `json:"req_b64"`
	ReqPad       int      `json:"req_pad"`
}

func answers(t testing.TB) (rows []answer) {
	f, err := os.Open("testdata/answers.jsonl")
	if os.IsNotExist(err) {
		t.Skip("testdata/answers.jsonl is absent")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := json.NewDecoder(f); d.More(); {
		var row answer
		if err := d.Decode(&row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

// play sends the row's answer on the first connection, and then canaries like on all others.
func (a *answer) play(s *session) {
	if s.number > 1 {
		for s.request() != nil {
			s.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncanary")
		}
		return
	}
	if a.Early {
		s.readHead()
	} else if s.request() == nil {
		return
	}
	for _, segment := range a.Segments {
		time.Sleep(time.Duration(segment.DelayMS) * time.Millisecond) // part of the script
		if !s.say(strings.Repeat(string(segment.B64), max(segment.Repeat, 1))) {
			return
		}
	}
	if a.Close {
		return
	}
	for s.request() != nil { // a canary on this connection gets an answer too
		s.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncanary")
	}
}

func (a *answer) request(t *testing.T) *Request {
	req := get("/r")
	if len(a.ReqB64) > 0 {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(a.ReqB64)))
		if err != nil {
			t.Fatal(err)
		}
		req.Method, req.ContentLength = r.Method, r.ContentLength
		if r.ContentLength > 0 {
			req.Body = strings.NewReader(strings.Repeat("x", max(a.ReqPad, int(r.ContentLength))))
		}
	}
	return req
}

// outcome says what became of the answer, in the words of the corpus.
func (a *answer) outcome(t *testing.T, p *Pool) (string, *Response, string) {
	resp, body, err := fetch(t, p, a.request(t))
	switch {
	case resp == nil:
		return "5xx", nil, ""
	case err != nil:
		return "abort", resp, body
	}
	return "pass", resp, body
}

func TestAnswersFromTheBackend(t *testing.T) {
	for _, row := range answers(t) {
		t.Run(row.ID, func(t *testing.T) {
			t.Parallel()
			b := serve(t, row.play)
			p := newPool(t, Options{Address: b.url(), FirstByteTimeout: 3 * time.Second})
			if row.ID == "r-slow-headers" {
				p.opts.FirstByteTimeout = 100 * time.Millisecond
			}
			got, resp, body := row.outcome(t, p)
			row.judge(t, got, resp, body)
			if row.ID == "r-extra-late" { // kept, until what nobody asked for arrives
				until(t, "late bytes arrive", func() bool { return !p.idle[0].usable() })
			}
			for range 3 {
				resp, body, err := fetch(t, p, get("/canary"))
				if err != nil || resp.Status != 200 || body != "canary" {
					t.Errorf("the next client got %+v, %q, %v", resp, body, err)
				}
			}
		})
	}
}

// judge compares what came out with what the row allows.
func (a *answer) judge(t *testing.T, got string, resp *Response, body string) {
	t.Helper()
	allowed := false
	for _, want := range append([]string{a.Expect}, a.Alt...) {
		allowed = allowed || want == got || got == "pass" && strings.HasPrefix(want, "normalise:")
	}
	if !allowed {
		t.Fatalf("outcome %s, want %s or one of %s", got, a.Expect, a.Alt)
	}
	if got != "pass" {
		return
	}
	if a.Body != "" && body != a.Body {
		t.Errorf("body %q, want %q", body, a.Body)
	}
	if len(a.Status) > 0 && resp.Status != a.Status[0] {
		t.Errorf("status %d, want %d", resp.Status, a.Status[0])
	}
	raw := ""
	for _, f := range resp.Fields {
		raw += string(f.Name) + ": " + string(f.Value) + "\r\n"
	}
	for _, not := range a.RawNot {
		if strings.Contains(raw, not) {
			t.Errorf("%q went through", not)
		}
	}
	for _, name := range a.Absent {
		if len(resp.field(name)) > 0 {
			t.Errorf("field %s went through", name)
		}
	}
}
