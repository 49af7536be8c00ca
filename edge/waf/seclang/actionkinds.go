package seclang

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// An actionKind is one action that is taken.
type actionKind struct {
	name    string // as the engine writes it
	value   bool   // it needs one; else it takes none
	head    bool   // in the first rule of a chain only
	example string
	take    func(s *scanner, out *actions, value string, at int) *Problem
}

// actionKinds are the actions by their names in small letters.
var actionKinds = func() map[string]actionKind {
	out := map[string]actionKind{}
	for _, k := range []actionKind{
		{name: "id", value: true, head: true, example: "id:1000", take: takeID},
		{name: "phase", value: true, head: true, example: "phase:2", take: takePhase},
		{name: "deny", head: true, take: disruptive("deny")},
		{name: "block", head: true, take: disruptive("deny")},
		{name: "pass", head: true, take: disruptive("pass")},
		{name: "status", value: true, head: true, example: "status:403", take: takeStatus},
		{name: "msg", value: true, head: true, example: "msg:'no uploads here'", take: takeMessage},
		{name: "severity", value: true, head: true, example: "severity:CRITICAL", take: takeSeverity},
		{name: "tag", value: true, head: true, example: "tag:'shop/login'", take: takeTag},
		{name: "log", head: true, take: flag(func(a *actions) { a.silent = false })},
		{name: "nolog", head: true, take: flag(func(a *actions) { a.silent = true })},
		{name: "chain", take: flag(func(a *actions) { a.chain = true })},
		{name: "capture", take: flag(func(a *actions) { a.capture = true })},
		{name: "multiMatch", take: flag(func(a *actions) { a.multiMatch = true })},
		{name: "t", value: true, example: "t:lowercase", take: takeTransformation},
		{name: "setvar", value: true, example: "setvar:'tx.seen=1'", take: takeSetvar},
		{name: "ctl", value: true, example: "ctl:ruleRemoveById=1000", take: takeCtl},
		{name: "skip", value: true, head: true, example: "skip:1", take: takeSkip},
		{name: "skipAfter", value: true, head: true, example: "skipAfter:end", take: takeSkipAfter},
	} {
		out[strings.ToLower(k.name)] = k
	}
	return out
}()

// actionNames is filled at start: the functions above report problems, which name actions.
var actionNames = []string{
	"id", "phase", "deny", "block", "pass", "status", "msg", "severity", "tag", "log", "nolog", "chain", "capture",
	"multiMatch", "t", "setvar", "ctl", "skip", "skipAfter",
}

// actionReasons say more of actions that people, or attackers, will try.
var actionReasons = map[string]string{
	"exec": "it runs a program", "setenv": "it changes the process", "initcol": lasting, "expirevar": lasting,
	"deprecatevar": lasting, "setsid": lasting, "setuid": lasting, "setrsc": lasting,
	"allow":    "a request that it lets through would pass the core rules unseen; skipAfter ends own rules, waf.exclusions the core rules'",
	"drop":     "deny refuses, too",
	"redirect": "a refusal is an error page", "proxy": "backends are the vhost's",
	"append": onRequests, "prepend": onRequests, "logdata": "what matched is listed with every match",
	"auditlog": noAuditLog, "noauditlog": noAuditLog, "sanitisearg": noAuditLog, "sanitisematched": noAuditLog,
	"ver": nowhere, "rev": nowhere, "maturity": nowhere, "accuracy": nowhere, "pause": "it holds a request up",
}

const (
	noAuditLog = "there is no audit log; secrets are left out of the events by their names"
	nowhere    = "it is shown nowhere"
)

func flag(set func(*actions)) func(*scanner, *actions, string, int) *Problem {
	return func(_ *scanner, out *actions, _ string, _ int) *Problem { set(out); return nil }
}

func disruptive(word string) func(*scanner, *actions, string, int) *Problem {
	return func(s *scanner, out *actions, _ string, at int) *Problem {
		if out.disruptive != "" {
			return s.problem(at, "a rule says once what it does: pass, block or deny")
		}
		out.disruptive = word
		return nil
	}
}

func takeID(s *scanner, out *actions, value string, at int) *Problem {
	id, err := strconv.Atoi(value)
	if err != nil || id < MinID || id > MaxID {
		return s.problem(at, "the id of an own rule is %d to %d, not %s; the others are the core rules'", MinID, MaxID, shown(value))
	}
	if out.id != 0 {
		return s.problem(at, "a rule has one id")
	}
	out.id, out.idAt = id, at
	return nil
}

func takePhase(s *scanner, out *actions, value string, at int) *Problem {
	switch strings.ToLower(value) {
	case "1":
		out.phase = 1
	case "2", "request":
		out.phase = 2
	case "3", "4", "5", "response", "logging":
		return s.problem(at, "phase:%s is not taken: %s, in phase 1 (head) and 2 (body)", value, onRequests)
	default:
		return s.problem(at, "phase is 1 (head) or 2 (body), not %s", shown(value))
	}
	return nil
}

func takeStatus(s *scanner, out *actions, value string, at int) *Problem {
	status, err := strconv.Atoi(value)
	if err != nil || status < 400 || status > 599 {
		return s.problem(at, "the status of a refusal is 400 to 599, not %s", shown(value))
	}
	out.status = status
	return nil
}

func takeMessage(s *scanner, out *actions, value string, at int) *Problem {
	if p := s.plainText(value, "a message", maxMessage, at); p != nil {
		return p
	}
	out.message = value
	return nil
}

// plainText refuses %{…}: it would be put together for every value that a rule looks at.
func (s *scanner) plainText(value, what string, most, at int) *Problem {
	if strings.Contains(value, "%{") {
		return s.problem(at, "%s is fixed text, without %%{…}: what matched is listed with every match", what)
	}
	if len(value) > most {
		return s.problem(at, "%s of %d bytes; at most %d", what, len(value), most)
	}
	return nil
}

var severities = []string{"EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"}

func takeSeverity(s *scanner, out *actions, value string, at int) *Problem {
	if n, err := strconv.Atoi(value); err == nil && n >= 0 && n < len(severities) {
		value = severities[n]
	}
	if value = strings.ToUpper(value); !slices.Contains(severities, value) {
		return s.problem(at, "severity is one of %s, not %s", strings.Join(severities, ", "), shown(value))
	}
	out.severity = value
	return nil
}

func takeTag(s *scanner, out *actions, value string, at int) *Problem {
	if p := s.plainText(value, "a tag", maxName, at); p != nil {
		return p
	}
	if out.tags = append(out.tags, value); len(out.tags) > maxTags {
		return s.problem(at, "more than %d tags", maxTags)
	}
	return nil
}

func takeTransformation(s *scanner, out *actions, value string, at int) *Problem {
	name, known := transformations[strings.ToLower(value)]
	switch {
	case !known:
		p := s.problem(at, "there is no transformation %s", shown(value))
		p.Guess = nearest(value, slices.Sorted(maps.Values(transformations)))
		return p
	case name == "none":
		out.transformations = nil
		return nil
	}
	if growing[name] && slices.ContainsFunc(out.transformations, func(t string) bool { return growing[t] }) {
		return s.problem(at, "a second transformation that makes a value longer")
	}
	if out.transformations = append(out.transformations, name); len(out.transformations) > maxTransformations {
		return s.problem(at, "more than %d transformations", maxTransformations)
	}
	return nil
}

// takeSetvar takes a note in TX. Its value is a word, a number to add, or one %{variable} as it is: what
// is put together is a copy for each note, and could double with each rule.
func takeSetvar(s *scanner, out *actions, value string, at int) *Problem {
	assignment, removes := strings.CutPrefix(value, "!")
	name, text, assigns := strings.Cut(assignment, "=")
	note, ofTX := strings.CutPrefix(strings.ToLower(name), "tx.")
	switch {
	case !ofTX || !isName(note) || strings.Trim(note, "0123456789") == "":
		return s.problem(at, "want setvar:'tx.name=value', with a name of letters, digits, dot, hyphen and underscore")
	case removes && assigns:
		return s.problem(at, "setvar:'!tx.%s' removes, and takes no value", note)
	case len(out.setvars) >= maxSetvars:
		return s.problem(at, "more than %d setvar", maxSetvars)
	}
	if strings.Contains(text, "%{") {
		inside, whole := wholeMacro(text)
		if !whole {
			return s.problem(at, "a value is a word, a number to add, or one %%{variable} alone")
		}
		if p := s.macro(inside, at); p != nil {
			return p
		}
	} else if len(text) > maxName || strings.Trim(text, setvarBytes) != "" {
		return s.problem(at, "a value has at most %d letters, digits, spaces and characters of %s", maxName, "_.:/+-")
	}
	value = "tx." + note
	switch {
	case removes:
		value = "!" + value
	case assigns:
		value += "=" + text
	}
	out.setvars = append(out.setvars, value)
	return nil
}

const setvarBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _.:/+-"

// takeCtl takes what acts on the same text's rules and on this request only.
func takeCtl(s *scanner, out *actions, value string, at int) *Problem {
	what, rest, _ := strings.Cut(value, "=")
	number, target, targeted := strings.Cut(rest, ";")
	id, err := strconv.Atoi(strings.TrimSpace(number))
	switch what = strings.ToLower(what); {
	case what != "ruleremovebyid" && what != "ruleremovetargetbyid":
		return s.problem(at, "of ctl, ruleRemoveById and ruleRemoveTargetById are taken, for rules of the same text")
	case err != nil || id < MinID || id > MaxID:
		return s.problem(at, "ctl names one own rule by its id, not %s; for a core rule use waf.exclusions", shown(number))
	case targeted != (what == "ruleremovetargetbyid"):
		return s.problem(at, "want ctl:ruleRemoveById=1000 or ctl:ruleRemoveTargetById=1000;ARGS:name")
	case !targeted:
		out.ctls = append(out.ctls, ctl{id, "ruleRemoveById=" + strconv.Itoa(id)})
	default:
		variable, excluded, p := s.variable(strings.TrimSpace(target), at)
		if p != nil {
			return p
		}
		if excluded || variable[0] == '&' || strings.Contains(variable, "/") {
			return s.problem(at, "want a target such as ARGS:name or REQUEST_HEADERS")
		}
		out.ctls = append(out.ctls, ctl{id, "ruleRemoveTargetById=" + strconv.Itoa(id) + ";" + variable})
	}
	if len(out.ctls) > maxSetvars {
		return s.problem(at, "more than %d ctl", maxSetvars)
	}
	return nil
}

func takeSkip(s *scanner, out *actions, value string, at int) *Problem {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > MaxRules {
		return s.problem(at, "skip takes how many rules are passed over, 1 to %d, not %s", MaxRules, shown(value))
	}
	out.skip = n
	return nil
}

func takeSkipAfter(s *scanner, out *actions, value string, at int) *Problem {
	if !isName(value) {
		return s.problem(at, "want the name of a SecMarker, not %s", shown(value))
	}
	out.skipAfter, out.skipAfterAt = value, at
	return nil
}
