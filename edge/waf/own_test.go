package waf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/corazawaf/coraza/v3"

	"gatehouse/edge/waf/seclang"
	wafrules "gatehouse/waf-rules"
)

func own(t testing.TB, texts ...string) []*OwnRules {
	t.Helper()
	var out []*OwnRules
	for _, text := range texts {
		rules, err := CompileOwn(text)
		if err != nil {
			t.Fatalf("%s\n%v", text, err)
		}
		out = append(out, rules)
	}
	return out
}

const couponRule = `SecRule ARGS:coupon "@rx ^[A-Z]{9}$" "id:1000,phase:2,deny,status:429,msg:'coupon',tag:'paranoia-level/1',severity:CRITICAL"`

func TestOwnRuleRefusesInBlockAndIsOnlyListedInDetect(t *testing.T) {
	e := sharedEngine(t)
	attack := sample{target: "/?coupon=ABCDEFGHI&id=1'+union+select+1,2,3--"}
	for _, mode := range []Mode{Detect, Block} {
		got := inspect(e, &Profile{Mode: mode, Own: own(t, couponRule)}, attack)
		m, ok := got.match(1000)
		if !ok || m.Message != "coupon" || m.Target != "ARGS:coupon" || m.Data != "ABCDEFGHI" || m.Score != 0 || got.matches[0].ID != 1000 {
			t.Errorf("%v: %+v", mode, got.matches)
		}
		if !got.would || got.err != nil {
			t.Errorf("%v: would block %v, error %v", mode, got.would, got.err)
		}
		if mode == Block {
			if got.verdict == nil || *got.verdict != (Verdict{Status: 429, RuleID: 1000, Action: "deny"}) {
				t.Errorf("verdict %+v", got.verdict)
			}
			continue
		}
		if got.verdict != nil || got.score < 5 {
			t.Errorf("detect: verdict %+v, score %d: the core rules have to look, too", got.verdict, got.score)
		}
	}
	if got := inspect(e, &Profile{Mode: Block, Own: own(t, couponRule)}, sample{target: "/?coupon=x"}); got.verdict != nil || len(got.matches) > 0 {
		t.Errorf("harmless: %+v", got)
	}
	if got := inspect(e, &Profile{Mode: Block, Own: own(t, couponRule)}, sample{target: "/?id=1'+union+select+1,2,3--"}); got.verdict == nil || got.verdict.RuleID != 949110 {
		t.Errorf("core rules behind own ones: %+v", got.verdict)
	}
	if got := inspect(e, &Profile{Mode: Off, Own: own(t, couponRule)}, attack); got.verdict != nil || len(got.matches) > 0 {
		t.Errorf("off: %+v", got)
	}
}

// Own rules see a body as the core rules do, whatever its type, and cut or not.
func TestOwnRulesReadBodiesAsTheCoreRulesDo(t *testing.T) {
	e := smallEngine(t, "")
	multipart := multipartBody("b", part{name: "note", content: "needle"}, part{name: "up", filename: "needle.php", content: "x"})
	for name, test := range map[string]struct {
		rule   string
		sample sample
		target string
	}{
		"form":      {`SecRule ARGS_POST:note "needle" "id:1,deny"`, sample{contentType: form, body: "a=b&note=needle"}, "ARGS_POST:note"},
		"form, cut": {`SecRule ARGS_POST:note "needle" "id:1,deny"`, sample{contentType: form, body: "a=b&note=needle%2", cut: true}, "ARGS_POST:note"},
		"JSON":      {`SecRule ARGS:json.items.0.note "needle" "id:1,deny"`, sample{contentType: "application/json", body: `{"items":[{"note":"needle"}]}`}, "ARGS:json.items.0.note"},
		"JSON, cut": {`SecRule ARGS:json.items.0.note "needle" "id:1,deny"`, sample{contentType: "application/vnd.api+json", body: `{"items":[{"note":"needle`, cut: true}, "ARGS:json.items.0.note"},
		"multipart": {`SecRule ARGS_POST:note "needle" "id:1,deny"`, sample{contentType: "multipart/form-data; boundary=b", body: multipart}, "ARGS_POST:note"},
		"upload":    {`SecRule FILES "@endsWith .php" "id:1,deny"`, sample{contentType: "multipart/form-data; boundary=b", body: multipart}, "FILES"},
		"upload, cut": {
			`SecRule MULTIPART_FILENAME:up "@endsWith .php" "id:1,deny"`,
			sample{contentType: "multipart/form-data; boundary=b", body: multipart[:len(multipart)-5], cut: true},
			"MULTIPART_FILENAME:up",
		},
		"XML":          {`SecRule XML:/* "needle" "id:1,deny"`, sample{contentType: "text/xml", body: "<a><b>needle</b></a>"}, "XML"},
		"XML, cut":     {`SecRule XML://@* "needle" "id:1,deny"`, sample{contentType: "text/xml", body: `<a b="needle`, cut: true}, "XML"},
		"unknown type": {`SecRule REQUEST_BODY "needle" "id:1,deny"`, sample{contentType: "text/plain", body: "a needle"}, "REQUEST_BODY"},
		"no body":      {`SecRule &ARGS_POST "@eq 0" "id:1,deny"`, sample{method: "POST"}, "ARGS_POST"},
		"head":         {`SecRule REQUEST_HEADERS:X-Note "needle" "id:1,phase:1,deny"`, sample{header: [][2]string{{"x-note", "needle"}}}, "REQUEST_HEADERS:x-note"},
	} {
		t.Run(name, func(t *testing.T) {
			got := inspect(e, &Profile{Mode: Block, Own: own(t, test.rule)}, test.sample)
			if got.verdict == nil || got.verdict.RuleID != 1 || got.err != nil {
				t.Fatalf("verdict %+v, error %v", got.verdict, got.err)
			}
			if !strings.HasPrefix(got.matches[0].Target, test.target) {
				t.Errorf("target %s, not %s", got.matches[0].Target, test.target)
			}
		})
	}
}

func TestOwnRulesSeeNoMoreThanInspectBody(t *testing.T) {
	e := smallEngine(t, "")
	p := &Profile{Mode: Block, InspectBody: 100, Own: own(t, `SecRule ARGS "needle" "id:1,deny"`)}
	body := "a=" + strings.Repeat("x", 200) + "&b=needle"
	if got := inspect(e, p, sample{contentType: form, body: body, cut: true}); got.verdict != nil {
		t.Errorf("%+v", got.verdict)
	}
}

// A vhost's text runs after its tenant's, and neither sees the notes of the other.
func TestTwoTextsRunOneAfterTheOther(t *testing.T) {
	e := smallEngine(t, "")
	tenant := "SecAction \"id:1,phase:1,setvar:tx.seen=1\"\nSecRule ARGS:a \"x\" \"id:2,msg:'tenant'\""
	vhost := "SecRule TX:seen \"1\" \"id:3,deny\"\nSecRule ARGS:a \"x\" \"id:4,deny\""
	p := &Profile{Mode: Block, Own: own(t, tenant, vhost)}
	got := inspect(e, p, sample{target: "/?a=x"})
	if got.verdict == nil || got.verdict.RuleID != 4 || !slices.Equal(got.ids(), []int{2, 4}) {
		t.Errorf("%+v %v", got.verdict, got.ids())
	}
}

func TestFlowOfOwnRules(t *testing.T) {
	e := smallEngine(t, "")
	text := `
SecRule REMOTE_ADDR "@ipMatch 192.0.2.0/24" "id:1,phase:1,nolog,skipAfter:end"
SecRule ARGS "x" "id:2,phase:1,deny"
SecMarker end
SecRule ARGS:user "^admin$" "id:3,phase:1,deny,chain"
SecRule ARGS:mode "^(\w+)$" "capture,chain"
SecRule TX:1 "@streq raw"
SecAction "id:4,phase:1,nolog,ctl:ruleRemoveTargetById=5;ARGS:free"
SecRule ARGS "y" "id:5,phase:1,deny"
SecRule ARGS:sum "@gt 10" "id:6,phase:1,setvar:tx.bad=+2,nolog"
SecRule TX:bad "@ge 2" "id:7,phase:2,block"`
	for target, want := range map[string]int{
		"/?a=x": 0, "/?user=admin&mode=raw": 3, "/?user=admin&mode=cooked": 0, "/?user=root&mode=raw": 0,
		"/?free=y": 0, "/?other=y": 5, "/?sum=11": 7, "/?sum=9": 0,
	} {
		got := inspect(e, &Profile{Mode: Block, Own: own(t, text)}, sample{target: target})
		if have := got.verdict; (have == nil) != (want == 0) || have != nil && have.RuleID != want {
			t.Errorf("%s: %+v, want rule %d", target, have, want)
		}
	}
}

// Names are compared whatever their case, as the core rules do.
func TestOwnRulesCompareNamesWhateverTheirCase(t *testing.T) {
	e := smallEngine(t, "")
	for _, rule := range []string{
		`SecRule ARGS:COUPON "x" "id:1,deny"`, `SecRule ARGS:/^coup/ "x" "id:1,deny"`, `SecRule REQUEST_HEADERS:X-Coupon "x" "id:1,deny"`,
		`SecRule REQUEST_HEADERS:/coupon/ "x" "id:1,deny"`, `SecRule REQUEST_COOKIES:coupon "x" "id:1,deny"`, `SecRule &ARGS|!ARGS:cOUPON "@eq 1" "id:1,deny"`,
	} {
		got := inspect(e, &Profile{Mode: Block, Own: own(t, rule)}, sample{target: "/?Coupon=x&b=y", header: [][2]string{{"x-COUPON", "x"}, {"Cookie", "Coupon=x"}}})
		if got.verdict == nil {
			t.Error(rule)
		}
	}
}

// What a tenant's rule notes in TX is not what the core rules are tuned by.
func TestAttackRaisesTheThresholdByANote(t *testing.T) {
	e := sharedEngine(t)
	text := `SecAction "id:1,phase:1,nolog,setvar:tx.inbound_anomaly_score_threshold=9999,setvar:tx.blocking_paranoia_level=0,setvar:tx.blocking_inbound_anomaly_score=-1000"`
	got := inspect(e, &Profile{Mode: Block, Own: own(t, text)}, sample{target: "/?id=1'+union+select+1,2,3--"})
	if got.verdict == nil || got.verdict.RuleID != 949110 {
		t.Errorf("%+v", got)
	}
}

// The engine as it is takes these from whoever may write a rule; CompileOwn does not let them near it.
func TestAttackThroughTheEnginesOwnLanguage(t *testing.T) {
	dir := t.TempDir()
	script, list := filepath.Join(dir, "x.sh"), filepath.Join(dir, "list")
	for _, f := range []string{script, list} {
		if err := os.WriteFile(f, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"debug log": "SecDebugLog " + dir + "/debug", "audit log": "SecAuditLog " + dir + "/audit",
		"program": `SecRule ARGS "@inspectFile ` + script + `" "id:1"`, "list": `SecRule ARGS "@pmFromFile ` + list + `" "id:1"`,
		"include": "Include " + list, "name servers": `SecRule REMOTE_ADDR "@rbl attacker.test" "id:1"`, "limit": "SecArgumentsLimit 100000",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(text)); err != nil {
				t.Logf("the engine has learnt to refuse it: %v", err)
			}
			for _, left := range []string{"debug", "audit"} {
				if err := os.Remove(filepath.Join(dir, left)); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
			rules, err := CompileOwn(text)
			if refused, ok := errors.AsType[*RulesError](err); rules != nil || !ok || refused.Problems[0].Line != 1 {
				t.Errorf("%v, %v", rules, err)
			}
			if left, _ := os.ReadDir(dir); len(left) != 2 {
				t.Errorf("files were made: %v", left)
			}
			// Were the reader to let it through, there is no file to be read.
			if strings.Contains(text, list) {
				if _, err := compileOwn(&seclang.Set{Directives: text + "\n", IDs: []int{1}}); err == nil || !strings.Contains(err.Error(), errNoFiles.Error()) {
					t.Errorf("second fence: %v", err)
				}
			}
		})
	}
}

// Go's expressions do not run away, but they take their time: it is in proportion to what is looked at.
func TestAttackReDoSInOwnRules(t *testing.T) {
	e := smallEngine(t, "")
	text := `SecRule ARGS "^(a+)+$" "id:1"` + "\n" + `SecRule ARGS "(.*a){20}$" "id:2"` + "\n" + `SecRule ARGS "(x+x+)+y" "id:3"`
	p := &Profile{Mode: Block, Own: own(t, text)}
	for _, letter := range []string{"a", "x"} {
		got := inspect(e, p, sample{contentType: form, body: "q=" + strings.Repeat(letter, 100<<10) + "!"})
		if got.err != nil || got.verdict != nil {
			t.Errorf("%s: %+v", letter, got)
		}
	}
	if p.Heavy(1<<10, 0) || !p.Heavy(10<<20, 0) {
		t.Error("a short request is not heavy, a long one is")
	}
	if (&Profile{}).Heavy(1<<40, 1<<40) {
		t.Error("no rules are heavy")
	}
}

// What own rules match is listed in part and let go after the last phase; and if it is too much, they end.
func TestAttackFillsTheMemoryWithMatches(t *testing.T) {
	e := sharedEngine(t)
	all := func(rules int) []*OwnRules {
		var text strings.Builder
		for i := range rules {
			fmt.Fprintf(&text, "SecRule ARGS|ARGS_NAMES \".\" \"id:%d,nolog\"\n", i+1)
		}
		text.WriteString(`SecRule ARGS "." "id:900,msg:'m'"` + "\n" + `SecRule ARGS:evil "." "id:1000,deny"`)
		return own(t, text.String())
	}
	request := sample{contentType: form, body: strings.Repeat("a=1&", 500) + "b=1'+union+select+1,2,3--&evil=1"}
	tx := e.Begin(&Profile{Mode: Detect, Own: all(3)}, "x")
	defer tx.Close()
	run(tx, request)
	matches := tx.Matches()
	if core := slices.IndexFunc(matches, func(m Match) bool { return m.ID > seclang.MaxID }); core != 4 {
		t.Errorf("the first core rule stands at %d of %+v", core, matches)
	}
	again := tx.Matches()
	if again[0] = (Match{}); reflect.DeepEqual(matches, again) || !reflect.DeepEqual(matches[1:], again[1:]) {
		t.Error("two results share their memory")
	}
	if tx.front.txs != nil {
		t.Error("what matched is held until the response has gone")
	}
	got := inspect(e, &Profile{Mode: Block, Own: all(seclang.MaxRules - 2)}, request)
	if got.verdict == nil || got.verdict.RuleID != 10 || got.verdict.Status != 403 {
		t.Errorf("block: %+v, %v", got.verdict, got.err)
	}
	if m, ok := got.match(10); !ok || !strings.Contains(m.Message, "more than 10000 values") || !got.would {
		t.Errorf("it is not explained: %+v", got.matches)
	}
	got = inspect(e, &Profile{Mode: Detect, Own: all(seclang.MaxRules - 2)}, request)
	if got.verdict != nil || got.err == nil || !strings.Contains(got.err.Error(), "more than 10000 values") || got.score < 5 {
		t.Errorf("detect: %+v", got)
	}
}

func TestMatchesOfOwnRulesLeaveRoomForTheCoreRules(t *testing.T) {
	var text, query strings.Builder
	for i := range 60 {
		fmt.Fprintf(&text, "SecRule ARGS \".\" \"id:%d,msg:'m'\"\n", i+1)
		fmt.Fprintf(&query, "&a%d=1", i)
	}
	got := inspect(sharedEngine(t), &Profile{Own: own(t, text.String())}, sample{target: "/?id=1'+union+select+1,2,3--" + query.String()})
	if core := slices.IndexFunc(got.matches, func(m Match) bool { return m.ID > seclang.MaxID }); core != MaxMatches/2 {
		t.Errorf("the first core rule stands at %d of %d", core, len(got.matches))
	}
}

func TestSecretsOfOwnRulesAreNotReported(t *testing.T) {
	e := smallEngine(t, "")
	text := "SecRule ARGS:password \".\" \"id:1,msg:'m'\"\nSecRule REQUEST_BODY \".\" \"id:2,msg:'m'\"\nSecRule REQUEST_COOKIES \".\" \"id:3,msg:'m'\""
	got := inspect(e, &Profile{Own: own(t, text)}, sample{contentType: form, body: "password=hunter2", header: [][2]string{{"Cookie", "session=hunter2"}}})
	if len(got.matches) != 3 {
		t.Fatalf("%+v", got.matches)
	}
	for _, m := range got.matches {
		if m.Data != Redacted {
			t.Errorf("%+v", m)
		}
	}
}

func TestEqualTextsShareOneRulesetAndItGoes(t *testing.T) {
	text := `SecRule ARGS:shared "x" "id:77,deny"`
	a, err := CompileOwn(text)
	if err != nil {
		t.Fatal(err)
	}
	b, err := CompileOwn("# the same\n  " + strings.ReplaceAll(text, `"id`, "\\\n   \"id") + "\n")
	if err != nil || a != b {
		t.Errorf("%p and %p, %v", a, b, err)
	}
	if c, err := CompileOwn(text + "\nSecMarker x"); err != nil || c == a {
		t.Errorf("another text: %v", err)
	}
	for _, empty := range []string{"", " \n", "# nothing\n", "SecMarker x"} {
		if none, err := CompileOwn(empty); none != nil || err != nil {
			t.Errorf("%q: %v, %v", empty, none, err)
		}
	}
	runtime.KeepAlive(a)
	runtime.KeepAlive(b)
	for deadline := time.Now().Add(30 * time.Second); ; runtime.Gosched() {
		runtime.GC()
		ownCache.mu.Lock()
		left := 0
		for _, p := range ownCache.known {
			if p.Value() == nil {
				left++
			}
		}
		_, gone := ownCache.known[keyOf(t, text)]
		ownCache.mu.Unlock()
		if !gone && left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a ruleset that nobody has stays")
		}
	}
}

func keyOf(t *testing.T, text string) [32]byte {
	set, problems := seclang.Read(text)
	if len(problems) > 0 {
		t.Fatal(problems[0])
	}
	return digestOf(set)
}

// The engine keeps each sequence of transformations for ever.
func TestAttackFillsTheTableOfTransformations(t *testing.T) {
	c := ownRulesets{sequences: map[string]struct{}{}}
	if !c.admit([]string{"a+b+c", "a+b"}) || len(c.sequences) != 3 {
		t.Errorf("%v", c.sequences)
	}
	for i := range maxSequences {
		c.sequences[fmt.Sprint(i)] = struct{}{}
	}
	if c.admit([]string{"x"}) {
		t.Error("no bound")
	}
	if !c.admit([]string{"a+b"}) {
		t.Error("what is known has to go on")
	}
}

func TestAPanicInAnOwnRuleOpensNoDoor(t *testing.T) {
	registerPanicOperator()
	broken, err := compileOwn(&seclang.Set{Directives: "SecRule ARGS \"@gatehousePanic\" \"id:1,phase:1,pass\"\n", IDs: []int{1}})
	if err != nil {
		t.Fatal(err)
	}
	got := inspect(sharedEngine(t), &Profile{Mode: Block, Own: []*OwnRules{broken}}, sample{target: "/?id=1'+union+select+1,2,3--"})
	if panicked, ok := errors.AsType[*PanicError](got.err); !ok || panicked.Value != "as ordered" {
		t.Errorf("error %v", got.err)
	}
	if got.verdict == nil || got.verdict.RuleID != 949110 {
		t.Errorf("verdict %+v", got.verdict)
	}
}

func TestAPanicWhileCompilingIsAnError(t *testing.T) {
	rules, err := compileOwn(nil)
	if rules != nil || err == nil || !strings.Contains(err.Error(), "gave up") {
		t.Errorf("%v, %v", rules, err)
	}
}

// What the engine reads and what was written have to be the same rules.
func TestTheEngineIsAskedWhatItRead(t *testing.T) {
	_, err := compileOwn(&seclang.Set{Directives: "SecAction \"id:1,phase:1\"\nSecAction \"id:2,phase:1\"\n", IDs: []int{1}})
	if err == nil || !strings.Contains(err.Error(), "has read the rules [1 2]") {
		t.Error(err)
	}
}

func TestDigestHoldsOwnRules(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range []*Profile{{}, {Own: own(t, couponRule)}, {Own: own(t, couponRule, couponRule+"\n"+`SecAction "id:1"`)}} {
		seen[p.Digest(wafrules.Embedded())] = true
	}
	if len(seen) != 3 {
		t.Error(seen)
	}
}

// An exclusion of one request does not reach another that uses the same rules (see slack.go).
func TestOwnExclusionsStayInTheirRequest(t *testing.T) {
	e := smallEngine(t, "")
	text := `SecRule REQUEST_HEADERS:X-Free "1" "id:1,phase:1,nolog,ctl:ruleRemoveTargetById=2;ARGS:free"` + "\n" +
		`SecRule ARGS|!ARGS:a|!ARGS:b|!ARGS:c "y" "id:2,phase:1,deny"`
	p := &Profile{Mode: Block, Own: own(t, text)}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				if got := inspect(e, p, sample{target: "/?free=y", header: [][2]string{{"X-Free", "1"}}}); got.verdict != nil {
					t.Error("excluded, but refused")
				}
				if got := inspect(e, p, sample{target: "/?free=y"}); got.verdict == nil {
					t.Error("another request's exclusion was applied")
				}
			}
		})
	}
	all.Wait()
}

// FuzzTheEngineReadsOwn: what the reader takes, the engine takes, and it understands the same rules and
// operators.
func FuzzTheEngineReadsOwn(f *testing.F) {
	f.Add("SecRule ARGS:a|!ARGS:b \"@rx ^a{2,3}$\" \"id:1,phase:2,deny,chain,t:lowercase\"\nSecRule &ARGS \"@eq 1\"\nSecMarker x")
	f.Add("SecAction \"id:1,setvar:'tx.a=%{tx.b}',ctl:'ruleRemoveTargetById=1;ARGS:x',skipAfter:x\"\nSecMarker 'x'")
	f.Add("SecRule ARGS:/^a\\/b$/|XML:/* \"!@pm a \\\" b\" \\\n#\n \"id:'2',msg:'a,b:c'\"")
	f.Fuzz(func(t *testing.T, text string) {
		set, problems := seclang.Read(text)
		if len(problems) > 0 || set.Directives == "" || !ownCache.admit(set.Sequences) {
			return
		}
		rules, err := compileOwn(set)
		if err != nil {
			t.Fatalf("%s\n%v", set.Directives, err)
		}
		read := reflect.ValueOf(rules.newTx).FieldByName("waf").Elem().FieldByName("Rules").FieldByName("rules")
		var got []string
		for i := range read.Len() {
			for rule := read.Index(i); ; rule = rule.FieldByName("Chain").Elem() {
				if rule.FieldByName("SecMark_").Len() == 0 {
					got = append(got, described(rule))
				}
				if rule.FieldByName("Chain").IsNil() {
					break
				}
			}
		}
		var want []string
		for line := range strings.Lines(set.Directives) {
			if rest, ok := strings.CutPrefix(line, "SecRule "); ok {
				_, operator, _ := strings.Cut(rest, ` "`)
				operator = operator[:closing(operator)]
				want = append(want, strings.ReplaceAll(operator, `\"`, `"`))
			} else if strings.HasPrefix(line, "SecAction ") {
				want = append(want, "")
			}
		}
		want = append([]string{"@" + apartName, "@" + apartName}, want...)
		if !slices.Equal(got, want) {
			t.Fatalf("%s\nread as %q, not %q", set.Directives, got, want)
		}
	})
}

// closing is the index of the double quote that ends a quoted text.
func closing(text string) int {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(text)
}

// described is the operator of a compiled rule, as it is written.
func described(rule reflect.Value) string {
	operator := rule.FieldByName("operator")
	if operator.IsNil() {
		return ""
	}
	return strings.TrimRight(operator.Elem().FieldByName("Function").String()+" "+operator.Elem().FieldByName("Data").String(), " ")
}
