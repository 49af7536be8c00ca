package gate

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// A saying is an operator that says what a function does.
type saying func(text string) bool

func (s saying) Evaluate(_ plugintypes.TransactionState, text string) bool { return s(text) }

// A message is lists of values, each with its key, as the gate asks for them.
type message map[variables.RuleVariable][][2]string

func (m message) Each(v variables.RuleVariable, yield func(key, value string)) {
	for _, entry := range m[v] {
		yield(entry[0], entry[1])
	}
}

func (m message) Collection(v variables.RuleVariable) collection.Collection {
	return list{v, m[v]}
}

type list struct {
	of      variables.RuleVariable
	entries [][2]string
}

func (l list) Name() string { return l.of.Name() }

func (l list) FindAll() (out []types.MatchData) {
	for _, e := range l.entries {
		out = append(out, entry{key: e[0], value: e[1]})
	}
	return out
}

type entry struct {
	types.MatchData
	key, value string
}

func (e entry) Key() string   { return e.key }
func (e entry) Value() string { return e.value }

func args(entries ...[2]string) message { return message{variables.ArgsGet: entries} }

// contains is a link that looks for a word.
func contains(word string, targets ...Target) Link {
	return Link{Targets: targets, Name: "contains", Argument: word, Operator: saying(func(text string) bool { return strings.Contains(text, word) })}
}

// over is a link that compares numbers.
func over(n int, targets ...Target) Link {
	return Link{Targets: targets, Name: "gt", Argument: strconv.Itoa(n), Operator: saying(func(text string) bool {
		got, _ := strconv.Atoi(text)
		return got > n
	})}
}

func inArgs(key string) Target { return Target{Variable: variables.Args, Key: key} }
func inTX(key string) Target   { return Target{Variable: variables.TX, Key: key} }

var anyArg = inArgs("")

// newRule returns one of phase 2.
func newRule(id int, links ...Link) Rule { return Rule{ID: id, Phase: 2, Links: links} }

func silent(r Rule) Rule { r.Silent = true; return r }

func sets(l Link, key, value string) Link {
	l.Sets = append(l.Sets, Set{Key: key, Value: value})
	return l
}

func acts(l Link, a Act) Link { l.Acts = append(l.Acts, a); return l }

func newGate(t *testing.T, rules ...Rule) *Gate {
	t.Helper()
	g, err := New(rules, Options{Cache: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// finds returns the ids that a gate finds in a message at level 1, and whether it finds all; it asks twice.
func finds(t *testing.T, g *Gate, m message, spared Spared) (ids []int, all bool) {
	t.Helper()
	tenant := g.Tenant(1, map[string][]string{"word": {"good"}})
	first := g.Inspect(Request, m, tenant, spared, 1)
	again := g.Inspect(Request, m, tenant, spared, 1)
	if !slices.Equal(first.Rules, again.Rules) || first.All != again.All {
		t.Errorf("%v, then %v", first, again)
	}
	for _, at := range first.Rules {
		ids = append(ids, g.rules[at].ID)
	}
	return ids, first.All
}

func TestTheGateFindsWhatCanMatch(t *testing.T) {
	many := func(key string, values ...string) (out [][2]string) {
		for _, v := range values {
			out = append(out, [2]string{key, v})
		}
		return out
	}
	negated := contains("a", anyArg)
	negated.Negated = true
	except := anyArg
	except.Except = []Exception{{Key: "free"}, {Pattern: regexp.MustCompile("^x")}}
	pattern := Target{Variable: variables.Args, Pattern: regexp.MustCompile("^p")}
	count, countKey := Target{Variable: variables.Args, Count: true}, Target{Variable: variables.Args, Key: "Q", Count: true}
	lower := contains("evil", anyArg)
	lower.Transforms = []string{"lowercase"}
	unknown := contains("x", anyArg)
	unknown.Transforms, unknown.Apply = []string{"gatehouseOther"}, []plugintypes.Transformation{func(string) (string, bool, error) { return "x", true, nil }}
	panics := contains("p", anyArg)
	panics.Operator = saying(func(string) bool { panic("as ordered") })
	for _, c := range []struct {
		name string
		link Link
		in   message
		want bool
	}{
		{"a word", contains("evil", anyArg), args([2]string{"a", "an evil"}), true},
		{"another word", contains("evil", anyArg), args([2]string{"a", "good"}), false},
		{"nothing", contains("evil", anyArg), nil, false},
		{"not a word", negated, args([2]string{"a", "b"}), true},
		{"not a word, of none", negated, nil, false},
		{"a key in another case", contains("evil", inArgs("ID")), args([2]string{"iD", "evil"}), true},
		{"another key", contains("evil", inArgs("id")), args([2]string{"idx", "evil"}), false},
		{"an exception", contains("evil", except), args([2]string{"FREE", "evil"}), false},
		{"a pattern of exceptions", contains("evil", except), args([2]string{"X1", "evil"}), false},
		{"beside exceptions", contains("evil", except), args([2]string{"y", "evil"}), true},
		{"a pattern of keys", contains("evil", pattern), args([2]string{"Page", "evil"}), true},
		{"beside a pattern", contains("evil", pattern), args([2]string{"q", "evil"}), false},
		{"in a body", contains("evil", anyArg), message{variables.ArgsPost: {{"a", "evil"}}}, true},
		{"in a header", contains("evil", anyArg), message{variables.RequestHeaders: {{"a", "evil"}}}, false},
		{"transformed", lower, args([2]string{"a", "EVIL"}), true},
		{"transformed in a way that nobody knows", unknown, args([2]string{"a", "any"}), true},
		{"an operator that breaks", panics, args([2]string{"a", "pp"}), true},
		{"a count", over(1, count), args(many("a", "1", "2")...), true},
		{"too low a count", over(1, count), args(many("a", "1")...), false},
		{"a count of query and body", over(1, count), message{variables.ArgsGet: many("a", "1"), variables.ArgsPost: many("b", "1")}, true},
		{"a count of a key", over(1, countKey), args([2]string{"q", "1"}, [2]string{"Q", "2"}), true},
		{"a count of other keys", over(1, countKey), args([2]string{"q", "1"}, [2]string{"r", "2"}), false},
	} {
		g := newGate(t, newRule(1, c.link))
		ids, all := finds(t, g, c.in, nil)
		if len(ids) == 1 != c.want || all {
			t.Errorf("%s: %v, all %t", c.name, ids, all)
		}
	}
}

// What the gate does not understand may always match: it is found in each message, and the other rules are found as ever.
func TestWhatTheGateDoesNotUnderstandMayMatch(t *testing.T) {
	unknown := contains("x", anyArg)
	unknown.Operator = nil
	macro := contains("x", anyArg)
	macro.Argument = "%{request_headers.host}"
	changing := contains("x", anyArg)
	changing.Argument = "%{tx.changes}"
	lessened := acts(contains("nothing", Target{Variable: variables.RequestURI}), Act{Kind: Lessens, Target: variables.Args})
	early := func(l Link) Rule { r := newRule(1, l); r.Phase = 1; return r }
	not := contains("x", anyArg)
	not.Negated = true
	for name, rules := range map[string][]Rule{
		"no operator":                         {newRule(1, unknown)},
		"a macro of the request":              {newRule(1, macro)},
		"a macro of what changes":             {newRule(1, changing), silent(newRule(2, sets(contains("a", anyArg), "changes", "1")))},
		"a variable of the engine":            {newRule(1, contains("x", Target{Variable: variables.Duration}))},
		"a group":                             {newRule(1, contains("x", inTX("1")))},
		"JSON as it was":                      {newRule(1, contains("x", inTX("json_request_body")))},
		"a lessened count":                    {newRule(1, over(0, Target{Variable: variables.Args, Count: true})), silent(newRule(2, lessened))},
		"a count with exceptions":             {newRule(1, over(0, Target{Variable: variables.Args, Count: true, Except: []Exception{{Key: "a"}}}))},
		"the body, before it came":            {early(contains("x", Target{Variable: variables.RequestBody}))},
		"no argument yet":                     {early(not)},
		"a count of those that there are yet": {early(over(0, Target{Variable: variables.Args, Count: true}))},
	} {
		other := newRule(9, contains("y", Target{Variable: variables.RequestMethod}))
		g := newGate(t, append(rules, other)...)
		tenant := g.Tenant(1, nil)
		if got := g.Inspect(Request, message{}, tenant, nil, 0); got.All || !slices.Equal(got.Rules, []int{0}) || tenant.Always(Request) != 1 || tenant.Always(Answer) != 0 {
			t.Errorf("%s: %+v, always %d", name, got, tenant.Always(Request))
		}
	}
	left := contains("x", anyArg)
	left.Argument = "%{MATCHED_VAR}"
	for name, link := range map[string]Link{
		"that adds arguments":        {Targets: []Target{anyArg}, Name: "restpath"},
		"about what others matched":  contains("x", Target{Variable: variables.MatchedVar}),
		"about how bad all is":       contains("x", Target{Variable: variables.HighestSeverity}),
		"with a macro of the former": left,
	} {
		if _, err := New([]Rule{newRule(1, link)}, Options{}); err == nil {
			t.Errorf("a rule %s is accepted", name)
		}
	}
}

// A chain can match if each of its links can.
func TestTheGateAsksForAllOfAChain(t *testing.T) {
	captures := Link{Targets: []Target{anyArg}, Name: "contains", Argument: "a", Operator: contains("a").Operator, Captures: true}
	for name, c := range map[string]struct {
		rules    []Rule
		yes, not message
	}{
		"two conditions": {
			[]Rule{newRule(1, contains("a", anyArg), contains("b", Target{Variable: variables.RequestURI}))},
			message{variables.ArgsGet: {{"x", "a"}}, variables.RequestURI: {{"", "b"}}},
			args([2]string{"x", "ab"}),
		},
		"the value that matched": {
			[]Rule{newRule(1, contains("a", anyArg), contains("b", Target{Variable: variables.MatchedVar}))},
			args([2]string{"x", "ab"}), args([2]string{"x", "a"}, [2]string{"y", "b"}),
		},
		"its own variable": {
			[]Rule{newRule(1, sets(contains("a", anyArg), "own", "%{matched_var}"), contains("b", inTX("own")))},
			args([2]string{"x", "ab"}), args([2]string{"x", "a"}, [2]string{"y", "b"}),
		},
		"another rule's variable": {
			[]Rule{silent(newRule(2, sets(contains("a", anyArg), "other", "1"))), newRule(1, contains("b", anyArg), over(0, inTX("other")))},
			args([2]string{"x", "a"}, [2]string{"y", "b"}), args([2]string{"y", "b"}),
		},
		"its name": {
			[]Rule{newRule(1, contains("a", anyArg), contains("x", Target{Variable: variables.MatchedVarName}))},
			args([2]string{"x", "a"}), args([2]string{"y", "c"}),
		},
		"a group that it may have": {
			[]Rule{newRule(1, captures, contains("x", inTX("1")))}, args([2]string{"x", "a"}), args([2]string{"x", "b"}),
		},
	} {
		g := newGate(t, c.rules...)
		if ids, all := finds(t, g, c.yes, nil); !slices.Equal(ids, []int{1}) || all {
			t.Errorf("%s: %v, all %t", name, ids, all)
		}
		if ids, all := finds(t, g, c.not, nil); len(ids) > 0 || all {
			t.Errorf("not %s: %v, all %t", name, ids, all)
		}
	}
}

// Where a rule that widens can match, everybody may see more than the gate has.
func TestARuleThatWidensMakesAllMatch(t *testing.T) {
	g := newGate(t, newRule(1, acts(contains("wide", anyArg), Act{Kind: Widens})), newRule(2, contains("evil", anyArg)))
	if ids, all := finds(t, g, args([2]string{"a", "wide"}), nil); !all || len(ids) != 1 {
		t.Errorf("%v, all %t", ids, all)
	}
	if ids, all := finds(t, g, args([2]string{"a", "evil"}), nil); all || !slices.Equal(ids, []int{2}) {
		t.Errorf("%v, all %t", ids, all)
	}
}

// taken is what a tenant does not apply.
type taken struct {
	rule    int
	target  func(id int, v variables.RuleVariable, key string) bool
	touches int
}

func (s taken) Rule(id int) bool { return id == s.rule }
func (s taken) Target(id int, v variables.RuleVariable, key string) bool {
	return s.target != nil && s.target(id, v, key)
}
func (s taken) Touches(id int) bool { return id == s.touches }

func TestTheGatePassesOverWhatATenantSpares(t *testing.T) {
	g := newGate(t, newRule(1, contains("evil", anyArg, Target{Variable: variables.RequestURI})), newRule(2, contains("evil", anyArg)),
		newRule(3, over(5, Target{Variable: variables.Args, Count: true})))
	evil := args([2]string{"Q", "evil"})
	name := func(id int, v variables.RuleVariable, key string) bool {
		return id == 1 && v == variables.Args && key == "q"
	}
	for _, c := range []struct {
		spared Spared
		in     message
		want   []int
	}{
		{nil, evil, []int{1, 2}},
		{taken{rule: 1}, evil, []int{2}},
		{taken{target: name}, evil, []int{2}},
		{taken{target: name}, args([2]string{"r", "evil"}), []int{1, 2}},
		{taken{target: name}, message{variables.ArgsGet: {{"q", "evil"}}, variables.RequestURI: {{"", "evil"}}}, []int{1, 2}},
		{taken{touches: 3}, message{}, []int{3}}, // what it counts is not known any more
		{nil, message{}, nil},
	} {
		if ids, all := finds(t, g, c.in, c.spared); !slices.Equal(ids, c.want) || all {
			t.Errorf("%+v, %v: %v, want %v; all %t", c.spared, c.in, ids, c.want, all)
		}
	}
}

// Conditions on a tenant's settings are decided by his, whatever was remembered for others.
func TestSettingsDecide(t *testing.T) {
	fixed := contains("on", inTX("switch"))
	word := Link{Targets: []Target{anyArg}, Name: "streq", Argument: "%{tx.word}", Operator: stateful{}}
	defaults := silent(newRule(9, sets(sets(over(-1, Target{Variable: variables.TX, Key: "given", Count: true}), "switch", "off"), "word", "x")))
	g := newGate(t, defaults, newRule(1, fixed, contains("a", anyArg)), newRule(2, word))
	for _, c := range []struct {
		values map[string][]string
		in     string
		want   []int
	}{
		{map[string][]string{"switch": {"on"}, "word": {"b"}}, "a", []int{1}},
		{map[string][]string{"switch": {"off"}, "word": {"a"}}, "a", []int{2}},
		{map[string][]string{"switch": {"off"}, "word": {"b"}}, "a", nil},
		{map[string][]string{"word": {"b"}}, "a", nil},
		{map[string][]string{"switch": {"on"}, "word": {"a"}}, "a", []int{1, 2}},
	} {
		tenant := g.Tenant(1, c.values)
		for range 2 {
			var ids []int
			for _, at := range g.Inspect(Request, args([2]string{"q", c.in}), tenant, nil, 7).Rules {
				ids = append(ids, g.rules[at].ID)
			}
			if !slices.Equal(ids, c.want) {
				t.Errorf("%v: %v, want %v", c.values, ids, c.want)
			}
		}
	}
}

// stateful compares with a variable, as an operator with a macro does.
type stateful struct{}

func (stateful) Evaluate(tx plugintypes.TransactionState, text string) bool {
	values := tx.(*state).Collection(variables.TX).(settings).Get("word")
	return len(values) > 0 && values[0] == text
}

// What is remembered of an answer's value is nothing about a request's.
func TestSidesDoNotShareWhatIsRemembered(t *testing.T) {
	answer := newRule(1, contains("never", Target{Variable: variables.ResponseBody}))
	answer.Phase = 4
	g := newGate(t, answer, newRule(2, contains("evil", Target{Variable: variables.RequestURI})))
	tenant := g.Tenant(1, nil)
	for range 2 {
		if got := g.Inspect(Answer, message{variables.ResponseBody: {{"", "evil"}}}, tenant, nil, 0); len(got.Rules) > 0 {
			t.Errorf("in the answer: %+v", got)
		}
		if got := g.Inspect(Request, message{variables.RequestURI: {{"", "evil"}}}, tenant, nil, 0); !slices.Equal(got.Rules, []int{1}) {
			t.Errorf("in the request: %+v", got)
		}
	}
}
