package wafrules

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// A judge says what in a directory's text is not the CRS's, or breaks what tenants rely on: one rule set
// serves all of them, each with settings of his own. It looks at text; edge/waf then compiles it,
// and tries what came of it.
type judge struct {
	files    fs.FS
	problems []*Problem
	rules    map[string]*statement // id → where it stands
	markers  map[string]bool
	skips    []skip
	chained  bool // the next rule is a condition of the last one
}

// A skip is a rule that leaves out those up to a marker: all others of its phase if there is no such marker.
type skip struct {
	from *statement
	to   string
}

// minID is the smallest id of a rule for everybody; the others are those of tenants' own rules.
const minID = 100_000

// directives that may stand in a CRS directory. All others set up the engine, which base.conf does, or
// reach what is outside: a log, a folder, a program, a server.
var directives = map[string]bool{
	"secrule": true, "secaction": true, "secmarker": true, "seccomponentsignature": true, "secdefaultaction": true,
	"seccollectiontimeout": true, // without effect in this engine
	"secruleremovebyid":    true, "secruleremovebytag": true, "secruleremovebymsg": true,
	"secruleupdatetargetbyid": true, "secruleupdatetargetbytag": true, "secruleupdatetargetbymsg": true,
}

// reasons are for directives that people have in their setup.
var reasons = map[string]string{
	"include":                 "files are read in the order of the CRS; see docs/operations.md",
	"secruleengine":           "the mode is each tenant's setting (waf.mode)",
	"secrequestbodylimit":     "the edge bounds bodies (limits.body_bytes, waf.inspect_body)",
	"secargumentslimit":       "the base settings bound arguments",
	"secrxprefilter":          "it misses attacks",
	"secruleupdateactionbyid": "remove the rule (SecRuleRemoveById) and write one with another id",
	"secdebuglog":             "rules write no files",
	"secauditlog":             "rules write no files; see gatehouse waf events",
}

// tenantSettings are variables that each tenant's settings set, before any rule: a rule that
// sets one would win over all of them. The value is the setting's name.
var tenantSettings = map[string]string{
	"blocking_paranoia_level":          "waf.paranoia",
	"detection_paranoia_level":         "waf.paranoia",
	"inbound_anomaly_score_threshold":  "waf.inbound_threshold",
	"outbound_anomaly_score_threshold": "waf.outbound_threshold",
	"allowed_methods":                  "waf.allowed_methods",
	"allowed_request_content_type":     "waf.allowed_types",
}

// forbiddenOperators reach files, commands or name servers.
var forbiddenOperators = map[string]string{
	"inspectfile": "runs a program", "validateschema": "reads a file", "fuzzyhash": "reads a file",
	"rbl": "asks name servers", "gsblookup": "asks a data base", "geolookup": "asks a data base",
}

// fileOperators read a list, which must be in the set.
var fileOperators = map[string]bool{"pmfromfile": true, "pmf": true, "ipmatchfromfile": true, "ipmatchf": true}

// ctlOptions change one transaction as the CRS itself does. The others would change what the tenant
// or base.conf set.
var ctlOptions = map[string]bool{
	"ruleremovebyid": true, "ruleremovebytag": true, "ruleremovebymsg": true,
	"ruleremovetargetbyid": true, "ruleremovetargetbytag": true, "ruleremovetargetbymsg": true,
	"forcerequestbodyvariable": true, "requestbodyprocessor": true, "auditengine": true, "auditlogparts": true,
}

// defaultActions are those that change no verdict.
var defaultActions = map[string]bool{
	"phase": true, "pass": true, "log": true, "nolog": true, "auditlog": true, "noauditlog": true,
}

func (j *judge) add(p *Problem) { j.problems = append(j.problems, p) }

// file looks at all statements of a file. Its data files must be in j.files.
func (j *judge) file(name string, text []byte) {
	list, problems := statements(name, text)
	j.problems = append(j.problems, problems...)
	for i := range list {
		j.statement(&list[i])
	}
	if j.chained {
		j.add(&Problem{File: name, Reason: "the last rule of the file wants another (chain): it is not whole"})
		j.chained = false
	}
}

func (j *judge) statement(s *statement) {
	name, args := s.name(), s.args()
	if !directives[name] && s.file != baseFile {
		word, _, _ := strings.Cut(s.text, " ")
		reason := reasons[name]
		if reason == "" {
			reason = "rules, markers and removals are all that a rule set may have"
		}
		j.add(s.problem("%.60q must not stand here: %s", word, reason))
		return
	}
	switch name {
	case "secmarker":
		j.markers[args] = true
	case "secaction":
		j.actions(s, actionsOf(unquoted(args)))
	case "secrule":
		_, operator, actions, ok := ruleParts(args)
		if !ok {
			j.add(s.problem(`it has not the form SecRule VARIABLES "OPERATOR" "ACTIONS"`))
			return
		}
		j.operator(s, operator)
		j.actions(s, actionsOf(actions))
	case "secdefaultaction":
		for _, a := range actionsOf(unquoted(args)) {
			if !defaultActions[a.name] {
				j.add(s.problem("the default action %q would be that of every rule: the tenant's mode decides (waf.mode)", a.name))
			}
		}
	}
}

func (j *judge) operator(s *statement, text string) {
	name, arg := operatorOf(text)
	if why, forbidden := forbiddenOperators[name]; forbidden {
		j.add(s.problem("the operator @%s must not stand here: it %s", name, why))
	}
	if !fileOperators[name] {
		return
	}
	file := path.Join(path.Dir(s.file), arg)
	if info, err := fs.Stat(j.files, file); err != nil || info.IsDir() || path.IsAbs(arg) {
		j.add(s.problem("the list %q of @%s is not in the rule set: lists are files *.data beside the rules", arg, name))
	}
}

func (j *judge) actions(s *statement, list []action) {
	id, chain := "", false
	for _, a := range list {
		switch a.name {
		case "id":
			id = a.value
		case "chain":
			chain = true
		case "exec", "setenv":
			j.add(s.problem("the action %s must not stand here: it reaches out of the engine", a.name))
		case "ctl":
			option, _, _ := strings.Cut(a.value, "=")
			if !ctlOptions[strings.ToLower(option)] {
				j.add(s.problem("ctl:%s must not stand here: it changes what the tenant or the base settings say", option))
			}
		case "skipafter":
			j.skips = append(j.skips, skip{s, a.value})
		case "setvar":
			j.setvar(s, a.value)
		}
	}
	if !j.chained {
		j.id(s, id)
	}
	j.chained = chain
}

// setvar leaves the CRS's own defaults alone, which rules 901xxx set where nothing is set yet.
func (j *judge) setvar(s *statement, value string) {
	name, _, _ := strings.Cut(strings.TrimPrefix(value, "!"), "=")
	_, name, _ = strings.Cut(strings.ToLower(name), ".")
	if setting, ok := tenantSettings[strings.TrimSpace(name)]; ok && !initializes(s.file) {
		j.add(s.problem("tx.%s would win over every tenant's: set %s in documents, or defaults.%s", name, setting, setting))
	}
}

func initializes(file string) bool { return strings.HasPrefix(path.Base(file), "REQUEST-901-") }

func (j *judge) id(s *statement, text string) {
	switch n, err := strconv.Atoi(text); {
	case text == "":
		j.add(s.problem("the rule has no id"))
		return
	case err != nil || n < minID:
		j.add(s.problem("the id %.20q is not a number from %d: smaller ones are for tenants' own rules", text, minID))
		return
	}
	if first := j.rules[text]; first != nil {
		j.add(s.problem("rule %s stands at %s:%d already", text, first.file, first.line))
		return
	}
	j.rules[text] = s
}

// end looks at what only the whole tells.
func (j *judge) end() {
	for _, s := range j.skips {
		if !j.markers[s.to] {
			j.add(s.from.problem("there is no SecMarker %q to skip to, so that all rules after it would be skipped: a file is not whole", s.to))
		}
	}
}
