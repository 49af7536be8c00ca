package report

import "fmt"

// FewestRounds are what a target is judged on, at least: the median of fewer says nothing.
const FewestRounds = 3

// A Target is what was promised: our CPU per request is at most AtMost times Peer's in
// Scenario. With AtMostMB it is about our memory alone: at most so many MB in Scenario;
// Peer and AtMost then mean nothing.
type Target struct {
	Scenario string  `json:"scenario"`
	Peer     string  `json:"peer,omitempty"`
	AtMost   float64 `json:"at_most,omitempty"`
	AtMostMB float64 `json:"at_most_mb,omitempty"`
	Text     string  `json:"text"` // the promise in words
	// NotJudged says why nothing can be measured for it, where that is known before the
	// first round: its peer is not installed. Empty: it is judged by what was measured.
	NotJudged string `json:"not_judged,omitempty"`
}

// A Verdict is what became of a target. The zero Verdict is NotJudged, which is never
// the same as Met.
type Verdict int

// What can become of a target.
const (
	NotJudged Verdict = iota
	Met
	Missed
)

// String returns the verdict in words.
func (v Verdict) String() string {
	switch v {
	case Met:
		return "met"
	case Missed:
		return "missed"
	default:
		return "not judged"
	}
}

// An Outcome is a target held to what was measured.
type Outcome struct {
	Verdict Verdict
	// Value is the median, Least and Greatest are those of the rounds: ratios, or MB. All
	// are zero where nothing was measured.
	Value, Least, Greatest float64
	Why                    string // it was not judged; else empty
}

// Judge holds a target to c.
func (c *Comparison) Judge(t Target) Outcome {
	var out Outcome
	limit, ok := t.AtMost, false
	if t.AtMostMB > 0 {
		limit = t.AtMostMB
		out.Value, out.Least, out.Greatest, ok = c.memory(t.Scenario)
	} else {
		out.Value, out.Least, out.Greatest, ok = c.Ratio(t.Scenario, t.Peer)
	}
	switch {
	case t.NotJudged != "":
		out.Why = t.NotJudged
	case !ok:
		out.Why = c.lacking(t)
	case c.Rounds < FewestRounds:
		out.Why = fmt.Sprintf("%s, and a verdict needs %d", plural(int64(c.Rounds), "round"), FewestRounds)
	case out.Value <= limit:
		out.Verdict = Met
	default:
		out.Verdict = Missed
	}
	return out
}

// memory returns the median, the least and the greatest of our memory in MB.
func (c *Comparison) memory(scenario string) (median, least, greatest float64, ok bool) {
	var all []float64
	if r := c.row(scenario, Ours); r != nil {
		for _, s := range r.Samples {
			if s.RSS > 0 {
				all = append(all, s.RSS)
			}
		}
	}
	return rangeOf(all)
}

// lacking says what of a target was not measured.
func (c *Comparison) lacking(t Target) string {
	who := Ours
	if r := c.row(t.Scenario, Ours); t.AtMostMB == 0 && r != nil && MedianOf(r.Samples).CPU > 0 {
		who = t.Peer
		if r := c.row(t.Scenario, t.Peer); r != nil && MedianOf(r.Samples).CPU > 0 {
			return "no round has a figure of both"
		}
	}
	return fmt.Sprintf("%s was not measured in %s", who, t.Scenario)
}
