package gate

import "iter"

// A chain is the transformations of a rule, in their order. Its zero value has none.
type chain struct {
	steps []transform
	// triggers are those of all its steps. A text that has none of them passes the first step unchanged, hence
	// reaches the second as it was, and so on: no step changes it, whatever bytes one could have made for the next.
	triggers byteSet
	always   bool // a step is: it may change any text
}

// newChain returns the chain of names as a rule has them, in order. Those of a SecDefaultAction come
// first: it is for the caller to put them there. It returns false if a name is not known.
//
// "none" drops what comes before it, if it is written in lower case: in any other spelling Coraza takes it
// for a transformation that changes nothing.
func newChain(names []string) (chain, bool) {
	var c chain
	for _, name := range names {
		if name == "none" {
			c = chain{}
			continue
		}
		t, ok := transformOf(name)
		if !ok {
			return chain{}, false
		}
		if t.name == "none" {
			continue
		}
		c.steps = append(c.steps, t)
		c.triggers = c.triggers.union(t.triggers)
		c.always = c.always || t.always
	}
	return c, true
}

// apply returns what the rule's operator sees of a value: the value itself if nothing changes.
func (c chain) apply(s string) string {
	for i := range c.steps {
		s = c.steps[i].apply(s)
	}
	return s
}

// stages yields what the operator of a rule with multiMatch sees: the value, and after each step that changed it
// what came of it. Coraza may show it one of these twice.
func (c chain) stages(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(s) {
			return
		}
		for i := range c.steps {
			t := &c.steps[i]
			after := t.apply(s)
			if after == s || t.unseen != nil && t.unseen(s, after) {
				continue
			}
			if s = after; !yield(s) {
				return
			}
		}
	}
}
