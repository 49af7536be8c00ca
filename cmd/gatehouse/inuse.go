package main

import (
	"strings"
	"time"

	"gatehouse/routes"
)

const (
	// inUseFor is how long a host counts as in use after it was asked for.
	inUseFor = time.Minute
	// inUseGuests bounds how many hosts without a document of their own, for which a wildcard answers, count so: whoever asks makes them up.
	inUseGuests = 1024
	// inUseWildcards bounds the wildcards that are looked for above such hosts and unknown ones.
	inUseWildcards = 1024
)

// inUse implements redisstore.InUse: the documents of the hosts that are asked for, which are that of the vhost which answers, its
// path vhosts' that are known and its tenant's, and the hosts that have none yet, with the wildcards above them that there may be now.
func (n *node) inUse() (look func() (documents, hosts []routes.Key), end func()) {
	n.edge.RememberAsked(true)
	return lookInUse(n.edge.Asked, n.table), func() { n.edge.RememberAsked(false) }
}

// lookInUse returns look of inUse. asked are the hosts that were asked for since the last call.
func lookInUse(asked func() []string, present func() *routes.Table) (look func() (documents, hosts []routes.Key)) {
	last := map[string]time.Time{} // host → when it was asked for
	return func() (documents, hosts []routes.Key) {
		now := time.Now()
		for _, host := range asked() {
			last[host] = now
		}
		table, guests, paths, wildcards := present(), 0, map[string]bool{}, map[string]bool{}
		for host, at := range last {
			route := table.Match(host)
			// Of unknown hosts there may be a flood: they are looked for once.
			if now.Sub(at) > inUseFor || route == nil && at != now {
				delete(last, host)
				continue
			}
			if route == nil || route.Name != host {
				hosts = append(hosts, routes.Key{Kind: routes.KindVhost, Name: host})
				addWildcards(wildcards, table, host)
				if guests++; guests > inUseGuests {
					delete(last, host)
				}
			}
			if route == nil {
				continue
			}
			documents = append(documents, routes.Key{Kind: routes.KindVhost, Name: route.Name})
			if !paths[route.Name] { // once, however many hosts a wildcard answers for
				paths[route.Name] = true
				for name := range route.Paths() {
					documents = append(documents, routes.Key{Kind: routes.KindVhost, Name: name})
				}
			}
			if route.Vhost != nil && route.Vhost.Tenant != "" {
				documents = append(documents, routes.Key{Kind: routes.KindTenant, Name: route.Vhost.Tenant})
			}
		}
		for name := range wildcards { // behind the hosts: where there is not room for all, these were asked for
			hosts = append(hosts, routes.Key{Kind: routes.KindVhost, Name: name})
		}
		return documents, hosts
	}
}

// addWildcards adds the wildcards that nobody has and that would answer for a host before, or without, who does now.
func addWildcards(to map[string]bool, table *routes.Table, host string) {
	if table.Owner(host) != nil {
		return // as an alias
	}
	for rest := host; len(to) < inUseWildcards; {
		name := "*" // at last
		if dot := strings.IndexByte(rest, '.'); dot >= 0 {
			name, rest = "*"+rest[dot:], rest[dot+1:]
		}
		if table.Owner(name) != nil {
			return
		}
		if to[name] = true; name == "*" {
			return
		}
	}
}
