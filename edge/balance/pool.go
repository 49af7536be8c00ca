package balance

import (
	"slices"
	"sync/atomic"
	"time"
)

// Spec is one backend of a pool.
type Spec[B any] struct {
	Backend B
	// Name tells the backend from others, the same on all nodes and over restarts: its URL. Hashes go by it.
	Name string
	// Weight is its share of the requests beside the others'. 0 means 1.
	Weight int
	// State is what is known of it; nil: one of its own.
	State *State
	// Check is what active checks say of it; nil: there are none.
	Check *Check
}

// Pool is a fixed set of members and a policy. All methods are safe for concurrent use and take no lock; the zero value is an
// empty pool.
type Pool[B any] struct {
	policy  Policy
	members []*Member[B]
	even    bool          // all have the same weight
	turn    atomic.Uint64 // round robin
}

// Member is one backend of a pool.
type Member[B any] struct {
	Backend B

	state  *State
	check  *Check
	weight int64
	seed   uint64 // hash of its name
}

// New makes a pool of the backends in their order. An unknown or empty policy is P2C. No backends
// make a pool from which nothing can be picked.
func New[B any](policy Policy, backends []Spec[B]) *Pool[B] {
	p := &Pool[B]{policy: policy, members: make([]*Member[B], len(backends)), even: true}
	for i, b := range backends {
		m := &Member[B]{Backend: b.Backend, state: b.State, check: b.Check, weight: int64(max(b.Weight, 1)), seed: Hash(b.Name)}
		if m.state == nil {
			m.state = NewState()
		}
		p.members[i] = m
		p.even = p.even && m.weight == p.members[0].weight
	}
	return p
}

// Members gives the members in the order of New. The slice must not be changed.
func (p *Pool[B]) Members() []*Member[B] { return p.members }

// Hashes reports whether the policy goes by the hash that Pick is given.
func (p *Pool[B]) Hashes() bool { return p.policy.hashes() }

// State gives what is known of the backend.
func (m *Member[B]) State() *State { return m.state }

// Check gives what active checks say of it; nil: there are none.
func (m *Member[B]) Check() *Check { return m.check }

// Weight gives its weight.
func (m *Member[B]) Weight() int { return int(m.weight) }

// out reports whether the member's health speaks against it.
func (m *Member[B]) out() bool { return m.check.Down() || m.state.out() }

// An Attempt is one request to one member, from Pick to Done. The zero value is none.
type Attempt[B any] struct {
	attempt
	pool   *Pool[B]
	member *Member[B]
}

// attempt is what a State has to know of one.
type attempt struct {
	turn    uint32
	trial   bool // it tries whether a backend that was ejected is back
	despite bool // see DespiteHealth
	back    bool // see BroughtBack
}

// Member is who gets the request; nil: the attempt is none.
func (a *Attempt[B]) Member() *Member[B] { return a.member }

// DespiteHealth reports whether the member was out when it was picked, and this is no trial.
func (a *Attempt[B]) DespiteHealth() bool { return a.despite }

// BroughtBack reports whether the answer that was reported has ended an ejection.
func (a *Attempt[B]) BroughtBack() bool { return a.back }

// Report says what became of it. It returns for how long that has ejected the backend; 0: not at all. The last backend of
// a pool that could serve is not ejected.
func (a *Attempt[B]) Report(o Outcome) (ejected time.Duration) {
	switch o {
	case Answered:
		a.back = a.member.state.succeed(a.turn)
	case Failed, Unreachable:
		return a.member.state.fail(a.attempt, o, func() bool { return a.pool.hasOther(a.member) })
	}
	return 0
}

// Done ends the attempt. Once it was called the attempt is none, and a further call does nothing.
func (a *Attempt[B]) Done() {
	if a.member != nil {
		a.member.state.inFlight.Add(-1)
		*a = Attempt[B]{}
	}
}

// hasOther reports whether somebody else could serve.
func (p *Pool[B]) hasOther(than *Member[B]) bool {
	return slices.ContainsFunc(p.members, func(m *Member[B]) bool {
		return m.state != than.state && !m.state.Drained() && !m.out()
	})
}

// mostDespiteHealth is how many members a request may fail at before only those that are well are left to it: where all of many
// are away, it does not ask each of them.
const mostDespiteHealth = 3

// Pick begins an attempt with a member that is not one of failed, where the request was before; false means that none is left. Policies
// that hash go by hash.
//
// Drained members are never picked. Those that are down or ejected are passed over, but for one request at a time that
// tries whether one whose ejection is over is back. Where more than half are out, ejections are ignored: it is then more
// likely that the judgement is wrong than that they all are. What failed once is not spread so again: it goes to who is well, if there
// is one. And rather than nobody, somebody who is out gets the request, last who is down: a pool is never empty because of its members' past.
func (p *Pool[B]) Pick(hash uint64, failed []*Member[B]) (Attempt[B], bool) {
	return p.pick(hash, passed[B]{failed: failed}, len(failed) > mostDespiteHealth)
}

// PickInstead is Pick for a request that would else wait for one of full: it finds nobody rather than somebody whose health
// speaks against it.
func (p *Pool[B]) PickInstead(hash uint64, failed, full []*Member[B]) (Attempt[B], bool) {
	return p.pick(hash, passed[B]{failed, full}, true)
}

func (p *Pool[B]) pick(hash uint64, not passed[B], wellOnly bool) (Attempt[B], bool) {
	var few [32]*Member[B] // pools with more allocate, while not all of them are well
	for range len(p.members) + 1 {
		candidates, healthy := p.candidates(few[:0], not, wellOnly)
		if len(candidates) == 0 {
			break
		}
		m := candidates[0]
		if len(candidates) > 1 {
			m = p.choose(candidates, hash)
		}
		if a, ok := p.begin(m, !healthy); ok {
			return a, true
		}
	}
	return Attempt[B]{}, false
}

// PickMember is Pick of a certain member. It is false where Pick would pass it over.
func (p *Pool[B]) PickMember(m *Member[B]) (Attempt[B], bool) {
	var few [32]*Member[B]
	candidates, healthy := p.candidates(few[:0], passed[B]{}, false)
	if !slices.Contains(candidates, m) {
		return Attempt[B]{}, false
	}
	return p.begin(m, !healthy)
}

// Begin begins an attempt with a certain member, whatever is known of it.
func (p *Pool[B]) Begin(m *Member[B]) Attempt[B] {
	a, _ := p.begin(m, true)
	return a
}

// begin begins an attempt with m. It fails if m has to be tried first, and another request does that.
func (p *Pool[B]) begin(m *Member[B], whateverItsHealth bool) (Attempt[B], bool) {
	trial, ok := m.state.claim()
	if !ok && !whateverItsHealth {
		return Attempt[B]{}, false
	}
	m.state.inFlight.Add(1)
	return Attempt[B]{attempt{m.state.turn.Load(), trial, !ok || m.check.Down(), false}, p, m}, true
}

// How well candidates have to be.
const (
	well    = iota // they are not out
	notDown        // they may be ejected
	anyhow
)

// candidates returns who may be picked, in list where that is not everybody. healthy: none of them is out. wellOnly: there may be
// nobody left then.
func (p *Pool[B]) candidates(list []*Member[B], not passed[B], wellOnly bool) (candidates []*Member[B], healthy bool) {
	there, out := 0, 0
	for _, m := range p.members {
		if m.state.Drained() {
			continue
		}
		there++
		if m.out() {
			out++
		}
	}
	if there == len(p.members) && out == 0 && len(not.failed)+len(not.full) == 0 {
		return p.members, true
	}
	least := well
	if 2*out > there && len(not.failed) == 0 {
		least = notDown
	}
	for ; least <= anyhow; least++ {
		for _, m := range p.members {
			if !m.state.Drained() && m.is(least) && !not.has(m) {
				list = append(list, m)
			}
		}
		if len(list) > 0 || wellOnly {
			return list, least == well
		}
	}
	return nil, false
}

// is reports whether the member is as well as that.
func (m *Member[B]) is(least int) bool {
	switch least {
	case well:
		return !m.out()
	case notDown:
		return !m.check.Down()
	}
	return true
}

// passed are the members that a request does not want: it failed there, or would have to wait.
type passed[B any] struct{ failed, full []*Member[B] }

// has reports whether m's backend is one of them, be it as another member: a URL may stand in a list twice.
func (p *passed[B]) has(m *Member[B]) bool {
	for _, list := range [...][]*Member[B]{p.failed, p.full} {
		for _, one := range list {
			if one.state == m.state {
				return true
			}
		}
	}
	return false
}
