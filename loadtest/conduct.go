package loadtest

import (
	"context"
	"sync"
	"time"
)

// beat is how often is collected what the lanes have found: the length of an Interval.
const beat = int64(time.Second)

// conduct runs the lanes to the end.
func (r *run) conduct(ctx context.Context, progress func(Progress)) {
	var lanes sync.WaitGroup
	for _, l := range r.lanes {
		lanes.Go(l.loop)
	}
	done := make(chan struct{})
	go func() { lanes.Wait(); close(done) }()

	from := int64(r.plan.Warmup) // of the present interval
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	r.tell(progress)
	for r.wait(ctx, timer, done, r.nextBeat(from)) {
		if now := r.now(); now >= from+beat {
			r.collect(from, from+beat)
			from += beat
		}
		r.tell(progress)
	}
	if !r.open() && !r.interrupted {
		r.hanging = r.unanswered()
	}
	r.halt()
	<-done
	r.readers.Wait()
	to := r.endAt()
	if r.open() && !r.interrupted {
		to = max(to, r.now()) // the last answers were waited for
	}
	if from < to {
		r.collect(from, to)
	}
}

// hangs is how long a request of a closed load is under way at the end before it counts
// as unanswered. The others are cut by the end, and count for nothing.
const hangs = int64(time.Second)

// unanswered is how many requests have been under way for long. Without them a server
// that stops answering would leave no trace: nothing is sent any more, and the end
// comes before the timeouts.
func (r *run) unanswered() (n int64) {
	for _, l := range r.lanes {
		if begun := l.asked.Load(); begun > 0 && r.endAt()-begun > hangs {
			n++
		}
	}
	return n
}

// wait returns true at the next beat, and false when the run has ended.
func (r *run) wait(ctx context.Context, timer *time.Timer, done <-chan struct{}, next int64) bool {
	timer.Reset(time.Duration(next - r.now()))
	select {
	case <-ctx.Done():
		r.interrupted = true
		r.end.Store(min(r.now(), r.endAt()))
		return false
	case <-done:
		if r.interrupted = ctx.Err() != nil; r.interrupted || !r.open() || r.plan.Requests > 0 {
			r.end.Store(min(r.now(), r.endAt()))
		}
		return false
	case err := <-r.broken:
		r.breakOff(err) // once more: Run returns it
		return false
	case <-timer.C:
		return next < r.lastMoment()
	}
}

// nextBeat is when to look up next, in nanoseconds of the run.
func (r *run) nextBeat(from int64) int64 {
	next := from + beat
	if warmup := int64(r.plan.Warmup); r.now() < warmup {
		next = min(r.now()+beat, warmup)
	}
	return min(next, r.lastMoment())
}

// lastMoment is when the run ends at the latest: of an open load the last requests
// have their time to be answered, or to be counted as timed out.
func (r *run) lastMoment() int64 {
	if r.open() {
		return r.endAt() + int64(r.plan.Timeout) + int64(200*time.Millisecond)
	}
	return r.endAt()
}

// collect takes an interval from the shards.
func (r *run) collect(from, to int64) {
	r.scratch.reset()
	for _, s := range r.shards {
		s.take(r.scratch)
	}
	if from >= r.endAt() && r.scratch.answers+r.scratch.errors == 0 {
		return // only waiting
	}
	r.total.add(r.scratch)
	warmup := int64(r.plan.Warmup)
	r.series = append(r.series, interval(r.scratch, from-warmup, to-warmup))
}

func (r *run) tell(progress func(Progress)) {
	if progress == nil {
		return
	}
	now := r.now()
	p := Progress{
		Warming: now < int64(r.plan.Warmup), Left: max(0, time.Duration(r.endAt()-now)),
		Requests: r.total.answers, Errors: r.total.errors,
	}
	if n := len(r.series); n > 0 {
		p.Last = r.series[n-1]
	}
	progress(p)
}
