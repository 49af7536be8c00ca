package waf

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatehouse/waf-rules/crstest"
)

// crsEngine is compiled once for all tests here.
var crsEngine = sync.OnceValues(func() (*Engine, error) { return withGate(New(Options{Setup: crstest.Setup})) })

// The CRS's own tests against this package alone: at most eight fail, each for a known reason.
func TestCoreRuleSet(t *testing.T) {
	e, err := crsEngine()
	if err != nil {
		t.Fatal(err)
	}
	crstest.Run(t, crstest.Options{
		Where: "in process", Overrides: "testdata/overrides", Section: "process",
		MaxOverrides: 8, MinPercent: 99.8, Every: 30,
	}, func(s crstest.Stage) crstest.Outcome { return try(e, s.Request) })
}

// A limit that the CRS leaves off by default acts where the setup turns it on, and only there.
func TestSetupComesBeforeTheCoreRuleSet(t *testing.T) {
	e, err := crsEngine()
	if err != nil {
		t.Fatal(err)
	}
	long := sample{target: "/?a=" + strings.Repeat("b", 401)}
	if got := inspect(e, &Profile{}, long); !slices.Contains(got.ids(), 920370) {
		t.Errorf("with arg_length 400: rules %v", got.ids())
	}
	if got := inspect(sharedEngine(t), &Profile{}, long); slices.Contains(got.ids(), 920370) {
		t.Errorf("without a limit: rules %v", got.ids())
	}
}

// try runs a raw request and the answer to it through the engine.
func try(e *Engine, raw []byte) crstest.Outcome {
	r, err := crstest.Parse(raw)
	if err != nil {
		return crstest.Outcome{Err: err}
	}
	tx := e.Begin(&Profile{Paranoia: 4, Responses: true}, "crs")
	defer tx.Close()
	show(tx, r)

	path := r.Target
	if u, err := url.Parse(r.Target); err == nil {
		path = u.Path
	}
	answer, contentType := crstest.Reflect(r.Method, path, r.Body), ""
	for _, f := range answer.Fields {
		tx.ResponseHeader(f[0], f[1])
		if f[0] == "Content-Type" {
			contentType = f[1]
		}
	}
	tx.ResponseHeaders(answer.Status, "HTTP/1.1")
	if tx.WantsResponseBody(contentType) {
		tx.WriteResponseBody(answer.Body)
	}
	tx.ResponseBody()

	o := crstest.Outcome{Err: tx.Err()}
	if tx.tx != nil { // else no rule can have matched
		tx.tx.ProcessLogging() // phase 5 sums up: rule 980170, which has tests
		for _, rule := range tx.tx.MatchedRules() {
			o.Log = append(o.Log, rule.ErrorLog())
		}
	}
	for _, m := range tx.Matches() {
		o.Rules = append(o.Rules, m.ID)
	}
	return o
}

// show shows a whole request to a transaction.
func show(tx *Transaction, r crstest.Request) {
	loopback := netip.MustParseAddr("127.0.0.1")
	tx.Connection(netip.AddrPortFrom(loopback, 40000), netip.AddrPortFrom(loopback, 80))
	tx.Request(r.Method, r.Target, r.Proto, r.Host)
	for _, f := range r.Fields {
		tx.RequestHeader(f[0], f[1])
	}
	tx.RequestHeaders()
	tx.WriteRequestBody(r.Body)
	tx.RequestBody(false)
}
