package cache

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
)

// minShare is the least that a tenant without a share of its own may hold when memory is short.
const minShare = 1 << 20

// A Tenant is what a store knows of one tenant: what its vhosts hold together, and in which order it came.
type Tenant struct {
	name   string
	purges purges // of all its vhosts
	bytes  atomic.Int64
	share  atomic.Int64 // that it was given; 0: an equal part of what is left
	taken  atomic.Int64 // what of it counts in quotas.given: the share, as long as the tenant holds anything

	filling  atomic.Int64 // bytes of bodies on their way in, see Store.reserve
	objects  atomic.Int64
	sketch   atomic.Pointer[sketch]
	halvings atomic.Uint32 // of the counts, of objects' too

	mu    sync.Mutex
	queue []place // from head on, the oldest first
	head  int
}

// A place is an object's in its tenant's queue. Another object under the same key has another one.
type place struct{ hash, seq uint64 }

// quotas keep tenants from each other's memory. While there is room, everybody takes what he needs. When there is none, who
// holds more than his share makes room: by what he has not used for longest, one round of the clock at a time. So a
// tenant's flood costs him his own pages. Between tenants within their shares, and where there is only one, ristretto's
// policy decides by how often what is asked for.
type quotas struct {
	active atomic.Int64           // tenants that hold anything
	given  atomic.Int64           // the shares of those of them that were given one, together
	givers atomic.Int64           // to how many
	debtor atomic.Pointer[Tenant] // who held more than his share when it was last looked
}

// SetShare gives a tenant a share of the memory in bytes, of which it is certain when memory is short; 0: an equal part
// of what is left, the default. A share takes nothing from others as long as its tenant has nothing stored.
func (s *Store) SetShare(t *Tenant, bytes int64) {
	t.share.Store(max(bytes, 0))
	s.quotas.recount(t)
}

// Share is what SetShare has given the tenant.
func (t *Tenant) Share() int64 { return t.share.Load() }

// recount has a tenant's share count if the tenant holds anything, and only then: those who hold nothing must not have the
// parts of the others be reckoned wrongly. It is called after each change of either; whoever comes last sees what all
// have changed.
func (q *quotas) recount(t *Tenant) {
	for {
		share := int64(0)
		if t.bytes.Load() > 0 {
			share = t.share.Load()
		}
		old := t.taken.Swap(share)
		if old == share {
			return
		}
		q.given.Add(share - old)
		switch {
		case old == 0:
			q.givers.Add(1)
		case share == 0:
			q.givers.Add(-1)
		}
	}
}

// shareOf is what a tenant may hold when memory is short.
func (s *Store) shareOf(t *Tenant) int64 {
	if given := t.share.Load(); given > 0 {
		return given
	}
	others := max(s.quotas.active.Load()-s.quotas.givers.Load(), 1)
	return max((s.ledger.max.Load()-s.quotas.given.Load())/others, minShare)
}

// book adds to what a tenant holds.
func (q *quotas) book(t *Tenant, bytes int64) {
	switch now := t.bytes.Add(bytes); {
	case bytes > 0 && now == bytes:
		q.active.Add(1)
		q.recount(t)
	case bytes < 0 && now == 0:
		q.active.Add(-1)
		q.recount(t)
	}
}

// makeRoom has somebody make room for growth more bytes under a key, if there is none and that is not for the policy to
// decide. It is false if the key's tenant would have to, and what he has is worth more. The caller holds no lock.
func (s *Store) makeRoom(v *Vhost, hash uint64, growth int64) (uses int32, ok bool) {
	if v == nil || s.ledger.fits(growth) || s.quotas.active.Load() < 2 {
		return 0, true
	}
	if v.tenant.bytes.Load()+growth > s.shareOf(v.tenant) {
		uses = v.tenant.wanted(hash)
		return uses, s.evictOf(v.tenant, growth, worth(uses, growth))
	}
	if payer := s.overdrawn(); payer != nil {
		s.evictOf(payer, growth, math.Inf(1))
	}
	return 0, true
}

// A sketch counts how often what is not stored was asked for, by the hashes of keys. Two keys may share a count.
type sketch struct {
	counts []atomic.Uint32
	total  atomic.Int64
}

// wanted counts that a key is asked for, and returns how often it was lately. Most of a flood is asked for once, and
// nothing that is in use has to make room for it.
func (t *Tenant) wanted(hash uint64) int32 {
	k := t.sketch.Load()
	if size := min(max(8*int(t.objects.Load()), 1<<13), 1<<19); k == nil || len(k.counts) < size/4 {
		k = &sketch{counts: make([]atomic.Uint32, 1<<bits.Len(uint(size-1)))}
		t.sketch.Store(k)
	}
	size := uint64(len(k.counts))
	if k.total.Add(1) > int64(size) { // what was asked for long ago counts half
		k.total.Store(int64(size / 2))
		t.halvings.Add(1)
		for i := range k.counts {
			k.counts[i].Store(k.counts[i].Load() / 2)
		}
	}
	a, b := k.counts[hash%size].Add(1), k.counts[(hash>>32)%size].Add(1)
	return int32(min(a, b, maxUses))
}

// overdrawn returns a tenant that holds more than its share, the one who does by most when it was looked; nil: none does.
func (s *Store) overdrawn() *Tenant {
	over := func(t *Tenant) int64 { return t.bytes.Load() - s.shareOf(t) }
	if t := s.quotas.debtor.Load(); t != nil && over(t) > 0 {
		return t
	}
	var worst *Tenant
	most := int64(0)
	s.vhosts.mu.Lock()
	for _, t := range s.vhosts.tenants {
		if by := over(t); by > most {
			worst, most = t, by
		}
	}
	s.vhosts.mu.Unlock()
	s.quotas.debtor.Store(worst)
	return worst
}

// queued notes that an object of t is stored.
func (s *Store) queued(t *Tenant, p place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.head > 64 && t.head > len(t.queue)/2 {
		t.queue = t.queue[:copy(t.queue, t.queue[t.head:])]
		t.head = 0
	}
	t.queue = append(t.queue, p)
	if int64(len(t.queue)-t.head) < 2*t.objects.Load()+1024 {
		return
	}
	// Most are places of objects that others have replaced, or that left otherwise.
	kept := t.queue[:0]
	for _, p := range t.queue[t.head:] {
		if s.at(p) != nil {
			kept = append(kept, p)
		}
	}
	t.queue, t.head = kept, 0
}

// at returns the object whose place p is; nil: it is gone.
func (s *Store) at(p place) *object {
	o, _ := s.cache.Get(p.hash)
	if o == nil || o.seq != p.seq || o.released.Load() {
		return nil
	}
	return o
}

// next takes the oldest place out of the queue.
func (t *Tenant) next() (p place, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.head == len(t.queue) {
		return p, false
	}
	p = t.queue[t.head]
	t.head++
	return p, true
}

const (
	// mostSteps bounds what one Put does to make room: a large object may have to wait for the next.
	mostSteps = 256
	// sampled is how many objects are compared to find the one that is worth least.
	sampled = 5
)

// evictOf drops what is worth least of the oldest that t has, until bytes are free. It is false, and nothing more is dropped,
// once that is worth as much as the given worth.
func (s *Store) evictOf(t *Tenant, bytes int64, worth float64) bool {
	for range mostSteps {
		if s.ledger.fits(bytes) {
			return true
		}
		least, found := s.sample(t)
		switch {
		case !found:
			return true
		case least.o.worth(t.halvings.Load()) >= worth && !least.o.invalid.Load():
			s.queued(t, least.place)
			return false
		}
		s.drop(least.o)
	}
	return true
}

type candidate struct {
	o *object
	place
}

// sample takes the least worthy of the oldest objects out of the queue. The others go to its end.
func (s *Store) sample(t *Tenant) (least candidate, found bool) {
	for range sampled {
		var c candidate
		for c.o == nil {
			p, ok := t.next()
			if !ok {
				return least, least.o != nil
			}
			c = candidate{s.at(p), p}
		}
		if least.o == nil {
			least = c
			continue
		}
		if halvings := t.halvings.Load(); c.o.worth(halvings) < least.o.worth(halvings) || c.o.invalid.Load() {
			c, least = least, c
		}
		s.queued(t, c.place)
	}
	return least, true
}
