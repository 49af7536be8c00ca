package waf

import (
	"strings"
	"testing"

	wafrules "gatehouse/waf-rules"
)

// Each row is a profile on the shared engine, and the directives by which an engine of its
// own is told the same: before the core rules, as crs-setup.conf does, and after them. Both
// must find the same.
func TestTuningEqualsThatOfADedicatedEngine(t *testing.T) {
	e := sharedEngine(t)
	rows := []struct {
		name          string
		profile       *Profile
		setup, behind string
	}{
		{"as it comes", &Profile{}, "", ""},
		{"paranoia 2", &Profile{Paranoia: 2}, "setvar:tx.blocking_paranoia_level=2", ""},
		{"paranoia 3", &Profile{Paranoia: 3}, "setvar:tx.blocking_paranoia_level=3", ""},
		{"paranoia 4", &Profile{Paranoia: 4}, "setvar:tx.blocking_paranoia_level=4", ""},
		{"inbound threshold", &Profile{InboundThreshold: 15}, "setvar:tx.inbound_anomaly_score_threshold=15", ""},
		{"inbound threshold of paranoia 4", &Profile{InboundThreshold: 40, Paranoia: 4}, "setvar:tx.inbound_anomaly_score_threshold=40,setvar:tx.blocking_paranoia_level=4", ""},
		{"outbound threshold", &Profile{OutboundThreshold: 9, Responses: true}, "setvar:tx.outbound_anomaly_score_threshold=9", ""},
		{"methods", &Profile{AllowedMethods: []string{"GET", "POST", "PUT"}}, "setvar:'tx.allowed_methods=GET POST PUT'", ""},
		{"fewer methods", &Profile{AllowedMethods: []string{"GET"}}, "setvar:'tx.allowed_methods=GET'", ""},
		{"types", &Profile{AllowedTypes: []string{"application/json", "text/plain"}}, "setvar:'tx.allowed_request_content_type=|application/json| |text/plain|'", ""},
		{
			"all of it",
			&Profile{
				Paranoia: 3, InboundThreshold: 20, OutboundThreshold: 8, Responses: true,
				AllowedMethods: []string{"DELETE", "GET", "POST", "PUT"}, AllowedTypes: []string{"application/json", "application/x-www-form-urlencoded", "text/xml"},
				Exclusions: NewExclusions([]Exclusion{{Rules: one(942100)}, {Tags: []string{"attack-xss"}, Target: "ARGS:/^(q|comment)$/"}, {Rules: one(913100), Target: "REQUEST_HEADERS:User-Agent"}}),
			},
			"setvar:tx.blocking_paranoia_level=3,setvar:tx.inbound_anomaly_score_threshold=20,setvar:tx.outbound_anomaly_score_threshold=8," +
				"setvar:'tx.allowed_methods=DELETE GET POST PUT',setvar:'tx.allowed_request_content_type=|application/json| |application/x-www-form-urlencoded| |text/xml|'",
			"SecRuleRemoveById 942100\n" + `SecRuleUpdateTargetByTag attack-xss "!ARGS:/^(q|comment)$/"` + "\n" + `SecRuleUpdateTargetById 913100 "!REQUEST_HEADERS:User-Agent"` + "\n",
		},
	}
	if raceDetector { // which makes a compilation take seconds
		rows = rows[len(rows)-1:]
	}
	samples := append(suspicious(),
		sample{method: "PUT", target: "/a", contentType: "text/plain", body: "hello"},
		sample{method: "PATCH", target: "/a", contentType: "application/json", body: "{}"},
		sample{contentType: "application/octet-stream", body: "\x00\x01"},
	)
	results := map[string]string{}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			directives := wafrules.Embedded().Directives()
			if row.setup != "" {
				const include = "Include @owasp_crs/*.conf\n"
				directives = strings.Replace(directives, include, `SecAction "id:900000,phase:1,pass,nolog,`+row.setup+"\"\n"+include, 1)
			}
			own, err := newEngine(Options{}, directives+row.behind)
			if err != nil {
				t.Fatal(err)
			}
			defer own.Close()
			p := row.profile
			p.Mode = Block
			bare := &tuning{inbound: orDefault(p.InboundThreshold, DefaultInboundThreshold), outbound: orDefault(p.OutboundThreshold, DefaultOutboundThreshold), inspect: DefaultInspectBody}
			alone := func(s sample) string {
				rules := own.current.Load()
				rules.use()
				tx := &Transaction{engine: own, rules: rules, profile: &Profile{Mode: Block, Responses: p.Responses}, tuning: bare}
				tx.begin()
				defer tx.Close()
				run(tx, s)
				return summary(result{verdict: tx.Verdict(), matches: tx.Matches(), score: tx.Score(), outbound: tx.OutboundScore(), would: tx.WouldBlock(), err: tx.Err()})
			}
			var all []string
			for i, s := range samples {
				want, got := alone(s), summary(inspect(e, p, s))
				for try := 0; try < 16 && got != want; try++ { // chains with captures depend on the order of a map
					want, got = alone(s), summary(inspect(e, p, s))
				}
				if got != want {
					t.Errorf("request %d %q:\n got %s\nwant %s", i, s.target+" "+s.body, got, want)
				}
				all = append(all, got)
			}
			text := strings.Join(all, "\n")
			if other := results[text]; other != "" {
				t.Errorf("its results are those of the row %q: one of them shows nothing", other)
			}
			results[text] = row.name
		})
	}
}
