package gate

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// A Gate is made of the rules of one compiled rule set, and never changes but for what it remembers of values. It
// is safe for concurrent use.
type Gate struct {
	rules    []Rule
	book     *book
	sides    [2]*side
	kept     []bool  // by rule: it always runs where the engine does
	pulls    [][]int // by rule: those that must run where it does, see keeper
	first    []bool  // by rule: it only gives variables their first values
	sections []int   // the ids of the rules that do nothing but skip those of higher paranoia levels, and that tenants may exclude
	tallies  []tally
	writers  []int // the ids of the rules that follow from settings and write or skip, and that tenants may exclude
	cache    *cache
	tenants  atomic.Uint32 // how many settings there were
}

// Options say how a gate is made.
type Options struct {
	// Native are the ids of rules that whoever reads requests for the gate has run himself.
	Native []int
	// Fixed, if not nil, reports whether no tenant can exclude a rule.
	Fixed func(id int) bool
	// Data reads a file of words that an operator names.
	Data func(name string) ([]byte, error)
	// Step, if not nil, is called often while the gate is made, which takes some 0.4 s: it may wait, to leave processors to others. An error of
	// it ends the making, and is that of New.
	Step func() error
	// Cache is about how many bytes may be used to remember values; 0: none are remembered.
	Cache int
}

// New makes the gate of rules, which must be all of a rule set in their order, and stay as they are. It fails if some rule
// is beyond it altogether.
func New(rules []Rule, opts Options) (*Gate, error) {
	for i := range rules {
		for k := range rules[i].Links {
			l := &rules[i].Links[k]
			if l.Name == "restpath" { // it adds arguments
				return nil, fmt.Errorf("rule %d changes the arguments of a request", rules[i].ID)
			}
			if l.readsMatches(k == 0) {
				return nil, fmt.Errorf("rule %d looks at what other rules have matched", rules[i].ID)
			}
			if slices.ContainsFunc(l.Acts, func(a Act) bool { return a.Target == variables.TX }) {
				return nil, fmt.Errorf("rule %d takes variables that rules set away from others", rules[i].ID)
			}
		}
	}
	native := map[int]bool{}
	for _, id := range opts.Native {
		native[id] = true
	}
	b := newBook(rules)
	g := &Gate{rules: rules, book: b, cache: newCache(opts.Cache)}
	from, sections := levels(rules, b.settled(levelName))
	for i := range rules {
		if r := &rules[i]; !r.Shows() && r.Widens() {
			if name, by := b.unsettledFor(r); name != "" {
				return nil, fmt.Errorf("rule %d decides how a body is read by the variable tx.%s%s", r.ID, name, by)
			}
		}
	}
	step := opts.Step
	if step == nil {
		step = func() error { return nil }
	}
	for s := range g.sides {
		p := planner{rules: rules, levels: from, book: b}
		for i := range rules {
			if r := &rules[i]; r.ID != 0 && !native[r.ID] && (r.Phase+1)/2 == s+1 && b.judges(r) {
				p.add(i)
			}
		}
		var err error
		if len(p.checks) > math.MaxUint16 {
			return nil, fmt.Errorf("the rules have more than %d conditions", math.MaxUint16)
		}
		if g.sides[s], err = newSide(p, opts.Data, step); err != nil {
			return nil, err
		}
	}
	g.kept, g.pulls = keep(g.sides, b, sections, native)
	for i, is := range sections {
		if is && (opts.Fixed == nil || !opts.Fixed(rules[i].ID)) {
			g.sections = append(g.sections, rules[i].ID)
		}
	}
	g.tallies = tallies(rules, sections)
	for i := range rules {
		if r := &rules[i]; r.ID != 0 && b.follows(r) && !sections[i] && r.changes() && (opts.Fixed == nil || !opts.Fixed(r.ID)) {
			g.writers = append(g.writers, r.ID)
		}
	}
	g.first = first(b, native)
	return g, nil
}

// readsMatches reports whether a link looks at what was matched before its rule began: all rules would have to run.
func (l *Link) readsMatches(first bool) bool {
	if slices.ContainsFunc(l.Targets, func(t Target) bool {
		return t.Variable == variables.HighestSeverity || first && matchedVariables[t.Variable]
	}) {
		return true
	}
	if slices.ContainsFunc(l.Sets, func(s Set) bool { return slices.Contains(macros(s.Key+s.Value), "highest_severity") }) {
		return true
	}
	return slices.ContainsFunc(macros(l.Argument), func(m string) bool {
		return m == "highest_severity" || first && strings.HasPrefix(m, "matched_var")
	})
}

var matchedVariables = map[variables.RuleVariable]bool{
	variables.MatchedVar: true, variables.MatchedVarName: true, variables.MatchedVars: true, variables.MatchedVarsNames: true,
}

// Void reports whether the gate's word is void for a tenant: he has excluded a rule that gives variables the values that are taken
// as settled, or rules of higher paranoia levels than his would run, as he has excluded one that skips these, or so much that
// another skip passes over one.
func (g *Gate) Void(s Spared) bool {
	return slices.ContainsFunc(g.sections, s.Rule) || slices.ContainsFunc(g.writers, s.Rule) || slices.ContainsFunc(g.tallies, func(t tally) bool {
		left := t.skip
		for _, id := range t.before {
			if !s.Rule(id) {
				left--
			}
		}
		return left > 0
	})
}
