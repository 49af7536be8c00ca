package gate

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// A Gate is made of the rules of one compiled rule set, and never changes but for what it remembers of values. It
// is safe for concurrent use.
type Gate struct {
	rules    []Rule
	sides    [2]*side
	kept     []bool // by rule: it always runs where the engine does
	first    []bool // by rule: it only gives variables their first values
	sections []int  // see Sections
	cache    *cache
	tenants  atomic.Uint32 // how many settings there were
}

// Options say how a gate is made.
type Options struct {
	// Native are the ids of rules that whoever reads requests for the gate has run himself.
	Native []int
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
		}
	}
	native := map[int]bool{}
	for _, id := range opts.Native {
		native[id] = true
	}
	g := &Gate{rules: rules, cache: newCache(opts.Cache)}
	from, sections := levels(rules)
	b := newBook(rules)
	for i := range rules {
		if r := &rules[i]; r.Silent && r.Widens() && !b.settledFor(r) {
			return nil, fmt.Errorf("rule %d decides how a body is read by what other rules have set", r.ID)
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
		if g.sides[s], err = newSide(p, opts.Data, step); err != nil {
			return nil, err
		}
	}
	g.kept = kept(g.sides, b, sections)
	for i, is := range sections {
		if is {
			g.sections = append(g.sections, rules[i].ID)
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
	return slices.ContainsFunc(macros(l.Argument), func(m string) bool {
		return m == "highest_severity" || first && strings.HasPrefix(m, "matched_var")
	})
}

var matchedVariables = map[variables.RuleVariable]bool{
	variables.MatchedVar: true, variables.MatchedVarName: true, variables.MatchedVars: true, variables.MatchedVarsNames: true,
}

// kept returns which rules run whenever the engine does: those that depend on other rules alone, those that skip others, take
// them away or make them see more, with what writes the variables that these read, and those that are counted by a skip.
// Those for requests that write what rules for answers read run, too: when the engine begins nobody knows which of
// the others will.
func kept(sides [2]*side, b *book, sections []bool) []bool {
	rules := b.rules
	out := make([]bool, len(rules))
	for _, j := range sides[Answer].judged {
		for _, i := range j.needs {
			out[i] = out[i] || rules[i].Side() == Request
		}
	}
	for i := range rules {
		r := &rules[i]
		if r.ID == 0 || sections[i] {
			continue
		}
		acts := r.does(Skips) || r.does(Lessens) || r.does(Widens)
		out[i] = out[i] || b.follows(r) || acts
		if acts {
			for _, helper := range sides[Request].helpers(i) {
				out[helper] = true
			}
		}
		for k := range r.Links {
			for _, a := range r.Links[k].Acts {
				keepNext(rules, i, a.Skip, out)
			}
		}
	}
	for i := len(rules) - 1; i >= 0; i-- { // those inside of others first
		out[i] = out[i] || sections[i] && keptWithin(rules, i, out)
	}
	return out
}

// first returns the rules that only give variables their first values, whatever is asked: the silent ones, before all that
// the gate decides about, that do nothing else and depend on nothing but other such variables.
func first(b *book, native map[int]bool) []bool {
	out := make([]bool, len(b.rules))
	for i := range b.rules {
		r := &b.rules[i]
		switch {
		case r.ID != 0 && b.judges(r) && !r.pure() && !native[r.ID]:
			return out
		case r.ID == 0 || r.Phase != 1 || !b.follows(r) || b.readsUnsure(r):
			continue
		}
		out[i] = true
		for k := range r.Links {
			out[i] = out[i] && len(r.Links[k].Acts) == 0 && !slices.ContainsFunc(r.Links[k].Sets, func(s Set) bool { return s.Removes || hasMacro(s.Key) })
		}
	}
	return out
}

// First reports whether the rule at a place in the list only gives variables their first values. It need not run where
// they have these already.
func (g *Gate) First(i int) bool { return g.first[i] }

// keptWithin reports whether a rule of a section is kept, which only runs where the section's first rule does not skip it.
func keptWithin(rules []Rule, i int, kept []bool) bool {
	marker := rules[i].Links[0].Acts[0].To
	for k := i + 1; k < len(rules) && rules[k].Marker != marker; k++ {
		if rules[k].Phase == rules[i].Phase && kept[k] {
			return true
		}
	}
	return false
}

// keepNext keeps as many rules of the phase as a skip counts, which may be more than the next ones: those that a tenant or another
// rule has taken away do not count. Markers always do.
func keepNext(rules []Rule, i, n int, out []bool) {
	for k := i + 1; k < len(rules) && n > 0; k++ {
		if rules[k].Phase == rules[i].Phase || rules[k].Phase == 0 {
			out[k] = true
			if rules[k].Phase == 0 {
				n--
			}
		}
	}
}

// Sections returns the ids of the rules that do nothing but skip those of higher paranoia levels. Where one of them does
// not run, the gate's word is void. The result is the caller's.
func (g *Gate) Sections() []int { return slices.Clone(g.sections) }

// Kept reports whether the rule at a place in the list always runs where the engine does.
func (g *Gate) Kept(i int) bool { return g.kept[i] }
