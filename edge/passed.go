package edge

import (
	"net/url"
	"strings"

	"gatehouse/cache"
	"gatehouse/routes"
)

// pass sends on a request that the cache does not answer, and learns from its answer what it tells of stored ones.
func (c *cached) pass(next handler) error {
	r := c.r
	if err := next(r); err != nil {
		return err
	}
	r.record.Cache = "bypass"
	switch {
	case r.Method == "HEAD":
		c.freshen()
	case !safe(r.Method):
		c.invalidate()
		if c.posted() {
			return c.keepPosted()
		}
	}
	c.status(cache.Outcome{})
	return nil
}

// safe reports whether a method is registered as one that changes nothing (RFC 9110 §16.1, https://www.iana.org/assignments/http-methods).
// PRI is none that a request can have. Any other may change what it is for, one that nobody has heard of, too.
func safe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", // RFC 9110
		"PROPFIND", // RFC 4918
		"REPORT",   // RFC 3253
		"SEARCH",   // RFC 5323
		"QUERY":    // draft-ietf-httpbis-safe-method-w-body
		return true
	}
	return false
}

// invalidate forgets what an unsafe method has probably changed (RFC 9111 §4.4): its target, and what the answer says that
// it made or where it lies, if that is on the same host, and the groups that it names (RFC 9875 §3).
func (c *cached) invalidate() {
	p := &c.r.response
	if p.status < 200 || p.status >= 400 {
		return
	}
	header := (*responseHeader)(c.r)
	changes := cache.Changes{Groups: cache.InvalidatedGroups(header)}
	c.forget(&changes, c.r.Target)
	for _, name := range []string{"location", "content-location"} {
		if target, ok := c.targetOf(p.value(name)); ok && target != c.r.Target {
			c.forget(&changes, target)
		}
	}
	c.store.Answered(&c.request, header, &changes)
}

// forget adds what is stored of a target of the request's own host to what has changed. Where more than the target is in the key,
// that is of other clients, too: what this one changed, they must not get either.
func (c *cached) forget(changes *cache.Changes, target string) {
	if !c.policy.Keyed() {
		changes.Keys = append(changes.Keys, c.keyOf(nil, target))
		return
	}
	if counted, changed := c.policy.Target(nil, target); changed {
		target = string(counted)
	}
	changes.URLs = append(changes.URLs, c.r.Host+target)
}

// targetOf returns the target of a reference in the answer, as a request for it would have it. ok is false if there is none, or
// it leads to another host.
func (c *cached) targetOf(reference string) (target string, ok bool) {
	r := c.r
	if strings.HasPrefix(reference, "/") && !strings.HasPrefix(reference, "//") && !strings.Contains(reference, "#") {
		return reference, true
	}
	if reference == "" {
		return "", false
	}
	base := url.URL{Scheme: r.Scheme, Host: r.RawHost, Path: r.path()}
	u, err := base.Parse(reference)
	if err != nil {
		return "", false
	}
	if host, err := routes.CanonicalHost(u.Host); err != nil || host != r.Host {
		return "", false
	}
	return u.RequestURI(), true
}

// posted reports whether the answer to a POST is what a GET of the same target would get for a time that it states
// (RFC 9110 §9.3.3).
func (c *cached) posted() bool {
	r := c.r
	if r.Method != "POST" || r.response.status != 200 {
		return false
	}
	target, ok := c.targetOf(r.response.value("content-location"))
	return ok && target == r.Target
}

// keepPosted keeps the answer to a POST for those who GET the same.
func (c *cached) keepPosted() error {
	c.request.Method, c.request.HasBody, c.request.Explicit = "GET", false, true
	return c.keep(0)
}

// freshen brings what is stored up to date by the answer to a HEAD, or forgets it where that tells of another, or may not be stored
// any more (RFC 9111 §4.3.5).
func (c *cached) freshen() {
	e, p := c.lookup.Stale, &c.r.response
	if e == nil || p.status != e.Status {
		return
	}
	header := (*responseHeader)(c.r)
	if !e.Validates(header) || p.length >= 0 && p.length != int64(len(e.Body)) || !e.SameModified(header) {
		c.store.Invalidate(c.key)
		return
	}
	updated := *p
	updated.fields = e.Template.(*storedHead).updated(p.fields)
	fields := p.fields
	p.fields = updated.fields // where responseHeader reads them
	c.request.Method = "GET"
	head := cache.Response{Status: p.status, Header: header, BodyLength: int64(len(e.Body)), Received: p.received, RequestTime: p.asked}
	switch d := cache.Decide(&c.request, &head, c.policy); {
	case d.Store && !variesByOurs(p):
		template := storeHead(&updated)
		// That it is not admitted is counted there, and changes nothing for this request.
		_ = c.store.Put(cache.NewEntry(&c.request, &head, d, template, template.size(), e.Body, e.Digest))
	case !d.Reason.OfRequest(): // else any client could have it forgotten, by a no-store of its own
		c.store.Invalidate(c.key)
	}
	p.fields = fields
}
