package gate

import "slices"

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

// opened reports whether an action takes away the first rule of a section, between two places, but not all of the others.
func opened(rules []Rule, first, end int) bool {
	for i := range rules {
		for k := range rules[i].Links {
			for _, a := range rules[i].Links[k].Acts {
				if slices.Contains(a.Takes, first) && slices.ContainsFunc(between(rules, first, end), func(at int) bool { return !slices.Contains(a.Takes, at) }) {
					return true
				}
			}
		}
	}
	return false
}

// markerBehind returns the place of the first marker of a name behind a place; -1: there is none.
func markerBehind(rules []Rule, place int, name string) int {
	at := slices.IndexFunc(rules[place+1:], func(r Rule) bool { return r.Marker == name })
	if at < 0 {
		return -1
	}
	return place + 1 + at
}

// between returns the rules of a rule's phase behind it and before an end.
func between(rules []Rule, i, end int) (out []int) {
	for at := i + 1; at < end; at++ {
		if rules[at].Phase == rules[i].Phase {
			out = append(out, at)
		}
	}
	return out
}

// counted returns as many rules of the phase as a skip counts, which may be more than the next ones: those that a tenant or another
// rule has taken away do not count. Markers always do, and cannot be taken away.
func counted(rules []Rule, i, n int) (out []int) {
	for at := i + 1; at < len(rules) && n > 0; at++ {
		switch rules[at].Phase {
		case 0:
			n--
		case rules[i].Phase:
			out = append(out, at)
		}
	}
	return out
}

// hidden returns the rules that an action of a rule may keep from running, and which of them it does.
func hidden(rules []Rule, i int, a *Act) (may, does []int) {
	rest := func() (out []int) { // of the phase, and what comes after it
		out = between(rules, i, len(rules))
		for at := range rules {
			if rules[at].Phase > rules[i].Phase {
				out = append(out, at)
			}
		}
		return out
	}
	switch {
	case a.Kind == Skips && a.To == "":
		does = counted(rules, i, a.Skip)
	case a.Kind == Skips:
		if end := markerBehind(rules, i, a.To); end >= 0 {
			does = between(rules, i, end)
		} else {
			does = rest()
		}
	case a.Ends:
		return rest(), between(rules, i, len(rules))
	default:
		does = a.Takes
	}
	return does, does
}

// allCounted returns which rules some skip may count.
func allCounted(rules []Rule) []bool {
	out := make([]bool, len(rules))
	for i := range rules {
		for k := range rules[i].Links {
			for _, a := range rules[i].Links[k].Acts {
				for _, at := range counted(rules, i, a.Skip) {
					out[at] = true
				}
			}
		}
	}
	return out
}
