package routes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

func TestVhostsExclusionsAreAddedToItsTenants(t *testing.T) {
	tenant, own := Exclusion{ID: "t", Rules: []RuleRange{{1, 1}}}, Exclusion{ID: "v", Rules: []RuleRange{{2, 2}}}
	both := []Exclusion{tenant}
	for _, c := range []struct {
		tenant, vhost []Exclusion
		want          string
	}{{nil, nil, ""}, {both, nil, "t"}, {nil, []Exclusion{own}, "v"}, {both, []Exclusion{own}, "t v"}, {both[:1:1], []Exclusion{}, "t"}} {
		table, _ := with(&Table{},
			Change{Key: Key{KindTenant, "shop"}, Tenant: &Tenant{Name: "shop", WAF: &WAF{Exclusions: c.tenant, AllowedTypes: []string{"a/b"}}}},
			Change{Key: Key{KindVhost, "a.test"}, Vhost: &Vhost{Name: "a.test", Tenant: "shop", WAF: &WAF{Exclusions: c.vhost}}})
		var got []string
		s := table.Match("a.test").Settings(nil)
		for _, x := range s.WAF.Exclusions {
			got = append(got, x.ID)
		}
		if strings.Join(got, " ") != c.want || len(s.WAF.AllowedTypes) != 1 {
			t.Errorf("got %v, want %s; types %v", got, c.want, s.WAF.AllowedTypes)
		}
	}
	if len(both) != 1 || both[0].ID != "t" {
		t.Errorf("the tenant's document changed: %v", both)
	}
}

func TestExclusionWithoutIDGetsOneFromItsContent(t *testing.T) {
	base := Exclusion{Rules: []RuleRange{{942100, 942100}}, Target: "ARGS:q"}
	key := base.Key()
	if !strings.HasPrefix(key, "ex-") || len(key) != 13 || CheckTenantName(key) != nil || key != base.Key() {
		t.Errorf("key %q", key)
	}
	noted, named := base, base
	noted.Note, noted.Until, named.ID = "why", "2027-01-01", "mine"
	if noted.Key() != key || named.Key() != "mine" {
		t.Errorf("with a note and an end: %q; named: %q", noted.Key(), named.Key())
	}
	seen := map[string]bool{key: true}
	for i, change := range []func(*Exclusion){
		func(x *Exclusion) { x.Rules = []RuleRange{{942100, 942101}} },
		func(x *Exclusion) { x.Tags = []string{"t"} },
		func(x *Exclusion) { x.Target = "" },
		func(x *Exclusion) { x.Paths = []string{"/a", "/b"} },
		func(x *Exclusion) { x.Paths = []string{"/a\" \"/b"} },
		func(x *Exclusion) { x.Methods = []string{"GET"} },
	} {
		x := base
		change(&x)
		if seen[x.Key()] {
			t.Errorf("change %d: key %q again", i, x.Key())
		}
		seen[x.Key()] = true
	}
}

func TestRulesAndDatesSurviveBothForms(t *testing.T) {
	x := Exclusion{Rules: []RuleRange{{942100, 942100}, {1, 2}}, Until: "2027-01-31"}
	inJSON, err := json.Marshal(x)
	if err != nil || string(inJSON) != `{"rules":[942100,"1-2"],"until":"2027-01-31"}` {
		t.Errorf("%s, %v", inJSON, err)
	}
	inYAML, err := yaml.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	docs, problems := ParseFile("f", []byte("tenants: {shop: {waf: {exclusions: [\n"+strings.ReplaceAll(string(inJSON), `,"until"`, `, "until"`)+"]}}}"))
	if len(problems) > 0 || docs[0].Tenant == nil || fmt.Sprint(docs[0].Tenant.WAF.Exclusions[0]) != fmt.Sprint(x) {
		t.Errorf("%+v %v, of %s", docs, problems, inYAML)
	}
	if !strings.Contains(string(inYAML), "- 942100\n") || !strings.Contains(string(inYAML), "- 1-2\n") {
		t.Errorf("in YAML:\n%s", inYAML)
	}
	if got := x.Until.Time(); !got.Equal(time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("until %v", got)
	}
	if !Date("").Time().IsZero() {
		t.Error("no date is a time")
	}
}

func TestExclusionsAreBounded(t *testing.T) {
	list := func(n int, item string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+", ", n), ", ") + "]"
	}
	many := make([]string, MaxExclusions+1)
	for i := range many {
		many[i] = fmt.Sprintf("{rules: [%d]}", i+1)
	}
	if docs, _ := ParseFile("f", []byte("tenants: {shop: {waf: {exclusions: ["+strings.Join(many[1:], ", ")+"]}}}")); docs[0].Tenant == nil {
		t.Errorf("%d: %v", MaxExclusions, docs[0].Problems)
	}
	long := strings.Repeat("x", 201)
	pathful := make([]string, 101)
	for i := range pathful {
		pathful[i] = fmt.Sprintf("{rules: [%d], paths: %s}", i+1, list(20, "/a"))
	}
	for exclusions, want := range map[string]string{
		"[" + strings.Join(many, ", ") + "]":                      "1001 exclusions: at most 1000",
		"[{rules: " + list(101, "1") + "}]":                       ".rules: 101 entries: at most 100",
		"[{tags: " + list(21, "t") + "}]":                         ".tags: 21 entries: at most 20",
		"[{rules: [1], paths: " + list(21, "/a") + "}]":           ".paths: 21 entries: at most 20",
		"[{rules: [1], methods: " + list(21, "GET") + "}]":        ".methods: 21 entries: at most 20",
		"[{rules: [1], target: 'ARGS:" + long + "'}]":             ".target: a target is at most 200 bytes",
		"[{rules: [1], paths: ['/" + long + "']}]":                "at most 200 bytes",
		"[" + strings.Join(pathful, ", ") + "]":                   "more than 2000 paths",
		"[{tags: [" + long + "]}]":                                ".tags[0]: bad tag",
		"[{rules: [1], note: " + strings.Repeat("n", 1001) + "}]": ".note: 1001 bytes: at most 1000",
	} {
		docs, _ := ParseFile("f", []byte("tenants: {shop: {waf: {exclusions: "+exclusions+"}}}"))
		if docs[0].Tenant != nil || len(docs[0].Problems) != 1 || !strings.Contains(docs[0].Problems.Error(), want) {
			t.Errorf("want %q, got %.300s", want, docs[0].Problems.Error())
		}
	}
}
