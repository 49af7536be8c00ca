package routes

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Problem is one thing wrong with a document or a file. It says where and, as
// far as it can be guessed, what was meant.
type Problem struct {
	File   string `json:"file,omitempty"` // path as given, or the Redis key
	Line   int    `json:"line,omitempty"` // from 1; 0: not known
	Column int    `json:"column,omitempty"`
	Field  string `json:"field,omitempty"` // path within the document: "cache.ttl", "backends[1]"
	Reason string `json:"reason"`
	Guess  string `json:"guess,omitempty"` // what was probably meant
	// Excerpt shows the line and a caret under the column; empty when the
	// position is not known.
	Excerpt string `json:"excerpt,omitempty"`
}

// Error writes the problem on one line:
//
//	FILE:LINE:COL: message (did you mean "ttl"?)
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if p.Field != "" {
		b.WriteString(p.Field)
		b.WriteString(": ")
	}
	b.WriteString(p.Reason)
	if p.Guess != "" {
		fmt.Fprintf(&b, " (did you mean %q?)", p.Guess)
	}
	return b.String()
}

// Problems are all that is wrong with one document, in the order of the text.
type Problems []*Problem

// Error joins the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns nil when there is no problem.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// problemsOf is what NewDecoder's error says.
func problemsOf(file string, err error) Problems {
	if p, ok := errors.AsType[*Problem](err); ok {
		return Problems{p}
	}
	return Problems{{File: file, Reason: err.Error()}}
}

// Excerpt shows line (from 1) of source with a caret under column (from 1,
// counted in runes). Tabs are kept so that the caret stands where it should. Of a long
// line it copies only what is about the column: a document of Redis is one line.
func Excerpt(source []byte, line, column int) string {
	for range line - 1 {
		end := bytes.IndexByte(source, '\n')
		if end < 0 {
			return ""
		}
		source = source[end+1:]
	}
	if end := bytes.IndexByte(source, '\n'); end >= 0 {
		source = source[:end]
	}
	source = bytes.TrimRight(source, "\r")
	const widest = 160
	before, after := "", ""
	if column > widest {
		skip := column - 1 - widest/2
		source = source[runesEnd(source, skip):]
		before, column = "…", column-skip+1
	}
	if end := runesEnd(source, widest); end < len(source) {
		source, after = source[:end], "…"
	}
	text := before + string(source) + after
	var pad strings.Builder
	for i, r := range []rune(text) {
		if i >= column-1 {
			break
		}
		if r != '\t' {
			r = ' '
		}
		pad.WriteRune(r)
	}
	number := strconv.Itoa(line)
	return fmt.Sprintf("%s | %s\n%s | %s^", number, text, strings.Repeat(" ", len(number)), pad.String())
}

// runesEnd returns where the first n runes of text end, in bytes; that is its end if it has no more.
func runesEnd(text []byte, n int) int {
	end := 0
	for ; n > 0 && end < len(text); n-- {
		_, size := utf8.DecodeRune(text[end:])
		end += size
	}
	return end
}

// Nearest returns the candidate that word was probably meant to be: the one at
// the smallest edit distance, if that is at most half of the word and at most 3.
func Nearest(word string, candidates []string) string {
	if len(word) > longestWord {
		return "" // nobody meant one of ours, and the distance takes as long as the word is
	}
	best, bestDistance := "", max(1, min(3, len(word)/2))+1
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(word), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// longestWord is more than any name or value of a document has.
const longestWord = 64

// editDistance is the number of insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment).
func editDistance(a, b string) int {
	before, previous, current := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}
