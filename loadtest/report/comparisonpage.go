package report

import (
	"io"
)

// comparisonPage is what comparison.html shows.
type comparisonPage struct {
	frame
	Verdict, State string
	How            string
	Facts          []fact
	Peers          []Peer
	Notes          []string
	Targets        []targetVerdict
	LeftOut        []string // targets
	Bars           []barChart
	Scenarios      []scenarioView
}

// ComparisonHTML writes a comparison as one page that needs no other file and no
// network. The error is w's.
func ComparisonHTML(w io.Writer, c *Comparison) error {
	p := comparisonPage{
		frame: newFrame("Gatehouse and its peers"), How: c.how(),
		Targets: c.verdicts(), Scenarios: c.scenarios(),
		Facts: []fact{
			{Label: "date", Value: c.Date.UTC().Format("2 January 2006, 15:04 UTC")},
			{Label: "machine", Value: plain(c.Machine, 200)},
			{Label: "commit", Value: plain(c.Commit, 60)},
			{Label: "command", Value: plain(c.Command, 400)},
		},
	}
	for _, f := range c.Method {
		p.Facts = append(p.Facts, fact{Label: plain(f.Name, 30), Value: plain(f.Text, 1000)})
	}
	for _, t := range c.LeftOut {
		p.LeftOut = append(p.LeftOut, plain(t.Text, 120))
	}
	for _, peer := range c.Peers {
		p.Peers = append(p.Peers, Peer{plain(peer.Name, 30), plain(peer.Version, 120)})
	}
	for _, n := range c.Notes {
		p.Notes = append(p.Notes, plain(n, 1000))
	}
	for _, s := range p.Scenarios {
		p.Bars = append(p.Bars, s.barChart())
	}
	p.Verdict, p.State = c.overall()
	return write(w, "comparison.html", p)
}

// overall is the verdict on all targets with its class: met only if every target is,
// and none was left out.
func (c *Comparison) overall() (words, state string) {
	if !c.hasTargets() {
		return "No target was set", "open"
	}
	state = "met"
	if len(c.LeftOut) > 0 {
		state = "open"
	}
	for _, t := range c.Targets {
		switch c.Judge(t).Verdict {
		case Missed:
			return c.tally(), "missed"
		case NotJudged:
			state = "unmeasured"
		}
	}
	return c.tally(), state
}
