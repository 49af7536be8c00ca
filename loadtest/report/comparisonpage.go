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
	for _, peer := range c.Peers {
		p.Peers = append(p.Peers, Peer{plain(peer.Name, 30), plain(peer.Version, 120)})
	}
	for _, n := range c.Notes {
		p.Notes = append(p.Notes, plain(n, 1000))
	}
	for _, s := range p.Scenarios {
		p.Bars = append(p.Bars, s.barChart())
	}
	p.Verdict, p.State = tallyVerdicts(p.Targets), "met"
	for _, t := range p.Targets {
		if t.State == "missed" || p.State == "met" {
			p.State = t.State
		}
	}
	if len(p.Targets) == 0 {
		p.Verdict, p.State = "No target was set", "open"
	}
	return write(w, "comparison.html", p)
}
