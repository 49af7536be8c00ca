package gate

import (
	"slices"
	"strconv"
)

// maxLevel is the highest paranoia level.
const maxLevel = 4

// levels returns for each rule the paranoia level from which it runs, 1 to 4, and which rules do nothing but
// skip those of higher levels. A section begins with
//
//	SecRule TX:DETECTION_PARANOIA_LEVEL "@lt 2" "…,skipAfter:END-REQUEST-942-…"
//
// and ends with that marker. What is written in another way runs at every level, as far as the gate knows, and so does
// what other rules can skip into, past the first one, or take that away from. Not fixed: a request may change the level, so that
// nothing is a section.
func levels(rules []Rule, fixed bool) (from []int, sections []bool) {
	from, sections = make([]int, len(rules)), make([]bool, len(rules))
	for i := range from {
		from[i] = 1
	}
	if !fixed {
		return from, sections
	}
	jumps := jumps(rules)
	for i := range rules {
		level, marker, ok := section(&rules[i])
		if !ok {
			continue
		}
		end := markerBehind(rules, i, marker)
		if end < 0 || slices.ContainsFunc(jumps, func(j jump) bool { return j.enters(rules, i, end) }) || opened(rules, i, end) {
			continue
		}
		sections[i] = true
		for k := i + 1; k < end; k++ {
			if rules[k].Phase == rules[i].Phase {
				from[k] = max(from[k], level)
			}
		}
	}
	return from, sections
}

// levelName is the variable with the level from which on rules are skipped.
const levelName = "detection_paranoia_level"

// section reads the first rule of one.
func section(r *Rule) (level int, marker string, ok bool) {
	if !r.Silent || len(r.Links) != 1 {
		return 0, "", false
	}
	l := &r.Links[0]
	if len(l.Targets) != 1 || len(l.Sets) > 0 || len(l.Acts) != 1 || len(l.Transforms) > 0 || l.Name != "lt" || l.Negated {
		return 0, "", false
	}
	t, act := &l.Targets[0], l.Acts[0]
	level, err := strconv.Atoi(l.Argument)
	if !t.isTX() || t.Count || t.Key != levelName || len(t.Except) > 0 || act.Kind != Skips || act.To == "" || err != nil || level > maxLevel {
		return 0, "", false
	}
	return max(level, 1), act.To, true
}
