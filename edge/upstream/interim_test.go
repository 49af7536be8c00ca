package upstream

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// hints makes a round trip and gives what Informational saw.
func hints(t *testing.T, answer string) (seen []string, resp *Response, err error) {
	t.Helper()
	req := get("/")
	req.Informational = func(status int, fields []Field) {
		line := fmt.Sprint(status)
		for _, f := range fields {
			line += fmt.Sprintf(" %s: %s;", f.Name, f.Value)
		}
		seen = append(seen, line)
	}
	resp, _, err = fetch(t, poolTo(t, answering(t, answer)), req)
	return seen, resp, err
}

func TestInterimAnswersGoToInformational(t *testing.T) {
	const interim = "HTTP/1.1 100 Continue\r\n\r\n" +
		"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x\r\nX: y\r\nKeep-Alive: 5\r\nSet-Cookie: a=b\r\n\r\n" +
		"HTTP/1.1 104 Resumption\r\nX: y\r\n\r\n" +
		"HTTP/1.1 102 Processing\r\n\r\n" +
		"HTTP/1.1 199 Odd\r\n\r\n" +
		"HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\nLink: </b.css>\r\n\r\n"
	wantOK(t, poolTo(t, answering(t, strings.Replace(interim, "Content-Length: 2\r\n", "", 1)+okAnswer)), get("/")) // nil drops them
	if _, _, err := hints(t, interim+okAnswer); err == nil {
		t.Error("an interim answer with two framings was accepted")
	}
	seen, resp, err := hints(t, strings.Replace(interim, "Content-Length: 2\r\n", "", 1)+okAnswer)
	if err != nil || resp.Status != 200 {
		t.Fatal(resp, err)
	}
	want := "103 Link: </a.css>; rel=preload; Set-Cookie: a=b;|102|103 Link: </b.css>;"
	if got := strings.Join(seen, "|"); got != want {
		t.Errorf("interim answers %q, want %q", got, want)
	}
}

func TestInterimAnswersAreBoundedInNumberAndBytes(t *testing.T) {
	one := "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	large := "HTTP/1.1 103 Early Hints\r\nLink: <" + strings.Repeat("a", 20<<10) + ">\r\n\r\n"
	for _, c := range []struct {
		name, answer string
		seen         int
		ok           bool
	}{
		{"32", strings.Repeat(one, 32), 32, true},
		{"33", strings.Repeat(one, 33), 32, false},
		{"60 KB", strings.Repeat(large, 3), 3, true},
		{"80 KB", strings.Repeat(large, 4), 3, false},
		{"33 that are dropped", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 33), 0, false},
	} {
		seen, _, err := hints(t, c.answer+okAnswer)
		if c.ok && err != nil || len(seen) != c.seen {
			t.Errorf("%s: %d seen, %v", c.name, len(seen), err)
		}
		if !c.ok {
			wantError(t, err, OpProtocol)
		}
	}
}

// An interim answer is an answer: whoever has passed it on cannot begin anew.
func TestNothingIsRepeatedAfterAnInterimAnswer(t *testing.T) {
	b := serve(t, func(s *session) {
		if s.request() != nil && s.say(okAnswer) && s.request() != nil {
			s.say("HTTP/1.1 103 Early Hints\r\n\r\n")
		}
	})
	p := poolTo(t, b)
	wantOK(t, p, get("/"))
	_, _, err := fetch(t, p, get("/"))
	if e := wantError(t, err, OpHead); e.Repeatable || p.Stats().Reused != 1 {
		t.Errorf("%+v", e)
	}
}

func TestTheHeadsLimitsAreOptions(t *testing.T) {
	head := func(fields, bytes int) string {
		line := "X: " + strings.Repeat("v", bytes/(fields-1)-5) + "\r\n"
		return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + strings.Repeat(line, fields-1) + "\r\nok"
	}
	for _, c := range []struct {
		name        string
		o           Options
		fits, toBig string
	}{
		{"default bytes", Options{}, head(40, 63<<10), head(40, 66<<10)},
		{"default fields", Options{}, head(200, 4000), head(201, 4000)},
		{"fewer bytes", Options{ResponseHeader: 1000}, head(10, 900), head(10, 1100)},
		{"more bytes", Options{ResponseHeader: 256 << 10}, head(40, 250<<10), head(40, 260<<10)},
		{"fewer fields", Options{ResponseFields: 5}, head(5, 500), head(6, 500)},
		{"more fields", Options{ResponseFields: 1000}, head(1000, 20_000), head(1001, 20_000)},
	} {
		c.o.Address = answering(t, c.fits).url()
		wantOK(t, newPool(t, c.o), get("/"))
		c.o.Address = answering(t, c.toBig).url()
		_, _, err := fetch(t, newPool(t, c.o), get("/"))
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		wantError(t, err, OpProtocol)
	}
}

// A body may take as long as it likes while it moves: only silence is bounded.
func TestADrippingBodyPasses(t *testing.T) {
	t.Parallel()
	const stall = 500 * time.Millisecond
	b := serve(t, func(s *session) {
		if s.request() == nil || !s.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") {
			return
		}
		for i := range 12 {
			time.Sleep(stall / 10) // part of the script
			s.say([]string{"1\r\n", "o", "\r\n", "1\r\n", "k", "\r\n", "0", "\r", "\n", "\r", "\n", ""}[i])
		}
	})
	wantOK(t, newPool(t, Options{Address: b.url(), FirstByteTimeout: stall, StallTimeout: stall}), get("/"))
}

// A backend could else hold a request for 33 times the limit.
func TestInterimAnswersDoNotExtendTheWaitForTheAnswer(t *testing.T) {
	t.Parallel()
	const limit = 400 * time.Millisecond
	b := serve(t, func(s *session) {
		if s.request() == nil {
			return
		}
		for range 20 {
			if !s.say("HTTP/1.1 103 Early Hints\r\n\r\n") {
				return
			}
			time.Sleep(limit / 4) // part of the script
		}
		s.say(okAnswer)
	})
	p := newPool(t, Options{Address: b.url(), FirstByteTimeout: limit})
	for _, req := range []*Request{get("/"), post("abc"), post(strings.Repeat("x", 100_000))} {
		_, _, err := fetch(t, p, req)
		if e := wantError(t, err, OpHead); !e.Timeout || e.Repeatable {
			t.Errorf("%+v", e)
		}
	}
}
