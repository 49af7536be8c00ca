package loadtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load runs a plan; without a Duration it has a minute, and Requests should end it.
func load(t *testing.T, p *Plan) *Result {
	t.Helper()
	if p.Duration == 0 {
		p.Duration = time.Minute
	}
	r, err := Run(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func to(url string) []Target { return []Target{{URL: url}} }

// serve starts a server of HTTP/1.1.
func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// raw starts a server that answers each request head with what answer writes, and
// closes then unless it returns true.
func raw(t *testing.T, answer func(c net.Conn, n int64) bool) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	var n atomic.Int64
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					if !answer(c, n.Add(1)) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); conns.Wait() })
	return "http://" + ln.Addr().String() + "/"
}

func TestClosedLoadSendsWhatThePlanSays(t *testing.T) {
	var bodies sync.Map
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies.Store(fmt.Sprintf("%s %s %s %s|%s|%s|%s", r.Method, r.Host, r.RequestURI, body, r.Header.Get("X-A"), r.UserAgent(), r.Header.Get("Accept")), true)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "made")
	})
	host := strings.TrimPrefix(s.URL, "http://")
	r := load(t, &Plan{
		Targets: []Target{{
			URL: s.URL + "/a?q=<b>#part", Method: "PUT", Body: []byte("some text"),
			Header: []Field{{"X-A", "b"}, {"Accept", ""}},
		}},
		Connections: 3, Requests: 50,
	})
	if r.Requests != 50 || r.Statuses["201"] != 50 || len(r.Errors) != 0 || r.Unexpected != 0 {
		t.Errorf("got %d requests, statuses %v, errors %v", r.Requests, r.Statuses, r.Errors)
	}
	if _, ok := bodies.Load("PUT " + host + " /a?q=<b> some text|b|gatehouse-loadtest|"); !ok {
		t.Error("the server did not see the request as it was planned")
	}
	if r.Connections.Opened != 3 || r.Connections.Resumed != 0 || r.Connections.MeanUS <= 0 {
		t.Errorf("connections: %+v", r.Connections)
	}
	if want := int64(len("made")) * 50; r.BytesIn <= want || r.BytesOut <= 50*int64(len("some text")) {
		t.Errorf("%d octets in, %d out", r.BytesIn, r.BytesOut)
	}
	if r.Latency.P50 <= 0 || r.Latency.Max < r.Latency.P99 || r.Latency.P99 < r.Latency.P50 || r.Latency.P50 < r.Latency.Min {
		t.Errorf("latency %+v", r.Latency)
	}
	if n := len(r.Percentiles); n < 20 || r.Percentiles[n-1].P != 100 || r.Percentiles[n-1].US != r.Latency.Max {
		t.Errorf("percentiles %v", r.Percentiles)
	}
	if len(r.Series) == 0 || len(r.Targets) != 1 || r.Targets[0].Name != "PUT "+s.URL+"/a?q=<b>#part" || r.Targets[0].Requests != 50 {
		t.Errorf("series %v, targets %+v", r.Series, r.Targets)
	}
	if r.Schema != 1 || r.Load.Model != "closed" || r.Load.TLS != "none" || !r.Load.KeepAlive || r.Seconds <= 0 || r.Rate <= 0 {
		t.Errorf("load %+v, %v s, %v/s", r.Load, r.Seconds, r.Rate)
	}
}

func TestEveryAnswerIsTakenHoweverItEnds(t *testing.T) {
	for name, answer := range map[string]string{
		"chunked":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"close-delimited": "HTTP/1.1 200 OK\r\n\r\nabc",
		"no body":         "HTTP/1.1 204 No Content\r\n\r\n",
		"interim":         "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"said goodbye":    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
		"large":           "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("a", 1000000),
		"a long head":     "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 12000) + "\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			url := raw(t, func(c net.Conn, _ int64) bool {
				_, err := io.WriteString(c, answer)
				return err == nil && name != "close-delimited" && name != "said goodbye"
			})
			r := load(t, &Plan{Targets: to(url), Connections: 2, Requests: 20})
			if r.Requests != 20 || len(r.Errors) != 0 || r.BytesIn != 20*int64(len(answer)) {
				t.Errorf("%d answers of %d octets, errors %v", r.Requests, r.BytesIn, r.Errors)
			}
		})
	}
}

func TestFaultsAreCountedByKind(t *testing.T) {
	abort := func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }
	for name, tt := range map[string]struct {
		answer func(c net.Conn) bool
		kind   string
		says   string
	}{
		"closed without an answer": {func(net.Conn) bool { return false }, "reset", "ended a kept connection without notice"},
		"reset in the answer": {func(c net.Conn) bool {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
			abort(c)
			return false
		}, "reset", "octets of an answer"},
		"cut in the answer": {func(c net.Conn) bool {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nabc")
			return false
		}, "reset", "after 53 octets of an answer: EOF"},
		"garbage": {func(c net.Conn) bool {
			_, err := io.WriteString(c, "hello, who are you?\r\n")
			return err == nil
		}, "protocol", `begins with "hello, who are`},
		"a TLS alert": {func(c net.Conn) bool {
			_, err := io.WriteString(c, "\x15\x03\x01\x00\x02\x02\x0a")
			return err == nil
		}, "protocol", "which is TLS"},
		"more than was asked for": {func(c net.Conn) bool {
			_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc")
			return err == nil
		}, "protocol", `"bc" behind the end`},
		"a head without end": {func(c net.Conn) bool {
			_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nX-A: "+strings.Repeat("a", 100_000))
			return err == nil
		}, "protocol", "no end of the head in 16 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			url := raw(t, func(c net.Conn, n int64) bool {
				if n%2 == 0 {
					return tt.answer(c)
				}
				_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				return err == nil
			})
			r := load(t, &Plan{Targets: to(url), Connections: 1, Requests: 10})
			if r.Requests != 5 || r.Errors[tt.kind] != 5 || len(r.Errors) != 1 {
				t.Errorf("%d answers, errors %v, want 5 of each", r.Requests, r.Errors)
			}
			if text := r.Causes[tt.kind]; !strings.Contains(text, tt.says) || len(r.Causes) != 1 {
				t.Errorf("causes %q, want %q", r.Causes, tt.says)
			}
			if r.Targets[0].Errors != 5 {
				t.Errorf("target: %+v", r.Targets[0])
			}
		})
	}
}

func TestSlowAnswersTimeOut(t *testing.T) {
	stuck := make(chan struct{})
	url := raw(t, func(c net.Conn, n int64) bool {
		if n == 2 {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
			<-stuck
		}
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return err == nil
	})
	defer close(stuck)
	r := load(t, &Plan{Targets: to(url), Connections: 1, Requests: 3, Timeout: 200 * time.Millisecond})
	if r.Requests != 2 || r.Errors["timeout"] != 1 || !strings.Contains(r.Causes["timeout"], "42 octets of an answer") {
		t.Errorf("%d answers, errors %v, causes %v", r.Requests, r.Errors, r.Causes)
	}
}

func TestUnexpectedStatusesAreAnswersAndErrors(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	errorFree, err := ParseSLO("errors<=0%")
	if err != nil {
		t.Fatal(err)
	}
	r := load(t, &Plan{
		Targets:     []Target{{URL: s.URL + "/good"}, {URL: s.URL + "/bad"}},
		Connections: 2, Requests: 100, SLOs: []SLO{errorFree},
	})
	if r.Requests != 100 || r.Unexpected != r.Statuses["500"] || r.Unexpected < 45 || r.Unexpected > 55 || len(r.Errors) != 0 {
		t.Errorf("%d requests, %d unexpected, %v, errors %v", r.Requests, r.Unexpected, r.Statuses, r.Errors)
	}
	if r.Targets[0].Errors != 0 || r.Targets[1].Errors != r.Unexpected || r.Targets[1].Latency.P50 <= 0 {
		t.Errorf("targets %+v", r.Targets)
	}
	if len(r.SLOs) != 1 || !r.Missed || r.SLOs[0].Value != float64(r.Unexpected) {
		t.Errorf("SLOs %+v", r.SLOs)
	}
	r = load(t, &Plan{Targets: []Target{{URL: s.URL + "/bad", Expect: []int{500}}}, Connections: 2, Requests: 10, SLOs: []SLO{errorFree}})
	if r.Unexpected != 0 || r.Missed {
		t.Errorf("500 was expected: %d unexpected, missed: %v", r.Unexpected, r.Missed)
	}
}

func TestConnectionsAreKeptOrNot(t *testing.T) {
	var opened, idle atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Close {
			idle.Add(1)
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	r := load(t, &Plan{Targets: to(s.URL), Connections: 2, Requests: 20})
	if n := opened.Swap(0) - 1; n != 2 || r.Connections.Opened != 2 { // one more has been tried
		t.Errorf("kept: %d connections, told: %d", n, r.Connections.Opened)
	}
	r = load(t, &Plan{Targets: to(s.URL), Connections: 2, Requests: 20, NoKeepAlive: true})
	if n := opened.Load() - 1; n != 20 || r.Connections.Opened != 20 || idle.Load() != 20 || r.Load.KeepAlive {
		t.Errorf("not kept: %d connections, told: %d, %d said so", n, r.Connections.Opened, idle.Load())
	}
}

// TestConnectionsThatTheServerEndedAreNoErrors: a server may close what is idle.
func TestConnectionsThatTheServerEndedAreNoErrors(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.IdleTimeout = 20 * time.Millisecond
	s.Start()
	defer s.Close()
	r := load(t, &Plan{Targets: to(s.URL), Rate: 5, Requests: 4, Connections: 1})
	if r.Requests != 4 || len(r.Errors) != 0 || r.Connections.Opened != 4 {
		t.Errorf("%d answers on %d connections, errors %v", r.Requests, r.Connections.Opened, r.Errors)
	}
}

// single returns an HTTP/1.1 client of a run that has not begun, and what asks by it at
// a moment of the run.
func single(t *testing.T, url string) (*h1, func(begun int64) sample) {
	t.Helper()
	r, err := prepare(t.Context(), &Plan{Targets: to(url), Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	r.ctx, r.cancel = context.WithCancel(t.Context())
	r.startedAt = time.Now()
	if err := r.makeLanes(); err != nil {
		t.Fatal(err)
	}
	client := r.lanes[0].client.(*h1)
	t.Cleanup(func() { client.close(); r.halt() })
	return client, func(begun int64) (x sample) {
		var q question
		r.ask(0, &q)
		x.begun = begun
		client.do(r.lanes[0], &x, &q)
		return x
	}
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("gave up waiting for %s", what)
		}
	}
}

// TestConnectionsThatTheServerEndedWithoutNotice are no errors where a client looks at them
// before it sends, and are where a request has been sent: it is not sent again.
func TestConnectionsThatTheServerEndedWithoutNotice(t *testing.T) {
	url := raw(t, func(c net.Conn, _ int64) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return false
	})
	client, ask := single(t, url)
	ended := func() bool { return client.last.line.look() == ended }
	first := ask(1)
	until(t, "the server to end the connection", ended)
	if first.failed != noError {
		t.Errorf("the first: %v", first.cause)
	}
	second := ask(2 + idleCheck)
	until(t, "the server to end the connection", ended)
	if second.failed != noError || second.status != 200 {
		t.Errorf("10 ms later: %v", second.cause)
	}
	if x := ask(3 + idleCheck); x.failed != errReset || !strings.Contains(x.cause.Error(), "ended a kept connection without notice") {
		t.Errorf("at once: %v, %v", kindNames[x.failed], x.cause)
	}
	if x := ask(4 + idleCheck); x.failed != noError {
		t.Errorf("after that: %v", x.cause)
	}
	if idleCheck > int64(10*time.Millisecond) {
		t.Errorf("docs/operations.md says that a client looks after 10 ms, not %v", time.Duration(idleCheck))
	}
}

// TestUnaskedAnswersAreNoEndOfAConnection: a server that answers twice is at fault also
// where the load is so slow that the second answer comes between two requests.
func TestUnaskedAnswersAreNoEndOfAConnection(t *testing.T) {
	const empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	read := make(chan struct{})
	url := raw(t, func(c net.Conn, n int64) bool {
		_, _ = io.WriteString(c, empty)
		if n == 1 {
			<-read
			_, _ = io.WriteString(c, empty)
		}
		return true
	})
	client, ask := single(t, url)
	if x := ask(1); x.failed != noError {
		t.Errorf("the first: %v", x.cause)
	}
	close(read)
	until(t, "the second answer", func() bool { return client.last.line.look() == unasked })
	if x := ask(2 + idleCheck); x.failed != errNoHTTP || !strings.Contains(x.cause.Error(), "behind the end of the answer") {
		t.Errorf("after it: %v, %v", kindNames[x.failed], x.cause)
	}
	if x := ask(3 + idleCheck); x.failed != noError {
		t.Errorf("on a new connection: %v", x.cause)
	}
}

// TestAnEarlyAnswerToAnUploadCounts: a server may refuse a body that it has not read.
func TestAnEarlyAnswerToAnUploadCounts(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				_, _ = io.ReadFull(c, make([]byte, 100))
				_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				// The rest is not read: the close resets the connection.
			})
		}
	})
	t.Cleanup(func() { ln.Close(); conns.Wait() })
	target := Target{URL: "http://" + ln.Addr().String() + "/", Method: "POST", Body: make([]byte, 8<<20), Expect: []int{413}}
	r := load(t, &Plan{Targets: []Target{target}, Requests: 5, Connections: 1})
	// Whether the answer is read before the reset depends on the kernel; none may be lost in
	// writing as long as there is something to read.
	if r.Requests+sum(r.Errors) != 5 || r.Statuses["413"] == 0 {
		t.Errorf("%d answers, statuses %v, errors %v, causes %v", r.Requests, r.Statuses, r.Errors, r.Causes)
	}
}

// TestSlotsAreFoundInOnePass: a body may be slots from end to end.
func TestSlotsAreFoundInOnePass(t *testing.T) {
	for text, want := range map[string][]string{
		"": {""}, "plain {x} {": {"plain {x} {"}, "{n}": {"", ""}, "a{{n}}b{host}{n": {"a{", "}b", "{n"},
	} {
		if got := newTemplate(text); !slices.Equal(got.parts, want) || len(got.slots) != len(want)-1 {
			t.Errorf("%q: %q with slots %q", text, got.parts, got.slots)
		}
	}
	const slots = 1 << 20 // in quadratic time this would take hours
	if got := newTemplate(strings.Repeat("{n}", slots)); len(got.slots) != slots {
		t.Errorf("%d slots of %d", len(got.slots), slots)
	}
}

func TestHandshakesWithoutTLSAreConnections(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request") })
	r := load(t, &Plan{Targets: to(s.URL), Connections: 2, Requests: 10, Handshakes: true})
	if r.Requests != 10 || r.Connections.Opened != 10 || len(r.Statuses) != 0 || r.Latency.P50 <= 0 {
		t.Errorf("%d handshakes, connections %+v, statuses %v", r.Requests, r.Connections, r.Statuses)
	}
}

func TestTheMixHasItsWeights(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	r := load(t, &Plan{
		Targets:     []Target{{URL: s.URL + "/a", Weight: 6}, {URL: s.URL + "/b", Weight: 3}, {URL: s.URL + "/c"}},
		Connections: 1, Requests: 1000,
	})
	for i, want := range []int64{600, 300, 100} {
		if got := r.Targets[i].Requests; got < want-5 || got > want+5 {
			t.Errorf("target %d has %d of 1000 requests, want %d", i, got, want)
		}
	}
}

func TestValuesDoNotRepeatAndHostsTakeTurns(t *testing.T) {
	var mu sync.Mutex
	seen, hosts := map[string]bool{}, map[string]int{}
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := strings.TrimPrefix(r.URL.Path, "/")
		mu.Lock()
		defer mu.Unlock()
		hosts[r.Host]++
		if string(body) != `{"n": `+n+`, "host": "`+r.Host+`"}` || r.Header.Get("X-N") != "n"+n || len(n) != 16 {
			t.Errorf("%s: field %q, body %s", n, r.Header.Get("X-N"), body)
		}
		if seen[n] {
			t.Errorf("%s came twice", n)
		}
		seen[n] = true
	})
	p := &Plan{
		Targets: []Target{{
			URL: "http://{host}/{n}", Method: "POST", Body: []byte(`{"n": {n}, "host": "{host}"}`), Header: []Field{{"X-N", "n{n}"}},
		}},
		Hosts: []string{"a.test", "bb.test", "ccc.test"}, Connect: strings.TrimPrefix(s.URL, "http://"),
		Connections: 4, Requests: 300,
	}
	for range 2 { // in a later run they do not repeat either
		if r := load(t, p); r.Requests != 300 || r.Statuses["200"] != 300 {
			t.Errorf("%d answers: %v, errors %v", r.Requests, r.Statuses, r.Errors)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 600 || hosts["a.test"] != 200 || hosts["ccc.test"] != 200 {
		t.Errorf("%d numbers, hosts %v", len(seen), hosts)
	}
}

func TestARunEndsWithItsContextAndTellsWhatItHas(t *testing.T) {
	for name, rate := range map[string]float64{"closed": 0, "open": 100} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var n atomic.Int64
			s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
				if n.Add(1) > 20 {
					cancel()
					<-r.Context().Done() // an answer that does not come
				}
			})
			r, err := Run(ctx, &Plan{Targets: to(s.URL), Connections: 1, Duration: MaxDuration, Timeout: time.Hour, Rate: rate}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !r.Interrupted || r.Requests != 20 || len(r.Errors) != 0 || r.Seconds >= 3600 {
				t.Errorf("interrupted: %v, %d answers, errors %v, %v s", r.Interrupted, r.Requests, r.Errors, r.Seconds)
			}
		})
	}
}

func TestTheDurationEndsARun(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	var told []Progress
	r, err := Run(t.Context(), &Plan{Targets: to(s.URL), Connections: 1, Warmup: 100 * time.Millisecond, Duration: 1100 * time.Millisecond},
		func(p Progress) { told = append(told, p) })
	if err != nil {
		t.Fatal(err)
	}
	if r.Interrupted || r.Seconds != 1.1 || len(r.Series) != 2 || r.Series[0].Seconds != 1 || r.Requests != r.Series[0].Requests+r.Series[1].Requests {
		t.Errorf("%v s, series %+v, %d requests", r.Seconds, r.Series, r.Requests)
	}
	if len(told) < 3 || !told[0].Warming || told[len(told)-1].Requests == 0 || told[len(told)-1].Last.Requests == 0 {
		t.Errorf("told %+v", told)
	}
	if c := r.Connections; c.Opened != 0 || c.Before != 1 {
		t.Errorf("%d connections opened after the warm-up, %d in it, want 0 and 1", c.Opened, c.Before)
	}
}

func TestTargetsOutsideThisMachineAreRefused(t *testing.T) {
	for _, p := range []*Plan{
		{Targets: to("http://192.0.2.1/")},
		{Targets: to("http://127.0.0.1/"), Connect: "192.0.2.1:80"},
		{Targets: []Target{{URL: "http://127.0.0.1/"}, {URL: "https://[2001:db8::1]/"}}},
		{Targets: to("http://{host}/"), Hosts: []string{"127.0.0.1", "192.0.2.7"}},
	} {
		_, err := Run(t.Context(), p, nil)
		var refused *NotOwnedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "no loopback address") {
			t.Errorf("%+v: %v", p.Targets, err)
		}
	}
}

func TestWhatCannotBeReachedIsSaidAtOnce(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	_, err = Run(t.Context(), &Plan{Targets: to("http://" + ln.Addr().String())}, nil)
	if err == nil || !strings.Contains(err.Error(), "connect to "+ln.Addr().String()) || errors.Is(err, ErrPlan) {
		t.Errorf("got %v", err)
	}
	_, err = Run(t.Context(), &Plan{Targets: to("http://127.0.0.1/"), Connect: "127.0.0.1"}, nil)
	if !errors.Is(err, ErrPlan) {
		t.Errorf("got %v", err)
	}
}

// TestPlansThatCannotBeRun: each with the word that names the mistake.
func TestPlansThatCannotBeRun(t *testing.T) {
	one := to("http://127.0.0.1/")
	large := Target{URL: "http://127.0.0.1/large", Body: make([]byte, MaxBody)}
	filled := Target{URL: "http://127.0.0.1/filled", Body: append([]byte("{n}"), make([]byte, 32<<20)...)}
	for says, p := range map[string]Plan{
		"no target":             {},
		"at most 1000":          {Targets: make([]Target, MaxTargets+1)},
		"connections":           {Targets: one, Connections: MaxConnections + 1},
		"duration":              {Targets: one, Duration: MaxDuration + 1},
		"warmup":                {Targets: one, Warmup: -1},
		"timeout":               {Targets: one, Timeout: 1},
		"requests":              {Targets: one, Requests: -1},
		"rate":                  {Targets: one, Rate: 2e6},
		"tls \"half\"":          {Targets: one, TLS: "half"},
		"curve \"p521\"":        {Targets: one, Curve: "p521"},
		"http 3: not supported": {Targets: one, HTTP: "3"},
		"http \"2.0\"":          {Targets: one, HTTP: "2.0"},
		"only HTTP/2":           {Targets: one, Streams: 2},
		"handshakes has none":   {Targets: one, HTTP: "2", Streams: 2, Handshakes: true},
		"begins with http":      {Targets: to("127.0.0.1/")},
		"the host is missing":   {Targets: to("http:///a")},
		"%20":                   {Targets: to("http://127.0.0.1/a b")},
		"cannot stand in the":   {Targets: to("http://a{n}.test/")},
		"needs a list of hosts": {Targets: to("http://{host}/")},
		"a user does not":       {Targets: to("http://a:b@127.0.0.1/")},
		"weight":                {Targets: []Target{{URL: "http://127.0.0.1", Weight: -1}}},
		"method":                {Targets: []Target{{URL: "http://127.0.0.1", Method: "GET /"}}},
		"no name of a field":    {Targets: []Target{{URL: "http://127.0.0.1", Header: []Field{{"X A", "b"}}}}},
		"/large: with its body, those of all targets have more than 256 MiB": {Targets: []Target{large, large, large, large, large}},
		"/large: body: at most 64 MiB":                                       {Targets: []Target{{URL: large.URL, Body: make([]byte, MaxBody+1)}}},
		"/filled: each of 64 requests":                                       {Targets: []Target{filled}},
		"control character":                                                  {Targets: []Target{{URL: "http://127.0.0.1", Header: []Field{{"X-A", "b\r\nc"}}}}},
		"follows from the body":                                              {Targets: []Target{{URL: "http://127.0.0.1", Header: []Field{{"content-length", "1"}}}}},
		"name it in the URL":                                                 {Targets: []Target{{URL: "http://127.0.0.1", Header: []Field{{"Host", "a"}}}}},
		"has to stand in the URL":                                            {Targets: []Target{{URL: "http://127.0.0.1", Header: []Field{{"X", "{host}"}}}}},
	} {
		if err := p.Validate(); !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q: %v", says, err)
		}
	}
	if err := (&Plan{Targets: one}).Validate(); err != nil {
		t.Error(err)
	}
}
