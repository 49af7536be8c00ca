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
