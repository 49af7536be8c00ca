package seclang

import (
	"fmt"
	"strconv"
	"strings"
)

// The bounds of one rule's actions.
const (
	maxMessage         = 200 // characters
	maxTags            = 10
	maxTransformations = 8
	maxSetvars         = 10
)

// actions is what a rule says it does.
type actions struct {
	id, idAt        int
	phase           int
	disruptive      string // "", pass, block or deny
	status          int
	message         string
	severity        string
	tags            []string
	transformations []string
	setvars         []string
	ctls            []ctl
	chain           bool
	capture         bool
	multiMatch      bool
	silent          bool // nolog
	skip            int
	skipAfter       string
	skipAfterAt     int

	ofHead []placed // what may stand in the first rule of a chain only
}

// A placed word is an action and where it stands.
type placed struct {
	name string
	at   int
}

// ctl is what a rule takes away from another one of the same text, for this request.
type ctl struct {
	id   int
	text string
}

func (e *rule) allCtls() []ctl {
	out := e.ctls
	for _, link := range e.links {
		out = append(out[:len(out):len(out)], link.ctls...)
	}
	return out
}

// actionList reads the quoted list of actions that ends a directive.
func (s *scanner) actionList(at int) (actions, *Problem) {
	var out actions
	raw, next, p := s.quoted(at, "the list of actions")
	if p != nil {
		return out, p
	}
	if next < len(s.line.text) {
		return out, s.problem(next, "nothing follows the actions")
	}
	if i := strings.IndexAny(raw, "\\\"`"); i >= 0 {
		return out, s.problem(at+1+i, "no backslashes, double quotes or backticks among the actions")
	}
	for start := 0; start <= len(raw); {
		end, p := s.endOfAction(raw, start, at+1)
		if p != nil {
			return out, p
		}
		name, value, p := s.splitAction(raw[start:end], at+1+start)
		if p != nil {
			return out, p
		}
		if p := s.action(&out, name, value, at+1+start+leading(raw[start:end])); p != nil {
			return out, p
		}
		start = end + 1
	}
	return out, s.together(&out, at)
}

func leading(s string) int { return len(s) - len(strings.TrimLeft(s, " \t")) }

// endOfAction returns the index of the next comma that is not within single quotes.
func (s *scanner) endOfAction(raw string, start, offset int) (int, *Problem) {
	quoteAt := -1
	for i := start; i < len(raw); i++ {
		switch {
		case raw[i] == '\'' && quoteAt < 0:
			quoteAt = i
		case raw[i] == '\'':
			quoteAt = -1
		case raw[i] == ',' && quoteAt < 0:
			return i, nil
		}
	}
	if quoteAt >= 0 {
		return 0, s.problem(offset+quoteAt, "this single quote is not closed")
	}
	return len(raw), nil
}

// splitAction takes "name", "name:value" or "name:'value'" apart.
func (s *scanner) splitAction(text string, at int) (name, value string, p *Problem) {
	at += leading(text)
	name, value, _ = strings.Cut(strings.TrimSpace(text), ":")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if name == "" {
		return "", "", s.problem(at, "an action is missing here: two commas, or one at an end")
	}
	if inner, quoted := strings.CutPrefix(value, "'"); quoted {
		inner, closed := strings.CutSuffix(inner, "'")
		if !closed || strings.Contains(inner, "'") {
			return "", "", s.problem(at, "the value of %s has single quotes within: they stand around the whole value, or nowhere", name)
		}
		return name, strings.TrimSpace(inner), nil
	}
	if strings.Contains(text, "'") {
		return "", "", s.problem(at, "the value of %s has single quotes within: they stand around the whole value, or nowhere", name)
	}
	return name, value, nil
}

// action enters one action.
func (s *scanner) action(out *actions, name, value string, at int) *Problem {
	kind, known := actionKinds[strings.ToLower(name)]
	if !known {
		p := s.problem(at, "the action %s is not taken%s", shown(name), orTable(actionReasons[strings.ToLower(name)]))
		p.Guess = nearest(name, actionNames)
		return p
	}
	switch {
	case kind.value && value == "":
		return s.problem(at, "%s needs a value, such as %s", kind.name, kind.example)
	case !kind.value && value != "":
		return s.problem(at, "%s takes no value", kind.name)
	}
	if kind.head {
		out.ofHead = append(out.ofHead, placed{kind.name, at})
	}
	if reason := kind.take(s, out, value, at); reason != nil {
		return reason
	}
	return nil
}

// together checks what does not go together in one rule, and fills in what is not said.
func (s *scanner) together(out *actions, at int) *Problem {
	switch {
	case out.status != 0 && out.disruptive != "deny":
		return s.problem(at, "status goes with deny: this rule refuses nothing")
	case out.silent && out.disruptive == "deny":
		return s.problem(at, "nolog does not go with deny: a refusal without a trace cannot be explained")
	case out.chain && (out.skip != 0 || out.skipAfter != ""):
		return s.problem(at, "skip and skipAfter do not go with chain")
	}
	return nil
}

// String writes the list for the engine. A rule that is a link of a chain has fewer.
func (a *actions) String() string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if a.id != 0 {
		add("id:%d", a.id)
		add("phase:%d", orDefault(a.phase, 2))
		add("log") // so that the engine tells of each match, listed or not
		if a.disruptive == "deny" {
			add("deny")
			add("status:%d", orDefault(a.status, 403))
		} else {
			add("pass")
		}
		if message := a.listedAs(); message != "" {
			add("msg:'%s'", message)
		}
		if a.severity != "" {
			add("severity:'%s'", a.severity)
		}
		for _, tag := range a.tags {
			add("tag:'%s'", tag)
		}
	}
	for _, t := range a.transformations {
		add("t:%s", t)
	}
	for _, flag := range []struct {
		name string
		set  bool
	}{{"capture", a.capture}, {"multiMatch", a.multiMatch}, {"chain", a.chain}} {
		if flag.set {
			add("%s", flag.name)
		}
	}
	for _, v := range a.setvars {
		add("setvar:'%s'", v)
	}
	for _, c := range a.ctls {
		add("ctl:'%s'", c.text)
	}
	if a.skip != 0 {
		add("skip:%d", a.skip)
	}
	if a.skipAfter != "" {
		add("skipAfter:'%s'", a.skipAfter)
	}
	return strings.Join(out, ",")
}

// listedAs is the message under which a match is listed; empty: it is not.
func (a *actions) listedAs() string {
	switch {
	case a.silent:
		return ""
	case a.message == "" && a.disruptive == "deny":
		return "own rule " + strconv.Itoa(a.id)
	}
	return a.message
}

func orDefault(value, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return value
}
