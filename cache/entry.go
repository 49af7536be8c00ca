package cache

import (
	"bytes"
	"sync/atomic"
	"time"
)

// entryOverhead is what an entry costs beside its bytes. With objectOverhead it
// covers the structs, the map items and the policy's records, rounded up from
// the heap of stores of 20,000 to 150,000 entries, so that the limit bounds
// memory and not only bodies.
const entryOverhead = 480

// Entry is one stored response. It never changes after NewEntry, but for when it was asked for; the caller
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
	weak       bool      // the etag is
	modified   time.Time // see modifiedAt
	date       time.Time // see dateOf
	validators validators
	terms      terms

	id     uint64
	formOf uint64 // id of the entry that this one is another form of; 0: it is none
	key    []byte
	vhost  *Vhost // nil: nobody's
	seq    uint64 // the store's sequence when its request was looked up
	most   int64  // bytes that its body may have
	length int64  // bytes that its body has to have; -1: any
	cost   int64  // bytes
	whole  bool   // it has its body

	tags []uint64 // hashes of its tags and groups, sorted; see tagsOf

	// All that changes of an entry, by sync/atomic. In unix nanoseconds: when it was last asked for anew behind a request,
	// when the backend last failed, and since when a soft purge has it be stale (0: none has). checked is the store's sequence
	// up to which it was compared with purges.
	refreshed, failed, softened int64
	checked                     uint64
	formed                      [FormKinds]int64 // when it was last tried to make a form

	refused bool // must not be stored: no permission, incomplete or too large
}

// NewEntry makes an entry of a response that Decide allowed to be stored.
//
// req is the Request given to Lookup, with the same header fields. template is
// the response head that hits are written from and templateSize its bytes in
// memory. body is the whole body: the entry takes it over, so it must not come
// from a pooled buffer, and its capacity is what it costs; nil: a Fill brings it. digest names the
// ruleset that inspected the response.
//
// If the decision is not to store, the body is not as long as
// resp.BodyLength (RFC 9111 §3.3: incomplete) or it is longer than d.MaxBody,
// the entry can be served to this request but Put refuses it.
func NewEntry(req *Request, resp *Response, d Decision, template any, templateSize int, body []byte, digest string) *Entry {
	e := &Entry{
		Template:   template,
		Status:     resp.Status,
		Digest:     digest,
		received:   resp.Received,
		initialAge: d.InitialAge,
		lifetime:   d.Lifetime,
		vary:       selectBy(d.vary, req.Header),
		modified:   modifiedAt(resp),
		date:       dateOf(resp),
		validators: validatorsOf(resp.Header),
		terms:      d.terms,
		seq:        req.seq,
		checked:    req.seq,
	}
	e.etag, e.weak = opaqueTag(resp.Header)
	nameLanguage(e.vary, resp.Header)
	if e.key = req.owned; e.key == nil {
		e.key = bytes.Clone(req.Key)
	}
	e.tags = tagsOf(resp.Header, e.key)
	e.vhost, e.id = req.Vhost, entryIDs.Add(1)
	e.most, e.length = d.MaxBody, resp.BodyLength
	e.refused = !d.Store
	e.cost = e.costOf(templateSize)
	if body != nil {
		e.complete(body)
	}
	return e
}

// costOf is what a new entry costs without its body.
func (e *Entry) costOf(templateSize int) int64 {
	cost := entryOverhead + int64(templateSize) + int64(2*len(e.etag)+len(e.Digest)+len(e.validators.modified)+8*len(e.tags))
	for i := range e.vary {
		cost += int64(64 + len(e.vary[i].name) + len(e.vary[i].value))
	}
	return cost
}

// inMemory is what n bytes that were allocated together take: Go rounds small objects up to one of its size classes, by a
// sixteenth as a mean, and larger ones to whole pages of 8 KiB.
func inMemory(n int64) int64 {
	if n <= 32<<10 {
		return n + n/16
	}
	return (n + 8<<10 - 1) &^ (8<<10 - 1)
}

// complete gives a new entry its body.
func (e *Entry) complete(body []byte) {
	n := int64(len(body))
	e.Body, e.whole = body, true
	e.cost += inMemory(int64(cap(body)))
	e.refused = e.refused || n > e.most || e.length >= 0 && e.length != n
}

// Age is the entry's current age (RFC 9111 §4.2.3). It is never negative.
func (e *Entry) Age(now time.Time) time.Duration {
	return max(now.Sub(e.received), 0) + e.initialAge
}

// TTL is the freshness that remains at now; zero or less when stale.
func (e *Entry) TTL(now time.Time) time.Duration { return e.ttl(e.Age(now), now) }

// ttl is TTL where the age is known.
func (e *Entry) ttl(age time.Duration, now time.Time) time.Duration {
	ttl := e.lifetime - age
	if at := atomic.LoadInt64(&e.softened); at != 0 {
		ttl = min(ttl, time.Duration(min(at-now.UnixNano(), 0)))
	}
	return ttl
}

const (
	// refreshPause is between two requests for what is stale, made behind others: a backend that fails is not asked for
	// every hit.
	refreshPause = time.Second
	// failurePause is how long a backend's failure is believed: until then what is stale serves at once.
	failurePause = 5 * time.Second
)

// refresh reports whether it is time to ask for e anew; then it is up to the caller.
func (e *Entry) refresh(now time.Time) bool {
	last := atomic.LoadInt64(&e.refreshed)
	return now.UnixNano()-last >= int64(refreshPause) && atomic.CompareAndSwapInt64(&e.refreshed, last, now.UnixNano())
}

// PutOff is for whoever was to ask for e anew (see Lookup.Refresh) and cannot: the next hit is to try.
func (e *Entry) PutOff() { atomic.StoreInt64(&e.refreshed, 0) }

// failing reports whether the backend has failed a moment ago.
func (e *Entry) failing(now time.Time) bool {
	return now.UnixNano()-atomic.LoadInt64(&e.failed) < int64(failurePause)
}

// Length is the body's length as it was announced; -1: it was not.
func (e *Entry) Length() int64 { return e.length }

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
		if a, b := &e.vary[i], &o.vary[i]; a.name != b.name || a.present != b.present || a.value != b.value {
			return false
		}
	}
	return true
}
