package gate

import (
	"cmp"
	"math"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	minWord   = 2 // of a shorter word the bytes say as much
	maxClass  = 4 // how many characters of a class are told apart
	maxCopies = 8 // how many repetitions
	longWord  = 8 // of a longer word so many bytes in a row are looked for
)

// spelling is what is known of how the matches of a part of a pattern are spelled, in lower case.
//
// Two words may only be joined where nothing can stand between them in any match. So a part is either exact,
// or has an inside that is not known and, before and behind it, beginnings and endings that are.
type spelling struct {
	exact []string // every match is one of these; nil: not exact
	// If not exact, every match begins with one of begin and ends with one of end. An empty word
	// among them says that nothing is known.
	begin, end []string
	within     [][]string // every match has a word of each of these lists
}

// anything is the spelling of what is not known.
func anything() spelling { return spelling{begin: []string{""}, end: []string{""}} }

func exactly(words ...string) spelling {
	slices.Sort(words)
	return spelling{exact: slices.Compact(words)}
}

// lists returns the lists of which every match has a word each.
func (s spelling) lists() [][]string {
	if s.exact != nil {
		return appendList(nil, s.exact)
	}
	return s.within
}

// first and last are what every match begins and ends with.
func (s spelling) first() []string {
	if s.exact != nil {
		return s.exact
	}
	return s.begin
}

func (s spelling) last() []string {
	if s.exact != nil {
		return s.exact
	}
	return s.end
}

// neededWords returns how the matches of a part of a pattern are spelled.
func neededWords(part *syntax.Regexp) spelling {
	switch part.Op {
	case syntax.OpLiteral:
		if !slices.ContainsFunc(part.Rune, func(r rune) bool { return r >= utf8.RuneSelf }) {
			return exactly(foldASCII(string(part.Rune)))
		}
		var runes []spelling
		for _, r := range part.Rune {
			runes = append(runes, spellingOfRunes(foldsOf(r, part.Flags)))
		}
		return inSequence(runes)
	case syntax.OpCharClass:
		return spellingOfRunes(part.Rune)
	case syntax.OpCapture:
		return neededWords(part.Sub[0])
	case syntax.OpConcat:
		return inSequence(neededOfAll(part.Sub))
	case syntax.OpAlternate:
		return oneOf(neededOfAll(part.Sub))
	case syntax.OpQuest:
		if sub := neededWords(part.Sub[0]); sub.exact != nil && len(sub.exact) < maxWords {
			return exactly(append(slices.Clone(sub.exact), "")...)
		}
	case syntax.OpPlus:
		return repeated(neededWords(part.Sub[0]), 1, -1)
	case syntax.OpRepeat:
		if part.Min > 0 {
			return repeated(neededWords(part.Sub[0]), part.Min, part.Max)
		}
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return exactly("")
	}
	return anything()
}

func neededOfAll(parts []*syntax.Regexp) []spelling {
	var out []spelling
	for _, p := range parts {
		out = append(out, neededWords(p))
	}
	return out
}

// spellingOfRunes is that of one character of the ranges. Where the bytes of a character are not known (see
// [bytesOfRunes]), or there are too many, it is anything.
func spellingOfRunes(ranges []rune) spelling {
	var out []string
	for i := 0; i < len(ranges); i += 2 {
		lo, hi := ranges[i], ranges[i+1]
		if hi-lo >= 2*maxClass || lo <= utf8.RuneError && utf8.RuneError <= hi {
			return anything()
		}
		for r := lo; r <= hi; r++ {
			switch {
			case isUnfoldable(r):
			case r >= utf8.RuneSelf && r <= 0xff, !utf8.ValidRune(r):
				return anything()
			default:
				out = append(out, foldASCII(string(r)))
			}
		}
	}
	s := exactly(out...)
	if len(s.exact) == 0 || len(s.exact) > maxClass {
		return anything()
	}
	return s
}

// inSequence is the spelling of parts that follow one another.
func inSequence(parts []spelling) spelling {
	out := spelling{}
	run := []string{""} // how what lies behind the last unknown is spelled
	cut := func(before, after []string) {
		if out.begin == nil {
			out.begin = before
		}
		out.within = appendList(out.within, before)
		run = after
	}
	for _, p := range parts {
		joint, ok := joined(run, p.first())
		switch {
		case p.exact != nil && ok:
			run = joint
		case p.exact != nil:
			cut(run, p.exact)
		default:
			if !ok {
				joint = run
			}
			cut(joint, p.end)
			out.within = append(out.within, p.within...)
		}
	}
	if out.begin == nil {
		return spelling{exact: run}
	}
	out.within = bestLists(appendList(out.within, run), maxPartLists)
	out.end = run
	return out
}

// joined returns each of a followed by each of b, unless they are too many.
func joined(a, b []string) (out []string, ok bool) {
	if len(a)*len(b) > maxWords {
		return nil, false
	}
	for _, x := range a {
		for _, y := range b {
			out = append(out, x+y)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), true
}

// repeated is the spelling of at least least copies of a part, at most most, which is -1 if there is no end.
func repeated(part spelling, least, most int) spelling {
	copies := min(least, maxCopies)
	s := inSequence(slices.Repeat([]spelling{part}, copies))
	if s.exact == nil || copies == least && least == most {
		return s
	}
	return spelling{begin: s.exact, end: s.exact, within: s.lists()}
}

// oneOf is the spelling of a part that is one of several.
func oneOf(parts []spelling) spelling {
	var begin, end []string
	exact := true
	for _, p := range parts {
		exact = exact && p.exact != nil
		begin = append(begin, p.first()...)
		end = append(end, p.last()...)
	}
	if b := exactly(begin...); exact && len(b.exact) <= maxWords {
		return b
	}
	out := anything()
	if b := exactly(begin...).exact; len(b) <= maxWords {
		out.begin = b
	}
	if e := exactly(end...).exact; len(e) <= maxWords {
		out.end = e
	}
	out.within = eitherList(parts)
	return out
}

// eitherList returns lists of which a text has a word each if it has those of one of the parts: the rarest
// ones of all together, the second ones together, and so on.
func eitherList(parts []spelling) (out [][]string) {
	longest := 0
	all := make([][][]string, len(parts))
	for i, p := range parts {
		if all[i] = bestLists(p.lists(), maxPartLists); len(all[i]) == 0 {
			return nil
		}
		longest = max(longest, len(all[i]))
	}
	for nth := range longest {
		var joint []string
		for _, lists := range all {
			joint = append(joint, lists[min(nth, len(lists)-1)]...)
		}
		out = appendList(out, joint)
	}
	return bestLists(out, maxPartLists)
}

// appendList adds a list of words to others, if it says anything: without words that hold another one of
// the list, as that one is then there too.
func appendList(lists [][]string, words []string) [][]string {
	words = rarest(words)
	if len(words) == 0 || len(words) > maxWords || slices.ContainsFunc(words, func(w string) bool { return len(w) < minWord }) {
		return lists
	}
	return append(lists, words)
}

// rarest returns the words that have no other one in them, sorted.
func rarest(words []string) []string {
	known := make(map[string]bool, len(words))
	shortest, longest := math.MaxInt, 0
	for _, w := range words {
		known[w] = true
		shortest, longest = min(shortest, len(w)), max(longest, len(w))
	}
	var out []string
	for w := range known {
		if !holdsOther(w, known, shortest, longest) {
			out = append(out, w)
		}
	}
	slices.Sort(out)
	return out
}

func holdsOther(word string, known map[string]bool, shortest, longest int) bool {
	for length := shortest; length < min(len(word), longest+1); length++ {
		for from := range len(word) - length + 1 {
			if known[word[from:from+length]] {
				return true
			}
		}
	}
	return false
}

// shortened returns the words with the rarest bytes in a row for each that is long. They are as telling, and
// what finds them is small.
func shortened(words []string) []string {
	var out []string
	for _, w := range words {
		best, least := w, math.Inf(1)
		for from := 0; from+longWord <= len(w); from++ {
			part := w[from : from+longWord]
			if weight := float64(weightOfWord(part)); weight < least {
				best, least = part, weight
			}
		}
		out = append(out, best)
	}
	return rarest(out)
}

// bestLists returns at most n of the lists, the rarest ones, without those that follow from others.
func bestLists(lists [][]string, n int) (out [][]string) {
	lists = slices.DeleteFunc(slices.Clone(lists), func(l []string) bool { return weightOfList(l) >= tooCommon })
	slices.SortStableFunc(lists, func(a, b []string) int { return cmp.Compare(weightOfList(a), weightOfList(b)) })
	for _, list := range lists {
		if len(out) == n {
			break
		}
		if !slices.ContainsFunc(out, func(rarer []string) bool { return follows(list, rarer) }) {
			out = append(out, list)
		}
	}
	return out
}

// follows reports whether a text with a word of rarer has one of list: each of the former holds one of the latter.
func follows(list, rarer []string) bool {
	if len(list)*len(rarer) > 1<<12 {
		return false // a condition too many does no harm
	}
	for _, r := range rarer {
		if !slices.ContainsFunc(list, func(w string) bool { return strings.Contains(r, w) }) {
			return false
		}
	}
	return true
}
