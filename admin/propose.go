package admin

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"gatehouse/routes"
)

// Scopes of an AllowRequest, from the narrowest on: what the rules that matched are off for.
const (
	ScopeParam  = "param"  // what matched, on the path and with the method of the request, in the vhost
	ScopePath   = "path"   // the path, in the vhost
	ScopeVhost  = "vhost"  // the vhost
	ScopeTenant = "tenant" // all vhosts of the tenant
)

// Scopes lists them.
var Scopes = []string{ScopeParam, ScopePath, ScopeVhost, ScopeTenant}

// A proposal is what would let a request pass.
type proposal struct {
	exclusions []routes.Exclusion
	notes      []string // where it is wider than was asked
}

func (p *proposal) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(p.notes, text) {
		p.notes = append(p.notes, text)
	}
}

// propose makes the narrowest exclusions of a scope that take away what refused a request.
// events are those of the request in which it was refused.
func (a *API) propose(in *AllowRequest, events []Event) (*proposal, error) {
	matches, err := a.guilty(in.Rules, events)
	if err != nil {
		return nil, err
	}
	p := &proposal{}
	base := routes.Exclusion{Note: in.Note, Until: in.Until}
	e := &events[0]
	if (in.Scope == ScopeParam || in.Scope == ScopePath) && !in.AnyPath {
		if base.Paths, err = a.pathOf(e); err != nil {
			return nil, err
		}
	}
	if in.Scope == ScopeParam && !in.AnyPath {
		base.Methods = []string{e.Method}
	}
	for _, m := range matches {
		x := base
		x.Rules = []routes.RuleRange{{First: m.ID, Last: m.ID}}
		if in.Scope == ScopeParam {
			a.pick(p, &x, m)
		}
		p.add(x)
	}
	for i := range p.exclusions {
		p.exclusions[i].ID = p.exclusions[i].Key()
	}
	return p, nil
}

// add joins exclusions that differ in their rules alone.
func (p *proposal) add(x routes.Exclusion) {
	for i := range p.exclusions {
		have := &p.exclusions[i]
		if have.Target != x.Target || !slices.Equal(have.Paths, x.Paths) || !slices.Equal(have.Methods, x.Methods) {
			continue
		}
		if !slices.Contains(have.Rules, x.Rules[0]) {
			have.Rules = append(have.Rules, x.Rules[0])
		}
		return
	}
	p.exclusions = append(p.exclusions, x)
}

// guilty returns the matches that refused the request: those that refuse on their own, and if the
// score did, those that scored; of rules alone, if any are named.
func (a *API) guilty(rules []int, events []Event) ([]Match, error) {
	known := a.knownRules()
	var all []Match
	for i := range events {
		e := &events[i]
		for _, m := range e.Rules {
			if known.refuses(e, m) || m.Score > 0 && e.Score >= e.Threshold {
				all = append(all, m)
			}
		}
	}
	for _, id := range rules {
		if why := routes.BookkeepingRule(id); why != "" {
			return nil, unprocessable("rule %d cannot be excluded: %s", id, why)
		}
		if !slices.ContainsFunc(all, func(m Match) bool { return m.ID == id }) {
			return nil, unprocessable("rule %d had no part in it; these had: %s", id, rulesOf(all))
		}
	}
	if len(rules) > 0 {
		all = slices.DeleteFunc(all, func(m Match) bool { return !slices.Contains(rules, m.ID) })
	}
	if len(all) == 0 {
		return nil, unprocessable("no rule is named in the events of this request: nothing can be excluded for it")
	}
	for _, m := range all {
		if _, core := known[m.ID]; !core {
			return nil, unprocessable("rule %d is not one of the core rule set: it is an own rule, to be changed in waf.rules of the tenant or vhost, or it is gone since", m.ID)
		}
		if why := routes.BookkeepingRule(m.ID); why != "" {
			return nil, unprocessable("rule %d cannot be excluded: %s", m.ID, why)
		}
	}
	return all, nil
}

// knownRules are the rules of the rule set, and whether each refuses on its own.
type knownRules map[int]bool

func (a *API) knownRules() knownRules {
	out := knownRules{}
	for _, r := range a.opts.Ruleset.Rules() {
		out[r.ID] = r.Refuses
	}
	return out
}

// refuses reports whether a match refuses on its own, or would in the mode block, where the first one
// ends the inspection.
func (k knownRules) refuses(e *Event, m Match) bool { return m.ID == e.RefusedBy || k[m.ID] }

func rulesOf(matches []Match) string {
	var ids []string
	for _, m := range matches {
		if id := fmt.Sprint(m.ID); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return strings.Join(ids, ", ")
}

// pathOf is the pattern that fits the path of the request, and it alone.
func (a *API) pathOf(e *Event) ([]string, error) {
	path, plain := a.opts.Ruleset.PlainPath(e.Path)
	switch {
	case !plain:
		return nil, unprocessable("no exclusion can be for the path %q, which backends read in different ways: use --any-path", e.Path)
	case len(path) > maxPattern || e.Cut && len(e.Path) >= maxPattern:
		return nil, unprocessable("the path is longer than the %d bytes that an exclusion may name: use --any-path", maxPattern)
	}
	return []string{strings.ReplaceAll(path, "*", "?")}, nil // "?" fits a star, and little else
}

// maxPattern is how long a path or target of an exclusion may be, as routes has it.
const maxPattern = 200

// pick narrows an exclusion to what a rule matched, if that can be.
func (a *API) pick(p *proposal, x *routes.Exclusion, m Match) {
	target, ok := targetOf(m)
	if ok = ok && len(target) <= maxPattern; ok {
		x.Target = target
		ok = len(a.opts.ExclusionProblems([]routes.Exclusion{*x})) == 0
	}
	if !ok {
		x.Target = ""
		what := "what it matched cannot be named alone"
		if m.Partial {
			what = "it matches several things together"
		}
		where := "every path"
		if x.Paths != nil {
			where = x.Methods[0] + " " + x.Paths[0]
		}
		p.note("rule %d is off as a whole for %s: %s", m.ID, where, what)
		return
	}
	switch variable, _, _ := strings.Cut(target, ":"); variable {
	case "REQUEST_COOKIES", "REQUEST_COOKIES_NAMES", "REQUEST_HEADERS", "REQUEST_HEADERS_NAMES":
		if x.Paths != nil {
			p.note("%s is excluded on every path: clients send it to all of them", target)
		}
		x.Paths, x.Methods = nil, nil
	}
}

// index is what a place in a list looks like in the name of an argument of JSON.
var index = regexp.MustCompile(`\.[0-9]+(\.|$)`)

// targetOf returns the target of an exclusion for what matched; not ok: there is none.
func targetOf(m Match) (target string, ok bool) {
	name, key, named := strings.Cut(m.Target, ":")
	keyed, known := routes.ExclusionTargets()[name]
	if !known || m.Partial || len(m.Target) > maxMatched || !utf8.ValidString(key) || strings.ContainsFunc(key, isControl) {
		return "", false
	}
	if !keyed || key == "" {
		return name, !keyed && !named // a keyed variable without a name would be all of it
	}
	pattern := regexp.QuoteMeta(key)
	switch {
	case strings.HasPrefix(key, "json.") && index.MatchString(key):
		// The same member of every element of a list, wherever it stands in it.
		for before := ""; before != pattern; {
			before = pattern
			pattern = escapedIndex.ReplaceAllString(pattern, `\.[0-9]+$1`)
		}
		return name + ":/^" + pattern + "$/", true
	case key[0] == '/' && key[len(key)-1] == '/' && len(key) > 1:
		return name + ":/^" + pattern + "$/", true // it would be read as a pattern
	}
	return name + ":" + key, true
}

// escapedIndex is index in a quoted pattern.
var escapedIndex = regexp.MustCompile(`\\\.[0-9]+(\\\.|$)`)

// maxMatched is how long a target of an event may be to be whole: longer ones were cut off.
const maxMatched = 124

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func unprocessable(format string, args ...any) error {
	return &apiError{http.StatusUnprocessableEntity, fmt.Sprintf(format, args...), nil}
}
