package report

import (
	"fmt"
	"strings"

	"gatehouse/loadtest"
)

// How much of a run fits a page. What is left out is said.
const (
	pageTargets    = 50
	pageTallies    = 30
	pageObjectives = 100
)

// runPage is what run.html shows.
type runPage struct {
	frame
	Runs     []runView
	Compared *comparedTable // of several runs only
	Figures  []figure
}

// A fact is a number with its name, and what explains it.
type fact struct{ Label, Value, Note string }

// A runView is one run in words.
type runView struct {
	Name, Class string // empty for a single run
	Verdict     string
	State       string // "met", "missed" or "open": nothing was asked for
	Load        string
	Started     string
	Tiles       []fact
	SLOs        []objectiveView
	SLOsMore    int
	Latency     []fact
	Facts       []fact
	Targets     []targetView
	TargetsMore string
	all         int  // targets
	Weighted    bool // weights differ
	Statuses    shareTable
	Errors      shareTable
}

type objectiveView struct {
	Text, Value, Limit, Word string
	Class                    string // as State of a runView
}

// A targetView is a row; its numbers are for sorting.
type targetView struct {
	Name, Weight, Requests, Errors, Statuses, P50, P99 string
	Failed                                             bool
	Part                                               loadtest.TargetPart
}

// A shareTable is a map of counts, the greatest first.
type shareTable struct {
	Rows []share
	More int
}

type share struct {
	Name, Count, Percent string
	Width                float64 // of 100
	Class                string
}

func newRunView(n Named, index, of int) runView {
	r := n.Result
	v := runView{
		Load:    loadWords(r.Load),
		Started: r.Started.UTC().Format("2 January 2006, 15:04:05 UTC") + ", " + seconds(r.Seconds) + " measured",
		Tiles:   tiles(r), Latency: latencyFacts(r), Facts: otherFacts(r),
		Statuses: shares(r.Statuses, statusClass), Errors: shares(kinds(r), func(string) string { return "bad" }),
	}
	if of > 1 {
		v.Name, v.Class = plain(n.Name, 40), fmt.Sprintf("c%d", index%8+1)
	}
	v.Verdict, v.State = verdict(r)
	slos := missedFirst(r.SLOs)
	for _, o := range slos[:min(len(slos), pageObjectives)] {
		v.SLOs = append(v.SLOs, newObjectiveView(o, r))
	}
	v.SLOsMore = len(slos) - len(v.SLOs)
	for _, p := range byRequests(r.Targets, pageTargets) {
		v.Targets = append(v.Targets, newTargetView(p))
		v.Weighted = v.Weighted || p.Weight != r.Targets[0].Weight
	}
	v.all = len(r.Targets)
	if more := v.all - len(v.Targets); more > 0 {
		v.TargetsMore = fmt.Sprintf("and %s with fewer requests", plural(int64(more), "target"))
	}
	return v
}

// title names what was loaded.
func title(runs []runView) string {
	if len(runs) > 1 {
		var names []string
		for _, r := range runs {
			names = append(names, r.Name)
		}
		return "Load test: " + plain(strings.Join(names, ", "), 80)
	}
	switch r := runs[0]; {
	case len(r.Targets) == 1:
		return "Load test of " + r.Targets[0].Name
	case len(r.Targets) > 1:
		return fmt.Sprintf("Load test of %s and %s more", plain(r.Targets[0].Name, 60), count(int64(r.all-1)))
	}
	return "Load test"
}

func verdict(r *loadtest.Result) (words, state string) {
	missed := 0
	for _, o := range r.SLOs {
		if o.Missed {
			missed++
		}
	}
	switch n := len(r.SLOs); {
	case r.Interrupted && missed == 0:
		return fmt.Sprintf("Interrupted after %s of %s: nothing is proven by a part", seconds(r.Seconds), seconds(r.Load.Duration)), "open"
	case n == 0 && r.Missed:
		return "An objective was missed", "missed"
	case n == 0:
		return "No objective was set", "open"
	case missed > 0 || r.Missed:
		return fmt.Sprintf("%d of %s missed", missed, plural(int64(n), "objective")), "missed"
	case n == 1:
		return "The objective was met", "met"
	default:
		return fmt.Sprintf("All %d objectives were met", n), "met"
	}
}

func tiles(r *loadtest.Result) []fact {
	return []fact{
		{noun(r), count(r.Requests), "answered in " + seconds(r.Seconds)},
		{"rate", perSecond(r.Rate), "of those, per second"},
		{"errors", count(failures(r)), percent(failures(r), sum(r.Errors)+r.Requests) + " of all"},
		{"p50", measured(r.Latency.P50), "half took at most this"},
		{"p99", measured(r.Latency.P99), "one of 100 answers took longer"},
		{"max", measured(r.Latency.Max), "the slowest answer"},
	}
}

func latencyFacts(r *loadtest.Result) []fact {
	l := r.Latency
	return []fact{
		{"min", measured(l.Min), ""},
		{"mean", measured(l.Mean), ""},
		{"std. deviation", measured(l.SD), ""},
		{"p50", measured(l.P50), ""},
		{"p75", measured(l.P75), ""},
		{"p90", measured(l.P90), ""},
		{"p95", measured(l.P95), ""},
		{"p99", measured(l.P99), ""},
		{"p99.9", measured(l.P999), ""},
		{"max", measured(l.Max), ""},
	}
}

func otherFacts(r *loadtest.Result) []fact {
	c := r.Connections
	note := ""
	if r.Load.Warmup > 0 {
		note = "and " + count(c.Before) + " in the warm-up before"
	}
	out := []fact{
		{"connections opened", count(c.Opened), note},
		{"TLS sessions resumed", count(c.Resumed), ""},
		{"handshake, TCP and TLS", measured(c.MedianUS) + " median, " + measured(c.MeanUS) + " mean", ""},
		{"octets in", traffic(r.BytesIn, r.Seconds), ""},
		{"octets out", traffic(r.BytesOut, r.Seconds), ""},
	}
	if r.Load.Model == "open" {
		out = append(out,
			fact{"sent late", count(r.Late), "latency counts from the planned time"},
			fact{"planned, not sent", count(r.Unsent), "the end came before; errors to an objective"})
	}
	return out
}

func newObjectiveView(o loadtest.Objective, r *loadtest.Result) objectiveView {
	v := objectiveView{
		Text: plain(o.Text, 80), Value: found(o, r), Limit: limit(o),
		Word: "met", Class: "met",
	}
	switch {
	case o.Missed:
		v.Word, v.Class = "missed", "missed"
	case r.Interrupted:
		v.Word, v.Class = soFar, "open"
	}
	return v
}

// soFar is what an objective is that an interrupted run has not missed.
const soFar = "so far"

// found is what an objective's value came to; of times there is none where nothing was answered.
func found(o loadtest.Objective, r *loadtest.Result) string {
	if o.Unit == "us" && r.Requests == 0 {
		return "nothing was answered"
	}
	return objectiveValue(o.Value, o.Unit)
}

// limit is a round number as a rule, being typed by somebody.
func limit(o loadtest.Objective) string {
	switch {
	case o.Unit == "us":
		return roundDuration(o.Limit)
	case o.Limit >= 1000:
		return objectiveValue(o.Limit, o.Unit)
	case o.Unit == "/s":
		return short(o.Limit) + "/s"
	default:
		return strings.TrimSuffix(short(o.Limit)+" "+plain(o.Unit, 8), " ")
	}
}

func newTargetView(p loadtest.TargetPart) targetView {
	return targetView{
		Name: plain(p.Name, 300), Weight: short(p.Weight), Requests: count(p.Requests), Errors: count(p.Errors),
		Statuses: textCounts("", p.Statuses), P50: measured(p.Latency.P50), P99: measured(p.Latency.P99),
		Failed: p.Errors > 0, Part: p,
	}
}

func shares(m map[string]int64, class func(name string) string) shareTable {
	all, total := tallies(m), sum(m)
	var t shareTable
	for _, one := range all[:min(len(all), pageTallies)] {
		s := share{Name: plain(one.Name, 60), Count: count(one.Count), Percent: percent(one.Count, total), Class: class(one.Name)}
		if total > 0 {
			s.Width = round(100 * float64(one.Count) / float64(total))
		}
		t.Rows = append(t.Rows, s)
	}
	t.More = len(all) - len(t.Rows)
	return t
}

// statusClass colours answers by what they say of the server.
func statusClass(status string) string {
	switch {
	case strings.HasPrefix(status, "2"), strings.HasPrefix(status, "3"):
		return "good"
	case strings.HasPrefix(status, "4"):
		return "warn"
	default:
		return "bad"
	}
}
