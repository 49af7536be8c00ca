package routes

import "slices"

// claims are the names of the vhosts that claim an alias, first come first.
type claims struct {
	alias string
	names []string
}

func (c *claims) key() string { return c.alias }

// manyClaims is from how many claimants on they are changed in an openClaims: each change of a list that nobody
// may change copies it, and a hundred thousand vhosts that claim one alias would be quadratic.
const manyClaims = 32

// openClaims are the claimants of an alias while a batch of changes is applied. Who leaves has "" in his place.
type openClaims struct {
	names []string
	at    map[string]int // of names
}

func (c *claims) open() *openClaims {
	o := &openClaims{names: slices.Clone(c.names), at: make(map[string]int, len(c.names))}
	for i, name := range c.names {
		o.at[name] = i
	}
	return o
}

// claimAlias enters a claimant of an alias; who is one keeps his place: see unclaim.
func (b *builder) claimAlias(alias, name string) {
	if o := b.openClaims(alias); o != nil {
		if _, there := o.at[name]; !there {
			o.at[name] = len(o.names)
			o.names = append(o.names, name)
		}
		return
	}
	next := &claims{alias: alias}
	if c, ok := b.t.hosts.get(alias); ok {
		if slices.Contains(c.names, name) {
			return
		}
		next.names = slices.Clone(c.names)
	}
	next.names = append(next.names, name)
	b.claimed(next)
}

// unclaimAlias takes back what claimAlias entered.
func (b *builder) unclaimAlias(alias, name string) {
	if o := b.openClaims(alias); o != nil {
		if i, there := o.at[name]; there {
			delete(o.at, name)
			o.names[i] = ""
		}
		return
	}
	c, ok := b.t.hosts.get(alias)
	if !ok {
		return
	}
	left := slices.DeleteFunc(slices.Clone(c.names), func(n string) bool { return n == name })
	b.settleClaims(alias, left)
}

// openClaims returns the claimants of an alias to be changed in place; nil: they are few.
func (b *builder) openClaims(alias string) *openClaims {
	if o := b.claims[alias]; o != nil {
		return o
	}
	c, ok := b.t.hosts.get(alias)
	if !ok || len(c.names) < manyClaims {
		return nil
	}
	if b.claims == nil {
		b.claims = map[string]*openClaims{}
	}
	o := c.open()
	b.claims[alias] = o
	return o
}

// sealClaims brings what was changed in place into the table.
func (b *builder) sealClaims() {
	for alias, o := range b.claims {
		b.settleClaims(alias, slices.DeleteFunc(o.names, func(name string) bool { return name == "" }))
	}
}

func (b *builder) settleClaims(alias string, names []string) {
	b.claimed(&claims{alias, names})
	if len(names) == 0 {
		b.unwildcard(alias)
	}
}

// claimed enters who claims an alias.
func (b *builder) claimed(c *claims) {
	if len(c.names) > 0 {
		b.t.hosts = b.t.hosts.with(c)
	} else {
		b.t.hosts = b.t.hosts.without(c.alias)
	}
	if len(c.names) > 1 {
		b.t.disputed = b.t.disputed.with(c)
	} else if b.t.disputed.len() > 0 {
		b.t.disputed = b.t.disputed.without(c.alias)
	}
}
