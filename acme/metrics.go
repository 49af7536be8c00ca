package acme

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the counters of this package; they work unregistered.
type metrics struct {
	minted  prometheus.Counter
	orders  *prometheus.CounterVec
	fetches *prometheus.CounterVec
	tickets *prometheus.CounterVec
}

func newMetrics() *metrics {
	return &metrics{
		minted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatehouse_certificates_minted_total",
			Help: "Certificates that the internal CA has made.",
		}),
		orders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_acme_orders_total",
			Help: "Orders at the ACME issuer by result: issued or failed.",
		}, []string{"result"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_ocsp_fetches_total",
			Help: "OCSP responses fetched by result: good, revoked or failed.",
		}, []string{"result"}),
		tickets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_tls_tickets_total",
			Help: "TLS session tickets by result: issued, accepted or refused.",
		}, []string{"result"}),
	}
}

// register hands the counters, and gauges over the manager's state, to a registry.
func (m *Manager) register(registry prometheus.Registerer) error {
	if registry == nil {
		return nil
	}
	held := func(source Source, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "gatehouse_certificates",
			Help:        "Certificates held by source: internal, acme, imported or file.",
			ConstLabels: prometheus.Labels{"source": string(source)},
		}, func() float64 { return float64(value()) })
	}
	var counted rarely[counts]
	count := func() counts { return counted.get(m.store.count) }
	var waiting rarely[int]
	all := []prometheus.Collector{
		m.metrics.minted, m.metrics.orders, m.metrics.fetches, m.metrics.tickets,
		held(SourceInternal, m.minter.count),
		held(SourceFile, func() int { return count().files }),
		held(SourceImported, func() int { return count().imported }),
		held(SourceACME, func() int { return count().issued }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_certificate_files_bad",
			Help: "Pairs of certificate files that cannot be used.",
		}, func() float64 { return float64(m.files.bad()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_acme_names_waiting",
			Help: "Names that wait for their first certificate of the ACME issuer.",
		}, func() float64 {
			if m.issuer == nil {
				return 0
			}
			return float64(waiting.get(m.issuer.waiting))
		}),
		newExpiries(m),
	}
	var failed []error
	for _, c := range all {
		failed = append(failed, registry.Register(c))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("acme: register metrics: %w", err)
	}
	return nil
}
