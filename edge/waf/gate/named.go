package gate

import (
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// named is what a link calls a variable that it writes, for the rule that reads it.
type named struct {
	text   string // with macros; empty: the name is that of the target
	target Target // of the reader
	// A name may have the name of what matched in it, "ARGS_NAMES:q". Of values that are names themselves it is known
	// with the value; of others, only where the value stands.
	of    variables.RuleVariable // whose values are names; Unknown: there is none
	later bool                   // it is known later
	above int                    // the variable counts matches of one name, and more than these are needed; 0: it does not count
}

// newNamed returns the name that a link gives a variable.
func newNamed(key string, link *Link, t Target, above int) named {
	n := named{text: strings.ToLower(key), target: t, above: above}
	if !strings.Contains(n.text, ofMatched) {
		return n
	}
	n.later = above > 0 || len(link.Targets) != 1 || !namesOnly(link.Targets[0].Variable)
	if !n.later {
		n.of = link.Targets[0].Variable
	}
	return n
}

// ofMatched is the macro of the name of what matched.
const ofMatched = "%{matched_var_name}"

// namesOnly reports whether the values of a variable are the names of other values.
func namesOnly(v variables.RuleVariable) bool {
	switch v {
	case variables.ArgsNames, variables.ArgsGetNames, variables.ArgsPostNames, variables.RequestCookiesNames,
		variables.RequestHeadersNames, variables.ResponseHeadersNames:
		return true
	}
	return false
}

// mayBe reports whether the name that a value leads to is one that the reader looks at, as far as the value tells.
func (n *named) mayBe(value string, s *state) bool {
	if n.text == "" || n.later {
		return true
	}
	text := n.text
	if n.of != variables.Unknown {
		text = strings.ReplaceAll(text, ofMatched, nameUnder(n.of, value))
	}
	return n.read(s.expand(text))
}

// nameUnder is the name of a value as the engine writes it, in lower case.
func nameUnder(v variables.RuleVariable, key string) string {
	return strings.ToLower(v.Name()) + ":" + strings.ToLower(key)
}

// read reports whether a name with its macros replaced is one that the reader looks at.
func (n *named) read(name string) bool {
	name = strings.ToLower(name)
	if n.target.excepts(name) {
		return false
	}
	if n.target.Pattern != nil {
		return n.target.Pattern.MatchString(name)
	}
	return n.target.Key == "" || n.target.Key == name
}

// named reports whether a check holds whose name is known now that it is known where the value stands.
func (r *run) named(n *named, v variables.RuleVariable, key string) bool {
	if !n.later {
		return true
	}
	name := strings.ReplaceAll(n.text, ofMatched, nameUnder(v, key))
	if !strings.Contains(name, "%{") && !n.read(name) {
		return false
	}
	if n.above == 0 {
		return true
	}
	if r.w.tallies == nil {
		r.w.tallies = map[string]int{}
	}
	r.w.tallies[name]++
	return r.w.tallies[name] > n.above
}
