package routes

import "slices"

// A Dispute is an alias that several vhosts claim, or did until now. Who claimed it first has it: nodes that have followed
// the source for different times may not agree about who that was, unless the source remembers (Batch.Owners).
type Dispute struct {
	Alias string
	// Claimants are the vhosts with a good form that claim it, who has it first; one or none: the dispute has ended.
	Claimants []string
	// Known: somebody had it before the batch, so that who has it now came first, or is next. False: all claims came with
	// the batch, as at the start, and their order is that of the names.
	Known bool
}

// agree is asked by with, once the changes are made, to whom aliases belong that several vhosts claim; see Batch.Owners.
type agree func(disputes []Dispute, unsure func(vhost string) bool) map[string]string

// own gives aliases to those of their claimants that all nodes agree upon. whole: all disputes are asked about, not only those of
// routes that have changed.
func (b *builder) own(whole bool, ask agree) {
	if ask == nil || b.t.disputed.len() == 0 && b.before.disputed.len() == 0 {
		return
	}
	disputes := b.disputes(whole)
	if len(disputes) == 0 {
		return
	}
	unsure := func(vhost string) bool {
		r := b.t.Vhost(vhost)
		return r != nil && r.Vhost == nil
	}
	for alias, owner := range ask(disputes, unsure) {
		c, ok := b.t.disputed.get(alias)
		if !ok {
			continue
		}
		at := slices.Index(c.names, owner)
		if at <= 0 { // it is his, or he claims it no more
			continue
		}
		names := append([]string{owner}, slices.Delete(slices.Clone(c.names), at, at+1)...)
		b.claimed(&claims{alias, names})
		b.disowned = true
		for _, name := range names[:2] { // who has it, and who had it: others have to look again
			if r, ok := b.vhosts.get(name); ok {
				b.put(r.successor(r.Vhost, r.Tenant, r.Problems()))
			}
		}
	}
	b.t.vhosts = b.vhosts.seal()
}

// disputes are those of routes that have changed, and, if whole, all others.
func (b *builder) disputes(whole bool) []Dispute {
	seen := map[string]bool{}
	var out []Dispute
	add := func(alias string) {
		if seen[alias] {
			return
		}
		seen[alias] = true
		d := Dispute{Alias: alias}
		_, d.Known = b.before.hosts.get(alias)
		if c, ok := b.t.hosts.get(alias); ok {
			d.Claimants = c.names
		}
		out = append(out, d)
	}
	for name := range b.touched {
		for _, r := range []*Route{b.before.Vhost(name), b.t.Vhost(name)} {
			if r == nil || r.Vhost == nil {
				continue
			}
			for _, alias := range r.Vhost.Aliases {
				_, was := b.before.disputed.get(alias)
				if _, is := b.t.disputed.get(alias); was || is {
					add(alias)
				}
			}
		}
	}
	if whole {
		for c := range b.t.disputed.all() {
			add(c.alias)
		}
	}
	return out
}
