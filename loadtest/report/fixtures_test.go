package report_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"gatehouse/loadtest"
)

// madeUp is a run as it could have been: a closed load over n seconds, with a stall
// in the middle. The same arguments give the same run.
func madeUp(seed uint64, n int, factor float64) *loadtest.Result {
	rnd := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // the same numbers every time are the point
	r := &loadtest.Result{
		Schema: 1, Started: time.Date(2026, 3, 4, 15, 4, 5, 0, time.UTC), Seconds: float64(n),
		Load: loadtest.Load{
			Model: "closed", Connections: 64, HTTP: "1.1", TLS: "resumed", Curve: "X25519MLKEM768", KeepAlive: true,
			Warmup: 2, Duration: float64(n),
		},
		Errors:   map[string]int64{"timeout": 12, "reset": 3, "connect": 1},
		BytesIn:  1_234_567_890,
		BytesOut: 98_765_432,
		Connections: loadtest.Connections{
			Opened: 80, Resumed: 76, MeanUS: 1480, MedianUS: 1320,
		},
		Latency: loadtest.Latency{
			Min: 120 * factor, Mean: 910 * factor, SD: 700 * factor, P50: 640 * factor, P75: 980 * factor, P90: 1900 * factor,
			P99: 5200 * factor, P999: 21_000 * factor, Max: 180_000 * factor,
		},
	}
	for i := range n {
		noise := 1 + 0.12*rnd.NormFloat64()
		stall := 1.0
		if i == n*6/10 {
			stall = 6
		}
		v := loadtest.Interval{At: float64(i + 1), Seconds: 1, Requests: int64(70_000 * noise / factor / stall)}
		v.BytesIn = v.Requests * 1200
		v.P50, v.P90 = 640*factor/noise, 1900*factor/noise
		v.P99 = 5200 * factor * stall * (1 + 0.2*rnd.Float64())
		v.Max = 30_000 * factor * stall * (0.4 + 0.6*rnd.Float64())
		if stall > 1 {
			v.Errors = 16
		}
		r.Requests += v.Requests
		r.Series = append(r.Series, v)
	}
	r.Rate = float64(r.Requests) / r.Seconds
	r.Statuses = map[string]int64{"200": r.Requests - 2500, "304": 1300, "404": 900, "503": 300}
	for p := 0.0; p < 6; p += 0.05 {
		r.Percentiles = append(r.Percentiles, loadtest.Percentile{
			P: 100 * (1 - math.Pow(10, -p)), US: factor * (120 + 500*p*2 + math.Pow(7.2, p)*1.1),
		})
	}
	r.Percentiles = append(r.Percentiles, loadtest.Percentile{P: 100, US: r.Latency.Max})
	for i := range 6 {
		r.Targets = append(r.Targets, loadtest.TargetPart{
			Name: fmt.Sprintf("GET https://shop%d.test/catalogue/shoes?page=%d", i, i), Weight: float64(1 + i%3),
			Requests: r.Requests / 6, Errors: int64(i), Statuses: map[string]int64{"200": r.Requests/6 - 40, "404": 40}, Latency: r.Latency,
		})
	}
	r.SLOs = []loadtest.Objective{
		{Text: "p99<50ms", Value: r.Latency.P99, Limit: 50_000, Unit: "us"},
		{Text: "errors<0.1%", Value: 0.0008, Limit: 0.1, Unit: "%"},
		{Text: "rate>80000", Value: r.Rate, Limit: 80_000, Unit: "/s", Missed: r.Rate < 80_000},
	}
	r.Missed = r.SLOs[2].Missed
	return r
}
