package cache

import "time"

// Shrink gives memory back: it drops what it takes to hold no more than share
// (0 to 1) of what is stored now, and keeps to that until Grow, but never to less
// than MinMaxBytes. When it returns, nothing of the store refers to what was
// dropped; a response that is being written still may.
//
// First leaves what is of no use any more (stale, purged or invalidated), then what was
// no hit since the last Shrink, then the rest. It takes some microseconds per
// object that leaves, and holds up no Lookup.
//
// Lowering ristretto's bound alone would free nothing: it evicts only to make room
// for a new object, and refuses that one if it is worth less than the others.
func (s *Store) Shrink(share float64) {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return
	}
	s.resize.Lock()
	defer s.resize.Unlock()
	bound := int64(float64(s.ledger.bytes.Load()) * min(max(share, 0), 1))
	bound = max(MinMaxBytes, min(bound, s.ledger.max.Load()))
	s.bound(bound)
	s.evictTo(bound)
	s.cache.Wait() // for the policy's account of it
}

// Grow raises the bound by that many bytes, to Options.MaxBytes at most, and
// reports whether it is there.
func (s *Store) Grow(bytes int64) (whole bool) {
	s.resize.Lock()
	defer s.resize.Unlock()
	bound := min(s.ledger.max.Load()+max(bytes, 0), s.setting)
	s.bound(bound)
	return bound == s.setting
}

// bound sets what may be stored. The caller holds resize.
func (s *Store) bound(bytes int64) {
	s.ledger.max.Store(bytes)
	s.cache.UpdateMaxCost(bytes)
}

// evictTo drops objects until no more than bytes are stored.
func (s *Store) evictTo(bytes int64) {
	for _, victims := range s.byWorth() {
		for _, o := range victims {
			if s.ledger.bytes.Load() <= bytes {
				return
			}
			s.drop(o)
		}
	}
}

// byWorth lists what is stored, the least valuable first, and begins anew to
// note what is used. Within a group the order is that of ristretto's map.
func (s *Store) byWorth() [3][]*object {
	var out [3][]*object
	now := s.now()
	s.cache.IterValues(func(o *object) (stop bool) {
		used := o.uses.Swap(0) > 0
		switch {
		case s.dead(o) || !o.fresh(now):
			out[0] = append(out[0], o)
		case !used:
			out[1] = append(out[1], o)
		default:
			out[2] = append(out[2], o)
		}
		return false
	})
	return out
}

// fresh reports whether any of the object's entries may still be used, as it is or while the backend fails.
func (o *object) fresh(now time.Time) bool {
	for _, e := range o.variants {
		if e.useful(now) {
			return true
		}
	}
	return false
}

// drop evicts o, unless it was replaced or has left.
func (s *Store) drop(o *object) {
	hash := s.hash(o.key)
	mu := &s.stripe[hash%stripes]
	mu.Lock()
	defer mu.Unlock()
	if now, _ := s.cache.Get(hash); now != o {
		return
	}
	s.ledger.evicted(o)
	s.cache.Del(hash)
}
