package gate

import (
	"slices"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// A keeper finds the rules that must run beside those that can match.
type keeper struct {
	rules  []Rule
	sides  [2]*side
	book   *book
	native map[int]bool
	kept   []bool // by rule: it runs whenever the engine does
	// with has for a rule those that must run where it does: those that write what it reads, and those that a skip of it counts.
	with [][]int
	// touches has the rules of which it matters to some that a rule skips them or takes their targets away. Where none of them runs,
	// it need not either. A rule that is not in here is kept, or of no effect but as one that can match.
	touches map[int][]int
}

// keep returns which rules run whenever the engine does, and by rule those that must run where it does: all that
// change what it sees, or whether it is reached, among them.
//
// Kept are those that depend on other rules alone, and those that take others away or make them see more. Those for
// requests that write what rules for answers read, or touch one of these, are kept, too: when the engine begins nobody knows which of
// these will run.
func keep(sides [2]*side, b *book, sections []bool, native map[int]bool) (kept []bool, pulls [][]int) {
	n := len(b.rules)
	k := keeper{rules: b.rules, sides: sides, book: b, native: native, kept: make([]bool, n), with: make([][]int, n), touches: map[int][]int{}}
	var always []int
	for i := range k.rules {
		if k.rules[i].ID != 0 && !sections[i] && k.add(i) {
			always = append(always, i)
		}
	}
	for _, j := range sides[Answer].judged {
		always = append(always, slices.DeleteFunc(slices.Clone(j.needs), func(i int) bool { return k.rules[i].Side() == Answer })...)
	}
	for _, i := range always {
		k.keep(i)
	}
	k.spread()
	for i := n - 1; i >= 0; i-- { // those inside of others first
		k.kept[i] = k.kept[i] || sections[i] && k.within(i)
	}
	pulls = k.with
	for i, touched := range k.touches {
		for _, t := range touched {
			pulls[t] = append(pulls[t], i)
		}
	}
	for i := range pulls {
		pulls[i] = slices.DeleteFunc(pulls[i], func(other int) bool { return k.kept[other] })
		slices.Sort(pulls[i])
		pulls[i] = slices.Compact(pulls[i])
	}
	return k.kept, pulls
}

// keep keeps a rule with those that must run where it does.
func (k *keeper) keep(i int) {
	if k.kept[i] {
		return
	}
	k.kept[i] = true
	for _, other := range k.with[i] {
		k.keep(other)
	}
}

// add looks at what a rule does to others. It reports whether the rule is kept whatever runs.
func (k *keeper) add(i int) (always bool) {
	r := &k.rules[i]
	for l := range r.Links {
		for _, a := range r.Links[l].Acts {
			k.with[i] = append(k.with[i], counted(k.rules, i, a.Skip)...)
		}
	}
	follows := k.book.follows(r)
	switch acts := r.does(Skips) || r.does(Lessens) || r.does(Widens); {
	case !acts && !follows:
		return false
	case acts && k.book.judges(r) && !k.native[r.ID] && r.actsAtEnd():
		return false // it can match and is run, or does nothing
	case acts:
		k.with[i] = append(k.with[i], k.sides[Request].helpers(i)...)
	}
	touched, known := k.touched(i)
	if follows || !known {
		return true
	}
	k.touches[i] = touched
	return false
}

// actsAtEnd reports whether all that a rule does to others it does when all of its links are met. Only
// its first link can skip, and does so then.
func (r *Rule) actsAtEnd() bool {
	for i := range r.Links[:len(r.Links)-1] {
		if slices.ContainsFunc(r.Links[i].Acts, func(a Act) bool { return a.Kind != Skips }) {
			return false
		}
	}
	return true
}

// touched returns the rules to which a rule may do something. Not known: it may be any.
func (k *keeper) touched(i int) (out []int, known bool) {
	r := &k.rules[i]
	for l := range r.Links {
		for _, a := range r.Links[l].Acts {
			switch {
			case a.Kind == Lessens && a.Target != variables.Unknown:
				out = append(out, k.looking(a.Target)...)
			case a.Kind == Skips && a.To != "":
				end := markerBehind(k.rules, i, a.To)
				if end < 0 {
					return nil, false // it skips to the end of the last phase
				}
				out = append(out, between(k.rules, i, end)...)
			case a.Kind == Skips:
				out = append(out, counted(k.rules, i, a.Skip)...)
			default:
				return nil, false
			}
		}
	}
	return slices.DeleteFunc(out, func(other int) bool { return other == i }), true
}

// looking returns the rules that look at a variable.
func (k *keeper) looking(v variables.RuleVariable) (out []int) {
	for i := range k.rules {
		if slices.ContainsFunc(k.rules[i].Links, func(l Link) bool {
			return slices.ContainsFunc(l.Targets, func(t Target) bool { return t.Variable == v })
		}) {
			out = append(out, i)
		}
	}
	return out
}

// spread keeps the rules that touch one that is kept, or one for answers.
func (k *keeper) spread() {
	for again := true; again; {
		again = false
		for i, touched := range k.touches {
			if k.kept[i] || slices.ContainsFunc(touched, func(t int) bool { return k.runs(i, t) }) {
				k.keep(i)
				delete(k.touches, i)
				again = true
			}
		}
	}
}

// runs reports whether a rule runs whenever the engine does, or may when another was to be decided about.
func (k *keeper) runs(other, i int) bool {
	return k.kept[i] || k.native[k.rules[i].ID] || k.rules[other].Side() == Request && k.rules[i].Side() == Answer
}

// within reports whether a rule of a section is kept, which only runs where the section's first rule does not skip it.
func (k *keeper) within(i int) bool {
	marker := k.rules[i].Links[0].Acts[0].To
	for at := i + 1; at < len(k.rules) && k.rules[at].Marker != marker; at++ {
		if k.rules[at].Phase == k.rules[i].Phase && k.kept[at] {
			return true
		}
	}
	return false
}

// Kept reports whether the rule at a place in the list always runs where the engine does.
func (g *Gate) Kept(i int) bool { return g.kept[i] }

// Follows reports whether the rule at a place in the list depends on other rules alone. One that ends the inspection
// depends on the tenant's mode, too.
func (g *Gate) Follows(i int) bool {
	r := &g.rules[i]
	return r.ID != 0 && g.book.follows(r) && !r.ends()
}

// pull adds to the rules that can match the others that must run with them.
func (r *run) pull(out *Found) {
	add := func(rules []int) {
		for _, rule := range rules {
			// Of a section that is passed over no rule is reached.
			if r.side.levels[rule] <= r.tenant.level && !slices.Contains(out.Rules, rule) && !slices.Contains(out.Helpers, rule) {
				out.Helpers = append(out.Helpers, rule)
			}
		}
	}
	for _, rule := range out.Rules {
		add(r.gate.pulls[rule])
	}
	for i := 0; i < len(out.Helpers); i++ {
		add(r.gate.pulls[out.Helpers[i]])
	}
}
