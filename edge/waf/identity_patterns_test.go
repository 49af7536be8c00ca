package waf

import (
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"

	"gatehouse/internal/edgetest"
)

// For every pattern of the rules, texts made from the pattern itself: most match, or nearly.
func TestPatternsDecideAsRegexp(t *testing.T) {
	edgetest.Sequential(t)
	random := rand.New(rand.NewPCG(5, 6))
	values := sharedMaterial(t).values
	perPattern := identityRequests(t) / 10
	total, yes := 0, 0
	for _, pattern := range rulePatterns(t, "@owasp_crs/*.conf") {
		if meansBytes(pattern) {
			continue
		}
		made, err := newRx(plugintypes.OperatorOptions{Arguments: pattern})
		if err != nil {
			t.Fatalf("%s: %v", pattern, err)
		}
		op := made.(*rx)
		if op.dfa() == nil {
			t.Errorf("no automaton for %s", pattern)
			continue
		}
		parsed, err := syntax.Parse(op.pattern, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		for i := range perPattern {
			text := ""
			if i%3 == 0 {
				text = values[random.IntN(len(values))]
			} else {
				text = string(matching(random, parsed, nil, 0))
			}
			if i%5 == 0 && len(text) > 0 {
				at := random.IntN(len(text))
				text = text[:at] + string([]byte{byte(random.IntN(256))}) + text[at+1:]
			}
			got, decided := op.dfa().Match(text)
			if want := op.re.MatchString(text); decided && got != want {
				t.Errorf("%s on %q: %v, regexp says %v", pattern, text, got, want)
			} else if want {
				yes++
			}
			total++
		}
	}
	t.Logf("%d texts, %d of them match", total, yes)
	if yes*4 < total {
		t.Errorf("only %d of %d texts match", yes, total)
	}
}

var rxArgument = regexp.MustCompile(`"!?@rx ((?:[^"\\]|\\.)*)"`)

// rulePatterns are the arguments of @rx in rules of some files.
func rulePatterns(t testing.TB, which string) (out []string) {
	t.Helper()
	for _, m := range rxArgument.FindAllStringSubmatch(ruleFiles(t, which), -1) {
		if pattern := strings.ReplaceAll(m[1], `\"`, `"`); !slices.Contains(out, pattern) {
			out = append(out, pattern)
		}
	}
	if len(out) < 20 {
		t.Fatalf("only %d patterns in %s", len(out), which)
	}
	return out
}

// matching makes a text that a pattern matches, but for its assertions.
func matching(random *rand.Rand, re *syntax.Regexp, out []byte, depth int) []byte {
	repeat := func(least, most int) {
		if most < 0 {
			most = least + 3
		}
		for range least + random.IntN(most-least+1) {
			out = matching(random, re.Sub[0], out, depth+1)
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 && random.IntN(2) == 0 {
				r = []rune(strings.ToUpper(string(r)))[0]
			}
			out = utf8.AppendRune(out, r)
		}
	case syntax.OpCharClass:
		if len(re.Rune) > 0 {
			k := 2 * random.IntN(len(re.Rune)/2)
			out = utf8.AppendRune(out, re.Rune[k]+rune(random.IntN(min(int(re.Rune[k+1]-re.Rune[k])+1, 100))))
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		out = append(out, " aZ0'\"<;\xff"[random.IntN(9)])
	case syntax.OpCapture:
		out = matching(random, re.Sub[0], out, depth+1)
	case syntax.OpStar:
		repeat(0, -1)
	case syntax.OpPlus:
		repeat(1, -1)
	case syntax.OpQuest:
		repeat(0, 1)
	case syntax.OpRepeat:
		repeat(re.Min, min(re.Max, re.Min+3))
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			out = matching(random, sub, out, depth+1)
		}
	case syntax.OpAlternate:
		out = matching(random, re.Sub[random.IntN(len(re.Sub))], out, depth+1)
	}
	return out
}
