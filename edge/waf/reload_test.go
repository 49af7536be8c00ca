package waf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"weak"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/edgetest"
	wafrules "gatehouse/waf-rules"
	"gatehouse/waf-rules/crstest"
)

// copyOfCRS returns a folder with the embedded CRS, laid out as a release.
func copyOfCRS(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := crstest.WriteRelease(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// appendTo adds text to a file of a folder.
func appendTo(t testing.TB, dir, name, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// Files of our own, before the CRS's rules and after them.
const (
	beforeCRS = "rules/REQUEST-900-OURS.conf"
	afterCRS  = "rules/REQUEST-999-OURS.conf"
)

// setWith returns the CRS with a file of our own.
func setWith(t testing.TB, file, text string) *wafrules.Set {
	t.Helper()
	dir := copyOfCRS(t)
	appendTo(t, dir, file, text)
	set, err := wafrules.FromDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// reloadable returns an engine of its own, that does not rest while it compiles.
func reloadable(t testing.TB, opts Options) *Engine {
	t.Helper()
	e, err := withGate(New(opts))
	if err != nil {
		t.Fatal(err)
	}
	e.rest = 0
	t.Cleanup(func() { e.Close() })
	return e
}

func reload(t testing.TB, e *Engine, set *wafrules.Set) {
	t.Helper()
	changed, err := e.Reload(func() (*wafrules.Set, error) { return set, nil })
	if err != nil || !changed {
		t.Fatalf("changed %t, %v", changed, err)
	}
}

func TestACopyOfTheCRSJudgesAsTheEmbeddedOne(t *testing.T) {
	edgetest.Sequential(t)
	set, err := wafrules.FromDir(copyOfCRS(t))
	if err != nil {
		t.Fatal(err)
	}
	copied, embedded := reloadable(t, Options{Rules: set}), sharedEngine(t)
	for _, p := range []*Profile{{Mode: Block, Responses: true}, {Mode: Block, Paranoia: 3, InboundThreshold: 12, AllowedMethods: []string{"PUT"}}} {
		for i, s := range traffic() {
			got, want := inspect(copied, p, s), inspect(embedded, p, s)
			if !slices.Equal(got.ids(), want.ids()) || got.score != want.score || (got.verdict == nil) != (want.verdict == nil) {
				t.Errorf("paranoia %d, request %d: %v score %d, embedded %v score %d", p.Paranoia, i, got.ids(), got.score, want.ids(), want.score)
			}
		}
	}
}

// marked is a set whose rules n01 and n02 match every request, in phases 1 and 2.
func marked(t testing.TB, n int) *wafrules.Set {
	t.Helper()
	return setWith(t, beforeCRS, fmt.Sprintf("SecRule REQUEST_METHOD \"@rx .\" \"id:190%d01,phase:1,pass,log,msg:'marked'\"\n"+
		"SecRule REQUEST_METHOD \"@rx .\" \"id:190%d02,phase:2,pass,log,msg:'marked'\"\n", n, n))
}

// Each request is judged by the rules with which it began, the old ones are closed after the last
// of those that use them, and each set is compiled once.
func TestRequestsKeepTheirRulesWhileOthersTakeTheirPlace(t *testing.T) {
	sets := []*wafrules.Set{marked(t, 1), marked(t, 2)}
	e := reloadable(t, Options{Rules: sets[0]})
	first := e.current.Load()
	long := e.Begin(&Profile{Mode: Block}, "long")
	long.Request("GET", "/", "HTTP/1.1", "shop.test")
	long.RequestHeader("Host", "shop.test")
	long.RequestHeaders()

	var done atomic.Bool
	var group sync.WaitGroup
	var judged [2]atomic.Int64
	for range 2 {
		group.Go(func() {
			p := &Profile{Mode: Block}
			for !done.Load() {
				got := inspect(e, p, sample{target: script})
				n := 0
				for i := range judged {
					has := [2]bool{slices.Contains(got.ids(), 190101+i*100), slices.Contains(got.ids(), 190102+i*100)}
					if has[0] != has[1] {
						t.Errorf("judged by two: %v", got.ids())
					}
					if has[0] {
						n++
						judged[i].Add(1)
					}
				}
				if n != 1 || got.verdict == nil || got.err != nil {
					t.Errorf("judged by %d, %+v", n, got)
					return
				}
			}
		})
	}
	reload(t, e, sets[1])
	seen := judged[1].Load()
	for judged[1].Load() < seen+8 && !t.Failed() { // by the new ones
		runtime.Gosched()
	}
	reload(t, e, sets[0])
	done.Store(true)
	group.Wait()
	if got := e.Compiles(); got != 3 {
		t.Errorf("%d compilations", got)
	}
	select {
	case <-first.closed:
		t.Error("closed while a request has it")
	default:
	}
	long.RequestBody(false)
	ids := result{matches: long.Matches()}.ids()
	if !slices.Contains(ids, 190101) || !slices.Contains(ids, 190102) {
		t.Errorf("the long request: %v", ids)
	}
	long.Close()
	<-first.closed
	if first == e.current.Load() {
		t.Error("the first rules came back")
	}
}

func TestARuleSetThatDoesNotServeChangesNothing(t *testing.T) {
	edgetest.Sequential(t)
	registerPanicOperator()
	reg := prometheus.NewRegistry()
	e := reloadable(t, Options{Registerer: reg})
	before := e.current.Load()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"a pattern": {`SecRule ARGS "@rx (" "id:190001,phase:2,pass"`, []string{afterCRS + ":2: ", "missing closing"}},
		"the second of two equal lines": {
			"SecMarker A\nSecMarker A\n" + `SecRule ARGS "@nonesuch x" "id:190001,phase:2,pass"`,
			[]string{afterCRS + ":4: ", "nonesuch"},
		},
		"an action":              {"\n\n" + `SecAction "id:190001,phase:2,pass,jump"`, []string{afterCRS + ":4: ", "jump"}},
		"a variable":             {"SecRule ARGUMENTS \\\n \"@rx a\" \"id:190001\"", []string{afterCRS + ":2: failed to compile", "unknown variable"}},
		"no verdict any more":    {"SecRuleRemoveById 949110", []string{"is not refused", "not a whole rule set"}},
		"no rules any more":      {"SecRuleRemoveByTag attack-sqli", []string{"SQL injection is not refused"}},
		"one threshold for all":  {`SecAction "id:190001,phase:1,pass,nolog,setvar:tx.which=inbound,setvar:tx.%{tx.which}_anomaly_score_threshold=5"`, []string{"tenants' settings"}},
		"a score for everything": {`SecAction "id:190001,phase:1,pass,nolog,setvar:tx.inbound_anomaly_score_pl1=+100"`, []string{"a plain request is refused"}},
		"a panic":                {`SecRule REQUEST_HEADERS:User-Agent "@gatehousePanic" "id:190001,phase:1,pass"`, []string{"panic: as ordered"}},
	} {
		set := setWith(t, afterCRS, "# ours\n"+c.text+"\n")
		changed, err := e.Reload(func() (*wafrules.Set, error) { return set, nil })
		if err == nil || changed || e.current.Load() != before {
			t.Fatalf("%s: changed %t, %v", name, changed, err)
		}
		for _, want := range append(c.want, set.Origin()) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is not in: %v", name, want, err)
			}
		}
		if len(err.Error()) > 400 {
			t.Errorf("%s: %d bytes of error", name, len(err.Error()))
		}
	}
	unread := errors.New("cannot be read")
	if _, err := e.Reload(func() (*wafrules.Set, error) { return nil, unread }); !errors.Is(err, unread) {
		t.Error(err)
	}
	if _, err := e.Reload(func() (*wafrules.Set, error) { panic("as ordered") }); err == nil || !strings.Contains(err.Error(), "as ordered") {
		t.Error(err)
	}
	if e.current.Load() != before || inspect(e, &Profile{Mode: Block}, sample{target: script}).verdict == nil {
		t.Error("the rules do not serve any more")
	}
	if changed, err := e.Reload(func() (*wafrules.Set, error) { return wafrules.Embedded(), nil }); changed || err != nil {
		t.Errorf("the same set: %t, %v", changed, err)
	}
	for outcome, want := range map[string]float64{"refused": 11, "unchanged": 1, "replaced": 0} {
		if got := gather(t, reg, "gatehouse_waf_reloads_total", outcome); got != want {
			t.Errorf("%s: %v", outcome, got)
		}
	}
}

// What an exclusion names may come with new rules, and the digest of a profile is that with the rules
// that judged.
func TestAnExclusionFollowsTheRules(t *testing.T) {
	edgetest.Sequential(t)
	reg := prometheus.NewRegistry()
	e := reloadable(t, Options{Registerer: reg})
	list := []Exclusion{{Rules: [][2]int32{{190001, 190001}}}}
	p := &Profile{Mode: Block, Responses: true, Exclusions: NewExclusions(list)}
	before := p.Digest(e.Set())
	if got := e.Ignored(list); len(got) != 1 {
		t.Errorf("before: %+v", got)
	}
	old := e.Begin(p, "old")
	defer old.Close()
	set := setWith(t, beforeCRS, `SecRule REQUEST_METHOD "@rx ." "id:190001,phase:1,deny,status:403,msg:'all'"`+"\n")
	reload(t, e, set)
	if got := e.Ignored(list); len(got) != 0 {
		t.Errorf("after: %+v", got)
	}
	if got := inspect(e, p, sample{}); got.verdict != nil {
		t.Errorf("not excluded: %+v", got)
	}
	if got := inspect(e, &Profile{Mode: Block}, sample{}); got.verdict == nil {
		t.Error("excluded for others")
	}
	if p.Digest(set) == before || p.Digest(e.Set()) != p.Digest(set) {
		t.Error("the digest is that of the old rules")
	}
	fresh := e.Begin(p, "fresh")
	fresh.Close()
	if old.Digest() != before || fresh.Digest() != p.Digest(set) || (*Transaction)(nil).Digest() != "" {
		t.Errorf("digests of transactions: %q, %q", old.Digest(), fresh.Digest())
	}
	if gather(t, reg, "gatehouse_waf_ruleset_info", set.Digest()[:12]) != 1 || gather(t, reg, "gatehouse_waf_ruleset_info", "") != 1 {
		t.Error("the metric names other rules")
	}
	if gather(t, reg, "gatehouse_waf_rules", "") != float64(e.current.Load().rules) || gather(t, reg, "gatehouse_waf_rules_loaded_timestamp_seconds", "") == 0 {
		t.Error("the metrics are those of other rules")
	}
}

func TestTheMemoryOfOldRulesReturns(t *testing.T) {
	edgetest.Sequential(t)
	sets := []*wafrules.Set{setWith(t, afterCRS, "# a\n"), setWith(t, afterCRS, "# b\n")}
	e := reloadable(t, Options{})
	idle := &Profile{Mode: Block, Exclusions: NewExclusions([]Exclusion{{Rules: [][2]int32{{942100, 942100}}}})}
	idle.Digest(e.Set())
	inspect(e, idle, sample{}) // and then has no request any more
	const swaps = 10
	var old []weak.Pointer[ruleset]
	before := heldHeap()
	for i := range swaps {
		old = append(old, weak.Make(e.current.Load()))
		reload(t, e, sets[i%2])
		inspect(e, &Profile{Mode: Block}, usualGET())
	}
	after := heldHeap()
	for i, r := range old {
		if r.Value() != nil {
			t.Errorf("rules %d are still held", i)
		}
	}
	if grown := (after - before) >> 20; grown > 10 {
		t.Errorf("%d MiB more after %d sets", grown, swaps)
	}
	runtime.KeepAlive(idle)
}

// heldHeap is what the heap holds, in bytes.
func heldHeap() int64 {
	for range 3 { // pools give things up in the second round
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestAClosedEngineTakesNoRules(t *testing.T) {
	edgetest.Sequential(t)
	e := reloadable(t, Options{})
	rules := e.current.Load()
	e.Close()
	<-rules.closed
	if _, err := e.Reload(func() (*wafrules.Set, error) { return wafrules.Embedded(), nil }); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
