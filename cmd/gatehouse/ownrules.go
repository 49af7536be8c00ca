package main

import (
	"fmt"

	"gatehouse/edge/waf"
	"gatehouse/routes"
)

// checkOwnRules says what is wrong with the rules that a tenant wrote.
func checkOwnRules(text string) []routes.RuleProblem {
	var out []routes.RuleProblem
	for _, p := range waf.CheckOwn(text) {
		out = append(out, routes.RuleProblem{Line: p.Line, Column: p.Column, Reason: p.Reason, Guess: p.Guess})
	}
	return out
}

// repeatedRule says that a vhost's own rules have an id of its tenant's; nil: they have not.
func repeatedRule(tenants, vhosts string) error {
	if id := waf.SharedID(tenants, vhosts); id != 0 {
		return fmt.Errorf("rule %d stands in the tenant's rules, too: both act, and events do not tell them apart", id)
	}
	return nil
}
