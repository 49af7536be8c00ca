package cache

import (
	"bytes"
	"time"
)

// Request is what the cache reads of a request.
type Request struct {
	Method  string
	Header  Header
	Key     []byte // from AppendKey; only read during a call
	HasBody bool
	// HeadSize is the bytes of all fields. Refusals are not stored of requests that are large, see Decide. Default 0: small.
	HeadSize int

	seq uint64 // the store's sequence at Lookup: when this request's fill began
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
	Entry   *Entry        // nil unless a fresh hit
	Age     time.Duration // of the hit; the Age field has its whole seconds
	TTL     time.Duration // what remains of the hit's freshness
	Forward string        // why not a hit; see the Forward constants
	Detail  string        // more on Forward, a token; may be empty
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
	req.seq = s.seq.Load()
	switch {
	case p == nil:
		return Lookup{Forward: ForwardBypass, Detail: string(ReasonPolicy)}
	case req.Method != "GET" && req.Method != "HEAD":
		return Lookup{Forward: ForwardMethod}
	}
	c := parseControl(req.Header.PeekAll("Cache-Control"))
	if r := bypassReason(req); r != "" {
		return Lookup{Forward: ForwardBypass, Detail: string(r), OnlyIfCached: c.onlyIfCached}
	}
	l := Lookup{MayStore: req.Method == "GET" && !c.noStore && !c.malformed}
	s.find(req, &c, &l)
	l.OnlyIfCached = c.onlyIfCached && l.Entry == nil
	return l
}

// find sets l's hit, or why there is none.
func (s *Store) find(req *Request, c *control, l *Lookup) {
	o := s.stored(s.hash(req.Key), req.Key)
	if o == nil || o.invalid.Load() {
		l.Forward = ForwardURIMiss
		return
	}
	e := o.pick(req.Header)
	if e == nil {
		l.Forward = ForwardVaryMiss
		return
	}
	now := s.now()
	age := e.Age(now)
	ttl := e.lifetime - age
	if ttl <= 0 {
		l.Forward = ForwardStale
		return
	}
	if unwanted(req.Header, c, age, ttl) {
		l.Forward = ForwardRequest
		return
	}
	if !e.authorized && has(req.Header, "Authorization") {
		l.Forward, l.Detail = ForwardRequest, string(ReasonAuthorization)
		return
	}
	if !o.used.Load() { // a load that is shared costs less than a store
		o.used.Store(true)
	}
	l.Entry, l.Age, l.TTL = e, age, ttl
}

// unwanted reports whether the request's directives refuse a fresh response of
// that age (RFC 9111 §5.2.1, §5.4). max-stale has nothing to permit.
func unwanted(h Header, c *control, age, ttl time.Duration) bool {
	if !c.present {
		return pragmaNoCache(h)
	}
	maxAge := time.Duration(c.maxAge.n) * time.Second
	return c.noCache ||
		c.maxAge.set && (maxAge == 0 || age > maxAge) ||
		c.minFresh.set && ttl < time.Duration(c.minFresh.n)*time.Second
}

// stored returns what is stored under key, or nil. The full comparison is what
// keeps a collision of the hash from serving another tenant's page.
func (s *Store) stored(hash uint64, key []byte) *object {
	o, _ := s.cache.Get(hash)
	if o == nil || !bytes.Equal(o.key, key) {
		return nil
	}
	return o
}
