package gate

import (
	"slices"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// first returns the rules that only give variables their first values, whatever is asked: the silent ones, before all that
// the gate decides about, that do nothing else and depend on nothing but other such variables. No rule before them that is
// not one of them may skip them, or see what they write.
func first(b *book, native map[int]bool) []bool {
	out := make([]bool, len(b.rules))
	var seen []Target // by rules before that are not among these
	for i := range b.rules {
		r := &b.rules[i]
		switch {
		case r.ID != 0 && b.judges(r) && !r.pure() && !native[r.ID]:
			return out
		case r.ID == 0 || r.Phase != 1:
			continue
		case b.follows(r) && !b.readsUnsure(r) && r.onlySets() && !b.writesSeen(i, seen):
			out[i] = true
			continue
		case r.does(Skips), r.does(Lessens):
			return out
		}
		for k := range r.Links {
			seen = append(seen, r.Links[k].variables()...)
		}
	}
	return out
}

// onlySets reports whether all that a rule does is to set variables of fixed names.
func (r *Rule) onlySets() bool {
	return !slices.ContainsFunc(r.Links, func(l Link) bool {
		return l.Captures || len(l.Acts) > 0 || slices.ContainsFunc(l.Sets, func(s Set) bool { return s.Removes || hasMacro(s.Key) })
	})
}

// writesSeen reports whether a rule writes a variable that is one of the targets.
func (b *book) writesSeen(rule int, seen []Target) bool {
	return slices.ContainsFunc(b.writers, func(w writer) bool { return w.rule == rule && slices.ContainsFunc(seen, w.mayBe) })
}

// variables returns the variables that rules set of which a link makes use.
func (l *Link) variables() (out []Target) {
	for _, t := range l.Targets {
		if t.isTX() {
			out = append(out, t)
		}
	}
	text := func(text string) {
		for _, m := range macros(text) {
			if name, tx := strings.CutPrefix(m, "tx."); tx {
				out = append(out, Target{Variable: variables.TX, Key: name})
			}
		}
	}
	text(l.Argument)
	for _, s := range l.Sets {
		text(s.Key)
		text(s.Value)
	}
	return out
}

// First reports whether the rule at a place in the list only gives variables their first values. It need not run where
// they have these already.
func (g *Gate) First(i int) bool { return g.first[i] }

// idle returns the rules of which a tenant's settings alone say that they cannot match, and that so need not run, nor are counted: those
// with a link that looks at nothing but variables that have their first values whatever is asked, and is not met by these.
func (g *Gate) idle(t *Tenant) []bool {
	out := make([]bool, len(g.rules))
	counted := allCounted(g.rules)
	for i := range g.rules {
		if g.kept[i] && !g.first[i] && !counted[i] {
			out[i] = g.cannot(&g.rules[i], t)
		}
	}
	return out
}

// cannot reports whether a rule cannot match with a tenant's settings, nor do anything before that shows.
func (g *Gate) cannot(r *Rule, t *Tenant) bool {
	for i := range r.Links {
		l := &r.Links[i]
		if l.Operator != nil && g.constant(l) && !slices.ContainsFunc(l.Targets, func(target Target) bool {
			return (&fixed{link: l, chain: chainOf(l), target: target}).holds(t)
		}) {
			return true
		}
		if l.Captures || len(l.Sets) > 0 || slices.ContainsFunc(l.Acts, func(a Act) bool { return a.Kind != Skips && a.Kind != Refuses }) {
			return false // this much may be done, whatever the links behind say
		}
	}
	return false
}

// constant reports whether all that the condition of a link depends on are variables with their first values.
func (g *Gate) constant(l *Link) bool {
	if len(l.Targets) == 0 || slices.ContainsFunc(l.Targets, func(t Target) bool { return !t.isTX() }) ||
		slices.ContainsFunc(macros(l.Argument), func(m string) bool { return !strings.HasPrefix(m, "tx.") }) {
		return false
	}
	return !slices.ContainsFunc((&Link{Targets: l.Targets, Argument: l.Argument}).variables(), func(t Target) bool {
		return t.Key == "" || t.Pattern != nil || g.book.doubts(t.Key) ||
			slices.ContainsFunc(g.book.of(t), func(w writer) bool { return !g.first[w.rule] })
	})
}

// Idle reports whether the rule at a place in the list cannot match with the settings, whatever is asked. It need not run.
func (t *Tenant) Idle(i int) bool { return t.idle[i] }
