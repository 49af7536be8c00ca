package overload

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// register registers the gauges with r, which may be nil.
func (m *Monitor) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for _, g := range []struct {
		name, help string
		value      func() float64
	}{
		{
			"gatehouse_memory_limit_bytes", "Memory that the process may use, in bytes; 0: no limit is known.",
			func() float64 { return float64(m.opts.Limit) },
		},
		{
			"gatehouse_memory_used_bytes", "Memory that cannot be had back by collecting garbage, in bytes; 0 without a limit.",
			func() float64 { return float64(m.used.Load()) },
		},
		{
			"gatehouse_overload_level", "What is given up for memory: 0 nothing, 1 keep-alive, 2 new connections, 3 requests.",
			func() float64 { return float64(m.level.Load()) },
		},
	} {
		if err := r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, g.value)); err != nil {
			return fmt.Errorf("register memory metrics: %w", err)
		}
	}
	return nil
}
