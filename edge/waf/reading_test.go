package waf

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types/variables"

	"gatehouse/waf-rules/crstest"
)

// What we read of a request is what the engine reads of it, in every variable.
func TestReadingIsTheEngines(t *testing.T) {
	p := sharedEngine(t).current.Load().screening.made.Load()
	g := newGenerator(sharedMaterial(t), 3)
	simple, n := map[string]int{}, 20*identityRequests(t)/10
	for i := range n {
		x := g.exchange(uint64(i + 1))
		if kind, ok := compareReading(t, p, &x.Request); ok {
			simple[kind]++
		}
	}
	for _, text := range []string{
		`{}`, `[]`, `{"a":1,"a":2,"A":3}`, `[[],[[]],{}]`, ` [1 , 2.5e-3,-0,true,false,null,"x"] `, `{"":{"":""}}`, `{"a.b":{"c":[{"d":[1,2,[3]]}]}}`,
		`{"\\u00e9\\ud83d\\ude00\\ud83d":"\\n\\"\\\\\\/"}`, `{"a":"\xff"}`, `{"a":01}`, `{"a":1} x`, `{"a":}`, `{"a":1,}`, `[1,]`, "{\"a\":\"\n\"}", `"x"`, `12`, ``, `{"a":"\u12"}`, `{"a" 1}`, `{a:1}`, `[-]`, `[1.]`, `[1e]`, `[tru]`,
		strings.Repeat("[", 70) + strings.Repeat("]", 70), `[` + strings.Repeat(`"x",`, 998) + `1]`, `[` + strings.Repeat(`"x",`, 1100) + `1]`,
		`{"` + strings.Repeat("k", 300) + `":[` + strings.Repeat(`"",`, 200) + `1]}`,
	} {
		r := posted(browserRequest("/api?x=1&y", "a=b; c"), "application/json", text)
		if kind, ok := compareReading(t, p, &r); ok {
			simple[kind]++
		}
	}
	for _, kind := range []string{
		"application/x-www-form-urlencoded+json", "application/x-www-form-urlencoded;charset=utf-8", "application/json; x=y", "application/jsonx",
		"application/json+xml", " application/json", "application/x-www-form-urlencoded\napplication/json", "Application/JSON", "application/x-www-form-urlencoded-foo+json",
	} {
		for _, text := range []string{`{"id":"1 OR 1=1"}`, "a=1&b=2"} {
			r := posted(browserRequest("/api", "a=b"), kind, text)
			compareReading(t, p, &r)
		}
	}
	for _, n := range []int{999, 1000, 1001} { // arrays, whose lengths are counted apart
		r := posted(browserRequest("/api", "a=b"), "application/json", "["+strings.Repeat("[1],", n/2)+strings.Repeat("[{}],", n-n/2)+"1]")
		compareReading(t, p, &r)
	}
	for _, end := range []string{`,"z":{}`, `,"z":[]`, `,"z":1`, ``} {
		var members []string
		for i := range 1000 {
			members = append(members, fmt.Sprintf(`"a%d":%d`, i, i))
		}
		r := posted(browserRequest("/api", "a=b"), "application/json", "{"+strings.Join(members, ",")+end+"}")
		compareReading(t, p, &r)
	}
	t.Logf("of %d requests, read by us: %v", n, simple)
	for _, kind := range []string{"", "URLENCODED", "JSON"} {
		if simple[kind] < n/100 {
			t.Errorf("only %d of %d requests were %q and read by us: this shows little", simple[kind], n, kind)
		}
	}
}

// compareReading reports whether a request is one that we read.
func compareReading(t *testing.T, p *prescreen, r *crstest.Request) (kind string, ok bool) {
	t.Helper()
	g := &gated{client: benchClient, server: benchServer, method: r.Method, target: r.Target, proto: r.Proto, host: r.Host}
	for _, f := range r.Fields {
		g.fields = append(g.fields, field{f[0], f[1]})
	}
	g.kind, _ = g.parser()
	g.simple = p.isSimple(g)
	ours, ok, _ := p.readSimple(g, r.Body)
	if !ok {
		return "", false
	}
	tx := p.reader.NewTransactionWithOptions(experimental.Options{ID: "x"}).(engineTx)
	defer tx.Close()
	if it := g.head(tx); it != nil {
		t.Errorf("%+v: refused by rule %d", r, it.RuleID)
	}
	if kind := tx.Variables().RequestBodyProcessor().Get(); kind != g.kind {
		t.Errorf("%+v: parser %q, want %q", r, g.kind, kind)
	}
	if _, err := runBody(tx, g.kind, r.Body); err != nil || tx.Interruption() != nil {
		t.Errorf("%+v: %v, %v", r, err, tx.Interruption())
	}
	for v := range variables.RuleVariable(255) {
		switch v {
		case variables.Args, variables.ArgsNames, variables.TX, variables.UniqueID, variables.Rule, variables.Duration, variables.MatchedVar,
			variables.MatchedVarName, variables.MatchedVars, variables.MatchedVarsNames, variables.HighestSeverity,
			variables.Time, variables.TimeDay, variables.TimeEpoch, variables.TimeHour, variables.TimeMin, variables.TimeMon, variables.TimeSec, variables.TimeWday, variables.TimeYear:
			continue
		}
		if got, want := listOf(ours.Each, v), listOf(engineValues{tx}.Each, v); !slices.Equal(got, want) {
			t.Errorf("%s of %q %q:\n got %q\nwant %q", v.Name(), r.Target, r.Body, got, want)
		}
	}
	return g.kind, true
}

func listOf(each func(variables.RuleVariable, func(key, value string)), v variables.RuleVariable) (out []string) {
	each(v, func(key, value string) { out = append(out, fmt.Sprintf("%q=%q", key, value)) })
	slices.Sort(out)
	return out
}

// Names that are long and values that are many do not take more memory than the engine's bound, which is so many times the text.
func TestLongNamesOfManyValuesTakeNoMemory(t *testing.T) {
	text := `{"` + strings.Repeat("k", 60<<10) + `":[` + strings.Repeat("1,", 900) + `1]}`
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, ok, over := flatten(text)
	runtime.ReadMemStats(&after)
	if ok || !over {
		t.Errorf("read: %t, more than the engine reads: %t", ok, over)
	}
	if took, most := after.TotalAlloc-before.TotalAlloc, uint64(6*flattenFactor*len(text)); took > most {
		t.Errorf("%d bytes for a text of %d, want at most %d", took, len(text), most)
	}
}
