package waf

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/corazawaf/coraza/v3/types/variables"

	wafrules "gatehouse/waf-rules"
)

// An Exclusion says what of the rules does not apply to a tenant. The rules meant are
// those of Rules and of Tags together. It must not be changed once a profile has it.
type Exclusion struct {
	// Rules are ranges of rule ids, first and last included.
	Rules [][2]int32
	// Tags mean every rule that has one of them.
	Tags []string
	// Target is VARIABLE, VARIABLE:name or VARIABLE:/regex/: what the rules no longer look at.
	// Names are compared without regard to case. Empty: the rules are off.
	Target string
	// Paths are patterns of the whole path, of which one must fit; "*" stands for any text and "?"
	// for any one character, "/" included. A path that backends read in different ways fits
	// none, see plainPath. Empty: every path.
	Paths []string
	// Methods are those that it is for, as they are sent. Empty: every method.
	Methods []string
	// Until is the Unix time at which it ends. Zero: it does not.
	Until int64
}

// Ignored is a part of an exclusion that has no effect with the rules in use.
type Ignored struct {
	Index  int    // of the exclusion in its profile
	Field  string // rules, tags or target
	Reason string // and what was probably meant
}

// Ignored returns what of the exclusions has no effect with the rules in use: rules
// and tags that do not exist, rules that cannot be excluded, targets that the rules do not look
// at. A new rule set may drop a rule, so none of this makes a profile invalid; what is left of
// an exclusion applies.
func (e *Engine) Ignored(list []Exclusion) []Ignored {
	_, ignored := e.catalog.compile(list)
	return ignored
}

// A target is one variable, or a part of it, that some rules do not look at.
type target struct {
	ids      []int32
	variable variables.RuleVariable
	name     string // in lower case; empty: all of it, or pattern
	pattern  *regexp.Regexp
}

// A removal is what does not apply.
type removal struct {
	ranges  [][2]int32
	targets []target
}

// A scoped removal is for some requests, or for some time.
type scoped struct {
	removal
	paths   []glob
	methods []string
	until   int64
}

// exclusions is a profile's list in the form that a transaction needs, for the rules of one
// catalog. It is immutable.
type exclusions struct {
	catalog *catalog
	always  removal
	scoped  []scoped
}

// compile never fails: what is unknown or malformed is left out and named. A part that is
// left out leaves rules on, never off.
func (c *catalog) compile(list []Exclusion) (*exclusions, []Ignored) {
	out := &exclusions{catalog: c}
	var ignored []Ignored
	var always []int
	for i := range list {
		x := &list[i]
		say := func(field, format string, args ...any) {
			ignored = append(ignored, Ignored{Index: i, Field: field, Reason: fmt.Sprintf(format, args...)})
		}
		ids := c.meant(x, say)
		if len(ids) == 0 {
			continue
		}
		var r removal
		if x.Target == "" {
			r.ranges = c.merge(ids)
		} else if t, err := parseTarget(x.Target); err != nil {
			say("target", "%v", err)
			continue
		} else if t.ids = c.looking(ids, t.variable); len(t.ids) == 0 {
			say("target", "none of its rules looks at %s; rule %d looks at %s", t.variable.Name(), ids[0], c.lookedAt(ids[0]))
			continue
		} else {
			r.targets = []target{t}
		}
		if len(x.Paths)+len(x.Methods) > 0 || x.Until != 0 {
			s := scoped{removal: r, methods: x.Methods, until: x.Until}
			for _, p := range x.Paths {
				s.paths = append(s.paths, newGlob(p))
			}
			out.scoped = append(out.scoped, s)
			continue
		}
		if x.Target == "" {
			always = append(always, ids...)
		}
		out.always.targets = append(out.always.targets, r.targets...)
	}
	if len(always) > 0 {
		slices.Sort(always)
		out.always.ranges = c.merge(slices.Compact(always))
	}
	out.always.targets = slices.Clip(out.always.targets)
	return out, ignored
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

// looking returns those of the rules that look at a variable. The others would only
// cost time.
func (c *catalog) looking(ids []int, v variables.RuleVariable) []int32 {
	var out []int32
	for _, id := range ids {
		if c.uses[id].at(v) {
			out = append(out, int32(id))
		}
	}
	return slices.Clip(out)
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

// parseTarget reads what [Exclusion.Target] may be.
func parseTarget(text string) (t target, err error) {
	name, key, hasKey := strings.Cut(text, ":")
	if t.variable, err = variables.Parse(name); err != nil || name == "" {
		return t, fmt.Errorf("there is no variable %q", name)
	}
	switch {
	case !hasKey:
	case key == "":
		return t, fmt.Errorf("a name is missing after %q", text)
	case len(key) > 1 && key[0] == '/' && key[len(key)-1] == '/':
		// The engine compares names in lower case, where a pattern with capitals never fits.
		if t.pattern, err = regexp.Compile("(?i:" + key[1:len(key)-1] + ")"); err != nil {
			return t, fmt.Errorf("target %q: %w", text, err)
		}
	default:
		t.name = strings.ToLower(key)
	}
	return t, nil
}

// onResponses reports whether an exclusion may change what is found in a response.
func (x *Exclusion) onResponses() bool {
	if x.Target != "" && !strings.HasPrefix(x.Target, "RESPONSE_") {
		return false
	}
	return slices.ContainsFunc(x.Rules, func(r [2]int32) bool { return r[0] < 959000 && r[1] >= 950000 }) ||
		slices.ContainsFunc(x.Tags, func(tag string) bool { return wafrules.ResponseTags()[tag] })
}

// checkExclusion returns what is wrong with an exclusion whatever the rules.
func checkExclusion(x *Exclusion) error {
	var errs []error
	if x.Until < 0 {
		errs = append(errs, errors.New("it ends before 1970"))
	}
	if len(x.Rules)+len(x.Tags) == 0 {
		errs = append(errs, errors.New("neither rules nor tags"))
	}
	for _, r := range x.Rules {
		if r[0] > r[1] || r[0] <= 0 || r[1] > 999_999_999 {
			errs = append(errs, fmt.Errorf("bad range of rules %d-%d", r[0], r[1]))
		}
	}
	if x.Target != "" {
		if _, err := parseTarget(x.Target); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// exclude applies a removal to a transaction.
func (r *removal) exclude(tx engineTx) {
	for _, ids := range r.ranges {
		tx.RemoveRuleByIDRange(int(ids[0]), int(ids[1]))
	}
	for i := range r.targets {
		t := &r.targets[i]
		for _, id := range t.ids {
			tx.RemoveRuleTargetByID(int(id), t.variable, t.name, t.pattern)
		}
	}
}

// exclude applies what is meant for a request beside what always applies.
func (x *exclusions) exclude(tx engineTx, method, requestTarget string, now func() time.Time) {
	var path string
	var plain, split bool
	var moment int64
	for i := range x.scoped {
		s := &x.scoped[i]
		if len(s.methods) > 0 && !slices.Contains(s.methods, method) {
			continue
		}
		if len(s.paths) > 0 {
			if !split {
				path, plain = plainPath(requestTarget)
				split = true
			}
			if !plain || !slices.ContainsFunc(s.paths, func(g glob) bool { return g.fits(path) }) {
				continue
			}
		}
		if s.until != 0 {
			if moment == 0 {
				moment = now().Unix()
			}
			if moment >= s.until {
				continue
			}
		}
		s.removal.exclude(tx)
	}
}
