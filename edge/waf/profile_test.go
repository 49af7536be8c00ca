package waf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	wafrules "gatehouse/waf-rules"
)

func TestModeNames(t *testing.T) {
	for _, m := range []Mode{Off, Detect, Block} {
		if got, err := ParseMode(m.String()); err != nil || got != m {
			t.Errorf("%s: %s, %v", m, got, err)
		}
	}
	for _, o := range []OnError{Pass, Refuse} {
		if got, err := ParseOnError(o.String()); err != nil || got != o {
			t.Errorf("%s: %s, %v", o, got, err)
		}
	}
	for _, bad := range []string{"", "Block", "on", "Mode(3)"} {
		if got, err := ParseMode(bad); err == nil || got != Detect {
			t.Errorf("%q: %s, %v", bad, got, err)
		}
		if _, err := ParseOnError(bad); err == nil {
			t.Errorf("%q is an on_error", bad)
		}
	}
	if got := Mode(9).String() + OnError(9).String(); got != "Mode(9)OnError(9)" {
		t.Error(got)
	}
}

func TestProfileBounds(t *testing.T) {
	bad := map[string]*Profile{
		"mode":               {Mode: 3},
		"paranoia":           {Paranoia: 5},
		"inbound_threshold":  {InboundThreshold: -1},
		"outbound_threshold": {OutboundThreshold: -1},
		"allowed_methods":    {AllowedMethods: []string{"GET", "PUT DELETE"}},
		"inspect_body":       {InspectBody: MaxInspectBody + 1},
		"on_error":           {OnError: 2},
	}
	for field, p := range bad {
		if err := p.Validate(); !errors.Is(err, ErrProfile) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, p := range []*Profile{{}, {Mode: Off, Paranoia: 4, InspectBody: MaxInspectBody, AllowedMethods: []string{"X-MY.METHOD"}}} {
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
	}
	if err := (&Profile{AllowedMethods: []string{""}}).Validate(); err == nil {
		t.Error("an empty method is a method")
	}
}

func TestDigestTellsVerdictsApart(t *testing.T) {
	same := []*Profile{
		{},
		{Paranoia: 1, InboundThreshold: 5, OutboundThreshold: 4, InspectBody: 128 << 10, AllowedMethods: []string{}},
	}
	different := []*Profile{
		{},
		{Mode: Block},
		{Paranoia: 2},
		{InboundThreshold: 6},
		{OutboundThreshold: 5},
		{AllowedMethods: []string{"GET"}},
		{AllowedMethods: []string{"GET", "PUT"}},
		{InspectBody: 1},
		{Responses: true},
		{OnError: Refuse},
	}
	if same[0].Digest(wafrules.Embedded()) != same[1].Digest(wafrules.Embedded()) {
		t.Error("written defaults change the digest")
	}
	a, b := &Profile{AllowedMethods: []string{"PUT", "GET"}}, &Profile{AllowedMethods: []string{"GET", "PUT", "GET"}}
	if a.Digest(wafrules.Embedded()) != b.Digest(wafrules.Embedded()) {
		t.Error("the order of methods changes the digest")
	}
	seen := map[string]int{}
	for i, p := range different {
		if other, ok := seen[p.Digest(wafrules.Embedded())]; ok || len(p.Digest(wafrules.Embedded())) != 32 {
			t.Errorf("profiles %d and %d: digest %q", i, other, p.Digest(wafrules.Embedded()))
		}
		seen[p.Digest(wafrules.Embedded())] = i
	}
}

func TestParanoiaIsPerTransaction(t *testing.T) {
	e := sharedEngine(t)
	only3 := sample{target: "/?x=%7E%7E%21%21%40%40%23%23%25%25"}
	low, high := inspect(e, &Profile{Mode: Block, Paranoia: 1}, only3), inspect(e, &Profile{Mode: Block, Paranoia: 3}, only3)
	if low.verdict != nil || len(low.matches) != 0 {
		t.Errorf("paranoia 1: %+v", low)
	}
	if high.verdict == nil || !slices.ContainsFunc(high.matches, func(m Match) bool { return slices.Contains(m.Tags, "paranoia-level/3") }) {
		t.Errorf("paranoia 3: %+v", high)
	}
}

func TestThresholdIsPerTransaction(t *testing.T) {
	e := sharedEngine(t)
	score := inspect(e, &Profile{}, sample{target: script}).score
	for _, test := range []struct {
		threshold int
		want      bool
	}{{0, true}, {score, true}, {score + 1, false}} {
		p := &Profile{Mode: Block, InboundThreshold: test.threshold}
		got := inspect(e, p, sample{target: script})
		if (got.verdict != nil) != test.want || got.would != test.want || got.score != score {
			t.Errorf("threshold %d, score %d: %+v", test.threshold, score, got.verdict)
		}
	}
}

func TestMethodsArePerTransaction(t *testing.T) {
	e := sharedEngine(t)
	put := sample{method: "PUT", target: "/thing", contentType: "application/json", body: `{"a":1}`}
	if got := inspect(e, &Profile{Mode: Block}, put); got.verdict == nil || !slices.Contains(got.ids(), 911100) {
		t.Errorf("PUT by default: %+v", got)
	}
	allowed := &Profile{Mode: Block, AllowedMethods: []string{"GET", "PUT"}}
	if got := inspect(e, allowed, put); got.verdict != nil || len(got.matches) != 0 {
		t.Errorf("PUT where it is allowed: %+v", got)
	}
	if got := inspect(e, allowed, sample{method: "POST", contentType: form, body: "a=b"}); got.verdict == nil {
		t.Errorf("POST where it is not allowed: %+v", got)
	}
}

// traffic is a bit of everything, for comparisons.
func traffic() []sample {
	all := []sample{
		{},
		{target: script},
		{target: sqli},
		{target: "/?x=%7E%7E%21%21%40%40%23%23%25%25"},
		{target: "/?f=../../../../etc/passwd"},
		{target: "/?c=%3Bcat+/etc/passwd"},
		{method: "PUT", target: "/a", contentType: "application/json", body: `{"a":"x' UNION SELECT 1,2--"}`},
		{method: "DELETE", target: "/a"},
		{target: "/?" + strings.Repeat("a=1&", 1001)},
		{target: "/", header: [][2]string{{"User-Agent", "sqlmap/1.0"}}},
		{contentType: form, body: "comment=it's+a+%3Cb%3Ebold%3C/b%3E+claim"},
		{contentType: "application/json", body: `{"a":`},
		{contentType: "text/xml", body: "<a>;/bin/sh</a>"},
	}
	for _, b := range bodies {
		all = append(all, sample{contentType: b.contentType, body: b.body})
	}
	return all
}

// Whatever runs beside it, a tenant's verdict is the one of an engine of its own, configured in
// the usual way.
func TestSharedEngineEqualsADedicatedOne(t *testing.T) {
	e := sharedEngine(t)
	const dedicated = `SecAction "id:900000,phase:1,pass,nolog,setvar:tx.blocking_paranoia_level=%d,` +
		`setvar:tx.inbound_anomaly_score_threshold=%d,setvar:'tx.allowed_methods=%s'"` + "\n"
	tenants := []*Profile{
		{Mode: Block, Paranoia: 1, InboundThreshold: 5, AllowedMethods: []string{"GET", "POST"}},
		{Mode: Block, Paranoia: 3, InboundThreshold: 12, AllowedMethods: []string{"DELETE", "GET", "POST", "PUT"}},
	}
	var group sync.WaitGroup
	for i, p := range tenants {
		setup := fmt.Sprintf(dedicated, p.Paranoia, p.InboundThreshold, strings.Join(p.AllowedMethods, " "))
		include := "Include @owasp_crs/*.conf\n"
		own, err := newEngine(Options{}, strings.Replace(wafrules.Embedded().Directives(), include, setup+include, 1))
		if err != nil {
			t.Fatal(err)
		}
		bare := &tuning{inbound: p.InboundThreshold, outbound: DefaultOutboundThreshold, inspect: DefaultInspectBody}
		rules := own.current.Load()
		for k, s := range traffic() {
			rules.use()
			tx := &Transaction{engine: own, rules: rules, profile: &Profile{Mode: Block}, tuning: bare}
			tx.begin()
			run(tx, s)
			want := result{verdict: tx.Verdict(), matches: tx.Matches(), score: tx.Score()}
			tx.Close()
			for range 2 {
				group.Go(func() {
					got := inspect(e, p, s)
					if !slices.Equal(got.ids(), want.ids()) || got.score != want.score || (got.verdict == nil) != (want.verdict == nil) {
						t.Errorf("tenant %d, request %d: %v score %d, alone %v score %d", i, k, got.ids(), got.score, want.ids(), want.score)
					}
				})
			}
		}
	}
	group.Wait()
}
