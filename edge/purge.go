package edge

import (
	"errors"
	"fmt"
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

// PurgePrefix makes the purge of all URLs of the same host that begin as an absolute URL does, which has no query: the
// parameters of a stored URL may stand in another order.
func (s *Server) PurgePrefix(raw string) (cache.Purge, error) {
	host, target, st, err := s.locate(raw)
	switch {
	case err != nil:
		return cache.Purge{}, err
	case strings.Contains(target, "?"):
		return cache.Purge{}, fmt.Errorf("bad prefix %q: it ends within the path, without a query", raw)
	}
	return cache.Purge{Tenant: st.tenant, Vhost: st.name, Kind: cache.PurgePrefix, Arg: host + target}, nil
}

// PurgeHost makes the purge of what is stored of a host, or, for the name of a vhost, of all that this vhost has stored: of its
// aliases, or of the hosts that its wildcard covers, too.
func (s *Server) PurgeHost(host string) (cache.Purge, error) {
	host, st, err := s.vhostOf(host)
	if err != nil {
		return cache.Purge{}, err
	}
	if host == st.name {
		return cache.Purge{Tenant: st.tenant, Vhost: st.name, Kind: cache.PurgeAll}, nil
	}
	return cache.Purge{Tenant: st.tenant, Vhost: st.name, Kind: cache.PurgeHost, Arg: host}, nil
}

// PurgeTag makes the purge of what has a tag, of the vhost that answers for a host, whatever its other hosts.
func (s *Server) PurgeTag(host, tag string) (cache.Purge, error) {
	_, st, err := s.vhostOf(host)
	return cache.Purge{Tenant: st.tenant, Vhost: st.name, Kind: cache.PurgeTag, Arg: tag}, err
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
		host, st, err = s.vhostOf(authority) // which says why
		return host, target, st, err
	}
	route, err := table.Below(table.Match(host), target)
	if err != nil {
		return "", "", &site{}, fmt.Errorf("URL %q: %w: nothing is stored of it", raw, err)
	}
	return host, target, route.Instance(s.compile).(*site), nil
}

// vhostOf finds the site that answers for a host, or has that name. The site of none is empty.
func (s *Server) vhostOf(name string) (host string, st *site, err error) {
	table := s.table.Load()
	if table == nil {
		return "", &site{}, errors.New("no routes have been loaded yet")
	}
	var route *routes.Route
	if strings.HasPrefix(name, "*") || strings.Contains(name, "/") {
		host, err = routes.CanonicalVhost(name)
		route = table.Vhost(host)
	} else {
		host, err = routes.CanonicalHost(name)
		route = table.Match(host)
	}
	switch {
	case err != nil:
		return "", &site{}, fmt.Errorf("bad host %q: %w", name, err)
	case route == nil:
		return "", &site{}, fmt.Errorf("%w for %s", ErrNoVhost, host)
	}
	return host, route.Instance(s.compile).(*site), nil // that it has no backend does not matter
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
