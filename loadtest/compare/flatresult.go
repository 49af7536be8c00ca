package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gatehouse/loadtest/report"
)

// mostGrowth is the promise: so many percent more CPU per request, at most.
const mostGrowth = 10

// A flatResult is what `make bench-flat` found.
type flatResult struct {
	Schema      int       `json:"schema"` // 1
	Date        time.Time `json:"date"`
	Machine     string    `json:"machine"`
	Commit      string    `json:"commit"`
	Command     string    `json:"command"` // that repeats it
	Rounds      int       `json:"rounds"`  // that were finished
	Planned     int       `json:"rounds_planned,omitempty"`
	Seconds     int       `json:"seconds"`
	Connections int       `json:"connections"`
	// As in [report.Comparison].
	Method      []report.Fact `json:"method"`
	LoadAverage []float64     `json:"load_average"`
	Busy        []float64     `json:"busy_percent"`
	Notes       []string      `json:"notes,omitempty"`
	Series      []flatSeries  `json:"series"`
	LeftOut     []string      `json:"left_out,omitempty"` // not chosen, so nothing is said about it
}

// A flatSeries is one load on both sides of a pair, CPU per request in microseconds.
type flatSeries struct {
	pair flatPair
	load flatLoad

	Server string    `json:"server"`
	Load   string    `json:"load"`
	What   string    `json:"what"` // grows from Few to Many
	Few    int       `json:"few"`
	Many   int       `json:"many"`
	FewUS  []float64 `json:"few_us"` // one for each round
	ManyUS []float64 `json:"many_us"`
	// Change is that of the medians, in percent; Changes is the spread of what each
	// round says alone.
	Change  float64 `json:"change_percent"`
	Changes spread  `json:"changes_percent"`
}

// A spread is how far numbers lie apart.
type spread struct {
	Min    float64 `json:"min"`
	Q1     float64 `json:"q1"`
	Median float64 `json:"median"`
	Q3     float64 `json:"q3"`
	Max    float64 `json:"max"`
}

func (s *flatSeries) add(many bool, us float64) {
	if many {
		s.ManyUS = append(s.ManyUS, us)
	} else {
		s.FewUS = append(s.FewUS, us)
	}
}

// newFlatResult has a series for each pair and load that was chosen, and the names of
// those that were not.
func newFlatResult(ctx context.Context, o *options) *flatResult {
	r := &flatResult{
		Schema: 1, Date: time.Now().UTC().Truncate(time.Second), Machine: machine(), Commit: commit(ctx, o), Command: o.command(),
		Seconds: o.seconds, Connections: o.connections,
	}
	for _, pair := range flatPairs(o) {
		for _, load := range flatLoads {
			if isAmong(o.pairs, pair) && isAmong(o.loads, load) {
				for _, server := range load.servers {
					r.Series = append(r.Series, flatSeries{
						pair: pair, load: load,
						Server: server, Load: load.title, What: pair.what, Few: pair.count(pair.few), Many: pair.count(pair.many),
					})
				}
			} else {
				r.LeftOut = append(r.LeftOut, load.title+", "+pair.what)
			}
		}
	}
	return r
}

// finish leaves out what a round that was not finished has measured, and computes what
// follows from the others, of which there is at least one.
func (r *flatResult) finish(done, planned int) {
	if r.Rounds = done; done < planned {
		r.Planned = planned
	}
	for i := range r.Series {
		s := &r.Series[i]
		s.FewUS, s.ManyUS = s.FewUS[:done], s.ManyUS[:done]
		var changes []float64
		for round := range s.FewUS {
			changes = append(changes, percent(s.FewUS[round], s.ManyUS[round]))
		}
		s.Changes = spreadOf(changes)
		s.Change = percent(spreadOf(s.FewUS).Median, spreadOf(s.ManyUS).Median)
	}
}

// describe says how it was measured.
func (r *flatResult) describe(ctx context.Context, o *options, w *watch) {
	w.keep(r.Rounds)
	r.LoadAverage, r.Busy, r.Notes = w.load, w.busy, w.notes()
	r.Method = append([]report.Fact{
		{Name: "placement", Text: fmt.Sprintf("one server alone on CPU %d; load and origin on CPU %d", peerCPU, loadCPU)},
		{Name: "sides", Text: fmt.Sprintf("the same %d connections and the same requests in turn on both, each with a URL of its own (%d for vhosts, %d for tenants, which have as many vhosts on both sides); plain HTTP, one origin", o.connections, o.vhosts, o.tenants)},
		{Name: "warm-up", Text: fmt.Sprintf("all URLs twice and %d s at least; hits until a whole tour has at most one miss in a thousand", warmRuns*warmSeconds)},
		{Name: "rounds", Text: fmt.Sprintf("%d planned; a new process for each figure, the two sides one after the other, in turned order each round; %d s of load for each figure", o.rounds, o.seconds)},
		{Name: "logs", Text: "access log and metrics on; nginx, which is no part of the verdict: access log on"},
		{Name: "figure", Text: "CPU time of the server's processes, divided by the answers; that of load and origin is not in it"},
		{Name: "programs", Text: "gatehouse " + ownVersion(ctx, o) + ", wrk " + wrkVersion(ctx) + ", origin: nginx " + versionOf(ctx, "nginx", "-v")},
	}, surroundings(w)...)
}

func percent(from, to float64) float64 { return (to/from - 1) * 100 }

// spreadOf describes numbers, of which there is at least one.
func spreadOf(numbers []float64) spread {
	sorted := slices.Sorted(slices.Values(numbers))
	at := func(share float64) float64 {
		place := share * float64(len(sorted)-1)
		low := int(place)
		high := min(low+1, len(sorted)-1)
		return sorted[low] + (sorted[high]-sorted[low])*(place-float64(low))
	}
	return spread{Min: at(0), Q1: at(0.25), Median: at(0.5), Q3: at(0.75), Max: at(1)}
}

// outcome says what became of a promise, and why nothing did: it is about so many
// vhosts and tenants, and few rounds say nothing.
func (r *flatResult) outcome(s flatSeries) (v report.Verdict, why string) {
	promised := fullVhosts
	if s.What == "tenants" {
		promised = fullTenants
	}
	switch {
	case r.Rounds < fullFlatRounds:
		return report.NotJudged, fmt.Sprintf("%s, and a verdict needs %d", count(r.Rounds, "round"), fullFlatRounds)
	case s.Many < promised:
		return report.NotJudged, fmt.Sprintf("the promise is about %d %s, and there were %d", promised, s.What, s.Many)
	case s.Change > mostGrowth:
		return report.Missed, ""
	default:
		return report.Met, ""
	}
}

func (r *flatResult) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, commit %s\n%s\n%s of %d s, %d connections", r.Date.Format(time.DateTime), r.Commit, r.Machine, count(r.Rounds, "round"), r.Seconds, r.Connections)
	if r.Planned > 0 {
		fmt.Fprintf(&b, "; interrupted after round %d of %d", r.Rounds, r.Planned)
	}
	b.WriteByte('\n')
	for _, f := range r.Method {
		fmt.Fprintf(&b, "  %-16s %s\n", f.Name, f.Text)
	}
	b.WriteString("\nCPU time of a request in µs: median (min, quartiles, max)\n\n")
	for _, s := range r.Series {
		said := ""
		if s.Server == report.Ours {
			verdict, why := r.outcome(s)
			said = fmt.Sprintf(", at most %d %%: %s", mostGrowth, verdict)
			if why != "" {
				said += ": " + why
			}
		}
		fmt.Fprintf(&b, "%s: %s, %s\n  %6d  %s\n  %6d  %s\n  change of the median %+.1f %%%s; by rounds %s %%\n\n",
			s.Server, s.Load, s.What, s.Few, spreadOf(s.FewUS), s.Many, spreadOf(s.ManyUS), s.Change, said, s.Changes)
	}
	for _, what := range r.LeftOut {
		fmt.Fprintf(&b, "%s: left out by choice, not judged\n", what)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	fmt.Fprintf(&b, "again: %s\n", r.Command)
	_, err := io.WriteString(w, b.String())
	return err
}

func (s spread) String() string {
	return fmt.Sprintf("%.1f (%.1f, %.1f – %.1f, %.1f)", s.Median, s.Min, s.Q1, s.Q3, s.Max)
}

// verdict is, with check, the error of a promise that was missed or not judged. What
// was left out by choice is no error.
func (r *flatResult) verdict(check bool) error {
	var faults []error
	for _, s := range r.Series {
		switch v, why := r.outcome(s); {
		case !check || s.Server != report.Ours || v == report.Met:
		case v == report.NotJudged:
			faults = append(faults, fmt.Errorf("not judged: %s, %s: %s", s.Load, s.What, why))
		default:
			faults = append(faults, fmt.Errorf("missed: %s: from %d to %d %s a request costs %.1f %% more, and may %d %%", s.Load, s.Few, s.Many, s.What, s.Change, mostGrowth))
		}
	}
	return errors.Join(faults...)
}
