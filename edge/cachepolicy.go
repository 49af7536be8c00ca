package edge

import (
	"net/textproto"
	"time"

	"gatehouse/cache"
	"gatehouse/routes"
)

// cachePolicy compiles a vhost's settings of the cache.
func cachePolicy(s *routes.Settings) cache.Policy {
	p := cache.Policy{
		TTL: s.CacheTTL, MaxBody: s.CacheMaxBody, Heuristic: s.CacheHeuristic, StoreCookies: s.CacheSetCookie == "store",
		StaleIfError: s.CacheStaleIfError, StaleWhileRevalidate: s.CacheStaleWhileRevalidate, IgnoreClientNoCache: s.CacheIgnoreClientNoCache,
		Query: cache.Query{Ignore: namesOf(s.CacheQuery.Ignore), Sort: *s.CacheQuery.Sort},
		Key:   cache.Key{Cookies: s.CacheKey.Cookies, Headers: fieldNames(s.CacheKey.Headers), Device: *s.CacheKey.Device},
		Bypass: cache.Bypass{
			Paths: pathsOf(s.CacheBypass.Paths), Query: namesOf(s.CacheBypass.Query), Cookies: namesOf(s.CacheBypass.Cookies),
			Headers: fieldNames(s.CacheBypass.Headers),
		},
	}
	if only := s.CacheQuery.Only; only != nil {
		p.Query.Only = cache.NewNames(only...) // also if it is empty: no parameter counts
	}
	for i := range s.CacheRules {
		r := &s.CacheRules[i]
		p.Rules = append(p.Rules, cache.Rule{Paths: pathsOf(r.Paths), Status: r.Status, TTL: time.Duration(*r.TTL), Override: r.Override})
	}
	return p
}

// pathsOf makes patterns of paths; nil of none, which is what a policy takes for every path or for no bypass.
func pathsOf(list []string) *cache.Patterns {
	if len(list) == 0 {
		return nil
	}
	return cache.NewPaths(list...)
}

// namesOf makes patterns of names; nil of none.
func namesOf(list []string) *cache.Patterns {
	if len(list) == 0 {
		return nil
	}
	return cache.NewNames(list...)
}

// fieldNames are names of fields as the cache asks for them.
func fieldNames(list []string) (out []string) {
	for _, name := range list {
		out = append(out, textproto.CanonicalMIMEHeaderKey(name))
	}
	return out
}
