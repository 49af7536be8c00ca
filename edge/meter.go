package edge

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/cache"
)

// A meter counts one tenant's requests, for all its vhosts. Its numbers lie together: a
// node that serves thousands of tenants finds few of them in a processor's cache, and
// pays for each line of memory that a request touches. It is safe for concurrent use.
type meter struct {
	tenant   string
	bytes    atomic.Uint64 // of bodies
	nanos    atomic.Uint64 // that requests took, together
	results  [len(cacheResults)]atomic.Uint64
	limited  atomic.Uint64                     // that a rate limit refused
	encoders atomic.Int64                      // that are in use for it
	took     [len(durations) + 1]atomic.Uint64 // how many requests took at most so long, and longer than all
	classes  [len(codeClasses)]atomic.Uint64
}

var (
	codeClasses  = [...]string{"0xx", "1xx", "2xx", "3xx", "4xx", "5xx", "other"}
	cacheResults = [...]string{"hit", "stale", "collapsed", "validated", "miss", "bypass"} // as cache.Result has them
	durations    = [...]time.Duration{
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
		50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
		2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	}
)

// codeClass is the index of a status's class.
func codeClass(status int) int { return min(max(0, status/100), len(codeClasses)-1) }

// count counts a request that has ended.
func (t *meter) count(status int, sent int64, took time.Duration) {
	t.classes[codeClass(status)].Add(1)
	t.bytes.Add(uint64(max(0, sent)))
	took = max(0, took)
	t.nanos.Add(uint64(took))
	bound := 0
	for bound < len(durations) && took > durations[bound] {
		bound++
	}
	t.took[bound].Add(1)
}

// cache counts a request to a vhost with a cache, by the first word of its record.
func (t *meter) cache(recorded string) cache.Result {
	word, _, _ := strings.Cut(recorded, " ")
	result := slices.Index(cacheResults[:], word)
	if result < 0 {
		result = int(cache.ResultBypass)
	}
	t.results[result].Add(1)
	return cache.Result(result)
}

// meters are the meters of all tenants, as the metrics of the process. The zero value
// has none.
type meters struct {
	mu sync.Mutex
	of map[string]*meter
}

// meter returns a tenant's meter, making it if it is the first to ask.
func (m *meters) meter(tenant string) *meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.of[tenant]
	if t == nil {
		if m.of == nil {
			m.of = map[string]*meter{}
		}
		t = &meter{tenant: strings.Clone(tenant)}
		m.of[tenant] = t
	}
	return t
}

// forget drops the meter of a tenant that is gone.
func (m *meters) forget(tenant string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.of, tenant)
}

// all returns the meters by tenant.
func (m *meters) all() []*meter {
	m.mu.Lock()
	out := make([]*meter, 0, len(m.of))
	for _, t := range m.of {
		out = append(out, t)
	}
	m.mu.Unlock()
	slices.SortFunc(out, func(a, b *meter) int { return cmp.Compare(a.tenant, b.tenant) })
	return out
}

var (
	requestsDesc = prometheus.NewDesc("gatehouse_requests_total", "Requests answered, by tenant and class of status.",
		[]string{"tenant", "code_class"}, nil)
	bytesDesc = prometheus.NewDesc("gatehouse_response_body_bytes_total", "Bytes of response bodies sent to clients.",
		[]string{"tenant"}, nil)
	cacheDesc = prometheus.NewDesc("gatehouse_cache_requests_total", "Requests to vhosts with a cache, by result.",
		[]string{"tenant", "result"}, nil)
	limitedDesc = prometheus.NewDesc("gatehouse_rate_limited_total", "Requests that a rate limit refused.",
		[]string{"tenant"}, nil)
	secondsDesc = prometheus.NewDesc("gatehouse_request_duration_seconds", "Time from a request's first byte to the last of its response.",
		[]string{"tenant"}, nil)
)

// Describe implements prometheus.Collector.
func (m *meters) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{requestsDesc, bytesDesc, cacheDesc, limitedDesc, secondsDesc} {
		out <- desc
	}
}

// Collect implements prometheus.Collector. A series of a class or a result begins when
// it has counted.
func (m *meters) Collect(out chan<- prometheus.Metric) {
	counter := func(desc *prometheus.Desc, n *atomic.Uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n.Load()), labels...)
	}
	for _, t := range m.all() {
		for i := range t.classes {
			if t.classes[i].Load() > 0 {
				counter(requestsDesc, &t.classes[i], t.tenant, codeClasses[i])
			}
		}
		for i := range t.results {
			if t.results[i].Load() > 0 {
				counter(cacheDesc, &t.results[i], t.tenant, cacheResults[i])
			}
		}
		if t.limited.Load() > 0 {
			counter(limitedDesc, &t.limited, t.tenant)
		}
		counter(bytesDesc, &t.bytes, t.tenant)
		out <- t.histogram()
	}
}

// histogram returns how long requests took. Its numbers are read one after the other,
// while others count: the sum may be a request ahead of the buckets, or behind them.
func (t *meter) histogram() prometheus.Metric {
	buckets := make(map[float64]uint64, len(durations))
	var requests uint64
	for i := range t.took {
		requests += t.took[i].Load()
		if i < len(durations) {
			buckets[durations[i].Seconds()] = requests
		}
	}
	sum := time.Duration(t.nanos.Load()).Seconds()
	return prometheus.MustNewConstHistogram(secondsDesc, requests, sum, buckets, t.tenant)
}
