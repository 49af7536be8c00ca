package edge

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/edge/wire"
)

// metrics are the server's counters. Labels are bounded: tenants are those of
// the table, "" for none, and statuses are counted by class.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	cache    *prometheus.CounterVec
	waf      *prometheus.CounterVec
	refused  *prometheus.CounterVec

	turnedAway *prometheus.CounterVec
	retries    *prometheus.CounterVec
	inFlight   level
	tunnels    prometheus.Gauge
}

// newMetrics makes the counters and registers them; lostLines is how many lines the access log has lost.
func newMetrics(reg prometheus.Registerer, lostLines func() int64) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		requests:   counter("gatehouse_requests_total", "Requests answered, by tenant and class of status.", "tenant", "code_class"),
		bytes:      counter("gatehouse_response_body_bytes_total", "Bytes of response bodies sent to clients.", "tenant"),
		cache:      counter("gatehouse_cache_requests_total", "Requests to vhosts with a cache, by result.", "tenant", "result"),
		waf:        counter("gatehouse_waf_events_total", "Requests that the WAF blocked, or would have blocked in detect mode.", "tenant", "action"),
		refused:    counter("gatehouse_requests_unrouted_total", "Requests that reached no vhost, by class of status.", "code_class"),
		retries:    counter("gatehouse_backend_retries_total", "Requests that a backend failed and that could be repeated, by whether the budget allowed it (taken, refused).", "result"),
		turnedAway: counter("gatehouse_connections_refused_total", "Client connections refused, by reason.", "reason"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gatehouse_request_duration_seconds", Help: "Time from a request's head to the last byte of its response.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"tenant"}),
		tunnels: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatehouse_upgraded_connections", Help: "Open WebSocket connections."}),
	}
	if reg == nil {
		return m, nil
	}
	lost := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "gatehouse_access_log_lost_lines_total", Help: "Lines of the access log that its writer did not take.",
	}, func() float64 { return float64(lostLines()) })
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.bytes, m.cache, m.waf, m.refused, m.turnedAway, m.retries, m.inFlight.gauge(), m.tunnels, lost} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// registerDoor registers what the door tells.
func (m *metrics) registerDoor(reg prometheus.Registerer, door *wire.Door) error {
	return errors.Join(
		reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_client_connections", Help: "Client connections that are open.",
		}, func() float64 { return float64(door.Open()) })),
		reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_client_connections_limit", Help: "How many client connections there may be; negative: no bound.",
		}, func() float64 { return float64(door.Most()) })))
}

// A level goes up and down, and can be read back.
type level struct{ atomic.Int64 }

func (l *level) Inc() { l.Add(1) }
func (l *level) Dec() { l.Add(-1) }

func (l *level) gauge() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gatehouse_requests_in_flight", Help: "Requests being served."},
		func() float64 { return float64(l.Load()) })
}

var codeClasses = [...]string{"0xx", "1xx", "2xx", "3xx", "4xx", "5xx"}

func codeClass(status int) string {
	if class := status / 100; class < len(codeClasses) {
		return codeClasses[class]
	}
	return "other"
}

func (m *metrics) observe(r *request, took time.Duration) {
	class := codeClass(r.response.status)
	if r.site == nil {
		m.refused.WithLabelValues(class).Inc()
		return
	}
	tenant := r.record.Tenant
	m.requests.WithLabelValues(tenant, class).Inc()
	m.seconds.WithLabelValues(tenant).Observe(took.Seconds())
	m.bytes.WithLabelValues(tenant).Add(float64(r.response.sent))
	if r.record.Cache != "" {
		m.cache.WithLabelValues(tenant, cacheResult(r.record.Cache)).Inc()
	}
	if v := r.record.WAF.Verdict; v == verdictBlock || v == verdictDetect {
		m.waf.WithLabelValues(tenant, v).Inc()
	}
}

// forget drops the series of a tenant that is gone.
func (m *metrics) forget(tenant string) {
	match := prometheus.Labels{"tenant": tenant}
	m.requests.DeletePartialMatch(match)
	m.seconds.DeletePartialMatch(match)
	m.bytes.DeletePartialMatch(match)
	m.cache.DeletePartialMatch(match)
	m.waf.DeletePartialMatch(match)
}
