package routes

import (
	"sync"
	"sync/atomic"
)

// A Route is one vhost of a table with its tenant. All but the instance is
// immutable. What each request asks for stands first, on one line of a processor's cache.
type Route struct {
	// Name is the vhost's name.
	Name string
	// Vhost is the last good form; nil: there was never one, and the route
	// answers for no host.
	Vhost *Vhost

	instance atomic.Value                // nil until it is compiled
	rare     atomic.Pointer[rareOfRoute] // nil: nothing of it
	// Tenant is the tenant's document in its last good form; nil: none.
	Tenant *Tenant

	mu sync.Mutex // of compiling, and of what of rare says so
}

// rareOfRoute is what few of a million routes have.
type rareOfRoute struct {
	problems Problems // see Route.Problems
	kept     any      // see Keep
	below    *pathSet // nil: none

	// Of a path vhost: what its host's vhost says; see TLS and IsSuspended.
	hostTLS       *TLS
	hostSuspended bool

	// With mu held:
	previous any    // the instance of the route that this one replaced
	before   *Route // that was being compiled when this one replaced it: previous is what comes of that
}

func (r *Route) key() string { return r.Name }

// rarely returns the rare part to read of.
func (r *Route) rarely() *rareOfRoute {
	if rare := r.rare.Load(); rare != nil {
		return rare
	}
	return &nothingRare
}

var nothingRare rareOfRoute // which nobody writes to

// toRare returns the rare part to write to, of a route that is not published yet.
func (r *Route) toRare() *rareOfRoute {
	if r.rare.Load() == nil {
		r.rare.Store(&rareOfRoute{})
	}
	return r.rare.Load()
}

// Problems is what is wrong with the present document; Vhost is then an
// earlier form of it.
func (r *Route) Problems() Problems { return r.rarely().problems }

// Instance returns what the server made of the route, and makes it at the first
// call: compile runs once per route, with the instance of the route that this
// one replaced (nil if there was none) so that running state can be taken over. It must not return nil.
// Safe for concurrent use. From the second call on it neither locks nor allocates.
func (r *Route) Instance(compile func(r *Route, previous any) any) any {
	if made := r.instance.Load(); made != nil {
		return made
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if made := r.instance.Load(); made != nil {
		return made
	}
	previous, before := r.rarely().previous, r.rarely().before
	for b := before; b != nil; b = before {
		b.mu.Lock() // until it has been compiled
		previous, before = b.inheritance()
		b.mu.Unlock()
	}
	made := compile(r, previous)
	if rare := r.rare.Load(); rare != nil {
		rare.previous, rare.before = nil, nil
	}
	r.instance.Store(made)
	return made
}

// Keep has the route hold something of the server's beside its instance, for those who
// meet the route before anybody asks for that. It is called before the server has the route's
// table, with no nil; others may read the route meanwhile.
func (r *Route) Keep(v any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := rareOfRoute{kept: v}
	if rare := r.rare.Load(); rare != nil {
		next = *rare
		next.kept = v
	}
	r.rare.Store(&next)
}

// Kept returns what Keep was given; nil: nothing.
func (r *Route) Kept() any { return r.rarely().kept }

// Compiled returns the instance if there is one, without making it.
func (r *Route) Compiled() any { return r.instance.Load() }

// successor returns a route for the same name that inherits r's running state.
func (r *Route) successor(v *Vhost, t *Tenant, problems Problems) *Route {
	next := &Route{Vhost: v, Tenant: t}
	if len(problems) > 0 {
		next.toRare().problems = problems
	}
	if r == nil {
		return next
	}
	next.Name = r.Name
	previous, before := any(nil), r // compiling may take seconds, for which no change of other routes must wait
	if r.mu.TryLock() {
		previous, before = r.inheritance()
		r.mu.Unlock()
	}
	if previous != nil || before != nil {
		next.toRare().previous, next.toRare().before = previous, before
	}
	return next
}

// inheritance returns what a successor begins with, with mu held: an instance, or the route whose instance it will be.
func (r *Route) inheritance() (previous any, before *Route) {
	if made := r.instance.Load(); made != nil {
		return made, nil
	}
	return r.rarely().previous, r.rarely().before
}
