package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"
	"time"
)

// A Rate is how fast a bucket is refilled, and how much it holds. Make it with NewRate.
type Rate struct {
	interval  int64 // between two tokens, ns
	tolerance int64 // what may be owed while there still is a token, ns: all tokens but one
}

// NewRate returns the rate of so many requests in a time, of which burst pass at once after a pause. All three are more
// than 0, and the time that burst takes to be refilled is a year at most.
func NewRate(requests int, per time.Duration, burst int) Rate {
	interval := max(1, int64(per)/int64(requests))
	return Rate{interval: interval, tolerance: interval * int64(burst-1)}
}

// Interval is the time in which a token comes back.
func (r Rate) Interval() time.Duration { return time.Duration(r.interval) }

// Tolerance is the time in which all tokens but one come back.
func (r Rate) Tolerance() time.Duration { return time.Duration(r.tolerance) }

// burst is how many tokens a bucket holds.
func (r Rate) burst() int64 { return r.tolerance/r.interval + 1 }

// KeyOf returns the key of a text. It is the same on all nodes, and nobody can find a text that has a given one.
// Different limits have different keys for the same text if they put a text of their own before it.
func KeyOf(text []byte) uint64 {
	sum := sha256.Sum256(text)
	return binary.LittleEndian.Uint64(sum[:])
}

// Options configure a Limiter. The zero value is a limiter that is alone and has room of its own.
type Options struct {
	// Room bounds the keys, together with those of other limiters that have the same. Nil: DefaultKeys for this one.
	Room *Room
	// Sharing has other nodes count too; nil: this one counts alone.
	Sharing *Sharing
}

// A Limiter has the buckets of one limit. It is safe for concurrent use; keys are spread over shards, each with a lock of
// its own. Close gives its room back.
type Limiter struct {
	room    *Room
	sharing *Sharing     // nil: alone
	seed    maphash.Seed // nobody outside knows which keys are neighbours
	began   time.Time    // all times are counted from it: monotonic, so that a clock that is set changes nothing
	closed  atomic.Bool
	shards  [shardCount]shard
}

// New makes a limiter.
func New(o Options) *Limiter {
	l := &Limiter{room: o.Room, sharing: o.Sharing, seed: maphash.MakeSeed()}
	l.began = time.Now().Add(-time.Hour) // requests may have begun before it, and 0 is a bucket that was never used
	if l.room == nil {
		l.room = NewRoom("", DefaultKeys)
	}
	if l.sharing != nil {
		l.sharing.opened()
	}
	return l
}

func (l *Limiter) clock(at time.Time) int64 { return int64(at.Sub(l.began)) }

// Take takes a token out of the key's bucket: 0, or how long it takes until there is one. What is refused takes nothing. It neither
// allocates, but for a key that is new, nor waits for anything but the shard's other callers.
func (l *Limiter) Take(key uint64, r Rate, at time.Time) (wait time.Duration) {
	now := l.clock(at)
	sh, place := l.at(key)
	sh.mu.Lock()
	b := l.find(sh, key, place, now)
	b.full = min(b.full, now+int64(r.mostOwed())) // it may have been another rate a moment ago
	over, report := b.full-now-r.tolerance, false
	if over > 0 {
		report = l.sharing != nil && b.refused(now)
	} else {
		b.full = max(b.full, now) + r.interval*l.shareOf(b, now)
		report = l.sharing != nil && b.took(now, l.sharing.unreported(r))
	}
	sh.mu.Unlock()
	if report && !l.room.report(claim{l, key, r}) {
		l.unqueue(key)
	}
	return time.Duration(max(0, over))
}

// mostOwed is the most that may be owed: all tokens, and as many again that nodes let through before they heard of each other.
func (r Rate) mostOwed() time.Duration { return time.Duration(2 * (r.tolerance + r.interval)) }

// GiveBack puts a token back that Take has taken, for a request that another limit refused.
func (l *Limiter) GiveBack(key uint64, r Rate, at time.Time) {
	now := l.clock(at)
	sh, place := l.at(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if b := sh.lookup(key, place); b != nil {
		b.full = max(b.full-r.interval*l.shareOf(b, now), now)
		if b.spent > 0 {
			b.spent--
		}
	}
}

// shareOf is how many tokens a request takes out of this node's view of a bucket: as many as there are nodes that take from it,
// so that all of them together take what there is. Who took from it before it was full need not be there any more.
func (l *Limiter) shareOf(b *bucket, now int64) int64 {
	switch {
	case l.sharing == nil:
		return 1
	case b.full <= now && !l.sharing.away.Load():
		b.nodes = 0
		return 1
	case b.nodes > 0:
		return int64(b.nodes)
	}
	return l.sharing.unknownShare()
}

// at returns where a key's bucket is, or would be.
func (l *Limiter) at(key uint64) (*shard, uint32) {
	h := maphash.Comparable(l.seed, key)
	return &l.shards[h%shardCount], uint32(h >> 32)
}

// Keys is how many keys there is memory for at present.
func (l *Limiter) Keys() int {
	n := 0
	for i := range l.shards {
		sh := &l.shards[i]
		sh.mu.Lock()
		n += len(sh.buckets)
		sh.mu.Unlock()
	}
	return n
}

// Close gives the limiter's room back. A request that is under way may still ask it, and finds every bucket full. A second
// call does nothing.
func (l *Limiter) Close() {
	if l.closed.Swap(true) {
		return
	}
	if l.sharing != nil {
		l.sharing.closed()
	}
	for i := range l.shards {
		sh := &l.shards[i]
		sh.mu.Lock()
		l.room.giveBack(len(sh.buckets))
		sh.buckets = nil
		sh.mu.Unlock()
	}
}
