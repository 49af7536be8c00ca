package gate

import (
	"testing"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// Rules that the settings alone keep from matching need not run.
func TestWhichRulesAreIdle(t *testing.T) {
	initial := silent(newRule(1, sets(over(-1, inTX("limit")), "given", "1")))
	initial.Phase = 1
	reads := func(links ...Link) Rule { return silent(newRule(2, links...)) }
	counted := Target{Variable: variables.TX, Key: "given", Count: true}
	macro := over(0, inTX("given"))
	macro.Argument = "%{tx.score}"
	captures := over(0, inTX("given"))
	captures.Captures = true
	score := newRule(9, sets(contains("a", anyArg), "score", "+1"))
	for name, c := range map[string]struct {
		rule Rule
		idle bool
	}{
		"not met":               {reads(over(5, inTX("given"))), true},
		"met":                   {reads(over(0, inTX("given"))), false},
		"a count, not met":      {reads(over(1, counted)), true},
		"a count, met":          {reads(over(0, counted)), false},
		"of what others write":  {reads(over(5, inTX("score"))), false},
		"compared with that":    {reads(macro), false},
		"one of both":           {reads(over(5, inTX("given"), inTX("score"))), false},
		"of all":                {reads(over(5, Target{Variable: variables.TX})), false},
		"the second of a chain": {reads(over(0, inTX("score")), over(5, inTX("given"))), true},
		"behind what sets":      {reads(sets(over(0, inTX("score")), "x", "1"), over(5, inTX("given"))), false},
		"behind what captures":  {reads(captures, over(5, inTX("given"))), false},
		"behind what acts":      {reads(acts(over(0, inTX("score")), Act{Kind: Lessens}), over(5, inTX("given"))), false},
		"behind what skips":     {reads(acts(over(0, inTX("score")), Act{Kind: Skips, To: "A"}), over(5, inTX("given"))), true},
	} {
		g := newGate(t, initial, c.rule, score)
		tenant := g.Tenant(1, map[string][]string{"given": {"1"}, "score": {"0"}})
		if !g.First(0) || !g.Kept(1) || tenant.Idle(0) || tenant.Idle(1) != c.idle || tenant.Idle(2) {
			t.Errorf("%s: first %t, kept %t, idle %t", name, g.First(0), g.Kept(1), tenant.Idle(1))
		}
	}
}

// What gives a variable its first value is not left out where a rule before it depends on that.
func TestFirstValuesAreThoseOfRulesThatNothingPrecedes(t *testing.T) {
	gives := func(id int, name, value string) Rule {
		r := silent(newRule(id, sets(over(-1, inTX("limit")), name, value)))
		r.Phase = 1
		return r
	}
	early := func(r Rule) Rule { r.Phase = 1; return r }
	for name, c := range map[string]struct {
		rules []Rule
		want  []bool
	}{
		"in a row":              {[]Rule{gives(1, "a", "1"), gives(2, "b", "%{tx.a}")}, []bool{true, true}},
		"read before":           {[]Rule{early(silent(newRule(3, acts(over(0, inTX("a")), Act{Kind: Refuses})))), gives(1, "a", "1"), gives(2, "b", "1")}, []bool{false, false, true}},
		"skipped":               {[]Rule{early(silent(newRule(3, acts(over(0, inTX("x")), Act{Kind: Skips, To: "A"})))), gives(1, "a", "1"), marker("A")}, []bool{false, false, false}},
		"behind what is judged": {[]Rule{early(newRule(3, contains("a", anyArg))), gives(1, "a", "1")}, []bool{false, false}},
	} {
		g := newGate(t, c.rules...)
		for i, want := range c.want {
			if g.First(i) != want {
				t.Errorf("%s: rule %d first: %t", name, i, g.First(i))
			}
		}
	}
}
