package gate

import (
	"fmt"
	"slices"
	"testing"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// firstOf is the first rule of a section of a paranoia level.
func firstOf(id, level, phase int, marker string) Rule {
	l := Link{Targets: []Target{inTX("detection_paranoia_level")}, Name: "lt", Argument: fmt.Sprint(level), Operator: saying(func(string) bool { return false })}
	return Rule{ID: id, Phase: phase, Silent: true, Links: []Link{acts(l, Act{Kind: Skips, To: marker})}}
}

func marker(name string) Rule { return Rule{Marker: name} }

func TestLevelsAreThoseOfSections(t *testing.T) {
	plain := newRule(1, contains("a", anyArg))
	early := plain
	early.Phase = 1
	loud := firstOf(2, 3, 2, "END")
	loud.Silent = false
	twice := firstOf(2, 3, 2, "END")
	twice.Links = append(twice.Links, contains("a", anyArg))
	setting := firstOf(2, 3, 2, "END")
	setting.Links[0] = sets(setting.Links[0], "x", "1")
	not := firstOf(2, 3, 2, "END")
	not.Links[0].Negated = true
	other := firstOf(2, 3, 2, "END")
	other.Links[0].Targets = []Target{inTX("blocking_paranoia_level")}
	high := firstOf(2, 5, 2, "END")
	for name, c := range map[string]struct {
		rules []Rule
		want  []int
	}{
		"a section":              {[]Rule{plain, firstOf(2, 3, 2, "END"), plain, early, marker("END"), plain}, []int{1, 1, 3, 1, 1, 1}},
		"one in another":         {[]Rule{firstOf(2, 2, 2, "A"), plain, firstOf(3, 4, 2, "B"), plain, marker("B"), plain, marker("A"), plain}, []int{1, 2, 2, 4, 1, 2, 1, 1}},
		"a lower in a higher":    {[]Rule{firstOf(2, 3, 2, "A"), firstOf(3, 2, 2, "B"), plain, marker("B"), marker("A")}, []int{1, 3, 3, 1, 1}},
		"of each phase":          {[]Rule{firstOf(2, 2, 1, "A"), firstOf(3, 3, 2, "A"), early, plain, marker("A")}, []int{1, 1, 2, 3, 1}},
		"without an end":         {[]Rule{firstOf(2, 3, 2, "A"), plain, marker("B")}, []int{1, 1, 1}},
		"with the end before":    {[]Rule{marker("A"), firstOf(2, 3, 2, "A"), plain}, []int{1, 1, 1}},
		"level 0":                {[]Rule{firstOf(2, 0, 2, "A"), plain, marker("A")}, []int{1, 1, 1}},
		"one that shows":         {[]Rule{loud, plain, marker("END")}, []int{1, 1, 1}},
		"a chain":                {[]Rule{twice, plain, marker("END")}, []int{1, 1, 1}},
		"one that sets":          {[]Rule{setting, plain, marker("END")}, []int{1, 1, 1}},
		"the other way round":    {[]Rule{not, plain, marker("END")}, []int{1, 1, 1}},
		"by another variable":    {[]Rule{other, plain, marker("END")}, []int{1, 1, 1}},
		"a level that is no one": {[]Rule{high, plain, marker("END")}, []int{1, 1, 1}},
	} {
		if got, _ := levels(c.rules); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A rule of a level above the tenant's cannot match, nor does it help.
func TestRulesOfHigherLevelsDoNotRun(t *testing.T) {
	writer := silent(newRule(3, sets(contains("w", anyArg), "v", "1")))
	g := newGate(t, firstOf(2, 2, 2, "A"), newRule(1, contains("a", anyArg)), writer, marker("A"), newRule(4, contains("a", anyArg), over(0, inTX("v"), anyArg)))
	in := args([2]string{"x", "a"}, [2]string{"y", "w"}, [2]string{"z", "7"})
	for level, want := range map[int][2][]int{1: {{4}, nil}, 2: {{1, 4}, {2}}} {
		got := g.Inspect(Request, in, g.Tenant(level, nil), nil, 0)
		var ids []int
		for _, at := range got.Rules {
			ids = append(ids, g.rules[at].ID)
		}
		if !slices.Equal(ids, want[0]) || !slices.Equal(got.Helpers, want[1]) {
			t.Errorf("level %d: %v with %v, want %v with %v", level, ids, got.Helpers, want[0], want[1])
		}
	}
}

func TestTheBookKnowsWhoWritesWhat(t *testing.T) {
	half := newRule(2, sets(contains("a", anyArg), "half", "1"), sets(contains("b", anyArg), "whole", "1"))
	open := silent(newRule(3, sets(contains("a", anyArg), "Open_%{matched_var}", "1")))
	pure := silent(newRule(4, sets(over(0, inTX("half")), "follows", "1")))
	settled := silent(newRule(5, sets(over(0, inTX("given")), "set", "1")))
	macro := silent(newRule(6, sets(over(0, inTX("given")), "copied", "%{tx.half}")))
	shown := newRule(7, contains("a", inTX("given")))
	b := newBook([]Rule{half, open, pure, settled, macro, shown})
	for name, want := range map[string][2]bool{ // doubted, settled
		"half": {true, false}, "whole": {false, false}, "open_x": {true, false}, "opened": {false, true}, "follows": {true, false},
		"set": {false, true}, "copied": {true, false}, "given": {false, true}, "0": {true, false}, "9": {true, false}, "10": {false, true},
		"json_request_body": {true, false},
	} {
		if b.doubts(name) != want[0] || b.settled(name) != want[1] {
			t.Errorf("%s: doubted %t, settled %t", name, b.doubts(name), b.settled(name))
		}
	}
	for i, want := range [][2]bool{{true, false}, {false, false}, {false, true}, {false, true}, {false, true}, {false, true}} { // judged, follows
		if r := &b.rules[i]; b.judges(r) != want[0] || b.follows(r) != want[1] {
			t.Errorf("rule %d: judged %t, follows %t", r.ID, b.judges(r), b.follows(r))
		}
	}
}

func TestWhichRulesAreKept(t *testing.T) {
	one := func(id int, a Act) Rule { return silent(newRule(id, acts(contains("a", anyArg), a))) }
	plain := func(id int) Rule { return newRule(id, contains("a", anyArg)) }
	writes := silent(newRule(8, sets(contains("a", anyArg), "v", "1")))
	late := newRule(9, contains("a", Target{Variable: variables.ResponseBody}), over(0, inTX("v")))
	late.Phase = 4
	early := plain(7)
	early.Phase = 1
	for name, c := range map[string]struct {
		rules []Rule
		want  []bool
	}{
		"none":                  {[]Rule{plain(1), plain(2)}, []bool{false, false}},
		"who skips to a marker": {[]Rule{one(1, Act{Kind: Skips, To: "A"}), plain(2), marker("A")}, []bool{true, false, false}},
		"who skips some":        {[]Rule{one(1, Act{Kind: Skips, Skip: 1}), plain(2), early, plain(3), marker("A"), plain(4)}, []bool{true, true, false, true, true, false}},
		"who takes away":        {[]Rule{one(1, Act{Kind: Lessens}), plain(2)}, []bool{true, false}},
		"and by what":           {[]Rule{writes, silent(newRule(1, acts(over(0, inTX("v")), Act{Kind: Lessens}))), plain(2)}, []bool{true, true, false}},
		"who widens":            {[]Rule{one(1, Act{Kind: Widens}), plain(2)}, []bool{true, false}},
		"who follows others":    {[]Rule{silent(newRule(1, sets(over(0, inTX("v")), "w", "1"))), plain(2)}, []bool{true, false}},
		"a section":             {[]Rule{firstOf(1, 2, 2, "A"), plain(2), marker("A")}, []bool{false, false, false}},
		"a section around one":  {[]Rule{firstOf(1, 2, 2, "A"), firstOf(2, 3, 2, "B"), one(3, Act{Kind: Lessens}), marker("B"), marker("A")}, []bool{true, true, true, false, false}},
		"what answers read":     {[]Rule{writes, plain(2), late}, []bool{true, false, false}},
	} {
		g := newGate(t, c.rules...)
		for i, want := range c.want {
			if g.Kept(i) != want {
				t.Errorf("%s: rule %d kept: %t", name, i, g.Kept(i))
			}
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

func TestWhatIsKnownInWhichPhase(t *testing.T) {
	for _, c := range []struct {
		target  Target
		phase   int
		negated bool
		want    bool
	}{
		{anyArg, 2, false, true},
		{anyArg, 1, false, true},
		{anyArg, 1, true, false},
		{Target{Variable: variables.Args, Count: true}, 1, false, false},
		{Target{Variable: variables.ArgsGet}, 1, true, true},
		{Target{Variable: variables.RequestBody}, 1, false, false},
		{Target{Variable: variables.RequestBody}, 2, true, true},
		{Target{Variable: variables.RequestHeaders}, 1, true, true},
		{Target{Variable: variables.ResponseBody}, 4, false, true},
		{Target{Variable: variables.ResponseBody}, 3, false, false},
		{Target{Variable: variables.ResponseContentLength}, 3, false, false},
		{Target{Variable: variables.ResponseHeaders}, 3, true, true},
		{Target{Variable: variables.Duration}, 2, false, false},
		{Target{Variable: variables.HighestSeverity}, 2, false, false},
		{Target{Variable: variables.MatchedVar}, 2, false, false},
	} {
		if got := c.target.known(c.phase, c.negated); got != c.want {
			t.Errorf("%s, count %t, in phase %d, negated %t: %t", c.target.Variable.Name(), c.target.Count, c.phase, c.negated, got)
		}
	}
}
