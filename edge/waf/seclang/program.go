package seclang

import (
	"regexp/syntax"
	"strings"
)

// maxGroups bounds the captures of a regular expression: each costs memory for each instruction.
const maxGroups = 20

// program checks a regular expression as the engine compiles it and returns its size in instructions.
// Go's expressions take time in proportion to the size and to the text, never more, so the size is
// what has to be bounded. It is estimated from the tree first: ((a{1000}){1000}){1000} has 24 characters
// and would fill the memory.
func (s *scanner) program(pattern string, flags syntax.Flags, at int) (int, *Problem) {
	prefix := ""
	if flags&syntax.DotNL != 0 {
		prefix = "(?sm)" // as @rx has it
	}
	tree, err := syntax.Parse(prefix+pattern, syntax.Perl)
	if err != nil {
		return 0, s.problem(at, "bad regular expression: %s", reasonOf(err))
	}
	if tree.MaxCap() > maxGroups {
		return 0, s.problem(at, "a regular expression with more than %d groups: write (?:…) where nothing is captured", maxGroups)
	}
	if size := sizeOf(tree); size > MaxProgram {
		return 0, s.problem(at, "the regular expression is too large: %d instructions when its repetitions are written out, at most %d", size, MaxProgram)
	}
	compiled, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return 0, s.problem(at, "bad regular expression: %s", reasonOf(err))
	}
	size := len(compiled.Inst)
	if s.reader.programs += size; s.reader.programs > MaxPrograms {
		return 0, s.problem(at, "the regular expressions of all rules are too large together: more than %d instructions", MaxPrograms)
	}
	return size, nil
}

// reasonOf shortens an error of regexp/syntax, which repeats the expression with the flags before it.
func reasonOf(err error) string {
	text := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	reason, _, _ := strings.Cut(text, ": `")
	if strings.Contains(text, "invalid or unsupported Perl syntax") {
		reason += " (look-around and back references are not taken)"
	}
	return reason
}

// PatternSize returns how many instructions a regular expression becomes at most, from its tree: it is
// not compiled. The error is that of a malformed one.
func PatternSize(pattern string) (int, error) {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, err //nolint:wrapcheck // it says all
	}
	return sizeOf(tree) + 2, nil // and what every one begins and ends with
}

// sizeOf estimates how many instructions a tree becomes; a class of many ranges counts for the memory
// that it takes. It stops counting at enough.
func sizeOf(re *syntax.Regexp) int {
	const enough = 1 << 20
	size := 0
	for _, sub := range re.Sub {
		if size += sizeOf(sub); size >= enough {
			return enough
		}
	}
	switch re.Op {
	case syntax.OpConcat:
	case syntax.OpAlternate:
		size += len(re.Sub)
	case syntax.OpLiteral:
		size = len(re.Rune)
	case syntax.OpCharClass:
		size = 1 + len(re.Rune)/32
	case syntax.OpCapture:
		size += 2
	case syntax.OpRepeat: // a{2,5} is aaa?a?a?, a{2,} is aaa*
		size = size*max(re.Min, re.Max, 1) + max(re.Max-re.Min, 1)
	default: // *, +, ? and what has no width
		size++
	}
	return min(size, enough)
}
