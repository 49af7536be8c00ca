package balance

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// Policy is how a Pool chooses among its members.
type Policy string

// The policies.
const (
	P2C        Policy = "p2c"         // of two picked by chance, the one with less in flight
	Random     Policy = "random"      // any, with equal chance
	RoundRobin Policy = "round_robin" // one after the other
)

// avoidFor is how long a member that could not be reached is passed over while another is there.
const avoidFor = 5 * time.Second

// Pool is a fixed set of members and a policy. All methods are safe for concurrent use and take no
// lock; the zero value is an empty pool.
type Pool[B any] struct {
	policy  Policy
	members []*Member[B]
	turn    atomic.Uint64 // round robin
	health  health
}

// health is shared by a pool and its members. Times are nanoseconds since start, and 0 means never.
type health struct {
	start time.Time
	until atomic.Int64 // until when any member may have to be avoided
}

func (h *health) now() int64 { return int64(time.Since(h.start)) + 1 }

// Member is one backend of a pool, with its counters.
type Member[B any] struct {
	Backend B

	health   *health
	inFlight atomic.Int64
	avoid    atomic.Int64 // until when not to prefer it
}

// New makes a pool of the backends in their order. An unknown or empty policy is P2C. No backends
// make a pool from which nothing can be picked.
func New[B any](policy Policy, backends []B) *Pool[B] {
	p := &Pool[B]{policy: policy, members: make([]*Member[B], len(backends))}
	p.health.start = time.Now()
	for i, b := range backends {
		p.members[i] = &Member[B]{Backend: b, health: &p.health}
	}
	return p
}

// Members gives the members in the order of New. The slice must not be changed.
func (p *Pool[B]) Members() []*Member[B] { return p.members }

// Begin counts a request that goes to the member. Each Begin needs one Done.
func (m *Member[B]) Begin() { m.inFlight.Add(1) }

// Done ends what Begin began. failed says that the backend could not be reached: it is then not
// preferred for 5 s, unless a later attempt succeeds.
func (m *Member[B]) Done(failed bool) {
	m.inFlight.Add(-1)
	if !failed {
		if m.avoid.Load() != 0 { // a plain store would bounce the cache line on every request
			m.avoid.Store(0)
		}
		return
	}
	until := m.health.now() + int64(avoidFor)
	m.avoid.Store(until)
	for {
		old := m.health.until.Load()
		if old >= until || m.health.until.CompareAndSwap(old, until) {
			return
		}
	}
}

// InFlight gives the number of requests between Begin and Done.
func (m *Member[B]) InFlight() int64 { return m.inFlight.Load() }

// Avoided reports whether the member is at present not preferred.
func (m *Member[B]) Avoided() bool {
	until := m.avoid.Load()
	return until != 0 && m.health.now() < until
}

// Pick chooses a member that is not one of tried; false means that none is left. Members that
// could lately not be reached are chosen only when nothing else is left: a pool is never empty
// because of its members' past.
func (p *Pool[B]) Pick(tried []*Member[B]) (*Member[B], bool) {
	candidates := p.members
	if len(tried) > 0 || p.anyAvoided() {
		var few [16]*Member[B]
		candidates = p.preferred(few[:0], tried)
	}
	switch len(candidates) {
	case 0:
		return nil, false
	case 1:
		return candidates[0], true
	}
	return p.choose(candidates), true
}

// anyAvoided reports whether the fast path over all members would be wrong. In good times it
// costs one load and does not read the clock.
func (p *Pool[B]) anyAvoided() bool {
	until := p.health.until.Load()
	if until == 0 {
		return false
	}
	if p.health.now() < until {
		return true
	}
	p.health.until.CompareAndSwap(until, 0)
	return false
}

// preferred appends to list the untried members that need not be avoided or, if there are none, all untried ones.
func (p *Pool[B]) preferred(list, tried []*Member[B]) []*Member[B] {
	untried := 0
	for _, m := range p.members {
		if slices.Contains(tried, m) {
			continue
		}
		untried++
		if !m.Avoided() {
			list = append(list, m)
		}
	}
	if len(list) > 0 || untried == 0 {
		return list
	}
	for _, m := range p.members {
		if !slices.Contains(tried, m) {
			list = append(list, m)
		}
	}
	return list
}

// choose applies the policy to two or more candidates.
func (p *Pool[B]) choose(candidates []*Member[B]) *Member[B] {
	n := len(candidates)
	switch p.policy {
	case RoundRobin:
		return candidates[(p.turn.Add(1)-1)%uint64(n)]
	case Random:
		return candidates[rand.IntN(n)]
	default:
		i, j := rand.IntN(n), rand.IntN(n-1)
		if j >= i {
			j++ // two different ones, each pair with equal chance
		}
		if candidates[j].inFlight.Load() < candidates[i].inFlight.Load() {
			i = j
		}
		return candidates[i]
	}
}
