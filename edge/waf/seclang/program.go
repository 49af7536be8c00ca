package seclang

import (
	"regexp/syntax"
	"strings"

	"gatehouse/routes"
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
	if size := routes.TreeSize(tree); size > MaxProgram {
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
