package gate

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// asciiSpaces is what isspace of C takes for one.
const asciiSpaces = " \t\n\v\f\r"

var (
	spaceSet = bytesOf(asciiSpaces)
	noSpace  = bytesBetween(0, utf8.RuneSelf-1).without(spaceSet) // of ASCII
)

func trim(s string) string      { return strings.Trim(s, asciiSpaces) }
func trimLeft(s string) string  { return strings.TrimLeft(s, asciiSpaces) }
func trimRight(s string) string { return strings.TrimRight(s, asciiSpaces) }

func removeNulls(s string) string  { return strings.ReplaceAll(s, "\x00", "") }
func replaceNulls(s string) string { return strings.ReplaceAll(s, "\x00", " ") }

// removeWhitespace is its namesake, of all that Unicode calls a space. A byte that is not UTF-8 becomes U+FFFD on
// the way, also where there is no space.
func removeWhitespace(s string) string {
	var b strings.Builder
	kept := 0
	for i := 0; i < len(s); {
		i += leading(s[i:], &noSpace, len(s))
		if i == len(s) {
			break
		}
		r, width := utf8.DecodeRuneInString(s[i:])
		space, broken := unicode.IsSpace(r), r == utf8.RuneError && width == 1
		if space || broken {
			grow(&b, len(s))
			b.WriteString(s[kept:i])
			kept = i + width
		}
		if broken {
			b.WriteRune(r)
		}
		i += width
	}
	return rewritten(&b, s, kept)
}

// noSpaceIn: removeWhitespace sees no change unless it has removed a space.
func noSpaceIn(before, _ string) bool { return !strings.ContainsFunc(before, unicode.IsSpace) }

// compressWhitespace is its namesake: what is space, however much of it, becomes one space.
func compressWhitespace(s string) string {
	var b strings.Builder
	kept := 0
	for i := 0; i < len(s); {
		i += leading(s[i:], &noSpace, len(s))
		if i+1 < len(s) && s[i] == ' ' && noSpace.has(s[i+1]) { // as between most words
			i += 2
			continue
		}
		space, width := latinSpace(s[i:])
		if !space {
			i += width
			continue
		}
		end := i
		for space && end < len(s) {
			end += width
			space, width = latinSpace(s[end:])
		}
		if s[i:end] != " " {
			grow(&b, len(s))
			b.WriteString(s[kept:i])
			b.WriteByte(' ')
			kept = end
		}
		i = end
	}
	return rewritten(&b, s, kept)
}

// latinSpace says whether a text begins with a space of Latin-1, and how long its first character is. A lone
// byte A0 is one too, a lone 85 is not.
func latinSpace(s string) (space bool, width int) {
	if s == "" {
		return false, 0
	}
	if s[0] < utf8.RuneSelf {
		return spaceSet.has(s[0]), 1
	}
	r, width := utf8.DecodeRuneInString(s)
	return r == 0x85 || r == 0xa0 || s[0] == 0xa0, width
}
