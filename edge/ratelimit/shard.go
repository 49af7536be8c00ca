package ratelimit

import (
	"sync"
	"sync/atomic"
)

// DefaultKeys is how many keys a Room has, unless it is made with another number: 2 MiB.
const DefaultKeys = 1 << 16

// A Room bounds the keys of all limiters that have it. It is safe for concurrent use.
type Room struct {
	owner  string
	left   atomic.Int64
	passed atomic.Uint64

	mu     sync.Mutex
	claims []claim // that wait to be reported, a bounded number
}

// NewRoom makes room for so many keys, and a few in each shard beside them. The owner is whose they are, as all nodes know him; only
// sharing needs it.
func NewRoom(owner string, keys int) *Room {
	r := &Room{owner: owner}
	r.left.Store(int64(keys))
	return r
}

// PassedOn is how many times a key took over the place, and the debt, of another, since there was no room.
func (r *Room) PassedOn() uint64 { return r.passed.Load() }

// take takes room for n keys, if there is so much.
func (r *Room) take(n int) bool {
	if r.left.Add(-int64(n)) >= 0 {
		return true
	}
	r.left.Add(int64(n))
	return false
}

func (r *Room) giveBack(n int) { r.left.Add(int64(n)) }

const (
	shardCount = 16
	// firstBuckets is how many buckets a shard begins with, taken from the room or not: a limit always works.
	firstBuckets = 8
	// ways is how many places a key may be at: those that stand together, one line of memory or four.
	ways = 8
)

// A bucket is what is known of one key. The zero value is one that is full, of no key.
type bucket struct {
	key   uint64
	full  int64  // when it is full again; see clock
	since int64  // when the first token was taken that was not reported
	spent uint32 // tokens that were taken and not reported
	nodes uint16 // that take from it, this one among them, as of the last report; 0: there was none
	state state
}

// A state says whether a bucket waits for a report.
type state uint8

const (
	idle    state = iota
	queued        // it will be reported
	settled       // it was, and its answer is awaited
)

// took notes that a token was taken, and says whether a report is due.
func (b *bucket) took(now int64, unreported uint32) bool {
	if b.spent == 0 {
		b.since = now
	}
	b.spent++
	if b.spent < unreported || b.state != idle {
		return false
	}
	b.state = queued
	return true
}

// refused notes that there was no token: others may have ceased to take any since it was last heard of them.
func (b *bucket) refused(now int64) bool {
	if b.state != idle {
		return false
	}
	if b.spent == 0 {
		b.since = now
	}
	b.state = queued
	return true
}

// A shard is a table of buckets in which a key has a set of places.
type shard struct {
	mu      sync.Mutex
	buckets []bucket // a power of two of them; none before the first key
	_       [32]byte // the next shard's lock is on another line of memory
}

// set returns the places of a key.
func (sh *shard) set(place uint32) []bucket {
	at := int(place) & (len(sh.buckets) - 1) &^ (ways - 1)
	return sh.buckets[at : at+ways]
}

// lookup returns the bucket of a key; nil: it has none, which means that it is full.
func (sh *shard) lookup(key uint64, place uint32) *bucket {
	if len(sh.buckets) == 0 {
		return nil
	}
	set := sh.set(place)
	for i := range set {
		if set[i].key == key && set[i].full != 0 {
			return &set[i]
		}
	}
	return nil
}

// find returns the bucket of a key, and makes it if there is none: in a free place, in a larger table, or in the place of the
// key that is nearest to full. The shard is locked.
func (l *Limiter) find(sh *shard, key uint64, place uint32, now int64) *bucket {
	if len(sh.buckets) == 0 {
		sh.buckets = make([]bucket, firstBuckets)
		if !l.closed.Load() {
			l.room.giveBack(-firstBuckets) // also where there is none left: a limit always works
		}
	}
	for {
		set := sh.set(place)
		least := &set[0]
		for i := range set {
			b := &set[i]
			if b.key == key && b.full != 0 {
				return b
			}
			if b.full < least.full {
				least = b
			}
		}
		owed := least.full
		if owed > now {
			if l.grow(sh, now) {
				continue
			}
			l.room.passed.Add(1)
		}
		*least = bucket{key: key, full: max(owed, now)}
		return least
	}
}

// grow makes a shard's table twice as large, if there is room; buckets that are full are left behind.
func (l *Limiter) grow(sh *shard, now int64) bool {
	old := sh.buckets
	if l.closed.Load() || !l.room.take(len(old)) {
		return false
	}
	sh.buckets = make([]bucket, 2*len(old))
	for _, b := range old {
		if b.full <= now {
			continue
		}
		_, place := l.at(b.key)
		set := sh.set(place) // of two sets that one becomes, none has more than that
		for i := range set {
			if set[i].full == 0 {
				set[i] = b
				break
			}
		}
	}
	return true
}
