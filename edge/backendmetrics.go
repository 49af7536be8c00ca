package edge

import "github.com/prometheus/client_golang/prometheus"

var (
	backendsDesc = prometheus.NewDesc("gatehouse_backends",
		"Backends in use, each counted for each tenant that has it, and for each of his settings of TLS and shorter timeouts, by state (up, ejected, drained); down: what active checks have found down.", []string{"state"}, nil)
	checkingDesc = prometheus.NewDesc("gatehouse_backend_checking",
		"1 while this node checks the backends, for itself or for all that share its Redis.", nil, nil)
)

// A backendsCollector counts backends when it is asked: no request does that for it.
type backendsCollector struct{ s *Server }

// Describe implements prometheus.Collector.
func (backendsCollector) Describe(out chan<- *prometheus.Desc) {
	out <- backendsDesc
	out <- checkingDesc
}

// Collect implements prometheus.Collector.
func (c backendsCollector) Collect(out chan<- prometheus.Metric) {
	states := map[string]int{"up": 0, "ejected": 0, "drained": 0, "down": c.s.prober.Down()}
	b := &c.s.backends
	b.mu.Lock()
	b.sweep()
	for _, state := range b.states {
		left, _ := state.Ejected()
		switch {
		case state.Drained():
			states["drained"]++
		case left > 0:
			states["ejected"]++
		default:
			states["up"]++
		}
	}
	b.mu.Unlock()
	for state, n := range states {
		out <- prometheus.MustNewConstMetric(backendsDesc, prometheus.GaugeValue, float64(n), state)
	}
	checking := 0.0
	if c.s.prober.Leading() {
		checking = 1
	}
	out <- prometheus.MustNewConstMetric(checkingDesc, prometheus.GaugeValue, checking)
}
