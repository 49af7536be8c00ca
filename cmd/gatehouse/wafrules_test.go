package main

import (
	"bytes"
	"strings"
	"testing"

	"gatehouse/admin"
)

func TestListCell(t *testing.T) {
	long := strings.Repeat("é", 60)
	for want, list := range map[string][]string{
		"":                               nil,
		"/a":                             {"/a"},
		"/a, /b":                         {"/a", "/b"},
		"/a +2":                          {"/a", "/b", "/c"},
		strings.Repeat("é", 47) + "…":    {long},
		strings.Repeat("é", 47) + "… +2": {long, long, "/c"},
	} {
		if got := listCell(list); got != want {
			t.Errorf("%q: got %q, want %q", list, got, want)
		}
	}
}

func TestRulesSayHowTheGateStands(t *testing.T) {
	for line, gate := range map[string]admin.Gate{
		"gate: on; of each request only those rules run that can match it\n":        {Mode: "on", Active: true, Made: true},
		"gate: on; made at the first inspected request, until when all rules run\n": {Mode: "on", Active: true},
		"gate: shadow; all rules run on each request\n":                             {Mode: "shadow"},
		"gate: off; all rules run on each request\n":                                {Mode: "off"},
		"warning: the gate was switched off\n":                                      {Mode: "on", Missed: 942100, Problem: "the gate was switched off"},
	} {
		var out bytes.Buffer
		(&session{terminal: &terminal{Out: &out}}).noteGate(&gate)
		want(t, "line", out.String(), line)
	}
}

func TestRulesWanted(t *testing.T) {
	list := &admin.RuleList{Version: "4.0.0", Rules: []admin.Rule{{ID: 942100, Message: "Attack 1"}, {ID: 949110, Message: "Books", Fixed: "why"}}}
	for word, wanted := range map[string][]bool{"": {true, false}, "attack": {true, false}, "94": {true, true}, "9421": {true, false}, "1": {false, false}} {
		for i := range list.Rules {
			want(t, word, (&rulesFlags{}).wants(&list.Rules[i], word), wanted[i])
		}
	}
	for word, says := range map[string]string{"": "", "nothing": "", "942": "", "77": "own rules stand in waf.rules", "1": "begins with 1;"} {
		err := checkDigits(word, list)
		if says == "" {
			want(t, word, err, nil)
		} else if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", word, err, says)
		}
	}
}
