package waf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

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
	// Names are compared without regard to case. Empty: the rules are off. A regex is bounded by
	// [routes.MaxPattern].
	Target string
	// Paths are patterns of the whole path, of which one must fit; "*" stands for any text and "?"
	// for any one character, "/" included. A path that backends read in different ways fits
	// none, see plainPath. Empty: every path.
	Paths []string
	// Folders narrows a path that begins with "*/": the star stands for folders, which is text without
	// a dot. So no program's name can stand there: a server that takes what follows one for the program's
	// own would run it instead, with the exclusions of what the path ends with.
	Folders bool
	// Methods are those that it is for, as they are sent. Empty: every method.
	Methods []string
	// Until is the Unix time at which it ends. Zero: it does not.
	Until int64
}

// Exclusions are a list of them, which any number of profiles may share: the vhosts of a tenant have
// one, and it is compiled once. Nil is an empty one. Safe for concurrent use.
type Exclusions struct {
	list      []Exclusion
	compiled  atomic.Pointer[plan] // for the rules that were last asked about
	compiling sync.Mutex           // held by the one request of many that compiles
}

// NewExclusions returns the list, which must not be changed any more, as profiles take it; nil
// for an empty one.
func NewExclusions(list []Exclusion) *Exclusions {
	if len(list) == 0 {
		return nil
	}
	return &Exclusions{list: list}
}

// All returns the list, which must not be changed.
func (x *Exclusions) All() []Exclusion {
	if x == nil {
		return nil
	}
	return x.list
}

// Shared are lists of exclusions that profiles of many tenants have in common, such as those of a
// program that tenants run. Each list is compiled once for all of them. Nil is none. It is never
// changed.
type Shared struct{ lists []*Exclusions }

// NewShared returns the lists as profiles take them, without the empty ones; nil if all are.
func NewShared(lists ...*Exclusions) *Shared {
	lists = slices.DeleteFunc(slices.Clone(lists), func(x *Exclusions) bool { return x == nil })
	if len(lists) == 0 {
		return nil
	}
	return &Shared{lists: lists}
}

// Lists returns the lists, none of them nil, which must not be changed.
func (s *Shared) Lists() []*Exclusions {
	if s == nil {
		return nil
	}
	return s.lists
}

// plan compiles the exclusions for the rules of a catalog, at the first request after a change of either.
func (x *Exclusions) plan(c *catalog) *plan {
	if x == nil {
		return nil
	}
	if made := x.compiled.Load(); made != nil && made.generation == c.generation {
		return made
	}
	x.compiling.Lock()
	defer x.compiling.Unlock()
	if made := x.compiled.Load(); made != nil && made.generation == c.generation {
		return made
	}
	made, _ := c.compile(x.list)
	x.compiled.Store(made)
	return made
}

// steps is the work of all regular expressions for each byte of a name, at most; 0 before the first
// request.
func (x *Exclusions) steps() int {
	if x == nil {
		return 0
	}
	if made := x.compiled.Load(); made != nil {
		return made.steps
	}
	return 0
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
	_, ignored := e.current.Load().catalog.compile(list)
	return ignored
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
		if t.pattern, t.size, err = targetPatterns.get(key[1 : len(key)-1]); err != nil {
			return t, fmt.Errorf("target %q: %w", text, err)
		}
	default:
		t.name = strings.ToLower(key)
	}
	return t, nil
}

// onResponses reports whether an exclusion may change what is found in a response.
func (x *Exclusion) onResponses(set *wafrules.Set) bool {
	if x.Target != "" && !strings.HasPrefix(x.Target, "RESPONSE_") {
		return false
	}
	return slices.ContainsFunc(x.Rules, func(r [2]int32) bool { return r[0] < 959000 && r[1] >= 950000 }) ||
		slices.ContainsFunc(x.Tags, func(tag string) bool { return set.ResponseTags()[tag] })
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
