package waf

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// sees shows a sample to an engine, and reports whether its rules had to begin; looks is called before the end.
func sees(e *Engine, p *Profile, s sample, looks func(tx *Transaction)) (ran bool) {
	tx := e.Begin(p, "gated")
	defer tx.Close()
	run(tx, s)
	if looks != nil {
		looks(tx)
	}
	return tx.tx != nil
}

// Of harmless requests hardly one needs the rules without one that matches.
func TestTheGateIsPrecise(t *testing.T) {
	e, p := sharedEngine(t), &Profile{Mode: Block}
	blanks := mixBlanks(rand.New(rand.NewPCG(1, 2)), 400)
	requests := 2000
	if raceDetector {
		requests = 300
	}
	needless, matched, blamed := 0, 0, map[int]int{}
	counter := uint64(1 << 40)
	for i := range requests {
		r := blanks[i%len(blanks)].fill(&counter)
		tx := e.Begin(p, "precise")
		var g *gated
		tx.Connection(benchClient, benchServer)
		tx.Request(r.Method, r.Target, r.Proto, r.Host)
		for _, f := range r.Fields {
			tx.RequestHeader(f[0], f[1])
		}
		tx.RequestHeaders()
		if g = tx.gated; g == nil {
			t.Fatalf("not at the gate: %s", r.Target)
		}
		tx.WriteRequestBody(r.Body)
		tx.RequestBody(false)
		switch {
		case len(tx.Matches()) > 0:
			matched++
		case tx.tx != nil:
			needless++
			for _, place := range g.found[0].Rules {
				blamed[tx.prescreen.rules[place].ID]++
			}
		}
		tx.Close()
	}
	t.Logf("of %d requests %d have a match, and %d needed the rules for nothing: %v", requests, matched, needless, blamed)
	if needless*100 > requests || matched*10 > requests {
		t.Errorf("of %d requests %d have a match, and %d needed the rules for nothing: %v", requests, matched, needless, slices.Sorted(maps.Keys(blamed)))
	}
}

// What a tenant excludes is no reason to begin the rules, where and as far as it is excluded.
func TestExclusionsActAtTheGate(t *testing.T) {
	e := sharedEngine(t)
	attack := func(path string) sample { return sample{target: path + "?id=1%27%20OR%20%271%27=%271"} }
	for _, c := range []struct {
		name       string
		list       []Exclusion
		spared     []sample // nothing runs
		remains    []sample // it is found
		threshold  int
		notAtLevel int
	}{
		{name: "a rule", list: []Exclusion{{Rules: one(942100)}}, spared: []sample{attack("/a")}, remains: []sample{{target: script}}},
		{name: "a tag", list: []Exclusion{{Tags: []string{"attack-sqli"}}}, spared: []sample{attack("/a")}, remains: []sample{{target: script}}},
		{
			name: "a name", list: []Exclusion{{Tags: []string{"attack-sqli"}, Target: "ARGS:ID"}},
			spared: []sample{attack("/a"), {contentType: form, body: "Id=1' OR '1'='1"}}, remains: []sample{{target: "/?idx=1%27%20OR%20%271%27=%271"}},
		},
		{
			name: "names", list: []Exclusion{{Tags: []string{"attack-sqli"}, Target: "ARGS:/^i.$/"}},
			spared: []sample{attack("/a")}, remains: []sample{{target: "/?idx=1%27%20OR%20%271%27=%271"}},
		},
		{name: "a variable", list: []Exclusion{{Rules: one(942100), Target: "ARGS"}}, spared: []sample{attack("/a")}, remains: []sample{{header: [][2]string{{"Cookie", "a=1' OR '1'='1"}}}}},
		{name: "a path", list: []Exclusion{{Rules: one(942100), Paths: []string{"/free/*"}}}, spared: []sample{attack("/free/a")}, remains: []sample{attack("/a"), attack("/x/free/a")}},
		{
			name: "a method", list: []Exclusion{{Rules: one(942100), Target: "ARGS:id", Methods: []string{"HEAD"}}},
			spared: []sample{{method: "HEAD", target: sqli}}, remains: []sample{attack("/a")},
		},
		{name: "what has ended", list: []Exclusion{{Rules: one(942100), Until: 1}}, remains: []sample{attack("/a")}},
	} {
		for _, responses := range []bool{false, true} {
			p := &Profile{Mode: Block, Responses: responses, Exclusions: NewExclusions(c.list)}
			for range 2 {
				for _, s := range c.spared {
					if sees(e, p, s, func(tx *Transaction) {
						if len(tx.Matches()) > 0 || tx.Verdict() != nil || tx.Err() != nil {
							t.Errorf("%s: %s: %+v", c.name, s.target, tx.Matches())
						}
					}) {
						t.Errorf("%s: %s: the rules ran", c.name, s.target)
					}
				}
				for _, s := range c.remains {
					if !sees(e, p, s, func(tx *Transaction) {
						if len(tx.Matches()) == 0 || tx.Verdict() == nil {
							t.Errorf("%s: %+v passed", c.name, s)
						}
					}) {
						t.Errorf("%s: %+v: the rules did not run", c.name, s)
					}
				}
			}
		}
	}
}

// A tenant's methods and types are looked at before any rule runs.
func TestMethodsAndTypesActAtTheGate(t *testing.T) {
	e := sharedEngine(t)
	put := sample{method: "PUT", target: "/"}
	csv := sample{contentType: "text/csv", body: "a,b"}
	usual, other := &Profile{Mode: Block}, &Profile{Mode: Block, AllowedMethods: []string{"GET", "POST", "PUT"}, AllowedTypes: []string{"text/csv"}}
	for _, c := range []struct {
		p    *Profile
		s    sample
		rule int // 0: none, and none runs
	}{
		{usual, put, 911100},
		{other, put, 0},
		{usual, csv, 920420},
		{other, csv, 0},
		{other, sample{contentType: form, body: "a=b"}, 920420},
		{usual, sample{contentType: form, body: "a=b"}, 0},
		{other, sample{method: "OPTIONS"}, 911100},
		{usual, sample{method: "OPTIONS"}, 0},
	} {
		for range 2 {
			ran := sees(e, c.p, c.s, func(tx *Transaction) {
				_, found := result{matches: tx.Matches()}.match(c.rule)
				if found != (c.rule != 0) || c.rule == 0 && len(tx.Matches()) > 0 {
					t.Errorf("%+v: %+v", c.s, tx.Matches())
				}
			})
			if ran != (c.rule != 0) {
				t.Errorf("%+v: the rules ran: %t", c.s, ran)
			}
		}
	}
}

// settingsCases are tenants, and requests of which each finds something else in.
func settingsCases() (profiles []func() *Profile, samples []sample) {
	for paranoia := 1; paranoia <= 4; paranoia++ {
		profiles = append(profiles,
			func() *Profile { return &Profile{Mode: Block, Paranoia: paranoia} },
			func() *Profile {
				return &Profile{Mode: Detect, Paranoia: paranoia, AllowedMethods: []string{"PUT"}, AllowedTypes: []string{"text/csv"}}
			},
			func() *Profile {
				return &Profile{Mode: Block, Paranoia: paranoia, InboundThreshold: 9, Responses: true, Exclusions: NewExclusions([]Exclusion{{Rules: one(942100)}})}
			})
	}
	samples = []sample{
		{target: "/?q=red+shoes"},
		{target: sqli},
		{target: script},
		{method: "PUT", target: "/?q=red+shoes"},
		{contentType: "text/csv", body: "a,b"},
		{contentType: form, body: "a=b~%21%40%23%24"},
		{target: "/?a=1&a=2&a=3"},
		{target: "/?x=%7E%7E%21%21%40%40%23%23"},
		leakAlone,
		{target: "/?q=" + strings.Repeat("a", 300)},
		{header: [][2]string{{"Cookie", "sid=1' OR '1'='1"}}},
		{target: "/?q=cat+/etc/passwd", status: 500, responseType: "text/html", responseBody: "x"},
		{contentType: "application/json", body: `{"a":{"b":["x","y"]},"id":"1' OR '1'='1"}`},
		{target: "/?q[]=1&q[]=2&ref=http://192.0.2.1/"},
	}
	return profiles, samples
}

// Tenants whose settings differ send the same values at the same time, and each is told what concerns him: what is remembered of
// a value is not another's.
func TestTenantsDoNotGetEachOthersAnswers(t *testing.T) {
	profiles, samples := settingsCases()
	e, plain := reloadable(t, Options{Shadow: 5}), ungatedEngine(t)
	rounds := 2
	if raceDetector {
		rounds, profiles, samples = 1, profiles[:6], samples[:8]
	}
	want, different := make([][]string, len(profiles)), map[string]bool{}
	for i, profile := range profiles {
		for _, s := range samples {
			want[i] = append(want[i], summary(inspect(plain, profile(), s)))
		}
		different[strings.Join(want[i], "\n")] = true
	}
	if len(different) < len(profiles)*3/4 {
		t.Errorf("only %d of %d tenants differ", len(different), len(profiles))
	}
	var group sync.WaitGroup
	for worker := range max(4, runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 5))
			mine := make([]*Profile, len(profiles))
			for i := range mine {
				mine[i] = profiles[i]()
				mine[i].Share = uint32(i % 3) // some share their memory
			}
			for range rounds {
				for _, at := range random.Perm(len(profiles) * len(samples)) {
					i, k := at%len(profiles), at/len(profiles)
					if got := summary(inspect(e, mine[i], samples[k])); got != want[i][k] {
						t.Errorf("tenant %d, sample %d:\n got %s\nwant %s", i, k, got, want[i][k])
					}
				}
			}
		})
	}
	group.Wait()
	if id := missedBy(e); id != 0 {
		t.Errorf("rule %d was missed", id)
	}
}

// Nothing is found in a clean request whose rules never began, and everything is in one whose did.
func TestWhatIsToldOfGatedRequests(t *testing.T) {
	e := sharedEngine(t)
	for _, mode := range []Mode{Detect, Block} {
		for _, responses := range []bool{false, true} {
			p := &Profile{Mode: mode, Responses: responses}
			clean := sample{target: "/?q=red+shoes", status: 200, responseType: "text/html", responseBody: "<p>fine</p>"}
			if sees(e, p, clean, func(tx *Transaction) {
				if tx.Matches() != nil || tx.Score() != 0 || tx.OutboundScore() != 0 || tx.WouldBlock() || tx.RefusedBy() != 0 || tx.Verdict() != nil || tx.Err() != nil {
					t.Errorf("%s: %+v, %d and %d, would block %t, refused by %d, %v", mode, tx.Matches(), tx.Score(), tx.OutboundScore(), tx.WouldBlock(), tx.RefusedBy(), tx.Err())
				}
			}) {
				t.Errorf("%s: the rules of a clean request ran", mode)
			}
			if !sees(e, p, sample{target: sqli}, func(tx *Transaction) {
				if len(tx.Matches()) == 0 || tx.Score() < 5 || !tx.WouldBlock() || mode == Block && tx.RefusedBy() != 949110 || (tx.Verdict() != nil) != (mode == Block) {
					t.Errorf("%s: %+v, %d, would block %t, refused by %d", mode, tx.Matches(), tx.Score(), tx.WouldBlock(), tx.RefusedBy())
				}
			}) {
				t.Errorf("%s: an attack's rules did not run", mode)
			}
			tx := e.Begin(p, "closed")
			run(tx, clean)
			tx.Close()
			if tx.Matches() != nil || tx.Score() != 0 || tx.WouldBlock() || tx.RefusedBy() != 0 || tx.Verdict() != nil || tx.Err() != nil {
				t.Errorf("%s: after its end: %+v", mode, tx.Matches())
			}
		}
	}
}

// Long bodies, announced or not, are refused at the gate as without it, whatever else is found.
func TestLongBodiesAtTheGate(t *testing.T) {
	gated, plain := sharedEngine(t), ungatedEngine(t)
	client := netip.MustParseAddrPort("192.0.2.7:1")
	said := func(e *Engine, p *Profile, length int64, body string, cut bool) string {
		tx := e.Begin(p, "long")
		defer tx.Close()
		tx.Connection(client, client)
		tx.Request("POST", "/upload?a=b", "HTTP/1.1", "shop.test")
		for _, f := range [][2]string{{"Host", "shop.test"}, {"User-Agent", "x"}, {"Accept", "*/*"}, {"Content-Type", form}, {"Content-Length", fmt.Sprint(max(length, 1))}} {
			tx.RequestHeader(f[0], f[1])
		}
		tx.RequestLength(length)
		out := fmt.Sprintf("head %+v", tx.RequestHeaders())
		for len(body) > 0 && tx.WantsBody() {
			n := min(70, len(body))
			tx.WriteRequestBody([]byte(body[:n]))
			body = body[n:]
		}
		v := tx.RequestBody(cut || len(body) > 0)
		return fmt.Sprintf("%s, body %+v, %v, would %t, by %d, %v", out, v, result{matches: tx.Matches()}.ids(), tx.WouldBlock(), tx.RefusedBy(), tx.Err())
	}
	seen := map[string]bool{}
	for _, mode := range []Mode{Detect, Block} {
		for _, oversize := range []OnError{Pass, Refuse} {
			for _, list := range [][]Exclusion{nil, {{Rules: [][2]int32{{200100, 200101}}}}} {
				for _, length := range []int64{-1, 50, 100, 101, 1000} {
					for _, body := range []string{"", "a=b", "a=1' OR '1'='1", "a=" + strings.Repeat("x", 98), "a=" + strings.Repeat("x", 200), "q=<script>alert(1)</script>&a=" + strings.Repeat("x", 99)} {
						p := func() *Profile {
							return &Profile{Mode: mode, InspectBody: 100, OnOversize: oversize, Exclusions: NewExclusions(list)}
						}
						got, want := said(gated, p(), length, body, false), said(plain, p(), length, body, false)
						if got != want {
							t.Errorf("%s, %s, %v, length %d, %q:\n got %s\nwant %s", mode, oversize, list, length, body, got, want)
						}
						seen[want] = true
					}
				}
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %d different outcomes", len(seen))
	}
}

// A tenant's own rules and the shared ones are told together, whichever of them had to run.
func TestOwnRulesAtTheGate(t *testing.T) {
	gated, plain := sharedEngine(t), ungatedEngine(t)
	profile := func(mode Mode) *Profile {
		return &Profile{Mode: mode, Responses: true, Own: own(t,
			`SecRule ARGS "@contains coupon" "id:1000,phase:2,pass,log,msg:'noted'"`,
			`SecRule REQUEST_HEADERS:X-Bad "@rx ." "id:1001,phase:1,deny,status:429,msg:'head'"`,
			`SecRule ARGS "@contains forbidden" "id:1002,phase:2,deny,status:410,msg:'body'"`)}
	}
	for _, mode := range []Mode{Detect, Block} {
		for _, c := range []struct {
			s    sample
			runs bool // the shared ones
		}{
			{sample{target: "/?q=red"}, false},
			{sample{target: "/?q=coupon"}, false},
			{sample{target: "/?q=coupon&id=1%27%20OR%20%271%27=%271"}, true},
			{sample{target: "/?q=coupon", status: 200, responseType: "text/html", responseBody: leakAlone.responseBody}, true},
			{sample{target: "/?q=forbidden"}, false},
			{sample{header: [][2]string{{"X-Bad", "1"}}}, false},
		} {
			got, want := inspect(gated, profile(mode), c.s), inspect(plain, profile(mode), c.s)
			if summary(got) != summary(want) {
				t.Errorf("%s, %+v:\n got %s\nwant %s", mode, c.s, summary(got), summary(want))
			}
			if ran := sees(gated, profile(mode), c.s, nil); ran != c.runs {
				t.Errorf("%s, %+v: the shared rules ran: %t", mode, c.s, ran)
			}
		}
		both := sample{target: "/?q=forbidden&z=<script>alert(1)</script>"}
		if got, want := inspect(gated, profile(mode), both), inspect(plain, profile(mode), both); summary(got) != summary(want) {
			t.Errorf("%s, both:\n got %s\nwant %s", mode, summary(got), summary(want))
		}
	}
}
