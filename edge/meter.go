package edge

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// A meter is a tenant's series, looked up by their labels once for all requests of a
// site. It is safe for concurrent use.
type meter struct {
	m       *metrics
	tenant  string
	seconds prometheus.Observer
	bytes   prometheus.Counter
	classes [len(codeClasses)]lazyCounter
	results [len(cacheResults)]lazyCounter
}

// A lazyCounter is one counter of a vector, made when it counts first.
type lazyCounter struct {
	made atomic.Pointer[prometheus.Counter]
}

func (l *lazyCounter) of(vec *prometheus.CounterVec, tenant, value string) prometheus.Counter {
	if c := l.made.Load(); c != nil {
		return *c
	}
	c := vec.WithLabelValues(tenant, value) // the same one for whoever asks at the same time
	l.made.Store(&c)
	return c
}

func (m *metrics) meter(tenant string) *meter {
	return &meter{m: m, tenant: tenant, seconds: m.seconds.WithLabelValues(tenant), bytes: m.bytes.WithLabelValues(tenant)}
}

// class counts an answer by the class of its status.
func (t *meter) class(status int) prometheus.Counter {
	if class := status / 100; class < len(codeClasses) {
		return t.classes[class].of(t.m.requests, t.tenant, codeClasses[class])
	}
	return t.m.requests.WithLabelValues(t.tenant, codeClass(status))
}

var cacheResults = [...]string{"hit", "miss", "bypass"}

// cache counts a request to a vhost with a cache, by result.
func (t *meter) cache(result string) prometheus.Counter {
	for i := range cacheResults {
		if cacheResults[i] == result {
			return t.results[i].of(t.m.cache, t.tenant, result)
		}
	}
	return t.m.cache.WithLabelValues(t.tenant, result)
}
