package gate

import (
	"testing"

	"github.com/corazawaf/coraza/v3/types/variables"
)

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

// What a rule writes that follows from settings is doubted where another rule may keep it from running, and a third one looks at it.
func TestWhatMayNotBeWrittenIsDoubted(t *testing.T) {
	does := func(a Act) Rule { return silent(newRule(1, acts(contains("a", anyArg), a))) }
	writes := silent(newRule(2, sets(over(0, inTX("given")), "v", "1")))
	reads := newRule(3, over(0, inTX("v")))
	later := reads
	later.Phase = 4
	loud := does(Act{Kind: Skips, To: "A"})
	loud.Silent = false
	settled := silent(newRule(1, acts(over(0, inTX("given")), Act{Kind: Skips, To: "A"})))
	for name, c := range map[string]struct {
		rules []Rule
		want  bool
	}{
		"skipped":                     {[]Rule{does(Act{Kind: Skips, To: "A"}), writes, marker("A"), reads}, true},
		"with who reads it":           {[]Rule{does(Act{Kind: Skips, To: "A"}), writes, reads, marker("A")}, false},
		"read by nobody":              {[]Rule{does(Act{Kind: Skips, To: "A"}), writes, marker("A")}, false},
		"behind the end":              {[]Rule{does(Act{Kind: Skips, To: "A"}), marker("A"), writes, reads}, false},
		"where the end is missing":    {[]Rule{does(Act{Kind: Skips, To: "B"}), writes, reads}, false},
		"before it":                   {[]Rule{reads, does(Act{Kind: Skips, To: "B"}), writes}, true},
		"by number":                   {[]Rule{does(Act{Kind: Skips, Skip: 1}), writes, marker("A"), reads}, true},
		"seen":                        {[]Rule{loud, writes, marker("A"), reads}, true},
		"by what follows, too":        {[]Rule{settled, writes, marker("A"), reads}, false},
		"taken away":                  {[]Rule{does(Act{Kind: Lessens, Takes: []int{1}}), writes, reads}, true},
		"taken away with who reads":   {[]Rule{does(Act{Kind: Lessens, Takes: []int{1, 2}}), writes, reads}, false},
		"not taken away":              {[]Rule{does(Act{Kind: Lessens, Takes: []int{2}}), writes, reads}, false},
		"allowed, and read behind it": {[]Rule{does(Act{Kind: Lessens, Ends: true}), writes, reads}, false},
		"allowed for a phase":         {[]Rule{does(Act{Kind: Lessens, Ends: true}), writes, later}, true},
		"allowed, and read before it": {[]Rule{reads, does(Act{Kind: Lessens, Ends: true}), writes}, true},
	} {
		if b := newBook(c.rules); b.doubts("v") != c.want {
			t.Errorf("%s: doubted %t", name, b.doubts("v"))
		}
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
