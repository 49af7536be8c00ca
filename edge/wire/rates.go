package wire

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	// ratesPerShard bounds the clients that are remembered: 65,536 in all, in some 6 MB.
	// Who owes nothing is forgotten where room is needed, and that is a second after the last
	// time at most.
	ratesPerShard = 1024
	// sampled is how many entries of a full shard are looked at for one to forget.
	sampled = 8
)

// rates bounds how often each client may do something, by the generic cell rate
// algorithm: an allowance of so many at once that fills up in a second. A client is what
// peers has it be. Its memory is bounded: where it is full, the client that owes least
// of a few is forgotten, so that one who owes much is not freed by making others up.
// It is safe for concurrent use.
type rates struct {
	seed   maphash.Seed
	begun  time.Time
	each   time.Duration // that one costs
	shards [shardCount]struct {
		mu   sync.Mutex
		paid map[netip.Addr]time.Duration // when all will be paid, since begun
	}
}

// newRates allows perSecond, which is more than 0.
func newRates(perSecond int) *rates {
	r := &rates{seed: maphash.MakeSeed(), begun: time.Now(), each: max(time.Second/time.Duration(perSecond), 1)}
	for i := range r.shards {
		r.shards[i].paid = map[netip.Addr]time.Duration{}
	}
	return r
}

// take counts one more, unless the client has used its allowance up. What is refused
// costs nothing: who goes on asking is let in as often as who does not.
func (r *rates) take(client netip.Addr, at time.Time) bool {
	now := at.Sub(r.begun)
	shard := &r.shards[maphash.Comparable(r.seed, client)%shardCount]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	paid, known := shard.paid[client]
	paid = max(paid, now) + r.each
	if paid > now+max(time.Second, r.each) {
		return false
	}
	if !known && len(shard.paid) >= ratesPerShard {
		forget(shard.paid, now)
	}
	shard.paid[client] = paid
	return true
}

// forget takes entries that are paid out of a few, or the one that owes least. The
// order of a map is arbitrary, so the few are others each time.
func forget(paid map[netip.Addr]time.Duration, now time.Duration) {
	var least netip.Addr
	left, gone := sampled, false
	for client, at := range paid {
		if at <= now {
			delete(paid, client)
			gone = true
		} else if !least.IsValid() || at < paid[least] {
			least = client
		}
		if left--; left == 0 {
			break
		}
	}
	if !gone {
		delete(paid, least)
	}
}

// len is the number of clients that are remembered.
func (r *rates) len() int {
	n := 0
	for i := range r.shards {
		r.shards[i].mu.Lock()
		n += len(r.shards[i].paid)
		r.shards[i].mu.Unlock()
	}
	return n
}
