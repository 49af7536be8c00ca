package admin

import (
	"cmp"
	"strconv"
	"strings"

	"gatehouse/routes"
)

// effectiveCache adds the settings of a vhost's cache; those that are none by default, where there are some.
func effectiveCache(s *routes.Settings, add func(path, value string)) {
	add("cache.enabled", strconv.FormatBool(s.Cache))
	add("cache.ttl", routes.Duration(s.CacheTTL).String())
	add("cache.max_body", routes.Size(s.CacheMaxBody).String())
	add("cache.heuristic", strconv.FormatBool(s.CacheHeuristic))
	add("cache.set_cookie", s.CacheSetCookie)
	add("cache.stale_if_error", routes.Duration(s.CacheStaleIfError).String())
	add("cache.stale_while_revalidate", routes.Duration(s.CacheStaleWhileRevalidate).String())
	add("cache.ignore_client_no_cache", strconv.FormatBool(s.CacheIgnoreClientNoCache))
	if s.CacheShare > 0 {
		add("cache_share", routes.Size(s.CacheShare).String())
	}
	list := func(path string, values []string) {
		if len(values) > 0 {
			add(path, strings.Join(values, ", "))
		}
	}
	list("cache.query.ignore", s.CacheQuery.Ignore)
	if only := s.CacheQuery.Only; only != nil {
		add("cache.query.only", cmp.Or(strings.Join(only, ", "), "none"))
	}
	add("cache.query.sort", strconv.FormatBool(*s.CacheQuery.Sort))
	list("cache.key.cookies", s.CacheKey.Cookies)
	list("cache.key.headers", s.CacheKey.Headers)
	add("cache.key.device", strconv.FormatBool(*s.CacheKey.Device))
	list("cache.bypass.paths", s.CacheBypass.Paths)
	list("cache.bypass.cookies", s.CacheBypass.Cookies)
	list("cache.bypass.query", s.CacheBypass.Query)
	list("cache.bypass.headers", s.CacheBypass.Headers)
	rules := make([]string, len(s.CacheRules))
	for i := range s.CacheRules {
		rules[i] = ruleText(&s.CacheRules[i])
	}
	if len(rules) > 0 {
		add("cache.rules", strings.Join(rules, "; "))
	}
}

// ruleText says what a rule does in few words: "/static/* 200: 1h override".
func ruleText(r *routes.CacheRule) string {
	words := append([]string{}, r.Paths...)
	for _, status := range r.Status {
		words = append(words, strconv.Itoa(status))
	}
	text := cmp.Or(strings.Join(words, " "), "all") + ": " + r.TTL.String()
	if r.Override {
		text += " override"
	}
	return text
}
