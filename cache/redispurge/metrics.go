package redispurge

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	following prometheus.Gauge
	losses    prometheus.Counter
	refused   prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		following: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatehouse_cache_purges_followed", Help: "1 while the purges of all nodes that share the Redis are followed.",
		}),
		losses: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatehouse_cache_purge_losses_total", Help: "How often all that is stored was purged since purges may have been missed.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatehouse_cache_purge_acks_refused_total", Help: "How often Redis refused to note which purges this node has applied.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.following, m.losses, m.refused} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of purges: %w", err)
		}
	}
	return m, nil
}
