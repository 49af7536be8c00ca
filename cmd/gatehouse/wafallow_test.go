package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
	"gatehouse/edge/waf"
	"gatehouse/routes"
)

// engine is compiled once for all tests here.
var engine = sync.OnceValues(func() (*waf.Engine, error) { return waf.New(waf.Options{}) })

const allowSites = `
tenants:
  shop: {waf: {mode: block, exclusions: [{id: same, rules: [942100]}]}}
vhosts:
  www.shop.test: {tenant: shop, backends: [http://127.0.0.1:9000], waf: {exclusions: [{id: same, rules: [942100]}, {id: old, tags: [attack-sqli], until: 2020-01-01}]}}
  two.shop.test: {tenant: shop, backends: [http://127.0.0.1:9000]}
  new.test: {waf: {profile: strong, apps: [dokuwiki]}, tenant: new, backends: [http://127.0.0.1:9000]}
  lone.test: {backends: [http://127.0.0.1:9000]}
`

// kept are events by id, each refused with a score of 5 unless it says otherwise.
type kept map[string]admin.Event

func (k kept) add(id, path string, matches ...admin.Match) *admin.Event {
	e := admin.Event{
		Time: time.Date(2026, 11, 28, 12, 0, len(k), 0, time.UTC), ID: id, Node: "n1", Tenant: "shop", Vhost: "www.shop.test", Client: "192.0.2." + fmt.Sprint(len(k)%3),
		Method: "POST", Path: path, Phase: "request", Mode: "block", Verdict: admin.VerdictBlock, Threshold: 5, Rules: matches,
	}
	for _, m := range matches {
		e.Score += m.Score
	}
	k[id] = e
	return &e
}

func (k kept) list(q admin.EventQuery) (out []admin.Event) {
	for _, e := range k {
		if (q.ID == "" || q.ID == e.ID) && (q.Tenant == "" || q.Tenant == e.Tenant) && (q.Vhost == "" || q.Vhost == e.Vhost) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b admin.Event) int { return b.Time.Compare(a.Time) })
	return out
}

// start starts an API with the real rules and these events.
func (k kept) start(t *testing.T) *admintest.Node {
	t.Helper()
	rules, err := engine()
	if err != nil {
		t.Fatal(err)
	}
	n := admintest.Start(t, allowSites, admin.Options{
		Node: "n1", Ruleset: ruleset{rules}, ExclusionProblems: exclusionsAgainst(rules),
		Defaults: &routes.Tenant{WAF: &routes.WAF{Mode: "block", Paranoia: 2, Exclusions: []routes.Exclusion{{ID: "fixed", Rules: []routes.RuleRange{{First: 942100, Last: 942100}}}}}},
		Events: func(_ context.Context, q admin.EventQuery) (admin.EventList, error) {
			return admin.EventList{Events: k.list(q)}, nil
		},
		EachEvent: func(_ context.Context, q admin.EventQuery, visit func(*admin.Event)) (admin.EventsMissing, error) {
			for _, e := range k.list(q) {
				visit(&e)
			}
			return admin.EventsMissing{Unreadable: 1}, nil
		},
	})
	t.Chdir(n.Dir)
	return n
}

func match(id int, target string) admin.Match {
	return admin.Match{ID: id, Message: "m", Severity: "critical", Target: target, Data: "d", Score: 5}
}

// What is proposed is the narrowest that lets the request pass, and where it has to be wider, that is said.
func TestWAFAllowProposesTheNarrowest(t *testing.T) {
	k := kept{}
	long := strings.Repeat("a", 130)
	partial := match(931130, "ARGS:url")
	partial.Partial = true
	k.add("param", "/upload", match(932120, "ARGS:icon"))
	k.add("many", "/p", match(941100, "ARGS:q"), match(941160, "ARGS:q"), match(942100, "ARGS:r"), admin.Match{ID: 920100, Target: "REQUEST_LINE"})
	k.add("json", "/p", match(942100, "ARGS:json.items.0.tags.12.name"))
	k.add("slashes", "/p", match(942100, "ARGS:/a.b/"))
	k.add("cookie", "/p", match(942100, "REQUEST_COOKIES:_ga"))
	k.add("partial", "/p", partial)
	k.add("cut", "/p", match(942100, "ARGS:"+long))
	k.add("own-variable", "/p", match(942100, "TX:0"))
	k.add("blind", "/p", match(920100, "ARGS:not-looked-at"))
	k.add("value", "/p/ä", match(930130, "REQUEST_FILENAME"))
	k.add("star", "/a*b", match(942100, "ARGS:q"))
	k.add("encoded", "/caf%C3%A9%20x", match(942100, "ARGS:q"))
	k.add("dots", "/a/../b", match(942100, "ARGS:q"))
	k.add("deep", "/"+strings.Repeat("p", 250), match(942100, "ARGS:q"))
	k.add("header", "/p", match(913100, "REQUEST_HEADERS:User-Agent"))
	unread := k.add("unread", "/p", match(942100, "ARGS:q"), admin.Match{ID: 200002, Target: "REQBODY_ERROR"}, admin.Match{ID: 200003, Target: "MULTIPART_STRICT_ERROR"})
	unread.Mode, unread.Verdict, unread.RefusedBy, unread.Threshold = "detect", "detect", 200002, 100
	k["unread"] = *unread
	k.add("own-rule", "/p", match(100001, "ARGS:q"))
	k.add("parser", "/p", admin.Match{ID: 200002, Target: "REQBODY_ERROR"})
	e := k["parser"]
	e.RefusedBy = 200002
	k["parser"] = e
	e = k["many"]
	e.Verdict = admin.VerdictPass
	k["matched"] = e
	k["matched"] = func() admin.Event {
		e := k["param"]
		e.ID, e.Verdict, e.Score = "matched", admin.VerdictPass, 3
		return e
	}()
	k["lone"] = func() admin.Event { e := k["param"]; e.ID, e.Tenant, e.Vhost = "lone", "", "lone.test"; return e }()
	k["gone"] = func() admin.Event { e := k["param"]; e.ID, e.Vhost = "gone", "gone.test"; return e }()
	n := k.start(t)
	for args, wants := range map[string]struct {
		code int
		says []string
	}{
		"param":                             {0, []string{"vhost www.shop.test: rules 932120 at ARGS:icon in POST /upload\n"}},
		"param --scope path":                {0, []string{"vhost www.shop.test: rules 932120 in /upload\n"}},
		"param --scope vhost":               {0, []string{"vhost www.shop.test: rules 932120\n"}},
		"param --scope tenant":              {0, []string{"tenant shop: rules 932120\n"}},
		"param --for 30d --note x":          {0, []string{", until 20", "(x)"}},
		"param --until 2099-01-31":          {0, []string{", until 2099-01-31"}},
		"many":                              {0, []string{"rules 941100, 941160 at ARGS:q in POST /p\n", "rules 942100 at ARGS:r in POST /p\n"}},
		"many --scope vhost":                {0, []string{"rules 941100, 941160, 942100\n"}},
		"many --rule 941100":                {1, []string{"would still be refused without the rules named: score 15 of 5, rules 941100, 941160, 942100, 920100"}},
		"many --rule 920100":                {1, []string{"rule 920100 had no part in it; these had: 941100, 941160, 942100"}},
		"json":                              {0, []string{`at ARGS:/^json\.items\.[0-9]+\.tags\.[0-9]+\.name$/ in POST /p`}},
		"slashes":                           {0, []string{`at ARGS:/^/a\.b/$/ in`}},
		"cookie":                            {0, []string{"rules 942100 at REQUEST_COOKIES:_ga\n", "clients send it to all of them"}},
		"partial":                           {0, []string{"rules 931130 in POST /p\n", "off as a whole for POST /p: it matches several things together"}},
		"cut":                               {0, []string{"rules 942100 in POST /p\n", "what it matched cannot be named alone"}},
		"own-variable":                      {0, []string{"rules 942100 in POST /p\n", "off as a whole"}},
		"blind":                             {0, []string{"rules 920100 in POST /p\n", "off as a whole"}},
		"value":                             {0, []string{"rules 930130 at REQUEST_FILENAME in POST /p/ä\n"}},
		"star":                              {0, []string{"in POST /a?b\n"}},
		"encoded":                           {0, []string{"in POST /café x\n"}},
		"dots":                              {1, []string{"which backends read in different ways: use --any-path"}},
		"header":                            {0, []string{"rules 913100 at REQUEST_HEADERS:User-Agent\n", "clients send it to all of them"}},
		"unread":                            {0, []string{"rules 200002, 200003 in POST /p\n"}},
		"unread --rule 200002":              {1, []string{"would still be refused without the rules named"}},
		"param --any-path":                  {0, []string{"vhost www.shop.test: rules 932120 at ARGS:icon\n"}},
		"dots --any-path":                   {0, []string{"vhost www.shop.test: rules 942100 at ARGS:q\n"}},
		"param --any-path --scope path":     {2, []string{"--any-path has no effect"}},
		"dots --scope vhost":                {0, []string{"vhost www.shop.test: rules 942100\n"}},
		"deep":                              {1, []string{"longer than the 200 bytes", "--any-path"}},
		"own-rule":                          {1, []string{"it is an own rule, to be changed in waf.rules"}},
		"parser":                            {0, []string{"rules 200002 in POST /p\n", "refused by one rule before the others had looked"}},
		"matched":                           {1, []string{"was not refused: its score 3 stays below 5"}},
		"lone":                              {0, []string{"vhost lone.test: rules 932120 at ARGS:icon", "0 of 0 other refused requests of vhost lone.test on node n1"}},
		"lone --scope tenant":               {1, []string{"has no tenant: use --scope vhost"}},
		"param --rule 949110":               {1, []string{"rule 949110 cannot be excluded: it adds the score up"}},
		"param --rule abc":                  {2, []string{"want a rule's number, such as 942100"}},
		"nobody":                            {1, []string{"no WAF event of request nobody"}},
		"param --scope parm":                {2, []string{`did you mean "param"?`}},
		"param --until yesterday":           {2, []string{"bad date"}},
		"param --until 2020-01-01":          {2, []string{"is not to come"}},
		"param --until 2099-01-01 --for 1d": {2, []string{"want one of them"}},
		"param --for soon":                  {2, []string{"bad duration"}},
	} {
		code, out, errOut := invoke(t, append([]string{"waf", "allow", "--dry-run"}, strings.Fields(args)...)...)
		want(t, args+": exit\n"+out+errOut, code, wants.code)
		contains(t, args, out+errOut, wants.says...)
	}
	code, _, errOut := invoke(t, "waf", "allow", "gone")
	want(t, "a vhost that is gone", code, exitFailed)
	contains(t, "a vhost that is gone", errOut, "there is no vhost gone.test")
	for _, key := range []routes.Key{{Kind: routes.KindVhost, Name: "www.shop.test"}, {Kind: routes.KindTenant, Name: "shop"}} {
		doc, _ := n.Store.Document(key)
		if raw, err := json.Marshal(doc); err != nil || strings.Contains(string(raw), "932120") {
			t.Errorf("a dry run has changed %s: %s %v", key, raw, err)
		}
	}
}

// The replay counts what an exclusion would let through, too, and shows it.
func TestWAFAllowReplaysTheKeptEvents(t *testing.T) {
	k := kept{}
	for i := range 12 {
		k.add(fmt.Sprintf("same-%02d", i), "/upload", match(932120, "ARGS:icon"))
	}
	k.add("other-path", "/other", match(932120, "ARGS:icon"))
	k.add("worse", "/upload", match(932120, "ARGS:icon"), match(942100, "ARGS:icon"))
	whole := match(932120, "ARGS:icon")
	whole.Partial = true
	k.add("partial", "/upload", whole)
	for id, change := range map[string]func(*admin.Event){
		"other-vhost":  func(e *admin.Event) { e.Vhost = "two.shop.test" },
		"other-method": func(e *admin.Event) { e.Method = "PUT" },
		"other-tenant": func(e *admin.Event) { e.Tenant, e.Vhost = "blog", "blog.test" },
		"passed":       func(e *admin.Event) { e.Verdict = admin.VerdictPass },
	} {
		e := *k.add(id, "/upload", match(932120, "ARGS:icon"))
		change(&e)
		k[id] = e
	}
	k.start(t)
	_, out, _ := invoke(t, "waf", "allow", "same-00", "--dry-run")
	contains(t, "param", out, "and 11 of 16 other refused requests of tenant shop on node n1, from 3 clients:\n", "same-11", "same-02", "  and 1 older ones\n", "1 lines of the files could not be read")
	if strings.Contains(out, "same-01") || strings.Contains(out, "worse") {
		t.Errorf("examples:\n%s", out)
	}
	// A request and its answer are one request, which passes if both do.
	for id, change := range map[string]func(*admin.Event){
		"both":   func(*admin.Event) {},
		"answer": func(e *admin.Event) { e.Score, e.Verdict = 3, admin.VerdictPass },
	} {
		e := *k.add(id, "/answered", match(932120, "ARGS:icon"))
		change(&e)
		k[id] = e
		e.Phase, e.Rules, e.Score, e.Threshold, e.Verdict = "response", []admin.Match{{ID: 951230, Target: "RESPONSE_BODY", Score: 5}}, 5, 4, admin.VerdictBlock
		k[id+" response"] = e
	}
	_, out, _ = invoke(t, "waf", "allow", "answer", "--dry-run")
	contains(t, "an answer", out, "rules 951230 at RESPONSE_BODY in POST /answered\n", "and 0 of 18 other")
	_, out, _ = invoke(t, "waf", "allow", "both", "--dry-run", "--scope", "path")
	contains(t, "request and answer", out, "951230", "932120", "in /answered\n", "and 1 of 18 other")
	delete(k, "both")
	delete(k, "both response")
	delete(k, "answer")
	delete(k, "answer response")
	for scope, says := range map[string]string{
		"path": "and 13 of 16", "vhost": "and 14 of 16", "tenant": "and 15 of 16",
	} {
		code, out, errOut := invoke(t, "waf", "allow", "same-00", "--dry-run", "--scope", scope)
		want(t, scope+errOut, code, exitOK)
		contains(t, scope, out, says)
	}
}

func TestWAFAllowAndUndoChangeOneDocument(t *testing.T) {
	k := kept{}
	k.add("a", "/upload", match(932120, "ARGS:icon"))
	e := *k.add("b", "/upload", match(932120, "ARGS:icon"))
	e.Tenant, e.Vhost = "new", "new.test"
	k["b"] = e
	n := k.start(t)
	document := func(kind routes.Kind, name string) string {
		t.Helper()
		doc, _ := n.Store.Document(routes.Key{Kind: kind, Name: name})
		var v any = doc.Vhost
		if kind == routes.KindTenant {
			v = doc.Tenant
		}
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	before := document(routes.KindVhost, "www.shop.test")
	code, out, errOut := invoke(t, "waf", "allow", "a", "--until", "2099-01-31", "-o", "json")
	want(t, "allow"+errOut, code, exitOK)
	var allowed admin.AllowResult
	if err := json.Unmarshal([]byte(out), &allowed); err != nil || !allowed.Saved || !allowed.Applied || !allowed.Replay.Passes {
		t.Fatalf("%v\n%s", err, out)
	}
	id := allowed.Exclusions[0].ID
	contains(t, "document", document(routes.KindVhost, "www.shop.test"), `"id":"`+id+`"`, `"until":"2099-01-31"`, `"target":"ARGS:icon"`, `"id":"same"`, `"id":"old"`)
	code, _, errOut = invoke(t, "waf", "allow", "a")
	want(t, "again", code, exitFailed)
	contains(t, "again", errOut, "has this exclusion already ("+id+")")
	_, out, _ = invoke(t, "waf", "undo", id)
	contains(t, "undo", out, id+" removed from vhost www.shop.test: rules 932120 at ARGS:icon in POST /upload, until 2099-01-31\n", "active on this node after")
	want(t, "document after undo", document(routes.KindVhost, "www.shop.test"), before)

	// A tenant without a document has the defaults, and keeps them.
	_, out, errOut = invoke(t, "waf", "allow", "b", "--scope", "tenant")
	contains(t, "no document"+errOut, out, "added to tenant new")
	contains(t, "new document", document(routes.KindTenant, "new"), `"mode":"block"`, `"paranoia":2`, `"id":"fixed"`, "932120")

	for args, says := range map[string]string{
		"same":                   "stands in several documents (tenant shop, vhost www.shop.test): say which with --tenant or --vhost",
		"none":                   "there is no exclusion none",
		"same --vhost blog.test": "there is no exclusion same",
	} {
		code, _, errOut := invoke(t, append([]string{"waf", "undo"}, strings.Fields(args)...)...)
		want(t, args, code, exitFailed)
		contains(t, args, errOut, says)
	}
	code, out, errOut = invoke(t, "waf", "undo", "same", "old", "--vhost", "www.shop.test")
	want(t, "two"+errOut, code, exitOK)
	contains(t, "two", out, "same removed", "old removed")
	want(t, "the vhost", document(routes.KindVhost, "www.shop.test"), strings.Replace(before, document2(t, before), "", 1))
	if code, _, errOut := invoke(t, "waf", "undo", "same", "--vhost", "www.shop.test"); code != exitFailed {
		t.Errorf("undone twice: %s", errOut)
	}

	n.Store.FailPuts(fmt.Errorf("disk full"))
	code, _, errOut = invoke(t, "waf", "allow", "a")
	want(t, "disk full", code, exitFailed)
	contains(t, "disk full", errOut, "disk full")
	n.Store.FailPuts(nil)
	n.Store.Deafen()
	code, out, _ = invoke(t, "waf", "allow", "a")
	want(t, "deaf", code, exitOK)
	contains(t, "deaf", out, "written, but not active yet")
}

// document2 is the part of a document that holds its WAF settings.
func document2(t *testing.T, doc string) string {
	t.Helper()
	at := strings.Index(doc, `,"waf"`)
	if at < 0 {
		t.Fatalf("no waf in %s", doc)
	}
	return doc[at : len(doc)-1]
}

func TestWAFRulesTellForWhomAndWhen(t *testing.T) {
	k := kept{}
	k.add("a", "/upload", match(932120, "ARGS:icon"), match(932120, "ARGS:b"))
	k.add("b", "/upload", match(932120, "ARGS:icon"))
	k.start(t)
	_, out, errOut := invoke(t, "waf", "rules", "powershell")
	contains(t, "by word"+errOut, out, "RULE", "EXCLUDED FOR", "932120  1   critical  2       2026-11-28T12:00:01Z  app dokuwiki", " rules of CRS 4.", "gate: on; ")
	_, out, _ = invoke(t, "waf", "rules", "942100")
	contains(t, "by an app", out, "app dokuwiki", "ARGS:wikitext")
	_, out, _ = invoke(t, "waf", "rules", "933100", "-t", "new")
	contains(t, "by a profile", out, "profile strong", "933000-940999")
	code, _, errOut := invoke(t, "waf", "rules", "--excluded", "-t", "shpo")
	want(t, "a tenant that is not", code, exitOK)
	contains(t, "a tenant that is not", errOut, `there is no tenant shpo (did you mean "shop"?)`)
	_, out, _ = invoke(t, "waf", "rules", "--excluded", "-t", "new", "-o", "json")
	var excluded admin.RuleList
	if err := json.Unmarshal([]byte(out), &excluded); err != nil {
		t.Fatal(err)
	}
	code, _, errOut = invoke(t, "waf", "undo", excluded.Rules[0].Excluded[0].Exclusion.ID)
	want(t, "undo of an app's", code, exitFailed)
	contains(t, "undo of an app's", errOut, "it belongs to the ", "which waf.")
	_, out, _ = invoke(t, "waf", "rules", "942100", "-t", "shop")
	if contains(t, "of one tenant", out, "vhost www.shop.test"); strings.Contains(out, "dokuwiki") {
		t.Errorf("another tenant's app:\n%s", out)
	}
	_, out, _ = invoke(t, "waf", "rules", "942100")
	contains(t, "one", out, "looks at  ARGS", "attack-sqli", "DOCUMENT", "tenant shop", "vhost www.shop.test  old", "2020-01-01 (ended)", "defaults", "fixed")
	_, out, _ = invoke(t, "waf", "rules", "949110")
	contains(t, "bookkeeping", out, "cannot be: it adds the score up")
	_, out, _ = invoke(t, "waf", "rules", "--excluded", "-t", "shop")
	contains(t, "excluded", out, "vhost www.shop.test  old")
	if strings.Count(out, "old") != 1 || strings.Contains(out, "fixed") {
		t.Errorf("excluded for shop:\n%s", out)
	}
	_, out, _ = invoke(t, "waf", "rules", "--matched")
	if contains(t, "matched", out, "932120", " rules of CRS"); strings.Contains(out, "942100") {
		t.Errorf("matched:\n%s", out)
	}
	var list admin.RuleList
	_, out, _ = invoke(t, "waf", "rules", "--tag", "attack-sqli", "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Rules) < 30 || list.Rules[0].Excluded == nil {
		t.Errorf("%v: %d rules", err, len(list.Rules))
	}
	want(t, "gate", list.Gate, admin.Gate{Mode: "on", Active: true})
	for args, says := range map[string]string{"942999": "there is no rule 942999 in CRS 4.", "-t a/b": "bad tenant name"} {
		code, _, errOut := invoke(t, append([]string{"waf", "rules"}, strings.Fields(args)...)...)
		if code == exitOK {
			t.Errorf("%s: exit 0", args)
		}
		contains(t, args, errOut, says)
	}
}
