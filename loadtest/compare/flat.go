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
//   - The same number of connections of the load, and the same requests on both sides,
//     prepared before the load begins: one for each of the many hosts; the few hosts get
//     them all. Each has a query of its own, so the cache holds the same number of pages
//     on both sides and wrk walks through the same amount of memory. Requests go round,
//     which is the least that caches of a CPU can gain, and each run of wrk goes on where
//     the one before it ended: else a slow machine would only ever see the first hosts.
//   - Plain HTTP: over TLS, connections could not be used for one host after the other.
//   - All vhosts name the one backend. What connections to it they keep open, and how many
//     more than the few, is a cost of many vhosts and counts. The backend's and wrk's own
//     part of it runs on the other CPU and does not.
//   - Sites are compiled at their first request and pages are stored then: the warm-up
//     goes round all hosts at least twice; for hits it goes on until a whole tour brought
//     next to nothing from the backend.
//   - nginx stands beside it, where only requests and connections differ: with as many
//     servers, and connections to the backend for each tenant. What grows there, too, is
//     the price of memory and sockets that were last used a while ago, and nobody's in
//     particular. The promise is ours alone, and is judged by our growth alone.
//   - A new process for each number, so that where its memory happens to lie is averaged,
//     and hits carry nothing that a pass-through has left; the order of the sides turns
//     round from round to round, so that a drift of the machine does not favour one.

// A flatCase is one gatehouse.
type flatCase struct {
	vhosts, tenants int
}

// A flatPair is what is compared: two cases, and how many of what differs.
type flatPair struct {
	what      string
	few, many flatCase
	count     func(flatCase) int
}

func (p flatPair) id() string { return p.what }

// requests is how many different requests the load has: one for each host of the many.
func (p flatPair) requests() int { return p.many.vhosts }

func flatPairs(o *options) []flatPair {
	return []flatPair{
		{"vhosts", flatCase{1, 1}, flatCase{o.vhosts, 1}, func(c flatCase) int { return c.vhosts }},
		// As many vhosts on both sides: only who owns them differs.
		{"tenants", flatCase{o.tenants, 1}, flatCase{o.tenants, o.tenants}, func(c flatCase) int { return c.tenants }},
	}
}

// A flatLoad is a kind of request, and the servers that it is sent to.
type flatLoad struct {
	name, title, path string
	backend           reach
	servers           []string
}

func (l flatLoad) id() string { return l.name }

var flatLoads = []flatLoad{
	{"pass", "pass-through", "/pass/1k", every, []string{report.Ours, "nginx"}},
	{"hit", "cache hit", "/keep/1k", none, []string{report.Ours}},
}

// A flatRun measures all pairs with all loads.
type flatRun struct {
	options *options
	bed     *bed
	stderr  io.Writer
	watch   watch
	result  *flatResult
}

// runFlat measures what was chosen and prints what it found: also of a run that was
// interrupted, the rounds that were finished.
func runFlat(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	if have, want := descriptors(), max(o.vhosts, o.tenants)*5/4+2000; have < want {
		return fmt.Errorf("so many vhosts hold connections to the backend that %d open files are needed, and the limit is %d: raise it (ulimit -n), or say --vhosts", want, have)
	}
	b, err := newBed(ctx, o.keep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	r := &flatRun{options: &o, bed: b, stderr: stderr, watch: watch{stderr: stderr}, result: newFlatResult(ctx, &o)}
	done, ended := r.rounds(ctx)
	if ended != nil {
		ended = stopped(ctx, done, o.rounds, ended)
		if done == 0 {
			return ended
		}
	}
	r.result.finish(done, o.rounds)
	r.result.describe(context.WithoutCancel(ctx), &o, &r.watch)
	if base := o.file(done); base != "" {
		if err := writeJSON(base+".json", r.result); err != nil {
			return errors.Join(ended, err)
		}
		fmt.Fprintf(stderr, "written: %s.json\n", base)
	}
	return errors.Join(ended, r.result.print(stdout), r.result.verdict(o.check))
}

// rounds returns how many were finished; the error is what ended them before the last.
func (r *flatRun) rounds(ctx context.Context) (done int, err error) {
	o := r.options
	p := progress{stderr: r.stderr, rounds: o.rounds}
	p.cells, p.about = o.flatRoundTime()
	for round := range o.rounds {
		p.round(round, time.Now())
		if err := r.watch.look(ctx, round); err != nil {
			return round, err
		}
		for i := range r.result.Series {
			if err := r.both(ctx, round, &r.result.Series[i]); err != nil {
				return round, err
			}
		}
	}
	return o.rounds, nil
}

// both measures the two sides of a pair, one right after the other.
func (r *flatRun) both(ctx context.Context, round int, out *flatSeries) error {
	pair, load := out.pair, out.load
	cases := []flatCase{pair.few, pair.many}
	if round%2 == 1 {
		cases[0], cases[1] = cases[1], cases[0]
	}
	for _, c := range cases {
		cpu, err := r.bed.flatCell(ctx, r.options, flatPeer(out.Server, c), c, load, pair.requests())
		if err != nil {
			return fmt.Errorf("%s, %d vhosts, %d tenants, %s: %w", out.Server, c.vhosts, c.tenants, load.title, err)
		}
		out.add(c == pair.many, cpu)
		fmt.Fprintf(r.stderr, "round %d  %-9s  %6d vhosts %6d tenants  %-12s %6.1f µs\n", round+1, out.Server, c.vhosts, c.tenants, load.title, cpu)
	}
	return nil
}
