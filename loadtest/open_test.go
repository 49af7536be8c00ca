package loadtest

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

func TestOpenLoadKeepsItsPlan(t *testing.T) {
	var n atomic.Int64
	s := serve(t, func(http.ResponseWriter, *http.Request) { n.Add(1) })
	r := load(t, &Plan{Targets: to(s.URL), Rate: 400, Connections: 8, Warmup: 100 * time.Millisecond, Duration: 500 * time.Millisecond})
	if r.Requests+r.Unsent != 200 || r.Requests == 0 || r.Load.Model != "open" || r.Load.Rate != 400 || r.Seconds != 0.5 {
		t.Errorf("%d requests, %d unsent, load %+v, %v/s in %v s", r.Requests, r.Unsent, r.Load, r.Rate, r.Seconds)
	}
	if sent := 240 - r.Unsent; n.Load() != sent { // with the warm-up
		t.Errorf("the server saw %d requests, want %d", n.Load(), sent)
	}
	n.Store(0)
	if r = load(t, &Plan{Targets: to(s.URL), Rate: 1000, Requests: 30, Warmup: 10 * time.Millisecond}); r.Requests != 30 || n.Load() != 40 {
		t.Errorf("%d requests, the server saw %d", r.Requests, n.Load())
	}
}

// TestAStallShowsInEveryRequestThatItHeldUp: while all connections are busy, planned
// requests wait, and that is part of their latency (coordinated omission).
func TestAStallShowsInEveryRequestThatItHeldUp(t *testing.T) {
	const stall, rate = 300 * time.Millisecond, 200
	var n atomic.Int64
	s := serve(t, func(http.ResponseWriter, *http.Request) {
		if n.Add(1) == 10 {
			time.Sleep(stall)
		}
	})
	r := load(t, &Plan{Targets: to(s.URL), Rate: rate, Connections: 1, Requests: 100})
	// One stalled; of the 59 that came due meanwhile, half waited for half of it and more.
	held := int64(stall.Seconds()*rate) / 2
	if r.Requests != 100 || r.Unsent != 0 || r.Late < held {
		t.Errorf("%d requests, %d late, want %d at least", r.Requests, r.Late, held)
	}
	if half := float64(stall.Microseconds()) / 2; r.Latency.Max < 2*half*0.99 || r.Latency.P75 < half {
		t.Errorf("latency %+v: the stall of %v does not show", r.Latency, stall)
	}
}

// TestUnsentRequestsMissTheService: what a stalled server kept from being sent is an error.
func TestUnsentRequestsMissTheService(t *testing.T) {
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	slo, err := ParseSLO("errors<90%")
	if err != nil {
		t.Fatal(err)
	}
	r := load(t, &Plan{Targets: to(s.URL), Rate: 100, Connections: 1, Duration: 300 * time.Millisecond, Timeout: 400 * time.Millisecond, SLOs: []SLO{slo}})
	if r.Requests != 0 || r.Errors["timeout"] != 1 || r.Unsent != 29 || !r.Missed || r.SLOs[0].Value != 100 {
		t.Errorf("%d answers, errors %v, %d unsent, SLOs %+v", r.Requests, r.Errors, r.Unsent, r.SLOs)
	}
}

// TestTheRateIsOfTheTimeInWhichAnswersCame: nobody answers while a lost request is waited
// for, and a plan of ten requests takes its time however soon the last one is answered.
func TestTheRateIsOfTheTimeInWhichAnswersCame(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	var n, lost, slow atomic.Int64
	s := serve(t, func(http.ResponseWriter, *http.Request) {
		switch n.Add(1) {
		case lost.Load():
			<-over
		case 20:
			time.Sleep(time.Duration(slow.Load()))
		}
	})
	for name, tt := range map[string]struct {
		plan     Plan
		lost     int64
		slow     time.Duration
		from, to float64
	}{
		"all at once":        {plan: Plan{Rate: 50, Requests: 10}, from: 49, to: 50},
		"a single one":       {plan: Plan{Rate: 2, Requests: 1}, from: 2, to: 2},
		"until the end":      {plan: Plan{Rate: 50, Duration: 400 * time.Millisecond}, from: 49, to: 50},
		"a lost one":         {plan: Plan{Rate: 50, Duration: 400 * time.Millisecond}, lost: 5, from: 47, to: 47.5},
		"a lost one of some": {plan: Plan{Rate: 50, Requests: 20}, lost: 5, from: 47, to: 47.5},
		"a late answer":      {plan: Plan{Rate: 50, Duration: 400 * time.Millisecond}, slow: 600 * time.Millisecond, from: 1, to: 21},
	} {
		n.Store(0)
		lost.Store(tt.lost)
		slow.Store(int64(tt.slow))
		p := tt.plan
		p.Targets, p.Connections, p.Timeout = to(s.URL), 8, time.Second
		r := load(t, &p)
		stalled := r.Unsent > 0 || r.Latency.Max > 5000 && tt.slow == 0 // the machine was busy
		if (r.Rate < tt.from && !stalled) || r.Rate > tt.to {
			t.Errorf("%s: %v/s, want %v to %v; %d answers in %v s, latency %+v", name, r.Rate, tt.from, tt.to, r.Requests, r.Seconds, r.Latency)
		}
		if want := min(tt.lost, 1); r.Errors["timeout"] != want {
			t.Errorf("%s: errors %v", name, r.Errors)
		}
	}
}

func TestRequestsOfAPlanAreCounted(t *testing.T) {
	for _, rate := range []float64{0.3, 1, 3, 7, 99.9, 1e6} {
		r := &run{plan: &compiled{Plan: &Plan{Rate: rate}}}
		for _, at := range []int64{0, 1, 999_999_999, 1_000_000_000, 10_000_000_000, 3_333_333_333} {
			i := r.indexAt(at)
			if r.due(i) < at || i > 0 && r.due(i-1) >= at {
				t.Errorf("rate %v: request %d is due at %d, the one before at %d; want the first at or after %d", rate, i, r.due(i), r.due(i-1), at)
			}
		}
	}
}

func TestTimersWaitAndStop(t *testing.T) {
	timer, err := newTimer()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if !timer.wait(int64(3*time.Millisecond)) || time.Since(start) < 3*time.Millisecond {
		t.Errorf("waited %v", time.Since(start))
	}
	stopped := make(chan bool)
	go func() { stopped <- timer.wait(int64(time.Hour)) }()
	timer.stop()
	if <-stopped {
		t.Error("a stopped timer says that the time has come")
	}
}

// A server that stops answering misses every objective that its answers alone would
// meet, in both models.
func TestAServerThatStopsAnsweringMeetsNoObjective(t *testing.T) {
	for _, model := range []string{"open", "closed"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			over := make(chan struct{})
			s := serve(t, func(http.ResponseWriter, *http.Request) {
				if n.Add(1) > 100 {
					<-over
				}
			})
			defer close(over)
			p := &Plan{Targets: to(s.URL), Connections: 4, Duration: 2 * time.Second, Timeout: 10 * time.Second}
			if model == "open" {
				p.Rate, p.Timeout = 100, 500*time.Millisecond
			}
			for _, text := range []string{"p99<1s", "max<1s", "errors<0.1%"} {
				slo, err := ParseSLO(text)
				if err != nil {
					t.Fatal(err)
				}
				p.SLOs = append(p.SLOs, slo)
			}
			r := load(t, p)
			for _, o := range r.SLOs {
				if !o.Missed {
					t.Errorf("%s is met with %v: %d answers, errors %v, %d unsent", o.Text, o.Value, r.Requests, r.Errors, r.Unsent)
				}
			}
			if model == "closed" && r.Causes["unfinished"] == "" {
				t.Errorf("causes %v", r.Causes)
			}
			if model == "closed" && r.Errors["unfinished"] != 4 {
				t.Errorf("errors %v, want 4 unfinished", r.Errors)
			}
		})
	}
}

// TestTheFirstRequestsOfManyClientsAreShared: ten requests of 64 clients must not all go to one
// of two targets.
func TestTheFirstRequestsOfManyClientsAreShared(t *testing.T) {
	r := &run{shares: []float64{0.5, 1}, shards: []*shard{{}}}
	for _, first := range []int{2, 10, 64} {
		counts := make([]int, 2)
		for i := range first {
			counts[newLane(r, i, nil).pick()]++
		}
		if d := counts[0] - counts[1]; d < -2 || d > 2 {
			t.Errorf("the first of %d clients: %v", first, counts)
		}
	}
}
