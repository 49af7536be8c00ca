package gate

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
)

// A need is what every text has to which an operator says yes: all of its conditions hold. It is
// necessary and hardly ever enough. The zero value asks for nothing: any text may do.
//
// It is true of texts that are not [unfoldable]; of those it says nothing.
type need struct {
	// bytes: of each of these sets the text has at least one byte, the rarest set first.
	bytes []byteSet
	// words: of each of these lists the text has at least one word, whatever the case of its ASCII letters.
	// The words are in lower case.
	words [][]string
}

// Bounds of a need. More conditions rule hardly more texts out, and each costs time or memory.
const (
	maxSets  = 2   // in need.bytes
	maxLists = 4   // in need.words
	maxWords = 256 // in one of them, of a pattern
)

// nothing reports whether the need asks for nothing.
func (n need) nothing() bool { return len(n.bytes)+len(n.words) == 0 }

// holds reports whether a text has all that is needed. It is the plain meaning, for tests;
// a [screen] does it for many needs at once.
func (n need) holds(text string) bool {
	have := bytesOf(text)
	for _, set := range n.bytes {
		if !set.intersects(have) {
			return false
		}
	}
	folded := foldASCII(text)
	for _, list := range n.words {
		if !slices.ContainsFunc(list, func(w string) bool { return strings.Contains(folded, w) }) {
			return false
		}
	}
	return true
}

// needOf returns what every text has that a pattern matches, whether the pattern is compiled by regexp with
// "(?sm)" before it or, for bytes that are no UTF-8, by binaryregexp without. It reads the former: s and m
// only make more texts match. What differs is a character from U+0080 to U+00FF, which to binaryregexp
// is one byte; so it may be either here.
//
// The error is that of the pattern's syntax.
func needOf(pattern string) (need, error) {
	tree, err := syntax.Parse("(?sm)"+pattern, syntax.Perl)
	if err != nil {
		return need{}, fmt.Errorf("parse pattern: %w", err)
	}
	if namesUnfoldable(tree) {
		return need{}, nil
	}
	n := need{bytes: worthwhile(neededBytes(tree))}
	for _, list := range bestLists(neededWords(tree).lists(), maxLists) {
		n.words = append(n.words, shortened(list))
	}
	return n, nil
}

// namesUnfoldable reports whether a pattern means U+212A or U+017F themselves, and not the letter: a need knows them as letters alone.
func namesUnfoldable(part *syntax.Regexp) bool {
	switch part.Op {
	case syntax.OpLiteral:
		return part.Flags&syntax.FoldCase == 0 && slices.ContainsFunc(part.Rune, isUnfoldable)
	case syntax.OpCharClass:
		return narrow(part.Rune, '\u212a') && !(within(part.Rune, 'k') && within(part.Rune, 'K')) ||
			narrow(part.Rune, '\u017f') && !(within(part.Rune, 's') && within(part.Rune, 'S'))
	}
	return slices.ContainsFunc(part.Sub, namesUnfoldable)
}

// within reports whether a character is in ranges.
func within(ranges []rune, r rune) bool {
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i] <= r && r <= ranges[i+1] {
			return true
		}
	}
	return false
}

// narrow reports whether a character is in a range of few, which are told apart.
func narrow(ranges []rune, r rune) bool {
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i] <= r && r <= ranges[i+1] && ranges[i+1]-ranges[i] < 2*maxClass {
			return true
		}
	}
	return false
}

// unfoldable reports whether a text has U+212A (K, the Kelvin sign) or U+017F (ſ): the two characters beyond
// ASCII that are a letter of ASCII, k and s, to a pattern that ignores case. A need knows them as these letters.
func unfoldable(text string) bool {
	return strings.Contains(text, "\u212a") || strings.Contains(text, "\u017f")
}

// foldASCII returns the text with its ASCII letters in lower case, and all else as it is.
func foldASCII(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return 'A' <= r && r <= 'Z' }) < 0 {
		return text
	}
	out := []byte(text)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return string(out)
}
