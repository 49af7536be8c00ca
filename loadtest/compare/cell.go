package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"gatehouse/loadtest/report"
)

// warmup is the load before what is measured, in seconds.
const warmup = 1

// takesPart reports whether p is one of those that s compares.
func (p peer) takesPart(s scenario) bool {
	// Memory is of interest in all of them.
	return s.kind == byMemory || slices.Contains(p.can, s.needs)
}

// cell measures one scenario with a peer that runs. An error is an absence, or says
// what makes the numbers worthless.
func (st *station) cell(ctx context.Context, s scenario) (report.Sample, error) {
	switch s.kind {
	case byHandshakes:
		return st.handshakes(ctx, s)
	case byHTTP2:
		return st.http2(ctx, s)
	case byIdleness:
		return st.idle(ctx, s)
	case byMemory:
		return st.memory(ctx, s)
	default:
		sample, _, err := st.requests(ctx, s)
		return sample, err
	}
}

// requests loads the peer by wrk; rss is its memory near the end of the load.
func (st *station) requests(ctx context.Context, s scenario) (sample report.Sample, rss int64, err error) {
	b, o := st.bed, st.options
	if err := st.try(ctx, s); err != nil {
		return sample, 0, err
	}
	connections := s.connections(o.connections)
	if _, err := b.wrk(ctx, s, warmup, connections, nil); err != nil {
		return sample, 0, err
	}
	if err := st.settle(ctx); err != nil {
		return sample, 0, err
	}
	reached, err := b.answered(ctx)
	if err != nil {
		return sample, 0, err
	}
	before, err := st.usage()
	if err != nil {
		return sample, 0, err
	}
	var midst usage
	var midstErr error
	t, err := b.wrk(ctx, s, o.seconds, connections, func() { midst, midstErr = st.usage() })
	if err != nil {
		return sample, 0, err
	}
	after, err := st.usage()
	if err := errors.Join(err, midstErr); err != nil {
		return sample, 0, err
	}
	now, err := b.answered(ctx)
	if err != nil {
		return sample, 0, err
	}
	if err := errors.Join(t.fault(s), s.backend.fault(t.requests, now-reached)); err != nil {
		return sample, 0, err
	}
	sample = costs(after.minus(before), t.requests)
	sample.Rate = float64(t.requests) / t.duration.Seconds()
	sample.P50, sample.P99 = microseconds(t.p50), microseconds(t.p99)
	sample.RSS = megabytes(midst.rss)
	return sample, midst.rss, nil
}

// settle waits until the peer does next to nothing: what a load left behind when it
// ended, requests that nobody waits for any more, must not count in the next.
func (st *station) settle(ctx context.Context) error {
	const look, idle = 200 * time.Millisecond, 2 * tick
	last, err := st.usage()
	for end := time.Now().Add(30 * time.Second); err == nil && ctx.Err() == nil; {
		pause(ctx, look)
		var now usage
		if now, err = st.usage(); err != nil {
			break
		}
		if used := now.minus(last); used.user+used.sys <= idle {
			break
		}
		if last = now; time.Now().After(end) {
			return errors.New("still busy half a minute after the load has ended")
		}
	}
	return errors.Join(err, ctx.Err())
}

// fault says what is wrong when of so many answers so many came from the backend.
func (r reach) fault(answers, fromBackend int64) error {
	switch {
	case r == every && fromBackend < answers:
		return fmt.Errorf("%d answers, but only %d requests reached the backend", answers, fromBackend)
	case r == none && fromBackend > 0:
		return fmt.Errorf("%d of %d requests reached the backend, and none should", fromBackend, answers)
	}
	return nil
}

// memory finds out what the peer holds under load, everything loaded that it has.
func (st *station) memory(ctx context.Context, s scenario) (report.Sample, error) {
	if slices.Contains(st.can, inspecting) {
		for _, w := range inspected() {
			if err := st.try(ctx, w); err != nil {
				return report.Sample{}, err
			}
		}
	}
	sample, rss, err := st.requests(ctx, s)
	if err != nil {
		return report.Sample{}, err
	}
	return report.Sample{Requests: sample.Requests, RSS: megabytes(rss)}, nil
}

// costs divides what was used by the requests.
func costs(u usage, requests int64) report.Sample {
	n := float64(requests)
	return report.Sample{
		Requests: requests,
		CPU:      microseconds(u.user+u.sys) / n,
		User:     microseconds(u.user) / n,
		Sys:      microseconds(u.sys) / n,
	}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }

// seconds is a duration as flags have it.
func seconds(n int) string { return strconv.Itoa(n) + "s" }
