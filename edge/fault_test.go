package edge

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"gatehouse/edge/upstream"
	"gatehouse/edge/wire"
	"gatehouse/internal/edgetest"
)

// series is the value of the series that is written like name, labels included,
// such as gatehouse_x_total{reason="y"}. It must be there.
func series(t *testing.T, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName()+labels(m) == name {
				return m.GetCounter().GetValue()
			}
			if f.GetName()+"_count"+labels(m) == name {
				return float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("there is no series %s", name)
	return 0
}

func labels(m *dto.Metric) string {
	var parts []string
	for _, l := range m.GetLabel() {
		parts = append(parts, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	if parts == nil {
		return ""
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// accessRecord waits for the access line of a target and returns it.
func (n *node) accessRecord(t *testing.T, target string) accessRecord {
	t.Helper()
	n.waitFor(t, n.access, `"target":"`+target)
	for text := range strings.SplitSeq(n.access.String(), "\n") {
		var found accessRecord
		if json.Unmarshal([]byte(text), &found) == nil && strings.HasPrefix(found.Target, target) {
			return found
		}
	}
	t.Fatalf("no line of %s:\n%s", target, n.access.String())
	return accessRecord{}
}

// An answer that was cut looks like any other 200 unless somebody says so.
func TestCutAnswersLeaveATrace(t *testing.T) {
	b := edgetest.NewBackend(t)
	metrics := prometheus.NewRegistry()
	n := start(t, shopSite(b.URL, "waf: {mode: off}"), func(o *Options) {
		o.Registerer = metrics
		o.Limits.Stall = 300 * time.Millisecond
	})
	const byBackend, byClient = `gatehouse_responses_cut_total{by="backend"}`, `gatehouse_responses_cut_total{by="client"}`
	for _, name := range []string{byBackend, byClient} {
		if got := series(t, metrics, name); got != 0 {
			t.Errorf("%s begins at %v", name, got)
		}
	}
	// by the backend
	c := edgetest.Dial(t, n.http)
	c.Send(head("GET", "www.shop.test", "/cut?n=5000") + "\r\n")
	if _, err := c.TryReceive("GET"); err == nil {
		t.Error("a cut answer arrived whole")
	}
	if got := n.accessRecord(t, "/cut"); got.Status != 200 || got.Bytes != 5000 || got.Error != "backend body: unexpected EOF" {
		t.Errorf("status %d, %d bytes, error %q", got.Status, got.Bytes, got.Error)
	}
	n.waitFor(t, n.log, "level=WARN msg=\"response cut\" id="+n.accessRecord(t, "/cut").ID)
	if !strings.Contains(n.log.String(), `err="backend body: unexpected EOF"`) {
		t.Errorf("the cause is missing:\n%s", n.log.String())
	}
	// by a client that leaves
	for i, target := range []string{"/bytes?n=100000000", "/bytes?chunked=1&n=100000000"} {
		leaver := edgetest.Dial(t, n.http)
		leaver.Send(head("GET", "www.shop.test", target) + "\r\n")
		if _, err := io.ReadFull(leaver, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		edgetest.Reset(leaver.Conn)
		leaver.Close()
		edgetest.WaitFor(t, "the line", func() bool { return strings.Contains(n.access.String(), target) })
		if got := series(t, metrics, byClient); got != float64(i+1) {
			t.Errorf("%v cut by clients, want %d:\n%s", got, i+1, n.access.String())
		}
	}
	if got := n.accessRecord(t, "/bytes?n=1"); got.Error != "client left" {
		t.Errorf("error %q", got.Error)
	}
	if got := n.accessRecord(t, "/bytes?chunked"); !strings.HasPrefix(got.Error, "client left") {
		t.Errorf("error %q", got.Error)
	}
	// by a client that takes nothing
	stalled := edgetest.Dial(t, n.http)
	stalled.Send(head("GET", "www.shop.test", "/bytes?n=200000000") + "\r\n")
	if got := n.accessRecord(t, "/bytes?n=2"); got.Error != "client takes too little of what is written" {
		t.Errorf("error %q", got.Error)
	}
	if back, client := series(t, metrics, byBackend), series(t, metrics, byClient); back != 1 || client != 3 {
		t.Errorf("%v cut by backends and %v by clients, want 1 and 3", back, client)
	}
	if got := strings.Count(n.log.String(), "level=WARN"); got != 1 {
		t.Errorf("%d warnings, want one: clients leave all the time\n%s", got, n.log.String())
	}
}

// What went well has no error, however its end came to be known.
func TestWholeAnswersHaveNoError(t *testing.T) {
	b := edgetest.NewBackend(t)
	metrics := prometheus.NewRegistry()
	n := start(t, shopSite(b.URL, "waf: {mode: off}", "cache: {enabled: true, ttl: 60s}"), func(o *Options) { o.Registerer = metrics })
	for i, target := range []string{"/bytes?n=100", "/bytes?n=100000", "/bytes?chunked=1", "/bytes?n=0", "/status?code=204", "/bytes?n=100"} {
		if got := n.get(t, "www.shop.test", target); got.Status >= 300 {
			t.Errorf("%s: status %d", target, got.Status)
		}
		waitLines(t, n, i+1)
	}
	edgetest.Dial(t, n.http).Do("HEAD", head("HEAD", "www.shop.test", "/bytes?n=1000")+"\r\n")
	edgetest.Dial(t, n.http).Do("GET", "GET /bytes?chunked=1 HTTP/1.0\r\nHost: www.shop.test\r\n\r\n")
	if got := waitLines(t, n, 8); strings.Contains(got, `"error"`) {
		t.Errorf("errors of what went well:\n%s", got)
	}
	for _, by := range []string{"backend", "client"} {
		if got := series(t, metrics, `gatehouse_responses_cut_total{by="`+by+`"}`); got != 0 {
			t.Errorf("%v cut by %s", got, by)
		}
	}
}

// Nobody knows why a 400 was given unless the line says so.
func TestAccessLineSaysWhatWentWrong(t *testing.T) {
	b := edgetest.NewBackend(t)
	dead := fmt.Sprintf("http://127.0.0.1:%d", edgetest.FreePort(t))
	metrics := prometheus.NewRegistry()
	n := start(t, shopSite(b.URL, "waf: {mode: off}")+"  dead.test:\n    backends: ["+dead+"]\n", func(o *Options) {
		o.Limits.HeaderTime = 300 * time.Millisecond
		o.Registerer = metrics
	})
	for _, c := range []struct {
		raw    string
		target string // begins the access line's
		want   accessRecord
		code   string
	}{
		{
			"GET /framing HTTP/1.1\r\nHost: www.shop.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "/framing",
			accessRecord{Method: "GET", Proto: "HTTP/1.1", Host: "www.shop.test", Status: 400, Error: "ambiguous message framing (RFC 9112 §6.3)"},
			"framing",
		},
		{
			"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "*",
			accessRecord{Method: "PRI", Proto: "HTTP/2.0", Status: 505, Error: "HTTP version not supported"},
			"version",
		},
		{
			"POST /chunk HTTP/1.1\r\nHost: www.shop.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", "/chunk",
			accessRecord{Method: "POST", Proto: "HTTP/1.1", Host: "www.shop.test", Status: 400, Error: "malformed chunk (RFC 9112 §7.1)"},
			"chunk",
		},
		{
			"GET /slow HTTP/1.0\r\nX", "/slow",
			accessRecord{Method: "GET", Proto: "HTTP/1.0", Status: 408, Error: "the request took too long"},
			"head_time",
		},
		{
			"GET /nobody HTTP/1.1\r\nHost: nobody.test\r\n\r\n", "/nobody",
			accessRecord{Method: "GET", Proto: "HTTP/1.1", Host: "nobody.test", Status: 404, Error: "no site answers for this host"},
			"",
		},
		{
			"GET /hostless HTTP/1.0\r\n\r\n", "/hostless",
			accessRecord{Method: "GET", Proto: "HTTP/1.0", Status: 400, Error: "a Host field is needed"},
			"",
		},
	} {
		got := edgetest.Dial(t, n.http).Do("GET", c.raw)
		line := n.accessRecord(t, c.target)
		if line.Method != c.want.Method || line.Proto != c.want.Proto || line.Host != c.want.Host || line.Status != c.want.Status || line.Error != c.want.Error {
			t.Errorf("%q: line %+v, want %+v", c.raw, line, c.want)
		}
		if c.want.Error == "a Host field is needed" && !strings.Contains(string(got.Body), c.want.Error) {
			t.Errorf("the page says %s", got.Body)
		}
		if c.code != "" && series(t, metrics, `gatehouse_requests_refused_total{reason="`+c.code+`"}`) != 1 {
			t.Errorf("%s is not counted", c.code)
		}
	}
	if slow := n.accessRecord(t, "/slow"); slow.DurationMS < 300 {
		t.Errorf("a head that took 300 ms to time out is said to have taken %v ms", slow.DurationMS)
	}
	n.get(t, "dead.test", "/dead")
	if got := n.accessRecord(t, "/dead"); got.Status != 502 || !strings.HasPrefix(got.Error, "backend connect: ") || !strings.Contains(got.Error, "connection refused") {
		t.Errorf("error %q", got.Error)
	}
}

func TestErrorTextIsBounded(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New(strings.Repeat("ä", 200)), strings.Repeat("ä", 128)},
		{errors.New("x" + strings.Repeat("ä", 200)), "x" + strings.Repeat("ä", 127)},
		{fail(503, "public", errors.New("cause")), "public: cause"},
		{refused(&wire.Refusal{Status: 400, Code: "x", Reason: "once"}), "once"},
		{&upstream.Error{Op: upstream.OpHead, Err: context.Canceled}, "client left"},
		{clientCut(fmt.Errorf("write: %w", syscall.EPIPE)), "client left"},
		{bodyCut(&upstream.Error{Op: upstream.OpBody, Err: context.Canceled}), "client left"},
		{bodyCut(&upstream.Error{Op: upstream.OpBody, Err: errors.New("reset")}), "backend body: reset"},
	} {
		if got := errorText(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

// The combined format must not invent what was not read.
func TestCombinedLineOfARefusedRequest(t *testing.T) {
	for _, c := range []struct {
		method, target, proto string
		status                int
		want                  string
	}{
		{"", "", "", 408, `] "-" 408 0 "-"`},
		{"GET", "/long", "", 414, `] "GET /long" 414 0 "-"`},
		{"PRI", "*", "HTTP/2.0", 505, `] "PRI * HTTP/2.0" 505 0 "-"`},
		{"GET", "/\"", "HTTP/1.1", 400, `] "GET /\x22 HTTP/1.1" 400 0 "-"`},
	} {
		r := &request{ClientText: "192.0.2.1", Method: c.method, Target: c.target, Proto: c.proto}
		r.response.status = c.status
		if got := string(appendCombined(nil, r, 0)); !strings.Contains(got, c.want) {
			t.Errorf("line %q, want %q in it", got, c.want)
		}
	}
}

// A body beyond the limit counts for its site, whether it is announced or not.
func TestTooLargeBodyCountsForItsTenant(t *testing.T) {
	b := edgetest.NewBackend(t)
	metrics := prometheus.NewRegistry()
	n := start(t, shopSite(b.URL, "waf: {mode: off}"), func(o *Options) {
		o.Limits.Body = 1000
		o.Registerer = metrics
	})
	for i, framing := range []string{"Content-Length: 1001\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + strings.Repeat("x", 1001) + "\r\n0\r\n\r\n"} {
		c := edgetest.Dial(t, n.http)
		c.Send("POST /sink HTTP/1.1\r\nHost: www.shop.test\r\n" + framing)
		if got := c.Receive("POST"); got.Status != 413 || !got.Close {
			t.Errorf("status %d, close %v", got.Status, got.Close)
		}
		waitLines(t, n, i+1)
		if got := series(t, metrics, `gatehouse_requests_total{code_class="4xx",tenant="shop"}`); got != float64(i+1) {
			t.Errorf("%v counted for the tenant, want %d", got, i+1)
		}
	}
	if got := series(t, metrics, `gatehouse_requests_unrouted_total{code_class="4xx"}`); got != 0 {
		t.Errorf("%v counted as unrouted", got)
	}
	if got := n.accessRecord(t, "/sink"); got.Error != "request body is larger than limits.body_bytes" || got.Tenant != "shop" {
		t.Errorf("line %+v", got)
	}
}

// Failed handshakes leave no access line: a counter is all there is.
func TestFailedHandshakesAreCounted(t *testing.T) {
	metrics := prometheus.NewRegistry()
	ca := edgetest.NewCA(t)
	c := &certs{leaves: map[string]*edgetest.Leaf{"www.shop.test": ca.Issue(t, "www.shop.test")}}
	n := start(t, shopSite(edgetest.NewBackend(t).URL), func(o *Options) {
		o.Certificates, o.Registerer, o.Limits.Handshake = c, metrics, time.Second
	})
	connect := func() net.Conn {
		conn, err := net.Dial("tcp", n.https)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := tls.Client(connect(), &tls.Config{ServerName: "nobody.test", RootCAs: ca.Pool(), MaxVersion: version})
		if client.Handshake() == nil {
			t.Error("a handshake for an unknown name")
		}
	}
	if _, err := io.WriteString(connect(), "GET / HTTP/1.1\r\n\r\n"); err != nil { // other
		t.Fatal(err)
	}
	connect()         // says nothing: timeout
	connect().Close() // left
	if got := edgetest.DialTLS(t, n.https, "www.shop.test", ca.Pool()).Do("GET", head("GET", "www.shop.test", "/")+"\r\n"); got.Status != http.StatusOK {
		t.Errorf("status %d", got.Status)
	}
	for reason, want := range map[string]float64{"unknown_name": 2, "other": 1, "timeout": 1, "left": 1} {
		name := `gatehouse_tls_handshakes_failed_total{reason="` + reason + `"}`
		edgetest.WaitFor(t, name, func() bool { return series(t, metrics, name) == want })
	}
}

// An alert on the growth of a counter misses the first event of a series that was
// not there before.
func TestSeriesWithKnownLabelsExistFromTheStart(t *testing.T) {
	metrics := prometheus.NewRegistry()
	if _, err := New(Options{Registerer: metrics}); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		`gatehouse_requests_unrouted_total{code_class=`: {"2xx", "4xx", "5xx"},
		`gatehouse_requests_refused_total{reason=`:      wire.RefusalCodes(),
		`gatehouse_responses_cut_total{by=`:             {"backend", "client"},
		`gatehouse_connections_refused_total{reason=`:   {"per_ip", "shed", "crowded", "proxy_header"},
		`gatehouse_tls_handshakes_failed_total{reason=`: {"timeout", "unknown_name", "left", "other"},
		`gatehouse_backend_retries_total{result=`:       {"taken", "refused"},
	}
	for name, values := range want {
		for _, value := range values {
			if got := series(t, metrics, name+`"`+value+`"}`); got != 0 {
				t.Errorf("%s%q} begins at %v", name, value, got)
			}
		}
	}
	if got := len(wire.RefusalCodes()); got < 30 {
		t.Errorf("only %d codes of refusals", got)
	}
}
