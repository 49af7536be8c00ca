package seclang

import (
	"fmt"
	"slices"
	"strings"
)

// A rule is one SecRule or SecAction that was understood.
type rule struct {
	line      *line
	variables []string
	test      string // "VARIABLES "OPERATOR"" for the engine; empty: a SecAction
	steps     int    // per byte

	actions
	links []*rule // of a chain, without its head
}

// A reader collects the directives of one text.
type reader struct {
	rules    []*rule // heads of chains, and rules without one
	order    []any   // *rule or string (a marker), as they stand in the text
	ids      map[int]*rule
	markers  map[string]*line
	count    int             // rules, links included
	programs int             // instructions of regular expressions so far
	words    int             // bytes of @pm so far
	steps    int             // per byte, so far
	copies   map[string]bool // by what is transformed and how
	further  int             // copies that no two rules share

	open     *rule // the head of a chain whose next link is awaited
	lost     bool  // a directive was not understood: what follows may belong to it
	problems []*Problem
}

func newReader() *reader {
	return &reader{ids: map[int]*rule{}, markers: map[string]*line{}, copies: map[string]bool{}}
}

func (r *reader) add(p *Problem) { r.problems = append(r.problems, p) }

// directive reads one line.
func (r *reader) directive(l *line) {
	s := &scanner{line: l, reader: r}
	if p := s.directive(); p != nil {
		r.add(p)
		r.open, r.lost = nil, true
	}
}

// take enters a rule that was read.
func (r *reader) take(next *rule) *Problem {
	if r.count++; r.count > MaxRules {
		return next.line.problem(0, "more than %d rules", MaxRules)
	}
	if p := r.spend(next); p != nil {
		return p
	}
	if r.open != nil {
		return r.link(next)
	}
	if next.id == 0 {
		if r.lost {
			r.open = nil
			return nil // a link of the chain that was not understood
		}
		return next.line.problem(0, "a rule needs an id of its own, such as id:%d", r.freeID())
	}
	if before := r.ids[next.id]; before != nil {
		row, _ := before.line.place(0)
		return next.line.problem(next.idAt, "the id %d stands here a second time; the first is in line %d", next.id, row)
	}
	r.lost = false
	r.ids[next.id] = next
	r.rules = append(r.rules, next)
	r.order = append(r.order, next)
	if next.chain {
		r.open = next
	}
	return nil
}

// link adds a rule to the open chain. What a chain does is said by its head.
func (r *reader) link(next *rule) *Problem {
	head := r.open
	for _, a := range next.ofHead {
		return next.line.problem(a.at, "%s stands in the first rule of a chain only", a.name)
	}
	head.links = append(head.links, next)
	if len(head.links) > maxLinks {
		return next.line.problem(0, "a chain of more than %d rules", maxLinks)
	}
	if !next.chain {
		r.open = nil
	}
	return nil
}

// maxLinks bounds a chain, without its head.
const maxLinks = 10

// freeID suggests an id.
func (r *reader) freeID() int {
	id := 1000
	for ; r.ids[id] != nil; id++ {
	}
	return id
}

// mark enters a SecMarker.
func (r *reader) mark(l *line, at int, name string) *Problem {
	if r.open != nil {
		return l.problem(0, "the chain of rule %d is not finished: its next rule is missing", r.open.id)
	}
	if before := r.markers[name]; before != nil {
		row, _ := before.place(0)
		return l.problem(at, "the marker %s stands here a second time; the first is in line %d", name, row)
	}
	if len(r.markers) >= MaxRules {
		return l.problem(0, "more than %d markers", MaxRules)
	}
	r.markers[name] = l
	r.order = append(r.order, name)
	return nil
}

// finish looks at what only shows in the whole.
func (r *reader) finish() {
	if r.open != nil {
		r.add(r.open.line.problem(0, "the chain of rule %d is not finished: its next rule is missing", r.open.id))
	}
	if len(r.problems) > 0 {
		return // a marker or a rule may be in what was not understood
	}
	below := map[string]bool{}
	for _, entry := range slices.Backward(r.order) {
		switch e := entry.(type) {
		case string:
			below[e] = true
		case *rule:
			if e.skipAfter != "" && !below[e.skipAfter] {
				r.add(e.line.problem(e.skipAfterAt, "skipAfter:%s has no SecMarker %s below it: it would skip every rule that follows", e.skipAfter, e.skipAfter))
			}
			for _, ctl := range e.allCtls() {
				if r.ids[ctl.id] == nil {
					r.add(e.line.problem(0, "ctl: there is no rule %d in this text; for a core rule use waf.exclusions", ctl.id))
				}
			}
		}
	}
	slices.SortStableFunc(r.problems, func(a, b *Problem) int { return a.Line - b.Line })
}

// set writes what was read for the engine.
func (r *reader) set() *Set {
	var text strings.Builder
	out := &Set{}
	for _, entry := range r.order {
		switch e := entry.(type) {
		case string:
			fmt.Fprintf(&text, "SecMarker %s\n", e)
		case *rule:
			out.IDs = append(out.IDs, e.id)
			for _, each := range append([]*rule{e}, e.links...) {
				each.write(&text)
				out.Steps += each.steps
				if sequence := strings.Join(each.transformations, "+"); sequence != "" && !slices.Contains(out.Sequences, sequence) {
					out.Sequences = append(out.Sequences, sequence)
				}
			}
		}
	}
	if len(out.IDs) > 0 {
		out.Directives = text.String()
	}
	return out
}

func (e *rule) write(text *strings.Builder) {
	words := e.actions.String()
	switch {
	case e.test == "":
		fmt.Fprintf(text, "SecAction \"%s\"\n", words)
	case words == "":
		fmt.Fprintf(text, "SecRule %s\n", e.test)
	default:
		fmt.Fprintf(text, "SecRule %s \"%s\"\n", e.test, words)
	}
}
