package seclang

import (
	"strconv"
	"strings"
)

// A scanner reads one directive.
type scanner struct {
	line   *line
	reader *reader
}

func (s *scanner) problem(at int, format string, args ...any) *Problem {
	return s.line.problem(at, format, args...)
}

func (s *scanner) directive() *Problem {
	text := s.line.text
	name, at := word(text, 0)
	if len(text) > maxDirective {
		return s.problem(0, "a directive of %d bytes; at most %d are read", len(text), maxDirective)
	}
	switch strings.ToLower(name) {
	case "secrule":
		return s.secRule(at)
	case "secaction":
		return s.secAction(at)
	case "secmarker":
		return s.secMarker(at)
	}
	p := s.problem(0, "%s is not taken%s; only SecRule, SecAction and SecMarker are", shown(name), because(directiveReasons[strings.ToLower(name)]))
	p.Guess = nearest(name, []string{"SecRule", "SecAction", "SecMarker"})
	return p
}

// word returns the characters up to the next white space, and where what follows that begins.
func word(text string, at int) (string, int) {
	end := at
	for end < len(text) && text[end] != ' ' && text[end] != '\t' {
		end++
	}
	return text[at:end], skipSpace(text, end)
}

func skipSpace(text string, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\t') {
		at++
	}
	return at
}

func (s *scanner) secRule(at int) *Problem {
	text := s.line.text
	targets, next := word(text, at)
	if targets == "" {
		return s.problem(at, `want SecRule VARIABLES "OPERATOR" "ACTIONS"`)
	}
	variables, p := s.variables(targets, at)
	if p != nil {
		return p
	}
	quotedAt := next
	raw, next, p := s.quoted(next, "the operator")
	if p != nil {
		return p
	}
	op, p := s.operator(raw, quotedAt+1)
	if p != nil {
		return p
	}
	out := &rule{line: s.line, variables: variables, test: strings.Join(variables, "|") + ` "` + op.text + `"`}
	if next < len(text) {
		if out.actions, p = s.actionList(next); p != nil {
			return p
		}
	}
	out.steps = len(variables) * (op.steps + stepsPerTransformation*len(out.transformations))
	return s.reader.take(out)
}

// stepsPerTransformation is what a transformation of one byte costs, in steps of a regular expression.
const stepsPerTransformation = 8

func (s *scanner) secAction(at int) *Problem {
	out := &rule{line: s.line, steps: 1}
	var p *Problem
	if out.actions, p = s.actionList(at); p != nil {
		return p
	}
	if len(out.transformations) > 0 || out.multiMatch || out.capture {
		return s.problem(at, "a SecAction looks at nothing: t, multiMatch and capture do not belong in it")
	}
	return s.reader.take(out)
}

func (s *scanner) secMarker(at int) *Problem {
	name := strings.Trim(s.line.text[at:], `"'`)
	if !isName(name) {
		return s.problem(at, "want a name for the marker, of letters, digits, dot, hyphen and underscore, not %s", shown(name))
	}
	return s.reader.mark(s.line, at, name)
}

// quoted reads a text in double quotes, in which \" does not end it, and returns it as it stands
// between them.
func (s *scanner) quoted(at int, what string) (raw string, next int, p *Problem) {
	text := s.line.text
	if at >= len(text) || text[at] != '"' {
		return "", 0, s.problem(at, "%s has to stand in double quotes", what)
	}
	slashes := 0
	for i := at + 1; i < len(text); i++ {
		switch {
		case text[i] == '\\':
			slashes++
			continue
		case text[i] == '"' && slashes%2 == 0:
			return text[at+1 : i], skipSpace(text, i+1), nil
		}
		slashes = 0
	}
	return "", 0, s.problem(at, `%s has no closing double quote (one within is written \")`, what)
}

// isName reports whether s can stand anywhere without quotes.
func isName(s string) bool {
	for _, c := range []byte(s) {
		if !isNameByte(c) {
			return false
		}
	}
	return s != "" && len(s) <= maxName
}

const maxName = 64

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
}

// shown quotes what a tenant wrote, shortened.
func shown(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strconv.Quote(s)
}
