package routes

import "time"

// Settings is what is in force for a vhost: its own document over its tenant's
// over the built-in defaults. Every field has a value.
type Settings struct {
	Tenant    string
	Suspended bool
	WAF       WAF // every field set but Rules; Responses never nil
	// Rules are the texts of own rules that run one after the other, the tenant's first; none is empty.
	Rules []string
	// TenantRate limits all vhosts of the tenant together, VhostRate this one; each of them must say yes. With defaults filled in.
	TenantRate, VhostRate Rates

	Balance        string
	Sticky         string  // name of the cookie; empty: none
	Health         *Health // every field set but Host and Body, which may be empty; nil: no active checks
	Concurrency    int     // the tenant's; 0: as the process has it
	ConnectTimeout time.Duration
	FirstByte      time.Duration
	Cache          bool
	CacheTTL       time.Duration
	CacheMaxBody   int64
	CacheHeuristic bool
	CacheSetCookie string // "bypass" or "store"
	CacheShare     int64  // the tenant's; 0: an equal part
	// CacheStaleIfError and CacheStaleWhileRevalidate are 0 where nothing stale is served.
	CacheStaleIfError         time.Duration
	CacheStaleWhileRevalidate time.Duration
	CacheIgnoreClientNoCache  bool
	CacheQuery                CacheQuery  // Sort never nil
	CacheKey                  CacheKey    // Device never nil
	CacheBypass               CacheBypass // its lists may be nil
	CacheRules                []CacheRule // TTL never nil
	Compress                  string      // "off" or "on"
	TLSPolicy                 string      // "modern", "intermediate" or "old"
	MinTLS                    string      // the least version: "1.0", "1.2" or "1.3"
	KeyType                   string      // "ecdsa" or "rsa"
	RedirectHTTP              string      // "auto", "true" or "false"
	HSTS                      HSTS
	// VhostAddresses are asked first, then TenantAddresses (or those of the defaults); either may be nil.
	VhostAddresses, TenantAddresses *Addresses
}

// Settings resolves what is in force for the route. defaults is used for a vhost
// without tenant, or whose tenant has no document; nil: the built-in defaults.
func (r *Route) Settings(defaults *Tenant) Settings {
	v, base := r.Vhost, r.Tenant
	if base == nil {
		base = defaults
	}
	if base == nil {
		base = &Tenant{}
	}
	s := Settings{
		Tenant:       v.Tenant,
		Suspended:    v.IsSuspended() || r.Tenant.IsSuspended(),
		WAF:          *v.WAF.Over(base.WAF).Over(DefaultWAF),
		TenantRate:   base.Rate.withDefaults(),
		VhostRate:    v.Rate().withDefaults(),
		Balance:      or(v.Balance(), "p2c"),
		Concurrency:  base.Concurrency,
		CacheMaxBody: 1 << 20,
		CacheShare:   int64(base.CacheShare),

		CacheStaleIfError: time.Hour,
		CacheSetCookie:    "bypass",
		CacheQuery:        CacheQuery{Sort: new(bool)},
		CacheKey:          CacheKey{Device: new(bool)},
		Compress:          or(v.Compress(), "off"),
		TLSPolicy:         PolicyIntermediate,
		KeyType:           KeyECDSA,
		RedirectHTTP:      "auto",

		VhostAddresses: v.Addresses(), TenantAddresses: base.Addresses,
	}
	for _, w := range []*WAF{base.WAF, v.WAF} {
		if w != nil && w.Rules != "" {
			s.Rules = append(s.Rules, w.Rules)
		}
	}
	s.WAF.Rules = ""
	if s.WAF.Responses == nil {
		s.WAF.Responses = new(bool)
	}
	s.ConnectTimeout, s.FirstByte = v.Timeouts().Resolved()
	if v.Sticky() != nil {
		s.Sticky = v.Sticky().Cookie
	}
	s.Health = v.Health().Resolved()
	v.Cache.into(&s)
	if t := r.TLS(); t != nil {
		s.TLSPolicy = or(t.Policy, s.TLSPolicy)
		s.MinTLS = t.MinVersion
		s.KeyType = or(t.KeyType, s.KeyType)
		s.RedirectHTTP = or(string(t.RedirectHTTP), s.RedirectHTTP)
		if t.HSTS != nil {
			s.HSTS = *t.HSTS
		}
	}
	s.MinTLS = or(s.MinTLS, least[s.TLSPolicy])
	return s
}

// The timeouts of a vhost that says nothing of them.
const (
	DefaultConnectTimeout = 3 * time.Second
	DefaultFirstByte      = 60 * time.Second
)

// Resolved returns the timeouts with what is not set at its default. The nil Timeouts have them all.
func (t *Timeouts) Resolved() (connect, firstByte time.Duration) {
	if t == nil {
		t = &Timeouts{}
	}
	return or(time.Duration(t.Connect), DefaultConnectTimeout), or(time.Duration(t.FirstByte), DefaultFirstByte)
}
