package waf

import "testing"

// identityProfiles are tenants' tunings, at each paranoia level, without and with inspection of answers.
type identityProfiles [][5][2]*Profile

func (p identityProfiles) of(x *exchange) *Profile {
	answers := 0
	if x.answer != nil {
		answers = 1
	}
	return p[x.tuning][x.paranoia][answers]
}

// identityTunings is how many tunings there are.
const identityTunings = 16

func newIdentityProfiles(t testing.TB) identityProfiles {
	t.Helper()
	all := make(identityProfiles, identityTunings)
	for tuning := range all {
		for paranoia := 1; paranoia <= 4; paranoia++ {
			for answers := range 2 {
				p := identityTuning(t, tuning)
				p.Paranoia, p.Responses = paranoia, answers == 1
				if err := p.Validate(); err != nil {
					t.Fatal(err)
				}
				all[tuning][paranoia][answers] = p
			}
		}
	}
	return all
}

// identityTuning makes a profile anew each time: what is compiled of it belongs to one engine.
func identityTuning(t testing.TB, n int) *Profile {
	p := &Profile{Mode: Block}
	switch n {
	case 1:
		p.Mode = Detect
	case 2: // whole rules
		p.Exclusions = NewExclusions([]Exclusion{{Rules: [][2]int32{{942100, 942100}, {941100, 941199}, {932230, 932260}, {920270, 920280}}}})
	case 3: // tags, of which one is a whole level
		p.Exclusions = NewExclusions([]Exclusion{{Tags: []string{"attack-sqli", "attack-disclosure"}}, {Tags: []string{"paranoia-level/2"}}})
	case 4: // names
		p.Mode = Detect
		p.Exclusions = NewExclusions([]Exclusion{
			{Tags: []string{"attack-sqli"}, Target: "ARGS:id"},
			{Rules: [][2]int32{{941000, 941999}}, Target: "ARGS:A"},
			{Rules: [][2]int32{{942000, 942999}}, Target: "ARGS:json.a.b.0"},
		})
	case 5: // regular expressions
		p.Exclusions = NewExclusions([]Exclusion{
			{Tags: []string{"attack-rce"}, Target: `ARGS:/^(a|id|json\..*)$/`},
			{Tags: []string{"attack-xss"}, Target: "REQUEST_COOKIES:/^s/"},
			{Rules: one(942100), Target: "ARGS_NAMES:/./"},
		})
	case 6: // scopes
		p.Exclusions = NewExclusions([]Exclusion{
			{Tags: []string{"attack-sqli", "attack-rce"}, Paths: []string{"/page", "/search*"}, Methods: []string{"GET"}},
			{Tags: []string{"attack-xss"}, Target: "ARGS", Paths: []string{"*/items", "/"}, Folders: true},
			{Rules: [][2]int32{{920100, 920999}}, Methods: []string{"POST", "PUT"}},
			{Tags: []string{"attack-lfi"}, Until: 1},
		})
	case 7:
		p.InboundThreshold, p.OutboundThreshold = 20, 9
	case 8:
		p.Mode, p.AllowedMethods, p.AllowedTypes = Detect, []string{"GET", "PUT", "PATCH", "DELETE"}, []string{"text/plain", "application/octet-stream", form}
	case 9:
		p.InboundThreshold, p.AllowedMethods, p.AllowedTypes = 1000, []string{"GET"}, []string{"application/json"}
	case 10: // whole variables
		p.Exclusions = NewExclusions([]Exclusion{
			{Tags: []string{"OWASP_CRS"}, Target: "REQUEST_COOKIES"},
			{Tags: []string{"attack-rce", "attack-injection-php"}, Target: "REQUEST_HEADERS:User-Agent"},
			{Tags: []string{"attack-xss"}, Target: "XML"},
			{Tags: []string{"attack-injection-php"}, Target: "FILES"},
			{Tags: []string{"attack-sqli"}, Target: "REQUEST_FILENAME"},
		})
	case 11: // a program's and the tenant's own, as the presets do
		p.Shared = NewShared(
			NewExclusions([]Exclusion{{Tags: []string{"attack-sqli", "attack-xss", "attack-rce", "attack-lfi"}, Target: "ARGS:/^(?:content|title|text|comment)$/", Paths: []string{"*/page", "/search"}}}),
			NewExclusions([]Exclusion{{Rules: [][2]int32{{933000, 933999}}, Paths: []string{"/page*"}}}))
		p.Exclusions = NewExclusions([]Exclusion{{Rules: one(941100), Target: "ARGS:q"}})
	case 12:
		p.InspectBody, p.OnOversize = 200, Refuse
	case 13:
		p.Mode, p.InspectBody, p.OnOversize = Detect, 200, Refuse
	case 14: // what refuses requests that do not parse; short bodies are cut and passed on
		p.InspectBody = 100
		p.Exclusions = NewExclusions([]Exclusion{{Rules: [][2]int32{{200000, 200999}}}, {Tags: []string{"attack-protocol"}}})
	case 15:
		p.Own = own(t, `SecRule ARGS|REQUEST_HEADERS:Referer "@rx (?i)select|script" "id:1000,phase:2,deny,status:429,msg:'own'"`,
			`SecRule REQUEST_URI "@contains .." "id:1001,phase:1,pass,log,msg:'dots'"`)
	}
	return p
}

// Each tuning is one: none of its exclusions is ignored, and no two do the same.
func TestTuningsOfTheIdentityTestAct(t *testing.T) {
	if raceDetector {
		t.Skip("nothing of it is concurrent, and it takes half a minute")
	}
	e, seen := sharedEngine(t), map[string]int{}
	for n := range identityTunings {
		p := identityTuning(t, n)
		list := p.Exclusions.All()
		for _, shared := range p.Shared.Lists() {
			list = append(list[:len(list):len(list)], shared.All()...)
		}
		for _, ignored := range e.Ignored(list) {
			t.Errorf("tuning %d: %+v", n, ignored)
		}
		var all string
		for _, s := range suspicious() {
			all += summary(inspect(e, p, s)) + "\n"
		}
		if other, known := seen[all]; known {
			t.Errorf("tunings %d and %d do the same", other, n)
		}
		seen[all] = n
	}
}
