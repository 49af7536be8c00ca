package waf

import "fmt"

// A GateStatus says how the gate before the rules in use stands, at one moment.
type GateStatus struct {
	Mode GateMode // as [Options] have it
	// Unfit: the rules are of a kind that no gate can be made for. Why, stands in the log ("waf gate not in use").
	Unfit bool
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
	case s.Unfit:
		return `the gate cannot be used with these rules (a node's log says why, "waf gate not in use"): all of them run on each request`
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
	p := made.made.Load()
	if s.Unfit = made.unfit.Load(); p == nil {
		return s
	}
	if missed := p.broken.Load(); missed != nil {
		s.Missed = *missed
	}
	return s
}
