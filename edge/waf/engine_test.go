package waf

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/corazawaf/coraza/v3"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	wafrules "gatehouse/waf-rules"
)

func TestOneRulesetServesTwentyTenants(t *testing.T) {
	registry := prometheus.NewRegistry()
	e, err := New(Options{Registerer: registry, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		p := &Profile{Mode: Mode(i % 2), Paranoia: 1 + i%4, InboundThreshold: 5 + i}
		inspect(e, p, sample{target: script})
	}
	if got := e.Compiles(); got != 1 {
		t.Errorf("%d rulesets compiled", got)
	}
	if got := gather(t, registry, "gatehouse_waf_compiles_total", ""); got != 1 {
		t.Errorf("metric says %v compiles", got)
	}
	if got := gather(t, registry, "gatehouse_waf_transactions_total", "blocked"); got == 0 {
		t.Error("no transaction counted as blocked")
	}
	if got := gather(t, registry, "gatehouse_waf_transactions_total", "would_block"); got == 0 {
		t.Error("no transaction counted as one that block mode would refuse")
	}

	if _, err := New(Options{Registerer: registry}); err == nil {
		t.Error("two engines on one registerer")
	}
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if families, err := registry.Gather(); err != nil || len(families) != 0 {
		t.Errorf("after Close: %d metrics, %v", len(families), err)
	}
	if got := inspect(e, nil, sample{target: script}); !errors.Is(got.err, ErrClosed) || got.matches != nil {
		t.Errorf("after Close: %+v", got)
	}
}

// gather sums a metric over its series that carry the label value.
func gather(t *testing.T, registry *prometheus.Registry, name, value string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			if value == "" || hasLabel(m, value) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func hasLabel(m *dto.Metric, value string) bool {
	for _, l := range m.GetLabel() {
		if l.GetValue() == value {
			return true
		}
	}
	return false
}

func TestABuildWithThePatternCacheIsRefused(t *testing.T) {
	if err := checkBuild(true); err == nil || !strings.Contains(err.Error(), "coraza.no_memoize") {
		t.Errorf("%v", err)
	}
	if err := checkBuild(memoized); err != nil {
		t.Errorf("this test runs without the tag: %v", err)
	}
}

func TestRulesThatDoNotCompileAreAnError(t *testing.T) {
	for _, rules := range []string{"SecRule", "Include nowhere.conf", "SecRule ARGS \"@rx (\" \"id:1\"", ""} {
		if e, err := newEngine(Options{}, rules); err == nil {
			t.Errorf("%q: compiled, %d", rules, e.Compiles())
		}
	}
}

// As compiled, some rules of the CRS have room in their list of excluded targets, where Coraza
// writes at run time. Should this fail since there is none any more, the clipping can go.
func TestSlackIsFoundAndClipped(t *testing.T) {
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(wafrules.Embedded().FS()).WithDirectives(wafrules.Embedded().Directives()))
	if err != nil {
		t.Fatal(err)
	}
	before, seen, err := slackExclusions(waf)
	if err != nil || before == 0 || seen < 500 {
		t.Errorf("as compiled: %d of %d, %v", before, seen, err)
	}
	clipped, err := clipExclusions(waf)
	if err != nil || clipped != before {
		t.Errorf("clipped %d, %v", clipped, err)
	}
	after, again, err := slackExclusions(waf)
	if err != nil || after != 0 || again != seen {
		t.Errorf("after clipping: %d of %d, %v", after, again, err)
	}
	if _, _, err := slackExclusions(otherWAF{}); err == nil {
		t.Error("an engine of unknown layout was accepted")
	}
}

type otherWAF struct{ coraza.WAF }

// Three exclusions leave room for a fourth, which v3.8.1 writes at run time into the rule that all
// share: of two tenants with an exclusion each, one may get the other's. Without clipExclusions the
// race detector reports it, and with several processors verdicts are wrong.
func TestOneRequestsExclusionDoesNotOpenAnothersDoor(t *testing.T) {
	e := smallEngine(t, `SecRule REQUEST_HEADERS:X-Tenant "@streq a" "id:1,phase:1,pass,nolog,ctl:ruleRemoveTargetById=2;ARGS:q"
SecRule REQUEST_HEADERS:X-Tenant "@streq b" "id:3,phase:1,pass,nolog,ctl:ruleRemoveTargetById=2;ARGS:z"
SecRule ARGS|!ARGS:a|!ARGS:b|!ARGS:c "@contains EVIL" "id:2,phase:2,deny,msg:'evil'"
`)
	const rounds = 2000
	p := &Profile{Mode: Block}
	var group sync.WaitGroup
	for _, tenant := range []string{"a", "b", "a", "b"} {
		group.Go(func() {
			wrong := 0
			for range rounds {
				tx := e.Begin(p, tenant)
				tx.Request("GET", "/?q=EVIL", "HTTP/1.1", "shop.test")
				tx.RequestHeader("X-Tenant", tenant)
				tx.RequestHeaders()
				if blocked := tx.RequestBody(false) != nil; blocked != (tenant == "b") {
					wrong++
				}
				tx.Close()
			}
			if wrong > 0 {
				t.Errorf("tenant %s: %d of %d verdicts are another's", tenant, wrong, rounds)
			}
		})
	}
	group.Wait()
}

func TestAPanicInARuleEndsOneInspection(t *testing.T) {
	registerPanicOperator()
	for phase := 1; phase <= 4; phase++ {
		e := smallEngine(t, fmt.Sprintf(`SecRule REQUEST_HEADERS:X-Bad "@gatehousePanic" "id:1,phase:%d,pass,msg:'x'"`, phase))
		bad := sample{status: 200, responseType: "text/html", responseBody: "x", header: [][2]string{{"X-Bad", "1"}}}
		p := &Profile{Mode: Block, Responses: true}
		got := inspect(e, p, bad)
		var failure *PanicError
		if !errors.As(got.err, &failure) || failure.Value != "as ordered" || len(failure.Stack) == 0 || got.verdict != nil {
			t.Errorf("phase %d: %+v", phase, got)
		}
		good := bad
		good.header = nil
		for range 5 { // from the pool, if the broken one had gone back to it
			if got := inspect(e, p, good); got.err != nil || got.verdict != nil {
				t.Errorf("phase %d: the next request: %+v", phase, got)
			}
		}
	}
}

func TestNilTransactionFindsNothing(t *testing.T) {
	var tx *Transaction
	run(tx, sample{target: script, body: "x", status: 200, responseBody: "x"})
	if tx.Verdict() != nil || tx.Err() != nil || tx.Matches() != nil || tx.WouldBlock() || tx.Score() != 0 || tx.OutboundScore() != 0 {
		t.Error("found something")
	}
	tx.Close()
}

func TestNothingIsFoundAfterClose(t *testing.T) {
	e := sharedEngine(t)
	tx := e.Begin(&Profile{Mode: Block}, "x")
	run(tx, sample{target: script})
	tx.Close()
	tx.Close() // a caller's mistake, which must not put the engine's transaction into its pool twice
	if tx.Verdict() == nil || tx.Matches() != nil || tx.Score() != 0 || !tx.WouldBlock() || tx.Err() != nil {
		t.Errorf("verdict %v, matches %v, score %d, %v", tx.Verdict(), tx.Matches(), tx.Score(), tx.Err())
	}
	tx.RequestHeader("A", "b")
	if tx.RequestBody(false) == nil {
		t.Error("the verdict was forgotten")
	}
}
