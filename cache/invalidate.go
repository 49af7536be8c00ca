package cache

import "bytes"

// Invalidate makes all responses under key unusable, and so those to requests that were looked up before (RFC 9111 §4.4). See
// Answered for unsafe requests.
func (s *Store) Invalidate(key []byte) { s.invalidate(key, 0) }

// invalidate is Invalidate, and returns its place in the sequence of all writes and invalidations, and whether the key was not
// invalidated since the sequence since.
func (s *Store) invalidate(key []byte, since uint64) (seq uint64, newest bool) {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return 0, false
	}
	hash := s.hash(key)
	mu := &s.stripe[hash%stripes] // all keys of a slot have this one
	mu.Lock()
	defer mu.Unlock()
	newest = !s.superseded(hash, since)
	seq = s.seq.Add(1)
	s.invalidated[hash%invalidSlots].Store(seq)
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
			s.Invalidate(key)
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
	seq, first := s.invalidate(req.Key, req.seq) // last, so that all of the above is before it
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
