package waf

import (
	"fmt"
	"net/netip"
	"runtime/debug"

	"github.com/corazawaf/coraza/v3/types"
)

// Verdict is a refusal. Only mode Block gives one.
type Verdict struct {
	// Status is what the rule wants answered: 403, or 400 for a request that could not be parsed.
	Status int
	// RuleID is the rule that refused. For an anomaly score over its threshold that is a
	// bookkeeping rule (949110, 959100); what led to it is in [Transaction.Matches].
	RuleID int
	// Action is the rule's word: deny, drop or redirect.
	Action string
}

// PanicError is what [Transaction.Err] holds after the engine panicked.
type PanicError struct {
	Doing string // the step, such as "inspect request body"
	Value any    // what was passed to panic
	Stack []byte // of the panicking goroutine
}

// Error names the step and the value, not the stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("waf: %s: panic: %v", e.Doing, e.Value)
}

// Transaction is one request and its response under inspection. It is not safe for concurrent use.
// Close must be called exactly once.
//
// Strings passed in are not copied. Each must stay valid and unchanged until Close: a caller whose
// buffers are reused copies first. Byte slices (bodies) are copied here, and what Matches returns
// is the caller's to keep.
//
// The methods are called in the order in which they are documented in the package comment. After a
// verdict or an error the remaining steps do nothing, and a step that gives verdicts repeats the first one.
// A nil Transaction is valid and finds nothing.
type Transaction struct {
	engine  *Engine
	rules   *ruleset // those that were in use when it began, to its end
	profile *Profile
	tuning  *tuning

	id   string
	plan *plan // of exclusions; nil: there are none
	// removals are those that are for this request, as of Request.
	removals []*removal

	begun     bool       // and not closed
	view      engineTx   // what reads the request: the gate's reader, or tx; nil: nobody but the gate needs to
	tx        engineTx   // the rules; nil: not begun, which at the gate they need not be
	prescreen *prescreen // of the rules; nil: there is no gate
	gated     *gated     // nil: the rules see everything as it comes
	checked   *gated     // what verify is to look at; nil: nothing
	front     *front     // nil: the profile has no rules of its own
	err       error
	verdict   *Verdict

	body       []byte // request body, at most tuning.inspect bytes
	bodyCut    bool   // more was written than that
	oversized  bool   // a rule has been told so
	response   int64  // bytes of the response body written
	compressed bool   // the response has a content coding
}

func (t *Transaction) begin() {
	defer t.rescue("begin transaction")
	t.begun = true
	if !t.atGate() {
		t.tx = t.newTx(t.rules.newTx)
		t.view = t.tx
		t.tuning.apply(t.tx.Variables().TX())
	}
	for _, shared := range t.profile.Shared.Lists() {
		t.exclude(&shared.plan(t.rules.catalog).always)
	}
	if t.plan != nil {
		t.exclude(&t.plan.always)
	}
	t.front = beginFront(t, t.id)
}

// exclude applies a removal: at the gate, once the rules begin.
func (t *Transaction) exclude(r *removal) {
	if len(r.ranges)+len(r.targets) == 0 {
		return
	}
	if t.gated != nil {
		t.removals = append(t.removals, r)
	} else {
		r.exclude(t.tx, t.tuning.level())
	}
}

// live reports whether there is anything left to inspect.
func (t *Transaction) live() bool {
	return t != nil && t.begun && t.err == nil && t.verdict == nil
}

// rescue is deferred by every method that enters the engine: a panic in a rule ends the inspection of
// one request, not the process.
func (t *Transaction) rescue(doing string) {
	if r := recover(); r != nil {
		t.err = &PanicError{Doing: doing, Value: r, Stack: debug.Stack()}
	}
}

// decide keeps the engine's interruption, if there is one, as the verdict.
func (t *Transaction) decide(it *types.Interruption) *Verdict {
	if it != nil && t.verdict == nil {
		t.verdict = &Verdict{Status: it.Status, RuleID: it.RuleID, Action: it.Action}
	}
	return t.verdict
}

// Connection says who speaks to whom: the client's address after trusted proxies, and our own.
func (t *Transaction) Connection(client, server netip.AddrPort) {
	if !t.live() {
		return
	}
	defer t.rescue("set connection")
	t.front.connection(client, server)
	if g := t.gated; g != nil {
		g.client, g.server = client, server
		return
	}
	t.view.ProcessConnection(addrString(client), int(client.Port()), addrString(server), int(server.Port()))
}

func addrString(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().Unmap().WithZone("").String()
}

// Request gives the request line: the method, the target as it was received (not normalised, not
// decoded), the protocol as the CRS writes it (HTTP/1.0, HTTP/1.1, HTTP/2.0, HTTP/3.0), and the
// canonical host without port. The Host field itself is given with RequestHeader like any other; a
// request of HTTP/2 or 3 gets one made of :authority. Here it is decided which exclusions apply.
func (t *Transaction) Request(method, target, proto, host string) {
	if !t.live() {
		return
	}
	defer t.rescue("set request line")
	asked := asked{method: method, target: target, now: t.engine.now}
	for _, shared := range t.profile.Shared.Lists() {
		shared.plan(t.rules.catalog).each(&asked, t.exclude)
	}
	if t.plan != nil {
		t.plan.each(&asked, t.exclude)
	}
	t.front.request(method, target, proto, host)
	if g := t.gated; g != nil {
		g.method, g.target, g.proto, g.host = method, target, proto, host
		return
	}
	t.view.ProcessURI(target, method, proto)
	t.view.SetServerName(host)
}

// RequestHeader adds one field line. Repeated fields are given one by one, in order and as received:
// joining or dropping them would show the rules another request than the backend sees.
func (t *Transaction) RequestHeader(name, value string) {
	if !t.live() {
		return
	}
	defer t.rescue("add request header")
	t.front.requestHeader(name, value)
	if t.gated != nil {
		t.gated.fields = append(t.gated.fields, field{name, value})
		return
	}
	t.view.AddRequestHeader(name, value)
}

// RequestLength says how long the request body is, as its head announces; negative: not known, which
// need not be said. A body that is too long for the profile is then refused before it is read.
func (t *Transaction) RequestLength(n int64) {
	if t.live() && n > t.tuning.inspect {
		defer t.rescue("set request length")
		t.oversize()
		if t.gated != nil {
			t.gated.long = t.oversized
		}
	}
}

// oversize has rule 200100 act in phase 1 or rule 200101 in phase 2, if the profile wants it; not both.
func (t *Transaction) oversize() {
	if t.profile.OnOversize != Refuse {
		return
	}
	flag := "1"
	if t.oversized {
		flag = "0"
	}
	t.oversized = true
	if t.gated != nil {
		t.gated.sizes = flag
	} else {
		setSingle(t.view.Variables().InboundDataError(), flag)
	}
}

// RequestHeaders runs phase 1. The anomaly score is not judged yet, so a verdict here is rare: a
// target that does not parse, more than 1000 arguments, or a body that is too long.
func (t *Transaction) RequestHeaders() *Verdict {
	if !t.live() {
		return t.Verdict()
	}
	defer t.rescue("inspect request headers")
	if verdict := t.decide(t.front.requestHeaders()); verdict != nil {
		return verdict
	}
	if t.gated != nil {
		return t.decide(t.headAtGate())
	}
	return t.decide(t.view.ProcessRequestHeaders())
}

// WantsBody reports whether more of the request body would be inspected. It turns false once
// InspectBody bytes were written, so a caller can stop copying; it must then pass cut to RequestBody
// if there was more.
func (t *Transaction) WantsBody() bool {
	return t.live() && (t.view == nil || t.view.IsRequestBodyAccessible()) && int64(len(t.body)) < t.tuning.inspect
}

// WriteRequestBody copies the next bytes of the body, as the backend will see them: without transfer
// coding. Bytes after the first InspectBody are ignored.
func (t *Transaction) WriteRequestBody(p []byte) {
	if !t.live() {
		return
	}
	if room := t.tuning.inspect - int64(len(t.body)); int64(len(p)) > room {
		p, t.bodyCut = p[:room], true
	}
	t.body = append(t.body, p...)
}

// RequestBody runs phase 2, which is where a request is judged. It must be called for requests without
// a body, too.
//
// Cut says that the body was longer than what was written. A cut body would not parse, which the rules
// take for an attack (200002, 200003). So its end is made good before it is parsed, and an error
// that remains is one of the sender's:
//
//   - form, and other types, which are read like a form: a cut percent escape is removed
//   - JSON: the open string, value, objects and arrays are closed
//   - multipart: the open header line and part are closed, and the final boundary added
//   - XML: a cut character and an open declaration are removed; the open tag, entity or section is closed
//
// What stood before the cut, an unfinished value included, is inspected in full.
func (t *Transaction) RequestBody(cut bool) *Verdict {
	if !t.live() {
		return t.Verdict()
	}
	defer t.rescue("inspect request body")
	kind := t.kind()
	if kind == "JSON" {
		t.body = shallowJSON(t.body)
	}
	if cut || t.bodyCut {
		t.oversize()
		if len(t.body) > 0 {
			t.body = mend(kind, t.contentType(), t.body)
		}
	}
	if verdict := t.decide(t.front.requestBody(kind, t.body)); verdict != nil {
		t.tellHead(kind)
		return verdict
	}
	it, err := t.judge(kind)
	t.body = nil
	if err != nil {
		t.err = fmt.Errorf("waf: inspect request body: %w", err)
		return nil
	}
	return t.decide(it)
}

// judge runs phase 2.
func (t *Transaction) judge(kind string) (*types.Interruption, error) {
	if t.gated != nil {
		return t.atBody(kind)
	}
	return runBody(t.tx, kind, t.body)
}

// kind is the engine's REQBODY_PROCESSOR, before it reads the body.
func (t *Transaction) kind() string {
	if t.view == nil {
		kind, _ := t.gated.parser()
		return kind
	}
	return kindOf(t.view)
}

// contentType is the value of the first Content-Type field: the one by which the engine parses.
func (t *Transaction) contentType() string {
	if t.view == nil {
		value, _ := t.gated.contentType()
		return value
	}
	if values := t.view.Variables().RequestHeaders().Get("content-type"); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Close ends the transaction and gives its memory back. The methods that tell about it (Score, Matches)
// find nothing afterwards, except Verdict and Err.
func (t *Transaction) Close() {
	if t == nil || t.engine == nil {
		return
	}
	defer t.rescue("close transaction")
	t.verify()
	defer t.front.close()
	t.engine.metrics.ended[t.profile.Mode][t.outcome()].Inc()
	view, tx := t.view, t.tx
	t.view, t.tx, t.engine, t.body, t.gated, t.begun = nil, nil, nil, nil, nil, false
	if t.rules != nil {
		defer t.rules.release()
	}
	if t.err != nil {
		return // after a panic they are left to the garbage collector: Close would hand them to the next request
	}
	if view != tx && view != nil {
		t.closed(view.Close())
	}
	if tx != nil {
		t.closed(tx.Close())
	}
}

func (t *Transaction) closed(err error) {
	if err != nil {
		t.err = fmt.Errorf("waf: close transaction: %w", err)
	}
}
