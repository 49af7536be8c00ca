package cache

import (
	"bytes"
	"sync/atomic"
	"time"
)

// Request is what the cache reads of a request.
type Request struct {
	Method  string
	Target  string // as the client sent it: path and query
	Header  Header
	Key     []byte // from AppendKey; only read during a call
	Vhost   *Vhost // whose it is; nil: nobody's in particular
	HasBody bool
	// HeadSize is the bytes of all fields. Refusals are not stored of requests that are large, see Decide. Default 0: small.
	HeadSize int
	// Explicit has only an answer be stored that states for how long it is fresh, as one to a POST has to (RFC 9110 §9.3.3):
	// nothing that the vhost has set gives it freshness, nor is a validator enough. Default: what Policy says.
	Explicit bool

	seq     uint64  // the store's sequence at Lookup: when this request's fill began
	saw     uint64  // that of the object which was found; 0: there was none
	control control // its Cache-Control, as far as it counts
	reload  bool    // it wants no stored response
	owned   []byte  // Key, where somebody keeps it
	variant []byte  // see Store.variant; nil: none is known
	parted  bool    // it has waited for what turned out to be another variant
}

// The values of Lookup.Forward (RFC 9211 §2.2).
const (
	ForwardURIMiss  = "uri-miss"  // nothing is stored for the key
	ForwardVaryMiss = "vary-miss" // nothing that this request selects
	ForwardStale    = "stale"     // what it selects is no longer fresh
	ForwardMethod   = "method"    // neither GET nor HEAD
	ForwardRequest  = "request"   // fresh, but the request does not accept it
	ForwardBypass   = "bypass"    // the cache does not deal with such requests
)

// Lookup is the answer of Store.Lookup. A caller that finds a hit unfit (its
// Digest, say) sets Entry to nil and Forward to why, and may still fill.
type Lookup struct {
	Entry   *Entry        // nil unless a hit
	Age     time.Duration // of the hit; the Age field has its whole seconds
	TTL     time.Duration // what remains of the hit's freshness; negative: how long it is stale
	Forward string        // why not a hit; see the Forward constants
	Detail  string        // more on Forward, a token; may be empty
	// Refresh: the hit is stale, and the caller is to ask for it anew behind this request (RFC 5861 §3).
	Refresh bool
	// Stale is what is stored for the request and may serve it once the backend has validated it
	// (RFC 9111 §4.3), or while the backend fails; nil: nothing is.
	Stale *Entry
	// MayStore is false if no response to this request can be stored. (One
	// with Authorization may be, if the response permits it: Decide knows.)
	MayStore bool
	// OnlyIfCached: there is no hit and the request wants nothing else. The
	// caller answers 504 without forwarding (RFC 9111 §5.2.1.7).
	OnlyIfCached bool
}

// Lookup finds a fresh response that answers req under the vhost's policy; nil
// means that caching is off. It takes no lock of ours, does not allocate in
// the plain case and may be called by any number of goroutines. It notes in
// req when the request came, so req must go on to NewEntry and Put.
func (s *Store) Lookup(req *Request, p *Policy) Lookup {
	req.seq, req.variant, req.parted = s.seq.Load(), nil, false
	switch {
	case p == nil:
		return Lookup{Forward: ForwardBypass, Detail: string(ReasonPolicy)}
	case req.Method != "GET" && req.Method != "HEAD":
		return Lookup{Forward: ForwardMethod}
	}
	req.control = requestControl(req, p)
	req.reload = !p.IgnoreClientNoCache && (req.control.noCache || !req.control.present && pragmaNoCache(req.Header))
	c := &req.control
	if p.Bypasses(req.Target, req.Header) {
		return Lookup{Forward: ForwardBypass, Detail: string(ReasonBypass), OnlyIfCached: c.onlyIfCached}
	}
	if r := bypassReason(req); r != "" {
		return Lookup{Forward: ForwardBypass, Detail: string(r), OnlyIfCached: c.onlyIfCached}
	}
	l := Lookup{MayStore: req.Method == "GET" && !c.noStore && !c.malformed && !has(req.Header, "Range")}
	s.find(req, &l)
	if l.Entry == nil && !l.MayStore && l.Detail == "" && req.Method == "GET" && has(req.Header, "Range") {
		l.Detail = string(ReasonRange)
	}
	l.OnlyIfCached = c.onlyIfCached && l.Entry == nil
	return l
}

// Begin is for a request that is not looked up, but sent for another one that leads f: it counts as asked for when that began.
// What was purged since must not come back by a 304 that says that it is as it was.
func (f *Flight) Begin(req *Request) { req.seq = f.seq }

// find sets l's hit, or why there is none.
func (s *Store) find(req *Request, l *Lookup) {
	o := s.stored(s.hash(req.Key), req.Key)
	req.saw = 0
	if o != nil {
		req.saw = o.seq
	}
	if o == nil || o.invalid.Load() {
		l.Forward = ForwardURIMiss
		return
	}
	now := s.now()
	e := s.pick(o, req.Header, now)
	if e == nil {
		l.Forward = ForwardVaryMiss
		return
	}
	if !s.usable(e) {
		l.Forward = ForwardURIMiss
		return
	}
	l.consider(s, e, req, now)
	if l.Entry != nil {
		if n := o.uses.Load(); n < maxUses { // a load that is shared costs less than a store; one count more or less is nothing
			o.uses.Store(n + 1)
		}
	}
}

// consider makes e, which the request selects, l's hit, or says why it is none.
func (l *Lookup) consider(s *Store, e *Entry, req *Request, now time.Time) {
	if !e.terms.authorized && has(req.Header, "Authorization") {
		l.Forward, l.Detail = ForwardRequest, string(ReasonAuthorization)
		return
	}
	age := e.Age(now)
	ttl, blind := s.ttl(e, age, now)
	unwanted := unwanted(req, e, age, ttl)
	switch fresh := ttl > 0 && !e.terms.noCache; {
	case fresh && !unwanted:
		l.Entry, l.Age, l.TTL = e, age, ttl
		if blind {
			l.Detail = detailBlind
		}
		return
	case fresh:
		l.Forward = ForwardRequest
	case unwanted || e.terms.noCache:
		l.Forward = ForwardStale
	case -ttl < e.terms.whileRevalidate:
		l.Entry, l.Age, l.TTL, l.Refresh, l.Detail = e, age, ttl, e.refresh(now), "stale-while-revalidate"
		return
	case -ttl < e.terms.ifError && e.failing(now):
		l.Entry, l.Age, l.TTL, l.Refresh, l.Detail = e, age, ttl, e.refresh(now), detailOnError
		return
	default:
		l.Forward = ForwardStale
		if blind {
			l.Detail = detailBlind
		}
	}
	if !req.reload {
		l.Stale = e
	}
}

// requestControl reads the request's Cache-Control, as far as the vhost lets it count.
func requestControl(req *Request, p *Policy) control {
	c := parseControl(req.Header.PeekAll("Cache-Control"))
	if p.IgnoreClientNoCache {
		c = control{onlyIfCached: c.onlyIfCached}
	}
	return c
}

// unwanted reports whether the request's directives refuse a response of that age (RFC
// 9111 §5.2.1, §5.4). max-stale has nothing to permit. A response that does not change while
// it is fresh is refused by a reload alone (RFC 8246 §2).
func unwanted(req *Request, e *Entry, age, ttl time.Duration) bool {
	c := &req.control
	switch {
	case req.reload:
		return true
	case !c.present || e.terms.immutable && ttl > 0:
		return false
	}
	maxAge := time.Duration(c.maxAge.n) * time.Second
	return c.maxAge.set && (maxAge == 0 || age > maxAge) ||
		c.minFresh.set && ttl < time.Duration(c.minFresh.n)*time.Second
}

// ServesOnError reports whether l's stale response may answer in the place of a backend
// that could not be reached or failed (RFC 9111 §4.2.4, RFC 5861 §4), and has l say so.
func (s *Store) ServesOnError(l *Lookup) bool {
	e := l.Stale
	if e == nil || e.terms.noCache || !s.usable(e) { // no-cache may well be within its lifetime (RFC 9111 §5.2.2.4); it may have been purged meanwhile
		return false
	}
	now := s.now()
	age := e.Age(now)
	ttl, _ := s.ttl(e, age, now)
	if -ttl >= e.terms.ifError {
		return false
	}
	atomic.StoreInt64(&e.failed, now.UnixNano())
	l.Entry, l.Age, l.TTL, l.Detail = e, age, ttl, detailOnError
	return true
}

const (
	detailOnError = "stale-if-error"
	detailBlind   = "blind"
)

// stored returns what is stored under key, or nil. The full comparison is what
// keeps a collision of the hash from serving another tenant's page.
func (s *Store) stored(hash uint64, key []byte) *object {
	o, _ := s.cache.Get(hash)
	if o == nil || !bytes.Equal(o.key, key) {
		return nil
	}
	return o
}
