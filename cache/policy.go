package cache

import "time"

// DefaultMaxBody is the Policy.MaxBody of a Policy that has none.
const DefaultMaxBody = 1 << 20

// Policy is one vhost's settings. A nil *Policy means that caching is off; the zero value stores what answers
// themselves say may be stored, keyed by the whole request target, and serves nothing stale. A Policy is not changed
// while it is in use; then its methods may be called from any goroutine. They allocate nothing where it has neither
// Query, Key, Bypass nor Rules.
type Policy struct {
	// TTL is the freshness of 200, 301, 404 and 410 answers that state none.
	// It never overrides what an answer states. Default 0: such answers are
	// not stored. Rules come before it, see TTLFor.
	TTL time.Duration
	// Heuristic has answers that state no freshness, and get none by TTL, be fresh for a tenth of the
	// time since they were modified, a day at most (RFC 9111 §4.2.2). Default: they are not stored.
	Heuristic bool
	// StoreCookies has answers with Set-Cookie stored as they are, so that everybody gets the cookie of whoever asked
	// first. Default: they are not stored.
	StoreCookies bool
	// MaxBody is the largest body that is stored, in bytes. Default: DefaultMaxBody.
	MaxBody int64

	// StaleIfError is how long past its freshness an answer may be served while the backend cannot be reached (RFC 9111
	// §4.2.4) or answers 500, 502, 503 or 504, where the answer states no stale-if-error of its own (RFC 5861 §4) and
	// nothing in it forbids it. Default 0: it is not.
	StaleIfError time.Duration
	// StaleWhileRevalidate is how long past its freshness an answer may be served while it is validated beside the
	// request, where it states no stale-while-revalidate of its own (RFC 5861 §3). Default 0: it is not.
	StaleWhileRevalidate time.Duration
	// IgnoreClientNoCache has the request's no-cache, no-store, max-age and min-fresh and its Pragma count for nothing, so
	// that no client can reach through the cache. RFC 9111 §5.2.1 leaves that to a cache. Default: they count.
	IgnoreClientNoCache bool

	// Query says which parameters count. Default: all, in their order. See Target.
	Query Query
	// Key is what tells stored answers apart beside the request target. Default: nothing. See AppendKey.
	Key Key
	// Bypass is which requests go past the cache. Default: none. See Bypasses.
	Bypass Bypass
	// Rules give freshness by path and status; the first that fits. Default: none. See TTLFor.
	Rules []Rule
}

func (p *Policy) maxBody() int64 {
	if p.MaxBody <= 0 {
		return DefaultMaxBody
	}
	return p.MaxBody
}

// Bypass is which requests go past the cache both ways: they get nothing that is stored, and the answer to them is not
// stored. One reason is enough. The zero value is none.
type Bypass struct {
	// Paths of requests, made by NewPaths. They are compared with the path as it was sent and with the decoded one. If
	// there are some, a path that backends read in different ways goes past the cache too: one of them may take it for
	// such a path.
	Paths *Patterns
	// Query is names of parameters, made by NewNames; compared decoded.
	Query *Patterns
	// Cookies is names of cookies, made by NewNames.
	Cookies *Patterns
	// Headers is names of fields in canonical form ("X-Preview"). That the request has one is enough, be it empty.
	Headers []string
}

// Bypasses reports whether the request with that target and header goes past the cache both ways. target is as the
// client sent it, before Policy.Target. Whatever may be meant by Bypass is: the price of a mistake is one fetch. A nil
// Policy bypasses nothing here, since nothing is cached anyway. Where Paths has to decode a path longer than 512 bytes,
// it allocates.
func (p *Policy) Bypasses(target string, h Header) bool {
	if p == nil {
		return false
	}
	b := &p.Bypass
	return b.Paths != nil && b.byPath(target) ||
		b.Query != nil && b.byQuery(target) ||
		b.Cookies != nil && b.byCookie(h) ||
		b.byHeader(h)
}

func (b *Bypass) byPath(target string) bool {
	path := pathOf(target)
	return len(b.Paths.list) > 0 && (ambiguous(path) || b.Paths.fitsDecoded(path))
}

// byQuery has ";" divide parameters too, which Target has not: some servers do.
func (b *Bypass) byQuery(target string) bool {
	for rest := target[len(pathOf(target)):]; rest != ""; {
		rest = rest[1:] // the divider
		end := len(rest)
		for i := range len(rest) {
			if rest[i] == '&' || rest[i] == ';' {
				end = i
				break
			}
		}
		if parameter := rest[:end]; parameter != "" && b.Query.fitsName(nameOf(parameter)) {
			return true
		}
		rest = rest[end:]
	}
	return false
}

func (b *Bypass) byCookie(h Header) bool {
	for _, line := range h.PeekAll("Cookie") {
		for len(line) > 0 {
			var pair []byte
			if pair, line = cutPart(line, ";,"); b.Cookies.fitsName(cookieName(pair)) {
				return true
			}
		}
	}
	return false
}

func (b *Bypass) byHeader(h Header) bool {
	for _, name := range b.Headers {
		if len(h.PeekAll(name)) > 0 {
			return true
		}
	}
	return false
}
