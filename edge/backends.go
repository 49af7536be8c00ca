package edge

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"gatehouse/edge/balance"
	"gatehouse/edge/health"
	"gatehouse/edge/upstream"
	"gatehouse/routes"
)

// idleToBackend is how many unused connections are kept for all vhosts of a tenant
// together that name the same backend.
const idleToBackend = 256

// backends are the pools of connections to backends: one for all vhosts of a tenant
// that name the same one. A pool to each vhost would hold its connections cold, and many
// more than work: with 10,000 vhosts on one application server each request would wait
// for a connection that was last used a second ago.
//
// No pool is shared by tenants: what one of them makes his backend answer out of turn
// must never reach another's client. The zero value is empty; it is safe for concurrent use.
type backends struct {
	mu     sync.Mutex
	pools  map[poolKey]*sharedPool
	states map[backendKey]*sharedState
	byURL  map[string]*sharedState // the first of those with that URL
	drains health.Drained          // never changed, but replaced
	// left are states that no site holds, and that requests were still on their way by; swept is when that was looked at.
	left  map[backendKey]struct{}
	swept time.Time
}

// A poolKey is all that a pool of connections depends on.
type poolKey struct {
	owner              string // whose requests alone use it
	url                string
	connect, firstByte time.Duration
	tls                string // see tlsKey
}

// A sharedPool counts the sites that hold it.
type sharedPool struct {
	*upstream.Pool
	sites int
}

// A backendKey is whose backend it is, and which. What is known of it is held by that: it is the same for all vhosts of a
// tenant, survives all changes of their settings but those of TLS and timeouts, and one tenant's requests cannot eject another's backend. With wrong
// settings of TLS nothing reaches it, which says nothing of it to vhosts that have others; and what does not answer within a millisecond
// is well for those that wait longer.
type backendKey struct {
	owner string // as in a poolKey
	url   string // as upstream.Address writes it
	tls   string // as in a poolKey
	// connect and firstByte are timeouts below the default ones; 0: they are not. What took longer than those is nobody's impatience.
	connect, firstByte time.Duration
}

func newBackendKey(owner, url, tls string, connect, firstByte time.Duration) backendKey {
	k := backendKey{owner: owner, url: url, tls: tls}
	if connect < routes.DefaultConnectTimeout {
		k.connect = connect
	}
	if firstByte < routes.DefaultFirstByte {
		k.firstByte = firstByte
	}
	return k
}

// A sharedState counts the sites that hold it.
type sharedState struct {
	*balance.State
	sites int

	key          backendKey
	before, next *sharedState // of other owners or settings, with the same URL
}

// A holding is what one site holds of the backends, until it is given back.
type holding struct {
	from   *backends
	keys   []poolKey    // each once
	states []backendKey // each once
	once   sync.Once
}

// hold begins a site's holding. A site that nobody gives back, since its route was
// replaced while a last request compiled it, gives back when it is no longer in use.
func (b *backends) hold(st *site) *holding {
	h := &holding{from: b}
	runtime.AddCleanup(st, (*holding).release, h)
	return h
}

// pool returns the pool of a key, which open makes if no site has it.
func (h *holding) pool(key poolKey, open func() (*upstream.Pool, error)) (*upstream.Pool, error) {
	b := h.from
	b.mu.Lock()
	defer b.mu.Unlock()
	shared := b.pools[key]
	for _, held := range h.keys {
		if held == key {
			return shared.Pool, nil
		}
	}
	if shared == nil {
		opened, err := open()
		if err != nil {
			return nil, err
		}
		shared = &sharedPool{Pool: opened}
		if b.pools == nil {
			b.pools = map[poolKey]*sharedPool{}
		}
		b.pools[key] = shared
	}
	shared.sites++
	h.keys = append(h.keys, key)
	return shared.Pool, nil
}

// state returns what is known of a backend.
func (h *holding) state(key backendKey) *balance.State {
	b := h.from
	b.mu.Lock()
	defer b.mu.Unlock()
	shared := b.states[key]
	if slices.Contains(h.states, key) {
		return shared.State
	}
	if shared == nil {
		shared = &sharedState{State: balance.NewState(), key: key}
		shared.SetDrained(b.drains.Find(key.url, key.tenant()) != nil)
		b.put(shared)
	}
	shared.sites++
	h.states = append(h.states, key)
	return shared.State
}

// put adds a state. The lock is held.
func (b *backends) put(shared *sharedState) {
	if b.states == nil {
		b.states, b.byURL = map[backendKey]*sharedState{}, map[string]*sharedState{}
	}
	b.states[shared.key] = shared
	if shared.next = b.byURL[shared.key.url]; shared.next != nil {
		shared.next.before = shared
	}
	b.byURL[shared.key.url] = shared
}

// forget takes a state out. The lock is held.
func (b *backends) forget(shared *sharedState) {
	delete(b.states, shared.key)
	delete(b.left, shared.key)
	if shared.next != nil {
		shared.next.before = shared.before
	}
	switch {
	case shared.before != nil:
		shared.before.next = shared.next
	case shared.next != nil:
		b.byURL[shared.key.url] = shared.next
	default:
		delete(b.byURL, shared.key.url)
	}
}

// release gives back what the site holds; a second call does nothing. Pools that no
// other site holds close: idle connections at once, busy ones when their answer has ended.
func (h *holding) release() {
	h.once.Do(func() {
		b := h.from
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, key := range h.keys {
			shared := b.pools[key]
			if shared.sites--; shared.sites == 0 {
				delete(b.pools, key)
				shared.Close()
			}
		}
		for _, key := range h.states {
			if shared := b.states[key]; shared.sites > 1 {
				shared.sites--
			} else {
				b.leave(shared)
			}
		}
		if time.Since(b.swept) > sweepEvery {
			b.sweep()
		}
	})
}

// sweepEvery is how often states that no site holds are looked at while sites go.
const sweepEvery = time.Second

// leave forgets a state that no site holds any more, or has that wait until nothing is on its way by it: who drains a backend counts that.
// The lock is held.
func (b *backends) leave(shared *sharedState) {
	shared.sites = 0
	if shared.InFlight() == 0 {
		b.forget(shared)
		return
	}
	if b.left == nil {
		b.left = map[backendKey]struct{}{}
	}
	b.left[shared.key] = struct{}{}
}

// sweep forgets the states by which nothing is on its way any more. The lock is held.
func (b *backends) sweep() {
	b.swept = time.Now()
	for key := range b.left {
		switch shared := b.states[key]; {
		case shared.sites > 0: // one has come back to it
			delete(b.left, key)
		case shared.InFlight() == 0:
			b.forget(shared)
		}
	}
}
