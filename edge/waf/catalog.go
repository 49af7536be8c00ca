package waf

import (
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"

	"gatehouse/routes"
)

// catalog knows the rules of one compiled rule set, for those who exclude some. It
// is never changed once the rule set is compiled.
type catalog struct {
	generation uint64           // differs from that of every other catalog
	ids        []int            // of all rules, sorted
	tags       map[string][]int // the ids of each tag, sorted, without bookkeeping
	uses       map[int]looks    // what each rule looks at, its chain included, but for what it only counts

	rules   []Rule       // by id
	refuses map[int]bool // those that refuse on their own
}

// generations counts catalogs.
var generations atomic.Uint64

// looks is a set of variables.
type looks [256 / 64]uint64

func (l *looks) add(v variables.RuleVariable)    { l[v/64] |= 1 << (v % 64) }
func (l looks) at(v variables.RuleVariable) bool { return l[v/64]&(1<<(v%64)) != 0 }

func newCatalog() *catalog {
	return &catalog{generation: generations.Add(1), tags: map[string][]int{}, uses: map[int]looks{}, refuses: map[int]bool{}}
}

// within returns the ids from first to last.
func (c *catalog) within(first, last int) []int {
	from, _ := slices.BinarySearch(c.ids, first)
	to, _ := slices.BinarySearch(c.ids, last+1)
	return c.ids[from:to]
}

// observe takes one rule, as the compiler meets it.
func (c *catalog) observe(rule types.RuleMetadata) {
	id := rule.ID()
	if id == 0 {
		return // a marker, or a condition of a chain
	}
	c.ids = append(c.ids, id)
	known := ruleOf(rule)
	c.rules = append(c.rules, known)
	if known.Refuses {
		c.refuses[id] = true
	}
	if !spared(id) {
		for _, tag := range rule.Tags() {
			c.tags[tag] = append(c.tags[tag], id)
		}
	}
}

// complete ends the observation, and adds what observers are not shown.
func (c *catalog) complete(waf coraza.WAF) error {
	slices.Sort(c.ids)
	c.ids = slices.Compact(c.ids)
	for tag, ids := range c.tags {
		slices.Sort(ids)
		c.tags[tag] = slices.Clip(slices.Compact(ids))
	}
	err := eachVariable(waf, func(id int, variable reflect.Value) {
		if variable.FieldByName("Count").Bool() {
			return // the engine counts what is excluded, too
		}
		seen := c.uses[id]
		seen.add(variables.RuleVariable(variable.FieldByName("Variable").Uint()))
		c.uses[id] = seen
	})
	c.list()
	return err
}

// spared reports whether a rule cannot be excluded: it finds nothing itself, and the rules
// that do would be blind, mute or too many without it.
func spared(id int) bool { return routes.BookkeepingRule(id) != "" }

// nearestTag returns the tag that was probably meant: the one that contains the word or is
// contained in it, the shortest first.
func (c *catalog) nearestTag(word string) string {
	best := ""
	word = strings.ToLower(word)
	for tag := range c.tags {
		lower := strings.ToLower(tag)
		near := strings.Contains(lower, word) || len(lower) > 3 && strings.Contains(word, lower)
		if near && (best == "" || len(tag) < len(best) || len(tag) == len(best) && tag < best) {
			best = tag
		}
	}
	return best
}

// lookedAt names what a rule looks at, for a message.
func (c *catalog) lookedAt(id int) string { return strings.Join(c.targets(id), ", ") }

// targets are what a rule looks at, sorted, but for the rule set's own variables.
func (c *catalog) targets(id int) []string {
	var names []string
	for v := range 256 {
		if v := variables.RuleVariable(v); c.uses[id].at(v) && v != variables.TX {
			names = append(names, nameOf(v))
		}
	}
	slices.Sort(names)
	return names
}

// nameOf is a variable's name as rules and exclusions write it.
func nameOf(v variables.RuleVariable) string {
	if v == variables.RequestXML {
		return "XML"
	}
	return v.Name()
}
