package cache

import (
	"sync/atomic"
	"time"
)

// BlindReuse is how long after its receipt a response is fresh at most while the store is blind.
const BlindReuse = time.Minute

// SetBlind says whether purges by others may not be heard of, for too long: then what is stored is fresh for BlindReuse at
// most, so that what was purged elsewhere is not served for much longer here. It is still served where it is stale and
// the answer, or the vhost, allows that.
func (s *Store) SetBlind(blind bool) {
	if s.blind.Swap(blind) == blind {
		return
	}
	if blind {
		s.log.Error("purges by other nodes are not heard of: what is stored is fresh for a minute at most until they are")
	} else {
		s.log.Info("purges by other nodes are heard of again")
	}
}

// ttl is what remains of e's freshness. blind: it would have more, were the store not blind.
func (s *Store) ttl(e *Entry, age time.Duration, now time.Time) (ttl time.Duration, blind bool) {
	if atomic.LoadInt64(&e.softened) == 0 && !s.blind.Load() {
		return e.lifetime - age, false // nearly always
	}
	return s.shortened(e, age, now)
}

// shortened is ttl of what a soft purge has made stale, or while the store is blind.
func (s *Store) shortened(e *Entry, age time.Duration, now time.Time) (ttl time.Duration, blind bool) {
	ttl = e.ttl(age, now)
	if !s.blind.Load() {
		return ttl, false
	}
	most := BlindReuse - max(now.Sub(e.received), 0)
	return min(ttl, most), most < ttl
}
