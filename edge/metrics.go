package edge

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/cache"
	"gatehouse/edge/compress"
	"gatehouse/edge/wire"
)

// metrics are the server's counters. Labels are bounded: tenants are those of
// the table, "" for none, and statuses are counted by class.
type metrics struct {
	tenants  meters
	waf      *prometheus.CounterVec
	unrouted *prometheus.CounterVec
	refused  *prometheus.CounterVec
	denied   *prometheus.CounterVec
	cut      *prometheus.CounterVec
	coded    *prometheus.CounterVec
	uncoded  *prometheus.CounterVec

	turnedAway *prometheus.CounterVec
	handshakes *prometheus.CounterVec // that succeeded
	encrypted  prometheus.Counter     // of those, with ECH
	unshaken   *prometheus.CounterVec // that failed
	retries    *prometheus.CounterVec
	ejections  *prometheus.CounterVec
	probes     *prometheus.CounterVec
	refreshes  *prometheus.CounterVec
	lookups    *prometheus.CounterVec
	busy       *prometheus.CounterVec // requests that got no place
	queued     prometheus.Gauge
	inFlight   level
	tunnels    prometheus.Gauge
	// deniedBackends are connections that were not opened.
	deniedBackends prometheus.Counter
}

// newMetrics makes the counters and registers them; lostLines is how many lines the access log has lost.
func newMetrics(reg prometheus.Registerer, lostLines func() int64) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		waf:        counter("gatehouse_waf_events_total", "Requests that the WAF blocked, or would have blocked in detect mode.", "tenant", "action"),
		unrouted:   counter("gatehouse_requests_unrouted_total", "Requests that reached no vhost, by class of status.", "code_class"),
		refused:    counter("gatehouse_requests_refused_total", "Requests that are not valid HTTP or that the connection's limits forbid, by rule.", "reason"),
		denied:     counter("gatehouse_requests_denied_total", "Requests refused for the client's address, by tenant and by whose list has it (vhost, tenant, process) or that it is blocked (block).", "tenant", "by"),
		cut:        counter("gatehouse_responses_cut_total", "Responses that ended before their end, by who ended them (backend, client).", "by"),
		coded:      counter("gatehouse_responses_compressed_total", "Responses that were compressed here, by coding.", "coding"),
		uncoded:    counter("gatehouse_responses_uncompressed_total", "Responses that were not compressed although client and site want it, by reason (busy, memory, fault).", "reason"),
		retries:    counter("gatehouse_backend_retries_total", "Requests that a backend failed and that could be repeated, by whether the budget allowed it (taken, refused), or nothing was sent yet (unsent).", "result"),
		ejections:  counter("gatehouse_backend_ejections_total", "Backends that were ejected since they could not be reached or failed five times in a row, by tenant and reason (unreachable, failing).", "tenant", "reason"),
		probes:     counter("gatehouse_backend_checks_total", "Active checks of backends by this node, by result (good, bad).", "result"),
		refreshes:  counter("gatehouse_cache_refreshes_total", "Stored responses asked for anew behind the requests that they still answered, by result (done, failed), or that could not be (busy, memory).", "result"),
		lookups:    counter("gatehouse_backend_lookups_total", "Names of backends that were looked up, by result (same, changed, failed).", "result"),
		busy:       counter("gatehouse_requests_busy_total", "Requests answered 503 since too many of their tenant, or at their backend, were under way, by tenant and reason (queue_full, queue_timeout).", "tenant", "reason"),
		turnedAway: counter("gatehouse_connections_refused_total", "Client connections refused, by reason.", "reason"),
		handshakes: counter("gatehouse_tls_handshakes_total", "TLS handshakes that succeeded, by version, whether a session was resumed, and group of the key exchange.", "version", "resumed", "group"),
		encrypted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatehouse_tls_ech_accepted_total", Help: "TLS handshakes that succeeded with Encrypted Client Hello: the server name was sent encrypted.",
		}),
		unshaken: counter("gatehouse_tls_handshakes_failed_total", "TLS handshakes that failed, by reason.", "reason"),
		queued:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatehouse_requests_queued", Help: "Requests that wait for others of their tenant, or at their backend, to end."}),
		deniedBackends: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatehouse_backend_denied_total", Help: "Connections to backends that were not opened, since their address is denied.",
		}),
		tunnels: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatehouse_upgraded_connections", Help: "Open WebSocket connections."}),
	}
	m.preset()
	if reg == nil {
		return m, nil
	}
	lost := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "gatehouse_access_log_lost_lines_total", Help: "Lines of the access log that its writer did not take.",
	}, func() float64 { return float64(lostLines()) })
	for _, c := range []prometheus.Collector{
		&m.tenants, m.waf, m.unrouted, m.refused, m.denied, m.cut, m.coded, m.uncoded, m.turnedAway, m.handshakes, m.encrypted, m.unshaken, m.retries, m.ejections,
		m.probes, m.refreshes, m.lookups, m.busy, m.queued, m.inFlight.gauge(), m.tunnels, m.deniedBackends, lost,
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// preset makes the series whose labels are known: an alert on the growth of a
// counter misses the first event of one that was not there before.
func (m *metrics) preset() {
	for vec, values := range map[*prometheus.CounterVec][]string{
		m.unrouted:   {"2xx", "4xx", "5xx"},
		m.refused:    wire.RefusalCodes(),
		m.cut:        {cutByBackend, cutByClient},
		m.coded:      {compress.Gzip.String(), compress.Brotli.String(), compress.Zstd.String()},
		m.uncoded:    {uncodedBusy, uncodedMemory, uncodedFault},
		m.turnedAway: wire.Reasons(),
		m.unshaken:   handshakeFailures,
		m.retries:    {"taken", "refused", "unsent"},
		m.probes:     {"good", "bad"},
		m.lookups:    {lookupSame, lookupChanged, lookupFailed},
		m.refreshes:  {refreshDone, refreshFailed, refreshBusy, refreshMemory},
	} {
		for _, value := range values {
			vec.WithLabelValues(value)
		}
	}
}

// Who cut a response, as counted.
const (
	cutByBackend = "backend"
	cutByClient  = "client"
)

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

func (m *metrics) observe(r *request, took time.Duration) {
	m.observeFault(r)
	if r.site == nil {
		m.unrouted.WithLabelValues(codeClasses[codeClass(r.response.status)]).Inc()
		return
	}
	t := r.site.meter
	t.count(r.response.status, r.response.sent, took)
	if r.record.Cache != "" {
		result := t.cache(r.record.Cache)
		if r.site.account != nil {
			saved := int64(0)
			if result < cache.ResultMiss {
				saved = r.response.sent
			}
			r.site.account.Count(result, saved)
		}
	}
	if v := r.record.WAF.Verdict; v == verdictBlock || v == verdictDetect {
		m.waf.WithLabelValues(t.tenant, v).Inc()
	}
}

// observeFault counts what is no fault of a whole tenant's traffic, but of one request.
func (m *metrics) observeFault(r *request) {
	err := r.record.Err
	if err == nil {
		return
	}
	if refusal, ok := errors.AsType[*wire.Refusal](err); ok {
		m.refused.WithLabelValues(refusal.Code).Inc()
	}
	switch {
	case !r.response.cut:
	case byClient(err):
		m.cut.WithLabelValues(cutByClient).Inc()
	default:
		m.cut.WithLabelValues(cutByBackend).Inc()
	}
}

// forget drops the series of a tenant that is gone.
func (m *metrics) forget(tenant string) {
	m.tenants.forget(tenant)
	m.busy.DeletePartialMatch(prometheus.Labels{"tenant": tenant})
	m.waf.DeletePartialMatch(prometheus.Labels{"tenant": tenant})
	m.ejections.DeletePartialMatch(prometheus.Labels{"tenant": tenant})
	m.denied.DeletePartialMatch(prometheus.Labels{"tenant": tenant})
}

// refreshed counts a request behind a stale hit.
func (m *metrics) refreshed(done bool) {
	result := refreshFailed
	if done {
		result = refreshDone
	}
	m.refreshes.WithLabelValues(result).Inc()
}
