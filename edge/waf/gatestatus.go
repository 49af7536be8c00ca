package waf

import "fmt"

// A GateStatus says how the gate before the rules in use stands, at one moment.
type GateStatus struct {
	Mode GateMode // as [Options] have it
	// Unfit is why no gate can be made for the rules; empty: one can, or nobody has tried yet.
	Unfit string
	// Made: there is one. Until then all rules run.
	Made bool
	// Missed is a rule that matched although the gate had said that it could not: the gate was switched off for it. 0: there
	// is none. Rules that take the place of these begin anew, and so does another engine.
	Missed int
}

// Active reports whether the gate decides which rules run, or will once the first request has had it made; otherwise all do.
func (s GateStatus) Active() bool { return s.Mode == GateOn && s.Problem() == "" }

// Problem says why the gate does not do what the mode asks for; empty: it does.
func (s GateStatus) Problem() string {
	switch {
	case s.Mode == GateOff:
		return ""
	case s.Missed != 0:
		return fmt.Sprintf("the gate was switched off, since it missed rule %d: all rules run on each request until the rules are replaced or the node is restarted", s.Missed)
	case s.Unfit != "":
		return "the gate cannot be used with these rules, all of them run on each request: " + s.Unfit
	}
	return ""
}

// Gate returns how the gate stands.
func (e *Engine) Gate() GateStatus {
	s := GateStatus{Mode: e.gate}
	if s.Mode == GateOff {
		return s
	}
	made := &e.current.Load().screening
	if why := made.unfit.Load(); why != nil {
		s.Unfit = *why
	}
	p := made.made.Load()
	if s.Made = p != nil; !s.Made {
		return s
	}
	if missed := p.broken.Load(); missed != nil {
		s.Missed = *missed
	}
	return s
}
