package waf

import (
	"fmt"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental/plugins/macro"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types/variables"

	"gatehouse/edge/waf/gate"
)

// compiledRules reads the rules as Coraza v3.8.1 has compiled them, in its order: what they really look at and
// do, whatever directives have changed since they were written. The fields are unexported, so this goes by reflection;
// an unknown layout is an error.
func compiledRules(waf coraza.WAF) (out []gate.Rule, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read compiled rules: unknown layout of the engine: %v", r)
		}
	}()
	rules := reflect.ValueOf(waf).FieldByName("waf").Elem().FieldByName("Rules").FieldByName("rules")
	names := make([]ruleNames, rules.Len())
	for i := range names {
		names[i] = namesOf(rules.Index(i))
	}
	for i := range rules.Len() {
		out = append(out, ruleFrom(rules.Index(i), names))
	}
	return out, nil
}

// ruleNames are what an action can call rules by, in order.
type ruleNames struct {
	id   int
	msg  string
	tags []string
}

func namesOf(v reflect.Value) ruleNames {
	return ruleNames{int(v.FieldByName("ID_").Int()), macroText(v, "Msg"), inside[[]string](v.FieldByName("Tags_"))}
}

// The numbers that Coraza's ctlFunctionType has for the settings by which rules see less, or that do not matter to them. All
// others widen what they see, or may.
const (
	ctlRemoveTargetByID  = 1
	ctlRemoveTargetByTag = 2
	ctlRemoveTargetByMsg = 3
	ctlAuditEngine       = 4
	ctlAuditLogParts     = 5
	ctlRemoveByID        = 10
	ctlRemoveByMsg       = 11
	ctlRemoveByTag       = 12
	ctlDebugLogLevel     = 20
)

// lessens reports whether a ctl action only has rules see less.
func lessens(v reflect.Value) bool {
	switch v.FieldByName("action").Int() {
	case ctlRemoveTargetByID, ctlRemoveTargetByTag, ctlRemoveTargetByMsg, ctlAuditEngine, ctlAuditLogParts,
		ctlRemoveByID, ctlRemoveByMsg, ctlRemoveByTag, ctlDebugLogLevel:
		return true
	}
	return false
}

// taken returns the places of the rules that a ctl action takes away.
func taken(v reflect.Value, names []ruleNames) (out []int) {
	value := v.FieldByName("value").String()
	is := func(ruleNames) bool { return false }
	switch v.FieldByName("action").Int() {
	case ctlRemoveByID:
		first, last, isRange := strings.Cut(value, "-")
		if !isRange {
			last = first
		}
		from, err := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		is = func(r ruleNames) bool { return err == nil && err2 == nil && from <= r.id && r.id <= to }
	case ctlRemoveByMsg:
		is = func(r ruleNames) bool { return r.msg == value }
	case ctlRemoveByTag:
		is = func(r ruleNames) bool { return slices.Contains(r.tags, value) }
	}
	for i, r := range names {
		if r.id != 0 && is(r) {
			out = append(out, i)
		}
	}
	return out
}

func ruleFrom(v reflect.Value, names []ruleNames) gate.Rule {
	r := gate.Rule{
		ID: int(v.FieldByName("ID_").Int()), Marker: v.FieldByName("SecMark_").String(), Phase: int(v.FieldByName("Phase_").Int()),
		Text:   v.FieldByName("Raw_").String(),
		Silent: true,
	}
	if r.Marker != "" {
		return r
	}
	for link := v; ; link = link.FieldByName("Chain").Elem() {
		r.Links = append(r.Links, linkFrom(link, names))
		r.Silent = r.Silent && (link.FieldByName("Msg").IsNil() || keepsBooks(r.ID)) // the engine tells the first message of a chain
		if link.FieldByName("Chain").IsNil() {
			return r
		}
	}
}

func linkFrom(v reflect.Value, names []ruleNames) gate.Link {
	l := gate.Link{MultiMatch: v.FieldByName("MultiMatch").Bool(), Captures: v.FieldByName("Capture").Bool()}
	for i, targets := 0, v.FieldByName("variables"); i < targets.Len(); i++ {
		l.Targets = append(l.Targets, targetFrom(targets.Index(i)))
	}
	if operator := v.FieldByName("operator"); !operator.IsNil() {
		operator = operator.Elem()
		l.Operator = inside[plugintypes.Operator](operator.FieldByName("Operator"))
		l.Name = strings.TrimLeft(operator.FieldByName("Function").String(), "!@")
		l.Argument, l.Negated = operator.FieldByName("Data").String(), operator.FieldByName("Negation").Bool()
	}
	for i, steps := 0, v.FieldByName("transformations"); i < steps.Len(); i++ {
		apply := inside[plugintypes.Transformation](steps.Index(i).FieldByName("Function"))
		l.Apply = append(l.Apply, apply)
		l.Transforms = append(l.Transforms, nameOfTransformation(apply))
	}
	for i, actions := 0, v.FieldByName("actions"); i < actions.Len(); i++ {
		action := actions.Index(i)
		addAction(&l, strings.ToLower(action.FieldByName("Name").String()), inside[plugintypes.Action](action.FieldByName("Function")), names)
	}
	return l
}

func targetFrom(v reflect.Value) gate.Target {
	t := gate.Target{
		Variable: variables.RuleVariable(v.FieldByName("Variable").Uint()),
		Count:    v.FieldByName("Count").Bool(),
		Key:      v.FieldByName("KeyStr").String(),
		Pattern:  inside[*regexp.Regexp](v.FieldByName("KeyRx")),
	}
	for i, except := 0, v.FieldByName("Exceptions"); i < except.Len(); i++ {
		x := except.Index(i)
		t.Except = append(t.Except, gate.Exception{
			Key: strings.ToLower(x.FieldByName("KeyStr").String()), Pattern: inside[*regexp.Regexp](x.FieldByName("KeyRx")),
		})
	}
	return t
}

// inside returns the content of a field, which reflection denies for unexported ones.
func inside[T any](field reflect.Value) T {
	return *(*T)(unsafe.Pointer(reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Pointer()))
}

// The engine's names for its transformations, where they differ from those that rules use.
var transformationNames = map[string]string{
	"base64decode": "base64Decode", "base64decodeext": "base64DecodeExt", "base64encode": "base64Encode", "lowerCase": "lowercase",
	"upperCase": "uppercase", "md5T": "md5", "sha1T": "sha1", "normalisePath": "normalizePath", "normalisePathWin": "normalizePathWin",
	"utf8ToUnicode": "utf8toUnicode",
}

// nameOfTransformation tells a function of the engine by its symbol; empty: it is not one of the engine's.
func nameOfTransformation(f plugintypes.Transformation) string {
	symbol := runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name()
	name, ok := strings.CutPrefix(symbol, "github.com/corazawaf/coraza/v3/internal/transformations.")
	if !ok {
		return ""
	}
	if rules, other := transformationNames[name]; other {
		return rules
	}
	return name
}

// harmlessActions have no effect on rules.
var harmlessActions = map[string]bool{
	"pass": true, "log": true, "nolog": true, "auditlog": true, "noauditlog": true, "capture": true, "chain": true, "id": true, "msg": true,
	"logdata": true, "severity": true, "tag": true, "ver": true, "rev": true, "phase": true, "t": true, "status": true, "multimatch": true,
	"maturity": true, "accuracy": true,
}

// addAction adds what an action does to a link. One that is not known counts as one that refuses, so that
// the rule is always shown to the engine.
func addAction(l *gate.Link, name string, action plugintypes.Action, names []ruleNames) {
	if harmlessActions[name] {
		return
	}
	v := reflect.ValueOf(action)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch name {
	case "setvar":
		l.Sets = append(l.Sets, gate.Set{Key: macroText(v, "key"), Value: macroText(v, "value"), Removes: v.FieldByName("isRemove").Bool()})
	case "skip":
		l.Acts = append(l.Acts, gate.Act{Kind: gate.Skips, Skip: int(v.FieldByName("data").Int())})
	case "skipafter":
		l.Acts = append(l.Acts, gate.Act{Kind: gate.Skips, To: v.FieldByName("data").String()})
	case "allow":
		l.Acts = append(l.Acts, gate.Act{Kind: gate.Lessens, Ends: true})
	case "ctl":
		act := gate.Act{Kind: gate.Lessens, Takes: taken(v, names), Target: variables.RuleVariable(v.FieldByName("collection").Uint())}
		if !lessens(v) {
			act.Kind = gate.Widens
		}
		l.Acts = append(l.Acts, act)
	case "block": // what the default action of its phase makes of it; where there is none, nothing
		if kind := v.Type().Name(); kind != "passFn" && kind != "blockFn" {
			l.Acts = append(l.Acts, gate.Act{Kind: gate.Refuses})
		}
	default: // deny, drop, redirect, exec, initcol and whatever there may be
		l.Acts = append(l.Acts, gate.Act{Kind: gate.Refuses})
	}
}

func macroText(v reflect.Value, field string) string {
	if m := inside[macro.Macro](v.FieldByName(field)); m != nil {
		return m.String()
	}
	return ""
}
