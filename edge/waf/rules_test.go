package waf

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
	"gatehouse/waf-rules/crstest"
)

func TestRulesAreKnownByTheirWords(t *testing.T) {
	rules := sharedEngine(t).Rules()
	if len(rules) < 500 || !slices.IsSortedFunc(rules, func(a, b Rule) int { return a.ID - b.ID }) {
		t.Fatalf("%d rules", len(rules))
	}
	byID := map[int]Rule{}
	for _, r := range rules {
		if byID[r.ID].ID != 0 {
			t.Errorf("rule %d is listed twice", r.ID)
		}
		byID[r.ID] = r
		if r.Bookkeeping != (routes.BookkeepingRule(r.ID) != "") {
			t.Errorf("rule %d: bookkeeping %v", r.ID, r.Bookkeeping)
		}
		if !r.Bookkeeping && r.Severity != "" && (r.Message == "" || r.Phase < 1 || r.Phase > 4) {
			t.Errorf("rule %d: %+v", r.ID, r)
		}
	}
	sqli := byID[942100]
	if sqli.Message != "SQL Injection Attack Detected via libinjection" || sqli.Severity != "critical" || sqli.Paranoia != 1 || sqli.Phase != 2 ||
		!slices.Contains(sqli.Tags, "attack-sqli") || !slices.Contains(sqli.Targets, "ARGS") || slices.Contains(sqli.Targets, "TX") {
		t.Errorf("rule 942100: %+v", sqli)
	}
	if r := byID[942101]; r.Paranoia != 2 {
		t.Errorf("rule 942101: %+v", r)
	}
}

func TestExclusionsMeanRules(t *testing.T) {
	e := sharedEngine(t)
	got := e.Mean([]Exclusion{{Rules: [][2]int32{{942100, 942101}, {949110, 949110}}}, {Rules: [][2]int32{{942100, 942100}, {1, 2}}}, {Tags: []string{"attack-generic"}}})
	if len(got) != 3 || !slices.IsSorted(got) || !slices.Contains(got, 942101) || !slices.Contains(got, 911100) || slices.Contains(got, 949110) || slices.Contains(got, 942013) {
		t.Errorf("rules %v", got)
	}
}

// Replay is arithmetic on what was found; here the engine does the same again, for the requests
// of the CRS's own tests: what an exclusion is said to take away is no longer found, and
// everything else is. Twice, since the engine's order of variables changes some chains (v3.8.1).
func TestReplayTellsWhatExclusionsDo(t *testing.T) {
	edgetest.Sequential(t)
	e := sharedEngine(t)
	suite, err := crstest.Load()
	if err != nil {
		t.Fatal(err)
	}
	every := 20
	if crstest.Full() {
		every = 1
	}
	tried := 0
	for i, test := range suite {
		if i%every != 0 {
			continue
		}
		for _, stage := range test.Stages {
			r, err := crstest.Parse(stage.Request)
			if err != nil {
				continue
			}
			found := matchesOf(e, r, &Profile{Paranoia: 2})
			path, plain := PlainPath(r.Target)
			for _, m := range found {
				list := []Exclusion{{Rules: [][2]int32{{int32(m.ID), int32(m.ID)}}, Target: pickOf(m.Target), Methods: []string{r.Method}}}
				if plain && !strings.ContainsAny(path, "*?") {
					list[0].Paths = []string{path}
				}
				if m.Partial || len(m.Target) > 120 || len(e.Ignored(list)) > 0 { // what cannot be picked out goes as a whole
					list[0].Target = ""
				}
				if checkExclusion(&list[0]) != nil || len(e.Ignored(list)) > 0 {
					continue
				}
				tried++
				if got := differs(e, r, list, found); got != "" && differs(e, r, list, matchesOf(e, r, &Profile{Paranoia: 2})) != "" {
					t.Errorf("%s, rule %d at %q: %s", test.ID, m.ID, m.Target, got)
				}
			}
		}
	}
	t.Logf("%d exclusions tried", tried)
	if tried < 300 {
		t.Errorf("only %d exclusions tried", tried)
	}
}

// differs says what is found with the exclusions, and is not foretold.
func differs(e *Engine, r crstest.Request, list []Exclusion, found []Match) string {
	replay := e.Replay(list)
	var want []string
	for _, m := range found {
		if !replay.Removes(r.Method, r.Target, m) {
			want = append(want, key(m))
		}
	}
	var got []string
	for _, m := range matchesOf(e, r, &Profile{Paranoia: 2, Exclusions: NewExclusions(list)}) {
		got = append(got, key(m))
	}
	slices.Sort(want)
	slices.Sort(got)
	if slices.Equal(got, want) {
		return ""
	}
	return "got " + strings.Join(got, " ") + ", want " + strings.Join(want, " ")
}

// key tells matches apart. Which one of its targets a partial one names is up to chance.
func key(m Match) string {
	if m.Partial {
		return strconv.Itoa(m.ID)
	}
	return strconv.Itoa(m.ID) + ":" + m.Target
}

func pickOf(matched string) string {
	name, key, has := strings.Cut(matched, ":")
	if keyed := routes.ExclusionTargets(); !keyed[name] && has {
		return name
	}
	if strings.HasPrefix(key, "/") && strings.HasSuffix(key, "/") {
		return name + ":/^" + regexp.QuoteMeta(key) + "$/"
	}
	return matched
}

func matchesOf(e *Engine, r crstest.Request, p *Profile) []Match {
	tx := e.Begin(p, "test")
	defer tx.Close()
	show(tx, r)
	return tx.Matches()
}
