package edge

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"gatehouse/cache"
	"gatehouse/edge/compress"
	"gatehouse/edge/upstream"
	"gatehouse/internal/octets"
)

// serveCached answers from the cache, or from what another equal request brings, or passes on and keeps what may be kept.
func (s *Server) serveCached(next handler) handler {
	s.fetch = next
	return func(r *request) error {
		policy := r.site.cache
		if policy == nil || r.Upgrade != "" {
			return next(r)
		}
		err := r.cached.serve(r, next)
		r.response.hide()
		return err
	}
}

// serve is serveCached for a vhost with a cache.
func (c *cached) serve(r *request, next handler) error {
	c.begin(r)
	c.lookup = c.store.Lookup(&c.request, c.policy)
	r.record.Looked = time.Now()
	c.inspectHit()
	for again := 0; ; again++ {
		switch {
		case c.lookup.Entry != nil:
			c.hit()
			return nil
		case c.lookup.OnlyIfCached || listHas(r.value("cache-control"), "only-if-cached"):
			c.lookup.OnlyIfCached = true
			return fail(504, "not in the cache, and nothing else was wanted", errNotStored)
		case !c.lookup.MayStore:
			return c.pass(next)
		}
		flight, lead := c.store.Join(&c.request, &c.lookup)
		c.inspectHit() // it may have come since
		switch {
		case flight != nil && !lead && again == mostAgain:
			flight.Leave()
			return c.lead(next, nil)
		case flight != nil && !lead:
			if err := c.wait(next, flight); err != cache.ErrAgain {
				return err
			}
		case c.lookup.Entry == nil:
			return c.lead(next, flight)
		}
	}
}

// errNotStored is why a request with only-if-cached gets nothing (RFC 9111 §5.2.1.7).
var errNotStored = errors.New("the request has only-if-cached")

// cached is one request's dealings with the cache.
type cached struct {
	r        *request
	store    *cache.Store
	policy   *cache.Policy
	request  cache.Request
	lookup   cache.Lookup
	head     cache.Response
	decision cache.Decision
	flight   *cache.Flight // that the request leads
	repeats  bool          // for another one, which has failed
	fill     *cache.Fill   // that it has begun

	// Of a request that goes to the backend to be stored: its conditions are what is stored, and not the client's.
	conditional bool
	target      string // that the backend gets, where the vhost does not count all of the query; empty: the client's
	device      string // class of the client's device, where the vhost asks for it

	waiting waiting       // for a flight, or for the body of another's
	body    *cache.Reader // of a response on its way
	gone    chan struct{} // closed when the client has left while it waits for a flight
	isGone  atomic.Bool

	key    []byte
	peeked [][]byte // the result of the last PeekAll
	names  uint64   // see nameBit; 0: not known
}

// begin makes c ready for a request to a vhost with a cache.
func (c *cached) begin(r *request) {
	c.r, c.store, c.policy = r, r.srv.opts.Cache, r.site.cache
	if r.hasClientCert() {
		c.policy = r.site.certified
	}
	for _, f := range r.Fields {
		c.names |= nameBit(f.Name)
	}
	header := (*requestHeader)(r)
	c.device = c.policy.Device(header)
	c.request.Header = header
	c.key = c.keyOf(c.key[:0], r.Target)
	c.request = cache.Request{Method: r.Method, Target: r.Target, Header: header, HasBody: !r.body.none(), Key: c.key, Vhost: r.site.account}
	if r.Method != "GET" && r.Method != "HEAD" || c.policy.Bypasses(r.Target, header) {
		c.target = "" // the backend gets what the client sent
	}
}

// inspectHit takes back what was inspected by other rules than those in force.
func (c *cached) inspectHit() {
	l := &c.lookup
	if !c.r.site.profile.Responses || l.Entry == nil && l.Stale == nil {
		return
	}
	digest := c.r.waf.Digest()
	if l.Stale != nil && l.Stale.Digest != digest {
		l.Stale = nil
	}
	if l.Entry != nil && l.Entry.Digest != digest {
		l.Entry, l.Refresh, l.Forward, l.Detail = nil, false, cache.ForwardStale, "ruleset"
	}
}

// hit answers from what is stored.
func (c *cached) hit() {
	c.r.record.Cache = "hit"
	if c.lookup.TTL <= 0 { // whether it is this one that asks anew or not
		c.r.record.Cache = "stale"
	}
	if c.lookup.Refresh {
		c.r.srv.refresh(c)
	}
	c.answer(cache.Outcome{})
}

// answer makes the lookup's entry the response: all of it, a part (RFC 9110 §14), or nothing where the client has it
// already (§13.1).
func (c *cached) answer(o cache.Outcome) {
	e, r := c.lookup.Entry, c.r
	template := e.Template.(*storedHead)
	asked, received := r.response.asked, r.response.received
	p := &r.response
	*p = response{status: e.Status, template: template, fields: r.own[:0], asked: asked, received: received}
	switch header := (*requestHeader)(r); {
	case e.NotModified(header):
		c.close()
		p.status, p.template, p.length = 304, nil, -1
		p.fields = template.notModified()
		if r.site.compress && template.codes && !template.varying && max(e.Length(), int64(len(e.Body))) >= compress.MinLength {
			p.set(compress.VaryName, compress.VaryValue) // what a 200 would have (RFC 9110 §15.4.5)
		}
	case c.body != nil:
		p.stream, p.length = c.body, e.Length()
	default:
		p.body, p.length = e.Body, int64(len(e.Body))
		if r.Method == "GET" {
			c.part(e.PartOf(header, p.length))
		}
	}
	start := len(r.scratch)
	r.scratch = strconv.AppendInt(r.scratch, int64(c.lookup.Age/time.Second), 10)
	r.response.fields = append(r.response.fields, upstream.Field{Name: ageName, Value: slices.Clip(r.scratch[start:])})
	c.status(o)
}

// part makes the response the part of it that was asked for.
func (c *cached) part(part cache.Part) {
	p := &c.r.response
	if part.Status == 200 {
		return
	}
	whole := strconv.FormatInt(p.length, 10)
	switch part.Status {
	case 206:
		c.withoutRange()
		p.status, p.body, p.length = 206, p.body[part.From:part.To], part.To-part.From
		p.set("Content-Range", "bytes "+strconv.FormatInt(part.From, 10)+"-"+strconv.FormatInt(part.To-1, 10)+"/"+whole)
	case 416:
		p.status, p.body, p.length, p.template = 416, nil, 0, nil
		p.set("Content-Range", "bytes */"+whole)
	}
}

// withoutRange takes a Content-Range off that a whole has come with, for what reason ever: a part has one, which is ours.
func (c *cached) withoutRange() {
	p := &c.r.response
	fields := fieldsOf(p.template.lines)
	if !slices.ContainsFunc(fields, isContentRange) {
		return
	}
	fields = append(fields, fieldsOf(p.template.hsts)...)
	p.template, p.fields = nil, append(slices.DeleteFunc(fields, isContentRange), p.fields...)
}

func isContentRange(f upstream.Field) bool { return field(f).Is("content-range") }

// keyOf appends the key of a target of the request's own host, and notes what of it counts.
func (c *cached) keyOf(dst []byte, target string) []byte {
	r := c.r
	c.target = ""
	if counted, changed := c.policy.Target(nil, target); changed {
		c.target = string(counted)
		target = c.target
	}
	dst = cache.AppendKey(dst, r.site.tenant, r.site.name, r.Scheme, r.Host, target)
	return c.policy.AppendKey(dst, c.request.Header)
}

func (c *cached) status(o cache.Outcome) {
	r := c.r
	start := len(r.scratch)
	r.scratch = cache.FormatStatus(r.scratch, &c.lookup, o)
	r.response.fields = append(r.response.fields, upstream.Field{Name: cacheStatus, Value: slices.Clip(r.scratch[start:])})
}

var cacheStatus, ageName = []byte("Cache-Status"), []byte("Age")

// A requestHeader is a request's fields, for the cache.
type requestHeader request

// PeekAll returns all values of a field; names are compared without case, and as PHP reads them: what a field with a dot has made
// of the answer is else in no key, and in no Vary. The result
// is valid until the next call. Accept-Encoding is the one that the backend gets: where that
// is ours, an answer that varies by it is the same for all who take the same.
func (h *requestHeader) PeekAll(name string) [][]byte {
	out := h.cached.peeked[:0]
	if name == "Accept-Encoding" {
		if coding := (*request)(h).asksCoding(); coding != "" {
			h.cached.peeked = append(out, octets.View(coding))
			return h.cached.peeked
		}
	}
	if name == "X-Device-Class" && h.cached.device != "" {
		h.cached.peeked = append(out, octets.View(h.cached.device))
		return h.cached.peeked
	}
	if names := h.cached.names; names != 0 && names&nameBit(name) == 0 {
		return out
	}
	for _, f := range h.Fields {
		if equalFold(f.Name, name) || isTwin(f.Name, name) {
			out = append(out, f.Value)
		}
	}
	h.cached.peeked = out
	return out
}

// nameBit is one of 64 bits for a field's name, without case: the cache asks for a dozen fields that most requests do not
// have, and with the bits of those that a request has it need not look through them.
func nameBit[T string | []byte](name T) uint64 {
	if len(name) == 0 {
		return 0
	}
	return 1 << ((len(name)*5 + int(name[0]|0x20)*3 + int(name[len(name)-1]|0x20)) & 63)
}

// A responseHeader is the fields of a request's response, for the cache.
type responseHeader request

// PeekAll is that of a requestHeader.
func (h *responseHeader) PeekAll(name string) [][]byte {
	out := h.cached.peeked[:0]
	for _, f := range h.response.fields {
		if equalFold(f.Name, name) {
			out = append(out, f.Value)
		}
	}
	h.cached.peeked = out
	return out
}

// equalFold compares a field's name with one of the cache's, without case.
func equalFold(name []byte, canonical string) bool {
	return len(name) == len(canonical) && name[0]|0x20 == canonical[0]|0x20 && strings.EqualFold(string(name), canonical)
}
