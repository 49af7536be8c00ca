package edge

import (
	"hash/maphash"
	"time"

	"gatehouse/cache"
	"gatehouse/edge/balance"
	"gatehouse/edge/upstream"
	"gatehouse/edge/waf"
	"gatehouse/routes"
)

// A site is a vhost as it runs: its settings resolved, its backends' connections
// and its WAF profile. It is made on first use and never changed; a vhost whose
// settings change gets a new site that takes the unchanged parts over. What each
// request asks for stands first and together: among thousands of vhosts a site's memory
// was last read a while ago.
type site struct {
	name   string
	tenant string
	owner  string // "tenant NAME", or "vhost NAME" of one without: whose turns and connections it has
	meter  *meter
	// addresses of the documents; nil: none.
	addresses *siteAddresses
	cache     *cache.Policy // nil: off
	account   *cache.Vhost  // in the cache; nil: it is off
	limits    *siteLimits
	compress  bool
	pool      *balance.Pool[*upstream.Pool]
	sticky    *sticky                    // nil: clients do not stay at a backend
	places    *places                    // the owner's
	limited   map[*upstream.Pool]*places // backends with places of their own; nil: none has
	budget    *upstream.Budget           // of retries, on all backends together
	redirect  redirecting
	hsts      time.Duration
	hstsMore  string // behind its max-age
	fixed     *fixed // nil: there are backends
	// Edits of header fields; nil: none.
	answerEdits, requestEdits *headerEdits
	strip                     string // the path that backends do not get; empty: none
	rooted                    bool   // see isRooted

	// What tls.client_auth says: whether clients are asked for a certificate, have to
	// have one, and the backend is told of it.
	asksCertificate, needsCertificate, tellsCertificate bool

	err    error // why the site cannot serve
	policy cache.Policy
	// certified is the policy of requests whose client has a certificate that the backend is told of.
	certified *cache.Policy
	profile   waf.Profile

	settings routes.Settings
	backends *holding
}

// redirecting is which plain requests are sent to https.
type redirecting uint8

const (
	redirectNone redirecting = iota
	redirectAll
	redirectTrusted // those of hosts that have a certificate which clients trust
)

var redirectings = map[string]redirecting{"false": redirectNone, "true": redirectAll, "auto": redirectTrusted}

// shares is of this process alone: nobody can look for a name that has another's share.
var shares = maphash.MakeSeed()

// shareOf returns what stands for an owner where the WAF remembers values, see [waf.Profile.Share].
func shareOf(owner string) uint32 { return uint32(maphash.String(shares, owner)) }

// siteOf returns the running site of a route, making it if it is the first to ask.
func (s *Server) siteOf(route *routes.Route) (*site, error) {
	st := route.Instance(s.compile).(*site)
	return st, st.err
}

// compile makes a route's site. Pools of connections whose settings are the
// same as before are taken over, with their idle connections; the others, if no other
// vhost has them, close when their last response has ended.
func (s *Server) compile(route *routes.Route, previous any) any {
	settings := route.Settings(s.opts.Defaults)
	st := &site{
		name: route.Name, meter: s.metrics.tenants.meter(settings.Tenant),
		redirect: redirectings[settings.RedirectHTTP], hsts: time.Duration(settings.HSTS.MaxAge), compress: settings.Compress == "on", settings: settings,
	}
	if h := route.Vhost.Headers(); h != nil {
		st.requestEdits, st.answerEdits = newHeaderEdits(h.Request), newHeaderEdits(h.Response)
	}
	st.fixed, st.rooted = s.fixedOf(route.Vhost), isRooted(route.Vhost)
	if route.Vhost.Strip() {
		_, st.strip = routes.SplitName(route.Name)
	}
	if settings.HSTS.Subdomains {
		st.hstsMore = "; includeSubDomains"
	}
	if settings.HSTS.Preload {
		st.hstsMore += "; preload"
	}
	if t := route.TLS(); t != nil && t.ClientAuth != nil {
		c := t.ClientAuth
		st.asksCertificate, st.needsCertificate, st.tellsCertificate = true, c.Mode == routes.AuthRequired, c.Tells()
	}
	st.tenant = st.meter.tenant // one string for all vhosts of a tenant
	st.owner = ownerOf(st.tenant, route.Name)
	st.profile.Share = shareOf(st.owner)
	tune(&st.profile, &settings.WAF)
	st.profile.Shared = s.presets.of(&settings.WAF)
	s.exclude(st, route)
	if settings.Cache && s.opts.Cache != nil {
		st.policy = cachePolicy(&settings)
		if st.tellsCertificate {
			st.certified = pastCache(st.policy)
		}
		st.cache, st.account = &st.policy, s.opts.Cache.Vhost(st.tenant, st.name)
		if table := s.table.Load(); table == nil || table.Vhost(route.Name) == route { // else what it says is no longer so
			s.opts.Cache.SetShare(st.account.Tenant(), settings.CacheShare)
		}
	}
	old, _ := previous.(*site)
	s.compileOwn(st, old)
	if settings.WAF.Profile == "none" && len(st.profile.Own) == 0 {
		st.profile.Mode = waf.Off // no rule is left that could find anything
	}
	if old != nil {
		st.budget = old.budget
	} else {
		st.budget = &upstream.Budget{}
	}
	st.limits = s.limits.hold(st)
	s.holdAddresses(st) // before the old ones are let go: what both name is not read again
	st.backends = s.backends.hold(st)
	st.err = s.openPools(st, route, old)
	table := s.table.Load()
	s.givePlaces(st, route, table != nil && table.Vhost(route.Name) != route)
	if old != nil {
		s.retire(old)
	}
	return st
}

// retireRoute closes what a removed route's site holds.
func (s *Server) retireRoute(route *routes.Route) {
	if st, ok := route.Compiled().(*site); ok {
		s.retire(st)
	}
}

// retire closes what a site holds; requests that still have it go on.
func (s *Server) retire(st *site) {
	st.limits.release()
	st.backends.release()
	st.addresses.release()
}

// dropStored has nothing that a vhost has stored be served any more if the vhost is gone, does not want anything stored, or not
// what has Set-Cookie: turned on again, it begins with nothing.
func (s *Server) dropStored(change routes.Replaced) {
	if s.opts.Cache == nil || change.Old == nil || change.Old.Vhost == nil {
		return
	}
	if old, now := change.Old.Vhost, change.New; !old.Cache.On() && (now == nil || now.Vhost == nil || !now.Vhost.Cache.On()) {
		return // nearly always: a tenant's change is one of all his vhosts
	}
	was, is := change.Old.Settings(s.opts.Defaults), routes.Settings{}
	if change.New != nil && change.New.Vhost != nil {
		is = change.New.Settings(s.opts.Defaults)
	}
	same := was.Cache == is.Cache && was.Tenant == is.Tenant && (was.CacheSetCookie != "store" || is.CacheSetCookie == "store")
	if same || !was.Cache && !is.Cache {
		return
	}
	s.opts.Cache.Purge(cache.Purge{Tenant: was.Tenant, Vhost: change.Old.Name, Kind: cache.PurgeAll})
}

// giveBack takes the shares of the cache's memory from those whose last vhost with a cache is gone, or has none any more.
// It walks no vhosts: whoever changes one waits for it.
func (s *Server) giveBack(table *routes.Table, replaced []routes.Replaced) {
	if s.opts.Cache == nil {
		return
	}
	lost := map[string]*cache.Tenant{} // by tenant
	for _, change := range replaced {
		if change.Old == nil || change.Old.Vhost == nil || !change.Old.Vhost.Cache.On() {
			continue
		}
		was := change.Old.Settings(s.opts.Defaults)
		if was.CacheShare == 0 || s.caches(change.New, was.Tenant) {
			continue
		}
		account := s.opts.Cache.Vhost(was.Tenant, change.Old.Name).Tenant()
		if was.Tenant == "" { // it was one of its own
			s.opts.Cache.SetShare(account, 0)
			continue
		}
		lost[was.Tenant] = account
	}
	for tenant, account := range lost {
		if table.Caching(tenant) == 0 {
			s.opts.Cache.SetShare(account, 0)
		}
	}
}

// caches reports whether a route, which may be nil, is of a vhost of that tenant that has a cache.
func (s *Server) caches(route *routes.Route, tenant string) bool {
	if route == nil || route.Vhost == nil || route.Vhost.Tenant != tenant {
		return false
	}
	return route.Settings(s.opts.Defaults).Cache
}

// tune fills in a zero profile, but for its exclusions.
func tune(p *waf.Profile, w *routes.WAF) {
	p.Paranoia, p.InboundThreshold, p.OutboundThreshold = w.Paranoia, w.InboundThreshold, w.OutboundThreshold
	p.AllowedMethods, p.InspectBody, p.Responses = w.AllowedMethods, int64(w.InspectBody), *w.Responses
	p.AllowedTypes = w.AllowedTypes
	switch w.Mode {
	case routes.WAFOff:
		p.Mode = waf.Off
	case routes.WAFBlock:
		p.Mode = waf.Block
	default:
		p.Mode = waf.Detect
	}
	if w.OnOversize == "block" {
		p.OnOversize = waf.Refuse
	}
	if w.OnError == "block" {
		p.OnError = waf.Refuse
	}
}
