package waf

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/corazawaf/coraza/v3"
)

// Coraza v3.8.1 appends the target exclusions of a running transaction to a slice of the
// shared rule (internal/corazawaf/rule.go, doEvaluate). Where that slice has spare capacity, the
// append writes into memory that all transactions share: one tenant's exclusion is applied to
// another's request, and the CRS's own ctl:ruleRemoveTargetByTag (rule 941010) races
// with itself. Some rules have spare capacity as compiled (920274, 942340, 942420, 942421).
//
// Hence every such slice is clipped to its length right after compiling, before any transaction
// exists, so that append always copies. The fields are unexported, so this goes by reflection;
// if their layout is not the known one, it is an error and the engine does not start.

// clipExclusions removes the spare capacity of every rule's list of excluded targets and returns
// how many lists had some.
func clipExclusions(waf coraza.WAF) (clipped int, err error) {
	err = eachExclusions(waf, func(list reflect.Value) {
		if list.Cap() > list.Len() {
			// NewAt gives back the right to set, which reflection denies for unexported fields.
			own := reflect.NewAt(list.Type(), unsafe.Pointer(list.UnsafeAddr())).Elem()
			own.Set(own.Slice3(0, own.Len(), own.Len()))
			clipped++
		}
	})
	return clipped, err
}

// slackExclusions counts the lists that still have spare capacity, and all lists that it saw.
func slackExclusions(waf coraza.WAF) (slack, seen int, err error) {
	err = eachExclusions(waf, func(list reflect.Value) {
		seen++
		if list.Cap() > list.Len() {
			slack++
		}
	})
	return slack, seen, err
}

// eachExclusions calls visit with the addressable Exceptions slice of each variable of each rule,
// chained rules included.
func eachExclusions(waf coraza.WAF, visit func(reflect.Value)) error {
	return eachVariable(waf, func(_ int, variable reflect.Value) { visit(variable.FieldByName("Exceptions")) })
}

// eachVariable calls visit with each addressable variable of each rule and the rule's id; those
// of chained rules come with the id of the first.
func eachVariable(waf coraza.WAF, visit func(id int, variable reflect.Value)) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("walk compiled rules: unknown layout of the engine: %v", r)
		}
	}()
	rules := reflect.ValueOf(waf).FieldByName("waf").Elem().FieldByName("Rules").FieldByName("rules")
	if rules.Len() == 0 {
		return fmt.Errorf("walk compiled rules: there are none")
	}
	for i := range rules.Len() {
		id := int(rules.Index(i).FieldByName("ID_").Int())
		for rule := rules.Index(i); ; rule = rule.FieldByName("Chain").Elem() {
			variables := rule.FieldByName("variables")
			for k := range variables.Len() {
				visit(id, variables.Index(k))
			}
			if rule.FieldByName("Chain").IsNil() {
				break
			}
		}
	}
	return nil
}
