package main

import (
	"time"

	"gatehouse/routes"
)

// inUseFor is how long a host counts as in use after it was asked for.
const inUseFor = time.Minute

// inUse returns what makes, for a source that has to be looked at for them, the documents of the hosts that are
// asked for: the host's own, also if there is none yet, that of the vhost which answers for it, its path vhosts' that are known, and its tenant's.
func (n *node) inUse() func() []routes.Key {
	last := map[string]time.Time{} // host → when it was asked for
	return func() []routes.Key {
		now := time.Now()
		for _, host := range n.edge.Asked() {
			last[host] = now
		}
		var out []routes.Key
		table := n.table()
		for host, at := range last {
			route := table.Match(host)
			// Of unknown hosts there may be a flood: they are looked for once.
			if now.Sub(at) > inUseFor || route == nil && at != now {
				delete(last, host)
				continue
			}
			out = append(out, routes.Key{Kind: routes.KindVhost, Name: host})
			if route == nil || route.Vhost == nil {
				continue
			}
			if route.Name != host {
				out = append(out, routes.Key{Kind: routes.KindVhost, Name: route.Name})
			}
			for name := range route.Paths() {
				out = append(out, routes.Key{Kind: routes.KindVhost, Name: name})
			}
			if route.Vhost.Tenant != "" {
				out = append(out, routes.Key{Kind: routes.KindTenant, Name: route.Vhost.Tenant})
			}
		}
		return out
	}
}
