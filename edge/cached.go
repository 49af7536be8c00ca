package edge

import (
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/cache"
	"gatehouse/edge/upstream"
	"gatehouse/internal/octets"
)

// collected is the size up to which a body is read whole before it is sent on:
// the outcome of storing it then stands in its own Cache-Status.
const collected = 32 << 10

// serveCached answers from the cache, or passes on and keeps what may be kept.
func (s *Server) serveCached(next handler) handler {
	return func(r *request) error {
		policy := r.site.cache
		if policy == nil || r.Upgrade != "" {
			return next(r)
		}
		c := &r.cached
		c.r, c.store, c.policy = r, s.opts.Cache, policy
		c.key = cache.AppendKey(c.key[:0], r.site.tenant, r.site.name, r.Scheme, r.Host, r.Target)
		c.request = cache.Request{Method: r.Method, Header: (*requestHeader)(r), HasBody: !r.body.none(), Key: c.key}
		c.lookup = s.opts.Cache.Lookup(&c.request, policy)
		r.record.Looked = time.Now()
		if c.unfit() {
			c.lookup.Entry, c.lookup.Forward, c.lookup.Detail = nil, cache.ForwardStale, "ruleset"
		}
		switch {
		case c.lookup.Entry != nil:
			c.hit()
			return nil
		case c.lookup.OnlyIfCached || listHas(r.value("cache-control"), "only-if-cached"):
			return refuse(504, "not in the cache, and nothing else was wanted")
		}
		if err := next(r); err != nil {
			return err
		}
		return c.forwarded()
	}
}

// cached is one request's dealings with the cache.
type cached struct {
	r        *request
	store    *cache.Store
	policy   *cache.Policy
	request  cache.Request
	lookup   cache.Lookup
	head     cache.Response
	decision cache.Decision

	key    []byte
	peeked [][]byte // the result of the last PeekAll
}

// unfit reports whether a hit was inspected by other rules than those in force.
func (c *cached) unfit() bool {
	return c.lookup.Entry != nil && c.r.site.profile.Responses && c.lookup.Entry.Digest != c.r.waf.Digest()
}

// hit answers from the entry.
func (c *cached) hit() {
	e, r := c.lookup.Entry, c.r
	template := e.Template.(*storedHead)
	r.record.Cache = "hit"
	p := &r.response // nothing has answered yet
	p.status, p.template, p.body, p.length = e.Status, template, e.Body, int64(len(e.Body))
	p.fields = r.own[:0]
	if e.NotModified((*requestHeader)(r)) {
		r.response = response{status: 304, length: -1}
		r.response.fields = template.notModified()
	}
	r.response.set("Age", strconv.FormatInt(int64(c.lookup.Age/time.Second), 10))
	c.status(cache.Outcome{})
}

// forwarded decides what becomes of the backend's answer.
func (c *cached) forwarded() error {
	p, r := &c.r.response, c.r
	r.record.Cache = "miss"
	c.invalidate()
	if !c.lookup.MayStore {
		r.record.Cache = "bypass"
		c.status(cache.Outcome{})
		return nil
	}
	for _, f := range r.Fields {
		c.request.HeadSize += len(f.Name) + len(f.Value)
	}
	c.head = cache.Response{
		Status: p.status, Header: (*responseHeader)(r), BodyLength: p.length, Received: p.received, RequestTime: p.asked,
	}
	c.decision = cache.Decide(&c.request, &c.head, c.policy)
	reason := string(c.decision.Reason)
	if c.decision.Store && variesByOurs(p) {
		c.decision.Store, reason = false, "vary-forwarded"
	}
	if !c.decision.Store {
		r.record.Cache = "miss " + reason
		c.status(cache.Outcome{Detail: reason})
		return nil
	}
	// The head is copied now: links and the done hook see later additions.
	fill := &fill{
		cached: c, template: storeHead(p), src: p.stream,
		most: min(c.decision.MaxBody, c.store.MaxEntry()),
	}
	if p.length >= 0 && p.length <= collected {
		return c.collect(fill)
	}
	// What becomes of a body that streams is not known when its head is sent; the
	// access line and the metrics tell.
	c.status(cache.Outcome{})
	p.stream = fill
	r.onDone(fill.commit)
	return nil
}

// variesByOurs reports whether the answer depends on a field that the backend did
// not get as the client sent it: the stored answer would be selected by the
// client's word, and made for another.
func variesByOurs(p *response) bool {
	for _, f := range p.fields {
		if !field(f).Is("vary") {
			continue
		}
		for name := range strings.SplitSeq(strings.ToLower(string(f.Value)), ",") {
			name = strings.Trim(name, " \t")
			if ruleOf([]byte(name)) != passes || strings.ContainsAny(name, "_.") {
				return true
			}
		}
	}
	return false
}

// collect reads a small body whole and stores it before the head is sent. A body
// that is cut is an error: nothing of it was sent yet.
func (c *cached) collect(f *fill) error {
	p := &c.r.response
	body := make([]byte, p.length)
	_, err := io.ReadFull(f.src, body)
	if err != nil {
		c.r.record.Cache = "miss incomplete"
		return fail(502, "the site's answer ended early", err)
	}
	stored := c.store.Put(&c.request, f.entry(body))
	outcome := cache.Outcome{Stored: stored}
	if !stored {
		outcome.Detail = "admission"
		c.r.record.Cache = "miss admission"
	}
	c.status(outcome)
	p.discard()
	p.body = body
	return nil
}

// invalidate forgets what an unsafe method has probably changed (RFC 9111 §4.4).
func (c *cached) invalidate() {
	switch c.r.Method {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return
	}
	if status := c.r.response.status; status >= 200 && status < 400 {
		c.store.Invalidate(c.request.Key)
	}
}

func (c *cached) status(o cache.Outcome) {
	r := c.r
	start := len(r.scratch)
	r.scratch = cache.FormatStatus(r.scratch, &c.lookup, o)
	r.response.fields = append(r.response.fields, upstream.Field{Name: cacheStatus, Value: slices.Clip(r.scratch[start:])})
}

var cacheStatus = []byte("Cache-Status")

// A requestHeader is a request's fields, for the cache.
type requestHeader request

// PeekAll returns all values of a field; names are compared without case. The result
// is valid until the next call. Accept-Encoding is the one that the backend gets: where that
// is ours, an answer that varies by it is the same for every client.
func (h *requestHeader) PeekAll(name string) [][]byte {
	out := h.cached.peeked[:0]
	if name == "Accept-Encoding" && (*request)(h).wantsPlain() {
		h.cached.peeked = append(out, octets.View(identity))
		return h.cached.peeked
	}
	for _, f := range h.Fields {
		if equalFold(f.Name, name) {
			out = append(out, f.Value)
		}
	}
	h.cached.peeked = out
	return out
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

// fill is the stream of a response that is being stored: it keeps a copy of what
// passes.
type fill struct {
	cached   *cached
	template *storedHead
	src      io.ReadCloser
	most     int64
	body     []byte
	whole    bool // the stream ended as it should
	tooLong  bool
}

// Read implements io.Reader.
func (f *fill) Read(b []byte) (int, error) {
	n, err := f.src.Read(b)
	switch {
	case f.tooLong:
	case int64(len(f.body)+n) > f.most:
		f.tooLong, f.body = true, nil
	default:
		if f.body == nil && f.cached.head.BodyLength > 0 {
			f.body = make([]byte, 0, f.cached.head.BodyLength)
		}
		f.body = append(f.body, b[:n]...)
	}
	f.whole = err == io.EOF
	return n, err
}

// Buffered is that of the source.
func (f *fill) Buffered() int { return buffered(f.src) }

// Close implements io.Closer.
func (f *fill) Close() error { return f.src.Close() }

func (f *fill) entry(body []byte) *cache.Entry {
	r := f.cached.r
	return cache.NewEntry(&f.cached.request, &f.cached.head, f.cached.decision, f.template, f.template.size(), body, r.waf.Digest())
}

// commit stores the response if all of it came; a truncated one never is.
func (f *fill) commit() {
	r := f.cached.r
	switch {
	case f.tooLong:
		r.record.Cache = "miss too-large"
	case !f.whole:
		r.record.Cache = "miss incomplete"
	case f.cached.store.Put(&f.cached.request, f.entry(exact(f.body))):
	default:
		r.record.Cache = "miss admission"
	}
}

// exact returns a body without spare capacity, which would be held with it.
func exact(body []byte) []byte {
	if len(body) == cap(body) {
		return body
	}
	return append(make([]byte, 0, len(body)), body...)
}
