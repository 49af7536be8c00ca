package report_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"gatehouse/loadtest"
	"gatehouse/loadtest/report"
)

// madeUp is a run as it could have been: a closed load over n seconds, with a stall
// in the middle. The same arguments give the same run.
func madeUp(seed uint64, n int, factor float64) *loadtest.Result {
	rnd := rand.New(rand.NewPCG(seed, 1))
	r := &loadtest.Result{
		Schema: 1, Started: time.Date(2026, 3, 4, 15, 4, 5, 0, time.UTC), Seconds: float64(n),
		Load: loadtest.Load{
			Model: "closed", Connections: 64, HTTP: "1.1", TLS: "resumed", Curve: "X25519MLKEM768", KeepAlive: true,
			Warmup: 2, Duration: float64(n),
		},
		Errors:   map[string]int64{"timeout": 12, "reset": 3, "connect": 1},
		Causes:   map[string]string{"timeout": "no answer from shop.test:443 within 10s", "reset": "shop.test:443 ended a kept connection"},
		BytesIn:  1_234_567_890,
		BytesOut: 98_765_432,
		Connections: loadtest.Connections{
			Opened: 80, Before: 64, Resumed: 76, MeanUS: 1480, MedianUS: 1320,
		},
		Latency: loadtest.Latency{
			Min: 120 * factor, Mean: 910 * factor, SD: 700 * factor, P50: 640 * factor, P75: 980 * factor, P90: 1900 * factor,
			P95: 2800 * factor, P99: 5200 * factor, P999: 21_000 * factor, Max: 180_000 * factor,
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

// madeUpComparison has three rounds, a peer that took part in one scenario only, a
// round that failed, a scenario without CPU, and targets of every outcome.
func madeUpComparison() *report.Comparison {
	c := &report.Comparison{
		Schema: 1, Date: time.Date(2026, 3, 4, 15, 4, 5, 0, time.UTC), Machine: "Example CPU 3.1 GHz, 2 cores, Linux 6.1.0",
		Commit: "0123abc", Command: "make bench ROUNDS=3", Rounds: 3, Seconds: 5, Connections: 64,
		Method:      []report.Fact{{Name: "placement", Text: "proxy on CPU 0, load and origin on CPU 1"}, {Name: "logs", Text: "every server writes an access log"}},
		LoadAverage: []float64{0.1, 0.2, 0.3}, Busy: []float64{0.4, 12, 1},
		Notes: []string{"the machine was 12 % busy before round 2"},
		Peers: []report.Peer{{Name: "gatehouse", Version: "0.2.0"}, {Name: "nginx", Version: "1.22.1"}, {Name: "haproxy", Version: "2.6.12"}, {Name: "caddy", Version: "2.6.2"}},
		Targets: []report.Target{
			{Scenario: "pass-1k", Peer: "nginx", AtMost: 1.25, Text: "pass-through 1 KB at most 1.25 times nginx"},
			{Scenario: "pass-1k", Peer: "caddy", AtMost: 0.3, Text: "pass-through 1 KB at most 0.3 times caddy"},
			{Scenario: "pass-1k", Peer: "haproxy", AtMost: 1.2, Text: "pass-through 1 KB at most 1.2 times haproxy"},
			{Scenario: "handshake-full", Peer: "nginx", AtMost: 0.9, Text: "full handshake at most 0.9 times nginx"},
			{Scenario: "hit-1k", Peer: "varnish", AtMost: 1, Text: "hit at most varnish", NotJudged: "varnish is not installed"},
			{Scenario: "idle", AtMostMB: 190, Text: "at most 190 MB idle"},
		},
		LeftOut: []report.Target{{Scenario: "pass-1m", Peer: "nginx", AtMost: 1, Text: "pass-through 1 MB at most nginx"}},
	}
	add := func(scenario, title, peer string, user, sys, rss float64) {
		r := report.Row{Scenario: scenario, Title: title, Peer: peer}
		for round, f := range []float64{1, 1.06, 0.97} {
			f += 0.02 * float64((len(peer)+2*round)%5)
			s := report.Sample{User: user * f, Sys: sys * f, CPU: (user + sys) * f, RSS: rss}
			if s.CPU > 0 {
				s.Rate, s.P50, s.P99 = 1e6/s.CPU, 40*s.CPU, 130*s.CPU
				s.Requests = int64(5 * s.Rate)
			}
			r.Samples = append(r.Samples, s)
		}
		if peer == "haproxy" {
			r.Samples[1] = report.Sample{}
		}
		if peer == "caddy" {
			r.Samples[2].Errors = 7
		}
		r.Median = report.MedianOf(r.Samples)
		c.Rows = append(c.Rows, r)
	}
	add("pass-1k", "pass-through, 1 KB", "nginx", 14.2, 22.8, 12)
	add("pass-1k", "pass-through, 1 KB", "gatehouse", 21.4, 21.9, 96)
	add("pass-1k", "pass-through, 1 KB", "caddy", 118, 41, 60)
	add("pass-1k", "pass-through, 1 KB", "haproxy", 11.9, 19.6, 30)
	add("handshake-full", "full TLS handshake", "gatehouse", 310, 62, 99)
	add("handshake-full", "full TLS handshake", "nginx", 420, 58, 13)
	add("idle", "10,000 idle connections", "gatehouse", 0, 0, 182)
	add("idle", "10,000 idle connections", "nginx", 0, 0, 41)
	return c
}

// crowded has more of everything than there is room for.
func crowded() *loadtest.Result {
	r := madeUp(1, 30, 1)
	r.Load.Model, r.Load.Rate = "open", 100_000
	r.Targets, r.SLOs = nil, nil
	for i := range 10_000 {
		r.Targets = append(r.Targets, loadtest.TargetPart{Name: fmt.Sprintf("GET https://t%d.test/", i), Weight: 1, Requests: int64(i)})
	}
	for i := range 50 {
		r.SLOs = append(r.SLOs, loadtest.Objective{Text: fmt.Sprintf("p99<%dus", i), Unit: "us", Missed: i == 49})
	}
	for i := range 300 {
		r.Statuses[fmt.Sprint(200+i)] = int64(i)
	}
	for i := range 30 {
		r.Errors[fmt.Sprintf("kind%d", i)] = 1
	}
	delete(r.Errors, "timeout")
	delete(r.Errors, "reset")
	delete(r.Errors, "connect")
	return r
}
