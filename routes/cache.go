package routes

import "time"

// Cache is the response cache of one vhost.
type Cache struct {
	// Enabled turns the cache on. Default false.
	Enabled *bool `yaml:"enabled,omitempty" json:"enabled,omitempty"`
	// TTL is the freshness of 200, 301, 404 and 410 answers that state none; it
	// never overrides one that they state. Default 0: such answers are not stored.
	TTL Duration `yaml:"ttl,omitempty" json:"ttl,omitempty"`
	// MaxBody is the largest body that is stored. Default 1MiB.
	MaxBody Size `yaml:"max_body,omitempty" json:"max_body,omitempty" zero:"must be at least 1 byte"`
	// Heuristic has answers that state no freshness, and get none by TTL, be fresh for a tenth of the time since
	// their Last-Modified, a day at most (RFC 9111 §4.2.2). Default false: they are not stored.
	Heuristic *bool `yaml:"heuristic,omitempty" json:"heuristic,omitempty"`
	// SetCookie says what becomes of an answer that sets a cookie: "bypass" (default: it is not stored) or "store", by which
	// everybody gets the cookie of whoever asked first.
	SetCookie string `yaml:"set_cookie,omitempty" json:"set_cookie,omitempty"`
	// StaleIfError is how long past its freshness an answer may be served while the backend cannot be reached or answers
	// 500, 502, 503 or 504, where the answer states no stale-if-error and nothing forbids it (RFC 9111 §4.2.4).
	// Default 1h; 0s: never.
	StaleIfError *Duration `yaml:"stale_if_error,omitempty" json:"stale_if_error,omitempty"`
	// StaleWhileRevalidate is how long past its freshness an answer may be served while a newer one is fetched, where
	// it states no stale-while-revalidate (RFC 5861 §3). Default 0s: not at all.
	StaleWhileRevalidate Duration `yaml:"stale_while_revalidate,omitempty" json:"stale_while_revalidate,omitempty"`
	// IgnoreClientNoCache has no client reach through the cache by no-cache, no-store, max-age or min-fresh in its
	// Cache-Control, or by Pragma. Default false.
	IgnoreClientNoCache *bool `yaml:"ignore_client_no_cache,omitempty" json:"ignore_client_no_cache,omitempty"`

	Query  *CacheQuery  `yaml:"query,omitempty" json:"query,omitempty"`
	Key    *CacheKey    `yaml:"key,omitempty" json:"key,omitempty"`
	Bypass *CacheBypass `yaml:"bypass,omitempty" json:"bypass,omitempty"`
	// Rules give answers freshness by path and status; the first that fits. At most 64. Default none.
	Rules []CacheRule `yaml:"rules,omitempty" json:"rules,omitempty"`
}

// CacheQuery says which parameters of a request count. Those that do not are not sent to the backend either. Names may
// have "*" for any text; they are compared decoded. At most 64 in a list.
type CacheQuery struct {
	// Ignore is parameters that do not count. Default none. Not beside Only.
	Ignore []string `yaml:"ignore,omitempty" json:"ignore,omitempty"`
	// Only is the parameters that alone count; an empty list: none does. Default: all do.
	Only []string `yaml:"only,omitzero" json:"only,omitzero"`
	// Sort has the order of parameters of different names not matter. Default false.
	Sort *bool `yaml:"sort,omitempty" json:"sort,omitempty"`
}

// CacheKey is what tells stored answers apart beside scheme, host and target.
type CacheKey struct {
	// Cookies are names, each written out; at most 64. Default none.
	Cookies []string `yaml:"cookies,omitempty" json:"cookies,omitempty"`
	// Headers are names of header fields, each written out; at most 64. Default none.
	Headers []string `yaml:"headers,omitempty" json:"headers,omitempty"`
	// Device has the client's class (mobile, tablet, desktop) count, which the backend gets as X-Device-Class. Default false.
	Device *bool `yaml:"device,omitempty" json:"device,omitempty"`
}

// CacheBypass is which requests go past the cache both ways. Each list has at most 64 entries. Default none.
type CacheBypass struct {
	// Paths are patterns of which one must fit the whole path; "*" stands for any text and "?" for any one character,
	// "/" included.
	Paths []string `yaml:"paths,omitempty" json:"paths,omitempty"`
	// Cookies and Query are names of cookies and parameters; "*" stands for any text.
	Cookies []string `yaml:"cookies,omitempty" json:"cookies,omitempty"`
	Query   []string `yaml:"query,omitempty" json:"query,omitempty"`
	// Headers are names of header fields, each written out.
	Headers []string `yaml:"headers,omitempty" json:"headers,omitempty"`
}

// A CacheRule gives answers freshness.
type CacheRule struct {
	// Paths are patterns as in CacheBypass, compared with the path as it is sent. At most 64 in all rules together.
	// Default: every path.
	Paths []string `yaml:"paths,omitempty" json:"paths,omitempty"`
	// Status are the statuses that it is for. Default 200, 301, 404 and 410; with a TTL of 0s, all.
	Status []int `yaml:"status,omitempty" json:"status,omitempty"`
	// TTL is how long such answers are fresh that state nothing. It must be there; 0s: they are not stored.
	TTL *Duration `yaml:"ttl,omitempty" json:"ttl,omitempty"`
	// Override has TTL stand in the place of what answers state, too; never over private, no-store, what is said of
	// Set-Cookie and Authorization. Default false.
	Override bool `yaml:"override,omitempty" json:"override,omitempty"`
}

// On reports whether the cache is turned on; nil is off.
func (c *Cache) On() bool { return c != nil && c.Enabled != nil && *c.Enabled }

// into sets what c says in settings that have the defaults; nil says nothing.
func (c *Cache) into(s *Settings) {
	if c == nil {
		return
	}
	s.Cache, s.CacheTTL = c.On(), time.Duration(c.TTL)
	s.CacheMaxBody = or(int64(c.MaxBody), s.CacheMaxBody)
	s.CacheHeuristic = c.Heuristic != nil && *c.Heuristic
	s.CacheSetCookie = or(c.SetCookie, s.CacheSetCookie)
	if c.StaleIfError != nil {
		s.CacheStaleIfError = time.Duration(*c.StaleIfError)
	}
	s.CacheStaleWhileRevalidate = time.Duration(c.StaleWhileRevalidate)
	s.CacheIgnoreClientNoCache = c.IgnoreClientNoCache != nil && *c.IgnoreClientNoCache
	if q := c.Query; q != nil {
		s.CacheQuery = CacheQuery{Ignore: q.Ignore, Only: q.Only, Sort: or(q.Sort, s.CacheQuery.Sort)}
	}
	if k := c.Key; k != nil {
		s.CacheKey = CacheKey{Cookies: k.Cookies, Headers: k.Headers, Device: or(k.Device, s.CacheKey.Device)}
	}
	if c.Bypass != nil {
		s.CacheBypass = *c.Bypass
	}
	s.CacheRules = c.Rules
}
