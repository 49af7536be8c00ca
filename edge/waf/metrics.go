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
	gate         *prometheus.CounterVec
	asked        [3]prometheus.Counter // by what the gate said
	verified     prometheus.Counter
	missed       prometheus.Counter
	chance       prometheus.Counter
	info         *prometheus.GaugeVec
	reloads      *prometheus.CounterVec
	succeeded    prometheus.Gauge
	all          []prometheus.Collector
}

// reloadOutcomes are the labels of reloads.
var reloadOutcomes = []string{"replaced", "unchanged", "refused"}

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
	gate := m.newGate(e)
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
	m.info = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatehouse_waf_ruleset_info",
		Help: "1 for the rule set in use: the CRS's version and the beginning of the text's digest.",
	}, []string{"version", "digest"})
	m.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_waf_reloads_total",
		Help: "Looks at a directory of rules that has changed, by what came of it.",
	}, []string{"outcome"})
	for _, outcome := range reloadOutcomes {
		m.reloads.WithLabelValues(outcome)
	}
	m.succeeded = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gatehouse_waf_rules_loaded_timestamp_seconds",
		Help: "When the rules in use were last found good, in Unix time.",
	})
	m.all = []prometheus.Collector{m.transactions, m.gate, m.verified, m.missed, m.chance, gate, compiles, compileTime, count, own, m.info, m.reloads, m.succeeded}
	return m
}

// gateAnswers are the labels of what the gate says.
var gateAnswers = [3]string{"none", "some", "all"}

// newGate makes the metrics of the gate, and returns the one that nobody changes.
func (m *metrics) newGate(e *Engine) prometheus.Collector {
	m.gate = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_waf_gate_answers_total",
		Help: "Requests and responses that the gate looked at, by how many rules had to run: none, some or all.",
	}, []string{"rules"})
	for i, name := range gateAnswers {
		m.asked[i] = m.gate.WithLabelValues(name)
	}
	m.verified = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_waf_gate_verified_total",
		Help: "Requests at the gate on which all rules were run afterwards, to compare.",
	})
	m.missed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_waf_gate_missed_total",
		Help: "Rules that the gate had said could not match, and that did, or that matched otherwise with the others left out. More than none switches it off.",
	})
	m.chance = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_waf_gate_chance_total",
		Help: "Requests at the gate on which all rules did not say the same when they were run again.",
	})
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_waf_gate_active",
		Help: "1 if the gate decides which rules of the set in use run, or will once it is made; 0 if all do.",
	}, func() float64 {
		if e.Gate().Active() {
			return 1
		}
		return 0
	})
}

// show tells which rules are in use.
func (m *metrics) show(r *ruleset) {
	m.info.Reset()
	m.info.WithLabelValues(r.set.Version(), r.set.Digest()[:digestShown]).Set(1)
	m.succeeded.SetToCurrentTime()
}

// reloaded counts a reload.
func (m *metrics) reloaded(changed bool, err error) {
	outcome := "unchanged"
	switch {
	case err != nil:
		outcome = "refused"
	case changed:
		outcome = "replaced"
	default:
		m.succeeded.SetToCurrentTime()
	}
	m.reloads.WithLabelValues(outcome).Inc()
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
