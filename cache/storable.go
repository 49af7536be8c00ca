package cache

import "time"

// Reason says why a response is not stored. The values are RFC 8941 tokens, fit
// for Cache-Status details, log fields and metric labels; their number is fixed.
type Reason string

// The reasons of [Decide], in the order in which they are looked for.
const (
	ReasonPolicy         Reason = "cache-off"        // the vhost has no Policy
	ReasonBypass         Reason = "bypass-rule"      // Policy.Bypass; in lookups alone
	ReasonMethod         Reason = "method"           // not GET
	ReasonRequestBody    Reason = "request-body"     // GET with a body: the key does not cover it
	ReasonRange          Reason = "range"            // a part was asked for
	ReasonPrecondition   Reason = "precondition"     // If-Match and the like
	ReasonRequestNoStore Reason = "request-no-store" // RFC 9111 §5.2.1.5
	ReasonStatus         Reason = "status"           // interim, partial, 304, or unknown where only known ones may be stored
	ReasonRule           Reason = "rule"             // a rule of the vhost with a ttl of 0
	ReasonRequestFault   Reason = "request-fault"    // a refusal that the size of the request's head may have caused
	ReasonMalformed      Reason = "malformed"        // Cache-Control or Vary that does not parse
	ReasonNoStore        Reason = "no-store"         // RFC 9111 §5.2.2.5
	ReasonPrivate        Reason = "private"          // RFC 9111 §5.2.2.7
	ReasonNoCache        Reason = "no-cache"         // RFC 9111 §5.2.2.4: needs revalidation, and has nothing to do it with
	ReasonSetCookie      Reason = "set-cookie"
	ReasonAuthorization  Reason = "authorization" // RFC 9111 §3.5
	ReasonVaryStar       Reason = "vary-star"     // RFC 9111 §4.1
	ReasonVaryLimit      Reason = "vary-limit"    // names more than maxVary fields
	ReasonNoFreshness    Reason = "no-freshness"  // states no lifetime, and the Policy has none
	ReasonStale          Reason = "stale"         // stale, or too old, on arrival, and has nothing to revalidate it with
	ReasonTooLarge       Reason = "too-large"     // Content-Length over Policy.MaxBody
)

// OfRequest reports whether the request is why, whatever its response says: that tells nothing of what else is stored.
func (r Reason) OfRequest() bool {
	switch r {
	case ReasonBypass, ReasonMethod, ReasonRequestBody, ReasonRange, ReasonPrecondition, ReasonRequestNoStore, ReasonRequestFault, ReasonAuthorization:
		return true
	}
	return false
}

// Response is the head of an origin's final response, before the caller changes
// it.
type Response struct {
	Status     int
	Header     Header
	BodyLength int64     // Content-Length; -1 if unknown
	Received   time.Time // when the head arrived
	// RequestTime is when the request was sent: the round trip counts as age
	// (RFC 9111 §4.2.3). Zero means the same as Received.
	RequestTime time.Time
}

// Decision is what Decide found.
type Decision struct {
	Store      bool
	Reason     Reason        // why not; empty if Store
	Lifetime   time.Duration // freshness lifetime (RFC 9111 §4.2.1)
	InitialAge time.Duration // age on arrival (RFC 9111 §4.2.3)
	MaxBody    int64         // the caller stops collecting a body beyond this many bytes
	// Shared reports whether the response may answer others as it is: it may be stored, and is fresh on arrival.
	Shared bool

	vary  []string // canonical names, sorted
	terms terms
}

// terms are the conditions under which a stored response may be used.
type terms struct {
	authorized bool // may answer a request with Authorization (RFC 9111 §3.5)
	noCache    bool // only after validation (RFC 9111 §5.2.2.4)
	immutable  bool // does not change while it is fresh (RFC 8246)
	// how long past its freshness it may serve while it is revalidated, and while the backend fails
	whileRevalidate, ifError time.Duration
}

// Decide says whether the response to req may be stored (RFC 9111 §3), from the
// response's head. req must carry the header fields that it had at Lookup. It
// is a pure function and reads the headers only during the call.
func Decide(req *Request, resp *Response, p *Policy) Decision {
	if p == nil {
		return Decision{Reason: ReasonPolicy}
	}
	reqControl := requestControl(req, p)
	if r := requestRefusal(req, &reqControl); r != "" {
		return Decision{Reason: r}
	}
	c, targeted := responseControl(resp.Header)
	rule := p.ruleFor(req, resp)
	if rule.is && rule.override {
		c.noCache, c.mustRevalidate, c.proxyRevalid = false, false, false // the vhost's owner knows better
	}
	if r := responseRefusal(req, resp, &c, p); r != "" {
		return Decision{Reason: r}
	}
	d := Decision{MaxBody: p.maxBody(), terms: termsOf(&c, p, resp.Status)}
	if has(req.Header, "Authorization") && !d.terms.authorized {
		return Decision{Reason: ReasonAuthorization}
	}
	var r Reason
	if d.vary, r = parseVary(resp.Header.PeekAll("Vary")); r != "" {
		return Decision{Reason: r}
	}
	if r = d.setFreshness(req, resp, &c, targeted, p, rule); r != "" {
		return Decision{Reason: r}
	}
	if resp.BodyLength > d.MaxBody {
		return Decision{Reason: ReasonTooLarge}
	}
	d.Store = true
	d.Shared = !d.terms.noCache && d.Lifetime > d.InitialAge
	return d
}

// termsOf reads the conditions of use.
func termsOf(c *control, p *Policy, status int) terms {
	t := terms{
		// RFC 9111 §3.5. The permission also decides whether a response to an
		// anonymous request is given to one with credentials: the RFC would allow
		// that, but an origin that said nothing has not thought of it.
		authorized: c.public || c.sMaxAge.set || c.mustRevalidate,
		noCache:    c.noCache,
		immutable:  c.immutable,
	}
	// RFC 9111 §4.2.4. That s-maxage, too, implies proxy-revalidate (§5.2.2.10) yields to an answer that states both it and
	// how long it may be stale, as frameworks do that speak to caches of the edge; not to a setting of the vhost.
	if c.noCache || c.mustRevalidate || c.proxyRevalid {
		return t
	}
	if status >= 500 { // a failure that is over must not outlast its own lifetime, nor stand in for the next one
		t.whileRevalidate = time.Duration(c.revalidate.n) * time.Second
		return t
	}
	t.whileRevalidate = staleTime(c.revalidate, c, p.StaleWhileRevalidate)
	t.ifError = staleTime(c.onError, c, p.StaleIfError)
	return t
}

// staleTime is how long an answer may serve past its freshness: what it states, else the vhost's word.
func staleTime(stated seconds, c *control, setting time.Duration) time.Duration {
	switch {
	case stated.set:
		return time.Duration(stated.n) * time.Second
	case c.sMaxAge.set:
		return 0
	}
	return max(setting, 0)
}

// requestRefusal says why no response to req may be stored, whatever it is.
func requestRefusal(req *Request, c *control) Reason {
	if req.Method != "GET" {
		return ReasonMethod
	}
	if r := bypassReason(req); r != "" {
		return r
	}
	if has(req.Header, "Range") {
		return ReasonRange
	}
	if c.noStore || c.malformed { // garbage may have been meant as no-store
		return ReasonRequestNoStore
	}
	return ""
}

// bypassReason says why a GET or HEAD goes past the cache both ways.
func bypassReason(req *Request) Reason {
	switch {
	case req.HasBody:
		return ReasonRequestBody
	case hasPrecondition(req.Header):
		return ReasonPrecondition
	}
	return ""
}

// responseRefusal looks for what forbids storing the response, lifetime and
// selection aside. A status that is understood lifts no-store where the response
// says must-understand (RFC 9111 §5.2.2.3). Content-Range means something in a 206 alone
// (RFC 9110 §14.4).
func responseRefusal(req *Request, resp *Response, c *control, p *Policy) Reason {
	switch {
	case resp.Status < 200, resp.Status == 206, resp.Status == 304:
		return ReasonStatus // not final, not whole, not a response of its own
	case c.malformed:
		return ReasonMalformed
	case c.mustUnderstand && !understood(resp.Status):
		return ReasonStatus
	case faultOfRequest(resp.Status) && req.HeadSize > usualHead:
		return ReasonRequestFault
	case c.noStore && !c.mustUnderstand:
		return ReasonNoStore
	case c.private:
		return ReasonPrivate
	case c.noCache && !hasValidator(resp.Header):
		return ReasonNoCache
	case !p.StoreCookies && has(resp.Header, "Set-Cookie"):
		return ReasonSetCookie
	}
	return ""
}

// understood reports whether a status is one whose rules for caches are known here (RFC 9110 §15).
func understood(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 413, 414, 421, 431, 451, 500, 501, 502, 503, 504:
		return true
	}
	return false
}

// usualHead is the size in bytes of a request's fields that any backend takes. Servers refuse more at 4 to 32 KiB, each at
// its own bound: who knows it could have everybody see the refusal.
const usualHead = 4 << 10

// faultOfRequest reports whether a status says that a request was at fault and not what it asked for.
func faultOfRequest(status int) bool {
	switch status {
	case 400, 405, 413, 414, 431, 501:
		return true
	}
	return false
}

// A ruling is what the vhost's rules say of an answer's freshness; see Policy.TTLFor.
type ruling struct {
	ttl          time.Duration
	override, is bool
}

func (p *Policy) ruleFor(req *Request, resp *Response) (r ruling) {
	if len(p.Rules) == 0 {
		return r
	}
	contentType := ""
	if lines := resp.Header.PeekAll("Content-Type"); len(lines) == 1 {
		contentType = string(lines[0])
	}
	r.ttl, r.override, r.is = p.TTLFor(req.Target, resp.Status, contentType)
	if req.Explicit && r.ttl > 0 {
		return ruling{} // such a rule only gives; that it comes before one that forbids counts all the same
	}
	return r
}

// setFreshness fills in lifetime and age.
func (d *Decision) setFreshness(req *Request, resp *Response, c *control, targeted bool, p *Policy, rule ruling) Reason {
	date := dateOf(resp)
	lifetime, stated := statedLifetime(resp, c, targeted, date)
	switch {
	case rule.is && rule.ttl == 0 && (rule.override || !stated):
		return ReasonRule
	case req.Explicit && !stated:
		return ReasonNoFreshness
	case rule.is && rule.override:
		lifetime, stated = rule.ttl, true
		date = resp.Received // its own age was measured against what it stated
	case stated || c.noCache: // what is validated each time needs none
	case rule.is:
		lifetime = rule.ttl
	default:
		if lifetime = defaultLifetime(resp.Status, p); lifetime == 0 && p.Heuristic {
			lifetime = heuristicLifetime(resp, c, date)
		}
	}
	if !stated && !c.noCache {
		if lifetime == 0 {
			return ReasonNoFreshness
		}
		// Pragma has no meaning in a response (RFC 9111 §5.4), yet old
		// applications say with it what they mean. Only what is not stated
		// yields to it.
		if pragmaNoCache(resp.Header) {
			return ReasonNoCache
		}
	}
	d.Lifetime, d.InitialAge = lifetime, initialAge(resp, date)
	if late := d.InitialAge - d.Lifetime; late >= 0 && late >= d.terms.whileRevalidate && !hasValidator(resp.Header) {
		return ReasonStale
	}
	return ""
}

// pragmaNoCache reports whether Pragma has the member no-cache.
func pragmaNoCache(h Header) bool {
	c := parseControl(h.PeekAll("Pragma"))
	return c.noCache
}
