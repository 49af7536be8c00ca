package waf

import (
	"slices"

	"github.com/corazawaf/coraza/v3/types/variables"

	"gatehouse/edge/waf/gate"
)

// excludeFrom applies the tenant's exclusions to the rules that run.
func (t *Transaction) excludeFrom(run []int) {
	p := t.prescreen
	for _, r := range t.removals {
		for _, ids := range r.ranges {
			t.tx.RemoveRuleByIDRange(int(ids[0]), int(ids[1]))
		}
		for i := range r.targets {
			target := &r.targets[i]
			for _, id := range target.at(t.tuning.level()) {
				if place, known := p.place[int(id)]; known && (slices.Contains(run, place) || p.gate.Kept(place) || p.rules[place].Side() == gate.Answer) {
					t.tx.RemoveRuleTargetByID(int(id), target.variable, target.name, target.pattern)
				}
			}
		}
	}
}

// exempt is the tenant's exclusions, as the gate asks for them.
type exempt struct {
	removals []*removal
	level    int
}

// Rule reports whether a rule is excluded.
func (s exempt) Rule(id int) bool {
	for _, r := range s.removals {
		for _, ids := range r.ranges {
			if int(ids[0]) <= id && id <= int(ids[1]) {
				return true
			}
		}
	}
	return false
}

// Target reports whether a rule does not look at a variable under a key in lower case.
func (s exempt) Target(id int, v variables.RuleVariable, key string) bool {
	return s.targets(id, func(t *target) bool {
		if t.variable != v {
			return false
		}
		if t.pattern != nil {
			return t.pattern.MatchString(key)
		}
		return t.name == "" || t.name == key
	})
}

// variable reports whether rules do not look at some of a variable.
func (s exempt) variable(v variables.RuleVariable) bool {
	return slices.ContainsFunc(s.removals, func(r *removal) bool {
		return slices.ContainsFunc(r.targets, func(t target) bool { return t.variable == v })
	})
}

// Touches reports whether a rule does not look at all of its targets.
func (s exempt) Touches(id int) bool { return s.targets(id, func(*target) bool { return true }) }

func (s exempt) targets(id int, fits func(*target) bool) bool {
	for _, r := range s.removals {
		for i := range r.targets {
			if t := &r.targets[i]; fits(t) && slices.Contains(t.at(s.level), int32(id)) {
				return true
			}
		}
	}
	return false
}
