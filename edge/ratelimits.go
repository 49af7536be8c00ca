package edge

import (
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatehouse/edge/ratelimit"
	"gatehouse/routes"
)

// rateLimits are the buckets of all limits: those of a tenant's are shared by his vhosts, and all of a tenant have one bound. They live as long
// as a site has them, so a change of other settings leaves them as they are. The zero value is empty; it is safe for concurrent use.
type rateLimits struct {
	sharing *ratelimit.Sharing // nil: this node counts alone

	mu     sync.Mutex
	owners map[string]*limitOwner
	passed uint64 // of owners that are gone
}

// A limitOwner is a tenant, or a vhost of none.
type limitOwner struct {
	room     *ratelimit.Room
	limiters map[string]*heldLimiter // by what they count, see limitPrefix
}

// A heldLimiter counts the sites that hold it.
type heldLimiter struct {
	*ratelimit.Limiter
	sites int
}

// siteLimits are the limits of one site, until they are given back.
type siteLimits struct {
	list  []siteLimit
	from  *rateLimits
	owner string
	once  sync.Once
}

// hold returns the limits of a site. A site that nobody gives back gives back when it is no longer in use, see backends.hold.
func (l *rateLimits) hold(st *site) *siteLimits {
	out := &siteLimits{from: l, owner: st.owner}
	if len(st.settings.TenantRate)+len(st.settings.VhostRate) == 0 {
		return out
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owners == nil {
		l.owners = map[string]*limitOwner{}
	}
	owner := l.owners[st.owner]
	if owner == nil {
		name := st.tenant
		if name == "" {
			name = st.owner // "vhost NAME", which no tenant can be called
		}
		owner = &limitOwner{room: ratelimit.NewRoom(name, ratelimit.DefaultKeys), limiters: map[string]*heldLimiter{}}
		l.owners[st.owner] = owner
	}
	for _, of := range []struct {
		layer, scope string
		rates        routes.Rates
	}{{"tenant", st.owner, st.settings.TenantRate}, {"vhost", "vhost " + st.name, st.settings.VhostRate}} {
		seen := map[string]int{}
		for _, rate := range of.rates {
			seen[rate.Key]++
			prefix := limitPrefix(st.owner, of.layer, of.scope, rate.Key, seen[rate.Key])
			held := owner.limiters[prefix]
			if held == nil {
				held = &heldLimiter{Limiter: ratelimit.New(ratelimit.Options{Room: owner.room, Sharing: l.sharing})}
				owner.limiters[prefix] = held
			}
			held.sites++
			out.list = append(out.list, newSiteLimit(held.Limiter, prefix, of.scope, rate))
		}
	}
	runtime.AddCleanup(st, (*siteLimits).release, out)
	return out
}

// limitPrefix names what a limit counts, the same on all nodes: not how many, so that another number leaves the buckets as they are. The layer tells
// a vhost's own limit from that which a vhost without tenant has by defaults.
func limitPrefix(owner, layer, scope, key string, nth int) string {
	return strings.Join([]string{owner, layer, scope, key, strconv.Itoa(nth), ""}, "\x00")
}

func newSiteLimit(limiter *ratelimit.Limiter, prefix, scope string, rate routes.Rate) siteLimit {
	l := siteLimit{
		limiter: limiter, prefix: prefix, name: scope + ", " + rate.String(),
		rate: ratelimit.NewRate(rate.Requests, time.Duration(rate.Per), rate.Burst),
	}
	l.id = strconv.Quote(rate.Key) // no key has a quote or a backslash in it
	l.policy = l.id + quota(rate)
	switch name, isHeader := strings.CutPrefix(rate.Key, routes.RateHeader); {
	case isHeader:
		l.kind, l.lower = limitByHeader, name
	case rate.Key == routes.RatePath:
		l.kind = limitByPath
	case rate.Key == routes.RateAll:
		l.kind = limitOfAll
	default:
		if name, isCookie := strings.CutPrefix(rate.Key, routes.RateCookie); isCookie {
			l.kind, l.lower = limitByCookie, name
		}
	}
	return l
}

// quota is a rate as RateLimit-Policy has it (draft-ietf-httpapi-ratelimit-headers-10): q requests in w seconds, which are whole.
func quota(rate routes.Rate) string {
	per := time.Duration(rate.Per)
	seconds := max(1, int64((per+time.Second-1)/time.Second))
	requests := max(1, int64(rate.Requests)*seconds*time.Second.Microseconds()/per.Microseconds())
	return ";q=" + strconv.FormatInt(requests, 10) + ";w=" + strconv.FormatInt(seconds, 10)
}

// release gives back what the site holds; a second call does nothing. Buckets that no other site holds are forgotten.
func (h *siteLimits) release() {
	h.once.Do(func() {
		l := h.from
		l.mu.Lock()
		defer l.mu.Unlock()
		owner := l.owners[h.owner]
		for i := range h.list {
			prefix := h.list[i].prefix
			held := owner.limiters[prefix]
			if held.sites--; held.sites == 0 {
				delete(owner.limiters, prefix)
				held.Close()
			}
		}
		if owner != nil && len(owner.limiters) == 0 {
			l.passed += owner.room.PassedOn()
			delete(l.owners, h.owner)
		}
	})
}

// passedOn is how many keys took over the place of another, since their owner's room was full.
func (l *rateLimits) passedOn() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.passed
	for _, owner := range l.owners {
		n += owner.room.PassedOn()
	}
	return n
}
