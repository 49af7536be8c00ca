package main

import (
	"fmt"
	"strings"
	"time"

	"gatehouse/routes"
)

// An exclusionJudge returns what of exclusions has no effect with the rules in use,
// as problems whose field is that of one exclusion and below ("[0].rules").
type exclusionJudge func(list []routes.Exclusion) routes.Problems

// exclusions warns of what is served as told and has no effect, or no longer: a
// rule that does not exist may have gone with an update of the rule set, which must
// not break a document.
func (c *checker) exclusions() {
	var judge exclusionJudge
	for _, d := range append(append([]placed{}, c.tenants...), c.vhosts...) {
		list := exclusionsOf(d.Document)
		if len(list) == 0 {
			continue
		}
		if judge == nil { // compiling the rules takes half a second
			var err error
			if judge, err = openJudge(); err != nil {
				c.add(&routes.Problem{Reason: "exclusions could not be compared with the rules: " + err.Error()})
				return
			}
		}
		for _, p := range judge(list) {
			c.warnings = append(c.warnings, d.entry.problem("waf.exclusions"+p.Field, p.Reason))
		}
		for i := range list {
			if end := list[i].Until.Time(); !end.IsZero() && !c.now.Before(end) {
				c.warnings = append(c.warnings, d.entry.problem(fmt.Sprintf("waf.exclusions[%d].until", i),
					"it has ended ("+end.Format(time.DateOnly)+", 00:00 UTC) and can be removed"))
			}
		}
	}
}

func exclusionsOf(doc routes.Document) []routes.Exclusion {
	switch {
	case doc.Tenant != nil && doc.Tenant.WAF != nil:
		return doc.Tenant.WAF.Exclusions
	case doc.Vhost != nil && doc.Vhost.WAF != nil:
		return doc.Vhost.WAF.Exclusions
	}
	return nil
}

// withoutEffect is the message for a part of an exclusion.
func withoutEffect(reason string) string {
	return strings.TrimSuffix(reason, ".") + ": without effect"
}
