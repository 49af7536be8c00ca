package edge

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// What a meter counts stands in the series of its labels, and no series of a class
// appears before it has counted.
func TestMeterCountsInItsTenantsSeries(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry, func() int64 { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	shop, blog := m.meter("shop"), m.meter("blog")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "gatehouse_requests_total") {
			t.Errorf("before the first request: %v", f)
		}
	}
	for _, status := range []int{200, 204, 404, 503, 999} {
		shop.class(status).Inc()
	}
	m.meter("shop").class(200).Inc() // of another site of the tenant
	blog.class(200).Inc()
	shop.cache("hit").Inc()
	shop.cache("other").Inc()
	for name, want := range map[string]float64{
		`gatehouse_requests_total{code_class="2xx",tenant="shop"}`:     3,
		`gatehouse_requests_total{code_class="4xx",tenant="shop"}`:     1,
		`gatehouse_requests_total{code_class="5xx",tenant="shop"}`:     1,
		`gatehouse_requests_total{code_class="other",tenant="shop"}`:   1,
		`gatehouse_requests_total{code_class="2xx",tenant="blog"}`:     1,
		`gatehouse_cache_requests_total{result="hit",tenant="shop"}`:   1,
		`gatehouse_cache_requests_total{result="other",tenant="shop"}`: 1,
		`gatehouse_request_duration_seconds_count{tenant="blog"}`:      0,
	} {
		if got := series(t, registry, name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
