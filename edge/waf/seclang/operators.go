package seclang

import (
	"net/netip"
	"regexp/syntax"
	"strconv"
	"strings"
)

// An operator is what a rule does with a value.
type operator struct {
	text  string // for the engine, between the double quotes
	steps int    // per byte
}

// operator reads "@rx pattern", "!@within a b" or "pattern".
func (s *scanner) operator(raw string, at int) (operator, *Problem) {
	not, name, argument := splitOperator(raw)
	kind, known := operatorKinds[strings.ToLower(name)]
	if !known {
		p := s.problem(at, "the operator @%s is not taken%s", name, orTable(operatorReasons[strings.ToLower(name)]))
		p.Guess = nearest(name, operatorNames())
		return operator{}, p
	}
	out := operator{steps: kind.steps + len(argument)/16}
	if oddBackslashes(argument) {
		return out, s.problem(at, `a \ at the end of an operator has nothing to escape`)
	}
	// A double quote is escaped for the engine's reader, which takes the backslash away again.
	plain := strings.ReplaceAll(argument, `\"`, `"`)
	var p *Problem
	switch kind.argument {
	case argumentNone:
		if argument != "" {
			p = s.problem(at, "@%s takes no argument", kind.name)
		}
	case argumentPattern:
		out.steps, p = s.pattern(plain, at)
	case argumentWords:
		argument, p = s.wordList(argument, at)
	case argumentText:
		p = s.comparand(plain, kind.name, at)
	case argumentNumber:
		p = s.number(plain, kind.name, at)
	case argumentAddresses:
		p = s.addresses(plain, at)
	case argumentBytes:
		p = s.byteRanges(plain, at)
	}
	out.steps = max(out.steps, minSteps)
	out.text = strings.TrimSpace(not + "@" + kind.name + " " + argument)
	return out, p
}

// minSteps is what the engine itself takes for each value, in steps of a regular expression per byte
// of a short one.
const minSteps = 32

// splitOperator takes an operator apart as the engine does: without a name it is @rx.
func splitOperator(raw string) (not, name, argument string) {
	if rest, negated := strings.CutPrefix(raw, "!"); negated {
		not, raw = "!", rest
	}
	rest, named := strings.CutPrefix(raw, "@")
	if !named {
		return not, "rx", strings.TrimSpace(raw)
	}
	name, argument, _ = strings.Cut(rest, " ")
	return not, strings.TrimSpace(name), strings.TrimSpace(argument)
}

// pattern checks the regular expression of @rx and returns what one byte costs.
func (s *scanner) pattern(pattern string, at int) (int, *Problem) {
	if pattern == "" {
		return 0, s.problem(at, "@rx without a regular expression matches everything: use SecAction for that")
	}
	for i := 0; i+2 < len(pattern); i++ {
		// The engine would take such an expression for one of bytes and compile it with another library.
		if pattern[i] == '\\' && pattern[i+1] == 'x' && (pattern[i+2] == '{' || pattern[i+2] >= '8') {
			return 0, s.problem(at, `in a regular expression \x takes two digits up to 7f; write other characters as they are`)
		}
	}
	return s.program(pattern, syntax.Perl|syntax.DotNL, at)
}

// wordList checks the words of @pm. Two spaces in a row would list the empty word, which is everywhere.
func (s *scanner) wordList(list string, at int) (string, *Problem) {
	words := strings.Fields(list)
	if len(words) == 0 {
		return "", s.problem(at, "@pm lists words, such as @pm union select")
	}
	list = strings.Join(words, " ")
	if s.reader.words += len(list); s.reader.words > MaxWords {
		return "", s.problem(at, "the words of all @pm have more than %d bytes together", MaxWords)
	}
	return list, nil
}

// comparand checks the argument of an operator that compares with a text. A %{variable} in it stands
// alone, so that none is put together for each value, and not in @within, whose cost would be that of
// the text for each value.
func (s *scanner) comparand(text, name string, at int) *Problem {
	if text == "" {
		return s.problem(at, "@%s needs something to compare with", name)
	}
	if !strings.Contains(text, "%{") {
		return nil
	}
	inside, whole := wholeMacro(text)
	if !whole || name == "within" {
		return s.problem(at, "%%{…} stands alone, as in \"@streq %%{REQUEST_HEADERS.host}\", and not in @within")
	}
	return s.macro(inside, at)
}

// macro checks what stands in %{…}: a variable, with a key after a dot.
func (s *scanner) macro(text string, at int) *Problem {
	name, key, keyed := strings.Cut(text, ".")
	upper := strings.ToUpper(name)
	kind, known := variableKinds[upper]
	switch {
	case !known || kind == xmlVariable:
		p := s.problem(at, "the variable %s is not taken in %%{…}%s", shown(name), because(variableReasons[upper]))
		p.Guess = nearest(upper, variableNames)
		return p
	case keyed != (kind == collection):
		return s.problem(at, "%%{%s}: a collection has a key after a dot, as in %%{TX.1}, a single value has none", text)
	case keyed && (key == "" || strings.Trim(key, keyBytes) != "" || strings.ContainsAny(key, "$@")):
		return s.problem(at, "%%{%s}: bad key", text)
	}
	return nil
}

func (s *scanner) number(text, name string, at int) *Problem {
	if inside, ok := wholeMacro(text); ok {
		return s.macro(inside, at)
	}
	if _, err := strconv.Atoi(text); err != nil {
		return s.problem(at, "@%s compares with a whole number, not with %s", name, shown(text))
	}
	return nil
}

// wholeMacro returns what stands between %{ and }, if the text is nothing else.
func wholeMacro(text string) (inside string, ok bool) {
	inside, ok = strings.CutPrefix(text, "%{")
	inside, closed := strings.CutSuffix(inside, "}")
	return inside, ok && closed && !strings.ContainsAny(inside, "%{}")
}

// addresses checks a list for @ipMatch; the engine passes over what it cannot read.
func (s *scanner) addresses(list string, at int) *Problem {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		_, errPrefix := netip.ParsePrefix(item)
		address, errAddress := netip.ParseAddr(item)
		if errPrefix != nil && (errAddress != nil || address.Zone() != "") {
			return s.problem(at, "@ipMatch lists addresses and networks, such as 192.0.2.7,10.0.0.0/8; %s is none", shown(item))
		}
	}
	return nil
}

// byteRanges checks the argument of @validateByteRange.
func (s *scanner) byteRanges(list string, at int) *Problem {
	for item := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(item), "-")
		from, err := strconv.ParseUint(first, 10, 8)
		to := from
		if isRange && err == nil {
			to, err = strconv.ParseUint(last, 10, 8)
		}
		if err != nil || to < from {
			return s.problem(at, "@validateByteRange lists bytes, such as 10,13,32-126; %s is none", shown(item))
		}
	}
	return nil
}
