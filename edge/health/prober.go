package health

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"gatehouse/internal/seldom"
)

// A Target is one backend as one vhost has it checked.
type Target struct {
	Tenant string `json:"tenant,omitempty"`
	Vhost  string `json:"vhost"`
	URL    string `json:"url"` // of the backend, canonical
	// TLS is a text that is the same for the same settings of TLS towards the backend; empty: the default ones.
	TLS string `json:"tls,omitempty"`

	Path     string        `json:"path"`
	Host     string        `json:"host,omitempty"` // empty: the backend's own address
	Status   string        `json:"status"`
	Body     string        `json:"body,omitempty"`
	Interval time.Duration `json:"interval"`
	Timeout  time.Duration `json:"timeout"`
	Rise     int           `json:"rise"`
	Fall     int           `json:"fall"`
}

// id is the same for the same target on all nodes.
func (t Target) id() targetID { return idOf(t) }

// place is what a finding is of: a vhost's backend, however it is checked. It has one target at a time, two while its settings change.
func (t Target) place() targetID {
	return idOf(Target{Tenant: t.Tenant, Vhost: t.Vhost, URL: t.URL, TLS: t.TLS})
}

// findingsByPlace has nodes of builds that keep findings under other ids neither share a lease with this one nor take its findings for theirs.
const findingsByPlace = "2"

func idOf(t Target) targetID {
	text, err := json.Marshal(t)
	if err != nil {
		panic(err) // of texts and numbers
	}
	sum := sha256.Sum256(append(text, findingsByPlace...))
	return targetID(sum[:16])
}

type targetID [16]byte

func (id targetID) String() string { return hex.EncodeToString(id[:]) }

// ProberOptions configure a Prober. Probe is required.
type ProberOptions struct {
	// Probe checks a backend once, until ctx ends. An error says what is wrong.
	Probe func(ctx context.Context, t Target) error
	// Found is told when a backend goes down, or is up again (nil). It must not block, and must not call the Prober.
	Found func(t Target, f *Finding)
	// Counted is told of each check; nil: nobody is.
	Counted func(good bool)
	// Logger; nil discards.
	Logger *slog.Logger
}

// A Prober checks backends, each at its interval, while it is told to. It is safe for concurrent use.
type Prober struct {
	opts ProberOptions
	log  *slog.Logger
	wake chan struct{} // something is due earlier than before

	told seldom.Teller // changes

	mu      sync.Mutex
	targets map[Target]*probed
	places  map[targetID]*probed // the latest of each
	lanes   lanes
	leading bool
	digest  targetID            // of all targets: the exclusive or of their ids
	pending map[string]*Finding // by place: what others are to be told; nil: it is up
	theirs  map[string]Finding  // by place: what others have told last
}

// probed is a target and what is known of it.
type probed struct {
	Target
	id, place targetID
	due       time.Time
	lane      *lane
	at        int // in the lane's queue; -1: it is not there
	good, bad int // in a row
	finding   *Finding
	gone      bool
}

// NewProber makes a prober of nothing.
func NewProber(o ProberOptions) *Prober {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Counted == nil {
		o.Counted = func(bool) {}
	}
	return &Prober{
		opts: o, log: o.Logger, wake: make(chan struct{}, 1),
		targets: map[Target]*probed{}, places: map[targetID]*probed{}, lanes: lanes{byOwner: map[string]*lane{}}, pending: map[string]*Finding{},
	}
}

// Add has a target checked from now on. What is known of its place counts until then: what others have found, or what was found by other settings,
// whose target is to be removed after that.
func (p *Prober) Add(t Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.targets[t] != nil {
		return
	}
	id := t.id()
	e := &probed{Target: t, id: id, place: t.place(), at: -1}
	e.due = time.Now().Add(e.offset())
	if before := p.places[e.place]; before != nil {
		p.succeed(e, before)
	} else {
		p.adopt(e)
	}
	p.targets[t], p.places[e.place] = e, e
	p.digest = p.digest.xor(id)
	p.lanes.push(e)
	p.stir()
}

// succeed has a target begin where another of its place is: whoever changes settings neither brings back what is down nor, at every change, puts
// off the next check.
func (p *Prober) succeed(e, before *probed) {
	if before.at >= 0 && before.due.Before(e.due) {
		e.due = before.due
	}
	if e.finding = before.finding; e.finding != nil {
		p.opts.Found(e.Target, e.finding)
	}
}

// offset spreads the first checks of many targets over the interval.
func (e *probed) offset() time.Duration {
	return time.Duration(binary.BigEndian.Uint64(e.id[:]) % uint64(e.Interval))
}

// Remove ends that.
func (p *Prober) Remove(t Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.targets[t]
	if e == nil {
		return
	}
	delete(p.targets, t)
	p.digest = p.digest.xor(e.id)
	e.gone = true
	p.lanes.remove(e)
	if p.places[e.place] != e {
		return // another has taken over what is known
	}
	delete(p.places, e.place)
	if p.leading && e.finding != nil {
		p.pending[e.place.String()] = nil
	}
}

func (id targetID) xor(other targetID) targetID {
	for i := range id {
		id[i] ^= other[i]
	}
	return id
}

// Down returns how many places are down.
func (p *Prober) Down() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.places {
		if e.finding != nil {
			n++
		}
	}
	return n
}

// Leading reports whether this node checks.
func (p *Prober) Leading() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leading
}

// Digest is the same for nodes that have the same targets; empty: there are none.
func (p *Prober) Digest() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.targets) == 0 {
		return ""
	}
	return p.digest.String()
}

// Lead has the prober check, or leave that to another node. Who begins to lead goes on from what the other has found.
func (p *Prober) Lead(lead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if lead == p.leading {
		return
	}
	p.leading = lead
	now := time.Now()
	for _, e := range p.targets {
		e.good, e.bad = 0, 0
		if lead && e.at >= 0 && e.due.Before(now) { // since this node did not check: all at once would be too much
			e.due = now.Add(e.offset())
		}
	}
	p.lanes.reorder()
	clear(p.pending)
	p.stir()
}

func (p *Prober) stir() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run checks what is due until ctx ends, and returns ctx's error when the last check has ended.
func (p *Prober) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for ctx.Err() == nil {
		e, wait := p.next()
		if e != nil {
			running.Go(func() { p.check(ctx, e) })
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return ctx.Err()
}

// next takes out what is to be checked now; nil: nothing is, for the time that it returns.
func (p *Prober) next() (*probed, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.leading {
		return nil, idleWait
	}
	return p.lanes.next(time.Now())
}

// check checks once, and puts the target back into the queue.
func (p *Prober) check(ctx context.Context, e *probed) {
	begin := time.Now()
	limited, cancel := context.WithTimeout(ctx, e.Timeout)
	err := p.opts.Probe(limited, e.Target)
	cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !e.gone {
		e.due = begin.Add(e.Interval)
		p.lanes.push(e)
	}
	p.lanes.ended(e)
	p.stir()
	if p.places[e.place] != e { // it is gone, or about to be: another has taken over
		return
	}
	if ctx.Err() == nil && p.leading {
		p.opts.Counted(err == nil)
		p.note(e, err)
	}
}

// A change is that a backend was found down, or up again: no two are alike.
type change struct {
	finding *Finding
	up      bool
}

// note counts, and acts once there were enough in a row.
func (p *Prober) note(e *probed, err error) {
	if err == nil {
		e.good, e.bad = e.good+1, 0
		if e.finding == nil || e.good < e.Rise {
			return
		}
		was := e.finding
		e.finding = nil
		if t, ok := p.told.Tell(e.owner(), change{was, true}); ok {
			p.log.Info("backend is up again", append([]any{"vhost", e.Vhost, "tenant", e.Tenant, "backend", e.URL}, t.Args()...)...)
		}
	} else {
		e.good, e.bad = 0, e.bad+1
		if e.finding != nil || e.bad < e.Fall {
			return
		}
		e.finding = &Finding{URL: e.URL, Vhost: e.Vhost, Reason: err.Error(), Since: time.Now().UTC().Truncate(time.Second)}
		if t, ok := p.told.Tell(e.owner(), change{e.finding, false}); ok { // one owner may have thousands
			p.log.Warn("backend is down", append([]any{"vhost", e.Vhost, "tenant", e.Tenant, "backend", e.URL, "err", err}, t.Args()...)...)
		}
	}
	p.pending[e.place.String()] = e.finding
	p.opts.Found(e.Target, e.finding)
}
