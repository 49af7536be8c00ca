package cache

import (
	"fmt"
	"slices"
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
	purges     *prometheus.CounterVec
	merged     prometheus.Counter
	buried     prometheus.Counter
}

// newMetrics registers the collectors with r, which may be nil.
func newMetrics(r prometheus.Registerer, l *ledger, blind *atomic.Bool) (*metrics, error) {
	m := &metrics{registerer: r}
	m.collectors = m.forPurges(blind)
	m.rejected = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_cache_rejected_total",
		Help: "Responses that were not stored, by reason: unfit, size, superseded, admission or closed.",
	}, []string{"reason"})
	for _, reason := range []error{errUnfit, errSize, errSuperseded, errAdmission, errClosed} {
		m.rejected.WithLabelValues(reason.Error())
	}
	m.collectors = append(m.collectors,
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
	)
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

// forPurges makes the collectors that purges need.
func (m *metrics) forPurges(blind *atomic.Bool) []prometheus.Collector {
	m.purges = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_cache_purges_total",
		Help: "Purges that this node has applied, by kind: url, prefix, tag, group, host or all.",
	}, []string{"kind"})
	for _, kind := range purgeKinds {
		m.purges.WithLabelValues(string(kind))
	}
	m.merged = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_cache_purges_merged_total",
		Help: "How often purges of one vhost were too many to be told apart, and more was purged than they name.",
	})
	m.buried = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_cache_purged_entries_total",
		Help: "Stored responses that left since they were purged or invalidated.",
	})
	blindness := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_cache_blind",
		Help: "1 while purges by other nodes are not heard of, and what is stored is fresh for a minute at most.",
	}, func() float64 {
		if blind.Load() {
			return 1
		}
		return 0
	})
	return []prometheus.Collector{m.purges, m.merged, m.buried, blindness}
}

// purged counts a purge. One of an unknown kind counts as what it does.
func (m *metrics) purged(kind PurgeKind) {
	if !slices.Contains(purgeKinds, kind) {
		kind = PurgeAll
	}
	m.purges.WithLabelValues(string(kind)).Inc()
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
