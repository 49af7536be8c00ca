package edge

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// register adds what the limits of all tenants have to say together; what each has refused stands in its meter.
func (l *rateLimits) register(reg prometheus.Registerer) error {
	all := []prometheus.Collector{prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "gatehouse_rate_limit_keys_displaced_total",
		Help: "Keys of rate limits that took over the place, and the debt, of another, since their tenant had too many.",
	}, func() float64 { return float64(l.passedOn()) })}
	if s := l.sharing; s != nil {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_rate_limits_shared", Help: "1 while rate limits are counted together with the nodes that share the Redis.",
		}, func() float64 {
			if s.Shared() {
				return 1
			}
			return 0
		}))
		for result, count := range map[string]func() uint64{
			"noted":   func() uint64 { n, _, _ := s.Reports(); return n },
			"failed":  func() uint64 { _, n, _ := s.Reports(); return n },
			"put_off": func() uint64 { _, _, n := s.Reports(); return n },
		} {
			all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name:        "gatehouse_rate_limit_reports_total",
				Help:        "Buckets of rate limits that were reported to Redis (noted), got no answer (failed), or were not reported yet since there were too many (put_off).",
				ConstLabels: prometheus.Labels{"result": result},
			}, func() float64 { return float64(count()) }))
		}
	}
	var errs []error
	for _, c := range all {
		errs = append(errs, reg.Register(c))
	}
	return errors.Join(errs...)
}
