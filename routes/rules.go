package routes

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/goccy/go-yaml/token"
)

// A RuleProblem is one thing wrong in the text of waf.rules.
type RuleProblem struct {
	Line, Column int // within the text, from 1; the column counts characters
	Reason       string
	Guess        string // what was probably meant; may be empty
}

// A RulesCheck says what is wrong with a text of waf.rules, in the order of the text; nothing: it is
// good. It must be safe for concurrent use and say the same of the same text.
type RulesCheck func(text string) []RuleProblem

// rulesCheck is the one that UseRulesCheck was given.
var rulesCheck atomic.Pointer[RulesCheck]

// UseRulesCheck makes every document that is read from now on be checked by it, wherever it comes from:
// a bad rule is a problem of its document like any other. Documents are read in many places and the
// language of rules is one, so the program that knows both joins them once, when it starts. Without a check
// the text is taken as it is, and whoever compiles it judges it.
func UseRulesCheck(check RulesCheck) { rulesCheck.Store(&check) }

// checkRules returns what is wrong with the text of a field.
func checkRules(field, text string) []finding {
	check := rulesCheck.Load()
	if check == nil || text == "" {
		return nil
	}
	var out []finding
	for _, p := range (*check)(text) {
		out = append(out, finding{
			field: field, guess: p.Guess, line: p.Line, column: p.Column,
			reason: fmt.Sprintf("line %d, column %d: %s", p.Line, p.Column, p.Reason),
		})
	}
	return out
}

// reportWithin reports a finding within a text of several lines at its own line of the file where
// the text stands as it is: in a block that begins with |.
func (d *Decoder) reportWithin(f finding) {
	if d.full() {
		return
	}
	d.Report(f.field, f.reason, f.guess)
	at := d.positions[f.field]
	if at == nil || at.Position == nil || at.Type != token.LiteralType {
		return
	}
	lines := strings.Split(string(d.source), "\n")
	block := lines[min(at.Position.Line, len(lines)):]
	indent := 0
	for _, line := range block { // that of the first line which is not empty is the block's
		if rest := strings.TrimLeft(line, " "); rest != "" {
			indent = len(line) - len(rest)
			break
		}
	}
	p := d.problems[len(d.problems)-1]
	p.Line, p.Column = at.Position.Line+f.line, indent+f.column
	p.Excerpt = Excerpt(d.source, p.Line, p.Column)
}
