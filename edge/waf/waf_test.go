package waf

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
)

// shared is one engine for all tests that do not need their own: compiling takes seconds under
// the race detector.
var shared = sync.OnceValues(func() (*Engine, error) { return withGate(New(Options{})) })

// withGate makes an engine's gate at once.
func withGate(e *Engine, err error) (*Engine, error) {
	if err == nil {
		e.MakeGate()
	}
	return e, err
}

func sharedEngine(t testing.TB) *Engine {
	t.Helper()
	e, err := shared()
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return e
}

// ungatedEngine is one whose rules see everything, for tests that look at what its parsers read.
func ungatedEngine(t testing.TB) *Engine {
	t.Helper()
	e, err := ungated()
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return e
}

var ungated = sync.OnceValues(func() (*Engine, error) { return New(Options{Gate: GateOff}) })

// smallEngine compiles a test's own rules only.
func smallEngine(t testing.TB, rules string) *Engine {
	t.Helper()
	e, err := newEngine(Options{}, "Include base.conf\n"+rules)
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}

// sample is a request with the fields of a browser, so that only what a test adds can match.
type sample struct {
	method      string // GET, or POST if there is a body
	target      string // default /
	header      [][2]string
	contentType string
	body        string
	cut         bool

	status         int // of the response; 0: none
	responseType   string
	responseHeader [][2]string
	responseBody   string
}

// result is what a transaction told before it was closed.
type result struct {
	verdict  *Verdict
	matches  []Match
	score    int
	outbound int
	would    bool
	err      error
}

func (r result) ids() []int {
	var ids []int
	for _, m := range r.matches {
		if !slices.Contains(ids, m.ID) {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (r result) match(id int) (Match, bool) {
	at := slices.IndexFunc(r.matches, func(m Match) bool { return m.ID == id })
	if at < 0 {
		return Match{}, false
	}
	return r.matches[at], true
}

func inspect(e *Engine, p *Profile, s sample) result {
	tx := e.Begin(p, "test")
	defer tx.Close()
	run(tx, s)
	return result{tx.Verdict(), tx.Matches(), tx.Score(), tx.OutboundScore(), tx.WouldBlock(), tx.Err()}
}

func run(tx *Transaction, s sample) {
	method := s.method
	if method == "" {
		method = "GET"
		if s.body != "" {
			method = "POST"
		}
	}
	target := s.target
	if target == "" {
		target = "/"
	}
	tx.Connection(netip.MustParseAddrPort("192.0.2.7:40000"), netip.MustParseAddrPort("198.51.100.1:443"))
	tx.Request(method, target, "HTTP/1.1", "shop.test")
	tx.RequestHeader("Host", "shop.test")
	tx.RequestHeader("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
	tx.RequestHeader("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	tx.RequestHeader("Accept-Language", "en-GB,en;q=0.5")
	if s.body != "" {
		tx.RequestHeader("Content-Length", "1000")
	}
	if s.contentType != "" {
		tx.RequestHeader("Content-Type", s.contentType)
	}
	for _, h := range s.header {
		tx.RequestHeader(h[0], h[1])
	}
	if tx.RequestHeaders() != nil {
		return
	}
	if tx.WantsBody() {
		for body := []byte(s.body); len(body) > 0; {
			n := min(1000, len(body)) // in pieces, as from a connection
			tx.WriteRequestBody(body[:n])
			body = body[n:]
		}
	}
	if tx.RequestBody(s.cut) != nil || s.status == 0 {
		return
	}
	tx.ResponseHeader("Content-Type", s.responseType)
	for _, h := range s.responseHeader {
		tx.ResponseHeader(h[0], h[1])
	}
	if tx.ResponseHeaders(s.status, "HTTP/1.1") != nil {
		return
	}
	if tx.WantsResponseBody(s.responseType) {
		tx.WriteResponseBody([]byte(s.responseBody))
	}
	tx.ResponseBody()
}

const (
	form   = "application/x-www-form-urlencoded"
	script = "/?q=<script>alert(1)</script>"
	sqli   = "/?id=1%27%20OR%20%271%27=%271"
)

func TestABrowserIsLetThrough(t *testing.T) {
	e := sharedEngine(t)
	for _, s := range []sample{
		{target: "/"},
		{target: "/search?q=red+shoes&page=2", header: [][2]string{{"Cookie", "sid=0123456789abcdef; theme=dark"}}},
		{contentType: form, body: "name=Ann+O%27Neil&comment=Thank+you%2C+it+works"},
		{contentType: "application/json", body: `{"name":"Ann","tags":["a","b"],"n":1.5}`},
		{contentType: "multipart/form-data; boundary=b", body: multipartBody("b", part{name: "x", content: "hello"})},
	} {
		got := inspect(e, &Profile{Mode: Block}, s)
		if got.verdict != nil || got.would || len(got.matches) != 0 || got.err != nil {
			t.Errorf("%s %s %q: %+v", s.method, s.target, s.body, got)
		}
	}
}

func TestAttacksAreBlockedInBlockAndOnlySeenInDetect(t *testing.T) {
	e := sharedEngine(t)
	tests := []struct {
		name   string
		sample sample
		id     int
		target string
	}{
		{"script in the query", sample{target: script}, 941100, "ARGS:q"},
		{"sql in the query", sample{target: sqli}, 942100, "ARGS:id"},
		{"sql in a form", sample{contentType: form, body: "a=b&id=1' OR '1'='1"}, 942100, "ARGS:id"},
		{"sql in JSON", sample{contentType: "application/json", body: `{"user":{"id":"1' OR '1'='1"}}`}, 942100, "ARGS:json.user.id"},
		{"script in a multipart field", sample{
			contentType: "multipart/form-data; boundary=b",
			body:        multipartBody("b", part{name: "q", content: "<script>alert(1)</script>"}),
		}, 941100, "ARGS:q"},
		{"script in XML", sample{contentType: "text/xml", body: `<a>&lt;script&gt;alert(1)&lt;/script&gt;</a>`}, 941100, "XML:/*"},
		{"files of the system", sample{target: "/?f=../../../../etc/passwd"}, 930120, "ARGS:f"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			blocked := inspect(e, &Profile{Mode: Block}, test.sample)
			if blocked.verdict == nil || blocked.verdict.Status != 403 || blocked.verdict.Action != "deny" {
				t.Errorf("block: verdict %+v, matches %v", blocked.verdict, blocked.ids())
			}
			detected := inspect(e, &Profile{Mode: Detect}, test.sample)
			if detected.verdict != nil {
				t.Errorf("detect: verdict %+v", detected.verdict)
			}
			if !detected.would || detected.score < DefaultInboundThreshold {
				t.Errorf("detect: would block %t, score %d", detected.would, detected.score)
			}
			for _, r := range []result{blocked, detected} {
				if m, ok := r.match(test.id); !ok || m.Target != test.target {
					t.Errorf("rule %d on %s not in %+v", test.id, test.target, r.matches)
				}
			}
			if off := inspect(e, &Profile{Mode: Off}, test.sample); off.verdict != nil || off.matches != nil || off.score != 0 {
				t.Errorf("off: %+v", off)
			}
		})
	}
}

func TestZeroProfileDetects(t *testing.T) {
	e := sharedEngine(t)
	for _, p := range []*Profile{nil, {}} {
		got := inspect(e, p, sample{target: script})
		if got.verdict != nil || !got.would || len(got.matches) == 0 {
			t.Errorf("%+v", got)
		}
	}
}

// One rule needs no score: what cannot be parsed is refused with 400, and only in mode Block.
func TestRequestsThatDoNotParseAreRefused(t *testing.T) {
	e := sharedEngine(t)
	many := strings.Repeat("a=1&", 1000)
	tests := []struct {
		name   string
		sample sample
		id     int
	}{
		{"target", sample{target: "/%zz"}, 200009},
		{"query hides an attack behind 1000 arguments", sample{target: "/?" + many + "q=<script>alert(1)</script>"}, 200004},
		{"form hides an attack behind 1000 arguments", sample{contentType: form, body: many + "q=<script>alert(1)</script>"}, 200005},
		{"json hides an attack behind 1000 arguments", sample{
			contentType: "application/json",
			body:        `{"a":[` + strings.Repeat("1,", 1000) + `"<script>alert(1)</script>"]}`,
		}, 200005},
		{"json", sample{contentType: "application/json", body: `{"a":`}, 200002},
		{"json too deep", sample{contentType: "application/json", body: strings.Repeat("[", 2000) + strings.Repeat("]", 2000)}, 200002},
		{"multipart without an end", sample{contentType: "multipart/form-data; boundary=b", body: "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx"}, 200003},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := inspect(e, &Profile{Mode: Block}, test.sample)
			if got.verdict == nil || got.verdict.Status != 400 || got.verdict.RuleID != test.id {
				t.Errorf("verdict %+v, matches %v", got.verdict, got.ids())
			}
			if test.id == 200005 {
				return // a thousand arguments cost a second where nothing refuses them
			}
			got = inspect(e, &Profile{Mode: Detect}, test.sample)
			if got.verdict != nil || !got.would {
				t.Errorf("detect: verdict %+v, would block %t", got.verdict, got.would)
			}
		})
	}
}

// What docs/operations.md says of bad escapes and of coded bodies.
func TestBadEscapesInQueriesPassAndCodedJSONIsBadJSON(t *testing.T) {
	e := sharedEngine(t)
	if got := inspect(e, &Profile{Mode: Block}, sample{target: "/?q=%zz"}); got.verdict != nil {
		t.Errorf("a bad escape in the query: %+v", got.verdict)
	}
	if got := inspect(e, &Profile{Mode: Block}, sample{header: [][2]string{{"Content-Encoding", "gzip"}}, contentType: "application/json", body: "\x1f\x8b\x08\x00\x00"}); got.verdict == nil || got.verdict.RuleID != 200002 {
		t.Errorf("a coded body of JSON: %+v", got.verdict)
	}
}

func TestResponsesThatLeakAreStopped(t *testing.T) {
	e := sharedEngine(t)
	leak := sample{
		status: 200, responseType: "Text/HTML ; charset=utf-8",
		responseBody: "<p>You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version</p>",
	}
	got := inspect(e, &Profile{Mode: Block, Responses: true}, leak)
	if got.verdict == nil || got.verdict.Status != 403 {
		t.Errorf("verdict %+v, matches %v", got.verdict, got.ids())
	}
	if !slices.ContainsFunc(got.ids(), func(id int) bool { return id/1000 == 951 }) || got.outbound < 4 {
		t.Errorf("matches %v, outbound score %d", got.ids(), got.outbound)
	}
	if got := inspect(e, &Profile{Mode: Block}, leak); got.verdict != nil || len(got.matches) != 0 {
		t.Errorf("without Responses: %+v", got)
	}
	if got := inspect(e, &Profile{Mode: Detect, Responses: true}, leak); got.verdict != nil || !got.would || got.score != 0 {
		t.Errorf("detect: %+v", got)
	}
	if got := inspect(e, &Profile{Mode: Block, Responses: true, OutboundThreshold: 1000}, leak); got.verdict != nil || got.would {
		t.Errorf("high threshold: %+v", got)
	}
	api := leak
	api.responseType = "application/json"
	if got := inspect(e, &Profile{Mode: Block, Responses: true}, api); got.verdict == nil {
		t.Errorf("leak in JSON: %+v", got)
	}
}

func TestWhichResponseBodiesAreWanted(t *testing.T) {
	e := sharedEngine(t)
	tests := []struct {
		contentType, encoding string
		want                  bool
	}{
		{"text/html", "", true},
		{"TEXT/plain;charset=utf-8", "identity", true},
		{"application/json", "", true},
		{"text/html", "gzip", false},
		{"text/event-stream", "", false},
		{"image/png", "", false},
		{"", "", false},
	}
	for _, test := range tests {
		tx := e.Begin(&Profile{Responses: true, InspectBody: 100}, "x")
		tx.ResponseHeader("content-type", test.contentType)
		if test.encoding != "" {
			tx.ResponseHeader("content-encoding", test.encoding)
		}
		if got := tx.WantsResponseBody(test.contentType); got != test.want {
			t.Errorf("%+v: %t", test, got)
		}
		tx.WriteResponseBody(make([]byte, 150))
		if tx.WantsResponseBody(test.contentType) {
			t.Errorf("%+v: wanted beyond InspectBody", test)
		}
		if err := tx.Err(); err != nil {
			t.Errorf("%+v: %v", test, err)
		}
		tx.Close()
	}
}

func TestNoMoreThanInspectBodyIsInspected(t *testing.T) {
	e := sharedEngine(t)
	p := &Profile{Mode: Block, InspectBody: 4096}
	attack := "&q=<script>alert(1)</script>"
	inside := sample{contentType: form, body: "a=" + strings.Repeat("x", 4000) + attack}
	if got := inspect(e, p, inside); got.verdict == nil {
		t.Error("an attack within the inspected bytes passed")
	}
	outside := sample{contentType: form, body: "a=" + strings.Repeat("x", 5000) + attack, cut: true}
	if got := inspect(e, p, outside); got.verdict != nil || got.err != nil {
		t.Errorf("beyond the inspected bytes: %+v", got)
	}
	tx := e.Begin(p, "x")
	defer tx.Close()
	tx.Request("POST", "/", "HTTP/1.1", "shop.test")
	tx.RequestHeader("Content-Type", form)
	tx.RequestHeaders()
	tx.WriteRequestBody(make([]byte, 4095))
	if !tx.WantsBody() {
		t.Error("one more byte is wanted")
	}
	tx.WriteRequestBody(make([]byte, 1))
	if tx.WantsBody() {
		t.Error("more than InspectBody is wanted")
	}
}

// Coraza v3.8.1 answers 413 to a body of exactly its limit, even in detection. Ours are never
// near it.
func TestABodyOfExactlyTheLimitIsNotRefused(t *testing.T) {
	e := parseRules(t) // with the base settings, and cheaper than the CRS
	for _, n := range []int{DefaultInspectBody - 1, DefaultInspectBody, DefaultInspectBody + 1} {
		for _, mode := range []Mode{Detect, Block} {
			body := "a=" + strings.Repeat("x", n-2)
			got := inspect(e, &Profile{Mode: mode}, sample{contentType: form, body: body, cut: n > DefaultInspectBody})
			if got.verdict != nil || got.would || got.err != nil {
				t.Errorf("%d bytes, %s: %+v", n, mode, got)
			}
		}
	}
}
