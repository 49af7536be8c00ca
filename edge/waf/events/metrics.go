package events

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// register registers what is lost, by reason: all or, if it fails, the error.
func (l *Log) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	counter := func(reason string, value func() int64) error {
		return reg.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name:        "gatehouse_waf_events_lost_total",
			Help:        "WAF events that were not kept whole, by reason: more in a second than are kept (rate), or not in files since their tenant's share is full (share) or they could not be written (write).",
			ConstLabels: prometheus.Labels{"reason": reason},
		}, func() float64 { return float64(value()) }))
	}
	return errors.Join(
		counter("rate", l.overRate.Load),
		counter("share", l.overShare.Load),
		counter("write", func() int64 {
			if l.pipe == nil {
				return 0
			}
			return l.pipe.Lost()
		}))
}
