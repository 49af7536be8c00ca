package waf

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/types"
)

// A Rule is what is known of one rule of the rule set. Its slices are shared and must not be changed.
type Rule struct {
	ID int
	// Message is the rule's own explanation, with %{…} where the engine puts values; empty for most bookkeeping.
	Message string
	// Severity is as in [Match].
	Severity string
	Tags     []string
	// Paranoia is the level from which on it acts; 0: at all of them.
	Paranoia int
	// Phase is 1 to 5.
	Phase int
	// Targets are the variables that it looks at, sorted, without those of the rule set's own.
	Targets []string
	// Bookkeeping: it cannot be excluded.
	Bookkeeping bool
	// Refuses: it refuses on its own, whatever the score.
	Refuses bool
}

// Rules returns the rules in use, by id, bookkeeping included. The result is shared and must not
// be changed.
func (e *Engine) Rules() []Rule { return e.current.Load().catalog.rules }

// message finds the msg action in the text of a rule.
var message = regexp.MustCompile(`[,"\s]msg:'((?:[^'\\]|\\.)*)'`)

// refusing finds the actions that refuse; block is what the defaults say, which is pass.
var refusing = regexp.MustCompile(`[,"\s](?:deny|drop|redirect(?::[^,"]*)?)\s*[,"]`)

func ruleOf(meta types.RuleMetadata) Rule {
	r := Rule{ID: meta.ID(), Tags: slices.Clip(meta.Tags()), Phase: int(meta.Phase()), Bookkeeping: spared(meta.ID()), Refuses: refusing.MatchString(meta.Raw())}
	if m := message.FindStringSubmatch(meta.Raw()); m != nil {
		r.Message = strings.Clone(m[1])
	}
	if meta.Severity() != types.RuleSeverityUnset {
		r.Severity = meta.Severity().String()
	}
	for _, tag := range r.Tags {
		if level, ok := strings.CutPrefix(tag, "paranoia-level/"); ok {
			r.Paranoia, _ = strconv.Atoi(level) // 0 is what another text means
		}
	}
	return r
}

// list ends the observation of rules: sorted, and with their targets.
func (c *catalog) list() {
	slices.SortStableFunc(c.rules, func(a, b Rule) int { return cmp.Compare(a.ID, b.ID) })
	for i := range c.rules {
		c.rules[i].Targets = c.targets(c.rules[i].ID)
	}
}

// Mean returns the ids of the rules that exclusions take something away from, sorted, without
// repetition.
func (e *Engine) Mean(list []Exclusion) []int {
	var ids []int
	rules := e.current.Load().catalog
	silent := func(string, string, ...any) {}
	for i := range list {
		ids = append(ids, rules.meant(&list[i], silent)...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// PlainPath returns the decoded path of a request target, which the paths of exclusions are
// compared with. It is not plain if backends read it in different ways: no pattern fits it.
func PlainPath(target string) (path string, plain bool) { return plainPath(target) }

// A Replay says what exclusions would have taken away from requests of the past, of which only
// the matches are known. Their ends are not looked at. It is safe for concurrent use.
type Replay struct{ plan *plan }

// Replay returns that of the exclusions, with the rules in use.
func (e *Engine) Replay(list []Exclusion) *Replay {
	p, _ := e.current.Load().catalog.compile(list)
	return &Replay{plan: p}
}

// Removes reports whether a match would not have been, in a request with that method and that target or
// path. A match stays whose target was cut off, or is not the whole of it (see [Match]), unless its
// rule is off.
func (r *Replay) Removes(method, requestTarget string, m Match) bool {
	if r.plan.always.removes(&m) {
		return true
	}
	asked := asked{method: method, target: requestTarget}
	for i := range r.plan.scoped {
		if s := &r.plan.scoped[i]; s.fits(&asked) && s.removal.removes(&m) {
			return true
		}
	}
	return false
}

func (r *removal) removes(m *Match) bool {
	for _, ids := range r.ranges {
		if int(ids[0]) <= m.ID && m.ID <= int(ids[1]) {
			return true
		}
	}
	if m.Partial || len(m.Target) > maxData-utf8.UTFMax { // as shorten cuts
		return false
	}
	name, key, _ := strings.Cut(m.Target, ":")
	key = strings.ToLower(key)
	return slices.ContainsFunc(r.targets, func(t target) bool {
		switch {
		case nameOf(t.variable) != name || !slices.Contains(t.ids, int32(m.ID)):
			return false
		case t.pattern != nil:
			return t.pattern.MatchString(key)
		}
		return t.name == "" || t.name == key
	})
}
