package waf

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// outcome is how a transaction ended, as a label of bounded size.
type outcome uint8

const (
	outcomeClean      outcome = iota // nothing that block mode would refuse
	outcomeWouldBlock                // detect mode, and block mode would have refused
	outcomeBlocked                   // a verdict was given
	outcomeFailed                    // the engine failed
	outcomes
)

var outcomeNames = [outcomes]string{"clean", "would_block", "blocked", "failed"}

// metrics are resolved to single counters here, so that the request path only adds.
type metrics struct {
	transactions *prometheus.CounterVec
	ended        [Off][outcomes]prometheus.Counter // by mode (detect, block) and outcome
	all          []prometheus.Collector
}

func newMetrics(e *Engine) *metrics {
	m := &metrics{transactions: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_waf_transactions_total",
		Help: "Requests inspected by the web application firewall, by mode and by how it ended.",
	}, []string{"mode", "outcome"})}
	for mode := range Off {
		for o := range outcomes {
			m.ended[mode][o] = m.transactions.WithLabelValues(mode.String(), outcomeNames[o])
		}
	}
	compiles := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "gatehouse_waf_compiles_total",
		Help: "Rule sets compiled, or tried to. One serves all tenants, so this grows with new rules only.",
	}, func() float64 { return float64(e.Compiles()) })
	compileTime := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_waf_compile_seconds",
		Help: "How long the rule set in use took to compile.",
	}, func() float64 { return e.current.Load().took.Seconds() })
	count := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_waf_rules",
		Help: "Rules and markers in the rule set in use.",
	}, func() float64 { return float64(e.current.Load().rules) })
	own := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_waf_own_rulesets",
		Help: "Different texts of tenants' own rules that are compiled and in use.",
	}, func() float64 { return float64(ownCache.size()) })
	m.all = []prometheus.Collector{m.transactions, compiles, compileTime, count, own}
	return m
}

// register registers all or nothing.
func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for i, c := range m.all {
		if err := r.Register(c); err != nil {
			for _, done := range m.all[:i] {
				r.Unregister(done)
			}
			if _, already := errors.AsType[prometheus.AlreadyRegisteredError](err); already {
				return errors.New("another engine uses this registerer; close it first")
			}
			return err
		}
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r == nil {
		return
	}
	for _, c := range m.all {
		r.Unregister(c)
	}
}
