package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"gatehouse/routes"
)

// stranded returns the names of the path vhosts that answer for requests, and would not with next in the place of their host's vhost; nil: with
// nothing there. Sorted.
func stranded(table *routes.Table, name string, next *routes.Vhost) (names []string) {
	host := table.Vhost(name)
	if host == nil || host.Vhost == nil || next != nil && next.Tenant == host.Vhost.Tenant {
		return nil
	}
	for path := range table.Paths(host) {
		names = append(names, path.Name)
	}
	slices.Sort(names)
	return names
}

// mayStrand refuses to take path vhosts out of service, unless the request says that this is meant.
func mayStrand(r *http.Request, key routes.Key, names []string, verb string) error {
	if len(names) == 0 || r.URL.Query().Get("yes") == "true" {
		return nil
	}
	paths := "path vhosts"
	if len(names) == 1 {
		paths = "path vhost"
	}
	return &apiError{http.StatusConflict, fmt.Sprintf("%s is not %sd: its %s %s would answer for no request any more; --yes %ss it all the same",
		key, verb, paths, Some(names), verb), nil}
}

// Some names the first of many.
func Some(names []string) string {
	const few = 10
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// suspendedBy is whose suspension closes a vhost beside its own: "tenant NAME" or, of a path vhost, "vhost NAME"; empty: nobody's.
func suspendedBy(table *routes.Table, route *routes.Route) string {
	if route.Tenant.IsSuspended() {
		return "tenant " + route.Vhost.Tenant
	}
	name, path := routes.SplitName(route.Name)
	host := table.Vhost(name)
	if path == "" || host == nil || host.Vhost == nil || !host.Vhost.IsSuspended() {
		return ""
	}
	return "vhost " + name
}
