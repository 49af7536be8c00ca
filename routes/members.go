package routes

import "iter"

// Members returns the number of vhosts that name the tenant.
func (t *Table) Members(tenant string) int {
	e, ok := t.tenants.get(tenant)
	if !ok {
		return 0
	}
	return e.members.len()
}

// Caching returns the number of vhosts of the tenant that have a cache.
func (t *Table) Caching(tenant string) int {
	e, ok := t.tenants.get(tenant)
	if !ok {
		return 0
	}
	return e.caching
}

// cachingOf returns how many of some vhosts have a cache.
func cachingOf(members map[string]*Vhost) (n int) {
	for _, v := range members {
		if v.Cache.On() {
			n++
		}
	}
	return n
}

// Vhosts yields every route, broken ones included, in no particular order.
func (t *Table) Vhosts() iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		for r := range t.vhosts.all() {
			if !yield(r) {
				return
			}
		}
	}
}

// Tenants yields the id of every tenant that is known, in no particular order.
func (t *Table) Tenants() iter.Seq[string] {
	return func(yield func(string) bool) {
		for e := range t.tenants.all() {
			if !yield(e.id) {
				return
			}
		}
	}
}
