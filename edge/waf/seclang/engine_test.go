package seclang

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3"
)

// The engine knows everything on the lists by the name that is written for it.
func TestTheEngineKnowsWhatIsOnTheLists(t *testing.T) {
	var rules []string
	for _, name := range variableNames {
		switch variableKinds[name] {
		case collection:
			rules = append(rules, `SecRule `+name+`|`+name+`:a-b|!`+name+`:c|&`+name+`:/^d$/ "x" "id:1"`, `SecRule ARGS "@streq %{`+name+`.a}" "id:1"`)
		case single:
			rules = append(rules, `SecRule `+name+`|&`+name+` "@contains %{`+name+`}" "id:1"`)
		case xmlVariable:
			rules = append(rules, `SecRule XML:/*|XML://@* "x" "id:1"`)
		}
	}
	arguments := map[argument]string{
		argumentPattern: "a", argumentWords: "a b", argumentText: "a", argumentNumber: "1", argumentAddresses: "10.0.0.0/8,::1", argumentBytes: "1-255",
	}
	for _, name := range operatorNames() {
		rules = append(rules, `SecRule ARGS "!@`+name+` `+arguments[operatorKinds[strings.ToLower(name)].argument]+`" "id:1"`)
	}
	for _, name := range slices.Sorted(maps.Values(transformations)) {
		rules = append(rules, `SecRule ARGS "x" "id:1,t:`+name+`"`)
	}
	for _, name := range actionNames {
		kind := actionKinds[strings.ToLower(name)]
		action := name
		if kind.value {
			action = kind.example
		}
		text := `SecRule ARGS "x" "id:1000,deny,` + action + `"`
		switch name {
		case "id":
			text = `SecRule ARGS "x" "deny,` + action + `"`
		case "deny", "block", "pass", "nolog":
			text = `SecRule ARGS "x" "id:1000,` + action + `"`
		case "chain":
			text += "\nSecRule ARGS \"x\""
		}
		rules = append(rules, text+"\nSecMarker end")
	}
	for _, rule := range rules {
		set, problems := Read(rule)
		if len(problems) > 0 {
			t.Errorf("%s\n%v", rule, problems[0])
			continue
		}
		if _, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(set.Directives)); err != nil {
			t.Errorf("%s%v", set.Directives, err)
		}
	}
	if len(actionNames) != len(actionKinds) {
		t.Error("a name is missing in actionNames")
	}
}
