package report

import (
	"fmt"
	"slices"
)

// A scenarioView is one scenario in words: a block of every form of a comparison.
type scenarioView struct {
	Scenario, Title string
	Peers           []peerView
	row             []*Row // of Peers
}

// A peerView is one peer in a scenario.
type peerView struct {
	Name                     string
	Ours                     bool
	CPU, User, Sys           string
	Rate, P50, P99           string
	RSS, Errors              string
	Ratio, RatioLow, RatioHi string // ours by theirs; empty for ours, and where there is none
	Less                     bool   // ours costs less than this one
	Failed                   bool   // there were errors
}

// Spread is the least and the greatest ratio of a round.
func (p peerView) Spread() string {
	if p.Ratio == "" {
		return ""
	}
	return p.RatioLow + "–" + p.RatioHi
}

// A targetVerdict is one target with what became of it.
type targetVerdict struct {
	Text, Scenario, Peer string
	Limit, Value, Spread string
	Word                 string // "met", "missed" or "not judged"
	Why                  string // it was not judged
	State                string // its class: "met", "missed", "unmeasured"
}

// scenarios lists c in the order of the first row of each scenario, and in it the
// peers in the comparison's order. Peers that c.Peers does not name come last.
func (c *Comparison) scenarios() []scenarioView {
	rank := map[string]int{}
	for i, p := range c.Peers {
		rank[p.Name] = i + 1
	}
	order := func(r *Row) int {
		if n := rank[r.Peer]; n > 0 {
			return n
		}
		return len(c.Peers) + 1
	}
	place := map[string]int{}
	var out []scenarioView
	for i := range c.Rows {
		r := &c.Rows[i]
		at, known := place[r.Scenario]
		if !known {
			at = len(out)
			place[r.Scenario] = at
			out = append(out, scenarioView{Scenario: plain(r.Scenario, 40), Title: plain(r.Title, 100)})
		}
		out[at].row = append(out[at].row, r)
	}
	for i := range out {
		s := &out[i]
		slices.SortStableFunc(s.row, func(a, b *Row) int { return order(a) - order(b) })
		for _, r := range s.row {
			s.Peers = append(s.Peers, c.peerView(r))
		}
		if s.Title == "" {
			s.Title = s.Scenario
		}
	}
	return out
}

func (c *Comparison) peerView(r *Row) peerView {
	m := r.Median
	v := peerView{
		Name: plain(r.Peer, 30), Ours: r.Peer == Ours,
		CPU: number(m.CPU), User: number(m.User), Sys: number(m.Sys),
		Rate: number(m.Rate), P50: measured(m.P50), P99: measured(m.P99),
		RSS: number(m.RSS), Errors: count(m.Errors), Failed: m.Errors > 0,
	}
	if !v.Ours {
		if median, least, greatest, ok := c.Ratio(r.Scenario, r.Peer); ok {
			v.Ratio, v.RatioLow, v.RatioHi = times(median), fixed(least), fixed(greatest)
			v.Less = median < 1
		}
	}
	return v
}

// states are the classes of verdicts.
var states = map[Verdict]string{Met: "met", Missed: "missed", NotJudged: "unmeasured"}

// verdicts holds every target to what was measured; none is left out.
func (c *Comparison) verdicts() []targetVerdict {
	var out []targetVerdict
	for _, t := range c.Targets {
		o := c.Judge(t)
		v := targetVerdict{
			Text: plain(t.Text, 120), Scenario: plain(t.Scenario, 40), Peer: plain(t.Peer, 30),
			Limit: "≤ " + short(t.AtMost) + "×", Value: none,
			Word: o.Verdict.String(), Why: plain(o.Why, 200), State: states[o.Verdict],
		}
		if v.Text == "" {
			v.Text = v.Scenario + " against " + v.Peer
		}
		switch {
		case t.AtMostMB > 0:
			v.Limit = "≤ " + short(t.AtMostMB) + " MB"
			if o.Value > 0 {
				v.Value, v.Spread = digits(o.Value)+" MB", digits(o.Least)+"–"+digits(o.Greatest)
			}
		case o.Value > 0:
			v.Value, v.Spread = times(o.Value), fixed(o.Least)+"–"+fixed(o.Greatest)
		}
		out = append(out, v)
	}
	return out
}

// tally says in words how the targets came out. What was not judged is never counted
// with what is met.
func (c *Comparison) tally() string {
	n := map[Verdict]int{}
	for _, t := range c.Targets {
		n[c.Judge(t).Verdict]++
	}
	const byChoice = "left out by the choice of scenarios or peers"
	if len(c.Targets) == 0 {
		return fmt.Sprintf("No target was judged: %d %s", len(c.LeftOut), byChoice)
	}
	words := fmt.Sprintf("%d of %s met", n[Met], plural(int64(len(c.Targets)), "target"))
	if n[Missed] > 0 {
		words += fmt.Sprintf(", %d missed", n[Missed])
	}
	if n[NotJudged] > 0 {
		words += fmt.Sprintf(", %d not judged", n[NotJudged])
	}
	if len(c.LeftOut) > 0 {
		words += fmt.Sprintf("; %d more not judged, %s", len(c.LeftOut), byChoice)
	}
	return words
}

// hasTargets reports whether there is anything to say about targets.
func (c *Comparison) hasTargets() bool { return len(c.Targets)+len(c.LeftOut) > 0 }

// how says what the figures were measured with.
func (c *Comparison) how() string {
	words := fmt.Sprintf("%s of %s, %s", plural(int64(c.Rounds), "interleaved round"), plural(int64(c.Seconds), "second"),
		plural(int64(c.Connections), "connection"))
	if c.Planned > 0 {
		words += fmt.Sprintf("; interrupted after round %d of %d", c.Rounds, c.Planned)
	}
	return words
}

// number formats what is zero only if it was not measured.
func number(v float64) string {
	if v <= 0 {
		return none
	}
	return digits(v)
}

func times(ratio float64) string { return fixed(ratio) + "×" }

// fixed keeps two digits behind the point, as targets are stated.
func fixed(ratio float64) string { return fmt.Sprintf("%.2f", ratio) }
