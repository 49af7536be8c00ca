package cache

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	flightShards = 64
	markSlots    = 1 << 14
	// markTime is how long requests for a key whose responses cannot be shared go each on its own.
	markTime = 120 * time.Second
	// maxWaiting bounds the requests that wait for one.
	maxWaiting = 10_000
)

// flights are the requests to backends that others may wait for, by key.
type flights struct {
	shards [flightShards]flightShard
	// marks are the hit-for-miss marks. A key that loses its slot to another costs one wait.
	marks [markSlots]mark
}

type flightShard struct {
	mu sync.Mutex
	by map[uint64]*Flight
}

// A mark says that responses to a key, known by its hash, cannot be shared.
type mark struct{ hash, until atomic.Uint64 }

// ErrAgain is why a waiter gets nothing: the request that it waited for did not come to an end, for reasons of its own, or
// brought another variant. The waiter joins anew.
var ErrAgain = errors.New("the request that others waited for was given up")

// A Flight is one request to a backend that equal ones wait for, so that many of them at once are one for the backend. Who
// leads it decides when it has the response's head, and ends it by one of Share, Answer, Release and Fail.
//
// Whether requests are equal shows when the answer's Vary is known: each variant has a flight of its own then, see variant.
type Flight struct {
	store *Store
	hash  uint64 // of all that it is for
	url   uint64 // of key
	key   []byte
	vary  []byte // what it is for beside key
	vhost *Vhost
	seq   uint64 // when it began

	decided chan struct{} // made for the first who waits
	waiting atomic.Int32  // changed with the shard locked
	closed  atomic.Bool   // nobody joins any more

	// What was decided, with the shard locked. Without any of it each goes on its own.
	done  bool
	entry *Entry
	fill  *Fill
	err   error
}

// Join finds the flight for a request that was looked up without a hit. lead: there was none, and the request, which goes to
// the backend, is what others wait for. A nil flight: it goes on its own, because its response could not be shared, or
// too many wait already; or l has a hit by now.
func (s *Store) Join(req *Request, l *Lookup) (f *Flight, lead bool) {
	if !l.MayStore || l.Stale != nil && l.Stale.terms.noCache || has(req.Header, "Authorization") {
		return nil, false
	}
	hash := s.hash(req.Key)
	if req.parted { // what it wants may have come while it waited
		s.again(req, l)
		if l.Entry != nil {
			return nil, false
		}
	}
	if s.marked(hash) {
		if req.Vhost != nil {
			req.Vhost.marked.Add(1)
		}
		return nil, false
	}
	if c := &req.control; req.reload || c.maxAge.set && c.maxAge.n == 0 { // it would wait for what it does not accept
		f = s.Lead(req, l)
		return f, f != nil
	}
	return s.join(hash, req, l)
}

// Lead is Join for who does not wait: nil if there is a flight already.
func (s *Store) Lead(req *Request, l *Lookup) *Flight {
	f, lead := s.join(s.hash(req.Key), req, l)
	if f != nil && !lead {
		f.Leave()
		return nil
	}
	return f
}

func (s *Store) join(url uint64, req *Request, l *Lookup) (f *Flight, lead bool) {
	for again := true; again; {
		if v := s.variant(url, req, l); v != nil {
			req.variant = v
		}
		f, lead, again = s.joinVariant(url, req, l)
	}
	return f, lead
}

// variant is what tells requests of req's variant from others, as far as it is known: what is stored for it, or the fields by
// which what is stored for others varies.
func (s *Store) variant(url uint64, req *Request, l *Lookup) []byte {
	if l.Stale != nil {
		return appendVariant(nil, l.Stale.vary)
	}
	if o := s.stored(url, req.Key); l.Forward == ForwardVaryMiss && o != nil {
		return variantOf(o.variants[0], req)
	}
	return nil
}

// joinVariant is join for the variant that is known. again: more is known by now.
func (s *Store) joinVariant(url uint64, req *Request, l *Lookup) (f *Flight, lead, again bool) {
	hash := url
	if req.variant != nil {
		hash ^= s.hash(req.variant)
	}
	shard := &s.flights.shards[hash%flightShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	f = shard.by[hash]
	switch {
	case f == nil || f.closed.Load() || s.superseded(f.url, f.seq) || s.outdated(f):
	case !bytes.Equal(f.key, req.Key) || !bytes.Equal(f.vary, req.variant) || f.waiting.Load() >= maxWaiting:
		return nil, false, false
	case f.fill == nil || f.fill.expect(1):
		f.waiting.Add(1)
		if f.decided == nil {
			f.decided = make(chan struct{})
			if f.done {
				close(f.decided)
			}
		}
		return f, false, false
	}
	if o := s.stored(url, req.Key); o != nil && o.seq != req.saw { // a flight has ended between Lookup and here
		s.again(req, l)
		return nil, false, l.Entry == nil
	}
	f = &Flight{store: s, hash: hash, url: url, key: bytes.Clone(req.Key), vary: req.variant, vhost: req.Vhost, seq: req.seq}
	req.owned = f.key
	if shard.by == nil {
		shard.by = make(map[uint64]*Flight)
	}
	shard.by[hash] = f
	return f, true, false
}

// again looks the request up anew.
func (s *Store) again(req *Request, l *Lookup) {
	l.Forward, l.Detail, l.Stale = "", "", nil
	req.seq = s.seq.Load()
	s.find(req, l)
	l.OnlyIfCached = false
}

// marked reports whether responses to the key cannot be shared, as far as is known.
func (s *Store) marked(hash uint64) bool {
	m := &s.flights.marks[hash%markSlots]
	return m.hash.Load() == hash && m.until.Load() > uint64(s.now().Unix())
}

// setMark marks the key, or lifts its mark.
func (s *Store) setMark(hash uint64, on bool) {
	m := &s.flights.marks[hash%markSlots]
	switch {
	case on:
		m.until.Store(uint64(s.now().Add(markTime).Unix()))
		m.hash.Store(hash)
	case m.hash.Load() == hash:
		m.hash.Store(0)
	}
}

// Waiting is how many requests wait for the flight.
func (f *Flight) Waiting() int { return int(f.waiting.Load()) }

// Decided is closed when the flight is decided.
func (f *Flight) Decided() <-chan struct{} { return f.decided }

// Take gives a waiter what was decided. l has a hit or says why there is none, and then the request goes on its own. body
// reads that of a hit which is still on its way; nil: the hit has it. The error is the leader's; see ErrAgain. A waiter calls
// Take once, after the decision, or Leave.
func (f *Flight) Take(req *Request) (l Lookup, body *Reader, err error) {
	f.waiting.Add(-1)
	if f.err != nil {
		return Lookup{}, nil, f.err
	}
	l.MayStore = true
	switch {
	case f.entry == nil:
		l.Forward = ForwardURIMiss
	case !f.entry.matches(req.Header):
		l.Forward = ForwardVaryMiss
		if !req.parted { // once: a backend that varies by something else each time keeps nobody waiting
			req.variant, req.parted, err = variantOf(f.entry, req), true, ErrAgain
		}
	default:
		l.consider(f.store, f.entry, req, f.store.now())
		l.Refresh = false
	}
	if f.fill != nil {
		l.Stale = nil // f.entry has no body
		if body = f.fill.meet(l.Entry != nil); body == nil && l.Entry != nil {
			l.Entry, l.Forward = nil, ForwardURIMiss
		}
	}
	return l, body, err
}

// Leave is for a waiter that waits no longer.
func (f *Flight) Leave() {
	shard := f.shard()
	shard.mu.Lock()
	f.waiting.Add(-1)
	fill := f.fill
	shard.mu.Unlock()
	if fill != nil {
		fill.meet(false)
	}
}

func (f *Flight) shard() *flightShard { return &f.store.flights.shards[f.hash%flightShards] }

// Share has the waiters answered from a response whose body is still on its way, and those who come until it is there.
func (f *Flight) Share(fill *Fill) {
	fill.flight = f // nobody else knows it yet
	f.decide(fill.head, fill, nil)
}

// Answer has the waiters answered from a whole response.
func (f *Flight) Answer(e *Entry) { f.decide(e, nil, nil) }

// Release lets the waiters go, each on its own, and with mark all who ask for the same within two minutes: the response
// cannot be shared.
func (f *Flight) Release(mark bool) {
	if mark {
		f.store.setMark(f.url, true)
	}
	f.decide(nil, nil, nil)
}

// Fail has the waiters answered with the error that the leader got.
func (f *Flight) Fail(err error) { f.decide(nil, nil, err) }

// Abandon ends a flight that was not decided: waiters join anew. One that was decided is left alone.
func (f *Flight) Abandon() { f.decide(nil, nil, ErrAgain) }

// decide makes the first decision; later ones are none.
func (f *Flight) decide(e *Entry, fill *Fill, err error) {
	shard := f.shard()
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if f.done {
		return
	}
	f.done, f.entry, f.fill, f.err = true, e, fill, err
	if fill == nil {
		f.remove(shard)
	} else {
		fill.expect(int(f.waiting.Load()))
	}
	if f.decided != nil {
		close(f.decided)
	}
}

// remove takes f out of its shard, which the caller holds. Another may be in its place.
func (f *Flight) remove(shard *flightShard) {
	if shard.by[f.hash] == f {
		delete(shard.by, f.hash)
	}
}

// close ends the joining: the fill has ended, or is too large.
func (f *Flight) close(tooLarge bool) {
	f.closed.Store(true)
	if tooLarge {
		f.store.setMark(f.url, true)
	}
}

// leave takes f away after its fill has ended.
func (f *Flight) leave() {
	shard := f.shard()
	shard.mu.Lock()
	f.remove(shard)
	shard.mu.Unlock()
}
