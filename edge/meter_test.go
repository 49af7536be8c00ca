package edge

import (
	"strings"
	"testing"
	"time"

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
	shop, blog := m.tenants.meter("shop"), m.tenants.meter("blog")
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
		shop.count(status, 10, time.Millisecond)
	}
	m.tenants.meter("shop").count(200, 0, 3*time.Millisecond) // of another site of the tenant
	blog.count(200, 5, 31*time.Second)
	shop.cache("hit")
	shop.cache("miss no-store")
	shop.cache("something new")
	for name, want := range map[string]float64{
		`gatehouse_requests_total{code_class="2xx",tenant="shop"}`:      3,
		`gatehouse_requests_total{code_class="4xx",tenant="shop"}`:      1,
		`gatehouse_requests_total{code_class="5xx",tenant="shop"}`:      1,
		`gatehouse_requests_total{code_class="other",tenant="shop"}`:    1,
		`gatehouse_requests_total{code_class="2xx",tenant="blog"}`:      1,
		`gatehouse_cache_requests_total{result="hit",tenant="shop"}`:    1,
		`gatehouse_cache_requests_total{result="bypass",tenant="shop"}`: 1,
		`gatehouse_cache_requests_total{result="miss",tenant="shop"}`:   1,
		`gatehouse_response_body_bytes_total{tenant="shop"}`:            50,
		`gatehouse_request_duration_seconds_count{tenant="blog"}`:       1,
		`gatehouse_request_duration_seconds_count{tenant="shop"}`:       6,
	} {
		if got := series(t, registry, name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// A request that took exactly as long as a bound is within it, and one that took longer
// than all bounds counts in the whole alone.
func TestMeterSortsByDuration(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry, func() int64 { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	shop := m.tenants.meter("shop")
	for _, took := range []time.Duration{-time.Second, 0, time.Millisecond, time.Millisecond + 1, 30 * time.Second, time.Minute} {
		shop.count(200, 0, took)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "gatehouse_request_duration_seconds" {
			continue
		}
		h := f.GetMetric()[0].GetHistogram()
		if n, sum := h.GetSampleCount(), h.GetSampleSum(); n != 6 || sum < 90.001 || sum > 90.003 {
			t.Errorf("%d requests, %v seconds", n, sum)
		}
		for bound, want := range map[float64]uint64{.001: 3, .0025: 4, 10: 4, 30: 5} {
			for _, bucket := range h.GetBucket() {
				if bucket.GetUpperBound() == bound && bucket.GetCumulativeCount() != want {
					t.Errorf("%d requests within %v s, want %d", bucket.GetCumulativeCount(), bound, want)
				}
			}
		}
		return
	}
	t.Error("there is no histogram")
}

func TestAForgottenTenantHasNoSeries(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry, func() int64 { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	m.tenants.meter("shop").count(200, 1, time.Second)
	m.tenants.meter("blog").count(200, 1, time.Second)
	m.waf.WithLabelValues("shop", verdictBlock).Inc()
	m.forget("shop")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	blog := 0
	for _, f := range families {
		for _, series := range f.GetMetric() {
			if strings.Contains(labels(series), "shop") {
				t.Errorf("%s%s is left", f.GetName(), labels(series))
			}
			if strings.Contains(labels(series), "blog") {
				blog++
			}
		}
	}
	if blog != 3 {
		t.Errorf("%d series of the other tenant, want 3", blog)
	}
}
