package waf

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/corazawaf/coraza/v3/types"

	"gatehouse/edge/waf/gate"
)

// drawn reports whether a request is the one of many to verify: one of each Options.Shadow in a row, by chance.
func (e *Engine) drawn() bool {
	if e.shadow == 0 {
		return false
	}
	n := e.counter.Add(1) - 1
	return maphash.Comparable(e.seed, n/e.shadow)%e.shadow == n%e.shadow
}

// atOnce counts the verifications under way. They wait for no turn, as nobody waits for them; so those of requests that
// take long must not pile up.
type atOnce struct{ n atomic.Int32 }

// maxAtOnce is how many run at a time on a node. What is drawn beyond them is not verified.
const maxAtOnce = 4

func (a *atOnce) begin() bool {
	if a.n.Add(1) <= maxAtOnce {
		return true
	}
	a.n.Add(-1)
	return false
}

func (a *atOnce) end() { a.n.Add(-1) }

// verify runs all rules on a transaction that was at the gate, and compares what they find with what the gate has said. A rule that
// it said could not match is a fault of the gate's: it is not asked any more, as long as these rules are in use.
//
// It is called at the end, when the answer is on its way: nobody waits for it, but the next request of the connection.
func (t *Transaction) verify() {
	g := t.checked
	t.checked = nil
	if g == nil || g.asked == [2]bool{} || t.err != nil || t.prescreen.broken.Load() != nil || !t.engine.verifying.begin() {
		return
	}
	defer t.engine.verifying.end()
	defer t.rescue("verify the gate")
	rules, err := t.matchedOf(g)
	if err != nil {
		t.engine.log.Error("waf gate could not be verified", "id", t.id, "err", err)
		return
	}
	t.engine.metrics.verified.Inc()
	p := t.prescreen
	for _, m := range rules {
		id := m.Rule().ID()
		if t.rules.catalog.bookkeeping(m) || g.allowed(p, id) || !t.repeats(g, id) {
			continue
		}
		t.engine.metrics.missed.Inc()
		if p.broken.CompareAndSwap(nil, &id) {
			t.engine.log.Error("waf gate switched off: it missed a rule", "id", t.id, "rule", id, "where", places(m),
				"host", g.host, "method", g.method, "path", pathOf(g.target), "digest", t.rules.set.Digest()[:digestShown])
		}
	}
}

// places returns where a rule has found something, without what: that may be anybody's secret.
func places(m types.MatchedRule) (out []string) {
	for _, d := range m.MatchedDatas() {
		place := d.Variable().Name()
		if d.Key() != "" {
			place += ":" + d.Key()
		}
		if !slices.Contains(out, place) && len(out) < maxPlaces {
			out = append(out, place)
		}
	}
	return out
}

// maxPlaces bounds what one line says.
const maxPlaces = 8

// pathOf is a target without its query.
func pathOf(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}

// repeats is how often a rule that was missed must be found again. Where a rule looks at groups of a pattern that several
// values match, which of them it sees is the engine's chance, and no fault of the gate's. Else who knows such
// a rule could switch the gate off.
const repeats = 4

// repeats reports whether all rules find a rule each time. While the gate is on trial they are not run again: what
// an answer has said is not kept then.
func (t *Transaction) repeats(g *gated, id int) bool {
	if t.engine.gate == GateShadow {
		return true
	}
	for range repeats {
		rules, err := t.runAll(g)
		if err == nil && slices.ContainsFunc(rules, func(m types.MatchedRule) bool { return m.Rule().ID() == id }) {
			continue
		}
		if _, told := t.prescreen.chance.LoadOrStore(id, true); !told { // of as many as there are rules
			t.engine.log.Warn("waf rule matches by chance: the gate stays in use", "id", t.id, "rule", id, "err", err)
		}
		return false
	}
	return true
}

// allowed reports whether the gate has said that a rule may match, or was not asked. The reader's own rules have run in it, unless
// it was we who read: then none of them may match.
func (g *gated) allowed(p *prescreen, id int) bool {
	if p.native[id] && !g.byUs {
		return true
	}
	place := p.place[id]
	side := p.rules[place].Side()
	found := &g.found[side]
	if !g.asked[side] || found.All || slices.Contains(found.Rules, place) {
		return true
	}
	// One that depends on other rules alone runs beside any that can match.
	return len(found.Rules) > 0 && p.gate.Kept(place) && !g.settled.tenant.Idle(place)
}

// matchedOf returns what all rules find. In shadow they have run already.
func (t *Transaction) matchedOf(g *gated) ([]types.MatchedRule, error) {
	if t.engine.gate != GateShadow || t.tx == nil {
		return t.runAll(g)
	}
	return t.tx.MatchedRules(), nil
}

// runAll runs all rules on what was recorded, and returns those that matched.
func (t *Transaction) runAll(g *gated) ([]types.MatchedRule, error) {
	all := &Transaction{engine: t.engine, id: t.id, rules: t.rules, prescreen: t.prescreen, profile: t.profile, tuning: t.tuning, removals: t.removals, gated: g}
	it := all.engage(nil, true)
	defer func() { t.closed(all.tx.Close()) }()
	all.view, all.gated = all.tx, nil
	if it != nil {
		return all.tx.MatchedRules(), nil
	}
	it, err := all.runBody(g)
	if err != nil || it != nil || !g.asked[gate.Answer] {
		return all.tx.MatchedRules(), err
	}
	for _, f := range g.answer {
		all.addAnswer(f.name, f.value)
	}
	if all.tx.ProcessResponseHeaders(g.status, g.answerProto) == nil {
		if _, _, err := all.tx.WriteResponseBody([]byte(g.answerBody)); err != nil {
			return nil, err
		}
		_, err = all.tx.ProcessResponseBody()
	}
	return all.tx.MatchedRules(), err
}

// answerOf is what the gate has said, as a label.
func answerOf(f gate.Found) int {
	switch {
	case f.All:
		return 2
	case len(f.Rules) > 0:
		return 1
	}
	return 0
}
