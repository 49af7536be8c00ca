package routes

import (
	"strings"
	"testing"
)

// useCheck puts a check in force that finds the word bad, for the length of a test.
func useCheck(t *testing.T) {
	t.Helper()
	UseRulesCheck(func(text string) []RuleProblem {
		var out []RuleProblem
		row := 0
		for line := range strings.Lines(text) {
			row++
			if at := strings.Index(line, "bad"); at >= 0 {
				out = append(out, RuleProblem{Line: row, Column: at + 1, Reason: "the word bad", Guess: "good"})
			}
		}
		return out
	})
	t.Cleanup(func() { rulesCheck.Store(nil) })
}

// A bad rule is a problem of its document, at its own line of the file where the text stands there as it is.
func TestBadRuleIsAProblemAtItsOwnPlace(t *testing.T) {
	useCheck(t)
	for name, test := range map[string]struct {
		yaml      string
		line, col int
		reason    string
	}{
		"a block":              {"tenants:\n  shop:\n    waf:\n      rules: |\n\n        SecRule a\n          SecRule bad b\n", 7, 19, "line 3, column 11: the word bad"},
		"a block with a strip": {"tenants:\n  shop:\n    waf:\n      rules: |-\n        a bad b", 5, 11, "line 1, column 3: the word bad"},
		"Windows":              {"tenants:\r\n  shop:\r\n    waf:\r\n      rules: |\r\n        a\r\n        bad\r\n", 6, 9, "line 2, column 1: the word bad"},
		"quoted":               {"tenants:\n  shop:\n    waf: {rules: \"a\\nb bad\"}", 3, 18, "line 2, column 3: the word bad"},
		"folded":               {"tenants:\n  shop:\n    waf:\n      rules: >\n        a\n        bad\n", 4, 14, "line 1, column 3: the word bad"},
	} {
		t.Run(name, func(t *testing.T) {
			docs, problems := ParseFile("f.yaml", []byte(test.yaml))
			if len(problems) > 0 || len(docs) != 1 || len(docs[0].Problems) != 1 || docs[0].Tenant != nil {
				t.Fatalf("%v, %+v", problems, docs)
			}
			p := docs[0].Problems[0]
			if p.Line != test.line || p.Column != test.col || p.Field != "waf.rules" || p.Reason != test.reason || p.Guess != "good" || p.Excerpt == "" {
				t.Errorf("%+v", p)
			}
		})
	}
	doc := ParseJSON(Key{KindVhost, "a.test"}, "vhost:a.test", []byte(`{"waf": {"rules": "a\nbad"}}`))
	if len(doc.Problems) != 1 || doc.Problems[0].Error() != `vhost:a.test:1:19: waf.rules: line 2, column 1: the word bad (did you mean "good"?)` {
		t.Error(doc.Problems)
	}
	v := &Vhost{Name: "a.test", Backends: []Backend{{URL: "http://a"}}, WAF: &WAF{Rules: "bad"}}
	if problems := v.Check("x"); len(problems) != 1 {
		t.Error(problems)
	}
}

// A bad rule takes nothing away: the last good form of its document stays in force.
func TestBadRuleKeepsTheLastGoodOnes(t *testing.T) {
	useCheck(t)
	table := &Table{}
	for _, text := range []string{"good", "bad"} {
		doc := ParseJSON(Key{KindTenant, "shop"}, "tenant:shop", []byte(`{"waf": {"rules": "`+text+`"}}`))
		table, _ = table.With([]Change{doc.Change()})
	}
	doc, problems, _ := table.Tenant("shop")
	if doc == nil || doc.WAF.Rules != "good" || len(problems) != 1 {
		t.Errorf("%+v, %v", doc, problems)
	}
}

// A vhost's rules are added to its tenant's, also where the tenant is that of the defaults.
func TestRulesOfVhostAreAddedToItsTenants(t *testing.T) {
	own := func(text string) *WAF { return &WAF{Rules: text} }
	for _, test := range []struct {
		tenant, defaults, vhost *WAF
		want                    string
	}{
		{own("t"), own("d"), own("v"), "t v"},
		{nil, own("d"), own("v"), "d v"},
		{own("t"), nil, &WAF{Mode: "block"}, "t"},
		{own(""), nil, nil, ""},
	} {
		r := &Route{Vhost: &Vhost{WAF: test.vhost}}
		if test.tenant != nil {
			r.Tenant = &Tenant{WAF: test.tenant}
		}
		s := r.Settings(&Tenant{WAF: test.defaults})
		if got := strings.Join(s.Rules, " "); got != test.want || s.WAF.Rules != "" {
			t.Errorf("%q and %q, want %q", got, s.WAF.Rules, test.want)
		}
	}
}
