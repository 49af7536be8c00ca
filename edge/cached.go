package edge

import (
	"io"
	"strconv"
	"strings"
	"time"

	"gatehouse/cache"
	"gatehouse/edge/upstream"
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
		c := cached{s: s, r: r, policy: policy}
		c.request = cache.Request{
			Method: r.Method, Header: requestFields(r.Fields), HasBody: !r.body.none(),
			Key: cache.AppendKey(nil, r.site.tenant, r.site.name, r.Scheme, r.Host, r.Target),
		}
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
	s        *Server
	r        *request
	policy   *cache.Policy
	request  cache.Request
	lookup   cache.Lookup
	decision cache.Decision
}

// unfit reports whether a hit was inspected by other rules than those in force.
func (c *cached) unfit() bool {
	return c.lookup.Entry != nil && c.r.site.profile.Responses && c.lookup.Entry.Digest != c.r.site.profile.Digest()
}

// hit answers from the entry.
func (c *cached) hit() {
	e, r := c.lookup.Entry, c.r
	template := e.Template.(*storedHead)
	r.record.Cache = "hit"
	r.response = response{status: e.Status, template: template, body: e.Body, length: int64(len(e.Body))}
	if e.NotModified(requestFields(r.Fields)) {
		r.response = response{status: 304, length: -1}
		r.response.fields = template.notModified()
	}
	r.response.set("Age", strconv.FormatInt(int64(c.lookup.Age/time.Second), 10))
	r.response.set("Cache-Status", string(cache.FormatStatus(nil, &c.lookup, cache.Outcome{})))
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
	head := cache.Response{
		Status: p.status, Header: fieldList(p.fields), BodyLength: p.length, Received: p.received, RequestTime: p.asked,
	}
	c.decision = cache.Decide(&c.request, &head, c.policy)
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
		cached: c, head: head, template: storeHead(p), src: p.stream,
		most: min(c.decision.MaxBody, c.s.opts.Cache.MaxEntry()),
	}
	if p.length >= 0 && p.length <= collected {
		return c.store(fill)
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
			if hopByHop[name] || rewritten[name] || claims[name] || strings.HasPrefix(name, "x-forwarded-") ||
				strings.HasPrefix(name, "x-ssl-") || strings.ContainsAny(name, "_.") {
				return true
			}
		}
	}
	return false
}

// store reads a small body whole and stores it before the head is sent. A body
// that is cut is an error: nothing of it was sent yet.
func (c *cached) store(f *fill) error {
	p := &c.r.response
	body := make([]byte, p.length)
	_, err := io.ReadFull(f.src, body)
	if err != nil {
		c.r.record.Cache = "miss incomplete"
		return fail(502, "the site's answer ended early", err)
	}
	stored := c.s.opts.Cache.Put(&c.request, f.entry(body))
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
		c.s.opts.Cache.Invalidate(c.request.Key)
	}
}

func (c *cached) status(o cache.Outcome) {
	c.r.response.set("Cache-Status", string(cache.FormatStatus(nil, &c.lookup, o)))
}

// fieldList lets the cache read a backend's fields.
type fieldList []upstream.Field

// PeekAll returns all values of a field; names are compared without case.
func (l fieldList) PeekAll(name string) [][]byte {
	var out [][]byte
	for _, f := range l {
		if len(f.Name) == len(name) && strings.EqualFold(string(f.Name), name) {
			out = append(out, f.Value)
		}
	}
	return out
}

// requestFields are a request's, for the cache.
type requestFields []field

// PeekAll returns all values of a field; names are compared without case.
func (l requestFields) PeekAll(name string) [][]byte {
	var out [][]byte
	for _, f := range l {
		if len(f.Name) == len(name) && strings.EqualFold(string(f.Name), name) {
			out = append(out, f.Value)
		}
	}
	return out
}

// fill is the stream of a response that is being stored: it keeps a copy of what
// passes.
type fill struct {
	cached   *cached
	head     cache.Response
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
		if f.body == nil && f.head.BodyLength > 0 {
			f.body = make([]byte, 0, f.head.BodyLength)
		}
		f.body = append(f.body, b[:n]...)
	}
	f.whole = err == io.EOF
	return n, err
}

// Close implements io.Closer.
func (f *fill) Close() error { return f.src.Close() }

func (f *fill) entry(body []byte) *cache.Entry {
	r := f.cached.r
	return cache.NewEntry(&f.cached.request, &f.head, f.cached.decision, f.template, f.template.size(), body, r.site.profile.Digest())
}

// commit stores the response if all of it came; a truncated one never is.
func (f *fill) commit() {
	r := f.cached.r
	switch {
	case f.tooLong:
		r.record.Cache = "miss too-large"
	case !f.whole:
		r.record.Cache = "miss incomplete"
	case f.cached.s.opts.Cache.Put(&f.cached.request, f.entry(exact(f.body))):
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

// cacheResult is the part of a cache record that is a metric's label.
func cacheResult(recorded string) string {
	result, _, _ := strings.Cut(recorded, " ")
	return result
}
