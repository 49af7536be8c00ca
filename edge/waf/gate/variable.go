package gate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// A writer is a setvar action of a rule's link.
type writer struct {
	rule, link int
	set        Set
	// name is the variable's, in lower case, or what it begins with if the rest is only known once a value matches.
	name string
	open bool // it is but the beginning
}

// A book knows who writes which of the variables that rules set (TX).
type book struct {
	rules   []Rule
	writers []writer
	// unsure are the names of those that may change although no rule has matched that shows: by a link of
	// a chain whose others do not hold, or by a silent rule. Their values are not known ahead.
	unsure  map[string]bool
	opening []string // beginnings of unsure names
}

func newBook(rules []Rule) *book {
	b := &book{rules: rules, unsure: map[string]bool{}}
	for i := range rules {
		for k := range rules[i].Links {
			for _, set := range rules[i].Links[k].Sets {
				name, _, open := strings.Cut(strings.ToLower(set.Key), "%{")
				b.writers = append(b.writers, writer{i, k, set, name, open})
			}
		}
	}
	b.unsure["json_request_body"], b.unsure["json_response_body"] = true, true
	b.spread()
	return b
}

// spread marks the unsure names, and those that depend on them through rules that look at nothing else.
func (b *book) spread() {
	for _, w := range b.writers {
		if r := &b.rules[w.rule]; !r.pure() && w.unseen(r) {
			b.doubt(w)
		}
	}
	for again := true; again; {
		again = false
		for _, w := range b.writers {
			r := &b.rules[w.rule]
			if r.pure() && !b.doubts(w.name) && b.readsUnsure(r) && w.unseen(r) {
				b.doubt(w)
				again = true
			}
		}
		for i := range b.rules {
			again = b.hides(i) || again
		}
	}
}

// hides doubts what rules would write that follow others, but that another rule may keep from it, while some that look
// at it still run. It reports whether there is more to doubt. What ends an inspection does so in the blocking mode alone.
func (b *book) hides(rule int) (more bool) {
	r := &b.rules[rule]
	settled := r.pure() && !b.readsUnsure(r)
	for k := range r.Links {
		for i := range r.Links[k].Acts {
			a := &r.Links[k].Acts[i]
			if settled && !a.Ends { // it always does
				continue
			}
			may, does := hidden(b.rules, rule, a)
			gone := make([]bool, len(b.rules))
			for _, at := range does {
				gone[at] = true
			}
			for _, w := range b.writers {
				if slices.Contains(may, w.rule) && b.follows(&b.rules[w.rule]) && !b.doubts(w.name) && b.readBut(&w, gone) {
					b.doubt(w)
					more = true
				}
			}
		}
	}
	return more
}

// readBut reports whether a rule that is not gone makes use of what a writer writes.
func (b *book) readBut(w *writer, gone []bool) bool {
	for i := range b.rules {
		if i != w.rule && !gone[i] && slices.ContainsFunc(b.rules[i].Links, func(l Link) bool { return slices.ContainsFunc(l.variables(), w.mayBe) }) {
			return true
		}
	}
	return false
}

// unseen reports whether a writer of a rule may write although the rule does not match, or nobody sees that it does.
func (w *writer) unseen(r *Rule) bool { return !r.Shows() || w.link < len(r.Links)-1 }

func (b *book) doubt(w writer) {
	if w.open {
		b.opening = append(b.opening, w.name)
	}
	b.unsure[w.name] = true
}

// doubts reports whether a variable may change unseen. The captures of patterns, 0 to 9, always may.
func (b *book) doubts(name string) bool {
	if isCapture(name) || b.unsure[name] {
		return true
	}
	return slices.ContainsFunc(b.opening, func(begin string) bool { return strings.HasPrefix(name, begin) })
}

// settled reports whether a variable has the value that the tenant's settings give it whatever a request brings, other rules that
// match in it included.
func (b *book) settled(name string) bool { return b.settledBut(name, nil) }

// settledBut is settled for a name that those in seen depend on.
func (b *book) settledBut(name string, seen []string) bool {
	if slices.Contains(seen, name) {
		return true // it depends on itself, and on nothing else that could change it
	}
	if b.doubts(name) {
		return false
	}
	for _, w := range b.writers {
		if !w.mayBe(Target{Variable: variables.TX, Key: name}) {
			continue
		}
		if !b.follows(&b.rules[w.rule]) || !b.steady(&b.rules[w.rule], append(seen, name)) {
			return false
		}
	}
	return true
}

// steady reports whether all that a rule which follows others makes use of is settled.
func (b *book) steady(r *Rule, seen []string) bool {
	for k := range r.Links {
		for _, t := range r.Links[k].variables() {
			if t.Key == "" || t.Pattern != nil || !b.settledBut(t.Key, seen) {
				return false
			}
		}
	}
	return true
}

// unsettledFor returns a variable that a rule looks at and that may have another value than the tenant's settings give it, and
// for people by which rule; empty: there is none.
func (b *book) unsettledFor(r *Rule) (name, by string) {
	for i := range r.Links {
		for _, t := range r.Links[i].Targets {
			switch {
			case t.isTX() && (t.Pattern != nil || t.Key == ""):
				return "*", ""
			case t.isTX() && !b.settled(t.Key):
				for _, w := range b.of(t) {
					if from := &b.rules[w.rule]; from != r && (!b.follows(from) || b.readsUnsure(from)) {
						return t.Key, fmt.Sprintf(", which rule %d may set for each request anew", from.ID)
					}
				}
				return t.Key, ""
			}
		}
	}
	return "", ""
}

// readsUnsure reports whether what a pure rule does depends on variables that may change unseen.
func (b *book) readsUnsure(r *Rule) bool {
	for i := range r.Links {
		l := &r.Links[i]
		for _, t := range l.Targets {
			if t.Key == "" || t.Pattern != nil || b.doubts(t.Key) {
				return true
			}
		}
		if b.unsureText(l.Argument) {
			return true
		}
		for _, s := range l.Sets {
			if b.unsureText(s.Key) || b.unsureText(s.Value) {
				return true
			}
		}
	}
	return false
}

// judges reports whether the gate has to decide about a rule: one that shows, unless its outcome follows from the tenant's
// settings as long as no other one matches. What a rule does that ends the inspection depends on his mode, too.
func (b *book) judges(r *Rule) bool {
	return r.Shows() && !(r.pure() && !b.readsUnsure(r) && !r.ends())
}

// follows reports whether a rule depends on other rules alone, and is not judged.
func (b *book) follows(r *Rule) bool { return r.pure() && !b.judges(r) }

// unsureText reports whether a text with macros may mean something else for another request.
func (b *book) unsureText(text string) bool {
	for _, m := range macros(text) {
		name, ok := strings.CutPrefix(m, "tx.")
		if !ok || b.doubts(name) {
			return true
		}
	}
	return false
}

// of returns the writers whose variable a target of TX may mean.
func (b *book) of(t Target) (out []writer) {
	for _, w := range b.writers {
		if w.mayBe(t) {
			out = append(out, w)
		}
	}
	return out
}

// mayBe reports whether a writer's variable may be what a target looks at.
func (w *writer) mayBe(t Target) bool {
	switch {
	case t.Pattern != nil && !w.open:
		return t.Pattern.MatchString(w.name)
	case t.Pattern != nil:
		if text := t.Pattern.String(); strings.HasPrefix(text, "^") && !strings.ContainsAny(text, "|(") {
			begin := literalBegin(text[1:])
			return strings.HasPrefix(begin, w.name) || strings.HasPrefix(w.name, begin)
		}
		return true
	case t.Key == "":
		return true
	case w.open:
		return strings.HasPrefix(t.Key, w.name)
	}
	return t.Key == w.name
}

// literalBegin is the beginning of a pattern that means itself.
func literalBegin(pattern string) string {
	for i := range len(pattern) {
		c := pattern[i]
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			if i > 0 && strings.IndexByte("*?{", c) >= 0 {
				i-- // what comes before may be missing
			}
			return pattern[:i]
		}
	}
	return pattern
}

// parsed reports whether a target may be a variable that the engine sets itself, once it has read a body.
func parsed(t Target) bool {
	for _, name := range []string{"json_request_body", "json_response_body"} {
		if w := (writer{name: name}); w.mayBe(t) {
			return true
		}
	}
	return false
}

// isCapture reports whether a variable's name is that of a group of a pattern.
func isCapture(name string) bool { return len(name) == 1 && '0' <= name[0] && name[0] <= '9' }

// readsGroups reports whether a target among the variables that rules set may be a group of a pattern.
func (t *Target) readsGroups() bool {
	if t.Pattern != nil {
		return strings.ContainsFunc("0123456789", func(r rune) bool { return t.Pattern.MatchString(string(r)) })
	}
	return t.Key == "" || isCapture(t.Key)
}

// isTX reports whether a target is a variable that rules set.
func (t *Target) isTX() bool { return t.Variable == variables.TX }

// hasMacro reports whether one of the texts has a macro.
func hasMacro(texts ...string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "%{") })
}

// macros returns what stands in the macros of a text, in lower case: "tx.0" of "x%{TX.0}".
func macros(text string) (out []string) {
	for {
		_, rest, ok := strings.Cut(text, "%{")
		if !ok {
			return out
		}
		inner, after, _ := strings.Cut(rest, "}")
		out = append(out, strings.ToLower(inner))
		text = after
	}
}
