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
	for _, m := range rules {
		id := m.Rule().ID()
		if !t.rules.catalog.bookkeeping(m) && !g.allowed(t.prescreen, id) && t.repeats(g, func(again []types.MatchedRule) bool {
			return slices.ContainsFunc(again, func(m types.MatchedRule) bool { return m.Rule().ID() == id })
		}) {
			t.switchOff(g, id, places(m))
			return // one is enough, and each costs eight more runs
		}
	}
	if side, few := g.few(); few && t.engine.gate == GateOn {
		t.compare(g, side, rules)
	}
}

// compare compares what some rules have found on a side with what all rules have. A rule that is found by one of them each
// time, and never by the other, had not run with what it needs, or not without what it lacks.
func (t *Transaction) compare(g *gated, side gate.Side, all []types.MatchedRule) {
	some := t.foundOn(side, t.tx.MatchedRules())
	whole := t.foundOn(side, all)
	other := firstOther(some, whole)
	if other == 0 {
		return
	}
	once := slices.Contains(some, other)
	if t.repeats(g, func(again []types.MatchedRule) bool { return slices.Contains(t.foundOn(side, again), other) != once }) &&
		t.repeatedly(g, false, func(again []types.MatchedRule) bool { return slices.Contains(t.foundOn(side, again), other) == once }) {
		t.switchOff(g, other, nil)
	}
}

// few returns the side on which the gate had some rules run, to the end, and left out others.
func (g *gated) few() (side gate.Side, few bool) {
	for _, side := range []gate.Side{gate.Request, gate.Answer} {
		if found := &g.found[side]; g.asked[side] && len(found.Rules) > 0 {
			return side, !found.All && g.ran
		}
	}
	return gate.Request, false
}

// foundOn returns the rules of a side that matched and show, in order.
func (t *Transaction) foundOn(side gate.Side, rules []types.MatchedRule) (ids []int) {
	for _, m := range rules {
		if place, known := t.prescreen.place[m.Rule().ID()]; known && t.prescreen.rules[place].Side() == side && t.prescreen.rules[place].Shows() {
			ids = append(ids, m.Rule().ID())
		}
	}
	return ids
}

// firstOther returns the first rule that one of two lists has and the other has not; 0: there is none.
func firstOther(a, b []int) int {
	for _, id := range slices.Concat(a, b) {
		if slices.Contains(a, id) != slices.Contains(b, id) {
			return id
		}
	}
	return 0
}

// switchOff ends the gate's time with these rules, for a rule that it missed or that ran without what it needs.
func (t *Transaction) switchOff(g *gated, id int, where []string) {
	t.engine.metrics.missed.Inc()
	if t.prescreen.broken.CompareAndSwap(nil, &id) {
		t.engine.log.Error("waf gate switched off: it missed a rule", "id", t.id, "rule", id, "where", where,
			"host", g.host, "method", g.method, "path", pathOf(g.target), "digest", t.rules.set.Digest()[:digestShown])
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

// repeats is how often what was missed must be found again. Where a rule looks at groups of a pattern that several
// values match, or at the last of several values, which of them it sees is the engine's chance, and no fault of the gate's. Else who knows such
// a rule could switch the gate off.
const repeats = 8

// repeats reports whether all rules say the same each time that they run again. In shadow they are not run again: what
// an answer has said is not kept then.
func (t *Transaction) repeats(g *gated, same func([]types.MatchedRule) bool) bool {
	return t.engine.gate == GateShadow || t.repeatedly(g, true, same)
}

// repeatedly runs all rules, or those that the gate has named, several times and reports whether each time is the same.
func (t *Transaction) repeatedly(g *gated, all bool, same func([]types.MatchedRule) bool) bool {
	for range repeats {
		rules, err := t.runAgain(g, all)
		if err != nil {
			t.engine.log.Error("waf gate could not be verified", "id", t.id, "err", err)
			return false
		}
		if same(rules) {
			continue
		}
		t.engine.metrics.chance.Inc()
		if !t.prescreen.chanceTold.Swap(true) {
			t.engine.log.Warn("waf rules match by chance: the gate stays in use", "id", t.id, "host", g.host, "path", pathOf(g.target))
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
		return t.runAgain(g, true)
	}
	return t.tx.MatchedRules(), nil
}

// runAgain runs all rules, or those that the gate has named, on what was recorded, and returns those that matched.
func (t *Transaction) runAgain(g *gated, all bool) ([]types.MatchedRule, error) {
	again := &Transaction{engine: t.engine, id: t.id, rules: t.rules, prescreen: t.prescreen, profile: t.profile, tuning: t.tuning, removals: t.removals, gated: g}
	var run []int
	if found := &g.found[gate.Request]; !all {
		run = slices.Concat(found.Rules, found.Helpers)
	}
	it := again.engage(run, all)
	defer func() { t.closed(again.tx.Close()) }()
	if found := &g.found[gate.Answer]; !all && g.asked[gate.Answer] {
		t.prescreen.takeOut(again.tx, g.settled.spans[gate.Answer], slices.Concat(found.Rules, found.Helpers))
	}
	again.view, again.gated = again.tx, nil
	if it != nil {
		return again.tx.MatchedRules(), nil
	}
	it, err := again.runBody(g)
	if err != nil || it != nil || !g.asked[gate.Answer] {
		return again.tx.MatchedRules(), err
	}
	for _, f := range g.answer {
		again.addAnswer(f.name, f.value)
	}
	if again.tx.ProcessResponseHeaders(g.status, g.answerProto) == nil {
		if _, _, err := again.tx.WriteResponseBody([]byte(g.answerBody)); err != nil {
			return nil, err
		}
		_, err = again.tx.ProcessResponseBody()
	}
	return again.tx.MatchedRules(), err
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
