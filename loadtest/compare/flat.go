package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"gatehouse/loadtest/report"
)

// How the cost grows: the same gatehouse with few and with many vhosts, and with few
// and with many tenants, by CPU time per request.
//
// What makes the two sides of a pair differ in nothing else:
//
//   - The load is the same requests, prepared before the load begins, one for each of
//     the many hosts; the few hosts get them all. Each has a query of its own, so the
//     cache holds the same number of pages on both sides and wrk walks through the same
//     amount of memory. Hosts take turns, which is the least that caches of a CPU can gain.
//   - Plain HTTP: over TLS, connections could not be used for one host after the other.
//   - All vhosts name the one backend. Each keeps connections of its own to it, so the
//     many hold thousands open where the few hold 64: that is a cost of many vhosts, and
//     counts. The backend's own part of it runs on the other CPU and does not.
//   - Sites are compiled at their first request and pages are stored then: the warm-up
//     goes round all hosts at least twice, and on until nothing more is fetched for hits.
//   - A new process for each number, so that where its memory happens to lie is averaged;
//     the order of the cases turns round from round to round, so that a drift of the
//     machine does not favour one side.

// A flatCase is one gatehouse.
type flatCase struct {
	vhosts, tenants int
}

// A flatPair is what is compared: two cases, and how many requests differ.
type flatPair struct {
	what      string
	few, many flatCase
	count     func(flatCase) int
}

// requests is how many different requests the load has: one for each host of the many.
func (p flatPair) requests() int { return p.many.vhosts }

func flatPairs(o *options) []flatPair {
	return []flatPair{
		{"vhosts", flatCase{1, 1}, flatCase{o.vhosts, 1}, func(c flatCase) int { return c.vhosts }},
		// As many vhosts on both sides: only who owns them differs.
		{"tenants", flatCase{o.tenants, 1}, flatCase{o.tenants, o.tenants}, func(c flatCase) int { return c.tenants }},
	}
}

// flatPaths are the loads, each on every case.
var flatPaths = []struct {
	name, path string
	backend    reach
}{
	{"pass-through", "/pass/1k", every},
	{"cache hit", "/keep/1k", none},
}

// flatSlack is the share of hits that may miss: the cache decides what it admits.
const flatSlack = 0.001

// runFlat measures all pairs and prints what it found.
func runFlat(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	if have, want := descriptors(), max(o.vhosts, o.tenants)*5/4+2000; have < want {
		return fmt.Errorf("so many vhosts hold connections to the backend that %d open files are needed, and the limit is %d: raise it (ulimit -n), or say --vhosts", want, have)
	}
	b, err := newBed(ctx, o.keep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	result := &flatResult{
		Schema: 1, Date: time.Now().UTC().Truncate(time.Second), Machine: machine(), Commit: commit(ctx, &o),
		Rounds: o.rounds, Seconds: o.seconds, Connections: o.connections,
	}
	for _, pair := range flatPairs(&o) {
		series := make([]flatSeries, len(flatPaths))
		for i, path := range flatPaths {
			series[i] = flatSeries{Load: path.name, What: pair.what, Few: pair.count(pair.few), Many: pair.count(pair.many)}
		}
		for round := range o.rounds {
			cases := []flatCase{pair.few, pair.many}
			if round%2 == 1 {
				cases[0], cases[1] = cases[1], cases[0]
			}
			for _, c := range cases {
				cpu, err := b.flatCase(ctx, &o, c, pair.requests())
				if err != nil {
					return fmt.Errorf("%d vhosts, %d tenants: %w", c.vhosts, c.tenants, err)
				}
				for i := range series {
					series[i].add(c == pair.many, cpu[i])
				}
				fmt.Fprintf(stderr, "round %d  %6d vhosts %6d tenants  pass-through %6.1f µs  hit %6.1f µs\n", round+1, c.vhosts, c.tenants, cpu[0], cpu[1])
			}
		}
		result.Series = append(result.Series, series...)
	}
	result.finish()
	if err := writeJSON(o.json, result); err != nil {
		return err
	}
	if err := result.print(stdout); err != nil {
		return err
	}
	return result.verdict(o.check)
}

// flatCase starts a gatehouse with so many vhosts and returns the CPU time of a
// request in microseconds, for each of flatPaths.
func (b *bed) flatCase(ctx context.Context, o *options, c flatCase, requests int) (cpu []float64, err error) {
	p := peer{name: report.Ours, start: func(ctx context.Context, b *bed, o *options) ([]*process, error) {
		conf, err := b.configure("gatehouse.yaml", b.settings)
		if err != nil {
			return nil, err
		}
		if err := b.writeRoutes(c); err != nil {
			return nil, err
		}
		return serve(ctx, b, o, conf, flatHost(c.vhosts-1))
	}}
	st, err := b.open(ctx, p, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	for _, path := range flatPaths {
		us, err := st.flatLoad(ctx, flatScript(path.path, c.vhosts, requests), int64(requests), path.backend)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path.name, err)
		}
		cpu = append(cpu, us)
	}
	return cpu, nil
}

// flatLoad warms up, measures, and returns the CPU time of a request in microseconds.
func (st *station) flatLoad(ctx context.Context, text string, requests int64, backend reach) (float64, error) {
	if err := st.flatWarm(ctx, text, requests, backend); err != nil {
		return 0, err
	}
	before, err := st.usage()
	if err != nil {
		return 0, err
	}
	t, reached, err := st.flatRun(ctx, text, st.options.seconds)
	if err != nil {
		return 0, err
	}
	after, err := st.usage()
	if err != nil {
		return 0, err
	}
	if backend == none && float64(reached) <= flatSlack*float64(t.requests) {
		reached = 0
	}
	if err := backend.fault(t.requests, reached); err != nil {
		return 0, err
	}
	return costs(after.minus(before), t.requests).CPU, nil
}

// flatWarm loads until every request was sent twice and hits are hits.
func (st *station) flatWarm(ctx context.Context, text string, requests int64, backend reach) error {
	var sent int64
	for range 20 {
		t, reached, err := st.flatRun(ctx, text, 2)
		if err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
		sent += t.requests
		steady := backend != none || float64(reached) <= flatSlack*float64(t.requests)
		if sent >= 2*requests && steady {
			return st.settle(ctx)
		}
	}
	return fmt.Errorf("not warm after %d requests: too many still reach the backend, or the machine is too slow for %d vhosts", sent, requests)
}

// flatRun loads once and returns how many requests reached the backend meanwhile.
func (st *station) flatRun(ctx context.Context, text string, secs int) (t tally, reached int64, err error) {
	before, err := st.bed.answered(ctx)
	if err != nil {
		return t, 0, err
	}
	if t, err = st.bed.wrkScript(ctx, text, "http://"+st.bed.settings.Plain.String()+"/", secs, st.options.connections, nil); err != nil {
		return t, 0, err
	}
	if err := t.fault(scenario{status: 200, size: sizes["1k"]}); err != nil {
		return t, 0, err
	}
	after, err := st.bed.answered(ctx)
	return t, after - before, err
}
