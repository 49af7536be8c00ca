package cache

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// An account remembers its last invalidations in two halves. One is full with mostKept, or with fewKept after keptFor.
	mostKept = 8 << 10
	fewKept  = 256
	keptFor  = time.Minute
)

// invalidations are the sequences of a vhost's last invalidations by the hashes of keys. What is forgotten counts as if it had been of every
// key: that may refuse a fill that has taken long, which costs one more fetch, but never one too few. Each vhost has its own, so
// that what its visitors post refuses nobody else's answers; most never have any.
type invalidations struct {
	any        atomic.Bool // nearly always false, and then nothing is locked
	mu         sync.RWMutex
	young, old map[uint64]uint64
	floor      uint64 // the last one that was forgotten
	turned     time.Time
}

// last is the sequence of the last invalidation that may have been of the key with that hash.
func (i *invalidations) last(hash uint64) uint64 {
	if !i.any.Load() {
		return 0
	}
	i.mu.RLock()
	defer i.mu.RUnlock()
	return max(i.young[hash], i.old[hash], i.floor)
}

// note notes an invalidation. Who holds the key's stripe sees it from then on.
func (i *invalidations) note(hash, seq uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.young == nil || len(i.young) >= mostKept || len(i.young) >= fewKept && time.Since(i.turned) > keptFor {
		for _, forgotten := range i.old {
			i.floor = max(i.floor, forgotten)
		}
		i.old, i.young, i.turned = i.young, make(map[uint64]uint64), time.Now()
	}
	i.young[hash] = seq
	i.any.Store(true)
}

// superseded reports whether the vhost's key, known by its hash, was invalidated since seq.
func (s *Store) superseded(v *Vhost, hash, seq uint64) bool {
	return s.account(v).invalidated.last(hash) > seq
}

// Invalidate makes all responses under a key of the vhost unusable, and so those to requests that were looked up before (RFC 9111
// §4.4). See Answered for unsafe requests.
func (s *Store) Invalidate(v *Vhost, key []byte) { s.invalidate(v, key, 0) }

// Forget is Invalidate for a request that is sent once more after it: it counts as looked up then.
func (s *Store) Forget(req *Request) { req.seq, _ = s.invalidate(req.Vhost, req.Key, 0) }

// invalidate is Invalidate, and returns its place in the sequence of all writes and invalidations, and whether the key was not
// invalidated since the sequence since.
func (s *Store) invalidate(v *Vhost, key []byte, since uint64) (seq uint64, newest bool) {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return 0, false
	}
	hash := s.hash(key)
	mu := &s.stripe[hash%stripes]
	mu.Lock()
	defer mu.Unlock()
	newest = !s.superseded(v, hash, since)
	seq = s.seq.Add(1)
	s.account(v).invalidated.note(hash, seq)
	if o := s.stored(hash, key); o != nil {
		o.invalid.Store(true)
	}
	return seq, newest
}

// Changes is what the answer to an unsafe request has probably made untrue beside what is stored under the request's own key.
type Changes struct {
	// Keys are keys of AppendKey.
	Keys [][]byte
	// URLs are hosts with targets as Policy.Target gives them, for a vhost whose Policy has a Key: all that is stored of such
	// a URL, whatever else is in the key.
	URLs []string
	// Groups are those of InvalidatedGroups. They are of the request's origin, its scheme and host, whatever other hosts the
	// vhost has: who writes the pages of one must not reach those of another. If there are more than a thousand, all of the host
	// counts as one.
	Groups []string
}

// Answered invalidates what the answer to req has changed, an unsafe request that was looked up and then answered 2xx or 3xx with
// that header (RFC 9111 §4.4, RFC 9875 §3). Too many changes at a time cost the vhost what it has stored before, and nobody else.
//
// The answer itself may be what is stored from then on: req counts as sent after its own changes. It does not where
// somebody else has invalidated or purged meanwhile what the answer is about: it may tell of how things were before, and Put refuses it.
func (s *Store) Answered(req *Request, h Header, c *Changes) {
	v := s.account(req.Vhost)
	s.purging.Lock() // no purge comes between the look at purges and our own
	newest := s.unpurged(v, req, h)
	for _, key := range c.Keys {
		if !bytes.Equal(key, req.Key) {
			s.Invalidate(v, key)
		}
	}
	many := false
	note := func(p Purge) {
		seq, n := s.note(&v.purges, &p)
		v.last.Store(seq)
		many = many || n > maxPurged/2
	}
	for _, url := range c.URLs {
		note(Purge{Kind: PurgeURL, Arg: url})
	}
	if len(c.Groups) > maxInvalidated {
		host, _, _ := urlOf(req.Key)
		note(Purge{Kind: PurgeHost, Arg: host})
	} else if len(c.Groups) > 0 {
		origin := originOf(req.Key)
		for _, group := range c.Groups {
			note(Purge{Kind: PurgeGroup, Arg: group, origin: origin})
		}
	}
	seq, first := s.invalidate(v, req.Key, req.seq) // last, so that all of the above is before it
	s.purging.Unlock()
	if newest && first {
		req.seq = seq
	}
	if many { // clients cause these: their memory is not worth a look through all that is stored
		s.lurker.wakeUp()
	}
}

// unpurged reports whether no purge since req was looked up names the answer with that header. The caller holds purging.
func (s *Store) unpurged(v *Vhost, req *Request, h Header) bool {
	if req.seq >= v.last.Load() {
		return true
	}
	found := s.purgedSince(v, req.Key, tagsOf(h, req.Key), req.seq)
	return max(found.hard, found.soft) <= req.seq
}
