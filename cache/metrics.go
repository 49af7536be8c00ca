package cache

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the store's Prometheus collectors. Hits and misses are counted by
// the caller, who knows the vhost.
type metrics struct {
	registerer prometheus.Registerer
	collectors []prometheus.Collector
	rejected   *prometheus.CounterVec
	rejections atomic.Uint64
}

// newMetrics registers the collectors with r, which may be nil.
func newMetrics(r prometheus.Registerer, l *ledger) (*metrics, error) {
	m := &metrics{registerer: r}
	m.rejected = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_cache_rejected_total",
		Help: "Responses that were not stored, by reason: unfit, size, superseded, admission or closed.",
	}, []string{"reason"})
	for _, reason := range []error{errUnfit, errSize, errSuperseded, errAdmission, errClosed} {
		m.rejected.WithLabelValues(reason.Error())
	}
	m.collectors = []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_cache_bytes",
			Help: "Memory that stored responses take, in bytes.",
		}, func() float64 { return float64(l.bytes.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_cache_limit_bytes",
			Help: "Memory that stored responses may take, in bytes: the setting, or less while memory is short.",
		}, func() float64 { return float64(l.max.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_cache_entries",
			Help: "Stored responses, each variant counted.",
		}, func() float64 { return float64(l.entries.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatehouse_cache_evictions_total",
			Help: "Stored responses that left to make room for others.",
		}, func() float64 { return float64(l.evictions.Load()) }),
		m.rejected,
	}
	if r == nil {
		return m, nil
	}
	for i, c := range m.collectors {
		if err := r.Register(c); err != nil {
			m.collectors = m.collectors[:i]
			m.unregister()
			return nil, fmt.Errorf("register cache metrics: %w", err)
		}
	}
	return m, nil
}

// refused counts a Put that ended with err; nil does nothing.
func (m *metrics) refused(err error) {
	if err == nil {
		return
	}
	m.rejections.Add(1)
	m.rejected.WithLabelValues(err.Error()).Inc()
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
}
