package gate

import (
	"strconv"
)

// A Tenant is a tenant's settings as a gate needs them: the paranoia level, and the values that the variables that rules set
// have before any rule has matched. It never changes.
type Tenant struct {
	level  int
	number uint32 // differs from that of others of the gate
	values map[string][]string
	sides  [2]stance
	idle   []bool // see Idle
}

// stance is what a tenant's settings decide for one side, whatever is asked.
type stance struct {
	held   []bool // by group: it holds
	dead   []bool // by judged rule: it cannot match
	always int    // a rule that may match whatever is asked; 0: there is none
}

// Tenant returns the settings of tenants with a paranoia level from 1 to 4 and these values, by name in lower case, which the
// caller must not change any more. Tenants with equal settings should share one.
func (g *Gate) Tenant(level int, values map[string][]string) *Tenant {
	t := &Tenant{level: min(max(level, 1), maxLevel), number: g.tenants.Add(1), values: values}
	for i, s := range g.sides {
		t.sides[i] = s.stand(t)
	}
	t.idle = g.idle(t)
	return t
}

// Always returns a rule that is found in every message of a side, since the gate cannot tell when it matches; 0: there
// is none. The engine then runs on each, with that rule and those that are found beside it.
func (t *Tenant) Always(side Side) int { return t.sides[side].always }

// stand decides what depends on the tenant's settings alone.
func (s *side) stand(t *Tenant) stance {
	out := stance{held: make([]bool, len(s.groups)), dead: make([]bool, len(s.judged))}
	open := make([]bool, len(s.groups)) // something else than the settings may make it hold
	for g := range s.groups {
		out.held[g] = s.groups[g].always
	}
	for _, c := range s.checks {
		open[c.group] = true
	}
	for _, c := range s.counts {
		open[c.group] = true
	}
	for i := range s.fixed {
		if f := &s.fixed[i]; f.holds(t) {
			out.held[f.group] = true
		}
	}
	for i, j := range s.judged {
		all := true
		for _, g := range j.groups {
			all = all && out.held[g]
			out.dead[i] = out.dead[i] || !out.held[g] && !open[g]
		}
		out.dead[i] = out.dead[i] || j.level > t.level
		if all && !out.dead[i] && out.always == 0 {
			out.always = s.rules[j.rule].ID
		}
	}
	return out
}

// holds reports whether a condition on the settings holds, or may.
func (f *fixed) holds(t *Tenant) bool {
	var values []string
	for name, v := range t.values {
		if f.target.excepts(name) {
			continue
		}
		switch {
		case f.target.Pattern != nil && f.target.Pattern.MatchString(name), f.target.Pattern == nil && (f.target.Key == "" || f.target.Key == name):
			values = append(values, v...)
		}
	}
	if f.target.Count {
		values = []string{strconv.Itoa(len(values))}
	}
	for _, v := range values {
		if f.link.meets(f.chain, v, &state{tenant: t}) {
			return true
		}
	}
	return false
}
