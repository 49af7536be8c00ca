package main

import (
	"fmt"
	"os"
	"slices"
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
	type placedList struct {
		list  []routes.Exclusion
		place func(field, reason string) *routes.Problem
	}
	var all []placedList
	for _, cfg := range c.settings {
		if w := cfg.Defaults.WAF; w != nil && len(w.Exclusions) > 0 {
			all = append(all, placedList{w.Exclusions, func(field, reason string) *routes.Problem {
				return &routes.Problem{File: cfg.File, Field: "defaults." + field, Reason: reason}
			}})
		}
	}
	for _, d := range slices.Concat(c.tenants, c.vhosts) {
		if list := exclusionsOf(d.Document); len(list) > 0 {
			all = append(all, placedList{list, d.entry.problem})
		}
	}
	if len(all) == 0 {
		return
	}
	judge, err := c.judge, c.judgeErr
	if judge == nil && err == nil {
		judge, _, err = openJudge(nil) // only now: it takes half a second
	}
	if err != nil {
		c.note = "the exclusions were not compared with the rules: " + err.Error()
		judge = func([]routes.Exclusion) routes.Problems { return nil }
	}
	for _, one := range all {
		for _, p := range judge(one.list) {
			c.warnings = append(c.warnings, one.place("waf.exclusions"+p.Field, p.Reason))
		}
		for i := range one.list {
			if end := one.list[i].Until.Time(); !end.IsZero() && !c.now.Before(end) {
				c.warnings = append(c.warnings, one.place(fmt.Sprintf("waf.exclusions[%d].until", i),
					"ended on "+end.Format(time.DateOnly)+" at 00:00 UTC: remove the exclusion, or set a later day"))
			}
		}
	}
}

// rules compiles a folder of rules that process settings name, and reports why it is refused.
func (c *checker) rules(cfg *Config) {
	dir, ok := cfg.CRSDir()
	if info, err := os.Stat(dir); !ok || err != nil || !info.IsDir() { // loadConfig has said so
		return
	}
	var ungated string
	if c.judge, ungated, c.judgeErr = openJudge(cfg); c.judgeErr != nil {
		c.add(cfg.problem("waf.crs", c.judgeErr.Error(), ""))
	} else if ungated != "" {
		c.warnings = append(c.warnings, cfg.problem("waf.crs", ungated, ""))
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
