package cache

import "sync/atomic"

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

// worth is the object's, its uses halved as often as its tenant's counts were since it was last asked.
func (o *object) worth(halvings uint32) float64 {
	if last := o.halvings.Swap(halvings); last != halvings {
		o.uses.Store(o.uses.Load() >> min(halvings-last, 31))
	}
	return worth(o.uses.Load(), o.cost)
}

// pick finds the entry that the request selects. Among several it prefers the
// newest that has a Vary (RFC 9111 §4.1: a resource may omit Vary by mistake),
// else the newest.
func (o *object) pick(h Header) *Entry {
	var plain *Entry
	for _, e := range o.variants {
		switch {
		case len(e.vary) == 0:
			if plain == nil {
				plain = e
			}
		case e.matches(h):
			return e
		}
	}
	return plain
}

// with returns the object that holds e in front of the variants that o, which
// may be nil, had, as far as they are usable. It is nil if o holds the same variant
// from a later request.
func (o *object) with(e *Entry, maxCost int64, usable func(*Entry) bool) *object {
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
		if !usable(old) {
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
