package loadtest

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Progress is what Run says while it runs, about once a second.
type Progress struct {
	Warming bool // the measuring has not begun: of what follows only Left counts
	// Left is how long the run goes on at most; 0: it only waits for the last answers.
	Left     time.Duration
	Requests int64    // answered so far
	Errors   int64    // so far: no answer, or one with an unexpected status
	Last     Interval // the newest second
}

// A run is one Run under way.
type run struct {
	plan      *compiled
	origins   *origins
	ctx       context.Context // ends with the run: dialling stops
	cancel    func()
	gate      *gate
	startedAt time.Time
	shares    []float64 // of the targets, summed up, the last is 1
	lanes     []*lane
	readers   sync.WaitGroup // of HTTP/2 connections
	shards    []*shard
	numbers   *counter
	turns     atomic.Int64 // of hosts
	taken     atomic.Int64 // requests: of an open load all, else those that Plan.Requests bounds
	first     int64        // of an open load: the first that is measured
	end       atomic.Int64 // of the measuring, in nanoseconds of the run
	over      atomic.Bool  // nothing counts any more
	broken    chan error   // why the generator cannot go on

	// Of the goroutine that conducts.
	total       *span
	scratch     *span // one interval
	series      []Interval
	interrupted bool
	hanging     int64 // requests without an answer at the end; see unanswered
}

// Run sends the load of a plan and returns what it found; it returns within Warmup,
// Duration and Timeout together. In this order: what the plan says is checked, all
// hosts are looked up (a target outside this machine is a *NotOwnedError, unless
// Plan.Public), the limit of descriptors is compared with what the plan needs, one
// connection is tried, then the load begins. If the generator itself cannot go on, as
// descriptors run out all the same, there is an error and no result.
//
// When ctx ends, the result so far is returned, without an error and marked as
// Interrupted. progress, if not nil, is called by one goroutine; it must not block.
func Run(ctx context.Context, p *Plan, progress func(Progress)) (*Result, error) {
	r, err := prepare(ctx, p)
	if err != nil {
		return nil, err
	}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.gate = newGate(r.ctx)
	defer r.readers.Wait()
	defer r.halt()
	if err := r.checkDescriptors(); err != nil {
		return nil, err
	}
	if err := r.makeLanes(); err != nil {
		return nil, err
	}
	if err := r.try(ctx); err != nil {
		return nil, err
	}
	r.startedAt = time.Now()
	defer r.watch(ctx)()
	r.conduct(ctx, progress)
	select {
	case err := <-r.broken:
		return nil, err
	default:
		return r.summary(), nil
	}
}

// breakOff ends the run with an error: the generator cannot go on.
func (r *run) breakOff(err error) {
	select {
	case r.broken <- err:
	default: // it has one
	}
}

// prepare looks at all that can be wrong before anything is sent.
func prepare(ctx context.Context, p *Plan) (*run, error) {
	c, err := p.compile(ctx)
	if err != nil {
		return nil, err
	}
	if c.Connect != "" {
		if _, _, err := net.SplitHostPort(c.Connect); err != nil {
			return nil, planf("connect %s: want HOST:PORT", c.Connect)
		}
	}
	r := &run{
		plan: c, origins: newOrigins(c), numbers: newCounter(), shards: newShards(len(c.targets)),
		total: newSpan(), scratch: newSpan(), broken: make(chan error, 1),
	}
	for _, t := range c.targets {
		hosts := t.hosts
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		for _, host := range hosts {
			o, err := r.origins.of(ctx, t.secure, string(t.authority.fill(nil, 0, host)))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			t.origins = append(t.origins, o)
		}
	}
	whole, share := 0.0, 0.0
	for _, t := range c.targets {
		whole += t.weight
	}
	for _, t := range c.targets {
		share += t.weight
		r.shares = append(r.shares, share/whole)
	}
	r.end.Store(int64(c.Warmup + c.Duration))
	if r.open() {
		r.first = r.indexAt(int64(c.Warmup))
	}
	return r, nil
}

// makeLanes makes the clients; of HTTP/2 some lanes share one.
func (r *run) makeLanes() error {
	p := r.plan
	for i := range p.Connections {
		var c client
		switch {
		case p.Handshakes:
			c = shaker{}
		case p.HTTP == "2":
			c = newH2(p.Connections, p.Streams)
		default:
			c = newH1(p.Connections)
		}
		for range p.Streams {
			l := newLane(r, i, c)
			r.lanes = append(r.lanes, l)
			if !r.open() {
				continue
			}
			var err error
			if l.timer, err = newTimer(); err != nil {
				return err
			}
		}
	}
	return nil
}

// halt ends whatever waits; nothing counts after it.
func (r *run) halt() {
	r.over.Store(true)
	r.cancel()
	for _, l := range r.lanes {
		if l.timer != nil {
			l.timer.stop()
		}
		if ln := l.active.Load(); ln != nil {
			ln.kill()
		}
	}
}

// try opens one connection, so that a wrong address or certificate is said at once
// and in words.
func (r *run) try(ctx context.Context) error {
	r.startedAt = time.Now()
	defer r.watch(ctx)()
	l, o := r.lanes[0], r.plan.targets[0].origins[0]
	if r.primes() && o.tls != nil {
		return cmp.Or(ctx.Err(), l.primed(o))
	}
	c, _, err := l.open(o, r.now())
	if err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	if _, ok := l.client.(*h2); ok {
		return cmp.Or(ctx.Err(), r.greet(c))
	}
	c.line.end()
	_ = c.Close() // it has shown what it had to
	return nil
}

func (r *run) now() int64   { return int64(time.Since(r.startedAt)) }
func (r *run) endAt() int64 { return r.end.Load() }

// measured is how long the measuring took, in nanoseconds.
func (r *run) measured() int64 { return max(0, r.endAt()-int64(r.plan.Warmup)) }

// ask fills a question in.
func (r *run) ask(i int, q *question) {
	t := r.plan.targets[i]
	*q = question{target: t, origin: t.origins[0]}
	if t.hosts != nil {
		turn := int(uint64(r.turns.Add(1)) % uint64(len(t.hosts)))
		q.host, q.origin = t.hosts[turn], t.origins[turn]
	}
	if t.fixed == nil {
		q.number = r.numbers.Add(1)
	}
}

// counts reports whether a sample falls into the measured time: of an open load the
// time for which it was planned does; else that of its answer, so that as many
// begin before the measuring as end after it.
func (r *run) counts(x *sample) bool {
	if r.over.Load() {
		return false
	}
	from := int64(r.plan.Warmup)
	if r.open() || r.plan.Requests > 0 {
		return x.planned >= from
	}
	return x.ended >= from && x.ended <= r.endAt()
}

// watch starts what ends connections that take too long: one look at all of them now
// and then is cheaper than a deadline for each request. It also halts the run when
// ctx ends.
func (r *run) watch(ctx context.Context) (stop func()) {
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		tick := time.NewTicker(min(max(r.plan.Timeout/50, time.Millisecond), 100*time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				r.halt()
				return
			case <-tick.C:
			}
			before := r.now() - int64(r.plan.Timeout)
			for _, l := range r.lanes {
				if ln := l.active.Load(); ln != nil && ln.expire(before) {
					ln.kill()
				}
			}
		}
	})
	return func() { close(done); wait.Wait() }
}
