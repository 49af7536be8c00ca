package main

import (
	"slices"

	"gatehouse/routes"
)

// questionable is what a good document says that its author may not mean, and that is served as it stands. check says it of files, a node of
// whatever it serves.
func questionable(v *routes.Vhost) routes.Problems {
	return slices.Concat(unverified(v), placeholders(v))
}

// vhostProblems is questionable and what of a vhost the settings of this node, or its own addresses, keep from working as it may be meant. A list
// asks it of each of its vhosts: no name is looked up, and no file read.
func (n *node) vhostProblems(route *routes.Route) routes.Problems {
	denied := deniedBackends(route.Vhost, func(network, address string) string { return n.ruleAgainst(network, address, n.ownAtSight) })
	return slices.Concat(denied, questionable(route.Vhost), allowAlone(route.Vhost, route.Tenant, n.cfg))
}
