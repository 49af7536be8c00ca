package seclang

import "fmt"

// The bounds of one text. They are fixed numbers and not times, so that a busy machine refuses nothing
// that an idle one takes.
const (
	// MaxText is the longest text, in bytes.
	MaxText = 64 << 10
	// MaxRules is the largest number of SecRule and SecAction, chained ones included, and that of SecMarker.
	MaxRules = 200
	// MinID is the smallest id of a rule.
	MinID = 1
	// MaxID is the largest one. The core rules and those of the base settings have six digits.
	MaxID = 99999
	// MaxProgram is the largest size of one compiled regular expression, in instructions.
	MaxProgram = 1000
	// MaxPrograms is the same for all regular expressions of a text together.
	MaxPrograms = 10000
	// MaxWords is how many bytes all @pm of a text may list: each takes some 200 bytes of memory.
	MaxWords = 8 << 10

	// MaxSteps is the most work that all rules may cause for one byte of a request, in steps of a regular
	// expression, which take some 10 ns each.
	MaxSteps = 20000
	// MaxCopies is how many times transformations may copy what a request holds: the engine keeps each
	// result until its phase ends.
	MaxCopies = 128

	maxDirective = 8 << 10 // bytes; the engine's own reader loses a line of 64 KiB in silence
	maxProblems  = 20      // reported of one text
)

// A Problem is why a text is refused, and where.
type Problem struct {
	Line, Column int    // from 1; the column counts characters
	Reason       string // lower case, without the place
	Guess        string // what was probably meant; often empty
}

// Error writes "line 3, column 14: reason".
func (p *Problem) Error() string {
	text := fmt.Sprintf("line %d, column %d: %s", p.Line, p.Column, p.Reason)
	if p.Guess != "" {
		text += fmt.Sprintf(" (did you mean %q?)", p.Guess)
	}
	return text
}

// A Set is a text that was understood.
type Set struct {
	// Directives is the text for the engine. Empty: there is no rule in it.
	Directives string
	// IDs are the rules' ids in the order of the text.
	IDs []int
	// Sequences are the different sequences of transformations in it, such as "urlDecode+lowercase".
	Sequences []string
	// Steps is the most work that one byte of a request can cause, in steps of a regular expression.
	Steps int
}

// Read understands a whole text or says what is wrong with it: the first thing in each directive, at
// most 20 in all. Exactly one of the results is not nil.
func Read(text string) (*Set, []*Problem) {
	if p := checkText(text); p != nil {
		return nil, []*Problem{p}
	}
	lines, unfinished := logicalLines(text)
	r := newReader()
	for _, l := range lines {
		r.directive(l)
	}
	if unfinished != nil {
		r.add(unfinished)
	}
	r.finish()
	if len(r.problems) == 0 {
		return r.set(), nil
	}
	return nil, r.problems[:min(len(r.problems), maxProblems)]
}
