package gate

import (
	"cmp"
	"math"
	"regexp/syntax"
	"slices"
	"unicode"
	"unicode/utf8"
)

// How many conditions are kept for a part of a pattern, of which the whole takes its own.
const (
	maxPartSets  = 10
	maxPartLists = 8
)

// neededBytes returns sets of which every match has a byte each. Its empty result asks for nothing.
func neededBytes(part *syntax.Regexp) []byteSet {
	switch part.Op {
	case syntax.OpLiteral:
		var out []byteSet
		for _, r := range part.Rune {
			out = append(out, bytesOfRunes(foldsOf(r, part.Flags)))
		}
		return bestSets(out, maxPartSets)
	case syntax.OpCharClass:
		return bestSets([]byteSet{bytesOfRunes(part.Rune)}, maxPartSets)
	case syntax.OpCapture, syntax.OpPlus:
		return neededBytes(part.Sub[0])
	case syntax.OpRepeat:
		if part.Min > 0 {
			return neededBytes(part.Sub[0])
		}
	case syntax.OpConcat:
		var out []byteSet
		for _, sub := range part.Sub {
			out = append(out, neededBytes(sub)...)
		}
		return bestSets(out, maxPartSets)
	case syntax.OpAlternate:
		out := neededBytes(part.Sub[0])
		for _, sub := range part.Sub[1:] {
			out = eitherSet(out, neededBytes(sub))
		}
		return out
	}
	return nil // assertions, what may be empty, any character
}

// eitherSet returns what holds of a text of which all of a holds or all of b. Each set is joined with the one
// of the other side with which it stays rarest.
func eitherSet(a, b []byteSet) []byteSet {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	var out []byteSet
	join := func(of, with []byteSet) {
		for _, set := range of {
			best, rarest := byteSet{}, math.Inf(1)
			for _, other := range with {
				// How much other adds.
				if share := shareOfSet(other.without(set)); share < rarest {
					best, rarest = other, share
				}
			}
			out = append(out, set.union(best))
		}
	}
	join(a, b)
	join(b, a)
	return bestSets(out, maxPartSets)
}

// bestSets returns at most n of the sets, the rarest ones, without those that follow from others.
func bestSets(sets []byteSet, n int) []byteSet {
	type weighed struct {
		set   byteSet
		share float64
	}
	all := make([]weighed, 0, len(sets))
	for i, set := range sets {
		if !slices.Contains(sets[:i], set) {
			all = append(all, weighed{set, shareOfSet(set)})
		}
	}
	slices.SortStableFunc(all, func(a, b weighed) int { return cmp.Compare(a.share, b.share) })
	var out []byteSet
	for _, w := range all {
		if len(out) == n || w.share >= nearlyAll {
			break
		}
		// What has a byte of a smaller set has one of this set.
		if !slices.ContainsFunc(out, func(smaller byteSet) bool { return smaller.without(w.set) == byteSet{} }) {
			out = append(out, w.set)
		}
	}
	return out
}

// worthwhile returns what a check asks for of a need's sets: rare ones, or at least one. A letter
// in them may be of either case: few patterns tell the two apart, and so all have fewer sets.
func worthwhile(sets []byteSet) (out []byteSet) {
	for i, set := range sets {
		if i == maxSets || i > 0 && weightOfSet(set) >= tooCommon {
			break
		}
		out = append(out, eitherCase(set))
	}
	return out
}

// eitherCase returns the set with both cases of its letters.
func eitherCase(set byteSet) byteSet {
	const letters = 1<<26 - 1
	both := (set[1]>>('A'&63) | set[1]>>('a'&63)) & letters
	set[1] |= both<<('A'&63) | both<<('a'&63)
	return set
}

// bytesOfRunes returns a byte for each character in the ranges (pairs of first and last): the first one of its
// UTF-8, of which no match can be without. U+FFFD also stands for any byte that is no UTF-8, and a character
// up to U+00FF, to a pattern of bytes, for the byte of that number.
func bytesOfRunes(ranges []rune) (out byteSet) {
	for i := 0; i < len(ranges); i += 2 {
		lo, hi := ranges[i], ranges[i+1]
		if lo <= utf8.RuneError && utf8.RuneError <= hi {
			out = out.union(bytesBetween(0x80, 0xff))
		}
		if lo <= 0xff {
			out = out.union(bytesBetween(byte(lo), byte(min(hi, 0xff))))
		}
		if hi < utf8.RuneSelf || lo == hi && isUnfoldable(lo) {
			continue
		}
		out = out.union(bytesBetween(firstByte(max(lo, utf8.RuneSelf)), firstByte(hi)))
	}
	return out
}

// firstByte is the first byte of a character's UTF-8, which grows with the character. A surrogate,
// which no text has, gets that of its neighbours.
func firstByte(r rune) byte {
	switch {
	case r < 0x800:
		return 0xc0 | byte(r>>6)
	case r < 0x10000:
		return 0xe0 | byte(r>>12)
	}
	return 0xf0 | byte(r>>18)
}

// foldsOf returns, as ranges, the characters that a literal one stands for.
func foldsOf(r rune, flags syntax.Flags) []rune {
	out := []rune{r, r}
	if flags&syntax.FoldCase != 0 {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			out = append(out, f, f)
		}
	}
	return out
}

func isUnfoldable(r rune) bool { return r == '\u212a' || r == '\u017f' }
