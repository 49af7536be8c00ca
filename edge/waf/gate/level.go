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
// what other rules can skip into, past the first one.
func levels(rules []Rule) (from []int, sections []bool) {
	from, sections = make([]int, len(rules)), make([]bool, len(rules))
	for i := range from {
		from[i] = 1
	}
	jumps := jumps(rules)
	for i := range rules {
		level, marker, ok := section(&rules[i])
		if !ok {
			continue
		}
		end := markerBehind(rules, i, marker)
		if end < 0 || slices.ContainsFunc(jumps, func(j jump) bool { return j.enters(rules, i, end) }) {
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

// A jump is what a rule may skip, between two places in the list.
type jump struct{ from, to int }

// jumps returns those of all rules.
func jumps(rules []Rule) (out []jump) {
	for i := range rules {
		for k := range rules[i].Links {
			for _, a := range rules[i].Links[k].Acts {
				switch {
				case a.Kind != Skips:
				case a.To == "":
					if list := counted(rules, i, a.Skip); len(list) > 0 { // markers count, and end it sooner
						out = append(out, jump{i, list[min(a.Skip, len(list))-1]})
					}
				default:
					if to := markerBehind(rules, i, a.To); to >= 0 {
						out = append(out, jump{i, to})
					} else if to := markerBehind(rules, -1, a.To); to >= 0 { // in the phase that follows
						out = append(out, jump{-1, to})
					}
				}
			}
		}
	}
	return out
}

// A tally is a skip that would count the first rule of a section if a tenant had taken away what comes before it.
type tally struct {
	skip   int
	before []int // the ids of the rules behind the skip
}

// tallies returns those of all rules.
func tallies(rules []Rule, sections []bool) (out []tally) {
	for i := range rules {
		for k := range rules[i].Links {
			for _, a := range rules[i].Links[k].Acts {
				t := tally{skip: a.Skip}
				for _, at := range counted(rules, i, a.Skip) {
					if sections[at] {
						out = append(out, t)
						break
					}
					t.before = append(t.before, rules[at].ID)
				}
			}
		}
	}
	return out
}

// enters reports whether a jump may lead past the first rule of a section, between two places, into it.
func (j jump) enters(rules []Rule, first, end int) bool {
	return j.from < first && first <= j.to && j.to < end && (j.from < 0 || rules[j.from].Phase == rules[first].Phase)
}

// markerBehind returns the place of the first marker of a name behind a place; -1: there is none.
func markerBehind(rules []Rule, place int, name string) int {
	at := slices.IndexFunc(rules[place+1:], func(r Rule) bool { return r.Marker == name })
	if at < 0 {
		return -1
	}
	return place + 1 + at
}

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
	if !t.isTX() || t.Count || t.Key != "detection_paranoia_level" || act.Kind != Skips || act.To == "" || err != nil || level > maxLevel {
		return 0, "", false
	}
	return max(level, 1), act.To, true
}
