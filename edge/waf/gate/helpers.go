package gate

import (
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// helpers returns the other rules that must run where a rule does, beside those that are kept: those that write what it reads,
// and so on.
func (p *planner) helpers(rule int) (out []int) {
	todo, seen := []int{rule}, map[int]bool{rule: true}
	for len(todo) > 0 {
		from := todo[0]
		todo = todo[1:]
		for _, w := range p.reads(from) {
			follows := p.book.follows(&p.rules[w.rule])
			// What such a rule reads of others that show is known: they can match, and run, or cannot.
			if seen[w.rule] || p.book.follows(&p.rules[from]) && !follows && !w.unseen(&p.rules[w.rule]) {
				continue
			}
			seen[w.rule] = true
			todo = append(todo, w.rule)
			if !follows {
				out = append(out, w.rule)
			}
		}
	}
	return out
}

// reads returns the writers, other than its own, of variables that a rule reads.
func (p *planner) reads(rule int) (out []writer) {
	add := func(t Target) {
		out = append(out, p.book.of(t)...)
	}
	left := false // it reads groups that patterns of other rules may have left
	text := func(text string, from *Link) {
		for _, m := range macros(text) {
			name, tx := strings.CutPrefix(m, "tx.")
			switch {
			case tx && isCapture(name):
				left = left || !leaves(from, name)
			case tx:
				add(Target{Variable: variables.TX, Key: name})
			}
		}
	}
	before := (*Link)(nil)
	for k := range p.rules[rule].Links {
		l := &p.rules[rule].Links[k]
		for _, t := range l.Targets {
			switch {
			case t.isTX() && isCapture(t.Key):
				left = left || !leaves(before, t.Key)
			case t.isTX():
				left = left || t.readsGroups()
				add(t)
			}
		}
		text(l.Argument, before)
		for _, s := range l.Sets {
			text(s.Key, l)
			text(s.Value, l)
		}
		before = l
	}
	if left {
		out = append(out, p.capturers()...)
	}
	return slices.DeleteFunc(out, func(w writer) bool { return w.rule == rule })
}

// leaves reports whether a link that matches leaves a group behind. Nil: there is no link.
func leaves(l *Link, group string) bool {
	if l == nil || !groupsOf(l) {
		return false
	}
	tree, err := syntax.Parse(l.Argument, syntax.Perl)
	return err == nil && group <= strconv.Itoa(tree.MaxCap()) && tree.MaxCap() < 10
}

// capturers returns the links whose patterns leave groups behind.
func (p *planner) capturers() (out []writer) {
	for i := range p.rules {
		for k := range p.rules[i].Links {
			if p.rules[i].Links[k].Captures {
				out = append(out, writer{rule: i, link: k})
			}
		}
	}
	return out
}
