package waf

import "testing"

// A proof is rules that a gate had misunderstood, or may, with requests and settings that show it.
type proof struct {
	name, rules string
	asked       []sample
	profiles    []Profile
}

// Rules that stand beside the CRS act at the gate as without it, and are no fault of its, whatever they do to each other: levels
// and first values that a request or a tenant changes, values by way of a third rule, thresholds, names of counters, and what later
// directives make of earlier rules.
func TestWhatWasProvedAgainstTheGateHolds(t *testing.T) {
	with := func(field, value, target string) sample {
		return sample{target: target, header: [][2]string{{field, value}}}
	}
	all := func(targets ...string) (out []sample) {
		for _, target := range targets {
			out = append(out, sample{target: target})
		}
		return out
	}
	const section = `SecRule TX:DETECTION_PARANOIA_LEVEL "@lt 2" "id:11,phase:2,pass,nolog,skipAfter:END"
SecRule ARGS "@contains a" "id:12,phase:2,deny,msg:'m'"
SecMarker END`
	plainly := []Profile{{Mode: Block, Paranoia: 1}}
	without := func(x ...Exclusion) []Profile {
		return []Profile{{Mode: Block, Paranoia: 1, Exclusions: NewExclusions(x)}}
	}
	for _, c := range []proof{
		{"threshold", `SecRule TX:inbound_anomaly_score_threshold "@lt 10" "id:10,phase:1,pass,nolog,setvar:tx.strict=1"
SecRule ARGS "@contains a" "id:11,phase:2,deny,msg:'m',chain"
SecRule TX:strict "@eq 1"`, all("/?x=a"), []Profile{{Mode: Block, Paranoia: 1, InboundThreshold: 100}, {Mode: Block, Paranoia: 1, InboundThreshold: 5}}},
		{"threshold in a chain", `SecRule ARGS "@contains a" "id:11,phase:2,deny,msg:'m',chain"
SecRule TX:inbound_anomaly_score_threshold "@lt 10"`, all("/?x=a"), []Profile{{Mode: Block, Paranoia: 1, InboundThreshold: 100}, {Mode: Block, Paranoia: 1, InboundThreshold: 5}}},
		{"threshold macro cached", `SecRule ARGS "@streq %{tx.inbound_anomaly_score_threshold}" "id:11,phase:2,deny,msg:'m'"`, all("/?x=7", "/?x=5"), []Profile{{Mode: Block, Paranoia: 1, InboundThreshold: 100}, {Mode: Block, Paranoia: 1, InboundThreshold: 5}, {Mode: Block, Paranoia: 1, InboundThreshold: 7}}},
		{"level raised by request", `SecRule REQUEST_URI "@contains deep" "id:10,phase:1,pass,nolog,setvar:tx.detection_paranoia_level=2"
` + section, all("/?x=a", "/deep?x=a"), plainly},
		{"section first target update", section + `
SecRuleUpdateTargetById 11 "!TX:detection_paranoia_level"`, all("/?x=a"), plainly},
		{"section first ctl target", `SecRule REQUEST_URI "@contains deep" "id:10,phase:1,pass,nolog,ctl:ruleRemoveTargetById=11;TX:detection_paranoia_level"
` + section, all("/?x=a", "/deep?x=a"), plainly},
		{"section first tenant target", section, all("/?x=a", "/deep?x=a"), []Profile{{Mode: Block, Paranoia: 1, Exclusions: NewExclusions([]Exclusion{{Rules: one(11), Target: "TX:detection_paranoia_level"}})}, {Mode: Block, Paranoia: 1, Exclusions: NewExclusions([]Exclusion{{Rules: one(11), Target: "TX"}})}}},
		{"first captures", `SecRule REQUEST_HEADERS:X-A "@rx (e)vil" "id:10,phase:1,pass,nolog,capture"
SecAction "id:11,phase:1,nolog,pass,setvar:tx.v1=z"
SecRule TX:v1 "@rx (z)" "id:12,phase:1,nolog,pass,capture,setvar:tx.v2=1"
SecRule ARGS "@contains a" "id:13,phase:2,deny,msg:'m',chain"
SecRule TX:1 "@streq z"`, []sample{with("X-A", "evil", "/?x=a"), {target: "/?x=a"}}, plainly},
		{"first captures only", `SecAction "id:11,phase:1,nolog,pass,setvar:tx.v1=z"
SecRule TX:v1 "@rx (z)" "id:12,phase:1,nolog,pass,capture,setvar:tx.v2=1"
SecRule ARGS "@contains a" "id:13,phase:2,deny,msg:'m',chain"
SecRule TX:1 "@streq z"`, all("/?x=a"), plainly},
		{"highest severity in a set", `SecRule ARGS "@contains a" "id:10,phase:2,pass,nolog,severity:0"
SecAction "id:11,phase:2,nolog,pass,setvar:tx.sev=%{highest_severity}"
SecRule TX:sev "@eq 0" "id:12,phase:2,deny,msg:'m'"`, all("/?x=a", "/?x=b"), plainly},
		{"matched var in action", `SecRule ARGS "@contains a" "id:10,phase:2,pass,nolog"
SecRule ARGS "@contains b" "id:11,phase:2,deny,msg:'m',chain"
SecAction "chain"
SecRule MATCHED_VAR "@contains b"`, all("/?x=ab", "/?x=b"), plainly},
		{"rule id macro", `SecRule ARGS "@contains a" "id:10,phase:2,pass,nolog,setvar:'tx.last=%{rule.id}'"
SecRule TX:last "@eq 10" "id:11,phase:2,deny,msg:'m'"`, all("/?x=ab", "/?x=b"), plainly},
		{"message in a link", `SecRule ARGS "@contains a" "id:10,phase:2,pass,chain"
SecRule MATCHED_VAR "@contains b" "msg:'inner'"`, all("/?x=ab", "/?x=b"), plainly},
		{"base rule widened", `SecRuleUpdateTargetById 200002 "ARGS:x"`, all("/?x=5", "/?x=0"), plainly},
		{"base rule action", `SecRuleUpdateActionById 200002 "pass,setvar:tx.bad=1"
SecRule TX:bad "@eq 1" "id:10,phase:2,deny,msg:'m'"`, []sample{{contentType: "application/json", body: `{"a`}, {target: "/"}}, plainly},
		{"ctl space", `SecRule REQUEST_HEADERS:X-K "@streq j" "id:10,phase:1,pass,nolog,ctl: requestBodyProcessor=JSON"
SecRule ARGS:json.x "@streq evil" "id:11,phase:2,deny,msg:'m'"`, []sample{{contentType: "text/plain", body: `{"x":"evil"}`, header: [][2]string{{"X-K", "j"}}}}, plainly},
		{"ctl default", `SecDefaultAction "phase:1,log,pass,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_HEADERS:X-K "@streq j" "id:10,phase:1,nolog"
SecRule ARGS:json.x "@streq evil" "id:11,phase:2,deny,msg:'m'"`, []sample{{contentType: "text/plain", body: `{"x":"evil"}`, header: [][2]string{{"X-K", "j"}}}}, plainly},
		{"ctl requestBodyAccess", `SecRule REQUEST_HEADERS:X-K "@streq j" "id:10,phase:1,pass,nolog,ctl:requestBodyAccess=Off"
SecRule ARGS:x "@streq evil" "id:11,phase:2,deny,msg:'m'"
SecRule &ARGS "@eq 0" "id:12,phase:2,deny,msg:'m'"`, []sample{{contentType: form, body: `x=evil`, header: [][2]string{{"X-K", "j"}}}, {contentType: form, body: `x=evil`}}, plainly},
		{"ctl engine", `SecRule ARGS:k "@streq j" "id:10,phase:1,pass,nolog,ctl:ruleEngine=DetectionOnly"
SecRule ARGS:x "@streq evil" "id:11,phase:2,deny,msg:'m'"`, all("/?k=j&x=evil", "/?x=evil"), plainly},
		{"level 4 default", `SecRule REQUEST_URI "@contains deep" "id:10,phase:1,pass,nolog,setvar:'!tx.detection_paranoia_level=1'"
` + section, all("/?x=a", "/deep?x=a"), plainly},
		{"level by open name", `SecRule ARGS_NAMES "@rx ^detection" "id:10,phase:1,pass,nolog,capture,setvar:'tx.%{matched_var}=4'"
` + section, all("/?x=a", "/?x=a&detection_paranoia_level=4"), plainly},
		{"ctl takes TX of a count", `SecAction "id:10,phase:1,pass,nolog,setvar:tx.v1=1"
SecRule REQUEST_URI "@contains deep" "id:11,phase:1,pass,nolog,ctl:ruleRemoveTargetById=12;TX:v1"
SecRule &TX:v1 "@eq 0" "id:12,phase:2,deny,msg:'m',chain"
SecRule ARGS "@contains a"`, all("/?x=a", "/deep?x=a"), plainly},
		{"tenant takes TX of a count", `SecAction "id:10,phase:1,pass,nolog,setvar:tx.v1=1"
SecRule &TX:v1 "@eq 0" "id:12,phase:2,deny,msg:'m',chain"
SecRule ARGS "@contains a"`, all("/?x=a", "/deep?x=a"), without(Exclusion{Rules: one(12), Target: "TX:v1"})},
		{"tenant takes first rule", `SecAction "id:10,phase:1,pass,nolog,setvar:tx.v1=1"
SecRule TX:v1 "@eq 1" "id:12,phase:2,deny,msg:'m',chain"
SecRule ARGS "@contains a"`, all("/?x=a"), without(Exclusion{Rules: one(10)})},
		{"tenant takes first rule, count", `SecAction "id:10,phase:1,pass,nolog,setvar:tx.v1=1"
SecRule &TX:v1 "@eq 0" "id:12,phase:2,deny,msg:'m',chain"
SecRule ARGS "@contains a"`, all("/?x=a"), without(Exclusion{Rules: one(10)})},
		{"tenant takes an overwriting rule", `SecAction "id:10,phase:1,pass,nolog,setvar:tx.v1=1"
SecAction "id:11,phase:1,pass,nolog,setvar:tx.v1=2"
SecRule TX:v1 "@eq 1" "id:12,phase:2,deny,msg:'m',chain"
SecRule ARGS "@contains a"`, all("/?x=a"), without(Exclusion{Rules: one(11)})},
		{"tenant takes a target of an overwriting rule", `SecAction "id:10,phase:1,pass,nolog,setvar:tx.v1=1"
SecRule TX:v1 "@eq 1" "id:11,phase:1,pass,nolog,setvar:tx.v1=2"
SecRule TX:v1 "@eq 1" "id:12,phase:2,deny,msg:'m',chain"
SecRule ARGS "@contains a"`, all("/?x=a"), without(Exclusion{Rules: one(11), Target: "TX:v1"})},
		{"counter with multiMatch", `SecRule ARGS_NAMES "@rx ." "id:10,phase:2,pass,nolog,t:lowercase,multiMatch,setvar:'tx.n_%{matched_var_name}=+1'"
SecRule TX:/^n_/ "@gt 1" "id:11,phase:2,deny,msg:'m'"`, all("/?AB=1", "/?ab=1", "/?ab=1&ab=2"), plainly},
		{"counter from a first value", `SecAction "id:9,phase:1,pass,nolog,setvar:'tx.n_args_names:ab=1'"
SecRule ARGS_NAMES "@rx ." "id:10,phase:2,pass,nolog,setvar:'tx.n_%{matched_var_name}=+1'"
SecRule TX:/^n_/ "@gt 1" "id:11,phase:2,deny,msg:'m'"`, all("/?ab=1", "/?c=1"), plainly},
		{"counter from another's value", `SecRule REQUEST_URI "@contains deep" "id:9,phase:1,pass,nolog,setvar:'tx.n_args_names:ab=1'"
SecRule ARGS_NAMES "@rx ." "id:10,phase:2,pass,nolog,setvar:'tx.n_%{matched_var_name}=+1'"
SecRule TX:/^n_/ "@gt 1" "id:11,phase:2,deny,msg:'m'"`, all("/deep?ab=1", "/?ab=1"), plainly},
		{"counter with two targets", `SecRule ARGS|ARGS:ab "@rx ." "id:10,phase:2,pass,nolog,setvar:'tx.n_%{matched_var_name}=+1'"
SecRule TX:/^n_/ "@gt 1" "id:11,phase:2,deny,msg:'m'"`, all("/?ab=1", "/?c=1"), plainly},
		{"counter in both phases", `SecRule ARGS_NAMES "@rx ." "id:10,phase:1,pass,nolog,setvar:'tx.n_%{matched_var_name}=+1'"
SecRule ARGS_NAMES "@rx ." "id:12,phase:2,pass,nolog,setvar:'tx.n_%{matched_var_name}=+1'"
SecRule TX:/^n_/ "@gt 1" "id:11,phase:2,deny,msg:'m'"`, all("/?ab=1", "/?c=1"), plainly},
		{"counter read twice", `SecRule ARGS_NAMES "@rx ." "id:10,phase:2,pass,nolog,setvar:'tx.n_%{matched_var_name}=+1'"
SecRule TX:/^n_/ "@gt 1" "id:11,phase:2,pass,msg:'m'"
SecRule TX:/^n_/ "@gt 2" "id:12,phase:2,deny,msg:'m'"`, all("/?ab=1", "/?c=1&c=2", "/?c=1&c=2&c=3"), plainly},
		{"phase 5", `SecRule ARGS "@contains a" "id:10,phase:5,pass,msg:'m'"`, all("/?x=a"), plainly},
		{"severity rule macros", `SecRule ARGS "@contains a" "id:10,phase:2,pass,msg:'evil',chain"
SecRule ARGS "@streq %{rule.msg}"`, all("/?x=evil&y=a"), plainly},
		{"env and time", `SecRule TIME_YEAR "@gt 2000" "id:10,phase:2,pass,msg:'m',chain"
SecRule ARGS "@contains a"`, all("/?x=a"), plainly},
		{"pm capture", `SecRule ARGS "@pm evil ab" "id:10,phase:2,pass,nolog,capture"
SecRule ARGS "@contains x" "id:11,phase:2,deny,msg:'m',chain"
SecRule TX:0 "@streq ab"`, all("/?x=abx", "/?x=x"), plainly},
		{"default action deny", `SecDefaultAction "phase:2,nolog,deny"
SecRule ARGS "@contains a" "id:10,phase:2"`, all("/?x=a"), plainly},
		{"setenv initcol", `SecRule ARGS "@contains a" "id:10,phase:2,pass,nolog,setenv:a=b"
SecRule ENV:a "@streq b" "id:11,phase:2,deny,msg:'m'"`, all("/?x=a"), plainly},
		{"response args", `SecRule ARGS:k "@streq j" "id:10,phase:2,pass,nolog,setvar:tx.v1=1"
SecRule RESPONSE_BODY "@contains evil" "id:11,phase:4,deny,msg:'m',chain"
SecRule TX:v1 "!@eq 1"`, []sample{{target: "/?k=j", status: 200, responseType: "text/html", responseBody: "evil"}, {target: "/?k=i", status: 200, responseType: "text/html", responseBody: "evil"}}, []Profile{{Mode: Block, Paranoia: 1, Responses: true}}},
		{"removed variable", `SecAction "id:9,phase:1,pass,nolog,setvar:tx.v1=1"
SecRule REQUEST_URI "@contains deep" "id:10,phase:1,pass,nolog,setvar:!tx.v1"
SecRule &TX:v1 "@eq 0" "id:11,phase:2,deny,msg:'m',chain"
SecRule ARGS "@contains a"`, all("/deep?x=a", "/?x=a"), plainly},
		{"shown rule hides value", `SecAction "id:9,phase:1,pass,nolog,setvar:tx.v1=1"
SecRule REQUEST_URI "@contains deep" "id:10,phase:1,pass,msg:'m',skip:1"
SecAction "id:12,phase:1,pass,nolog,setvar:tx.v1=2"
SecRule TX:v1 "@eq 1" "id:11,phase:2,deny,msg:'m',chain"
SecRule ARGS "@contains a"`, all("/deep?x=a", "/?x=a"), plainly},
		{"through a follower", `SecRule REQUEST_URI "@contains deep" "id:10,phase:1,pass,msg:'m',setvar:tx.a=1"
SecRule TX:a "@eq 1" "id:12,phase:1,pass,nolog,setvar:tx.b=1"
SecRule TX:b "@eq 1" "id:11,phase:2,deny,msg:'m',chain"
SecRule ARGS "@contains a"`, all("/deep?x=a", "/?x=a"), plainly},
		{"through a follower, settled macro", `SecRule REQUEST_URI "@contains deep" "id:10,phase:1,pass,msg:'m',setvar:tx.a=1"
SecAction "id:9,phase:1,pass,nolog,setvar:tx.b=q"
SecRule TX:a "@eq 1" "id:12,phase:1,pass,nolog,setvar:tx.b=a"
SecRule ARGS "@contains %{tx.b}" "id:11,phase:2,deny,msg:'m'"`, all("/deep?x=a", "/?x=a"), plainly},
		{"shown rule takes a value by ctl", `SecRule REQUEST_URI "@contains deep" "id:10,phase:1,pass,msg:'m',ctl:ruleRemoveById=12"
SecAction "id:12,phase:1,pass,nolog,setvar:tx.v1=2"
SecRule &TX:v1 "@eq 0" "id:11,phase:2,deny,msg:'m',chain"
SecRule ARGS "@contains a"`, all("/deep?x=a", "/?x=a"), plainly},
		{"shown rule skips a shown pure rule's writer", `SecRule REQUEST_URI "@contains deep" "id:10,phase:1,pass,msg:'m',skipAfter:M"
SecAction "id:12,phase:1,pass,nolog,setvar:tx.v1=2"
SecMarker M
SecRule ARGS "@contains a" "id:11,phase:2,deny,msg:'m',chain"
SecRule TX:v1 "!@eq 2" 
SecRule ARGS "@contains b" "id:13,phase:2,deny,msg:'m',chain"
SecRule &TX:v1 "@lt 1"`, all("/deep?x=a", "/deep?x=b"), plainly},
		{"severity via silent, target", `SecRule ARGS "@contains a" "id:10,phase:2,pass,nolog,severity:0"
SecRule HIGHEST_SEVERITY "@eq 0" "id:12,phase:2,deny,msg:'m'"`, all("/?x=a"), plainly},
		{"matched vars name in a set of an action", `SecRule ARGS "@contains a" "id:10,phase:2,pass,nolog"
SecAction "id:11,phase:2,pass,nolog,setvar:tx.n=%{matched_var_name}"
SecRule TX:n "@rx ARGS" "id:12,phase:2,deny,msg:'m'"`, all("/?x=a", "/?x=b"), plainly},
		{"rule macro in a set", `SecRule REQUEST_URI "@contains deep" "id:10,phase:2,pass,nolog,setvar:tx.k=%{args_combined_size}"
SecRule TX:k "@gt 2" "id:12,phase:2,deny,msg:'m'"`, all("/deep?x=abc", "/deep?x=b"), plainly},
		{"noticed", `SecRuleUpdateActionById 200002 "pass,setvar:tx.bad=1"
SecRule TX:bad "@eq 1" "id:10,phase:2,pass,msg:'m'"`, []sample{{contentType: "application/json", body: `{"a`}}, []Profile{{Mode: Detect, Paranoia: 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			gated, plain := bothEngines(t, c.rules)
			for i := range c.profiles {
				for _, s := range c.asked {
					if why := compareRules(gated, plain, [2]*Profile{&c.profiles[i], &c.profiles[i]}, s); why != "" {
						t.Errorf("profile %d, request %s %v: %s", i, s.target, s.header, why)
					}
				}
			}
		})
	}
}
