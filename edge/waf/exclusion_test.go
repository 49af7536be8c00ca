package waf

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/routes"
	wafrules "gatehouse/waf-rules"
)

func one(id int32) [][2]int32 { return [][2]int32{{id, id}} }

// suspicious are requests and answers that many rules match, in every part that a
// target can name.
func suspicious() []sample {
	return append(traffic(),
		sample{target: "/search?q=1%27%20OR%20%271%27=%271&Q2=<script>alert(1)</script>&safe=x"},
		sample{target: "/search?Comment=<script>alert(1)</script>&q=<script>alert(2)</script>&q=x"},
		sample{target: "/?%27%20OR%20%271%27=%271=x&<script>alert(1)</script>=y"},
		sample{contentType: form, body: "icon=format-list-bulleted-square.svg&q=1' OR '1'='1"},
		sample{target: "/a?q=b", header: [][2]string{{"Cookie", "wp_a=1' OR '1'='1; sid=<script>alert(1)</script>; n=~~~~~~~~~"}}},
		sample{header: [][2]string{{"User-Agent", "nikto"}, {"Referer", "https://a.test/?<script>alert(1)</script>"}, {"X-Probe", "() { :; }; echo"}}},
		sample{target: "/../../etc/passwd"},
		sample{target: "/.git/config?f=/etc/passwd"},
		sample{contentType: "application/json", body: `{"comment":"<script>alert(1)</script>","list":[{"Id":"1' OR '1'='1"},{"Id":"x"}]}`},
		sample{contentType: "text/xml", body: `<a b="&lt;script&gt;alert(1)&lt;/script&gt;">&lt;script&gt;alert(1)&lt;/script&gt;</a>`},
		sample{contentType: "multipart/form-data; boundary=b", body: multipartBody("b",
			part{name: "q", content: "<script>alert(1)</script>"}, part{name: "up", filename: "shell.php", content: "<?php system('id');"})},
		sample{status: 500, responseType: "text/html", responseBody: "You have an error in your SQL syntax near ''"},
		sample{status: 200, responseType: "text/html", responseBody: "<b>Warning</b>: mysql_query() in /var/www/html/index.php on line 3"},
	)
}

// Each case is a profile on the shared engine, and the directives by which an engine of its
// own is told the same. Both must find the same.
func TestExclusionsEqualThoseOfADedicatedEngine(t *testing.T) {
	e := sharedEngine(t)
	type equal struct {
		name       string
		list       []Exclusion
		directives string
	}
	cases := []equal{
		{"rule", []Exclusion{{Rules: one(942100)}}, "SecRuleRemoveById 942100"},
		{"rules", []Exclusion{{Rules: [][2]int32{{942100, 942100}, {941100, 941100}}}}, "SecRuleRemoveById 942100 941100"},
		{"range", []Exclusion{{Rules: [][2]int32{{941100, 941199}}}}, "SecRuleRemoveById 941100-941199"},
		{"a whole file", []Exclusion{{Rules: [][2]int32{{942000, 942999}}}}, "SecRuleRemoveById 942100-942999"},
		{"tag", []Exclusion{{Tags: []string{"attack-xss"}}}, "SecRuleRemoveByTag attack-xss"},
		{"tag and rule", []Exclusion{{Tags: []string{"attack-lfi"}, Rules: one(942100)}}, "SecRuleRemoveByTag attack-lfi\nSecRuleRemoveById 942100"},
		{"level", []Exclusion{{Tags: []string{"paranoia-level/2"}}}, "SecRuleRemoveByTag paranoia-level/2"},
		{"parse error", []Exclusion{{Rules: one(200002)}}, "SecRuleRemoveById 200002"},
		{"argument", []Exclusion{{Rules: one(942100), Target: "ARGS:q"}}, `SecRuleUpdateTargetById 942100 "!ARGS:q"`},
		{"argument in other case", []Exclusion{{Rules: one(941100), Target: "ARGS:cOMMENT"}}, `SecRuleUpdateTargetById 941100 "!ARGS:Comment"`},
		{"all arguments", []Exclusion{{Tags: []string{"attack-sqli"}, Target: "ARGS"}}, `SecRuleUpdateTargetByTag attack-sqli "!ARGS"`},
		{"pattern", []Exclusion{{Tags: []string{"attack-xss"}, Target: "ARGS:/^(q|comment)$/"}}, `SecRuleUpdateTargetByTag attack-xss "!ARGS:/^(q|comment)$/"`},
		{"JSON", []Exclusion{{Rules: one(942100), Target: `ARGS:/^json\.list\.[0-9]+\.id$/`}}, `SecRuleUpdateTargetById 942100 "!ARGS:/^json\.list\.[0-9]+\.id$/"`},
		{"names", []Exclusion{{Rules: [][2]int32{{941100, 941390}}, Target: "ARGS_NAMES"}}, `SecRuleUpdateTargetById 941100-941390 "!ARGS_NAMES"`},
		{"cookie", []Exclusion{{Tags: []string{"attack-sqli"}, Target: "REQUEST_COOKIES:/^wp_/"}}, `SecRuleUpdateTargetByTag attack-sqli "!REQUEST_COOKIES:/^wp_/"`},
		{"field", []Exclusion{{Rules: one(913100), Target: "REQUEST_HEADERS:User-Agent"}}, `SecRuleUpdateTargetById 913100 "!REQUEST_HEADERS:User-Agent"`},
		{"path", []Exclusion{{Tags: []string{"attack-lfi"}, Target: "REQUEST_FILENAME"}}, `SecRuleUpdateTargetByTag attack-lfi "!REQUEST_FILENAME"`},
		{"XML", []Exclusion{{Rules: [][2]int32{{941100, 941390}}, Target: "XML:/*"}}, `SecRuleUpdateTargetById 941100-941390 "!XML:/*"`},
		{"answer", []Exclusion{{Rules: [][2]int32{{951110, 951260}}}}, "SecRuleRemoveById 951110-951260"},
		{"body of an answer", []Exclusion{{Tags: []string{"attack-disclosure"}, Target: "RESPONSE_BODY"}}, `SecRuleUpdateTargetByTag attack-disclosure "!RESPONSE_BODY"`},
		{"all at once", []Exclusion{
			{Rules: [][2]int32{{942100, 942100}, {942130, 942130}, {941110, 941110}}},
			{Rules: one(941100), Target: "ARGS:q"},
			{Rules: one(941100), Target: "ARGS:Q2"},
			{Tags: []string{"attack-rce"}, Target: "ARGS:icon"},
		}, "SecRuleRemoveById 942100 942130 941110\nSecRuleUpdateTargetById 941100 \"!ARGS:q|!ARGS:Q2\"\nSecRuleUpdateTargetByTag attack-rce \"!ARGS:icon\""},
	}
	samples := suspicious()
	if raceDetector { // which makes a compilation take seconds
		cases = slices.DeleteFunc(cases, func(c equal) bool { return c.name != "all at once" && c.name != "cookie" })
	}
	alone := &Profile{Mode: Block, Paranoia: 2, Responses: true}
	var without []string
	for _, s := range samples {
		without = append(without, summary(inspect(e, alone, s)))
	}
	changed := 0
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			own, err := newEngine(Options{}, wafrules.Embedded().Directives()+c.directives+"\n")
			if err != nil {
				t.Fatal(err)
			}
			defer own.Close()
			if ignored := e.Ignored(c.list); len(ignored) > 0 {
				t.Errorf("without effect: %+v", ignored)
			}
			tuned := &Profile{Mode: Block, Paranoia: 2, Responses: true, Exclusions: NewExclusions(c.list)}
			for i, s := range samples {
				want, got := summary(inspect(own, alone, s)), summary(inspect(e, tuned, s))
				for try := 0; try < 16 && got != want; try++ { // chains with captures depend on the order of a map
					want, got = summary(inspect(own, alone, s)), summary(inspect(e, tuned, s))
				}
				if got != want {
					t.Errorf("request %d %q:\n got %s\nwant %s", i, s.target+" "+s.body, got, want)
				}
				if got != without[i] {
					changed++
				}
			}
		})
	}
	if changed < len(cases) {
		t.Errorf("the exclusions changed only %d results of %d cases", changed, len(cases))
	}
}

// summary is what two engines must agree on.
func summary(r result) string {
	var found []string
	for _, m := range r.matches {
		found = append(found, fmt.Sprintf("%d %s +%d", m.ID, m.Target, m.Score))
	}
	slices.Sort(found)
	status, rule := 0, 0
	if r.verdict != nil {
		status, rule = r.verdict.Status, r.verdict.RuleID
	}
	return fmt.Sprintf("%d by %d, score %d and %d, %t, %s, %v", status, rule, r.score, r.outbound, r.would, strings.Join(found, "; "), r.err)
}

// The exclusion of one request is not that of the next.
func TestExclusionsApplyToPathAndMethodAndEndByThemselves(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	e := smallEngine(t, `SecRule ARGS "@contains EVIL" "id:2,phase:2,deny,msg:'evil',tag:'t'"`)
	e.now = func() time.Time { return now }
	p := &Profile{Mode: Block, Exclusions: NewExclusions([]Exclusion{
		{Rules: one(2), Target: "ARGS:q", Paths: []string{"/search", "/api/*"}, Methods: []string{"GET", "HEAD"}},
		{Tags: []string{"t"}, Target: "ARGS:until", Until: now.Unix() + 1},
		{Rules: one(2), Methods: []string{"PUT"}},
	})}
	try := func(method, target string, passes bool) {
		t.Helper()
		if got := inspect(e, p, sample{method: method, target: target}); (got.verdict == nil) != passes || got.err != nil {
			t.Errorf("%s %s: verdict %+v, %v", method, target, got.verdict, got.err)
		}
	}
	try("GET", "/search?q=EVIL", true)
	try("HEAD", "/api/a/b?q=EVIL", true)
	try("GET", "/%73earch?q=EVIL", true)
	try("POST", "/search?q=EVIL", false)
	try("get", "/search?q=EVIL", false)
	try("GET", "/search/?q=EVIL", false)
	try("GET", "/other?q=EVIL", false)
	try("GET", "/search?q=x&p=EVIL", false) // another argument
	try("GET", "/x?/search&q=EVIL", false)  // a query is no path
	for _, around := range []string{"/api/../admin", "/api/%2e%2e/admin", "/api/..%2fadmin", "/api/..;/admin", `/api\..\admin`, "/api//x", "/api/%252e%252e/admin", "/api/x;/../../admin"} {
		try("GET", around+"?q=EVIL", false)
	}
	try("PUT", "/anywhere?z=EVIL", true)
	try("GET", "/?until=EVIL", true)
	now = now.Add(time.Second)
	try("GET", "/?until=EVIL", false)
	now = now.Add(-time.Second) // nothing was forgotten
	try("GET", "/?until=EVIL", true)
}

func TestWhatTheRulesDoNotKnowIsNamedAndTheRestApplies(t *testing.T) {
	e := sharedEngine(t)
	list := []Exclusion{
		{Rules: [][2]int32{{942100, 942100}, {942999, 942999}}},
		{Tags: []string{"sqli", "attack-xss"}},
		{Rules: one(949110)},
		{Rules: one(920420), Target: "ARGS:q"},
		{Rules: one(941100), Target: "NO_SUCH:q"},
		{Rules: [][2]int32{{970000, 979999}}},
		{Rules: one(942100), Target: "ARGS:/(/"},
	}
	got := ""
	for _, x := range e.Ignored(list) {
		got += fmt.Sprintf("%d %s: %s\n", x.Index, x.Field, x.Reason)
	}
	for _, want := range []string{
		"0 rules: there is no rule 942999\n",
		`1 tags: no rule has the tag "sqli" (did you mean "attack-sqli"?)` + "\n",
		"2 rules: rule 949110 keeps the books of the others and cannot be excluded\n",
		"3 target: none of its rules looks at ARGS; rule 920420 looks at REQUEST_HEADERS\n",
		`4 target: there is no variable "NO_SUCH"` + "\n",
		"5 rules: there is no rule from 970000 to 979999\n",
		"6 target: target \"ARGS:/(/\": error parsing regexp",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("not said: %q in\n%s", want, got)
		}
	}
	p := &Profile{Mode: Block, Exclusions: NewExclusions(list)}
	if got := inspect(e, p, sample{target: sqli}); got.verdict != nil {
		t.Errorf("what is left of an exclusion does not apply: %+v", got)
	}
	if got := inspect(e, p, sample{target: script}); got.verdict != nil {
		t.Errorf("what is left of an exclusion does not apply: %+v", got)
	}
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "NO_SUCH") || !strings.Contains(err.Error(), "ARGS:/(/") {
		t.Errorf("Validate: %v", err)
	}
}

// Nothing switches off what the other rules lean on.
func TestBookkeepingCannotBeExcluded(t *testing.T) {
	e := sharedEngine(t)
	all := &Profile{Mode: Block, Paranoia: 1, Exclusions: NewExclusions([]Exclusion{{Tags: []string{"OWASP_CRS"}, Rules: [][2]int32{{1, 999999999}}, Target: ""}})}
	set := all.Exclusions.plan(e.current.Load().catalog)
	for _, r := range set.always.ranges {
		for id := int(r[0]); id <= int(r[1]); id++ {
			if routes.BookkeepingRule(id) != "" && slices.Contains(e.current.Load().catalog.ids, id) {
				t.Errorf("rule %d is excluded by a range or a tag", id)
			}
		}
	}
	// A paranoia level stays what it is, whatever a range holds: at level 1 no rule of level 2 runs.
	p := &Profile{Mode: Block, Exclusions: NewExclusions([]Exclusion{{Rules: [][2]int32{{942000, 942099}}}})}
	for i, s := range suspicious() {
		if got, want := summary(inspect(e, p, s)), summary(inspect(e, &Profile{Mode: Block}, s)); got != want {
			t.Errorf("request %d:\n got %s\nwant %s", i, got, want)
		}
	}
	for _, id := range []int{901340, 905100, 949110, 959100, 980170, 942013, 200001, 200110} {
		if !spared(id) {
			t.Errorf("rule %d can be excluded", id)
		}
	}
}

// A document may name every variable that a rule looks at and a request can set.
func TestDocumentsNameTheEnginesVariables(t *testing.T) {
	e := sharedEngine(t)
	used := looks{}
	for id, l := range e.current.Load().catalog.uses {
		if spared(id) {
			continue
		}
		for i := range used {
			used[i] |= l[i]
		}
	}
	for name, keyed := range routes.ExclusionTargets() {
		v, err := parseTarget(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if keyed != v.variable.CanBeSelected() {
			t.Errorf("%s: takes a name: %t, for the engine %t", name, keyed, v.variable.CanBeSelected())
		}
	}
	inner := []string{"TX", "MATCHED", "UNIQUE_ID", "REMOTE_ADDR", "REQBODY_", "MULTIPART_STRICT_ERROR", "URI_PARSE_ERROR", "ARGUMENTS_LIMIT", "INBOUND_DATA_ERROR", "_LENGTH", "_SIZE", "UNKNOWN", "ENV", "DURATION", "HIGHEST"}
	for name := range strings.SplitSeq((&catalog{uses: map[int]looks{0: used}}).lookedAt(0), ", ") {
		if _, known := routes.ExclusionTargets()[name]; !known && !slices.ContainsFunc(inner, func(s string) bool { return strings.Contains(name, s) }) {
			t.Errorf("rules look at %s, which no exclusion can name", name)
		}
	}
}

func TestContentTypesArePerTransaction(t *testing.T) {
	e := sharedEngine(t)
	text := sample{contentType: "text/plain; charset=utf-8", body: "hello"}
	if got := inspect(e, &Profile{Mode: Block}, text); got.verdict == nil || !slices.Contains(got.ids(), 920420) {
		t.Errorf("text by default: %+v", got)
	}
	allowed := &Profile{Mode: Block, AllowedTypes: []string{"text/plain", "application/octet-stream"}}
	if got := inspect(e, allowed, text); got.verdict != nil || len(got.matches) != 0 {
		t.Errorf("text where it is allowed: %+v", got)
	}
	if got := inspect(e, allowed, sample{contentType: "application/json", body: "{}"}); got.verdict == nil {
		t.Errorf("JSON where it is not allowed: %+v", got)
	}
	text.body = "<script>alert(1)</script>"
	if got := inspect(e, allowed, text); got.verdict == nil {
		t.Errorf("a script in a text: %+v", got)
	}
	for _, part := range []string{"text/pla", "plain", "ext/plain"} {
		if got := inspect(e, allowed, sample{contentType: part, body: "x"}); got.verdict == nil {
			t.Errorf("%s is taken for text/plain", part)
		}
	}
}

// What only concerns requests does not make answers unfit that were inspected without it.
func TestDigestHoldsExclusionsOfAnswersOnly(t *testing.T) {
	plain := (&Profile{}).Digest(wafrules.Embedded())
	soon := time.Now().Add(time.Hour).Unix()
	for _, c := range []struct {
		x    Exclusion
		same bool
	}{
		{Exclusion{Rules: one(942100)}, true},
		{Exclusion{Tags: []string{"attack-sqli"}}, true},
		{Exclusion{Tags: []string{"attack-xss"}, Paths: []string{"/a"}}, true},
		{Exclusion{Tags: []string{"OWASP_CRS"}, Target: "ARGS:q"}, true},
		{Exclusion{Rules: one(942100), Until: soon}, true},
		{Exclusion{Rules: one(951100)}, false},
		{Exclusion{Rules: [][2]int32{{940000, 950000}}}, false},
		{Exclusion{Tags: []string{"attack-disclosure"}}, false},
		{Exclusion{Tags: []string{"OWASP_CRS"}}, false},
		{Exclusion{Tags: []string{"OWASP_CRS"}, Target: "RESPONSE_BODY"}, false},
		{Exclusion{Rules: one(951100), Until: soon}, false},
		{Exclusion{Rules: one(951100), Until: soon - 7200}, true}, // it has ended
	} {
		p := &Profile{Exclusions: NewExclusions([]Exclusion{c.x})}
		if got := p.Digest(wafrules.Embedded()); (got == plain) != c.same || got != p.Digest(wafrules.Embedded()) || len(got) != 32 {
			t.Errorf("%+v: %s, without %s", c.x, got, plain)
		}
	}
	a := &Profile{Exclusions: NewExclusions([]Exclusion{{Rules: one(951100), Paths: []string{"/a"}}})}
	b := &Profile{Exclusions: NewExclusions([]Exclusion{{Rules: one(951100), Paths: []string{"/b"}}})}
	if a.Digest(wafrules.Embedded()) == b.Digest(wafrules.Embedded()) {
		t.Error("a path makes no difference")
	}
	if (&Profile{AllowedTypes: []string{"a/b"}}).Digest(wafrules.Embedded()) == plain {
		t.Error("content types make no difference")
	}
}

// No document makes a request take long: what is beyond the bound stays on.
func TestExclusionsCannotCostMoreThanABound(t *testing.T) {
	e := sharedEngine(t)
	var list []Exclusion
	for i := range 1000 {
		list = append(list, Exclusion{Tags: []string{"OWASP_CRS"}, Target: fmt.Sprintf("ARGS:x%d", i)})
	}
	list[0].Target = "ARGS:q"
	list[999].Target = "ARGS:id"
	set, ignored := e.current.Load().catalog.compile(list)
	pairs := 0
	for _, target := range set.always.targets {
		pairs += len(target.ids)
	}
	if pairs > maxWork || pairs < maxWork*9/10 || len(ignored) != 1 || !strings.Contains(ignored[0].Reason, "more than 10000") {
		t.Errorf("%d pairs, %+v", pairs, ignored)
	}
	p := &Profile{Mode: Block, Exclusions: NewExclusions(list)}
	if got := inspect(e, p, sample{target: script}); got.verdict != nil {
		t.Errorf("the first exclusion does not apply: %+v", got)
	}
	if got := inspect(e, p, sample{target: sqli}); got.verdict == nil {
		t.Errorf("the last exclusion applies: %+v", got)
	}
}
