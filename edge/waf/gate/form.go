package gate

import "unsafe"

// A form is a text that transformations made of a value, with the checks of the chains that made it.
type form struct {
	text   string
	checks []uint64
}

// A step is what a transformation made of a text. Many chains have steps in common.
type step struct {
	name    string // of the transformation
	in, out string
}

// maxSteps bounds how many steps are remembered: a chain with multiMatch has as many as it likes.
const maxSteps = 48

// forms works out what the chains of a row's checks make of a value: in most cases nothing, and one text is
// for all.
func (s *side) forms(r *row, text string, level int, w *scratch) {
	w.forget()
	have := bytesOf(text)
	parts := r.levels[level]
	for i := range parts {
		chain := &s.chains.list[parts[i].chain]
		switch {
		case !chain.always && !chain.triggers.intersects(have):
			w.form(text, parts[i].checks)
		case chain.multi:
			w.stages(&chain.chain, text, have, parts[i].checks)
		default:
			w.form(w.apply(&chain.chain, text, have), parts[i].checks)
		}
	}
}

// forget makes room for another value.
func (w *scratch) forget() {
	for i := range w.texts {
		w.spare = append(w.spare, w.texts[i].checks)
	}
	w.texts, w.steps = w.texts[:0], w.steps[:0]
}

// apply is that of a chain, for a text whose bytes are known.
func (w *scratch) apply(c *chain, text string, have byteSet) string {
	for i := range c.steps {
		t := &c.steps[i]
		if !t.always && !t.triggers.intersects(have) {
			continue
		}
		if after := w.step(t, text); len(after) != len(text) || after != text {
			text, have = after, bytesOf(after)
		}
	}
	return text
}

// stages adds checks to each text that an operator with multiMatch sees, see [chain.stages].
func (w *scratch) stages(c *chain, text string, have byteSet, checks []uint64) {
	w.form(text, checks)
	for i := range c.steps {
		t := &c.steps[i]
		if !t.always && !t.triggers.intersects(have) {
			continue
		}
		after := w.step(t, text)
		if after == text || t.unseen != nil && t.unseen(text, after) {
			continue
		}
		text, have = after, bytesOf(after)
		w.form(text, checks)
	}
}

// step applies one transformation, unless another chain has just done so.
func (w *scratch) step(t *transform, text string) string {
	at := unsafe.StringData(text)
	for i := range w.steps {
		if s := &w.steps[i]; unsafe.StringData(s.in) == at && len(s.in) == len(text) && s.name == t.name {
			return s.out
		}
	}
	out := t.apply(text)
	if len(w.steps) < maxSteps && t.name != "" {
		w.steps = append(w.steps, step{t.name, text, out})
	}
	return out
}

// form adds checks to those that look at a text.
func (w *scratch) form(text string, checks []uint64) {
	for i := range w.texts {
		if f := &w.texts[i]; len(f.text) == len(text) && f.text == text {
			orInto(f.checks, checks)
			return
		}
	}
	var own []uint64
	if last := len(w.spare) - 1; last >= 0 {
		own, w.spare = w.spare[last], w.spare[:last]
		clear(own)
	} else {
		own = make([]uint64, len(checks))
	}
	orInto(own, checks)
	w.texts = append(w.texts, form{text, own})
}
