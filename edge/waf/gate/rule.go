package gate

import (
	"regexp"
	"slices"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// A Rule is one rule as the engine compiled it, or a marker.
type Rule struct {
	ID     int    // 0 for a marker
	Marker string // its name; empty for a rule
	Phase  int    // 1 to 5; 0 for a marker
	Text   string // of the rule with its chain, as it was written
	Silent bool   // nobody is told when it matches
	// Links are the conditions of a chain, in order, one at least; a marker has none.
	Links []Link
}

// A Link is one condition, and what is done for each value that meets it.
type Link struct {
	Targets  []Target
	Name     string               // of the operator, such as "rx"
	Argument string               // of the operator; it may have macros
	Operator plugintypes.Operator // nil: every link without one is met
	Negated  bool
	// Transforms are the names of the transformations, in order. Apply has the engine's own of each.
	Transforms []string
	Apply      []plugintypes.Transformation
	MultiMatch bool // the operator sees the value after each of them
	Captures   bool
	Sets       []Set // variables that are set for each value that matches
	Acts       []Act // whatever else is done, but what has no effect on rules
}

// A Target is a variable that a link looks at, or a part of one.
type Target struct {
	Variable variables.RuleVariable
	Count    bool           // it looks at how many values there are
	Key      string         // in lower case where the engine does not tell cases apart; empty: all of it, or Pattern
	Pattern  *regexp.Regexp // of keys in lower case
	Except   []Exception    // what of it the link does not look at
}

// An Exception is a key or a pattern of keys in lower case.
type Exception struct {
	Key     string // empty, without a pattern: all
	Pattern *regexp.Regexp
}

// A Set is a setvar action. Key and Value may have macros; a value that begins with "+" or "-" is added.
type Set struct {
	Key, Value string
	Removes    bool
}

// An Act is another action.
type Act struct {
	Kind ActKind
	Skip int    // how many rules are passed over
	To   string // the marker behind which it goes on
	// Takes are the places of rules that do not run any more.
	Takes []int
	// Ends: the rules behind it do not run, those of its phase at least.
	Ends bool
	// Target is the variable that some rules do not look at any more; Unknown: none in particular.
	Target variables.RuleVariable
}

// An ActKind says what an action does to rules.
type ActKind uint8

// The kinds of actions.
const (
	// Refuses ends the transaction: deny, drop, redirect, and what is not known.
	Refuses ActKind = iota
	// Skips goes on behind some rules, or behind a marker.
	Skips
	// Lessens takes rules or targets away, or ends the inspection: ctl:ruleRemoveById, allow and their like.
	Lessens
	// Widens makes rules see what they would not see otherwise, such as another parser of bodies.
	Widens
)

// Shows reports whether a match of the rule is to be seen: in a list of matches, or as a refusal.
func (r *Rule) Shows() bool { return !r.Silent || r.does(Refuses) }

// Widens reports whether the rule makes others see what they would not see otherwise.
func (r *Rule) Widens() bool { return r.does(Widens) }

// Side is the side of a rule's phase.
func (r *Rule) Side() Side {
	if r.Phase < 3 {
		return Request
	}
	return Answer
}

// does reports whether a link of the rule has an action of the kind.
func (r *Rule) does(kind ActKind) bool {
	for i := range r.Links {
		for _, a := range r.Links[i].Acts {
			if a.Kind == kind {
				return true
			}
		}
	}
	return false
}

// changes reports whether the rule sets variables, or does something to other rules.
func (r *Rule) changes() bool {
	return slices.ContainsFunc(r.Links, func(l Link) bool { return len(l.Sets) > 0 || len(l.Acts) > 0 })
}

// ends reports whether the rule ends the inspection.
func (r *Rule) ends() bool {
	return slices.ContainsFunc(r.Links, func(l Link) bool { return slices.ContainsFunc(l.Acts, func(a Act) bool { return a.Ends }) })
}

// pure reports whether the rule looks at nothing but variables that rules set: its outcome depends on other
// rules alone.
func (r *Rule) pure() bool {
	for i := range r.Links {
		for _, t := range r.Links[i].Targets {
			if t.Variable != variables.TX {
				return false
			}
		}
	}
	return true
}
