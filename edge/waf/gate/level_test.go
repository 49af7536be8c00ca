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
		if got, _ := levels(c.rules, true); !slices.Equal(got, c.want) {
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

// What others can skip into is no section: its rules may run at every level.
func TestWhatIsSkippedIntoIsNoSection(t *testing.T) {
	skips := func(phase int, a Act) Rule {
		r := silent(newRule(1, acts(contains("a", anyArg), a)))
		r.Phase = phase
		return r
	}
	plain := newRule(2, contains("a", anyArg))
	for name, c := range map[string]struct {
		rules []Rule
		at    int
		want  int
	}{
		"into it":               {[]Rule{skips(2, Act{Kind: Skips, To: "M"}), firstOf(2, 3, 2, "A"), plain, marker("M"), plain, marker("A")}, 2, 1},
		"in another phase":      {[]Rule{skips(1, Act{Kind: Skips, To: "M"}), firstOf(2, 3, 2, "A"), plain, marker("M"), plain, marker("A")}, 2, 3},
		"past it":               {[]Rule{skips(2, Act{Kind: Skips, To: "M"}), firstOf(2, 3, 2, "A"), plain, marker("A"), marker("M")}, 2, 3},
		"to its end":            {[]Rule{skips(2, Act{Kind: Skips, To: "A"}), firstOf(2, 3, 2, "A"), plain, marker("A")}, 2, 3},
		"within it":             {[]Rule{firstOf(2, 3, 2, "A"), skips(2, Act{Kind: Skips, To: "M"}), plain, marker("M"), plain, marker("A")}, 2, 3},
		"from the phase before": {[]Rule{firstOf(2, 3, 2, "A"), plain, marker("M"), plain, marker("A"), skips(1, Act{Kind: Skips, To: "M"})}, 1, 1},
		"by number":             {[]Rule{skips(2, Act{Kind: Skips, Skip: 1}), firstOf(2, 3, 2, "A"), plain, marker("A")}, 2, 1},
		"by a number too small": {[]Rule{skips(2, Act{Kind: Skips, Skip: 1}), plain, firstOf(2, 3, 2, "A"), plain, marker("A")}, 3, 3},
	} {
		if got, _ := levels(c.rules, true); got[c.at] != c.want {
			t.Errorf("%s: %v, want %d at %d", name, got, c.want, c.at)
		}
	}
}

// A tenant who excludes what keeps rules of higher levels from running runs them.
func TestWordIsVoidWhereRulesOfHigherLevelsRun(t *testing.T) {
	plain := func(id int) Rule { return newRule(id, contains("a", anyArg)) }
	rules := []Rule{
		silent(newRule(1, acts(contains("a", anyArg), Act{Kind: Skips, Skip: 2}))), plain(2), plain(3), plain(4),
		firstOf(5, 2, 2, "A"), plain(6), marker("A"),
	}
	g := newGate(t, rules...)
	for _, c := range []struct {
		ids  []int
		want bool
	}{{nil, false}, {[]int{2}, false}, {[]int{2, 4}, true}, {[]int{5}, true}, {[]int{1, 6}, false}} {
		if got := g.Void(excluded(c.ids)); got != c.want {
			t.Errorf("without %v: %t", c.ids, got)
		}
	}
	fixed, err := New(rules, Options{Fixed: func(id int) bool { return id == 5 }})
	if err != nil || fixed.Void(excluded{5}) {
		t.Errorf("a rule that nobody can exclude: %v", err)
	}
}

// excluded are rules that are excluded.
type excluded []int

func (w excluded) Rule(id int) bool                              { return slices.Contains(w, id) }
func (excluded) Target(int, variables.RuleVariable, string) bool { return false }
func (excluded) Touches(int) bool                                { return false }
