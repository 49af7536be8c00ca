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

// Vhosts yields every route, broken ones included, in no particular order.
func (t *Table) Vhosts() iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		for _, r := range t.vhosts.all() {
			if !yield(r) {
				return
			}
		}
	}
}

// Tenants yields the id of every tenant that is known, in no particular order.
func (t *Table) Tenants() iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range t.tenants.all() {
			if !yield(name) {
				return
			}
		}
	}
}
