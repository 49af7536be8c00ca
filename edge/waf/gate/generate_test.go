package gate

import (
	"math/rand/v2"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// A generator makes texts that a pattern is likely to match.
type generator struct {
	*rand.Rand
	b strings.Builder
}

func (g *generator) text(tree *syntax.Regexp) string {
	g.b.Reset()
	g.walk(tree)
	return g.b.String()
}

func (g *generator) walk(part *syntax.Regexp) {
	if g.b.Len() > 4096 {
		return
	}
	switch part.Op {
	case syntax.OpLiteral:
		for _, r := range part.Rune {
			g.from(foldsOf(r, part.Flags))
		}
	case syntax.OpCharClass:
		g.from(part.Rune)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		g.from([]rune{0, utf8.MaxRune, ' ', '~', 'a', 'z'})
	case syntax.OpConcat:
		for _, sub := range part.Sub {
			g.walk(sub)
		}
	case syntax.OpAlternate:
		g.walk(part.Sub[g.IntN(len(part.Sub))])
	case syntax.OpCapture:
		g.walk(part.Sub[0])
	case syntax.OpStar:
		g.repeat(part.Sub[0], 0, 2)
	case syntax.OpPlus:
		g.repeat(part.Sub[0], 1, 3)
	case syntax.OpQuest:
		g.repeat(part.Sub[0], 0, 1)
	case syntax.OpRepeat:
		most := part.Min + 2
		if part.Max >= 0 {
			most = min(most, part.Max)
		}
		g.repeat(part.Sub[0], part.Min, most)
	}
}

func (g *generator) repeat(part *syntax.Regexp, least, most int) {
	for range least + g.IntN(most-least+1) {
		g.walk(part)
	}
}

// from writes a character of the ranges; for U+FFFD rather a byte that is no UTF-8.
func (g *generator) from(ranges []rune) {
	if len(ranges) == 0 {
		return
	}
	i := g.IntN(len(ranges)/2) * 2
	lo, hi := ranges[i], ranges[i+1]
	if g.IntN(3) > 0 {
		hi = min(hi, lo+0x80) // mostly those near the first
	}
	r := lo + g.Int32N(hi-lo+1)
	if lo <= utf8.RuneError && utf8.RuneError <= ranges[i+1] && g.IntN(4) == 0 {
		g.b.WriteByte(byte(0x80 + g.IntN(0x80)))
		return
	}
	if 0x80 <= r && r <= 0xff && g.IntN(2) == 0 {
		g.b.WriteByte(byte(r)) // as binaryregexp has it
		return
	}
	g.b.WriteRune(r)
}

// vary changes a text so that it may still match.
func (g *generator) vary(text string) string {
	out := []byte(text)
	for i, c := range out {
		if g.IntN(3) == 0 && ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
			out[i] = c ^ 0x20
		}
	}
	for range g.IntN(3) {
		at := g.IntN(len(out) + 1)
		out = append(out[:at:at], append([]byte{byte(0x80 + g.IntN(0x80))}, out[at:]...)...)
	}
	const around = "\n \x00\xff;a1'\"(/é"
	for range g.IntN(3) {
		out = append([]byte{around[g.IntN(len(around))]}, out...)
	}
	for range g.IntN(3) {
		out = append(out, around[g.IntN(len(around))])
	}
	return string(out)
}
