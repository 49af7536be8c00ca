package gate

// meets reports whether a link's operator says yes to what its transformations make of a value. After a panic of
// the operator's it does.
func (l *Link) meets(c chain, value string, s *state) bool {
	if !l.MultiMatch {
		return l.agrees(c.apply(value), s)
	}
	for text := range c.stages(value) {
		if l.agrees(text, s) {
			return true
		}
	}
	return false
}

// agrees asks the operator about a text.
func (l *Link) agrees(text string, s *state) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = true
		}
	}()
	s.capturing = l.Captures
	return l.Operator.Evaluate(s, text) != l.Negated
}

// met reports whether a text that came of a value meets a check: the operator of its link, and then those of the
// links that depend on it.
func (c *check) met(raw, text string, s *state) bool {
	s.captured = 0
	s.capturing = c.link.Captures && (len(c.after) > 0 || c.name.text != "")
	if !c.link.decides(text, s) {
		return false
	}
	s.matched = text
	if !c.name.mayBe(raw, s) {
		return false
	}
	for i := range c.after {
		d := &c.after[i]
		s.matched = text
		of := text
		switch {
		case d.value != "":
			of = s.expand(d.value)
		case d.capture >= s.captured:
			return true // a group that its pattern does not have: left by some other rule
		case d.capture >= 0:
			of = s.groups[d.capture]
		}
		yes := false
		if of, yes = d.met(of, s); !yes {
			return false
		}
		text = of
	}
	return true
}

// decides asks the operator, with the state as it is.
func (l *Link) decides(text string, s *state) bool {
	return l.Operator.Evaluate(s, text) != l.Negated
}

// met returns the text that made the link say yes.
func (d *dependent) met(value string, s *state) (string, bool) {
	if s.capturing = d.link.Captures; s.capturing {
		s.captured = 0 // what it leaves of groups before is not told apart
	}
	if !d.link.MultiMatch {
		text := d.chain.apply(value)
		return text, d.link.decides(text, s)
	}
	for text := range d.chain.stages(value) {
		if d.link.decides(text, s) {
			return text, true
		}
	}
	return "", false
}

// says is met, where a panic of an operator is a yes.
func (c *check) says(raw, text string, s *state) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = true
		}
	}()
	return c.met(raw, text, s)
}
