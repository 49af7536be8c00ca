package loadtest

import (
	"math"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// summary turns what the shards have into a Result.
func (r *run) summary() *Result {
	out := &Result{
		Schema: 1, Started: r.startedAt, Load: r.load(),
		Seconds:  seconds(r.measured()),
		Requests: r.total.answers, BytesIn: r.total.bytesIn, BytesOut: r.total.bytesUp,
		Errors: map[string]int64{}, Statuses: map[string]int64{},
		Latency: latency(r.total.latency), Percentiles: percentiles(r.total.latency),
		Series: append([]Interval{}, r.series...), Interrupted: r.interrupted,
	}
	if took := r.answering(); took > 0 {
		out.Rate = float64(out.Requests) / seconds(took)
	}
	shakes := coarseHistogram()
	var shakeNS int64
	for _, s := range r.shards {
		out.Late += s.late
		out.Connections.Opened += s.opened
		out.Connections.Before += s.before
		out.Connections.Resumed += s.resumed
		shakeNS += s.handshakeNS
		shakes.Merge(s.shakes)
	}
	if n := out.Connections.Opened; n > 0 {
		out.Connections.MeanUS = micros(float64(shakeNS) / float64(n))
		out.Connections.MedianUS = micros(float64(shakes.ValueAtPercentile(50)))
	}
	for i, t := range r.plan.targets {
		out.Targets = append(out.Targets, r.targetPart(i, t, out))
	}
	if r.hanging > 0 {
		out.Errors["unfinished"] = r.hanging
	}
	out.Causes = r.causes()
	if r.open() {
		out.Unsent = max(0, r.plannedRequests()-out.Requests-sum(out.Errors))
	}
	r.judge(out)
	return out
}

// targetPart sums one target up, and adds to the whole's errors and statuses.
func (r *run) targetPart(i int, t *target, whole *Result) TargetPart {
	out := TargetPart{Name: t.name, Weight: t.weight, Statuses: map[string]int64{}}
	if r.plan.Handshakes {
		out.Name = "handshake " + t.name[len(t.method)+1:]
	}
	h := coarseHistogram()
	for _, s := range r.shards {
		p := s.parts[i]
		if p == nil {
			continue
		}
		for status, n := range p.statuses {
			if n == 0 {
				continue
			}
			out.Requests += n
			if status != 0 { // of a handshake
				out.Statuses[strconv.Itoa(status)] += n
				whole.Statuses[strconv.Itoa(status)] += n
			}
		}
		for k, n := range p.failed {
			if n > 0 {
				out.Errors += n
				whole.Errors[kindNames[k]] += n
			}
		}
		out.Errors += p.unexpected
		whole.Unexpected += p.unexpected
		if p.latency != nil {
			h.Merge(p.latency)
		}
	}
	out.Latency = latency(h)
	if len(r.plan.targets) == 1 {
		out.Latency = whole.Latency
	}
	return out
}

func (r *run) load() Load {
	p := r.plan
	l := Load{
		Model: "closed", Rate: p.Rate, Connections: p.Connections, Streams: p.Streams, HTTP: p.HTTP, TLS: "none", Curve: p.Curve,
		KeepAlive: !p.NoKeepAlive, Handshakes: p.Handshakes, Warmup: seconds(int64(p.Warmup)), Duration: seconds(int64(p.Duration)),
	}
	if p.Rate > 0 {
		l.Model = "open"
	}
	for _, t := range p.targets {
		if t.secure {
			l.TLS = p.TLS
		}
	}
	return l
}

// answering is the time whose answers Result.Rate counts, in nanoseconds. An open load
// takes as long as its plan, however soon the last answer is there, and longer if
// answers come later than that; it does not while a lost one is waited for.
func (r *run) answering() int64 {
	took := r.measured()
	if !r.open() {
		return took
	}
	if n := r.plan.Requests; n > 0 {
		if !r.interrupted {
			took = int64(r.plan.Duration)
		}
		took = min(took, int64(min(float64(n)/r.plan.Rate*1e9, float64(MaxDuration))))
	}
	for _, s := range r.shards {
		took = max(took, s.last-int64(r.plan.Warmup))
	}
	return took
}

// judge fills the objectives in. A request without an answer took longer than any that
// has one: percentiles that fall among them, and the greatest latency, are missed.
func (r *run) judge(out *Result) {
	lost := float64(sum(out.Errors))
	if !out.Interrupted {
		lost += float64(out.Unsent)
	}
	failed, asked := lost+float64(out.Unexpected), lost+float64(out.Requests)
	for i := range r.plan.SLOs {
		s := &r.plan.SLOs[i]
		var value float64
		missing := out.Requests == 0
		switch s.metric {
		case "p":
			rank := s.percent / 100 * asked // among all that were asked
			missing = missing || rank > float64(out.Requests)
			value = micros(float64(r.total.latency.ValueAtPercentile(min(100, 100*rank/max(1, float64(out.Requests))))))
		case "mean":
			value = out.Latency.Mean
		case "min":
			value = out.Latency.Min
		case "max":
			value, missing = out.Latency.Max, missing || lost > 0
		case "errors":
			if missing = asked == 0; !missing {
				value = 100 * failed / asked
			}
		case "rate":
			value, missing = out.Rate, false
		}
		o := s.judge(value, missing)
		out.Missed = out.Missed || o.Missed
		out.SLOs = append(out.SLOs, o)
	}
}

func sum(counts map[string]int64) int64 {
	var n int64
	for _, c := range counts {
		n += c
	}
	return n
}

// interval is a span as a point of the series.
func interval(s *span, from, to int64) Interval {
	h := s.latency
	at := func(p float64) float64 { return micros(float64(h.ValueAtPercentile(p))) }
	out := Interval{
		At: seconds(to), Seconds: seconds(to - from), Requests: s.answers, Errors: s.errors, BytesIn: s.bytesIn,
	}
	if h.TotalCount() > 0 {
		out.P50, out.P90, out.P99, out.Max = at(50), at(90), at(99), micros(float64(h.Max()))
	}
	return out
}

func latency(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	at := func(p float64) float64 { return micros(float64(h.ValueAtPercentile(p))) }
	return Latency{
		Min: micros(float64(h.Min())), Mean: micros(h.Mean()), SD: micros(h.StdDev()),
		P50: at(50), P75: at(75), P90: at(90), P95: at(95), P99: at(99), P999: at(99.9), Max: micros(float64(h.Max())),
	}
}

// percentiles are the points of a plot: steps of 5 up to 90, then nine to each
// further decade, as far as there are requests to tell them apart.
func percentiles(h *hdrhistogram.Histogram) []Percentile {
	n := h.TotalCount()
	if n == 0 {
		return []Percentile{}
	}
	var out []Percentile
	add := func(p float64) {
		out = append(out, Percentile{P: p, US: micros(float64(h.ValueAtPercentile(p)))})
	}
	for p := 0.0; p < 90; p += 5 {
		add(p)
	}
	for decade := 10.0; decade*float64(n) >= 100; decade /= 10 { // what lies beyond it is one request at least
		for step := 10.0; step > 1; step-- {
			add(round(100-decade*step/10, 7))
		}
	}
	add(100)
	return out
}

func round(x float64, places int) float64 {
	f := math.Pow10(places)
	return math.Round(x*f) / f
}

// micros is a number of nanoseconds in microseconds, to the nanosecond.
func micros(ns float64) float64 { return round(ns/1e3, 3) }

func seconds(ns int64) float64 { return round(float64(ns)/float64(time.Second), 6) }
