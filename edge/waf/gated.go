package waf

import (
	"context"
	"net/netip"
	"runtime/debug"
	"slices"

	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"

	"gatehouse/edge/waf/gate"
)

// A gated transaction has its request read by the prescreen's reader, and the rules begin only when it turns out
// that some can match. They are then shown all that was kept here. Nil: the rules see everything as it comes.
type gated struct {
	settled *settled

	client, server              netip.AddrPort
	method, target, proto, host string
	fields                      []field
	long                        bool   // the head announced more than is inspected
	sizes                       string // the last word about that; empty: there was none
	answer                      []field
	status                      int
	answerProto                 string
	kind                        string // of the body's parser
	simple                      bool   // we can read the head

	// For verify:
	body       []byte  // of the request
	asked      [2]bool // by side: the gate was
	byUs       bool    // the request was read by us
	ran        bool    // the rules that the gate named have run on the whole
	answerBody string
	found      [2]gate.Found // by side: what the gate has said
}

type field struct{ name, value string }

// atGate reports whether there is a gate that is of use to the profile. The transaction then begins at it.
func (t *Transaction) atGate() bool {
	p := t.engine.prescreenOf(t.rules)
	if p == nil || p.broken.Load() != nil {
		return false
	}
	settled := p.settle(t.rules, t.tuning)
	if settled == nil {
		return false
	}
	t.prescreen = p
	t.gated = &gated{settled: settled, fields: make([]field, 0, usualFields)}
	if t.engine.gate == GateShadow || t.engine.drawn() {
		t.checked = t.gated
	}
	return true
}

// usualFields is how many fields there is room for from the beginning.
const usualFields = 24

// newTx begins an engine's transaction for the profile.
func (t *Transaction) newTx(of experimental.WAFWithOptions) engineTx {
	tx := of.NewTransactionWithOptions(experimental.Options{ID: t.id, Context: context.Background()}).(engineTx) // asserted by probe.learn
	t.rules.probe.setMode(tx, t.profile.Mode)
	return tx
}

// engage begins the rules with the request's head, and runs phase 1. Only those at the given places run beside those that
// always do; with all, every rule does.
func (t *Transaction) engage(run []int, all bool) *types.Interruption {
	t.tx = t.newTx(t.rules.newTx)
	if all {
		t.tuning.apply(t.tx.Variables().TX())
		for _, r := range t.removals {
			r.exclude(t.tx, t.tuning.level())
		}
	} else {
		t.restrict(run)
	}
	return t.gated.head(t.tx)
}

// restrict takes from the rules all that need not run. What those give variables for a start is given them here.
func (t *Transaction) restrict(run []int) {
	tx := t.tx.Variables().TX()
	for name, values := range t.gated.settled.first {
		tx.Set(name, values)
	}
	t.tuning.apply(tx)
	t.excludeFrom(run)
	t.prescreen.takeOut(t.tx, t.gated.settled.spans[gate.Request], run)
}

// head shows the request's head to an engine, which runs phase 1.
func (g *gated) head(tx engineTx) *types.Interruption {
	tx.ProcessConnection(addrString(g.client), int(g.client.Port()), addrString(g.server), int(g.server.Port()))
	tx.ProcessURI(g.target, g.method, g.proto)
	tx.SetServerName(g.host)
	for _, f := range g.fields {
		tx.AddRequestHeader(f.name, f.value)
	}
	if g.long {
		setSingle(tx.Variables().InboundDataError(), "1")
	}
	return tx.ProcessRequestHeaders()
}

// headAtGate has the request's head read, unless that can wait until its body is there: nothing in a head that is
// simple can be refused yet.
func (t *Transaction) headAtGate() *types.Interruption {
	if t.gated.simple = t.prescreen.isSimple(t.gated); t.gated.simple && !t.profile.Responses {
		return nil
	}
	return t.openReader()
}

// openReader has the reader read the head. If one of its own rules finds something, all rules begin.
func (t *Transaction) openReader() *types.Interruption {
	t.view = t.newTx(t.prescreen.reader)
	if it := t.gated.head(t.view); it == nil && !t.noticed() {
		return nil
	}
	return t.engageAll()
}

// engageAll begins all rules with the request's head, and leaves the gate.
func (t *Transaction) engageAll() *types.Interruption {
	it := t.engage(nil, true)
	t.leave()
	return it
}

// leave ends a transaction's time at the gate: the rules see everything from now on.
func (t *Transaction) leave() {
	reader := t.view
	t.view, t.gated = t.tx, nil
	if reader != nil {
		t.closed(reader.Close())
	}
}

// atBody asks the gate about the whole request, and where rules can match, runs them. The kind is that of the
// body's parser.
func (t *Transaction) atBody(kind string) (*types.Interruption, error) {
	g := t.gated
	g.kind, g.body = kind, t.body
	values, err := t.read()
	if t.gated == nil || err != nil { // the reader has found something in the head
		return t.verdictOfHead(err)
	}
	found := t.ask(t.gated, gate.Request, values)
	if t.noticed() {
		found.All, g.found[gate.Request].All = true, true
	}
	found.All = found.All || t.engine.gate == GateShadow
	if len(found.Rules) == 0 && !found.All {
		return nil, nil
	}
	g.ran = true
	it := t.engage(append(found.Rules, found.Helpers...), found.All)
	t.leave()
	if it != nil {
		return it, nil
	}
	return t.runBody(g)
}

// tellHead runs phase 1 for what is told of a request that the tenant's own rules have refused in phase 2.
func (t *Transaction) tellHead(kind string) {
	if t.gated == nil {
		return
	}
	t.gated.kind, t.gated.body = kind, t.body
	values, err := t.read()
	if t.gated == nil || err != nil {
		return
	}
	found := t.ask(t.gated, gate.Request, values)
	if found.All = found.All || t.noticed(); len(found.Rules) > 0 || found.All {
		t.engage(append(found.Rules, found.Helpers...), found.All)
		t.leave()
	}
}

// read has the request read, by us if it is simple.
func (t *Transaction) read() (gate.Values, error) {
	g := t.gated
	if t.view == nil {
		r, ok, over := t.prescreen.readSimple(g, g.body)
		if ok {
			g.byUs = true
			return r, nil
		}
		if over { // to have it read only to see it refused would cost twice
			t.engageAll()
			return nil, nil
		}
		if it := t.openReader(); it != nil || t.gated == nil {
			return nil, nil
		}
	}
	if g.sizes != "" {
		setSingle(t.view.Variables().InboundDataError(), g.sizes)
	}
	if _, err := runBody(t.view, kindOf(t.view), g.body); err != nil {
		return nil, err
	}
	return engineValues{t.view}, nil
}

// verdictOfHead goes on with all rules where the reader has left the gate.
func (t *Transaction) verdictOfHead(err error) (*types.Interruption, error) {
	if err != nil {
		return nil, err
	}
	if it := t.tx.Interruption(); it != nil {
		return it, nil
	}
	return runBody(t.tx, kindOf(t.tx), t.body)
}

// runBody runs phase 2 of the rules on the body, with the parser that their phase 1 has chosen.
func (t *Transaction) runBody(g *gated) (*types.Interruption, error) {
	if g.sizes != "" {
		setSingle(t.tx.Variables().InboundDataError(), g.sizes)
	}
	kind, body := kindOf(t.tx), g.body
	if kind == "JSON" {
		body = shallowJSON(body)
	}
	return runBody(t.tx, kind, body)
}

// kindOf is the engine's REQBODY_PROCESSOR, before it reads the body.
func kindOf(tx engineTx) string { return tx.Variables().RequestBodyProcessor().Get() }

// atAnswer asks the gate about the whole response, and where rules can match, runs them, behind those for requests
// that always run.
func (t *Transaction) atAnswer() (*types.Interruption, error) {
	g := t.gated
	g.answerBody = t.view.Variables().ResponseBody().Get()
	found := t.ask(g, gate.Answer, engineValues{t.view})
	if len(found.Rules) == 0 && !found.All {
		return nil, nil
	}
	g.ran = true
	it := t.engage(nil, false)
	if !found.All {
		t.prescreen.takeOut(t.tx, g.settled.spans[gate.Answer], append(found.Rules, found.Helpers...))
	}
	t.leave()
	if it != nil {
		return it, nil
	}
	if it, err := t.runBody(g); it != nil || err != nil {
		return it, err
	}
	for _, f := range g.answer {
		t.addAnswer(f.name, f.value)
	}
	if it := t.tx.ProcessResponseHeaders(g.status, g.answerProto); it != nil {
		return it, nil
	}
	if _, _, err := t.tx.WriteResponseBody([]byte(g.answerBody)); err != nil {
		return nil, err
	}
	return t.tx.ProcessResponseBody()
}

// ask asks the gate about what was read. If it breaks, all rules run.
func (t *Transaction) ask(g *gated, side gate.Side, values gate.Values) (found gate.Found) {
	defer func() {
		if p := recover(); p != nil {
			t.engine.log.Error("waf gate failed", "id", t.id, "panic", p, "stack", string(debug.Stack()))
			found = gate.Found{All: true}
		}
		g.found[side] = found
		g.asked[side] = true
		t.engine.metrics.asked[answerOf(found)].Inc()
	}()
	p := t.prescreen
	if len(t.removals) == 0 {
		return p.gate.Inspect(side, values, g.settled.tenant, nil, t.profile.Share)
	}
	except := exempt{t.removals, t.tuning.level()}
	if except.variable(variables.TX) || p.gate.Void(except) {
		return gate.Found{All: true} // what is settled without them may not be
	}
	return p.gate.Inspect(side, values, g.settled.tenant, except, t.profile.Share)
}

// askInShadow asks the gate about a response that all rules have seen.
func (t *Transaction) askInShadow() {
	if g := t.checked; g != nil && t.gated == nil && t.engine.gate == GateShadow {
		t.ask(g, gate.Answer, engineValues{t.tx})
	}
}

// noticed reports whether a rule of the reader's own has matched that shows.
func (t *Transaction) noticed() bool {
	return t.view != nil && slices.ContainsFunc(t.view.MatchedRules(), func(m types.MatchedRule) bool { return !t.rules.catalog.bookkeeping(m) })
}
