package edge

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"gatehouse/cache"
)

// collected is the size up to which a body that is at hand is read whole before it is sent on:
// the outcome of storing it then stands in its own Cache-Status.
const collected = 32 << 10

// patience is how long it may take once its first bytes are there.
const patience = 5 * time.Millisecond

// errBackend is why others than the one who asked get no answer, or a stale one: the backend answered that it has failed.
var errBackend = errors.New("the backend answered with an error")

// lead sends the request on, keeps what may be kept of the answer, and gives it to those who wait for the flight, which is
// nil if nobody can.
func (c *cached) lead(next handler, flight *cache.Flight) error {
	r := c.r
	c.flight = flight
	defer c.abandon()
	c.conditional = flight != nil || c.lookup.Stale != nil
	err := c.ask(next)
	if failure := c.failure(err); failure != nil {
		if c.store.ServesOnError(&c.lookup) {
			c.release(failure)
			c.stale(cache.Outcome{Forwarded: true}, err)
			return nil
		}
		if err != nil && c.flight != nil { // else keep decides: an error may be stored, too, if the vhost has it so
			c.flight.GiveUp(err)
			c.flight = nil
		}
	} else if err != nil {
		c.withheld(err)
	}
	if err != nil {
		return err
	}
	r.record.Cache = "miss"
	origin := r.response.status
	if origin == 304 && c.lookup.Stale != nil {
		c.validated()
	} else {
		origin = 0
	}
	return c.keep(origin)
}

// ask sends the request on. A 304 that is not about what is stored (RFC 9111 §4.3.4) answers nobody: then all of it is asked for,
// once, and what is stored is forgotten. An answer that is inspected is not asked for twice, since the rules have seen the first.
func (c *cached) ask(next handler) error {
	r := c.r
	err := next(r)
	stale := c.lookup.Stale
	if err != nil || stale == nil || r.response.status != 304 || stale.Validates((*responseHeader)(r)) {
		return err
	}
	r.response.discard()
	c.lookup.Stale = nil
	c.store.Forget(&c.request)
	if !r.site.profile.Responses {
		r.response = response{}
		if err = next(r); err != nil || r.response.status != 304 {
			return err
		}
		r.response.discard()
	}
	return fail(502, "the site's answer does not fit the request", errMisfit)
}

var errMisfit = errors.New("304 for another entity tag than that which was asked about")

// abandon ends the leading of a flight that is not decided.
func (c *cached) abandon() {
	if c.flight != nil {
		c.flight.Abandon()
		c.flight = nil
	}
}

// release decides the flight, if any, for a request whose backend has failed, and which has a stale answer all the same.
func (c *cached) release(err error) {
	if c.flight != nil {
		c.flight.Fail(err)
	}
}

// withheld decides the flight, if any, for a request whose answer must not leave: each asks for himself, all at once. If its
// client has left, waiters join anew.
func (c *cached) withheld(err error) {
	if c.flight != nil && !errors.Is(err, context.Canceled) {
		c.flight.Release(true)
	}
}

// failure is why what is stored may stand in for the answer (RFC 5861 §4): an error, or a status that says that the backend
// has failed. Nil: it may not.
func (c *cached) failure(err error) error {
	if err != nil {
		status := asHTTPError(err).status
		if (status == 500 || status >= 502 && status <= 504) && !errors.Is(err, context.Canceled) { // else it is the client's doing
			return err
		}
		return nil
	}
	switch c.r.response.status {
	case 500, 502, 503, 504:
		return errBackend
	}
	return nil
}

// stale answers with what is stored in the place of a failed backend, for the operator's log with its error.
func (c *cached) stale(o cache.Outcome, err error) {
	r := c.r
	if err == nil && !o.Collapsed {
		o.Status = r.response.status
	}
	o.Detail = "stale-if-error"
	r.response.discard()
	r.record.Cache, r.record.Err = "stale", err
	c.answer(o)
}

// validated makes the response the stored one that the backend has found good, with the fields that its 304 brought
// (RFC 9111 §3.2, §4.3.4).
func (c *cached) validated() {
	r, e := c.r, c.lookup.Stale
	p := &r.response
	p.fields = e.Template.(*storedHead).updated(p.fields)
	p.discard()
	p.status, p.body, p.length = e.Status, e.Body, int64(len(e.Body))
	r.record.Cache = "validated"
}

// keep stores what may be stored of the answer. origin is the backend's status if the response has another.
func (c *cached) keep(origin int) error {
	r, p := c.r, &c.r.response
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
	if c.decision.Store && p.length > c.store.MaxEntry() {
		c.decision.Store, reason = false, "too-large"
	}
	if !c.decision.Store {
		c.letGo()
		if c.lookup.Stale != nil && p.status < 500 {
			c.store.Invalidate(c.request.Vhost, c.key) // what is stored is not what the backend says any more
		}
		return c.unstored(reason, origin)
	}
	template := storeHead(p) // a copy: links and the done hook see later additions
	entry := cache.NewEntry(&c.request, &c.head, c.decision, template, template.size(), p.body, r.waf.Digest())
	if p.stream == nil {
		return c.keepWhole(entry, origin)
	}
	c.fill = c.store.NewFill(entry, p.length, r.keepBody)
	if c.fill == nil {
		if c.flight != nil {
			c.flight.Release(false)
		}
		return c.unstored("busy", origin)
	}
	c.body = c.fill.Reader()
	c.share(entry)
	return c.fromFill(entry)
}

// letGo decides the flight, if any, for an answer that is not stored. Where that is the request's doing it says nothing of what
// others get, who join anew.
func (c *cached) letGo() {
	switch status := c.r.response.status; {
	case c.flight == nil:
	case c.decision.Reason.OfRequest() || cache.FaultOfRequest(status):
		c.abandon()
	default:
		c.flight.Release(status < 500)
	}
}

// share gives the response to those who wait for it, if it may answer them.
func (c *cached) share(e *cache.Entry) {
	switch {
	case c.flight == nil:
	case !c.decision.Shared:
		c.flight.Release(true)
	case c.fill != nil:
		c.flight.Share(c.fill)
	default:
		c.flight.Answer(e)
	}
}

// unstored sends a response on that is not kept.
func (c *cached) unstored(reason string, origin int) error {
	c.r.record.Cache = "miss " + reason
	c.status(cache.Outcome{Detail: reason, Status: origin})
	return nil
}

// keepWhole stores a response whose body is there already.
func (c *cached) keepWhole(e *cache.Entry, origin int) error {
	err := c.store.Put(e)
	c.share(e)
	outcome := cache.Outcome{Stored: err == nil, Status: origin}
	if err != nil {
		outcome.Detail = err.Error()
		c.r.record.Cache = "miss " + outcome.Detail
	}
	c.status(outcome)
	c.conditions(e)
	return nil
}

// fromFill answers with the body as it comes into the cache. One that is small is there before the head is sent: if it is
// cut, that is an error, for nothing of it was sent.
func (c *cached) fromFill(e *cache.Entry) error {
	r, p := c.r, &c.r.response
	p.stream = c.body
	r.onDone(c.filled)
	outcome := cache.Outcome{}
	if p.length <= collected && c.fill.Gather(collected, patience) {
		if body := c.fill.Whole(); body != nil {
			p.discard()
			p.body, p.length = body, int64(len(body))
		}
	}
	// What becomes of a body that streams is not known when its head is sent; the access line and the metrics tell.
	if ended, err := c.fill.Outcome(); ended {
		outcome.Stored = err == nil
		if err != nil {
			outcome.Detail = outcomeOf(err)
			if outcome.Detail == incomplete {
				r.record.Cache = "miss " + incomplete
				return fail(502, "the site's answer ended early", err)
			}
		}
	}
	c.status(outcome)
	c.conditions(e)
	if p.stream != nil {
		c.watch()
	}
	return nil
}

// incomplete is a body that did not come to its end.
const incomplete = "incomplete"

// outcomeOf is what the record says of a fill that ended with err.
func outcomeOf(err error) string {
	switch {
	case cache.Refused(err) == "":
		return incomplete
	case cache.Refused(err) == "size":
		return "too-large"
	}
	return cache.Refused(err)
}

// filled notes what became of the fill, as far as it is known when the client has its answer.
func (c *cached) filled() {
	c.close()
	if ended, err := c.fill.Outcome(); ended && err != nil {
		c.r.record.Cache = "miss " + outcomeOf(err)
	}
}

// close ends the reading of a body that comes from a fill.
func (c *cached) close() {
	c.r.srv.waiters.remove(&c.waiting)
	if c.body != nil {
		_ = c.body.Close() // never fails
		c.body = nil
	}
}

// conditions answers 304 where the client's own conditions, which were kept from the backend, say so (RFC 9111 §4.3.2).
func (c *cached) conditions(e *cache.Entry) {
	r := c.r
	if !c.conditional || !e.NotModified((*requestHeader)(r)) {
		return
	}
	if c.fill != nil {
		c.fill.Finish()
		c.close()
	}
	p := &r.response
	kept := p.fields[:0]
	for _, f := range p.fields {
		if slices.ContainsFunc(repeated, field(f).Is) || field(f).Is("cache-status") {
			kept = append(kept, f)
		}
	}
	p.fields, p.status, p.body, p.stream, p.length = kept, 304, nil, nil, -1
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
