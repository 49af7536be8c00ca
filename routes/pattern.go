package routes

import (
	"fmt"
	"regexp/syntax"
	"strings"
)

// The bounds of regular expressions in targets, in instructions when their repetitions are written
// out. Each is compared with every name in a variable, for every rule that loses the target, and
// takes some 200 bytes an instruction. Names of parameters need little.
const (
	MaxPattern  = 200    // of one
	maxPatterns = 20_000 // of all that differ in one document
)

// targetPattern returns the regular expression of a target such as ARGS:/^a/, if it is one.
func targetPattern(target string) (pattern string, ok bool) {
	_, key, _ := strings.Cut(target, ":")
	if len(key) < 2 || key[0] != '/' || key[len(key)-1] != '/' {
		return "", false
	}
	return key[1 : len(key)-1], true
}

// checkPattern returns what is wrong with a target's regular expression; "" if nothing is.
func checkPattern(pattern string) string {
	if pattern == "" {
		return "an empty regular expression fits every name: leave it out to mean all of it"
	}
	size, err := PatternSize(pattern)
	if err != nil {
		return "bad regular expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	}
	if size > MaxPattern {
		return fmt.Sprintf("the regular expression is too large: %d instructions when its repetitions are written out, at most %d; write * or + for {1,99}, or [a-z] for a class such as \\pL", size, MaxPattern)
	}
	return ""
}

// PatternSize returns how many instructions a target's regular expression becomes at most, from its
// tree: compiled, ((a{100}){9}){9} would take a megabyte. The error is that of a malformed one.
func PatternSize(pattern string) (int, error) {
	if _, err := syntax.Parse(pattern, syntax.Perl); err != nil {
		return 0, err //nolint:wrapcheck // it says all
	}
	tree, err := syntax.Parse("(?i:"+pattern+")", syntax.Perl) // as names are compared
	if err != nil {
		return 0, err //nolint:wrapcheck // it says all
	}
	return TreeSize(tree) + 2, nil
}

// TreeSize estimates how many instructions a regular expression becomes, without compiling it; a class of
// many ranges counts for the memory that it takes. It stops counting at a million.
func TreeSize(re *syntax.Regexp) int {
	const enough = 1 << 20
	size := 0
	for _, sub := range re.Sub {
		if size += TreeSize(sub); size >= enough {
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
