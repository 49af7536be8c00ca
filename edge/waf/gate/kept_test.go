package gate

import (
	"slices"
	"testing"

	"github.com/corazawaf/coraza/v3/types/variables"
)

func TestWhichRulesAreKept(t *testing.T) {
	one := func(id int, a Act) Rule { return silent(newRule(id, acts(contains("a", anyArg), a))) }
	plain := func(id int) Rule { return newRule(id, contains("a", anyArg)) }
	cookie := func(id int) Rule { return newRule(id, contains("a", Target{Variable: variables.RequestCookies})) }
	writes := silent(newRule(8, sets(contains("a", anyArg), "v", "1")))
	late := newRule(9, contains("a", Target{Variable: variables.ResponseBody}), over(0, inTX("v")))
	late.Phase = 4
	early, answering := plain(7), cookie(6)
	early.Phase, answering.Phase = 1, 4
	follows := silent(newRule(5, sets(over(0, inTX("v")), "w", "1")))
	lessens := Act{Kind: Lessens, Target: variables.RequestCookies}
	loud := func(links ...Link) Rule { return newRule(1, links...) }
	for name, c := range map[string]struct {
		rules []Rule
		kept  []int
		pulls map[int][]int
	}{
		"none":                  {[]Rule{plain(1), plain(2)}, nil, nil},
		"who follows others":    {[]Rule{follows, plain(2)}, []int{0}, nil},
		"what answers read":     {[]Rule{writes, plain(2), late}, []int{0}, nil},
		"who takes away":        {[]Rule{one(1, Act{Kind: Lessens}), plain(2)}, []int{0}, nil},
		"and by what":           {[]Rule{writes, silent(newRule(1, acts(over(0, inTX("v")), Act{Kind: Lessens}))), plain(2)}, []int{0, 1}, nil},
		"who widens":            {[]Rule{one(1, Act{Kind: Widens}), plain(2)}, []int{0}, nil},
		"a section":             {[]Rule{firstOf(1, 2, 2, "A"), plain(2), marker("A")}, nil, nil},
		"a section around one":  {[]Rule{firstOf(1, 2, 2, "A"), firstOf(2, 3, 2, "B"), one(3, Act{Kind: Lessens}), marker("B"), marker("A")}, []int{0, 1, 2}, nil},
		"who skips to a marker": {[]Rule{plain(4), one(1, Act{Kind: Skips, To: "A"}), plain(2), early, marker("A"), plain(3)}, nil, map[int][]int{2: {1}}},
		"past the end":          {[]Rule{marker("A"), one(1, Act{Kind: Skips, To: "A"}), plain(2)}, []int{1}, nil},
		"over one that is kept": {[]Rule{one(1, Act{Kind: Skips, To: "A"}), follows, marker("A")}, []int{0, 1}, nil},
		"who skips some": {
			[]Rule{one(1, Act{Kind: Skips, Skip: 1}), plain(2), early, plain(3), marker("A"), plain(4)},
			nil,
			map[int][]int{0: {1, 3}, 1: {0}, 3: {0}},
		},
		"one over another":              {[]Rule{one(1, Act{Kind: Skips, To: "A"}), one(2, Act{Kind: Skips, To: "A"}), plain(3), marker("A")}, nil, map[int][]int{1: {0}, 2: {0, 1}}},
		"who takes a target":            {[]Rule{one(1, lessens), plain(2), cookie(3)}, nil, map[int][]int{2: {0}}},
		"by what another writes":        {[]Rule{writes, silent(newRule(1, acts(over(0, inTX("v"), anyArg), lessens))), cookie(3)}, nil, map[int][]int{1: {0}, 2: {1}}},
		"from rules for answers":        {[]Rule{one(1, lessens), answering}, []int{0}, nil},
		"one that shows":                {[]Rule{loud(acts(contains("a", anyArg), Act{Kind: Lessens})), plain(2)}, nil, nil},
		"one that shows and skips some": {[]Rule{loud(acts(contains("a", anyArg), Act{Kind: Skips, Skip: 1})), plain(2)}, nil, map[int][]int{0: {1}}},
		"at the end of a chain":         {[]Rule{loud(contains("a", anyArg), acts(contains("b", anyArg), Act{Kind: Lessens})), plain(2)}, nil, nil},
		"not at its end":                {[]Rule{loud(acts(contains("a", anyArg), Act{Kind: Lessens}), contains("b", anyArg)), plain(2)}, []int{0}, nil},
		"not at its end, from some":     {[]Rule{loud(acts(contains("a", anyArg), lessens), contains("b", anyArg)), cookie(2)}, nil, map[int][]int{1: {0}}},
	} {
		g := newGate(t, c.rules...)
		for i := range c.rules {
			if want := slices.Contains(c.kept, i); g.Kept(i) != want {
				t.Errorf("%s: rule %d kept: %t", name, i, g.Kept(i))
			}
			if !slices.Equal(g.pulls[i], c.pulls[i]) {
				t.Errorf("%s: with rule %d run %v, want %v", name, i, g.pulls[i], c.pulls[i])
			}
		}
	}
}

// What must run with a rule that can match is found with it, and with what that brings, as far as it is reached.
func TestWhatMustRunBesideIsFound(t *testing.T) {
	lessens := silent(newRule(3, acts(contains("x", anyArg), Act{Kind: Lessens, Target: variables.RequestCookies})))
	g := newGate(t,
		silent(newRule(1, acts(contains("x", anyArg), Act{Kind: Skips, To: "A"}))),
		lessens,
		marker("A"),
		newRule(2, contains("a", Target{Variable: variables.RequestCookies})),
		newRule(5, contains("a", anyArg)),
		firstOf(6, 2, 2, "B"), silent(newRule(7, acts(contains("x", anyArg), Act{Kind: Skips, To: "C"}))), marker("B"),
		newRule(8, contains("c", anyArg)), marker("C"),
	)
	for _, c := range []struct {
		in            message
		level         int
		rules, beside []int
	}{
		{args([2]string{"x", "a"}), 4, []int{4}, nil},
		{message{variables.RequestCookies: {{"x", "a"}}}, 4, []int{3}, []int{1, 0}},
		{args([2]string{"x", "c"}), 1, []int{8}, nil},
		{args([2]string{"x", "c"}), 2, []int{8}, []int{6}},
	} {
		if got := g.Inspect(Request, c.in, g.Tenant(c.level, nil), nil, 0); !slices.Equal(got.Rules, c.rules) || !slices.Equal(got.Helpers, c.beside) {
			t.Errorf("%v at level %d: %+v, want %v with %v", c.in, c.level, got, c.rules, c.beside)
		}
	}
}

// Rules that read what others write run with these, however far back.
func TestHelpersAreAllThatWrite(t *testing.T) {
	capture := silent(newRule(5, contains("c", anyArg)))
	capture.Links[0].Captures = true
	g := newGate(t,
		silent(newRule(1, sets(contains("a", anyArg), "one", "1"))),
		silent(newRule(2, sets(over(0, inTX("one")), "two", "%{tx.one}"))), // follows, and is kept
		newRule(3, contains("b", anyArg), over(0, inTX("two"))),
		newRule(4, contains("b", anyArg), contains("x", inTX("1"))),
		capture,
	)
	got := g.Inspect(Request, args([2]string{"x", "ab"}), g.Tenant(1, nil), nil, 0)
	slices.Sort(got.Helpers)
	if !slices.Equal(got.Rules, []int{2, 3}) || !slices.Equal(got.Helpers, []int{0, 4}) || !g.Kept(1) {
		t.Errorf("%+v, kept %t", got, g.Kept(1))
	}
}
