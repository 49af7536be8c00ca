package waf

import (
	"slices"
	"testing"
)

// A trick is rules that are easily misunderstood, and requests that show it.
type trick struct {
	name, rules string
	samples     []trickSample
	exclusions  []Exclusion
}

type trickSample struct {
	sample
	rules []int // that match
}

func asks(target string, rules ...int) trickSample { return trickSample{sample{target: target}, rules} }

// answers is a plain request with an answer.
func answersWith(target, body string, rules ...int) trickSample {
	return trickSample{sample{target: target, status: 200, responseType: "text/html", responseBody: body}, rules}
}

var tricks = []trick{
	{
		name: "the value that matched",
		rules: `SecRule ARGS "@contains a" "id:10,phase:2,pass,msg:'m',chain"
SecRule MATCHED_VAR "@contains b"`,
		samples: []trickSample{asks("/?x=ab", 10), asks("/?x=a"), asks("/?x=b"), asks("/?x=a&y=b")},
	},
	{
		name: "a tenant without the rule that skips those of higher levels",
		rules: `SecRule TX:DETECTION_PARANOIA_LEVEL "@lt 2" "id:10,phase:2,pass,nolog,skipAfter:END"
SecRule ARGS "@contains a" "id:11,phase:2,pass,msg:'m'"
SecMarker END`,
		samples:    []trickSample{asks("/?x=a", 11), asks("/?x=b")},
		exclusions: []Exclusion{{Rules: one(10)}},
	},
	{
		name: "groups of one value beside another",
		rules: `SecRule ARGS "@rx ^.(..?)$" "id:11,phase:2,pass,capture,msg:'m',chain"
SecRule MATCHED_VARS "@streq %{tx.1}"`,
		samples: []trickSample{asks("/?a=bc")},
	},
	{
		name: "what became of a value that another rule matched",
		rules: `SecRule ARGS:a "@contains EVIL" "id:10,phase:2,pass,msg:'m',chain"
SecRule MATCHED_VAR "@rx evil" "t:none,t:lowercase"
SecRule ARGS:b "@contains y" "id:11,phase:2,pass,msg:'m',chain"
SecRule MATCHED_VAR "@rx evil" "t:none,t:lowercase"`,
		samples: []trickSample{asks("/?a=x+EVIL", 10), asks("/?a=x+EVIL&b=y", 10, 11)},
	},
	{
		name: "the values that matched, and their names",
		rules: `SecRule ARGS "@contains a" "id:10,phase:2,pass,msg:'m',chain"
SecRule MATCHED_VARS "@contains b"
SecRule ARGS "@contains a" "id:11,phase:2,pass,msg:'m',chain"
SecRule MATCHED_VARS_NAMES "@streq ARGS:y"
SecRule ARGS "@contains a" "id:12,phase:2,pass,msg:'m',chain"
SecRule &MATCHED_VARS "@gt 1"`,
		samples: []trickSample{asks("/?x=ab&y=c", 10), asks("/?x=a&y=a", 11, 12), asks("/?x=a&z=b"), asks("/?y=a", 11)},
	},
	{
		name: "groups of a pattern",
		rules: `SecRule ARGS "@rx ^(.)(.)" "id:10,phase:2,pass,capture,msg:'m',chain"
SecRule TX:2 "@streq b"
SecRule ARGS "@rx ^(.)x" "id:11,phase:2,pass,capture,msg:'m',chain"
SecRule TX:5 "@rx ^$"
SecRule ARGS "@rx ^(.)(.)" "id:12,phase:2,pass,capture,msg:'m',chain"
SecRule TX:1 "@streq %{tx.2}"`,
		samples: []trickSample{asks("/?x=ab", 10), asks("/?x=ba"), asks("/?x=ax", 11), asks("/?x=aa", 12)},
	},
	{
		name: "groups that a silent rule has left",
		rules: `SecRule REQUEST_HEADERS:X-A "@rx (e)vil" "id:10,phase:1,pass,nolog,capture"
SecRule ARGS "@contains a" "id:11,phase:2,deny,msg:'m',chain"
SecRule TX:1 "@streq e"
SecRule ARGS "@contains b" "id:12,phase:2,pass,nolog,chain"
SecRule ARGS "@contains b" "capture"`,
		samples: []trickSample{
			{sample{target: "/?x=a", header: [][2]string{{"X-A", "evil"}}}, []int{11}},
			asks("/?x=a"),
			{sample{target: "/?x=c", header: [][2]string{{"X-A", "evil"}}}, nil},
		},
	},
	{
		name: "variables of its own",
		rules: `SecRule ARGS "@contains a" "id:10,phase:2,pass,setvar:'tx.own=%{matched_var}',msg:'m',chain"
SecRule TX:own "@contains b"
SecRule ARGS "@rx (.)z" "id:11,phase:2,pass,capture,setvar:'tx.mine=x%{tx.1}',msg:'m',chain"
SecRule TX:mine "@streq xq"`,
		samples: []trickSample{asks("/?x=ab", 10), asks("/?x=a"), asks("/?x=qz", 11), asks("/?x=pz")},
	},
	{
		name: "variables of silent rules, through others",
		rules: `SecRule REQUEST_URI "@contains a" "id:10,phase:1,pass,nolog,setvar:tx.one=1"
SecRule TX:one "@eq 1" "id:11,phase:1,pass,nolog,setvar:tx.two=%{tx.one}"
SecRule ARGS "@contains b" "id:12,phase:2,deny,msg:'m',chain"
SecRule TX:two "@eq 1"`,
		samples: []trickSample{asks("/a?x=b", 12), asks("/c?x=b"), asks("/a?x=c")},
	},
	{
		name: "variables of links whose chain does not match",
		rules: `SecRule ARGS "@contains a" "id:10,phase:2,pass,msg:'m',setvar:tx.half=1,chain"
SecRule ARGS "@contains nothing"
SecRule ARGS "@contains b" "id:11,phase:2,deny,msg:'m',chain"
SecRule TX:half "@eq 1"
SecRule TX:half "@eq 1" "id:12,phase:2,deny,msg:'m'"`,
		samples: []trickSample{asks("/?x=a&y=b", 11, 12), asks("/?x=a&y=c", 12), asks("/?x=b")},
	},
	{
		name: "counters of silent rules",
		rules: `SecRule ARGS "@contains a" "id:10,phase:2,pass,nolog,setvar:tx.n=+1"
SecRule TX:n "@gt 2" "id:11,phase:2,deny,msg:'m'"
SecRule ARGS_NAMES "@rx ." "id:12,phase:2,pass,nolog,setvar:'tx.name_%{matched_var_name}=+1'"
SecRule TX:/^name_/ "@gt 1" "id:13,phase:2,deny,msg:'m'"`,
		samples: []trickSample{asks("/?x=a&y=a&z=a", 11), asks("/?x=a&y=a"), asks("/?x=1&x=2", 13), asks("/?x=1&X=2", 13)},
	},
	{
		name: "counts, with and without keys",
		rules: `SecRule &ARGS "@gt 2" "id:10,phase:2,pass,msg:'m'"
SecRule &ARGS:X "@eq 2" "id:11,phase:2,pass,msg:'m'"
SecRule &REQUEST_HEADERS:X-A "@eq 1" "id:12,phase:1,pass,msg:'m'"
SecRule &REQUEST_COOKIES "!@eq 0" "id:13,phase:1,pass,msg:'m'"
SecRule ARGS "@contains only" "id:14,phase:2,pass,msg:'m',chain"
SecRule &ARGS "@eq 1"`,
		samples: []trickSample{
			asks("/?a=1&b=2&c=3", 10), asks("/?x=1&X=2", 11), asks("/?a=1"),
			{sample{header: [][2]string{{"x-a", "1"}}}, []int{12}},
			{sample{header: [][2]string{{"Cookie", "a=b"}}}, []int{13}},
			asks("/?a=only", 14), asks("/?a=only&b=1"),
		},
	},
	{
		name: "counts of what a rule takes away",
		rules: `SecRule REQUEST_URI "@contains away" "id:10,phase:1,pass,nolog,ctl:ruleRemoveTargetById=11;ARGS:a"
SecRule &ARGS "@eq 1" "id:11,phase:2,pass,msg:'m'"
SecRule &ARGS|!ARGS:b "@eq 0" "id:12,phase:2,pass,msg:'m'"`,
		samples: []trickSample{asks("/?a=1&c=2"), asks("/away?a=1&c=2", 11), asks("/?b=1", 11, 12)},
	},
	{
		name: "exceptions",
		rules: `SecRule ARGS|!ARGS:/^q/|!ARGS:Skip "@contains a" "id:10,phase:2,pass,msg:'m'"
SecRule ARGS:/^q/|!ARGS:qq "@contains a" "id:11,phase:2,pass,msg:'m'"
SecRule REQUEST_HEADERS|!REQUEST_HEADERS:X-A "@contains evil" "id:12,phase:1,pass,msg:'m'"
SecRule ARGS "@contains b" "id:13,phase:2,pass,msg:'m'"
SecRuleUpdateTargetById 13 "!ARGS:u"`,
		samples: []trickSample{
			asks("/?x=a", 10), asks("/?qx=a", 11), asks("/?QX=a", 11), asks("/?qq=a"), asks("/?SKIP=a"), asks("/?u=b"), asks("/?U=b"), asks("/?v=b", 13),
			{sample{header: [][2]string{{"x-a", "evil"}}}, nil},
			{sample{header: [][2]string{{"x-b", "evil"}}}, []int{12}},
		},
	},
	{
		name: "macros of the request",
		rules: `SecRule ARGS "@streq %{request_method}" "id:10,phase:2,pass,msg:'m'"
SecRule ARGS:a "@contains %{args.b}" "id:11,phase:2,pass,msg:'m',chain"
SecRule ARGS:b "@rx ."`,
		samples: []trickSample{asks("/?x=GET", 10), asks("/?x=POST"), asks("/?a=xyz&b=y", 11), asks("/?a=xyz&b=q")},
	},
	{
		name: "macros of what other rules set",
		rules: `SecRule REQUEST_URI "@contains one" "id:10,phase:1,pass,msg:'m',setvar:tx.word=evil"
SecRule ARGS "@streq %{tx.word}" "id:11,phase:2,pass,msg:'m'"
SecRule REQUEST_URI "@contains two" "id:12,phase:1,pass,nolog,setvar:tx.silent=evil"
SecRule ARGS "@streq x%{tx.silent}" "id:13,phase:2,pass,msg:'m',chain"
SecRule REQUEST_URI "@contains two"`,
		samples: []trickSample{asks("/one?x=evil", 10, 11), asks("/one?x=good", 10), asks("/?x=evil"), asks("/two?x=xevil", 13), asks("/two?x=evil"), asks("/?x=tx.word", 11)},
	},
	{
		name: "skipping what is left of the next rules",
		rules: `SecRule REQUEST_URI "@contains one" "id:10,phase:2,pass,msg:'m',skip:1"
SecRule ARGS "@contains nothing" "id:11,phase:2,pass,msg:'m'"
SecRule ARGS "@contains nothing" "id:12,phase:2,pass,msg:'m'"
SecRule ARGS "@contains a" "id:13,phase:2,pass,msg:'m'"`,
		exclusions: []Exclusion{{Rules: one(11)}},
		samples:    []trickSample{asks("/one?x=a", 10, 13), asks("/?x=a", 13)},
	},
	{
		name: "transformations on the way",
		rules: `SecRule ARGS "@contains <a" "id:10,phase:2,pass,msg:'m',t:urlDecodeUni,t:htmlEntityDecode,multiMatch"
SecRule ARGS "@streq 4" "id:11,phase:2,pass,msg:'m',t:length"
SecRule ARGS "@streq aGk=" "id:12,phase:2,pass,msg:'m',t:base64Encode"
SecRule ARGS "!@rx ^[a-z]*$" "id:13,phase:2,pass,msg:'m',t:lowercase"`,
		samples: []trickSample{asks("/?x=%253cab", 10, 13), asks("/?x=%26lt;a", 10, 13), asks("/?x=abcd", 11), asks("/?x=hi", 12), asks("/?x=HI"), asks("/?x=hi1", 13)},
	},
	{
		name: "skipping",
		rules: `SecRule REQUEST_URI "@contains one" "id:10,phase:2,pass,nolog,skip:1"
SecRule ARGS "@contains a" "id:11,phase:2,pass,msg:'m'"
SecRule ARGS "@contains a" "id:12,phase:2,pass,msg:'m'"
SecRule REQUEST_URI "@contains two" "id:13,phase:2,pass,nolog,skipAfter:END"
SecRule ARGS "@contains a" "id:14,phase:2,pass,msg:'m'"
SecMarker END
SecRule ARGS "@contains a" "id:15,phase:2,pass,msg:'m'"`,
		samples: []trickSample{asks("/?x=a", 11, 12, 14, 15), asks("/one?x=a", 12, 14, 15), asks("/two?x=a", 11, 12, 15), asks("/one/two")},
	},
	{
		name: "taking rules away, by what silent rules have found",
		rules: `SecRule REQUEST_URI "@contains away" "id:10,phase:1,pass,nolog,setvar:tx.away=1"
SecRule TX:away "@eq 1" "id:11,phase:1,pass,nolog,ctl:ruleRemoveById=13"
SecRule TX:away "@eq 1" "id:12,phase:1,pass,nolog,ctl:ruleRemoveTargetById=14;ARGS:y"
SecRule ARGS "@contains a" "id:13,phase:2,pass,msg:'m'"
SecRule ARGS "@contains b" "id:14,phase:2,pass,msg:'m'"`,
		samples: []trickSample{asks("/?x=a", 13), asks("/away?x=a"), asks("/away?y=b"), asks("/away?x=b", 14), asks("/?y=b", 14)},
	},
	{
		name: "what another rule keeps from setting a variable",
		rules: `SecRule REQUEST_URI "@contains one" "id:10,phase:1,pass,nolog,skipAfter:M1"
SecAction "id:11,phase:1,pass,nolog,setvar:tx.one=1"
SecMarker M1
SecRule REQUEST_URI "@contains two" "id:12,phase:1,pass,nolog,skip:1"
SecAction "id:13,phase:1,pass,nolog,setvar:tx.two=1"
SecRule REQUEST_URI "@contains three" "id:14,phase:1,pass,nolog,ctl:ruleRemoveById=15-16"
SecAction "id:15,phase:1,pass,nolog,setvar:tx.three=1"
SecRule REQUEST_URI "@contains four" "id:17,phase:1,pass,nolog,ctl:ruleRemoveByTag=sets"
SecAction "id:18,phase:1,pass,nolog,setvar:tx.four=1,tag:'sets'"
SecRule &TX:one "@eq 0" "id:31,phase:2,pass,msg:'m'"
SecRule &TX:two "@eq 0" "id:32,phase:2,pass,msg:'m'"
SecRule &TX:three "@eq 0" "id:33,phase:2,pass,msg:'m'"
SecRule &TX:four "@eq 0" "id:34,phase:2,pass,msg:'m'"`,
		samples: []trickSample{asks("/"), asks("/one", 31), asks("/two", 32), asks("/three", 33), asks("/four", 34), asks("/one/four", 31, 34)},
	},
	{
		name: "a section whose first rule another takes away",
		rules: `SecRule REQUEST_URI "@contains one" "id:10,phase:1,pass,nolog,ctl:ruleRemoveById=11"
SecRule TX:DETECTION_PARANOIA_LEVEL "@lt 2" "id:11,phase:2,pass,nolog,skipAfter:END-2"
SecRule ARGS "@contains a" "id:12,phase:2,pass,msg:'m'"
SecMarker END-2
SecRule REQUEST_URI "@contains two" "id:13,phase:2,pass,nolog,skipAfter:M"
SecRule TX:DETECTION_PARANOIA_LEVEL "@lt 2" "id:14,phase:2,pass,nolog,skipAfter:END-3"
SecRule ARGS "@contains a" "id:15,phase:2,pass,msg:'m'"
SecMarker M
SecRule ARGS "@contains a" "id:16,phase:2,pass,msg:'m'"
SecMarker END-3`,
		samples: []trickSample{asks("/?x=a"), asks("/one?x=a", 12), asks("/two?x=a", 16), asks("/two?x=b")},
	},
	{
		name: "a rule that shows and depends on what others write",
		rules: `SecRule ARGS "@contains a" "id:10,phase:2,pass,msg:'m',setvar:tx.seen=+1"
SecRule TX:seen "@ge 1" "id:11,phase:2,pass,msg:'m'"`,
		samples: []trickSample{asks("/?x=a", 10, 11), asks("/?x=b")},
	},
	{
		name: "a skip that counts a rule that cannot match",
		rules: `SecRule ARGS "@contains a" "id:10,phase:2,pass,msg:'m',skip:2"
SecRule TX:nobody "@eq 7" "id:11,phase:2,pass,msg:'m'"
SecRule ARGS "@contains b" "id:12,phase:2,pass,msg:'m'"
SecRule ARGS "@contains b" "id:13,phase:2,pass,msg:'m'"`,
		samples: []trickSample{asks("/?x=ab", 10, 13), asks("/?x=b", 12, 13)},
	},
	{
		name: "sections",
		rules: `SecRule TX:DETECTION_PARANOIA_LEVEL "@lt 2" "id:10,phase:2,pass,nolog,skipAfter:END-2"
SecRule ARGS "@contains a" "id:11,phase:2,pass,msg:'m'"
SecRule REQUEST_URI "@contains skip" "id:12,phase:2,pass,msg:'m',skip:1"
SecMarker END-2
SecRule TX:DETECTION_PARANOIA_LEVEL "@lt 1" "id:13,phase:2,pass,nolog,skipAfter:NOWHERE"
SecRule ARGS "@contains a" "id:14,phase:2,pass,msg:'m'"
SecRule REQUEST_URI "@contains b" "id:15,phase:1,pass,nolog,skipAfter:NOWHERE"
SecRule ARGS "@contains c" "id:16,phase:1,pass,msg:'m'"`,
		samples: []trickSample{asks("/skip?x=a", 14), asks("/?x=a", 14), asks("/b?x=c"), asks("/?x=c", 16)},
	},
	{
		name: "phases before the body",
		rules: `SecRule ARGS "@contains a" "id:10,phase:1,pass,msg:'m'"
SecRule ARGS "!@contains z" "id:11,phase:1,pass,msg:'m',chain"
SecRule REQUEST_URI "@contains u"
SecRule &ARGS "@eq 1" "id:12,phase:1,pass,msg:'m',chain"
SecRule REQUEST_URI "@contains v"`,
		samples: []trickSample{
			{sample{contentType: form, body: "x=a"}, nil},
			asks("/?x=a", 10),
			{sample{target: "/u", contentType: form, body: "x=b"}, nil},
			asks("/u?x=b", 11),
			{sample{target: "/v?y=1", contentType: form, body: "x=b"}, []int{12}},
		},
	},
	{
		name: "answers",
		rules: `SecRule RESPONSE_BODY "@contains leak" "id:10,phase:4,pass,msg:'m'"
SecRule RESPONSE_BODY "@rx ^$" "id:11,phase:3,pass,msg:'m',chain"
SecRule RESPONSE_STATUS "@streq 200"
SecRule REQUEST_URI "@contains seen" "id:12,phase:1,pass,nolog,setvar:tx.seen=1"
SecRule RESPONSE_BODY "@contains b" "id:13,phase:4,pass,msg:'m',chain"
SecRule TX:seen "@eq 1"
SecRule ARGS "@contains plain" "id:14,phase:2,pass,msg:'m'"`,
		samples: []trickSample{
			answersWith("/", "a leak", 10, 11), answersWith("/", "b", 11), answersWith("/seen", "b", 11, 13), answersWith("/seen?x=plain", "b", 11, 13, 14),
			answersWith("/?x=plain", "b", 11, 14), asks("/?x=plain", 14),
		},
	},
	{
		name: "what an answer says is nothing that a request has said",
		rules: `SecRule RESPONSE_BODY|RESPONSE_HEADERS|RESPONSE_STATUS "@rx ^never$" "id:10,phase:4,pass,msg:'m'"
SecRule ARGS|REQUEST_URI|REQUEST_METHOD "@rx ^evil$" "id:11,phase:2,deny,msg:'m'"`,
		samples: []trickSample{answersWith("/", "evil"), asks("/?x=evil", 11), answersWith("/", "never", 10), asks("/?x=never"), answersWith("/", "never", 10)},
	},
	{
		name: "variables that the engine sets",
		rules: `SecRule TX:/^json_/ "@contains evil" "id:10,phase:2,deny,msg:'m'"
SecRule ARGS "@contains a" "id:11,phase:2,pass,msg:'m'"`,
		samples: []trickSample{{sample{contentType: "application/json", body: `{"x":"evil"}`}, []int{10}}, {sample{contentType: "application/json", body: `{"x":"good"}`}, nil}},
	},
	{
		name: "whose body is read how",
		rules: `SecRule REQUEST_HEADERS:X-Kind "@streq json" "id:10,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule ARGS:json.x "@streq evil" "id:11,phase:2,pass,msg:'m'"
SecRule REQUEST_HEADERS:X-Force "@rx ." "id:12,phase:1,pass,nolog,ctl:forceRequestBodyVariable=On"
SecRule REQUEST_BODY "@contains raw" "id:13,phase:2,pass,msg:'m'"`,
		samples: []trickSample{
			{sample{contentType: "text/plain", body: `{"x":"evil"}`, header: [][2]string{{"X-Kind", "json"}}}, []int{11}},
			{sample{contentType: "text/plain", body: `{"x":"evil"}`}, nil},
			{sample{contentType: "application/json", body: `{"x":"evil"}`}, []int{11}},
		},
	},
	{
		name: "a tenant's exclusions",
		rules: `SecRule ARGS|REQUEST_URI "@contains a" "id:10,phase:2,pass,msg:'m',tag:'t'"
SecRule &ARGS "@eq 1" "id:11,phase:2,pass,msg:'m',chain"
SecRule REQUEST_URI "@contains count"
SecRule ARGS "@contains c" "id:12,phase:2,pass,msg:'m',chain"
SecRule ARGS "@contains d"`,
		exclusions: []Exclusion{
			{Tags: []string{"t"}, Target: "ARGS:x"},
			{Rules: one(11), Target: "ARGS:x"}, // without effect: it only counts
			{Rules: one(12), Target: "ARGS:/^y/"},
		},
		samples: []trickSample{
			asks("/?y=%61", 10), asks("/?x=%61"), asks("/count?x=1", 11), asks("/count?x=1&z=2"), asks("/?y=cd"), asks("/?z=cd", 12), asks("/?y=c&z=d"), asks("/?z=c&z=d", 12),
		},
	},
}

// Rules that look at what other rules, other links or other phases have left match at the gate as they do without it. Each
// request is sent twice: the second time its values are remembered.
func TestTheGateUnderstandsTricks(t *testing.T) {
	for _, trick := range tricks {
		t.Run(trick.name, func(t *testing.T) {
			gated, plain := bothEngines(t, trick.rules)
			for _, mode := range []Mode{Detect, Block} {
				for i, s := range slices.Concat(trick.samples, trick.samples) {
					p := &Profile{Mode: mode, Responses: s.status != 0, Exclusions: NewExclusions(trick.exclusions)}
					for at, e := range []*Engine{plain, gated} {
						got := inspect(e, p, s.sample)
						want := slices.Clone(s.rules)
						if got.verdict != nil { // those behind it do not run
							want = slices.DeleteFunc(want, func(id int) bool { return id > got.verdict.RuleID })
						}
						if !slices.Equal(got.ids(), want) || got.err != nil {
							t.Errorf("%s, sample %d, at the gate: %t: rules %v, want %v; %v", mode, i, at == 1, got.ids(), want, got.err)
						}
					}
				}
			}
			if id := missedBy(gated); id != 0 {
				t.Errorf("rule %d was missed", id)
			}
			if gated.current.Load().screening.made.Load() == nil {
				t.Error("there is no gate")
			}
		})
	}
}

// Rules that find something whatever is asked, unless another one keeps them from it, run each time.
func TestWhatIsAlwaysFoundIsNotForTheGate(t *testing.T) {
	for _, c := range []struct {
		keeps         string
		detect, block map[string][]int
	}{
		{`SecRule QUERY_STRING "@rx ^$" "id:10,phase:1,pass,nolog,skipAfter:M"`, map[string][]int{"/": nil, "/?x=a": {11}}, map[string][]int{"/": nil, "/?x=a": {11}}},
		{`SecAction "id:10,phase:1,nolog,allow"`, map[string][]int{"/": {11}}, map[string][]int{"/": nil}}, // which does nothing where nothing is refused
		{`SecAction "id:10,phase:1,allow,msg:'m'"`, map[string][]int{"/": {10, 11}}, map[string][]int{"/": {10}}},
	} {
		gated, plain := bothEngines(t, c.keeps+"\n"+`SecAction "id:11,phase:1,pass,msg:'m'"`+"\nSecMarker M")
		for mode, wants := range map[Mode]map[string][]int{Detect: c.detect, Block: c.block} {
			for target, want := range wants {
				for _, e := range []*Engine{plain, gated} {
					if got := inspect(e, &Profile{Mode: mode}, sample{target: target}); !slices.Equal(got.ids(), want) {
						t.Errorf("%s, %s of %s: %v, want %v", mode, c.keeps, target, got.ids(), want)
					}
				}
			}
		}
		if id := missedBy(gated); id != 0 {
			t.Errorf("rule %d was missed", id)
		}
	}
}
