package gate

import (
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// Values has the lists of values of a message.
type Values interface {
	// Each calls yield with each value of a variable and its key, which is empty if the variable has but one value.
	Each(v variables.RuleVariable, yield func(key, value string))
}

// Spared says what of the rules a tenant does not apply. Both methods may be asked about rules that run at all.
type Spared interface {
	// Rule reports whether a rule does not apply.
	Rule(id int) bool
	// Target reports whether a rule does not look at a variable under a key.
	Target(id int, v variables.RuleVariable, key string) bool
	// Touches reports whether a rule does not look at all of its targets.
	Touches(id int) bool
}

// Found is what the gate says of a message.
type Found struct {
	// Rules are the places of the rules that can match, in order; nobody else's can.
	Rules []int
	// Helpers are the places of rules whose variables these read, or that may keep them from being reached. They must run with them.
	Helpers []int
	// All: nothing is known, and any rule may match.
	All bool
}

// Inspect returns the rules of a side that can match a message. Spared may be nil; share stands for the tenant in
// what is remembered.
func (g *Gate) Inspect(s Side, values Values, t *Tenant, spared Spared, share uint32) (out Found) {
	side := g.sides[s]
	w := side.pool.Get().(*scratch)
	defer side.pool.Put(w)
	run := &run{gate: g, which: s, side: side, tenant: t, stance: &t.sides[s], spared: spared, share: share, w: w}
	clear(w.counts)
	clear(w.tallies)
	w.groups = append(w.groups[:0], run.stance.held...)
	for _, p := range side.spots {
		run.at = p
		values.Each(p.from, run.value)
	}
	return run.rules()
}

// A run is one message under inspection.
type run struct {
	gate   *Gate
	side   *side
	tenant *Tenant
	stance *stance
	spared Spared
	share  uint32
	w      *scratch
	at     *spot // whose values are looked at
	which  Side
}

// value looks at one value.
func (r *run) value(key, text string) {
	row := r.at.row(key)
	r.w.counts[row.number]++
	if len(row.levels[r.tenant.level]) == 0 {
		return
	}
	at := cacheKey{row: row.number<<4 | uint32(r.which)<<3 | uint32(r.tenant.level)}
	if !row.public {
		at.share = r.share
	}
	if row.tenanted {
		at.env = r.tenant.number
	}
	met, known := r.gate.cache.get(at, r.share, text)
	if !known {
		met = r.side.look(row, text, r.tenant, r.w)
		r.gate.cache.put(at, r.share, text, met)
	}
	for _, number := range met {
		r.meet(r.at, int(number), key)
	}
}

// meet notes that a value meets a check, if its rule looks at the value.
func (r *run) meet(p *spot, number int, key string) {
	c := &r.side.checks[number]
	if r.w.groups[c.group] {
		return
	}
	key = strings.ToLower(key)
	id := r.side.rules[c.rule].ID
	for i := range c.link.Targets {
		t := &c.link.Targets[i]
		for _, v := range p.variables {
			if t.looksAt(v, key) && (r.spared == nil || !r.spared.Target(id, v, key)) && r.named(&c.name, v, key) {
				r.w.groups[c.group] = true
				return
			}
		}
	}
}

// counted reports whether one of a group's conditions on numbers of values holds.
func (r *run) counted(g int) bool {
	for _, i := range r.side.groups[g].counts {
		c := &r.side.counts[i]
		if r.spared != nil && r.spared.Touches(r.side.rules[c.rule].ID) {
			return true
		}
		n := 0
		for _, row := range c.rows {
			n += r.w.counts[row]
		}
		r.w.state.tenant = r.tenant
		if n < len(c.known) && !hasMacro(c.link.Argument) {
			if c.known[n] {
				return true
			}
		} else if c.link.meets(c.chain, strconv.Itoa(n), &r.w.state) {
			return true
		}
	}
	return false
}

// rules returns the rules all of whose groups hold.
func (r *run) rules() (out Found) {
	for i := range r.side.judged {
		j := &r.side.judged[i]
		if r.stance.dead[i] || !r.holds(j) {
			continue
		}
		if r.spared != nil && r.spared.Rule(r.side.rules[j.rule].ID) {
			continue
		}
		out.Rules = append(out.Rules, j.rule)
		for _, rule := range j.needs {
			if r.side.levels[rule] <= r.tenant.level { // else its section would have been passed over
				out.Helpers = append(out.Helpers, rule)
			}
		}
		out.All = out.All || j.wide
	}
	if !out.All {
		r.pull(&out)
	}
	return out
}

// holds reports whether all groups of a rule do. Those that only count are asked last.
func (r *run) holds(j *judged) bool {
	for _, g := range j.groups {
		if !r.w.groups[g] && len(r.side.groups[g].counts) == 0 {
			return false
		}
	}
	for _, g := range j.groups {
		if !r.w.groups[g] && !r.counted(g) {
			return false
		}
	}
	return true
}
