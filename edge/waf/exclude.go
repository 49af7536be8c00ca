package waf

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// A target is one variable, or a part of it, that some rules do not look at.
type target struct {
	ids      []int32   // those of low paranoia levels first
	below    [3]uint16 // how many of the ids run at the levels 1, 2 and 3
	variable variables.RuleVariable
	name     string // in lower case; empty: all of it, or pattern
	pattern  *regexp.Regexp
	size     int // of the pattern, in instructions
}

// at returns the ids of the rules that run at a paranoia level, 1 to 4.
func (t *target) at(paranoia int) []int32 {
	if paranoia > len(t.below) {
		return t.ids
	}
	return t.ids[:t.below[paranoia-1]]
}

// A removal is what does not apply.
type removal struct {
	ranges  [][2]int32
	targets []target
}

// work is what a removal costs a request, see maxWork.
func (r *removal) work() int {
	n := len(r.ranges)
	for i := range r.targets {
		n += len(r.targets[i].ids) * (1 + r.targets[i].size/4)
	}
	return n
}

// steps is the work of its regular expressions for each byte of a name, at most: four times its work.
func (r *removal) steps() int {
	n := 0
	for i := range r.targets {
		n += len(r.targets[i].ids) * r.targets[i].size
	}
	return n
}

// A scoped removal is for some requests, or for some time.
type scoped struct {
	removal
	paths   []glob
	methods []string
	until   int64
}

// maxWork bounds what a profile's exclusions may cost each request: one for each range of rules,
// each rule that loses a target, and each path, which is some 5 ms at most. A target with a regular
// expression counts a quarter of its instructions more for each rule: so there are 40,000 steps at most for
// each byte of a name, some 0.3 ms, and [Profile.Heavy] knows them.
const maxWork = 10_000

// plan is a list of exclusions in the form that a transaction needs, for the rules of one
// catalog. It is immutable, and does not keep the catalog: a tenant without requests
// would hold that of an old rule set.
type plan struct {
	generation uint64 // of the catalog
	steps      int    // see removal.steps
	always     removal
	scoped     []scoped
}

// compile never fails: what is unknown or malformed is left out and named. A part that is
// left out leaves rules on, never off.
func (c *catalog) compile(list []Exclusion) (*plan, []Ignored) {
	out := &plan{generation: c.generation}
	var ignored []Ignored
	var always []int
	var scopes scopes
	work := 0
	for i := range list {
		x := &list[i]
		say := func(field, format string, args ...any) {
			ignored = append(ignored, Ignored{Index: i, Field: field, Reason: fmt.Sprintf(format, args...)})
		}
		ids := c.meant(x, say)
		r, ok := c.remove(ids, x.Target, say)
		if !ok {
			continue
		}
		if work += r.work() + len(x.Paths); work > maxWork {
			say("rules", "the exclusions up to this one mean more than %d rules, targets and paths, regular expressions by their size: name fewer rules, a rule instead of a tag, or a name instead of a regular expression", maxWork)
			break
		}
		out.steps += r.steps()
		switch {
		case len(x.Paths)+len(x.Methods) > 0 || x.Until != 0:
			scopes.add(x, r)
		case x.Target == "":
			always = append(always, ids...)
		default:
			out.always.targets = append(out.always.targets, r.targets...)
		}
	}
	slices.Sort(always)
	out.always.ranges = c.merge(slices.Compact(always))
	out.always.targets, out.scoped = slices.Clip(out.always.targets), slices.Clip(scopes.list)
	return out, ignored
}

// scopes collects removals by the requests that they are for: each path is compared once, however
// many exclusions name it. The zero value is ready.
type scopes struct {
	list []scoped
	at   map[string]int
}

func (s *scopes) add(x *Exclusion, r removal) {
	key := fmt.Sprintf("%q %t %q %d", x.Paths, x.Folders, x.Methods, x.Until)
	if at, known := s.at[key]; known {
		into := &s.list[at].removal
		into.ranges, into.targets = append(into.ranges, r.ranges...), append(into.targets, r.targets...)
		return
	}
	if s.at == nil {
		s.at = map[string]int{}
	}
	s.at[key] = len(s.list)
	s.list = append(s.list, scoped{removal: r, paths: newGlobs(x.Paths, x.Folders), methods: x.Methods, until: x.Until})
}

// remove returns what takes rules, or one target of them, out of a request; not ok: nothing would.
func (c *catalog) remove(ids []int, text string, say func(field, format string, args ...any)) (r removal, ok bool) {
	if len(ids) == 0 {
		return r, false
	}
	if text == "" {
		return removal{ranges: c.merge(ids)}, true
	}
	t, err := parseTarget(text)
	if err != nil {
		say("target", "%v", err)
		return r, false
	}
	if t.ids, t.below = c.looking(ids, t.variable); len(t.ids) == 0 {
		say("target", "none of its rules looks at %s; rule %d looks at %s", t.variable.Name(), ids[0], c.lookedAt(ids[0]))
		return r, false
	}
	return removal{targets: []target{t}}, true
}

// meant returns the ids of all rules that an exclusion means, sorted.
func (c *catalog) meant(x *Exclusion, say func(field, format string, args ...any)) []int {
	var ids []int
	for _, r := range x.Rules {
		found := c.within(int(r[0]), int(r[1]))
		switch {
		case len(found) == 0 && r[0] == r[1]:
			say("rules", "there is no rule %d", r[0])
		case len(found) == 0:
			say("rules", "there is no rule from %d to %d", r[0], r[1])
		}
		for _, id := range found {
			if !spared(id) {
				ids = append(ids, id)
			} else if r[0] == r[1] {
				say("rules", "rule %d keeps the books of the others and cannot be excluded", id)
			}
		}
	}
	for _, tag := range x.Tags {
		tagged, ok := c.tags[tag]
		if !ok {
			guess := ""
			if near := c.nearestTag(tag); near != "" {
				guess = fmt.Sprintf(" (did you mean %q?)", near)
			}
			say("tags", "no rule has the tag %q%s", tag, guess)
		}
		ids = append(ids, tagged...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// looking returns those of the rules that look at a variable, by paranoia level, and how many run
// at each but the highest. The others would only cost time, and so do those above the tenant's level, which
// do not run: half a microsecond each.
func (c *catalog) looking(ids []int, v variables.RuleVariable) (out []int32, below [3]uint16) {
	for level := 1; level <= 4; level++ {
		for _, id := range ids {
			if c.level(id) == level && c.uses[id].at(v) {
				out = append(out, int32(id))
			}
		}
		if level <= len(below) {
			below[level-1] = uint16(len(out)) // a rule set has hundreds
		}
	}
	return slices.Clip(out), below
}

// level is the paranoia level from which a rule runs.
func (c *catalog) level(id int) int {
	at, known := slices.BinarySearchFunc(c.rules, id, func(r Rule, id int) int { return cmp.Compare(r.ID, id) })
	if !known {
		return 1
	}
	return max(c.rules[at].Paranoia, 1)
}

// merge turns sorted ids into ranges that hold no other rule: the engine asks each rule against
// each range, so few are better.
func (c *catalog) merge(ids []int) [][2]int32 {
	var out [][2]int32
	last := -2
	for _, id := range ids {
		at, _ := slices.BinarySearch(c.ids, id)
		if at == last+1 {
			out[len(out)-1][1] = int32(id)
		} else {
			out = append(out, [2]int32{int32(id), int32(id)})
		}
		last = at
	}
	return slices.Clip(out)
}

// exclude applies a removal to a transaction at a paranoia level, 1 to 4.
func (r *removal) exclude(tx engineTx, paranoia int) {
	for _, ids := range r.ranges {
		tx.RemoveRuleByIDRange(int(ids[0]), int(ids[1]))
	}
	for i := range r.targets {
		t := &r.targets[i]
		for _, id := range t.at(paranoia) {
			tx.RemoveRuleTargetByID(int(id), t.variable, t.name, t.pattern)
		}
	}
}

// asked is what of a request decides which exclusions are for it.
type asked struct {
	method, target string
	now            func() time.Time

	path         string // of the target
	plain, split bool   // it has a single reading; it was asked for
	moment       int64  // 0: was not asked for
}

// each yields what is meant for a request beside what always applies.
func (p *plan) each(r *asked, yield func(*removal)) {
	for i := range p.scoped {
		if p.scoped[i].covers(r) {
			yield(&p.scoped[i].removal)
		}
	}
}

func (s *scoped) covers(r *asked) bool {
	if !s.fits(r) {
		return false
	}
	if s.until != 0 && r.moment == 0 {
		r.moment = r.now().Unix()
	}
	return s.until == 0 || r.moment < s.until
}

// fits reports whether it is for such requests, whenever they come.
func (s *scoped) fits(r *asked) bool {
	if len(s.methods) > 0 && !slices.Contains(s.methods, r.method) {
		return false
	}
	if len(s.paths) == 0 {
		return true
	}
	if !r.split {
		r.path, r.plain = plainPath(r.target)
		r.split = true
	}
	return r.plain && slices.ContainsFunc(s.paths, func(g glob) bool { return g.fits(r.path) })
}
