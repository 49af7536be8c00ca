package loadtest

import "math"

// next says when the lane's next request is due, in nanoseconds of the run, and waits
// until then; ok is false when there is none any more. free says that the lane had to
// wait: that it was not what held the request up.
//
// An open load is a plan: request i is due at i/rate, whoever is free takes the next
// one. No queue stands behind it, only a number: what is due and has not been taken
// waits for a free lane, and its latency counts from when it was due.
func (r *run) next(l *lane) (due int64, free, ok bool) {
	if r.over.Load() {
		return 0, false, false
	}
	if !r.open() {
		due = r.now()
		if r.plan.Requests > 0 && due >= int64(r.plan.Warmup) && r.taken.Add(1) > r.plan.Requests {
			return 0, false, false
		}
		return due, true, true
	}
	i := r.taken.Add(1) - 1
	due = r.due(i)
	now := r.now()
	if due >= r.endAt() || now >= r.endAt() || i >= r.indexEnd() {
		return 0, false, false
	}
	wait := due - now
	if wait > 0 && !l.timer.wait(wait) {
		return 0, false, false
	}
	return due, wait > 0, !r.over.Load() && due < r.endAt() // the end may have come earlier
}

func (r *run) open() bool { return r.plan.Rate > 0 }

// due is when request i of an open load is to be sent.
func (r *run) due(i int64) int64 { return int64(float64(i) * 1e9 / r.plan.Rate) }

// indexAt is the first request that is due at or after t.
func (r *run) indexAt(t int64) int64 {
	i := int64(math.Ceil(float64(t) * r.plan.Rate / 1e9))
	for i > 0 && r.due(i-1) >= t { // floating-point numbers round
		i--
	}
	for r.due(i) < t {
		i++
	}
	return i
}

// indexEnd is one past the last request that Plan.Requests allows.
func (r *run) indexEnd() int64 {
	if r.plan.Requests == 0 {
		return math.MaxInt64
	}
	return r.first + r.plan.Requests
}

// plannedRequests is how many of an open load were to be measured.
func (r *run) plannedRequests() int64 {
	return max(0, min(r.indexAt(r.endAt()), r.indexEnd())-r.first)
}
