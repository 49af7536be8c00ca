package routes

import (
	"cmp"
	"slices"
	"strings"
)

// A Table says which vhost answers for a host. It is immutable and safe for
// concurrent use; With makes the next one. The zero value is an empty table.
type Table struct {
	vhosts  trie[*Route]       // by name; wildcards too ("*.shop.test")
	hosts   trie[*claims]      // by alias
	suffix  trie[wildcard]     // by what they end in, for each wildcard, name or alias
	tenants trie[*tenantEntry] // by id
	// disputed are those of hosts with several claimants, few or none.
	disputed trie[*claims]
	below    trie[*pathSet] // by name of their host's vhost, which need not be there
}

// A wildcard is a name such as "*.shop.test", whose key is ".shop.test".
type wildcard string

func (w wildcard) key() string { return string(w[1:]) }

// tenantEntry holds the tenant's document, if there is one, and who uses it.
type tenantEntry struct {
	id       string
	doc      *Tenant  // last good form; nil: no document, or never a good one
	problems Problems // what is wrong with its present form
	members  trie[*Vhost]
	caching  int // of the members
}

func (e *tenantEntry) key() string { return e.id }

// Replaced is one route that With changed: Old is nil for an addition, New is
// nil for a removal.
type Replaced struct{ Old, New *Route }

// Match returns the route that answers for a canonical host: exact, else the
// longest wildcard, else "*"; nil if none does. It does not allocate.
func (t *Table) Match(host string) *Route {
	if r := t.named(host); r != nil {
		return r
	}
	if t.suffix.len() > 0 {
		for rest := host; ; {
			dot := strings.IndexByte(rest, '.')
			if dot < 0 {
				break
			}
			if w, ok := t.suffix.get(rest[dot:]); ok {
				if r := t.named(string(w)); r != nil {
					return r
				}
			}
			rest = rest[dot+1:]
		}
	}
	return t.named("*")
}

// Owner returns the route that has exactly this name or alias, and is not
// broken; nil if none does. A wildcard that covers name does not count.
func (t *Table) Owner(name string) *Route { return t.named(name) }

// named returns the route whose name or alias is exactly name and which has a
// good form. A name beats an alias.
func (t *Table) named(name string) *Route {
	if r, ok := t.vhosts.get(name); ok && r.Vhost != nil {
		return r
	}
	c, ok := t.hosts.get(name)
	if !ok {
		return nil
	}
	for _, owner := range c.names {
		if r, ok := t.vhosts.get(owner); ok && r.Vhost != nil {
			return r
		}
	}
	return nil
}

// Len returns the number of vhosts, broken ones included.
func (t *Table) Len() int { return t.vhosts.len() }

// problems returns what is wrong with a document, as its last change had it.
func (t *Table) problems(key Key) Problems {
	if key.Kind == KindTenant {
		_, problems, _ := t.Tenant(key.Name)
		return problems
	}
	if r := t.Vhost(key.Name); r != nil {
		return r.Problems()
	}
	return nil
}

// Vhost returns the route of the vhost with that very name, broken or not, or nil.
func (t *Table) Vhost(name string) *Route {
	r, _ := t.vhosts.get(name)
	return r
}

// Tenant returns the document of a tenant (nil if it has none or never a good
// one), what is wrong with it, and whether it is known at all: by a document or
// by a vhost that names it.
func (t *Table) Tenant(name string) (doc *Tenant, problems Problems, known bool) {
	e, ok := t.tenants.get(name)
	if !ok {
		return nil, nil, false
	}
	return e.doc, e.problems, true
}

// With returns the table after the changes, and which routes are others now. A
// change that repeats what is there replaces nothing.
func (t *Table) With(changes []Change) (*Table, []Replaced) {
	next, b := t.with(changes, false, nil)
	return next, b.replaced()
}

// with is With. The builder also has which documents have another good form, or none
// any more, in the order of the changes; see builder.own for the rest.
func (t *Table) with(changes []Change, whole bool, ask agree) (*Table, *builder) {
	next := *t
	b := &builder{t: &next, before: t, vhosts: draft[*Route]{trie: t.vhosts}, touched: map[string]struct{}{}}
	for i := range changes {
		switch changes[i].Key.Kind {
		case KindTenant:
			b.tenant(&changes[i])
		case KindVhost:
			b.vhost(&changes[i])
		}
	}
	b.sealClaims()
	next.vhosts = b.vhosts.seal()
	for tenant := range b.joining {
		b.join(tenant)
	}
	b.own(whole, ask)
	return &next, b
}

// builder applies changes to a table that nobody else sees yet.
type builder struct {
	t       *Table
	before  *Table
	touched map[string]struct{} // names of vhosts whose route is another one now
	moved   []Key               // documents with another good form
	// disowned: an alias has been given to another vhost than the order of the changes would have.
	disowned bool
	vhosts   draft[*Route]                // of t
	claims   map[string]*openClaims       // by alias, of those with many claimants
	joining  map[string]map[string]*Vhost // tenant → new members, by name, that it does not have yet
}

func (b *builder) replaced() []Replaced {
	out := make([]Replaced, 0, len(b.touched))
	for name := range b.touched {
		was, is := b.before.Vhost(name), b.t.Vhost(name)
		if was != is {
			out = append(out, Replaced{Old: was, New: is})
		}
	}
	slices.SortFunc(out, func(x, y Replaced) int { return cmp.Compare(x.name(), y.name()) })
	return out
}

func (r Replaced) name() string {
	if r.New != nil {
		return r.New.Name
	}
	return r.Old.Name
}

func (b *builder) put(r *Route) {
	b.relate(r)
	before, _ := b.vhosts.get(r.Name)
	b.vhosts.put(r)
	b.touched[r.Name] = struct{}{}
	b.renewBelow(r, before)
}

func (b *builder) tenant(c *Change) {
	b.join(c.Key.Name)
	old, known := b.t.tenants.get(c.Key.Name)
	if !known {
		old = &tenantEntry{id: c.Key.Name}
	}
	next := &tenantEntry{id: c.Key.Name, doc: c.Tenant, problems: c.Problems, members: old.members, caching: old.caching}
	if c.Tenant == nil && len(c.Problems) > 0 {
		next.doc = old.doc // bad: the last good form stays in force
	}
	if next.doc != nil && old.doc != nil && equalTenants(next.doc, old.doc) {
		next.doc = old.doc
	}
	if next.doc != old.doc {
		b.moved = append(b.moved, c.Key)
	}
	if next.doc == nil && len(next.problems) == 0 && next.members.len() == 0 {
		b.t.tenants = b.t.tenants.without(c.Key.Name)
		return
	}
	b.t.tenants = b.t.tenants.with(next)
	if next.doc == old.doc {
		return
	}
	for member := range next.members.all() {
		r, _ := b.vhosts.get(member.Name)
		b.put(r.successor(r.Vhost, next.doc, r.Problems()))
	}
}

func (b *builder) vhost(c *Change) {
	old, _ := b.vhosts.get(c.Key.Name)
	if c.Vhost == nil && len(c.Problems) == 0 {
		if old != nil {
			b.unclaim(old, nil)
			b.vhosts.remove(old.Name)
			b.unwildcard(old.Name)
			b.moved = append(b.moved, c.Key)
			b.touched[old.Name] = struct{}{}
			b.unnest(old.Name)
			b.releaseBelow(old)
		}
		return
	}
	v := c.Vhost
	if old != nil && (v == nil || old.Vhost != nil && equalVhosts(v, old.Vhost)) {
		v = old.Vhost // bad, or the same as before
	}
	if old != nil && v == old.Vhost {
		if !equalProblems(old.Problems(), c.Problems) {
			b.put(old.successor(v, old.Tenant, c.Problems))
		}
		return
	}
	if old != nil {
		b.unclaim(old, v)
	}
	next := old.successor(v, nil, c.Problems)
	next.Name = c.Key.Name
	if v != nil {
		b.claim(next)
		b.moved = append(b.moved, c.Key)
	}
	b.put(next)
}

// claim enters a route's aliases, wildcards, path and tenant.
func (b *builder) claim(r *Route) {
	b.nest(r.Name)
	b.wildcard(r.Name)
	for _, alias := range r.Vhost.Aliases {
		b.wildcard(alias)
		b.claimAlias(alias, r.Name)
	}
	if r.Vhost.Tenant == "" {
		return
	}
	if e, ok := b.t.tenants.get(r.Vhost.Tenant); ok {
		r.Tenant = e.doc
	}
	members := b.joining[r.Vhost.Tenant]
	if members == nil {
		members = map[string]*Vhost{}
		if b.joining == nil {
			b.joining = map[string]map[string]*Vhost{}
		}
		b.joining[r.Vhost.Tenant] = members
	}
	members[r.Name] = r.Vhost
}

// join makes those members of a tenant who have claimed it.
func (b *builder) join(tenant string) {
	members := b.joining[tenant]
	if len(members) == 0 {
		return
	}
	delete(b.joining, tenant)
	next := tenantEntry{id: tenant}
	if e, ok := b.t.tenants.get(tenant); ok {
		next = *e
	}
	next.members, next.caching = next.members.withAll(members), next.caching+cachingOf(members)
	b.t.tenants = b.t.tenants.with(&next)
}

// unclaim takes back what claim entered, but for the places among the claimants of aliases that the next form of the vhost has,
// too (form; nil: there is none): whoever waits for an alias does not get it because its vhost was changed.
func (b *builder) unclaim(r *Route, form *Vhost) {
	if r.Vhost == nil {
		return
	}
	keeps := map[string]struct{}{}
	if form != nil {
		for _, alias := range form.Aliases {
			keeps[alias] = struct{}{}
		}
	}
	for _, alias := range r.Vhost.Aliases {
		if _, ok := keeps[alias]; !ok {
			b.unclaimAlias(alias, r.Name)
		}
	}
	b.join(r.Vhost.Tenant)
	e, ok := b.t.tenants.get(r.Vhost.Tenant)
	if !ok {
		return
	}
	next := *e
	next.members = e.members.without(r.Name)
	if r.Vhost.Cache.On() {
		next.caching--
	}
	if next.doc == nil && len(next.problems) == 0 && next.members.len() == 0 {
		b.t.tenants = b.t.tenants.without(r.Vhost.Tenant)
		return
	}
	b.t.tenants = b.t.tenants.with(&next)
}

func (b *builder) wildcard(name string) {
	if isWildcard(name) {
		b.t.suffix = b.t.suffix.with(wildcard(name))
	}
}

// unwildcard takes back what wildcard entered, if the name is nobody's name or alias any more.
func (b *builder) unwildcard(name string) {
	if !isWildcard(name) {
		return
	}
	_, named := b.vhosts.get(name)
	if _, claimed := b.t.hosts.get(name); !named && !claimed {
		b.t.suffix = b.t.suffix.without(wildcard(name).key())
	}
}

func isWildcard(name string) bool { return len(name) > 2 && name[:2] == "*." }
