package cache

import "time"

// entryOverhead is what an entry costs beside its bytes. With objectOverhead it
// covers the structs, the map items and the policy's records, rounded up from
// the heap of stores of 20,000 to 150,000 entries, so that the limit bounds
// memory and not only bodies.
const entryOverhead = 300

// Entry is one stored response. It never changes after NewEntry; the caller
// must not write to Body or to what Template refers to.
type Entry struct {
	Template any    // the response head as the caller built it
	Body     []byte // the whole body; not written for HEAD
	Status   int
	Digest   string // the ruleset that inspected it

	received   time.Time
	initialAge time.Duration
	lifetime   time.Duration
	vary       []varyField
	etag       string    // opaque part with quotes; empty: none
	modified   time.Time // see modifiedAt
	authorized bool      // may answer a request with Authorization

	seq     uint64 // the store's sequence when its request was looked up
	cost    int64  // bytes
	refused bool   // must not be stored: no permission, incomplete or too large
}

// NewEntry makes an entry of a response that Decide allowed to be stored.
//
// req is the Request given to Lookup, with the same header fields. template is
// the response head that hits are written from and templateSize its bytes in
// memory. body is the whole body: the entry takes it over, so it must not come
// from a pooled buffer, and its capacity is what it costs. digest names the
// ruleset that inspected the response.
//
// If the decision is not to store, the body is not as long as
// resp.BodyLength (RFC 9111 §3.3: incomplete) or it is longer than d.MaxBody,
// the entry can be served to this request but Put refuses it.
func NewEntry(req *Request, resp *Response, d Decision, template any, templateSize int, body []byte, digest string) *Entry {
	e := &Entry{
		Template:   template,
		Body:       body,
		Status:     resp.Status,
		Digest:     digest,
		received:   resp.Received,
		initialAge: d.InitialAge,
		lifetime:   d.Lifetime,
		vary:       selectBy(d.vary, req.Header),
		etag:       opaqueTag(resp.Header),
		modified:   modifiedAt(resp),
		authorized: d.authorized,
		seq:        req.seq,
	}
	n := int64(len(body))
	e.refused = !d.Store || n > d.MaxBody || resp.BodyLength >= 0 && resp.BodyLength != n
	e.cost = entryOverhead + int64(templateSize) + int64(cap(body)) + int64(len(e.etag)+len(digest))
	for i := range e.vary {
		e.cost += int64(64 + len(e.vary[i].name) + len(e.vary[i].value))
	}
	return e
}

// Age is the entry's current age (RFC 9111 §4.2.3). It is never negative.
func (e *Entry) Age(now time.Time) time.Duration {
	return max(now.Sub(e.received), 0) + e.initialAge
}

// TTL is the freshness that remains at now; zero or less when stale.
func (e *Entry) TTL(now time.Time) time.Duration {
	return e.lifetime - e.Age(now)
}

// matches reports whether the request with header h selects e.
func (e *Entry) matches(h Header) bool {
	for i := range e.vary {
		if !e.vary[i].matches(h) {
			return false
		}
	}
	return true
}

// sameVariant reports whether e and o were selected by the same values of the
// same fields.
func (e *Entry) sameVariant(o *Entry) bool {
	if len(e.vary) != len(o.vary) {
		return false
	}
	for i := range e.vary {
		if e.vary[i] != o.vary[i] {
			return false
		}
	}
	return true
}
