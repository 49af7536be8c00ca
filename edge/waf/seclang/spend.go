package seclang

import "strings"

// spend counts what a rule will take of a request's time and memory, and refuses it if that is too much
// together with the rules before.
func (r *reader) spend(next *rule) *Problem {
	if r.steps += next.steps; r.steps > MaxSteps {
		return next.line.problem(0, "the rules are too much work: more than %d steps for each byte of a request (the sizes of their regular expressions, times their variables)", MaxSteps)
	}
	for _, variable := range next.variables {
		r.copy(variable, next)
	}
	if len(r.copies)+r.further > MaxCopies {
		return next.line.problem(0, "the transformations are too many: more than %d copies of what they are applied to; let rules have the same variables and sequences", MaxCopies)
	}
	return nil
}

// copy counts the copies that a rule's transformations make of one variable. Rules share those of the
// same beginning of a sequence; names in a collection share, too, since each has values of its own.
func (r *reader) copy(variable string, next *rule) {
	if variable[0] == '!' || variable[0] == '&' {
		return
	}
	name, key, keyed := strings.Cut(variable, ":")
	if next.multiMatch || name == "TX" || strings.HasPrefix(name, "MATCHED_") { // the engine shares none
		r.further += len(next.transformations)
		return
	}
	if keyed && !strings.HasPrefix(key, "/") {
		variable = name + ":"
	}
	for i := range next.transformations {
		r.copies[variable+" "+strings.Join(next.transformations[:i+1], "+")] = true
	}
}

// growing are the transformations whose result is longer, up to three times. A rule has one of them at
// most: nine in a row would make twenty thousand bytes of one.
var growing = map[string]bool{"hexEncode": true, "urlEncode": true, "base64Encode": true, "utf8toUnicode": true}
