package edge

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gatehouse/cache"
	"gatehouse/routes"
)

// PurgeURL makes the purge of an absolute URL: of what its vhost has stored for it, as that vhost's policy counts its
// query. The scheme and what else is in the key do not matter. What cannot stand in a request's target is encoded, as
// browsers do.
func (s *Server) PurgeURL(raw string) (cache.Purge, error) {
	host, target, st, err := s.locate(raw)
	if err != nil {
		return cache.Purge{}, err
	}
	if counted, changed := st.policy.Target(nil, target); changed {
		target = string(counted)
	}
	return cache.Purge{Tenant: st.tenant, Vhost: st.name, Kind: cache.PurgeURL, Arg: host + target}, nil
}

// PurgePrefix makes the purges of all URLs of the same host that begin as an absolute URL does, which has no query: the
// parameters of a stored URL may stand in another order.
func (s *Server) PurgePrefix(raw string) ([]cache.Purge, error) {
	host, target, _, err := s.locate(raw)
	switch {
	case err != nil:
		return nil, err
	case strings.Contains(target, "?"):
		return nil, fmt.Errorf("bad prefix %q: it ends within the path, without a query", raw)
	}
	// The last segment may go on: "/blog" begins "/blogs", too, which is not path vhost /blog's.
	_, _, st, err := s.locate("http://" + host + target[:strings.LastIndexByte(target, '/')+1])
	if err != nil {
		return nil, err
	}
	first := cache.Purge{Tenant: st.tenant, Vhost: st.name, Kind: cache.PurgePrefix, Arg: host + target}
	table := s.table.Load()
	return s.withPaths(table, table.Match(host), first, func(path string) bool { return strings.HasPrefix(path, target) }), nil
}

// PurgeHost makes the purges of what is stored of a host, or, for the name of a vhost, of all that this vhost has stored: of its
// aliases, or of the hosts that its wildcard covers, too. The host's path vhosts are among it.
func (s *Server) PurgeHost(host string) ([]cache.Purge, error) {
	table := s.table.Load()
	host, route, err := vhostOf(table, host)
	if err != nil {
		return nil, err
	}
	first := cache.Purge{Tenant: route.Vhost.Tenant, Vhost: route.Name, Kind: cache.PurgeAll}
	if host != route.Name {
		first.Kind, first.Arg = cache.PurgeHost, host
	}
	return s.withPaths(table, route, first, nil), nil
}

// PurgeTag makes the purges of what has a tag, of the vhost that answers for a host, whatever its other hosts, and of its path vhosts.
func (s *Server) PurgeTag(host, tag string) ([]cache.Purge, error) {
	table := s.table.Load()
	_, route, err := vhostOf(table, host)
	if err != nil {
		return nil, err
	}
	return s.withPaths(table, route, cache.Purge{Tenant: route.Vhost.Tenant, Vhost: route.Name, Kind: cache.PurgeTag, Arg: tag}, nil), nil
}

// withPaths returns a purge and, of a host's path vhosts that have a cache, the same of those that are wanted, by their path; nil: all.
func (s *Server) withPaths(table *routes.Table, host *routes.Route, first cache.Purge, wanted func(path string) bool) []cache.Purge {
	out := []cache.Purge{first}
	for route := range table.Paths(host) {
		_, path := routes.SplitName(route.Name)
		if route.Name != first.Vhost && (wanted == nil || wanted(path)) && route.Settings(s.opts.Defaults).Cache {
			first.Vhost = route.Name
			out = append(out, first)
		}
	}
	slices.SortFunc(out[1:], func(a, b cache.Purge) int { return strings.Compare(a.Vhost, b.Vhost) })
	return out
}

// dropBelow has a host not serve what it had stored of a path before that was a path vhost's, once that is gone: purges of
// these URLs went to the path vhost meanwhile.
func (s *Server) dropBelow(table *routes.Table, change routes.Replaced) {
	if s.opts.Cache == nil || change.New != nil || change.Old == nil {
		return
	}
	name, path := routes.SplitName(change.Old.Name)
	if path == "" {
		return
	}
	host := table.Vhost(name)
	if host == nil || host.Vhost == nil || !host.Settings(s.opts.Defaults).Cache {
		return
	}
	for _, name := range append([]string{name}, host.Vhost.Aliases...) {
		p := cache.Purge{Tenant: host.Vhost.Tenant, Vhost: host.Name, Kind: cache.PurgePrefix, Arg: name + path}
		if strings.HasPrefix(name, "*") { // of hosts that are not known
			p.Kind, p.Arg = cache.PurgeAll, ""
		}
		s.opts.Cache.Purge(p)
	}
}

// locate takes an absolute URL apart, and finds the site that answers for it.
func (s *Server) locate(raw string) (host, target string, st *site, err error) {
	_, authority, target, err := routes.SplitURL(raw)
	if err != nil {
		return "", "", nil, fmt.Errorf("bad URL %q: %w", raw, err)
	}
	target = encodeTarget(target)
	host, err = routes.CanonicalHost(authority)
	table := s.table.Load()
	if err != nil || table == nil || table.Match(host) == nil {
		_, _, err = vhostOf(table, authority) // which says why
		return "", "", nil, err
	}
	route, err := table.Below(table.Match(host), target)
	if err != nil {
		return "", "", nil, fmt.Errorf("URL %q: %w: nothing is stored of it", raw, err)
	}
	return host, target, route.Instance(s.compile).(*site), nil
}

// vhostOf finds the vhost that answers for a host, or has that name.
func vhostOf(table *routes.Table, name string) (host string, route *routes.Route, err error) {
	if table == nil {
		return "", nil, errors.New("no routes have been loaded yet")
	}
	if strings.HasPrefix(name, "*") || strings.Contains(name, "/") {
		host, err = routes.CanonicalVhost(name)
		route = table.Vhost(host)
	} else {
		host, err = routes.CanonicalHost(name)
		route = table.Match(host)
	}
	switch {
	case err != nil:
		return "", nil, fmt.Errorf("bad host %q: %w", name, err)
	case route == nil || route.Vhost == nil:
		return "", nil, fmt.Errorf("%w for %s", ErrNoVhost, host)
	}
	return host, route, nil // that it has no backend does not matter
}

// encodeTarget encodes what a request's target does not hold (RFC 9112 §3.2).
func encodeTarget(target string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
