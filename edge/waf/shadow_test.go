package waf

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/edge/waf/gate"
	"gatehouse/internal/edgetest"
)

// never is an operator that has lost its word.
type never struct{}

func (never) Evaluate(plugintypes.TransactionState, string) bool { return false }

// breakGate has an engine's gate take rules for such as never match.
func breakGate(t testing.TB, e *Engine, broken ...int) {
	t.Helper()
	changeGate(t, e, broken, func(l *gate.Link) { l.Operator = never{} })
}

// changeGate makes an engine's gate anew, of rules of which some have other first links.
func changeGate(t testing.TB, e *Engine, ids []int, change func(*gate.Link)) {
	t.Helper()
	r := e.current.Load()
	p := r.screening.made.Load()
	rules := slices.Clone(p.rules)
	for _, id := range ids {
		at, known := p.place[id]
		if !known {
			t.Fatalf("there is no rule %d", id)
		}
		rules[at].Links = slices.Clone(rules[at].Links)
		change(&rules[at].Links[0])
	}
	other, err := gate.New(rules, gate.Options{Native: slices.Collect(maps.Keys(p.native)), Data: wordFiles(r.set), Cache: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	p.gate = other
	clear(p.settled)
}

// A broken engine has a gate with a fault, and tells of it.
type brokenEngine struct {
	*Engine
	registry *prometheus.Registry
	log      bytes.Buffer
}

func newBroken(t *testing.T, opts Options, broken ...int) *brokenEngine {
	t.Helper()
	b := &brokenEngine{registry: prometheus.NewRegistry()}
	opts.Registerer, opts.Logger = b.registry, slog.New(slog.NewTextHandler(&b.log, nil))
	b.Engine = reloadable(t, opts)
	breakGate(t, b.Engine, broken...)
	return b
}

func (b *brokenEngine) metric(t *testing.T, name string) float64 {
	t.Helper()
	return gather(t, b.registry, "gatehouse_waf_gate_"+name, "")
}

var (
	// Each is found by one rule alone.
	sqliAlone = sample{target: "/?id=1%27%20OR%20%271%27=%271"}
	leakAlone = sample{
		status: 200, responseType: "text/html",
		responseBody: "<p>You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version</p>",
	}
)

// A gate that misses a rule is found out within as many requests as Shadow says, and is not asked again as long as these rules
// are in use.
func TestABrokenGateIsSwitchedOff(t *testing.T) {
	edgetest.Sequential(t)
	for _, c := range []struct {
		name   string
		broken []int
		p      *Profile
		s      sample
		shadow uint64
		reload bool
	}{
		{"by a request", []int{942100}, &Profile{Mode: Block}, sqliAlone, 1000, true},
		{"by a response, of a tenant who only detects", []int{951230}, &Profile{Mode: Detect, Responses: true}, leakAlone, 100, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newBroken(t, Options{Shadow: c.shadow}, c.broken...)
			passed := uint64(0)
			for e.metric(t, "active") == 1 {
				tx := e.Begin(c.p, fmt.Sprintf("request-%d", passed))
				run(tx, c.s)
				if tx.WouldBlock() || len(tx.Matches()) > 0 || tx.Err() != nil {
					t.Fatalf("the gate is not broken: %+v, %v", tx.Matches(), tx.Err())
				}
				tx.Close()
				if passed++; passed > c.shadow {
					t.Fatal("it is not found out")
				}
			}
			e.isFoundOut(t, c.broken[0], fmt.Sprintf("id=request-%d ", passed-1))
			e.judges(t, c.p, c.s)
			if !c.reload {
				return
			}
			reload(t, e.Engine, setWith(t, afterCRS, "# ours\n"))
			if e.metric(t, "active") != 1 {
				t.Error("the gate of new rules is not in use")
			}
			e.judges(t, c.p, c.s)
			if e.metric(t, "active") != 1 || e.metric(t, "missed_total") != 1 {
				t.Error("the gate of new rules is broken, too")
			}
		})
	}
}

// isFoundOut expects that it was told, once, which rule was missed and in which request.
func (b *brokenEngine) isFoundOut(t *testing.T, rule int, id string) {
	t.Helper()
	if got := b.metric(t, "missed_total"); got != 1 {
		t.Errorf("%v rules missed, want 1", got)
	}
	text := b.log.String()
	if strings.Count(text, "it missed a rule") != 1 || !strings.Contains(text, id) || !strings.Contains(text, fmt.Sprintf("rule=%d ", rule)) {
		t.Errorf("the log does not say once %s, rule %d: %s", id, rule, text)
	}
}

// judges expects that the request is found what it is, whatever the gate says.
func (b *brokenEngine) judges(t *testing.T, p *Profile, s sample) {
	t.Helper()
	want := inspect(ungatedEngine(t), &Profile{Mode: p.Mode, Responses: p.Responses}, s)
	for range 3 {
		got := inspect(b.Engine, p, s)
		if !want.would || summary(got) != summary(want) {
			t.Errorf("got %s, want %s", summary(got), summary(want))
		}
	}
}

// While it is on trial, a broken gate lets nothing pass, and is found out by the first request.
func TestABrokenGateOnTrialLetsNothingPass(t *testing.T) {
	edgetest.Sequential(t)
	e := newBroken(t, Options{Gate: GateShadow}, 942100)
	p := &Profile{Mode: Block}
	if got := inspect(e.Engine, p, sample{target: "/?q=red+shoes"}); got.verdict != nil || e.metric(t, "missed_total") != 0 || e.metric(t, "verified_total") != 1 {
		t.Errorf("a harmless request: %+v, %v missed", got, e.metric(t, "missed_total"))
	}
	e.judges(t, p, sqliAlone)
	if got := e.metric(t, "verified_total"); got != 2 {
		t.Errorf("%v requests verified, want 2", got)
	}
	if e.metric(t, "active") != 0 {
		t.Error("a gate on trial decides")
	}
	e.isFoundOut(t, 942100, "id=test ")
}

// So is one that is broken for answers.
func TestABrokenGateForAnswersOnTrialLetsNothingPass(t *testing.T) {
	edgetest.Sequential(t)
	e := newBroken(t, Options{Gate: GateShadow}, 951230)
	e.judges(t, &Profile{Mode: Block, Responses: true}, leakAlone)
	e.isFoundOut(t, 951230, "id=test ")
}

// Only one of many requests is verified, whoever's they are.
func TestOneOfManyRequestsIsVerified(t *testing.T) {
	registry := prometheus.NewRegistry()
	e := reloadable(t, Options{Shadow: 7, Registerer: registry})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			p := &Profile{Mode: Block}
			for range 35 {
				inspect(e, p, sample{target: "/?q=red+shoes"})
			}
		})
	}
	group.Wait()
	if got := gather(t, registry, "gatehouse_waf_gate_verified_total", ""); got != 20 {
		t.Errorf("%v of 140 requests verified, want 20", got)
	}
	if got := gather(t, registry, "gatehouse_waf_gate_missed_total", ""); got != 0 {
		t.Errorf("%v rules missed", got)
	}
}

// The gate misses nothing of what the identity test sends, at any level, with any tuning, in requests or answers.
func TestTheGateMissesNothing(t *testing.T) {
	for _, mode := range []GateMode{GateOn, GateShadow} {
		t.Run(mode.String(), func(t *testing.T) {
			if raceDetector && mode == GateShadow {
				t.Skip("compiling takes seconds")
			}
			registry := prometheus.NewRegistry()
			var log bytes.Buffer
			e := reloadable(t, Options{Gate: mode, Shadow: 1, Registerer: registry, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			m, n := sharedMaterial(t), int64(400)
			if mode == GateShadow {
				n = 120
			}
			if raceDetector {
				n /= 6
			}
			profiles := newIdentityProfiles(t)
			var number atomic.Int64
			var group sync.WaitGroup
			for range runtime.GOMAXPROCS(0) {
				group.Go(func() {
					g := newGenerator(m, 11)
					for at := number.Add(1); at <= n; at = number.Add(1) {
						x := g.exchange(uint64(at))
						said(e, profiles.of(&x), &x, m.chains)
					}
				})
			}
			group.Wait()
			if missed := gather(t, registry, "gatehouse_waf_gate_missed_total", ""); missed != 0 {
				t.Errorf("%v rules missed: %s", missed, log.String())
			}
			if verified := gather(t, registry, "gatehouse_waf_gate_verified_total", ""); verified < float64(n)/2 {
				t.Errorf("only %v of %d exchanges verified", verified, n)
			}
			if strings.Contains(log.String(), "could not be verified") || strings.Contains(log.String(), "gate failed") {
				t.Error(log.String())
			}
		})
	}
}

// What ends a request early is no fault of the gate's.
func TestRequestsThatEndEarlyAreNoFaultOfTheGate(t *testing.T) {
	registerPanicOperator()
	registry := prometheus.NewRegistry()
	e, err := newEngine(Options{Shadow: 1, Registerer: registry}, "Include base.conf\n"+
		`SecRule ARGS "@contains evil" "id:10,phase:2,deny,msg:'evil'"`+"\n"+
		`SecRule ARGS "@contains head" "id:11,phase:1,deny,msg:'head'"`+"\n"+
		`SecRule REQUEST_HEADERS:X-Bad "@gatehousePanic" "id:12,phase:2,pass,msg:'x'"`+"\n"+
		`SecRule RESPONSE_STATUS "@streq 500" "id:13,phase:3,deny,msg:'status'"`+"\n"+
		`SecRule RESPONSE_HEADERS:X-Bad "@gatehousePanic" "id:14,phase:3,pass,msg:'x'"`+"\n")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if e.current.Load().screening.made.Load() == nil {
		t.Fatal("there is no gate")
	}
	ownRules := own(t, `SecRule REQUEST_URI "@contains first" "id:1000,phase:1,deny,msg:'own'"`, `SecRule ARGS "@contains second" "id:1001,phase:2,deny,msg:'own'"`)
	p := &Profile{Mode: Block, Responses: true, Own: ownRules}
	answered := func(s sample) sample {
		s.status, s.responseType, s.responseBody = max(s.status, 200), "text/html", "x"
		return s
	}
	for _, s := range []sample{
		{target: "/?q=first+evil"},
		{target: "/?q=second+evil"},
		{target: "/?q=head+evil"},
		{target: "/%zz?q=evil"},
		{target: "/?q=evil", header: [][2]string{{"X-Bad", "1"}}},
		answered(sample{responseHeader: [][2]string{{"X-Bad", "1"}}}),
		answered(sample{status: 500}), answered(sample{status: 500, target: "/?q=second"}),
		{contentType: "application/json", body: `{"q":"evil"`},
		{contentType: "application/json", body: `{"q":"evil`, cut: true},
	} {
		inspect(e, p, s)
	}
	for steps := range 5 {
		tx := e.Begin(p, "early")
		if steps > 0 {
			tx.Request("POST", "/?q=evil", "HTTP/1.1", "shop.test")
		}
		if steps > 1 {
			tx.RequestHeader("Content-Type", form)
		}
		if steps > 2 {
			tx.RequestHeaders()
		}
		if steps > 3 {
			tx.WriteRequestBody([]byte("a=head"))
		}
		tx.Close()
	}
	if missed, verified := gather(t, registry, "gatehouse_waf_gate_missed_total", ""), gather(t, registry, "gatehouse_waf_gate_verified_total", ""); missed != 0 || verified == 0 {
		t.Errorf("%v rules missed in %v requests", missed, verified)
	}
	if got := inspect(e, p, sample{target: "/?q=evil"}); got.verdict == nil || gather(t, registry, "gatehouse_waf_gate_active", "") != 1 {
		t.Errorf("the gate is not in use any more: %+v", got)
	}
}

// A rule that can match, but runs without the one that writes what it reads, is found out by what it finds.
func TestAGateThatForgetsAHelperIsSwitchedOff(t *testing.T) {
	var log bytes.Buffer
	e, err := newEngine(Options{Shadow: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))}, "Include base.conf\n"+
		`SecAction "id:9,phase:1,pass,nolog,setvar:tx.n=0"`+"\n"+
		`SecRule ARGS "@contains a" "id:10,phase:2,pass,nolog,setvar:tx.n=1"`+"\n"+
		`SecRule ARGS "@contains b" "id:11,phase:2,deny,msg:'b',chain"`+"\n"+`SecRule TX:n "@eq 0"`+"\n")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ask := func() bool { return inspect(e, &Profile{Mode: Block}, sample{target: "/?x=ab"}).verdict != nil }
	if ask() || missedBy(e) != 0 {
		t.Fatalf("refused, or the gate missed rule %d", missedBy(e))
	}
	changeGate(t, e, []int{10}, func(l *gate.Link) { l.Sets = nil })
	if !ask() || missedBy(e) != 11 || !strings.Contains(log.String(), "waf gate switched off") {
		t.Errorf("the gate missed rule %d; %s", missedBy(e), log.String())
	}
	if ask() {
		t.Error("refused without the gate")
	}
}

// Why the gate is of no use to a tenant is told once, and by its cause.
func TestWhyATenantHasNoGateIsTold(t *testing.T) {
	const rule = `SecRule TX:detection_paranoia_level "@ge %s" "id:10,phase:1,pass,nolog,setvar:tx.early_blocking=1"` + "\n"
	for level, want := range map[string]string{"1": "waf gate not in use", "3": "waf gate not in use for the settings of a tenant"} {
		var log bytes.Buffer
		e, err := newEngine(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, "Include base.conf\n"+
			`SecAction "id:9,phase:1,pass,nolog,setvar:tx.detection_paranoia_level=%{tx.blocking_paranoia_level}"`+"\n"+strings.Replace(rule, "%s", level, 1))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			inspect(e, &Profile{Mode: Block, Paranoia: 3}, sample{target: "/?x=ab"})
		}
		if strings.Count(log.String(), want) != 1 || !strings.Contains(log.String(), errEarly.Error()) {
			t.Errorf("from level %s: %s", level, log.String())
		}
		if unfit := e.Gate().Unfit; (unfit != "") != (level == "1") {
			t.Errorf("from level %s: unfit %q", level, unfit)
		}
		e.Close()
	}
}

// everySecond is an operator that matches every second time it is asked about "evil".
type everySecond struct{ asked atomic.Int32 }

func (o *everySecond) Evaluate(_ plugintypes.TransactionState, value string) bool {
	return value == "evil" && o.asked.Add(1)%2 == 1
}

// A rule that matches by chance does not switch the gate off, and fills no log.
func TestARuleThatMatchesByChanceIsNoFaultOfTheGate(t *testing.T) {
	registerEverySecond()
	var log bytes.Buffer
	e, err := newEngine(Options{Shadow: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))}, "Include base.conf\n"+
		`SecRule ARGS "@gatehouseEverySecond" "id:10,phase:2,pass,msg:'odd'"`+"\n")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	breakGate(t, e, 10)
	for range 10 {
		inspect(e, &Profile{Mode: Block}, sample{target: "/?q=evil"})
	}
	if id := missedBy(e); id != 0 || strings.Count(log.String(), "waf rules match by chance") != 1 {
		t.Errorf("missed %d; %s", id, log.String())
	}
}

var registerEverySecond = sync.OnceFunc(func() {
	plugins.RegisterOperator("gatehouseEverySecond", func(plugintypes.OperatorOptions) (plugintypes.Operator, error) { return &everySecond{}, nil })
})

// choosy is an operator that asks for variables which the gate does not have for it.
type choosy struct{}

func (choosy) Evaluate(tx plugintypes.TransactionState, value string) bool {
	return tx.Variables().RequestMethod().Get() == "GET" && strings.Contains(value, "evil")
}

var registerChoosy = sync.OnceFunc(func() {
	plugins.RegisterOperator("gatehouseChoosy", func(plugintypes.OperatorOptions) (plugintypes.Operator, error) { return choosy{}, nil })
})

// An operator that breaks at the gate may match.
func TestAnOperatorThatPanicsAtTheGateMayMatch(t *testing.T) {
	registerChoosy()
	e := smallEngine(t, `SecRule ARGS "@gatehouseChoosy" "id:10,phase:2,deny,msg:'evil'"`+"\n"+
		`SecRule ARGS "@contains a" "id:11,phase:2,chain,deny,msg:'chain'"`+"\n"+`SecRule MATCHED_VAR "@gatehouseChoosy"`+"\n")
	p := &Profile{Mode: Block}
	for target, want := range map[string]int{"/?q=evil": 10, "/?q=good": 0, "/?q=any+good": 0, "/": 0} {
		for range 2 { // the second time from memory
			got := inspect(e, p, sample{target: target})
			if got.err != nil || (got.verdict != nil) != (want != 0) || got.verdict != nil && got.verdict.RuleID != want {
				t.Errorf("%s: %+v", target, got)
			}
		}
	}
}

// Where the gate itself breaks, all rules run.
func TestAGateThatPanicsRunsAllRules(t *testing.T) {
	edgetest.Sequential(t)
	e := newBroken(t, Options{Shadow: 1})
	changeGate(t, e.Engine, []int{942100, 951230}, func(l *gate.Link) {
		l.Transforms = []string{"gatehouseFault"}
		l.Apply = []plugintypes.Transformation{func(string) (string, bool, error) { panic("as ordered") }}
	})
	for _, c := range []struct {
		s       sample
		refused bool
	}{{sqliAlone, true}, {sample{target: "/?q=red+shoes"}, false}, {leakAlone, true}} {
		tx := e.Begin(&Profile{Mode: Block, Responses: true}, "panics")
		run(tx, c.s)
		if (tx.Verdict() != nil) != c.refused || tx.Err() != nil || tx.tx == nil {
			t.Errorf("%+v: %+v, %v", c.s, tx.Verdict(), tx.Err())
		}
		tx.Close()
	}
	if got := gather(t, e.registry, "gatehouse_waf_gate_answers_total", "all"); got != 3 {
		t.Errorf("all rules ran %v times, want 3", got)
	}
	if strings.Count(e.log.String(), "waf gate failed") != 3 || e.metric(t, "missed_total") != 0 || e.metric(t, "active") != 1 {
		t.Errorf("%s", e.log.String())
	}
}

// A request that we read otherwise than the engine, which finds too many arguments in it, is found out like a rule that is missed.
func TestAReadingThatDiffersIsAFault(t *testing.T) {
	registry := prometheus.NewRegistry()
	e, err := newEngine(Options{Shadow: 1, Registerer: registry}, "Include base.conf\nSecArgumentsLimit 3\n"+
		`SecRule ARGS "@contains EVIL" "id:10,phase:2,deny,msg:'m'"`)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	p := &Profile{Mode: Block}
	if got := inspect(e, p, sample{target: "/?a=1&b=2"}); got.verdict != nil {
		t.Fatalf("%+v", got)
	}
	for n, rule := range []int{0, 200004} {
		got := inspect(e, p, sample{target: "/?a=1&b=2&c=3&d=4"})
		if by := 0; got.verdict != nil {
			by = got.verdict.RuleID
			if by != rule {
				t.Errorf("request %d: refused by %d, want %d", n, by, rule)
			}
		} else if rule != 0 {
			t.Errorf("request %d: passed", n)
		}
	}
	if got := gather(t, registry, "gatehouse_waf_gate_missed_total", ""); got != 1 {
		t.Errorf("%v missed, want 1", got)
	}
}

// A rule of which the gate cannot tell when it matches costs a run of its own, and nothing of what the gate is for.
func TestARuleThatMayAlwaysMatchKeepsTheGateInUse(t *testing.T) {
	var log bytes.Buffer
	e, err := newEngine(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, "Include base.conf\n"+
		`SecRule ARGS "@streq %{request_headers.x-a}" "id:10,phase:2,deny,msg:'m'"
SecRule ARGS "@contains EVIL" "id:11,phase:2,deny,msg:'m'"`)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if text := log.String(); !strings.Contains(text, "cannot tell when a rule matches") || !strings.Contains(text, "rule=10") {
		t.Errorf("the log does not name the rule: %s", text)
	}
	for target, rule := range map[string]int{"/?a=x": 0, "/?a=agent": 10, "/?a=EVIL": 11} {
		tx := e.Begin(&Profile{Mode: Block}, "x")
		run(tx, sample{target: target, header: [][2]string{{"X-A", "agent"}}})
		if got := tx.RefusedBy(); got != rule || tx.prescreen == nil || tx.checked != nil {
			t.Errorf("%s: refused by %d, want %d; at the gate: %t", target, got, rule, tx.prescreen != nil)
		}
		tx.Close()
	}
}
