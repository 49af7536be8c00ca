package cache

import (
	"sync/atomic"
	"time"
)

const (
	// maxVariants bounds the entries under one key; the oldest leaves first.
	maxVariants = 32
	// variantRoom is how many times the largest entry all variants of one key
	// may cost together.
	variantRoom = 4
	// objectOverhead is what an object costs beside its entries and key.
	objectOverhead = 240
)

// maxUses bounds what is counted of an object's use.
const maxUses = 63

// object is all that is stored under one key. It is replaced, never changed, so
// readers need no lock; only its flags move.
type object struct {
	key      []byte
	vhost    *Vhost
	variants []*Entry // newest first, at least one
	cost     int64    // bytes
	seq      uint64   // when it was written

	invalid  atomic.Bool // an unsafe request succeeded: nothing in it may be used
	released atomic.Bool // it left the store and the ledger
	halvings atomic.Uint32
	uses     atomic.Int32 // hits since somebody looked for what to drop, maxUses at most
}

// worth is what an object of that many uses and bytes is worth: of two that are used alike, the smaller one, since its
// room is worth more hits.
func worth(uses int32, bytes int64) float64 { return float64(uses+1) / float64(bytes) }

// worth is the object's.
func (o *object) worth(halvings uint32) float64 { return worth(o.used(halvings), o.cost) }

// used is the object's uses, halved as often as its tenant's counts were since it was last asked.
func (o *object) used(halvings uint32) int32 {
	if last := o.halvings.Swap(halvings); last != halvings {
		o.uses.Store(o.uses.Load() >> min(halvings-last, 31))
	}
	return o.uses.Load()
}

// pick finds the entry of o that the request selects: the most recent one (RFC 9111 §4). Of those before it, one with a Vary is
// preferred to what has none as long as it is fresh (§4.1: a resource may omit Vary by mistake); after that the resource has
// simply ceased to vary, and what it says now would never be a hit.
func (s *Store) pick(o *object, h Header, now time.Time) *Entry {
	var plain *Entry
	for _, e := range o.variants {
		switch {
		case len(e.vary) == 0:
			if plain == nil {
				plain = e
			}
		case !e.matches(h):
		case plain == nil || s.fresh(e, now):
			return e
		}
	}
	return plain
}

// fresh reports whether e may answer as it is.
func (s *Store) fresh(e *Entry, now time.Time) bool {
	ttl, _ := s.ttl(e, e.Age(now), now)
	return ttl > 0 && !e.terms.noCache && s.usable(e)
}

// keeps reports whether old, which was stored before e under the same key, is still of any use beside it: to answer, or to be
// validated. What pick would not prefer to e is of none.
func (s *Store) keeps(old, e *Entry, now time.Time) bool {
	switch {
	case !s.usable(old):
		return false
	case len(e.vary) == 0 && len(old.vary) > 0:
		return old.TTL(now) > 0 && !old.terms.noCache
	}
	return old.useful(now) || old.validators != validators{}
}

// with returns the object that holds e in front of the variants that o, which
// may be nil, had, as far as they are to be kept. It is nil if o holds the same variant
// from a later request.
func (o *object) with(e *Entry, maxCost int64, keeps func(old *Entry) bool) *object {
	n := &object{key: e.key, vhost: e.vhost, variants: []*Entry{e}}
	n.cost = objectOverhead + int64(len(e.key)) + e.cost
	if o == nil {
		return n
	}
	for _, old := range o.variants {
		if old.sameVariant(e) {
			if old.seq > e.seq {
				return nil
			}
			continue
		}
		if !keeps(old) {
			continue
		}
		if len(n.variants) == maxVariants || n.cost+old.cost > maxCost {
			break
		}
		n.variants = append(n.variants, old)
		n.cost += old.cost
	}
	return n
}
