package gate

import (
	"slices"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// A group is a condition of a rule: one of its alternatives must hold. A rule can match if all its groups are
// satisfied.
type group struct {
	rule   int
	always bool // it may hold, as far as the gate knows
	counts []int
}

// A judged rule is one that the gate decides about.
type judged struct {
	rule   int
	level  int // from which it runs
	groups []int
	wide   bool  // where it matches, others may see more than the gate has seen
	needs  []int // the rules whose variables it reads, and those whose they read
}

// A planner turns rules into conditions.
type planner struct {
	rules  []Rule
	levels []int
	book   *book

	judged []judged
	groups []group
	checks []check
	counts []count
	fixed  []fixed
	chains chainList
}

// add takes a rule apart.
func (p *planner) add(rule int) {
	r := &p.rules[rule]
	j := judged{rule: rule, level: p.levels[rule], wide: r.does(Widens), needs: p.helpers(rule)}
	current := []int(nil) // the checks of the link before, to which a dependent link belongs
	for k := range r.Links {
		l := &r.Links[k]
		if k > 0 && p.dependent(rule, k) {
			if d, ok := p.dependentOf(rule, k); ok {
				for _, c := range current {
					p.checks[c].after = append(p.checks[c].after, d)
					p.checks[c].tenanted = p.checks[c].tenanted || hasMacro(l.Argument, d.value)
				}
			} else {
				current = nil // what follows may depend on this link
			}
			continue
		}
		g := len(p.groups)
		p.groups = append(p.groups, group{rule: rule})
		j.groups = append(j.groups, g)
		current = p.link(g, rule, l, r.Phase)
	}
	p.judged = append(p.judged, j)
}

// link adds the alternatives of one link to a group, and returns those that are checks of values. If there
// are others, links that depend on this one cannot be told to depend on a value: it returns none.
func (p *planner) link(g, rule int, l *Link, phase int) (checks []int) {
	if l.Operator == nil || p.unknownArgument(l) {
		p.groups[g].always = true
		return nil
	}
	values, others := false, false
	for _, t := range l.Targets {
		switch {
		case t.isTX():
			p.variable(g, rule, l, t)
			others = true
		case !t.known(phase, l.Negated):
			p.groups[g].always = true
			others = true
		case t.Count:
			p.count(g, rule, l, t)
			others = true
		default:
			values = true
		}
	}
	if !values {
		return nil
	}
	c := p.check(g, rule, l)
	if others {
		return nil
	}
	return []int{c}
}

// check adds a check of values.
func (p *planner) check(g, rule int, l *Link) int {
	p.checks = append(p.checks, check{rule: rule, group: g, link: l, chain: p.chains.of(l), tenanted: hasMacro(l.Argument)})
	return len(p.checks) - 1
}

// count adds the number of values of a target.
func (p *planner) count(g, rule int, l *Link, t Target) {
	if t.Pattern != nil || len(t.Except) > 0 || p.lessened(t.Variable) {
		p.groups[g].always = true
		return
	}
	t.Key = strings.ToLower(t.Key)
	c := count{group: g, rule: rule, link: l, chain: chainOf(l), target: t}
	for n := range c.known {
		c.known[n] = !hasMacro(l.Argument) && l.meets(c.chain, strconv.Itoa(n), &state{})
	}
	p.counts = append(p.counts, c)
	p.groups[g].counts = append(p.groups[g].counts, len(p.counts)-1)
}

// lessened reports whether some rule takes targets of a variable away while a request is inspected: then there may
// be fewer values than the gate counts.
func (p *planner) lessened(v variables.RuleVariable) bool {
	for i := range p.rules {
		for k := range p.rules[i].Links {
			if slices.ContainsFunc(p.rules[i].Links[k].Acts, func(a Act) bool { return a.Target == v }) {
				return true
			}
		}
	}
	return false
}

// variable adds a target among the variables that rules set: its value is the one that the tenant's
// settings give it, or one that another rule's link writes when it matches.
func (p *planner) variable(g, rule int, l *Link, t Target) {
	p.fixed = append(p.fixed, fixed{group: g, link: l, chain: chainOf(l), target: t})
	if t.Count && t.Key == "" || t.readsGroups() || parsed(t) {
		p.groups[g].always = true
		return
	}
	for _, w := range p.book.of(t) {
		from := &p.rules[w.rule]
		if p.book.follows(from) {
			if w.open || !p.book.settled(w.name) {
				p.groups[g].always = true
			}
			continue // its value is in the tenant's settings
		}
		p.written(g, w, l, t)
	}
}

// written adds what a writer gives a variable.
func (p *planner) written(g int, w writer, l *Link, t Target) {
	from := &p.rules[w.rule]
	source := &from.Links[w.link]
	if p.dependent(w.rule, w.link) || source.Operator == nil || p.unknownArgument(source) {
		p.groups[g].always = true
		return
	}
	for _, target := range source.Targets {
		if target.isTX() || target.Count || !target.known(from.Phase, source.Negated) {
			p.groups[g].always = true
			return
		}
	}
	number := p.check(g, w.rule, source)
	c := &p.checks[number]
	if w.open && p.nameable(w.set.Key, source) {
		c.name = newNamed(w.set.Key, source, t, p.above(w, l, t))
		c.tenanted = c.tenanted || hasMacro(w.set.Key)
	}
	if t.Count || !p.expandable(w.set, source) {
		return // met when the writer is
	}
	c.after = []dependent{{link: l, chain: chainOf(l), value: w.set.Value}}
	c.tenanted = c.tenanted || hasMacro(l.Argument, w.set.Value)
}

// nameable reports whether a name that a link gives a variable is known once the link matches a value under a key.
func (p *planner) nameable(key string, l *Link) bool {
	return p.expandable(Set{Key: key, Value: strings.ReplaceAll(strings.ToLower(key), "%{matched_var_name}", "x")}, l)
}

// above returns how many matches of one name a link that compares a counter lets pass; 0: the writer does not count, or
// somebody else does, too.
func (p *planner) above(w writer, l *Link, t Target) int {
	n, err := strconv.Atoi(l.Argument)
	if err != nil || p.rules[w.rule].Links[w.link].MultiMatch || l.Name != "gt" || l.Negated || l.MultiMatch || len(l.Transforms) > 0 || t.Count || w.set.Value != "+1" {
		return 0
	}
	for _, other := range p.book.of(t) {
		if other != w {
			return 0
		}
	}
	return max(n, 0)
}

// expandable reports whether the value that a set gives is known once its link matches.
func (p *planner) expandable(s Set, l *Link) bool {
	if s.Value == "" || strings.HasPrefix(s.Value, "+") || strings.HasPrefix(s.Value, "-") || s.Removes {
		return false
	}
	for _, m := range macros(s.Value) {
		name, tx := strings.CutPrefix(m, "tx.")
		switch {
		case m == "matched_var":
		case tx && isCapture(name) && l.Captures && !l.Negated && l.Name == "rx":
		case tx && p.book.settled(name):
		default:
			return false
		}
	}
	return true
}

// unknownArgument reports whether an operator's argument means something that is not known when a value is
// looked at.
func (p *planner) unknownArgument(l *Link) bool {
	for _, m := range macros(l.Argument) {
		name, tx := strings.CutPrefix(m, "tx.")
		if !tx || !p.book.settled(name) {
			return true
		}
	}
	return false
}

// dependent reports whether a link looks at what links before it matched, and at nothing else.
func (p *planner) dependent(rule, k int) bool {
	for _, t := range p.rules[rule].Links[k].Targets {
		switch {
		case t.Variable == variables.MatchedVar, t.Variable == variables.MatchedVars:
		case t.Variable == variables.MatchedVarName, t.Variable == variables.MatchedVarsNames:
		case t.isTX() && isCapture(t.Key):
		case t.isTX() && p.ownOnly(rule, k, t):
		default:
			return false
		}
	}
	return k > 0 && len(p.rules[rule].Links[k].Targets) > 0
}

// ownOnly reports whether a variable is written by the link before and nobody else.
func (p *planner) ownOnly(rule, k int, t Target) bool {
	writers := p.book.of(t)
	return len(writers) > 0 && !slices.ContainsFunc(writers, func(w writer) bool { return w.rule != rule || w.link != k-1 })
}

// dependentOf returns a dependent link in the form that a check has it; not ok: what it looks at is not known
// then, so that it may be met.
func (p *planner) dependentOf(rule, k int) (d dependent, ok bool) {
	l, before := &p.rules[rule].Links[k], &p.rules[rule].Links[k-1]
	if len(l.Targets) != 1 || l.Targets[0].Count || l.Operator == nil || len(l.Targets[0].Except) > 0 {
		return d, false
	}
	for _, m := range macros(l.Argument) {
		name, tx := strings.CutPrefix(m, "tx.")
		if !tx || !p.book.settled(name) && !(isCapture(name) && groupsOf(before)) {
			return d, false
		}
	}
	d = dependent{link: l, chain: chainOf(l), capture: matched}
	t := l.Targets[0]
	switch {
	case !t.isTX() && len(l.Transforms) > 0:
		return d, false // the engine may show the link what became of the value that another rule matched
	case t.Variable == variables.MatchedVars && hasMacro(l.Argument):
		return d, false // groups are those of the last value, beside all of them
	case t.Variable == variables.MatchedVar, t.Variable == variables.MatchedVars && k == 1:
		return d, true
	case t.isTX() && isCapture(t.Key):
		d.capture, _ = strconv.Atoi(t.Key)
		return d, groupsOf(before)
	case t.isTX():
		writers := p.book.of(t)
		d.value = writers[0].set.Value
		return d, len(writers) == 1 && p.expandable(writers[0].set, before)
	}
	return d, false
}

// groupsOf reports whether a link leaves the groups of its pattern behind.
func groupsOf(l *Link) bool { return l.Captures && !l.Negated && l.Name == "rx" }
