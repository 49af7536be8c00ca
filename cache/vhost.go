package cache

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// A Vhost is what a store knows of one vhost: whose it is, and what it has done for it. Store.Vhost makes them; they stay
// for as long as the store, so that a vhost whose settings change keeps its figures. It is safe for concurrent use.
type Vhost struct {
	name   string
	tenant *Tenant
	last   atomic.Uint64 // sequence of the last purge that may concern its entries; read by every hit
	purges purges        // its own

	invalidated invalidations

	_ [64]byte // what follows is written by every request: on another line of the processor's caches

	bytes     atomic.Int64 // cost of what is stored
	entries   atomic.Int64
	evictions atomic.Uint64
	requests  [resultCount]atomic.Uint64
	saved     atomic.Uint64 // bytes of bodies that no backend sent
	marked    atomic.Uint64 // requests that went on their own, see Figures.HitForMiss
}

// A Result is what became of a request to a vhost with a cache.
type Result uint8

// The results, in the order of Figures.Requests.
const (
	ResultHit       Result = iota // answered from the store, fresh
	ResultStale                   // answered from the store, although stale
	ResultCollapsed               // answered from what an equal request brought
	ResultValidated               // the backend found good what is stored
	ResultMiss                    // the backend answered, and it could have been stored
	ResultBypass                  // the cache did not deal with it
	resultCount
)

// String is the result's name in figures and metrics.
func (r Result) String() string {
	return [...]string{"hit", "stale", "collapsed", "validated", "miss", "bypass"}[r]
}

// vhosts are all vhosts of a store, and their tenants.
type vhosts struct {
	mu      sync.Mutex
	by      map[vhostKey]*Vhost
	tenants map[string]*Tenant
}

type vhostKey struct{ tenant, name string }

// Vhost returns the store's account of a vhost, making it if it is the first to ask.
func (s *Store) Vhost(tenant, name string) *Vhost {
	vs := &s.vhosts
	vs.mu.Lock()
	defer vs.mu.Unlock()
	key := vhostKey{tenant, name}
	if v := vs.by[key]; v != nil {
		return v
	}
	if vs.by == nil {
		vs.by = map[vhostKey]*Vhost{}
	}
	key = vhostKey{strings.Clone(tenant), strings.Clone(name)}
	owner := key.tenant
	if owner == "" {
		owner = "\x00" + key.name // a vhost without tenant is one of its own
	}
	t := vs.tenant(owner, key.tenant)
	v := &Vhost{name: key.name, tenant: t}
	v.last.Store(max(t.purges.last.Load(), s.purges.last.Load())) // what is restored has not been through these
	vs.by[key] = v
	return v
}

// tenant returns the store's account of a tenant with a name.
func (s *Store) tenant(name string) *Tenant {
	s.vhosts.mu.Lock()
	defer s.vhosts.mu.Unlock()
	name = strings.Clone(name)
	return s.vhosts.tenant(name, name)
}

func (vs *vhosts) tenant(owner, name string) *Tenant {
	t := vs.tenants[owner]
	if t == nil {
		if vs.tenants == nil {
			vs.tenants = map[string]*Tenant{}
		}
		t = &Tenant{name: name}
		vs.tenants[owner] = t
	}
	return t
}

// Tenant is the account of the vhost's tenant, which is the vhost's alone if it has none.
func (v *Vhost) Tenant() *Tenant { return v.tenant }

// Count counts a request and, of one that a backend did not answer, the bytes of the body that it got.
func (v *Vhost) Count(r Result, saved int64) {
	v.requests[r].Add(1)
	if saved > 0 {
		v.saved.Add(uint64(saved))
	}
}

// Figures are what a store knows of one vhost, since it was opened.
type Figures struct {
	Tenant, Vhost string
	Bytes         int64  // cost of what is stored
	Entries       int64  // responses
	Evictions     uint64 // responses that left for others
	Saved         uint64 // bytes of bodies that no backend sent
	// HitForMiss is the requests that found a hit-for-miss mark: the answer to an equal one could not be shared a moment ago,
	// so they waited for no other.
	HitForMiss uint64
	Requests   [resultCount]uint64
}

// Figures returns those of all vhosts, by tenant and name. They are read one by one, while others count.
func (s *Store) Figures() []Figures {
	s.vhosts.mu.Lock()
	out := make([]Figures, 0, len(s.vhosts.by))
	for _, v := range s.vhosts.by {
		f := Figures{
			Tenant: v.tenant.name, Vhost: v.name, Bytes: v.bytes.Load(), Entries: v.entries.Load(),
			Evictions: v.evictions.Load(), Saved: v.saved.Load(), HitForMiss: v.marked.Load(),
		}
		for i := range f.Requests {
			f.Requests[i] = v.requests[i].Load()
		}
		out = append(out, f)
	}
	s.vhosts.mu.Unlock()
	slices.SortFunc(out, func(a, b Figures) int {
		if c := strings.Compare(a.Tenant, b.Tenant); c != 0 {
			return c
		}
		return strings.Compare(a.Vhost, b.Vhost)
	})
	return out
}
