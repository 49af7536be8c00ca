package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Names are looked up through the system's resolver, which tells no TTL; docs/rationale.md says why it is used all the same.
const (
	refreshAfter = 10 * time.Second // age from which addresses are asked for anew, behind the request that finds them so
	coldAfter    = 30 * time.Second // what nobody asked for in so long is asked for before it is used …
	coldWait     = time.Second      // … for at most so long, where addresses are known
	retryKnown   = 5 * time.Second  // after a failed lookup, where addresses are known
	retryUnknown = time.Second      // where none are
	lookupTime   = 5 * time.Second  // bounds one lookup, with its wait for a slot
	keepSilent   = 24 * time.Hour   // how long the last good addresses are used while name servers fail or are silent (RFC 8767 §5)
	keepAbsent   = 10 * time.Minute // and while they say that there is no such name

	lookupsAtOnce = 8  // of one owner: his slow name servers hold up nobody else's names
	mostAddresses = 64 // of one name
)

// ResolverOptions are the settings of a Resolver. The zero value asks the system's resolver and tells nobody.
type ResolverOptions struct {
	// Lookup returns a name's addresses. Nil: net.DefaultResolver, with the system's hosts file and search list.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Observe is told of each lookup, by the goroutine that made it. Nil: nobody is.
	Observe func(Lookup)
}

// A Lookup is what one lookup brought.
type Lookup struct {
	Owner, Host string
	Addresses   []netip.Addr // in force from now on, sorted; those of before where Err is not nil
	Changed     bool         // they are others than before
	Err         error        // nil: the name servers gave addresses
	Again       bool         // the lookup before failed, too
}

// A Resolver knows the addresses of backends' names. Pools of one owner share what is known of a name, those of different
// owners share nothing. Nothing runs while no pool is asked. It is safe for concurrent use.
type Resolver struct {
	opts  ResolverOptions
	now   func() time.Duration // since some moment; not the wall clock, which may jump
	ctx   context.Context      // of lookups
	stop  context.CancelFunc
	under sync.WaitGroup // lookups

	mu     sync.Mutex
	closed bool
	names  map[nameKey]*name
	slots  map[string]*slots // by owner
}

type nameKey struct{ owner, host string }

// slots bound an owner's lookups at a time.
type slots struct {
	taken chan struct{}
	names int // that use them
}

// NewResolver makes a Resolver, to be closed when no pool uses it any more.
func NewResolver(o ResolverOptions) *Resolver {
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	start := time.Now()
	r := &Resolver{
		opts: o, now: func() time.Duration { return time.Since(start) },
		names: map[nameKey]*name{}, slots: map[string]*slots{},
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// Close ends the lookups that are under way and waits for them. Round trips go on with the addresses that are known.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.under.Wait()
}

// hold returns what is known of a name. Each hold needs one release.
func (r *Resolver) hold(owner, host string) *name {
	key := nameKey{owner, host}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.names[key]
	if n == nil {
		s := r.slots[owner]
		if s == nil {
			s = &slots{taken: make(chan struct{}, lookupsAtOnce)}
			r.slots[owner] = s
		}
		s.names++
		n = &name{resolver: r, key: key, slots: s}
		r.names[key] = n
	}
	n.pools++
	return n
}

// release gives back what hold returned. It may still be used: a round trip after Pool.Close works.
func (r *Resolver) release(n *name) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n.pools--; n.pools > 0 {
		return
	}
	delete(r.names, n.key)
	if n.slots.names--; n.slots.names == 0 {
		delete(r.slots, n.key.owner)
	}
}

// begin runs a lookup in a goroutine of its own, unless the resolver is closed.
func (r *Resolver) begin(lookUp func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.under.Go(lookUp)
	return true
}

// A name is what is known of one name of an owner.
type name struct {
	resolver *Resolver
	key      nameKey
	slots    *slots
	pools    int // that hold it; guarded by Resolver.mu

	addresses atomic.Pointer[[]netip.Addr] // sorted, never changed; nil: not known
	due       atomic.Int64                 // when to look it up next, on the resolver's clock
	cold      atomic.Bool                  // see coldAfter

	mu     sync.Mutex
	flight chan struct{}  // closed at the end of the lookup that is under way; nil: none is
	began  time.Duration  // the last lookup
	good   time.Duration  // the last one that gave addresses
	absent *time.Duration // the first one since then that said there is no such name
	err    error          // of the last one
}

// known returns the addresses without waiting, and has them asked for behind the caller where that is due; nil: none are known.
func (n *name) known() []netip.Addr {
	if int64(n.resolver.now()) >= n.due.Load() {
		n.refresh()
	}
	if a := n.addresses.Load(); a != nil {
		return *a
	}
	return nil
}

// refresh begins a lookup, if it is still due.
func (n *name) refresh() {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.resolver.now()
	if n.flight != nil || int64(now) < n.due.Load() {
		return
	}
	done := make(chan struct{})
	if !n.resolver.begin(func() { n.lookUp(done) }) {
		return
	}
	n.cold.Store(now-n.began >= coldAfter)
	n.flight, n.began = done, now
	n.due.Store(int64(now + 2*lookupTime)) // until it has ended nobody need ask
}

// resolve returns the addresses. It waits for a lookup where none are known, and for a moment where what is known is old
// because nobody asked.
func (n *name) resolve(ctx context.Context) ([]netip.Addr, error) {
	known := n.known()
	if known != nil && !n.cold.Load() {
		return known, nil
	}
	n.mu.Lock()
	flight, err := n.flight, n.err
	if n.resolver.now()-n.good >= keepSilent {
		known = nil
	}
	n.mu.Unlock()
	var enough <-chan time.Time // nil: only the lookup is
	if known != nil {
		timer := time.NewTimer(coldWait)
		defer timer.Stop()
		enough = timer.C
	}
	if flight != nil {
		select {
		case <-flight:
			n.mu.Lock()
			err = n.err
			n.mu.Unlock()
		case <-enough:
			return known, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if a := n.addresses.Load(); a != nil {
		return *a, nil
	}
	if err == nil {
		err = errClosed
	}
	return nil, err
}

var (
	errClosed = errors.New("no names are looked up any more")
	errBusy   = errors.New("too many names are being looked up for the same tenant")
)

// lookUp asks for the addresses.
func (n *name) lookUp(done chan struct{}) {
	ctx, cancel := context.WithTimeout(n.resolver.ctx, lookupTime)
	defer cancel()
	var found []netip.Addr
	err := errBusy
	select {
	case n.slots.taken <- struct{}{}:
		found, err = n.resolver.opts.Lookup(ctx, n.key.host)
		<-n.slots.taken
	case <-ctx.Done():
	}
	if err == nil && len(found) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: n.key.host, IsNotFound: true}
	}
	told := n.learn(found, err)
	close(done)
	if n.resolver.opts.Observe != nil && n.resolver.ctx.Err() == nil {
		n.resolver.opts.Observe(told)
	}
}

// learn takes a lookup's result over.
func (n *name) learn(found []netip.Addr, err error) Lookup {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.resolver.now()
	told := Lookup{Owner: n.key.owner, Host: n.key.host, Err: err, Again: err != nil && n.err != nil}
	before := n.addresses.Load()
	if err == nil {
		fresh := tidy(found)
		if before == nil || !slices.Equal(*before, fresh) {
			n.addresses.Store(&fresh)
			told.Changed = before != nil
		}
		n.good, n.absent = now, nil
	} else if before != nil && n.outlived(now, err) {
		n.addresses.Store(nil)
		told.Changed = true
	}
	wait := refreshAfter
	if after := n.addresses.Load(); after == nil {
		wait = retryUnknown
	} else {
		told.Addresses = *after
		if err != nil {
			wait = retryKnown
		}
	}
	n.err, n.flight = err, nil
	n.cold.Store(false)
	n.due.Store(int64(now + wait))
	return told
}

// outlived reports whether a lookup that failed ends the use of the last good addresses.
func (n *name) outlived(now time.Duration, err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound && n.absent == nil {
		n.absent = &now
	}
	return now-n.good >= keepSilent || n.absent != nil && now-*n.absent >= keepAbsent
}

// tidy sorts addresses, so that two answers can be compared, and leaves doubles and too many out.
func tidy(found []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, len(found))
	for i, a := range found {
		out[i] = a.Unmap()
	}
	slices.SortFunc(out, netip.Addr.Compare)
	out = slices.Compact(out)
	return slices.Clip(out[:min(len(out), mostAddresses)])
}
