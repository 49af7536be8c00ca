package main

import (
	"context"
	"errors"
	"fmt"

	"gatehouse/loadtest/report"
)

// flatSlack is the share of hits that may miss: the cache decides what it admits.
const flatSlack = 0.001

// warmSeconds is how long one run of the warm-up lasts, and warmRuns how many there are
// at least: a process that has just compiled thousands of sites gets faster for some
// seconds, until its heap has settled and the kernel has joined its pages.
const (
	warmSeconds = 2
	warmRuns    = 5
)

// flatPeer returns the server of that name with the vhosts of a case.
func flatPeer(name string, c flatCase) peer {
	p := peer{name: name}
	if name == report.Ours {
		p.start = func(ctx context.Context, b *bed, o *options) ([]*process, error) {
			conf, err := b.configure("gatehouse.yaml", b.settings)
			if err != nil {
				return nil, err
			}
			if err := b.writeRoutes(c); err != nil {
				return nil, err
			}
			return serve(ctx, b, o, conf, flatHost(c.vhosts-1))
		}
		return p
	}
	p.start = func(ctx context.Context, b *bed, _ *options) ([]*process, error) {
		conf, err := b.configure("flat.nginx.conf", flatNginx(c, b.settings))
		if err != nil {
			return nil, err
		}
		p, err := b.start(ctx, "nginx", peerCPU, nil, "nginx", "-p", b.dir, "-c", conf)
		if err != nil {
			return nil, err
		}
		return []*process{p}, p.serves(ctx, b.settings.Plain, flatHost(c.vhosts-1))
	}
	return p
}

// flatCell starts a server with so many vhosts and returns the CPU time of a request in
// microseconds.
func (b *bed) flatCell(ctx context.Context, o *options, p peer, c flatCase, load flatLoad, requests int) (cpu float64, err error) {
	st, err := b.open(ctx, p, o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	t := &flatTour{load: load, vhosts: c.vhosts, requests: requests}
	if err := t.warm(ctx, st.flatWrk); err != nil {
		return 0, err
	}
	if err := st.settle(ctx); err != nil {
		return 0, err
	}
	return t.measure(ctx, st)
}

// A flatTour goes round the requests of a load.
type flatTour struct {
	load     flatLoad
	vhosts   int
	requests int
	sent     int64 // requests that were answered so far
}

// A wrkRun loads once with a script and returns what wrk counted and how many requests
// reached the backend meanwhile.
type wrkRun func(ctx context.Context, script string, secs int) (t tally, reached int64, err error)

// run goes on where the run before has ended.
func (f *flatTour) run(ctx context.Context, wrk wrkRun, secs int) (t tally, reached int64, err error) {
	first := int(f.sent % int64(f.requests))
	if t, reached, err = wrk(ctx, flatScript(f.load.path, f.vhosts, f.requests, first), secs); err != nil {
		return t, 0, err
	}
	if err := t.fault(scenario{status: 200, size: sizes["1k"]}); err != nil {
		return t, 0, err
	}
	f.sent += t.requests
	return t, reached, nil
}

// hits reports whether so many of the answers came from the cache that they count as hits.
func (f *flatTour) hits(answers, reached int64) bool {
	return f.load.backend != none || float64(reached) <= flatSlack*float64(answers)
}

// warm loads until every request was sent twice, and then until one whole tour of hits
// was hits.
func (f *flatTour) warm(ctx context.Context, wrk wrkRun) error {
	var steady int64 // requests since the last run with too many misses
	for run := range 30 {
		t, reached, err := f.run(ctx, wrk, warmSeconds)
		if err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
		if steady += t.requests; !f.hits(t.requests, reached) {
			steady = 0
		}
		if run+1 >= warmRuns && f.sent >= 2*int64(f.requests) && steady >= int64(f.requests) {
			return nil
		}
	}
	return fmt.Errorf("not warm after %d requests: too many still reach the backend, or the machine is too slow for %d different ones", f.sent, f.requests)
}

// measure returns the CPU time of a request in microseconds.
func (f *flatTour) measure(ctx context.Context, st *station) (float64, error) {
	before, err := st.usage()
	if err != nil {
		return 0, err
	}
	t, reached, err := f.run(ctx, st.flatWrk, st.options.seconds)
	if err != nil {
		return 0, err
	}
	after, err := st.usage()
	if err != nil {
		return 0, err
	}
	if f.load.backend == none && f.hits(t.requests, reached) {
		reached = 0
	}
	if err := f.load.backend.fault(t.requests, reached); err != nil {
		return 0, err
	}
	return costs(after.minus(before), t.requests).CPU, nil
}

// flatWrk is a wrkRun.
func (st *station) flatWrk(ctx context.Context, text string, secs int) (t tally, reached int64, err error) {
	before, err := st.bed.answered(ctx)
	if err != nil {
		return t, 0, err
	}
	if t, err = st.bed.wrkScript(ctx, text, "http://"+st.bed.settings.Plain.String()+"/", secs, st.options.connections, nil); err != nil {
		return t, 0, err
	}
	after, err := st.bed.answered(ctx)
	return t, after - before, err
}
