package routes

import (
	"maps"
	"slices"
)

// mostPaths bounds the names in one line of the log.
const mostPaths = 10

// tellPaths logs, for each host, which path vhosts have begun to answer for no request with a change of the table, though their documents are
// good. first: also those for which it was so before, since this process has not said it.
func (f *Follower) tellPaths(before, now *Table, replaced []Replaced, first bool) {
	if now.below.len() == 0 {
		return
	}
	names := map[string]struct{}{}
	if first {
		for r := range now.Vhosts() {
			addPath(names, r.Name)
		}
	}
	for _, change := range replaced {
		addPath(names, change.name())
		if change.keepsTenant() {
			continue
		}
		for _, r := range []*Route{change.Old, change.New} {
			if r == nil {
				continue
			}
			for name := range r.Paths() {
				addPath(names, name)
			}
		}
	}
	lost := map[string][]string{}
	why := map[string]*Problem{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		r := now.Vhost(name)
		if r == nil || r.Vhost == nil {
			continue
		}
		p := now.PathProblem(r.Vhost)
		if p == nil {
			continue
		}
		if was := before.Vhost(name); !first && was != nil && was.Vhost != nil {
			if old := before.PathProblem(was.Vhost); old != nil && *old == *p {
				continue
			}
		}
		host, _ := SplitName(name)
		if lost[host] = append(lost[host], name); why[host] == nil {
			why[host] = p
		}
	}
	for _, host := range slices.Sorted(maps.Keys(lost)) {
		list := lost[host]
		f.log.Warn("path vhosts answer for no request", "host", host, "vhosts", list[:min(len(list), mostPaths)], "number", len(list), "problem", why[host].Error())
	}
}

// addPath adds the name of a path vhost.
func addPath(names map[string]struct{}, name string) {
	if _, path := SplitName(name); path != "" {
		names[name] = struct{}{}
	}
}

// keepsTenant reports whether the vhost is the same tenant's as before.
func (r Replaced) keepsTenant() bool {
	return r.Old != nil && r.New != nil && r.Old.Vhost != nil && r.New.Vhost != nil && r.Old.Vhost.Tenant == r.New.Vhost.Tenant
}
