package seclang

import (
	"regexp/syntax"
	"slices"
	"strings"
)

// maxVariables bounds what one rule looks at: each is a pass over the request.
const maxVariables = 20

// variables reads "ARGS|!ARGS:q|&REQUEST_HEADERS:Host" and returns it for the engine, each once.
func (s *scanner) variables(text string, at int) ([]string, *Problem) {
	var out []string
	positive := false
	for start := 0; ; {
		end := endOfVariable(text, start)
		v, excluded, p := s.variable(text[start:end], at+start)
		if p != nil {
			return nil, p
		}
		positive = positive || !excluded
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
		if len(out) > maxVariables {
			return nil, s.problem(at, "more than %d variables in one rule", maxVariables)
		}
		if end == len(text) {
			break
		}
		start = end + 1
	}
	if !positive {
		return nil, s.problem(at, "every variable is excluded: there is nothing to look at")
	}
	// The engine applies an exclusion to the variables before it.
	slices.SortStableFunc(out, func(a, b string) int { return excludedLast(a) - excludedLast(b) })
	return out, nil
}

func excludedLast(v string) int {
	if v[0] == '!' {
		return 1
	}
	return 0
}

// endOfVariable returns the index of the next | that is not within a regular expression.
func endOfVariable(text string, start int) int {
	bar := strings.IndexByte(text[start:], '|')
	if bar < 0 {
		return len(text)
	}
	open := strings.Index(text[start:], ":/")
	if open < 0 || open > bar || strings.HasPrefix(strings.ToUpper(strings.TrimLeft(text[start:], "!&")), "XML:") {
		return start + bar
	}
	escaped := false
	for i := start + open + 2; i < len(text); i++ {
		switch {
		case escaped:
			escaped = false
		case text[i] == '\\':
			escaped = true
		case text[i] == '/':
			if next := strings.IndexByte(text[i:], '|'); next >= 0 {
				return i + next
			}
			return len(text)
		}
	}
	return len(text)
}

// variable reads one variable with its key.
func (s *scanner) variable(text string, at int) (canonical string, excluded bool, p *Problem) {
	sign := ""
	if text != "" && (text[0] == '!' || text[0] == '&') {
		sign, text = text[:1], text[1:]
	}
	name, key, keyed := strings.Cut(text, ":")
	upper := strings.ToUpper(name)
	kind, known := variableKinds[upper]
	if !known {
		p := s.problem(at, "the variable %s is not taken%s", shown(name), orTable(variableReasons[upper]))
		p.Guess = nearest(upper, variableNames)
		return "", false, p
	}
	if sign == "!" && !keyed {
		return "", false, s.problem(at, "an exclusion names a key, such as !%s:name", upper)
	}
	switch {
	case kind == xmlVariable:
		if key != "/*" && key != "//@*" {
			return "", false, s.problem(at, "of XML, XML:/* (the text) and XML://@* (the attributes) are taken")
		}
	case keyed && kind != collection:
		return "", false, s.problem(at, "%s is a single value and has no keys", upper)
	case keyed:
		if p := s.key(key, at); p != nil {
			return "", false, p
		}
	}
	if keyed {
		upper += ":" + key
	}
	return sign + upper, sign == "!", nil
}

// key checks what follows the colon: a name, or a regular expression between slashes.
func (s *scanner) key(key string, at int) *Problem {
	pattern, isPattern := strings.CutPrefix(key, "/")
	if !isPattern {
		if key == "" || len(key) > 2*maxName || strings.Trim(key, keyBytes) != "" {
			return s.problem(at, "bad key %s: want a name, or a regular expression as in ARGS:/^item_[0-9]+$/", shown(key))
		}
		return nil
	}
	pattern, closed := strings.CutSuffix(pattern, "/")
	switch {
	case !closed || pattern == "" || oddBackslashes(pattern):
		return s.problem(at, "the regular expression of a key stands between slashes, as in ARGS:/^item_[0-9]+$/")
	case strings.ContainsAny(pattern, `"'`+"`"):
		return s.problem(at, "no quotes in the regular expression of a key")
	case strings.ToLower(pattern) != pattern:
		// The engine lowers the whole expression for some variables, and \D then means \d.
		return s.problem(at, `the regular expression of a key is written in small letters, since keys are compared so; for \D, \S and \W write a class such as [^0-9]`)
	}
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '/':
			return s.problem(at, `a slash within the regular expression of a key is written \/`)
		}
	}
	_, p := s.program(pattern, syntax.Perl, at)
	return p
}

// keyBytes are the characters of a key that need no quotes: names of fields and headers, and the
// paths of JSON and forms (json.items.0.name, user[mail]).
const keyBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-[]$@"

func oddBackslashes(s string) bool {
	return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1
}
